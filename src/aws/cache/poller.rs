//! The calls of one scope: a poller makes those that the scope plans, until the last subscription ends.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::{Shared, timed_out};
use crate::api::ResourceName;
use crate::aws::answer::Answer;
use crate::aws::gateway::{ClientCertificate, Denial, Gateway, GatewayError, Outage, PAGE_SIZE, Place, Source};
use crate::aws::rate_limit::{Account, Paused, Priority, Service};
use crate::aws::scope::{Checked, Listed, Listing, Moment, Scope, Step, Topic, refuses_the_list};
use crate::error::ReadFailure;
use crate::settings::Tick;

/// Longer than the timeouts of the client: no read holds up a poller for ever.
const LONGEST_READ: Duration = Duration::from_secs(20);
/// More pages than any account has: the default quota is 60 certificates, and a page holds 500.
const PAGES_MOST: usize = 100;
/// Credentials that AWS refused are replaced by others for the next call, which is made after this time.
const CREDENTIALS_REPLACED: Duration = Duration::from_millis(200);

/// The scope of a poller.
pub(super) struct Poller<G: Gateway> {
    pub(super) shared: Arc<Shared<G>>,
    pub(super) place: Place,
    pub(super) generation: u64,
    pub(super) notify: Arc<Notify>,
}

/// A call that was made.
struct Called<T> {
    started: Tick,
    outcome: Result<T, GatewayError>,
    /// Until when no call may start.
    not_before: Option<Tick>,
}

impl<G: Gateway> Poller<G> {
    pub(super) async fn run(self) {
        let poller = &self;
        let mut calls: FuturesUnordered<BoxFuture<'_, ()>> = FuturesUnordered::new();
        // `None` if the scope has ended; dropping the running calls cancels them.
        while let Some(step) = poller.with_scope(|scope| scope.plan(poller.shared.clock.now())) {
            match step {
                Step::End => return,
                Step::Wait(until) => {
                    let due = async {
                        match until {
                            Some(until) => poller.shared.clock.wait_until(until).await,
                            None => std::future::pending().await,
                        }
                    };
                    tokio::select! {
                        () = due => {}
                        () = poller.notify.notified() => {}
                        Some(()) = calls.next(), if !calls.is_empty() => {}
                    }
                }
                Step::List => calls.push(poller.list().boxed()),
                Step::Read(due) => calls.extend(due.into_iter().map(|(topic, due)| poller.read(topic, due).boxed())),
            }
        }
    }

    /// Runs a function on the scope; `None` if the scope has ended.
    fn with_scope<R>(&self, what: impl FnOnce(&mut Scope) -> R) -> Option<R> {
        let mut state = self.shared.state.lock();
        let polled = state.scopes.get_mut(&self.place).filter(|polled| polled.generation == self.generation)?;
        Some(what(&mut polled.scope))
    }

    /// Records an answer in the scope, and wakes the resources that it concerns.
    fn note(&self, what: impl FnOnce(&mut Scope, Moment) -> Vec<ResourceName>) {
        let moment = self.shared.moment();
        let woken = self.with_scope(|scope| what(scope, moment));
        self.shared.wake(woken.unwrap_or_default());
    }

    /// Makes one call.
    async fn read(&self, topic: Topic, due: Tick) {
        match &topic {
            Topic::Certificate(id) => {
                let source = Source { place: self.place.clone(), id: id.clone() };
                let call = || self.shared.gateway.get_client_certificate(&source);
                let account = self.shared.limited_by(&self.place);
                let Some(read) = self.called(&account, &topic, due, call).await else { return };
                let checked = read.outcome.map(|came| self.check(&source, account.id.as_deref(), came));
                self.note(|scope, moment| scope.got(id, read.started, checked, read.not_before, moment));
            }
            Topic::Tags => self.list().await,
            Topic::Stages(api) => {
                let call = || self.shared.gateway.get_stages(&self.place, api);
                let account = self.shared.limited_by(&self.place);
                let Some(read) = self.called(&account, &topic, due, call).await else { return };
                self.note(|scope, moment| scope.got_stages(api, read.started, read.outcome, read.not_before, moment));
            }
            Topic::Acm(arn) => {
                let source = Source { place: self.place.clone(), id: arn.clone() };
                // ACM has rate limits of its own.
                let account = Account { service: Service::Acm, ..self.shared.limited_by(&self.place) };
                let call = || self.shared.gateway.get_acm_certificate(&self.place, arn);
                let Some(read) = self.called(&account, &topic, due, call).await else { return };
                let id = account.id.as_deref();
                let came = read.outcome.map_err(ReadFailure::from);
                let checked = came.and_then(|came| Answer::check_acm(&source, id, came, Timestamp::now()));
                self.note(|scope, moment| {
                    scope.got_acm(arn, read.started, checked.map(Arc::new), read.not_before, moment)
                });
            }
        }
    }

