//! The wait before the next write of a target: none, unless writes fail or another writer undoes every repair.

use std::time::Duration;

use crate::backoff::Backoff;
use crate::settings::Tick;

const FIRST: Duration = Duration::from_secs(1);
const MAX: Duration = Duration::from_secs(60);
/// The number of consecutive repairs without a wait.
const REPAIRS_AT_ONCE: usize = 3;
/// Repairs further apart than this are not consecutive.
const QUIET: Duration = Duration::from_secs(5 * 60);

/// A write that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The time of the next attempt.
    pub until: Tick,
    /// Whether another writer undoes every repair. Otherwise the last write failed.
    pub is_contested: bool,
}

/// The writes of one target for one generation of its resource. A restart loses them; the new process may write once
/// more.
#[derive(Clone, Debug)]
pub struct WriteBackoff {
    generation: Option<i64>,
    backoff: Backoff,
    hold: Option<Hold>,
    repairs: usize,
    last_repair: Tick,
}

/// The result of the writes of a reconcile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// No write was necessary.
    Nothing,
    /// The write succeeded.
    Done {
        /// Whether the write undid another writer's change.
        is_repair: bool,
    },
    /// The write failed, or an admission policy changed it.
    Failed,
}

impl WriteBackoff {
    /// The backoff of a generation without writes.
    pub fn new(generation: Option<i64>) -> Self {
        WriteBackoff { generation, backoff: Backoff::new(FIRST, MAX), hold: None, repairs: 0, last_repair: Tick::ZERO }
    }

    /// The wait of the next write, if there is one. A new generation does not wait.
    pub fn hold(&self, generation: Option<i64>, now: Tick) -> Option<Hold> {
        self.hold.filter(|hold| self.generation == generation && now < hold.until)
    }

    /// Records the result of the writes of a reconcile.
    pub fn note(&mut self, generation: Option<i64>, written: Written, now: Tick, jitter: f64) {
        if self.generation != generation {
            *self = WriteBackoff { repairs: self.repairs, last_repair: self.last_repair, ..Self::new(generation) };
        }
        match written {
            Written::Nothing => {}
            Written::Failed => self.wait(false, now, jitter),
            Written::Done { is_repair: false } => {
                self.backoff.reset();
                self.hold = None;
            }
            Written::Done { is_repair: true } => {
                let in_a_row = now.saturating_sub(self.last_repair) < QUIET;
                self.repairs = if in_a_row { self.repairs + 1 } else { 1 };
                self.last_repair = now;
                self.hold = None;
                if self.repairs >= REPAIRS_AT_ONCE {
                    self.wait(true, now, jitter);
                } else {
                    self.backoff.reset();
                }
            }
        }
    }

    /// Whether the backoff can be dropped.
    pub fn is_idle(&self, now: Tick) -> bool {
        self.hold.is_none_or(|hold| hold.until <= now) && now.saturating_sub(self.last_repair) >= QUIET
    }

    fn wait(&mut self, is_contested: bool, now: Tick, jitter: f64) {
        self.hold = Some(Hold { until: now + self.backoff.fail(jitter), is_contested });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: u64) -> Tick {
        Tick::from_secs(n)
    }

    #[test]
    fn three_repairs_happen_at_once_and_further_repairs_have_a_backoff() {
        let mut writes = WriteBackoff::new(Some(1));
        let (mut now, mut waits) = (seconds(10), Vec::new());
        for _ in 0..10 {
            if let Some(hold) = writes.hold(Some(1), now) {
                assert!(hold.is_contested);
                waits.push((hold.until - now).as_secs());
                now = hold.until;
            }
            writes.note(Some(1), Written::Done { is_repair: true }, now, 0.5);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60]);
        assert!(writes.hold(Some(2), now).is_none(), "a new generation waits for nothing");
    }

    #[test]
    fn repairs_that_are_far_apart_have_no_backoff() {
        let mut writes = WriteBackoff::new(Some(1));
        for n in 1..20 {
            let now = QUIET * n;
            assert_eq!(writes.hold(Some(1), now), None);
            writes.note(Some(1), Written::Done { is_repair: true }, now, 0.5);
        }
        assert!(!writes.is_idle(QUIET * 19) && writes.is_idle(QUIET * 20));
    }

    #[test]
    fn a_failed_write_starts_the_backoff_and_a_successful_one_ends_it() {
        let mut writes = WriteBackoff::new(Some(1));
        writes.note(Some(1), Written::Failed, seconds(1), 0.5);
        assert_eq!(writes.hold(Some(1), seconds(1)), Some(Hold { until: seconds(2), is_contested: false }));
        writes.note(Some(1), Written::Failed, seconds(2), 0.5);
        assert_eq!(writes.hold(Some(1), seconds(2)).unwrap().until, seconds(4));
        writes.note(Some(1), Written::Nothing, seconds(3), 0.5);
        assert!(writes.hold(Some(1), seconds(3)).is_some(), "nothing was tried");
        writes.note(Some(1), Written::Done { is_repair: false }, seconds(4), 0.5);
        assert_eq!(writes.hold(Some(1), seconds(4)), None);
    }
}
