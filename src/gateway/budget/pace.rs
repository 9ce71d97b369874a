//! How fast calls may follow one another in one account and region: the tokens, and what throttling and outages do to
//! them. Time is an argument.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use crate::error::{doubling, retry_after_asked};
use crate::gateway::{GatewayError, Outage};
use crate::settings::Tick;

/// The rate is counted in this many parts of the full one, so that it can come back step by step.
const PARTS: u32 = 8;
/// How long a part of the rate has to prove itself before the next is added.
const STEP: Duration = Duration::from_secs(15);
/// The longest that a bucket is closed by an outage without being asked to.
const OUTAGE_MOST: Duration = Duration::from_secs(60);

pub use crate::aws::rate_limit::Limits;

/// A bucket from which no token comes for a while.
#[derive(Clone, Debug, PartialEq)]
pub struct Closed {
    /// What closed it.
    pub failure: GatewayError,
    /// When it opens again.
    pub until: Tick,
}

/// Why there is no token now.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Refusal {
    /// The bucket is closed.
    Closed(Closed),
    /// The next token comes after this time.
    Empty(Duration),
}

/// The tokens of one bucket.
pub(super) struct Pace {
    limits: Limits,
    hand: Hand,
    limiter: RateLimiter<NotKeyed, InMemoryState, Hand, NoOpMiddleware<Duration>>,
    parts: u32,
    /// When the rate was changed last.
    stepped: Tick,
    closed: Option<Closed>,
    outages: u32,
    /// The certificates whose calls have failed since the last answer: one that always fails must not close the bucket
    /// for ever longer.
    failing: BTreeSet<String>,
}

/// A clock that shows what it was set to last.
#[derive(Clone, Debug, Default)]
struct Hand(Arc<AtomicU64>);

