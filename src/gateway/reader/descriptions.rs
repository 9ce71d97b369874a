//! Writes of descriptions: one at a time for a certificate, and only so many at a time for an account and region, because
//! a pass waits for each.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::Shared;
use crate::gateway::budget::{Bucket, Closed, Turn};
use crate::gateway::{ClientCertificate, Gateway, GatewayError, Outage, Source};
use crate::leader::LONGEST_WRITE;
use crate::settings::Tick;

/// Writes to one account and region that passes wait for at the same time.
const AT_ONCE: usize = 4;
/// A renewal of the Lease that is late is waited for this long.
const RENEWAL: Duration = Duration::from_secs(1);

/// What became of a description.
#[derive(Clone, Debug, PartialEq)]
pub enum Described {
    /// It was sent, or could not be.
    Done(Result<ClientCertificate, GatewayError>),
    /// Too many are under way: it is to be tried at this time.
    Later(Tick),
}

/// The ids of the certificates that are written to, by account and region.
#[derive(Debug, Default)]
pub(super) struct UnderWay(Mutex<HashMap<Bucket, Vec<String>>>);

struct Turnstile<'a> {
    under_way: &'a UnderWay,
    bucket: &'a Bucket,
    id: &'a str,
}

impl UnderWay {
    fn enter<'a>(&'a self, bucket: &'a Bucket, id: &'a str) -> Option<Turnstile<'a>> {
        let mut under_way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ids = under_way.entry(bucket.clone()).or_default();
        if ids.len() >= AT_ONCE || ids.iter().any(|other| other == id) {
            return None;
        }
        ids.push(id.to_owned());
        Some(Turnstile { under_way: self, bucket, id })
    }
}

impl Drop for Turnstile<'_> {
    fn drop(&mut self) {
        let mut under_way = self.under_way.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ids) = under_way.get_mut(self.bucket) {
            ids.retain(|id| id != self.id);
        }
    }
}

pub(super) async fn set<G: Gateway>(shared: &Shared<G>, source: &Source, text: &str, namespace: &str) -> Described {
    let bucket = shared.bucket(&source.place);
    let Some(_turnstile) = shared.descriptions.enter(&bucket, &source.id) else {
        // Spread, so that those who come back do not all come at once.
        let wait = Duration::from_millis(500).mul_f64(1.0 + fastrand::f64());
        return Described::Later(shared.budget.next_token(&bucket) + wait);
    };
    if let Err(closed) = shared.budget.acquire(&bucket, Turn::First, namespace).await {
        return Described::Done(Err(as_failure(closed, shared.now())));
    }
    // Asked only now: the turn may have been long in coming.
    if !shared.fence.may_write() {
        return Described::Later(shared.now() + RENEWAL);
    }
    let call = shared.gateway.set_description(source, text);
    let outcome = tokio::time::timeout(LONGEST_WRITE, call)
        .await
        .unwrap_or(Err(GatewayError::Unavailable { outage: Outage::TimedOut, retry_after: None }));
    shared.budget.report(&bucket, &source.id, outcome.as_ref().err());
    // Even a call that failed may have been carried out.
    shared.at_desk(&source.place, |_, state| state.desk.changed(&source.id, shared.now()));
    Described::Done(outcome)
}

/// A closed bucket refuses a call as API Gateway would, with the time that is left.
fn as_failure(closed: Closed, now: Tick) -> GatewayError {
    let left = Some(closed.until.saturating_sub(now));
    match closed.failure {
        GatewayError::Throttled { .. } => GatewayError::Throttled { retry_after: left },
        GatewayError::Unavailable { outage, .. } => GatewayError::Unavailable { outage, retry_after: left },
        failure => failure,
    }
}
