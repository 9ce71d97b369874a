//! What stands before every write: whether this process may begin one now.

use tokio::sync::watch;

use super::Standing;
use crate::clock::Clock;

/// Lets writes through while the process leads. Copies stand at the same gate.
#[derive(Clone, Debug)]
pub struct Fence {
    clock: Clock,
    standing: watch::Receiver<Standing>,
}

impl Fence {
    /// A fence that follows the standing of the process.
    pub fn new(clock: Clock, standing: watch::Receiver<Standing>) -> Self {
        Fence { clock, standing }
    }

    /// A fence that is always open: nobody else works.
    pub fn open(clock: Clock) -> Self {
        // What was told last is kept when nobody is left to tell more.
        Fence { clock, standing: watch::channel(Standing::Alone).1 }
    }

    /// Whether the process leads.
    pub fn leads(&self) -> bool {
        self.standing.borrow().leads()
    }

    /// Whether a write may begin now.
    pub fn may_write(&self) -> bool {
        self.standing.borrow().may_write(self.clock.now())
    }

    /// Waits until a write may begin, where only a renewal is late. False where the process stands by.
    pub async fn wait(&self) -> bool {
        if self.may_write() {
            return true;
        }
        let mut standing = self.standing.clone();
        loop {
            if !standing.borrow_and_update().leads() {
                return false;
            }
            if self.may_write() {
                return true;
            }
            if standing.changed().await.is_err() {
                return false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::leader::DURATION;

    #[tokio::test(start_paused = true)]
    async fn a_pass_waits_for_a_late_renewal_and_gives_up_when_another_leads() {
        let clock = Clock::start();
        let (tell, standing) = watch::channel(Standing::StandingBy);
        let fence = Fence::new(clock, standing);
        assert!(!fence.wait().await && !fence.may_write());
        tell.send_replace(Standing::renewed(clock.now()));
        assert!(fence.wait().await && fence.may_write());

        tokio::time::advance(DURATION).await;
        assert!(fence.leads() && !fence.may_write());
        let (renewed, ()) = tokio::join!(fence.wait(), async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            tell.send_replace(Standing::renewed(clock.now()));
        });
        assert!(renewed);

        tokio::time::advance(DURATION).await;
        let (lost, ()) = tokio::join!(fence.wait(), async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            tell.send_replace(Standing::StandingBy);
        });
        assert!(!lost);
    }

    #[test]
    fn an_open_fence_stays_open() {
        assert!(Fence::open(Clock::start()).may_write());
    }
}
