//! Which of several replicas leads: the one that holds the Lease. Pure; `kubernetes::lease` makes the requests.
//!
//! The times fit together. A Lease that is not renewed for 15 s is free; the other replicas read it every second, so another
//! leads 17 s after the last renewal at the latest. A call that writes ends within 10 s, and none begins in the last 11 s of the
//! Lease, so that no write of a leader that cannot renew is under way when the next one begins.

mod fence;

pub use fence::Fence;

use std::time::Duration;

use jiff::Timestamp;

use crate::settings::Tick;

/// How long a Lease holds that is not renewed.
pub const DURATION: Duration = Duration::from_secs(15);
/// How often the holder renews it.
pub const RENEW_EVERY: Duration = Duration::from_secs(2);
/// How often the others read it.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The longest that a call may take which writes, to Kubernetes or to API Gateway.
pub const LONGEST_WRITE: Duration = Duration::from_secs(10);
/// No write begins so shortly before the Lease's end: longer than a write takes.
const MARGIN: Duration = Duration::from_secs(11);

/// What a process may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leadership {
    /// It leads, without an election.
    Alone,
    /// Another replica leads, or none yet.
    StandingBy,
    /// It leads, and may begin to write until then.
    Leading {
        /// By the steady clock.
        until: Tick,
    },
}

impl Leadership {
    /// The leadership of one whose renewal was sent at this time, and was accepted: the Lease may count from then.
    pub fn renewed(sent: Tick) -> Self {
        Leadership::Leading { until: sent + (DURATION - MARGIN) }
    }

    /// Whether it leads.
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
    /// The holder; none, if it was released.
    pub holder: Option<String>,
    /// When it was renewed, by the holder's clock: only that it changes matters.
    pub renewed: Option<Timestamp>,
    /// How long it holds without being renewed.
    pub duration: Duration,
}

/// What to do about a Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// There is none.
    Create,
    /// It is free, or ours from an earlier life of this pod.
    Take,
    /// It is another's.
    Wait,
}

/// A replica that waits for the Lease.
#[derive(Debug, Default)]
pub struct Candidate {
    seen: Option<(Holding, Tick)>,
}

impl Candidate {
    /// Evaluates the Lease. The other clock is not trusted: the Lease has ended when it was unchanged for its duration.
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
    fn a_lease_that_is_not_there_is_made_and_one_that_was_released_is_taken_at_once() {
        let mut candidate = Candidate::default();
        assert_eq!(candidate.look("b", None, at(0)), Step::Create);
        assert_eq!(candidate.look("b", held_by("a", 0), at(1)), Step::Wait);
        let released = Holding { holder: None, ..held_by("a", 1).unwrap() };
        assert_eq!(candidate.look("b", Some(released), at(2)), Step::Take);
        assert_eq!(candidate.look("b", held_by("", 2), at(3)), Step::Take, "as client-go releases it");
    }

    #[test]
    fn a_lease_is_taken_when_it_was_seen_unchanged_for_its_duration_whatever_its_clock_says() {
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
    fn a_container_that_starts_anew_in_its_pod_goes_on_with_the_lease_of_its_earlier_life() {
        assert_eq!(Candidate::default().look("a", held_by("a", 0), at(0)), Step::Take);
    }

    #[test]
    fn no_write_begins_that_could_be_under_way_when_the_lease_ends() {
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
    fn another_leads_within_twenty_seconds_of_the_last_renewal() {
        // Seen up to one interval after it was renewed, and taken up to one interval after it ended.
        assert!(DURATION + LOOK_EVERY * 2 < Duration::from_secs(20));
    }

    #[test]
    fn one_that_stands_by_neither_works_nor_writes() {
        assert!(!Leadership::StandingBy.leads() && !Leadership::StandingBy.may_write(at(0)));
        assert!(Leadership::Alone.leads() && Leadership::Alone.may_write(at(1_000_000)));
        assert!(Leadership::renewed(at(0)).leads(), "late, but not yet known to be lost");
    }
}
