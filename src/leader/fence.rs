//! The check before every write: whether this process may begin a write now.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::watch;

use super::{LONGEST_WRITE, Leadership};
use crate::clock::Clock;
use crate::settings::Tick;

/// Allows writes while the process leads. Clones share their state.
#[derive(Clone, Debug)]
pub struct Fence {
    clock: Clock,
    leadership: watch::Receiver<Leadership>,
    /// The time by which the last write has to end, after the process received a signal to stop.
    end: Arc<OnceLock<Tick>>,
}

impl Fence {
    /// A fence that follows the leadership of the process.
    pub fn new(clock: Clock, leadership: watch::Receiver<Leadership>) -> Self {
        Fence { clock, leadership, end: Arc::default() }
    }

    /// A fence that is always open, for an installation with one replica.
    pub fn open(clock: Clock) -> Self {
        // The receiver keeps the last value after the sender is dropped.
        Fence::new(clock, watch::channel(Leadership::Alone).1)
    }

    /// Whether the process leads.
    pub fn leads(&self) -> bool {
        self.leadership.borrow().leads()
    }

    /// Whether a write may begin now.
    pub fn may_write(&self) -> bool {
        self.time_to_write().is_some()
    }

    /// The time limit of a write that begins now; `None` if no write may begin.
    pub fn time_to_write(&self) -> Option<Duration> {
        let now = self.clock.now();
        let left = self.end.get().map_or(LONGEST_WRITE, |end| end.saturating_sub(now));
        let may_begin = self.leadership.borrow().may_write(now) && !left.is_zero();
        may_begin.then_some(left.min(LONGEST_WRITE))
    }

    /// Limits the time of all writes, because the process stops.
    pub fn end_within(&self, time: Duration) {
        // Only the first call counts: a process stops once.
        let _ = self.end.set(self.clock.now() + time);
    }

    /// Waits for a late renewal until a write may begin. False if another replica leads.
    pub async fn wait(&self) -> bool {
        if self.may_write() {
            return true;
        }
        let mut leadership = self.leadership.clone();
        loop {
            if !leadership.borrow_and_update().leads() {
                return false;
            }
            if self.may_write() {
                return true;
            }
            if leadership.changed().await.is_err() {
                return false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leader::DURATION;

    #[tokio::test(start_paused = true)]
    async fn a_reconcile_waits_for_a_late_renewal_and_stops_when_another_replica_leads() {
        let clock = Clock::start();
        let (sender, leadership) = watch::channel(Leadership::StandingBy);
        let fence = Fence::new(clock, leadership);
        assert!(!fence.wait().await && !fence.may_write());
        sender.send_replace(Leadership::renewed(clock.now()));
        assert!(fence.wait().await && fence.may_write());

        tokio::time::advance(DURATION).await;
        assert!(fence.leads() && !fence.may_write());
        let (renewed, ()) = tokio::join!(fence.wait(), async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            sender.send_replace(Leadership::renewed(clock.now()));
        });
        assert!(renewed);

        tokio::time::advance(DURATION).await;
        let (lost, ()) = tokio::join!(fence.wait(), async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            sender.send_replace(Leadership::StandingBy);
        });
        assert!(!lost);
    }

    #[tokio::test(start_paused = true)]
    async fn an_open_fence_stays_open_until_the_process_stops() {
        let fence = Fence::open(Clock::start());
        assert_eq!(fence.time_to_write(), Some(LONGEST_WRITE));
        fence.clone().end_within(Duration::from_secs(11));
        assert_eq!(fence.time_to_write(), Some(LONGEST_WRITE));
        tokio::time::advance(Duration::from_secs(4)).await;
        assert_eq!(fence.time_to_write(), Some(Duration::from_secs(7)));
        tokio::time::advance(Duration::from_secs(7)).await;
        assert!(!fence.may_write());
    }
}
