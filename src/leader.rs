//! Decides which of several replicas leads: the one that holds the Lease. Pure; `kubernetes::lease` makes the requests.
//!
//! The times fit together. A Lease is free 15 s after its last renewal. The other replicas read it every second, so
//! another replica leads at most 17 s after the last renewal. A write ends within 10 s, and no write begins in the last
//! 11 s of the Lease. Thus no write of a leader that cannot renew is in progress when the next leader begins.

mod fence;

pub use fence::Fence;

use std::time::Duration;

use jiff::Timestamp;

use crate::settings::Tick;

/// The duration of the Lease without a renewal.
pub const DURATION: Duration = Duration::from_secs(15);
/// The interval at which the holder renews the Lease.
pub const RENEW_EVERY: Duration = Duration::from_secs(2);
/// The interval at which the other replicas read the Lease.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The time limit of a write to Kubernetes or API Gateway.
pub const LONGEST_WRITE: Duration = Duration::from_secs(10);
/// The time before the end of the Lease in which no write begins: longer than the time limit of a write.
const MARGIN: Duration = Duration::from_secs(11);

/// The role of the process in the election.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leadership {
    /// The process leads, without an election.
    Alone,
    /// Another replica leads, or no replica yet.
    StandingBy,
    /// The process leads, and writes may begin before `until`.
    Leading {
        /// The time by the steady clock.
        until: Tick,
    },
}

impl Leadership {
    /// The leadership after an accepted renewal. It counts from the time at which the renewal was sent.
    pub fn renewed(sent: Tick) -> Self {
        Leadership::Leading { until: sent + (DURATION - MARGIN) }
    }

    /// Whether the process leads.
    pub fn leads(self) -> bool {
        self != Leadership::StandingBy
    }

    /// Whether a write may begin.
    pub fn may_write(self, now: Tick) -> bool {
        match self {
            Leadership::Alone => true,
            Leadership::StandingBy => false,
            Leadership::Leading { until } => now < until,
        }
    }
}

/// The parts of a Lease that an election needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// The holder; `None` after a release.
    pub holder: Option<String>,
    /// The time of the renewal by the holder's clock. Only its change matters.
    pub renewed: Option<Timestamp>,
    /// The duration of the Lease without a renewal.
    pub duration: Duration,
}

/// The next step of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The Lease does not exist.
    Create,
    /// The Lease is free, or names this replica from before its restart.
    Take,
    /// Another replica holds the Lease.
    Wait,
}

/// A replica that waits for the Lease.
#[derive(Debug, Default)]
pub struct Candidate {
    seen: Option<(Holding, Tick)>,
}

impl Candidate {
    /// Evaluates the Lease. The other replica's clock does not count: the Lease has ended if it was unchanged for its
    /// duration.
    pub fn look(&mut self, me: &str, lease: Option<Holding>, now: Tick) -> Step {
        let Some(holding) = lease else {
            self.seen = None;
            return Step::Create;
        };
        let since = match &self.seen {
            Some((seen, since)) if *seen == holding => *since,
            _ => now,
        };
        let is_free = holding.holder.as_deref().is_none_or(|holder| holder.is_empty() || holder == me);
        let has_ended = now.saturating_sub(since) >= holding.duration;
        self.seen = Some((holding, since));
        if is_free || has_ended { Step::Take } else { Step::Wait }
    }

    /// The last known holder.
    pub fn holder(&self) -> Option<&str> {
        self.seen.as_ref().and_then(|(holding, _)| holding.holder.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Tick {
        Tick::from_secs(seconds)
    }

    fn held_by(holder: &str, renewed: i64) -> Option<Holding> {
        let renewed = Some(Timestamp::from_second(renewed).unwrap());
        Some(Holding { holder: Some(holder.into()), renewed, duration: DURATION })
    }

    #[test]
    fn a_missing_lease_is_created_and_a_released_lease_is_acquired_at_once() {
        let mut candidate = Candidate::default();
        assert_eq!(candidate.look("b", None, at(0)), Step::Create);
        assert_eq!(candidate.look("b", held_by("a", 0), at(1)), Step::Wait);
        let released = Holding { holder: None, ..held_by("a", 1).unwrap() };
        assert_eq!(candidate.look("b", Some(released), at(2)), Step::Take);
        assert_eq!(candidate.look("b", held_by("", 2), at(3)), Step::Take, "as client-go releases it");
    }

    #[test]
    fn a_lease_is_acquired_after_its_duration_without_a_change_whatever_its_times_are() {
        let mut candidate = Candidate::default();
        assert_eq!(candidate.look("b", held_by("a", 0), at(100)), Step::Wait, "first seen, however old it says it is");
        assert_eq!(candidate.look("b", held_by("a", 0), at(114)), Step::Wait);
        assert_eq!(candidate.look("b", held_by("a", 2), at(114)), Step::Wait, "renewed");
        assert_eq!(candidate.look("b", held_by("a", 2), at(128)), Step::Wait);
        assert_eq!(candidate.look("b", held_by("a", 2), at(129)), Step::Take);
        assert_eq!(candidate.look("b", held_by("c", 2), at(130)), Step::Wait, "another was faster");
        assert_eq!(candidate.holder(), Some("c"));
    }

    #[test]
    fn a_restarted_container_acquires_the_lease_of_its_pod_at_once() {
        assert_eq!(Candidate::default().look("a", held_by("a", 0), at(0)), Step::Take);
    }

    #[test]
    fn no_write_starts_that_could_outlast_the_lease() {
        let sent = at(100);
        let leadership = Leadership::renewed(sent);
        let mut last = None;
        for tenth in 0..200 {
            let now = sent + Duration::from_millis(100 * tenth);
            if leadership.may_write(now) {
                last = Some(now);
            }
        }
        let last = last.expect("it may write at first");
        assert!(last + LONGEST_WRITE < sent + DURATION, "{last:?}");
        assert!(last >= sent + RENEW_EVERY, "a renewal in time leaves no gap");
    }

    #[test]
    fn another_replica_leads_within_twenty_seconds_of_the_last_renewal() {
        // A candidate sees a renewal at most one interval later, and takes the Lease at most one interval after its
        // end.
        assert!(DURATION + LOOK_EVERY * 2 < Duration::from_secs(20));
    }

    #[test]
    fn a_standby_neither_reconciles_nor_writes() {
        assert!(!Leadership::StandingBy.leads() && !Leadership::StandingBy.may_write(at(0)));
        assert!(Leadership::Alone.leads() && Leadership::Alone.may_write(at(1_000_000)));
        assert!(Leadership::renewed(at(0)).leads(), "late, but not yet known to be lost");
    }
}