    /// Makes a call, unless calls may not start now or no resource wants its answer any more.
    async fn called<T, F: Future<Output = Result<T, GatewayError>>>(
        &self,
        account: &Account,
        topic: &Topic,
        due: Tick,
        call: impl Fn() -> F,
    ) -> Option<Called<T>> {
        match self.call(account, Priority::Read { due }, |scope| scope.is_wanted(topic), call).await {
            Ok(called) => {
                let (started, outcome) = called?;
                let not_before = self.shared.limiter.paused(account).map(|paused| paused.until);
                Some(Called { started, outcome, not_before })
            }
            Err(Paused { until }) => {
                self.note(|scope, moment| scope.paused(topic, until, moment));
                None
            }
        }
    }

    /// Makes a call once the rate limiter allows it, if a resource still wants it. After AWS refuses the credentials, the
    /// client gets others, so the call is made a second time. Returns the start of the call, and its outcome.
    async fn call<T, F: Future<Output = Result<T, GatewayError>>>(
        &self,
        account: &Account,
        priority: Priority,
        is_wanted: impl Fn(&Scope) -> bool,
        call: impl Fn() -> F,
    ) -> Result<Option<(Tick, Result<T, GatewayError>)>, Paused> {
        let mut is_again = false;
        loop {
            self.shared.limiter.acquire(account, priority).await?;
            if !self.with_scope(|scope| is_wanted(scope)).unwrap_or(false) {
                return Ok(None);
            }
            let started = self.shared.clock.now();
            let outcome = timeout(LONGEST_READ, call()).await.unwrap_or_else(|_| Err(timed_out()));
            self.shared.note_throttling(account, outcome.as_ref().err());
            let is_refused = matches!(outcome, Err(GatewayError::AccessDenied(Denial::BadCredentials { .. })));
            if is_again || !is_refused {
                return Ok(Some((started, outcome)));
            }
            is_again = true;
            self.shared.clock.wait_until(self.shared.clock.now() + CREDENTIALS_REPLACED).await;
        }
    }

    /// Checks an answer, outside the lock.
    fn check(&self, source: &Source, account: Option<&str>, came: ClientCertificate) -> Checked {
        let known = self.with_scope(|scope| scope.known(&source.id)).flatten();
        Checked::new(source, account, came, known.as_ref(), Timestamp::now())
    }

    /// Reads the list, page by page. Nothing is recorded before the last page.
    async fn list(&self) {
        let account = self.shared.limited_by(&self.place);
        let mut began = None;
        let (mut positions, mut beginnings) = (HashSet::new(), HashSet::new());
        let mut position: Option<String> = None;
        let (mut list, mut listing) = (Vec::new(), Listing::default());
        for pages in 1..=PAGES_MOST {
            let call = || self.shared.gateway.list_client_certificates(&self.place, position.as_deref());
            let (started, outcome) = match self.call(&account, Priority::List, |scope| !scope.is_empty(), call).await {
                Ok(Some(called)) => called,
                Ok(None) => return,
                Err(Paused { until }) => return self.note(|scope, moment| scope.paused(&Topic::Tags, until, moment)),
            };
            let began = *began.get_or_insert(started);
            let page = match outcome {
                Ok(page) => page,
                Err(failure) => return self.list_failed(&account, began, &failure),
            };
            let mut certificates = page.certificates;
            certificates.truncate(PAGE_SIZE);
            let beginning = certificates.first().map(|certificate| certificate.id.clone());
            certificates.iter().for_each(|certificate| listing.add(certificate));
            list.extend(certificates.into_iter().map(|came| self.listed(&account, came)));
            let Some(next) = page.next else {
                return self
                    .note(|scope, moment| scope.listed(began, pages, list, listing, account.id.as_deref(), moment));
            };
            // Positions that repeat, and pages with nothing new, would never end.
            if !positions.insert(next.clone()) || beginning.is_none_or(|id| !beginnings.insert(id)) {
                break;
            }
            position = Some(next);
        }
        let failure = GatewayError::Unavailable { outage: Outage::NotUnderstood, retry_after: None };
        self.list_failed(&account, began.unwrap_or_default(), &failure);
    }

    fn listed(&self, account: &Account, came: ClientCertificate) -> Listed {
        if !self.with_scope(|scope| scope.has(&came.id)).unwrap_or(false) {
            return Listed::Unclaimed(came);
        }
        let source = Source { place: self.place.clone(), id: came.id.clone() };
        let checked = self.check(&source, account.id.as_deref(), came);
        Listed::Checked(source.id, checked)
    }

    fn list_failed(&self, account: &Account, started: Tick, failure: &GatewayError) {
        let (region, account_id) = (&self.place.region, account.id.as_deref().unwrap_or_default());
        if !refuses_the_list(failure) {
            debug!(region, account = account_id, "could not list the client certificates: {failure}");
        } else if *failure == GatewayError::AccessDenied(Denial::NotAuthorized) {
            self.shared.metrics.list_refused("denied");
            warn!(
                region,
                account = account_id,
                "IAM does not allow apigateway:GET on the list of client certificates ({}); reading each certificate by id for the next 10 minutes, which uses more of the account's request quota",
                self.place.list_arn()
            );
        } else {
            self.shared.metrics.list_refused("unusable");
            warn!(
                region,
                account = account_id,
                "the list of client certificates failed ({failure}); reading each certificate by id for the next 10 minutes"
            );
        }
        let not_before = self.shared.limiter.paused(account).map(|paused| paused.until);
        self.note(|scope, moment| scope.list_failed(started, failure, not_before, moment));
    }
}
