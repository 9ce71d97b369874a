//! The wait after each consecutive failure. Pure: the jitter is an argument.

use std::time::Duration;

/// Waits that double from the shortest to the longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    /// A backoff without failures. The longest wait is `max`, or `first` if that is longer.
    pub const fn new(first: Duration, max: Duration) -> Self {
        Backoff { first, max, failures: 0 }
    }

    /// Counts one more failure and returns the wait. `jitter` is a random number from 0 to 1. It changes the wait by at
    /// most a tenth, so that calls that failed together are not retried together.
    pub fn fail(&mut self, jitter: f64) -> Duration {
        let factor = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.failures = self.failures.saturating_add(1);
        self.first.saturating_mul(factor).min(self.max.max(self.first)).mul_f64(0.9 + 0.2 * jitter)
    }

    /// Resets the count of failures.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// The count of consecutive failures.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_start_again_after_a_reset() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        let waits: Vec<_> = (0..40).map(|_| backoff.fail(0.5).as_secs()).collect();
        assert_eq!(waits[..8], [1, 2, 4, 8, 16, 32, 60, 60]);
        assert!(waits[8..].iter().all(|wait| *wait == 60));
        assert_eq!(backoff.failures(), 40);
        backoff.reset();
        assert_eq!(backoff.fail(0.0), Duration::from_millis(900));
        assert_eq!(backoff.fail(1.0), Duration::from_millis(2200));
    }

    #[test]
    fn the_first_wait_applies_even_if_the_longest_is_shorter() {
        let mut backoff = Backoff::new(Duration::from_secs(7200), Duration::from_secs(3600));
        assert_eq!([backoff.fail(0.5), backoff.fail(0.5)], [Duration::from_secs(7200); 2]);
    }
}
