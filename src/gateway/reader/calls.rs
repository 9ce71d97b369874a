//! Serves a desk: makes the calls that it plans, one round after the other, until nobody waits.

use std::collections::HashSet;
use std::sync::Arc;

use futures::future::join_all;
use jiff::Timestamp;
use tracing::{debug, warn};

use super::desk::{Moment, Pick, Step};
use super::{Counter, GATHER, Shared};
use crate::api::ResourceName;
use crate::gateway::{Denial, Gateway, GatewayError, Outage, PAGE_SIZE, Place, Source};
use crate::settings::Tick;

/// More pages than any account has: the default quota is 60 certificates, and a page holds 500.
const PAGES_MOST: usize = 100;

pub(super) async fn serve<G: Gateway>(shared: Arc<Shared<G>>, place: Place, counter: Arc<Counter>) {
    let mut gather = true;
    loop {
        if gather {
            shared.clock.wait_until(shared.now() + GATHER).await;
        }
        let step = {
            let closed = shared.budget.closed(&shared.bucket(&place));
            let mut state = counter.lock();
            let step = if state.is_closed { Step::Idle } else { state.desk.plan(closed.as_ref(), shared.now()) };
            if step == Step::Idle {
                state.is_served = false;
                return;
            }
            step
        };
        gather = matches!(step, Step::Wait(_));
        match step {
            Step::Idle => return,
            Step::Wait(until) => {
                tokio::select! {
                    () = shared.clock.wait_until(until) => {}
                    () = counter.bell.notified() => {}
                }
            }
            Step::List(pick) => list(&shared, &place, &counter, &pick).await,
            Step::Get(picks) => {
                join_all(picks.iter().map(|pick| get(&shared, &place, &counter, pick))).await;
            }
        }
    }
}

/// Asks for one certificate.
async fn get<G: Gateway>(shared: &Shared<G>, place: &Place, counter: &Counter, pick: &Pick) {
    let bucket = shared.bucket(place);
    if shared.budget.acquire(&bucket, pick.turn, &pick.namespace).await.is_err() {
        // The desk sees that the bucket is closed, and plans for that.
        return;
    }
    let at = shared.now();
    let source = Source { place: place.clone(), id: pick.id.clone() };
    let outcome = shared.gateway.get_client_certificate(&source).await;
    shared.budget.report(&bucket, &pick.id, outcome.as_ref().err());
    shared.learn(place, counter, at, |desk, moment| desk.got(&pick.id, outcome, moment));
}

/// Asks for all certificates, page by page, as long as that is worth it.
async fn list<G: Gateway>(shared: &Shared<G>, place: &Place, counter: &Counter, pick: &Pick) {
    let bucket = shared.bucket(place);
    let mut began = None;
    let (mut positions, mut beginnings) = (HashSet::new(), HashSet::new());
    let mut position: Option<String> = None;
    for pages in 1..=PAGES_MOST {
        if shared.budget.acquire(&bucket, pick.turn, &pick.namespace).await.is_err() {
            return;
        }
        let at = shared.now();
        let began = *began.get_or_insert(at);
        let outcome = shared.gateway.list_client_certificates(place, position.as_deref()).await;
        shared.budget.report(&bucket, "", outcome.as_ref().err());
        let page = match outcome {
            Ok(page) => page,
            Err(failure) => return list_failed(shared, place, counter, at, &failure),
        };
        let mut listed = page.certificates;
        listed.truncate(PAGE_SIZE);
        let beginning = listed.first().map(|certificate| certificate.id.clone());
        shared.learn(place, counter, at, |desk, moment| desk.listed(listed, moment));
        let Some(next) = page.next else {
            shared.learn(place, counter, began, |desk, moment| desk.list_ended(pages, true, moment));
            return;
        };
        // Positions that go round in a circle, or pages that show again what was shown, or nothing, lead nowhere.
        if !positions.insert(next.clone()) || beginning.is_none_or(|id| !beginnings.insert(id)) {
            break;
        }
        position = Some(next);
        if !counter.lock().desk.goes_on_listing(pages, shared.now()) {
            shared.learn(place, counter, began, |desk, moment| desk.list_ended(pages, false, moment));
            return;
        }
    }
    let failure = GatewayError::Unavailable { outage: Outage::NotUnderstood, retry_after: None };
    list_failed(shared, place, counter, shared.now(), &failure);
}

fn list_failed<G: Gateway>(shared: &Shared<G>, place: &Place, counter: &Counter, at: Tick, failure: &GatewayError) {
    let mut is_off = false;
    shared.learn(place, counter, at, |desk, moment| {
        let (woken, off) = desk.list_failed(failure, moment);
        is_off = off;
        woken
    });
    let (region, account) = (&place.region, shared.account_of(place).unwrap_or_default());
    if !is_off {
        debug!(region, account, "could not list the client certificates: {failure}");
    } else if *failure == GatewayError::AccessDenied(Denial::NotAuthorized) {
        shared.metrics.list_refused("denied");
        warn!(
            region,
            account,
            "IAM does not allow apigateway:GET on the list of client certificates ({}): reading them one by one for the next 10 minutes, which costs more of the account's requests",
            place.list_arn()
        );
    } else {
        shared.metrics.list_refused("unusable");
        warn!(
            region,
            account,
            "the list of client certificates cannot be used ({failure}): reading them one by one for 10 minutes"
        );
    }
}

impl<G: Gateway> Shared<G> {
    /// Has the desk take note of something, and wakes whom that concerns.
    fn learn(
        &self,
        place: &Place,
        counter: &Counter,
        at: Tick,
        note: impl FnOnce(&mut super::Desk, Moment<'_>) -> Vec<ResourceName>,
    ) {
        let account = self.account_of(place);
        let moment = Moment {
            at,
            now: self.now(),
            wall: Timestamp::now(),
            jitter: fastrand::f64(),
            account: account.as_deref(),
        };
        let woken = {
            let mut state = counter.lock();
            // What a session brought that was ended meanwhile is nobody's to see.
            if state.is_closed { Vec::new() } else { note(&mut state.desk, moment) }
        };
        if !woken.is_empty() {
            self.metrics.batch_answered(woken.len());
            (self.wake)(woken);
        }
    }
}