impl Hand {
    fn set(&self, now: Tick) {
        self.0.store(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl Clock for Hand {
    type Instant = Duration;

    fn now(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

impl Pace {
    pub(super) fn new(limits: Limits) -> Self {
        let hand = Hand::default();
        let limiter = limiter(limits, PARTS, &hand);
        Pace {
            limits,
            hand,
            limiter,
            parts: PARTS,
            stepped: Tick::ZERO,
            closed: None,
            outages: 0,
            failing: BTreeSet::new(),
        }
    }

    /// Takes a token, or tells why there is none.
    pub(super) fn take(&mut self, now: Tick) -> Result<(), Refusal> {
        if let Some(closed) = self.closed(now) {
            return Err(Refusal::Closed(closed.clone()));
        }
        self.recover(now);
        self.hand.set(now);
        self.limiter.check().map_err(|until| Refusal::Empty(until.wait_time_from(now)))
    }

    /// Why and until when the bucket is closed, if it is.
    pub(super) fn closed(&self, now: Tick) -> Option<&Closed> {
        self.closed.as_ref().filter(|closed| now < closed.until)
    }

    /// Calls a second as of now.
    pub(super) fn rate(&self) -> f64 {
        rate(self.limits, self.parts)
    }

    /// API Gateway asked to slow down. Calls that were under way together count once.
    pub(super) fn throttled(&mut self, retry_after: Option<Duration>, now: Tick, jitter: f64) {
        let asked = retry_after.filter(|time| !time.is_zero()).unwrap_or(Duration::from_secs(1));
        let until = now + retry_after_asked(asked, jitter);
        if self.closed(now).is_none() {
            self.set_parts((self.parts / 2).max(1), until);
        }
        self.close(GatewayError::Throttled { retry_after }, until, now);
    }

    /// API Gateway gave no answer, or a 5xx, to a call about this certificate, or about all.
    pub(super) fn unavailable(
        &mut self,
        id: &str,
        outage: Outage,
        retry_after: Option<Duration>,
        now: Tick,
        jitter: f64,
    ) {
        let is_another = id.is_empty() || self.failing.insert(id.to_owned());
        let mut wait = retry_after.map_or(Duration::ZERO, |asked| retry_after_asked(asked, jitter));
        if self.closed(now).is_none() {
            self.outages = self.outages.saturating_add(u32::from(is_another));
            let count = if is_another { self.outages } else { 1 };
            wait = wait.max(doubling(Duration::from_secs(1), count, OUTAGE_MOST).mul_f64(0.9 + 0.2 * jitter));
        }
        self.close(GatewayError::Unavailable { outage, retry_after }, now + wait, now);
    }

    /// API Gateway answered.
    pub(super) fn answered(&mut self) {
        self.outages = 0;
        self.failing.clear();
    }

    fn close(&mut self, failure: GatewayError, until: Tick, now: Tick) {
        match self.closed.as_mut().filter(|closed| now < closed.until) {
            Some(closed) => closed.until = closed.until.max(until),
            None => self.closed = Some(Closed { failure, until }),
        }
    }

    fn recover(&mut self, now: Tick) {
        let steps = now.saturating_sub(self.stepped).as_secs() / STEP.as_secs();
        if self.parts < PARTS && steps > 0 {
            let parts = u32::try_from(steps).unwrap_or(PARTS).saturating_add(self.parts).min(PARTS);
            self.set_parts(parts, now);
        }
    }

    fn set_parts(&mut self, parts: u32, now: Tick) {
        self.parts = parts;
        self.stepped = now;
        self.limiter = limiter(self.limits, parts, &self.hand);
    }
}

fn rate(limits: Limits, parts: u32) -> f64 {
    limits.rate * f64::from(parts) / f64::from(PARTS)
}

/// At less than the full rate there is no burst: it is what brought the throttling on.
fn limiter(
    limits: Limits,
    parts: u32,
    hand: &Hand,
) -> RateLimiter<NotKeyed, InMemoryState, Hand, NoOpMiddleware<<Hand as Clock>::Instant>> {
    let period = Duration::from_secs_f64(1.0 / rate(limits, parts).max(0.001));
    let burst = if parts == PARTS { limits.burst } else { NonZeroU32::MIN };
    let quota = Quota::with_period(period).unwrap_or(Quota::per_second(NonZeroU32::MIN)).allow_burst(burst);
    RateLimiter::direct_with_clock(quota, hand.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { rate: 5.0, burst: NonZeroU32::new(20).unwrap() };

    fn seconds(n: f64) -> Tick {
        Tick::from_secs_f64(n)
    }

    /// How many tokens come in a time, for one who takes each as soon as it is there.
    fn tokens(pace: &mut Pace, from: Tick, to: Tick) -> usize {
        let (mut now, mut taken) = (from, 0);
        while now < to {
            match pace.take(now) {
                Ok(()) => taken += 1,
                Err(Refusal::Empty(wait)) => now += wait.max(Duration::from_millis(1)),
                Err(Refusal::Closed(closed)) => now = closed.until,
            }
        }
        taken
    }

    #[test]
    fn after_a_quiet_time_there_is_a_burst_and_then_the_rate() {
        let mut pace = Pace::new(LIMITS);
        let first = tokens(&mut pace, seconds(100.0), seconds(100.001));
        assert_eq!(first, 20);
        let then = tokens(&mut pace, seconds(100.001), seconds(110.0));
        assert!((48..=50).contains(&then), "{then}");
    }

    #[test]
    fn throttling_closes_for_the_time_asked_and_halves_the_rate_for_a_while() {
        let mut pace = Pace::new(LIMITS);
        pace.throttled(Some(Duration::from_secs(7)), seconds(0.0), 0.0);
        assert!(matches!(pace.take(seconds(6.9)), Err(Refusal::Closed(_))));
        let slow = tokens(&mut pace, seconds(7.0), seconds(17.0));
        assert!((24..=27).contains(&slow), "half of 5 a second, without a burst: {slow}");
        assert_eq!(tokens(&mut pace, seconds(200.0), seconds(200.001)), 20, "it has recovered");
    }

    #[test]
    fn the_rate_comes_back_step_by_step() {
        let mut pace = Pace::new(LIMITS);
        pace.throttled(None, seconds(0.0), 0.0);
        let rates = [1.0, 17.0, 32.1, 47.2, 62.3].map(|at| {
            let _ = pace.take(seconds(at));
            pace.rate()
        });
        assert_eq!(rates, [2.5, 3.125, 3.75, 4.375, 5.0]);
    }

    #[test]
    fn calls_that_were_throttled_together_halve_the_rate_once() {
        let mut pace = Pace::new(LIMITS);
        (0..4).for_each(|_| pace.throttled(None, seconds(0.0), 0.0));
        assert_eq!(pace.rate(), 2.5);
        pace.throttled(None, seconds(2.0), 0.0);
        assert_eq!(pace.rate(), 1.25);
        (2..20).for_each(|n| pace.throttled(None, seconds(f64::from(n) * 3.0), 0.0));
        assert_eq!(pace.rate(), 5.0 / 8.0, "it never stops altogether");
    }

    #[test]
    fn an_odd_retry_after_is_made_a_sensible_one() {
        for (asked, wait) in [(None, 1), (Some(0), 1), (Some(1), 1), (Some(60), 60), (Some(3600), 300)] {
            let mut pace = Pace::new(LIMITS);
            pace.throttled(asked.map(Duration::from_secs), seconds(10.0), 0.0);
            let until = pace.closed(seconds(10.0)).unwrap().until;
            assert_eq!(until, Tick::from_secs(10 + wait), "{asked:?}");
        }
    }

    #[test]
    fn a_certificate_that_always_fails_closes_for_a_moment_only() {
        let mut pace = Pace::new(LIMITS);
        let mut now = seconds(0.0);
        for _ in 0..8 {
            pace.unavailable("9ao60f", Outage::Status(500), None, now, 0.5);
            let until = pace.closed(now).unwrap().until;
            assert_eq!(until - now, Duration::from_secs(1));
            now = until;
        }
        pace.unavailable("k2c0qe", Outage::Status(500), None, now, 0.5);
        assert_eq!(pace.closed(now).unwrap().until - now, Duration::from_secs(2), "another one too");
    }

    #[test]
    fn outages_close_for_ever_longer_until_an_answer_comes() {
        let mut pace = Pace::new(LIMITS);
        let mut now = seconds(0.0);
        let mut waits = Vec::new();
        for _ in 0..8 {
            pace.unavailable("", Outage::TimedOut, None, now, 0.5);
            let until = pace.closed(now).unwrap().until;
            waits.push((until - now).as_secs());
            now = until;
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(pace.rate(), 5.0, "the rate is for throttling");
        pace.answered();
        pace.unavailable("", Outage::Status(500), None, now, 0.5);
        assert_eq!(pace.closed(now).unwrap().until - now, Duration::from_secs(1));
    }
}
