//! How many calls the operator makes: a token bucket for each account and region, which everything shares that calls
//! API Gateway there. The control plane allows an account ten requests a second in all, and other tools need them too.
//!
//! Whoever wants to call asks for a token and gets it in turn: writes and first reads before refreshes, one namespace
//! after the other. While API Gateway throttles or is out of order the bucket is closed, and whoever asks is told so at
//! once instead of being kept waiting.

mod pace;
mod turns;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tracing::warn;

pub use self::pace::{Closed, Limits};
use self::pace::{Pace, Refusal};
pub use self::turns::Turn;
use self::turns::Turns;
use crate::clock::Clock;
use crate::gateway::{GatewayError, Outage};
use crate::metrics::Metrics;
use crate::settings::Tick;

/// What a bucket is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bucket {
    /// The AWS account; none, where it is the operator's own and not known yet.
    pub account: Option<String>,
    /// The region.
    pub region: String,
}

type Granted = oneshot::Sender<Result<(), Closed>>;

/// The buckets of all accounts and regions.
pub struct Budget {
    limits: Limits,
    clock: Clock,
    metrics: Arc<Metrics>,
    buckets: Mutex<HashMap<Bucket, Arc<Mutex<State>>>>,
}

struct State {
    pace: Pace,
    turns: Turns<(Tick, Granted)>,
    /// Whether a task hands out the tokens.
    is_served: bool,
}

impl Budget {
    /// A budget with these limits for each bucket.
    pub fn new(limits: Limits, clock: Clock, metrics: Arc<Metrics>) -> Self {
        Budget { limits, clock, metrics, buckets: Mutex::default() }
    }

    /// Waits for a token. An error tells that the bucket is closed: no call may be made now.
    pub async fn acquire(&self, bucket: &Bucket, turn: Turn, namespace: &str) -> Result<(), Closed> {
        let asked = self.clock.now();
        let granted = {
            let state = self.state(bucket);
            let mut locked = lock(&state);
            if locked.turns.is_empty() {
                match locked.pace.take(asked) {
                    Ok(()) => {
                        self.metrics.waited_for_budget(self.clock.now().saturating_sub(asked));
                        return Ok(());
                    }
                    Err(Refusal::Closed(closed)) => return Err(closed),
                    Err(Refusal::Empty(_)) => {}
                }
            }
            let (grant, granted) = oneshot::channel();
            locked.turns.push(turn, namespace, (asked, grant));
            self.metrics.budget_queue_changed(1);
            if !std::mem::replace(&mut locked.is_served, true) {
                tokio::spawn(serve(Arc::clone(&state), self.clock, Arc::clone(&self.metrics)));
            }
            granted
        };
        // The task answers everybody before it ends.
        granted.await.unwrap_or(Ok(()))
    }

    /// Whether a bucket is closed, why, and until when.
    pub fn closed(&self, bucket: &Bucket) -> Option<Closed> {
        let now = self.clock.now();
        lock(&self.state(bucket)).pace.closed(now).cloned()
    }

    /// How many wait for a token of a bucket.
    pub fn waiting(&self, bucket: &Bucket) -> usize {
        lock(&self.state(bucket)).turns.len()
    }

    /// When a token can be expected by whoever comes next.
    pub fn next_token(&self, bucket: &Bucket) -> Tick {
        let waiting = self.waiting(bucket) as f64 + 1.0;
        self.clock.now() + std::time::Duration::from_secs_f64(waiting / self.limits.rate)
    }

    /// Takes note of how a call ended that was about this certificate, or about all where that is empty.
    pub fn report(&self, bucket: &Bucket, id: &str, failure: Option<&GatewayError>) {
        let state = self.state(bucket);
        let mut locked = lock(&state);
        let (now, jitter) = (self.clock.now(), fastrand::f64());
        match failure {
            Some(GatewayError::Throttled { retry_after }) => {
                self.metrics.throttled();
                let was_open = locked.pace.closed(now).is_none();
                locked.pace.throttled(*retry_after, now, jitter);
                if was_open {
                    let (account, region) = (bucket.account.as_deref().unwrap_or("own"), bucket.region.as_str());
                    warn!(account, region, rate = locked.pace.rate(), "API Gateway throttles: slowing down");
                }
            }
            Some(GatewayError::Unavailable { outage, retry_after }) => match outage {
                Outage::Status(_)
                | Outage::TimedOut
                | Outage::NoAnswer { .. }
                | Outage::Connection
                | Outage::Unreachable { .. }
                | Outage::ProxyAuthentication => {
                    locked.pace.unavailable(id, outage.clone(), *retry_after, now, jitter);
                }
                // Nothing was sent, so nothing is known of API Gateway.
                Outage::NoCredentials | Outage::NoSession => {}
                // It answers, if oddly.
                Outage::NotLeading | Outage::NotUnderstood | Outage::TooLarge => locked.pace.answered(),
            },
            _ => locked.pace.answered(),
        }
    }

    fn state(&self, bucket: &Bucket) -> Arc<Mutex<State>> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = buckets.get(bucket) {
            return Arc::clone(state);
        }
        let state = State { pace: Pace::new(self.limits), turns: Turns::default(), is_served: false };
        Arc::clone(buckets.entry(bucket.clone()).or_insert_with(|| Arc::new(Mutex::new(state))))
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Hands out tokens until nobody waits any more. A closed bucket sends everybody away.
async fn serve(state: Arc<Mutex<State>>, clock: Clock, metrics: Arc<Metrics>) {
    loop {
        let wait = {
            let mut locked = lock(&state);
            if locked.turns.is_empty() {
                locked.is_served = false;
                return;
            }
            let now = clock.now();
            match locked.pace.take(now) {
                Ok(()) => {
                    grant(&mut locked.turns, now, &metrics);
                    continue;
                }
                Err(Refusal::Closed(closed)) => {
                    while let Some((_, granted)) = locked.turns.pop() {
                        metrics.budget_queue_changed(-1);
                        let _ = granted.send(Err(closed.clone()));
                    }
                    continue;
                }
                Err(Refusal::Empty(wait)) => now + wait,
            }
        };
        clock.wait_until(wait).await;
    }
}

/// Gives a token to the next who still wants it.
fn grant(turns: &mut Turns<(Tick, Granted)>, now: Tick, metrics: &Metrics) {
    while let Some((asked, granted)) = turns.pop() {
        metrics.budget_queue_changed(-1);
        if granted.send(Ok(())).is_ok() {
            metrics.waited_for_budget(now.saturating_sub(asked));
            return;
        }
    }
}

#[cfg(test)]
mod tests;
