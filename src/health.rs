//! The health of the process, for `/healthz`. No event outside the process makes it unhealthy.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use thiserror::Error;
use tokio::time::Instant;

/// A queue whose loop has not run for this long is stuck.
const QUEUE_STUCK: Duration = Duration::from_secs(60);
/// The interval at which the queue's loop runs while the queue is empty.
pub const QUEUE_IDLE: Duration = Duration::from_secs(10);

/// The cause for which the process is unhealthy.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Unhealthy {
    /// An attempt has lasted longer than twice its deadline.
    #[error("a request or reconcile has not finished within twice its deadline")]
    Overdue,
    /// The queue's loop does not run.
    #[error("the queue's loop has not run for {} s", QUEUE_STUCK.as_secs())]
    QueueStuck,
}

/// The attempts in progress. Clones share their state.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// The time at which each attempt becomes overdue.
    attempts: BTreeMap<u64, Instant>,
    begun: u64,
    /// The time of the last run of the queue's loop; `None` before the first.
    queue: Option<Instant>,
}

/// An attempt in progress. The drop ends it.
#[derive(Debug)]
pub struct Attempt {
    health: Health,
    number: u64,
}

impl Health {
    /// Records the start of an attempt, which has to end before its deadline.
    pub fn attempt(&self, deadline: Duration) -> Attempt {
        let mut state = self.0.lock();
        state.begun += 1;
        let number = state.begun;
        state.attempts.insert(number, Instant::now() + deadline * 2);
        Attempt { health: self.clone(), number }
    }

    /// Records a run of the queue's loop.
    pub fn queue_runs(&self) {
        self.0.lock().queue = Some(Instant::now());
    }

    /// Whether the process is healthy.
    pub fn check(&self) -> Result<(), Unhealthy> {
        let (state, now) = (self.0.lock(), Instant::now());
        if state.attempts.values().any(|overdue| *overdue < now) {
            return Err(Unhealthy::Overdue);
        }
        match state.queue {
            Some(ran) if now - ran > QUEUE_STUCK => Err(Unhealthy::QueueStuck),
            _ => Ok(()),
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.health.0.lock().attempts.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_a_reconcile_that_exceeds_twice_its_deadline_is_unhealthy() {
        let health = Health::default();
        let attempt = health.attempt(Duration::from_secs(10));
        tokio::time::advance(Duration::from_secs(20)).await;
        assert_eq!(health.check(), Ok(()));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(health.check(), Err(Unhealthy::Overdue));
        drop(attempt);
        assert_eq!(health.check(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_without_progress_is_unhealthy_after_its_start() {
        let health = Health::default();
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!(health.check(), Ok(()));
        health.queue_runs();
        tokio::time::advance(QUEUE_STUCK).await;
        assert_eq!(health.check(), Ok(()));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(health.check(), Err(Unhealthy::QueueStuck));
        health.queue_runs();
        assert_eq!(health.check(), Ok(()));
    }
}
