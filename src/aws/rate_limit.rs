//! The rate limit: a token bucket for each account and region, shared by all calls to API Gateway there. The control
//! plane allows an account ten requests a second in total, and other tools need them too.
//!
//! Waiting calls get tokens in this order: updates of descriptions, then lists, then single reads by the time at which
//! each was due. There is no fairness between namespaces. At worst, a single read waits for every update and list that
//! is requested meanwhile and for every single read that was due earlier. Behind *n* calls, it waits about *n* / rate
//! seconds: 12 s for the default quota of 60 certificates at the default rate of 5 a second. The wait is that long only
//! if the list is denied, because one list call serves up to 500 certificates.
//!
//! A 429 pauses the bucket for its `Retry-After` (1 s without one, 5 min at most). Every call that waits for
//! a token, or requests one, fails at once.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter as Governor};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::error::retry_after_asked;
use crate::metrics::Metrics;
use crate::settings::Tick;

/// The size of a bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Calls a second in the long run.
    pub rate: f64,
    /// Calls at once after an idle time.
    pub burst: NonZeroU32,
}

/// The key of a bucket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Account {
    /// The AWS account; `None` while the operator's own account is unknown.
    pub id: Option<String>,
    pub region: String,
    /// The service. Each service counts its requests separately.
    pub service: Service,
}

/// A service that limits the requests of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    /// API Gateway's control plane.
    ApiGateway,
    /// AWS Certificate Manager.
    Acm,
}

/// The order of waiting calls: the smallest value gets the next token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// An update of a description.
    Update,
    /// A page of a list.
    List,
    /// A read of one certificate.
    Read {
        /// When it was due.
        due: Tick,
    },
}

/// The service throttles. No call may start before this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paused {
    /// When calls may start again.
    pub until: Tick,
}

/// The buckets of all accounts and regions.
pub struct RateLimiter {
    limits: Limits,
    clock: Clock,
    metrics: Arc<Metrics>,
    buckets: Mutex<HashMap<Account, Arc<Bucket>>>,
}

struct Bucket {
    tokens: Governor<NotKeyed, InMemoryState, TickClock, NoOpMiddleware<Duration>>,
    time: TickClock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    paused_until: Tick,
    next_ticket: u64,
    waiting: BTreeMap<(Priority, u64), Arc<Notify>>,
}

/// A clock with a time that the bucket sets, because governor reads its clock by itself.
#[derive(Clone, Debug, Default)]
struct TickClock(Arc<AtomicU64>);

impl governor::clock::Clock for TickClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

/// A place in the queue. The drop of the ticket frees it.
struct Ticket<'a> {
    bucket: &'a Bucket,
    key: (Priority, u64),
    metrics: &'a Metrics,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.metrics.budget_queue_changed(-1);
        let mut state = self.bucket.state.lock();
        state.waiting.remove(&self.key);
        state.call_first();
    }
}

impl State {
    fn call_first(&self) {
        if let Some((_, notify)) = self.waiting.first_key_value() {
            notify.notify_one();
        }
    }
}

impl Bucket {
    fn new(limits: Limits) -> Self {
        let period = Duration::from_secs_f64(1.0 / limits.rate.max(0.001));
        let quota = Quota::with_period(period).unwrap_or(Quota::per_second(NonZeroU32::MIN)).allow_burst(limits.burst);
        let time = TickClock::default();
        Bucket { tokens: Governor::direct_with_clock(quota, time.clone()), time, state: Mutex::default() }
    }

    /// Takes a token, or returns the time of the next token. The caller holds the lock of the state, so that the clock
    /// does not go back.
    fn take(&self, now: Tick) -> Result<(), Tick> {
        self.time.0.store(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.tokens.check().map_err(|until| now + until.wait_time_from(now))
    }
}

impl RateLimiter {
    /// A limiter with these limits for each account and region.
    pub fn new(limits: Limits, clock: Clock, metrics: Arc<Metrics>) -> Self {
        RateLimiter { limits, clock, metrics, buckets: Mutex::default() }
    }

    /// Waits for a token. An error means that no call may start now.
    pub async fn acquire(&self, account: &Account, priority: Priority) -> Result<(), Paused> {
        let asked = self.clock.now();
        let bucket = self.bucket(account);
        let notify = Arc::new(Notify::new());
        let key = {
            let mut state = bucket.state.lock();
            let key = (priority, state.next_ticket);
            state.next_ticket += 1;
            state.waiting.insert(key, Arc::clone(&notify));
            key
        };
        self.metrics.budget_queue_changed(1);
        let _ticket = Ticket { bucket: &bucket, key, metrics: &self.metrics };
        loop {
            let next_token = {
                let state = bucket.state.lock();
                let now = self.clock.now();
                if now < state.paused_until {
                    return Err(Paused { until: state.paused_until });
                }
                let is_first = state.waiting.first_key_value().is_some_and(|(first, _)| *first == key);
                match is_first.then(|| bucket.take(now)) {
                    Some(Ok(())) => {
                        self.metrics.waited_for_budget(now.saturating_sub(asked));
                        return Ok(());
                    }
                    Some(Err(next_token)) => Some(next_token),
                    None => None,
                }
            };
            match next_token {
                Some(next_token) => tokio::select! {
                    () = self.clock.wait_until(next_token) => {}
                    () = notify.notified() => {}
                },
                None => notify.notified().await,
            }
        }
    }

    /// The pause of a bucket, if there is one.
    pub fn paused(&self, account: &Account) -> Option<Paused> {
        let until = self.bucket(account).state.lock().paused_until;
        (self.clock.now() < until).then_some(Paused { until })
    }

    /// Pauses a bucket after a 429. A second 429 never shortens a pause.
    pub fn throttled(&self, account: &Account, retry_after: Option<Duration>) {
        self.metrics.throttled();
        let asked = retry_after.filter(|time| !time.is_zero()).unwrap_or(Duration::from_secs(1));
        let until = self.clock.now() + retry_after_asked(asked, fastrand::f64());
        let bucket = self.bucket(account);
        let mut state = bucket.state.lock();
        state.paused_until = state.paused_until.max(until);
        state.call_first();
    }

    fn bucket(&self, account: &Account) -> Arc<Bucket> {
        let mut buckets = self.buckets.lock();
        let bucket = buckets.entry(account.clone()).or_insert_with(|| Arc::new(Bucket::new(self.limits)));
        Arc::clone(bucket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(rate: f64, burst: u32) -> (Arc<RateLimiter>, Clock, Account) {
        let clock = Clock::start();
        let limits = Limits { rate, burst: NonZeroU32::new(burst).unwrap() };
        let account = Account { id: None, region: "us-east-1".into(), service: Service::ApiGateway };
        (Arc::new(RateLimiter::new(limits, clock, Arc::default())), clock, account)
    }

    #[tokio::test(start_paused = true)]
    async fn the_bucket_allows_a_burst_after_an_idle_time_and_then_the_rate() {
        let (limiter, clock, account) = limiter(5.0, 20);
        for _ in 0..20 {
            limiter.acquire(&account, Priority::List).await.unwrap();
        }
        assert_eq!(clock.now(), Duration::ZERO);
        for _ in 0..50 {
            limiter.acquire(&account, Priority::List).await.unwrap();
        }
        assert!((clock.now().as_secs_f64() - 10.0).abs() < 0.1, "{:?}", clock.now());
    }

    #[tokio::test(start_paused = true)]
    async fn updates_precede_lists_and_lists_precede_reads_in_order_of_due_time() {
        let (limiter, _, account) = limiter(1.0, 1);
        limiter.acquire(&account, Priority::List).await.unwrap();
        let read = |due| Priority::Read { due: Duration::from_secs(due) };
        let served = Arc::new(Mutex::new(Vec::new()));
        let tasks = [read(9), read(3), Priority::List, read(5), Priority::Update].map(|priority| {
            let (limiter, account, served) = (Arc::clone(&limiter), account.clone(), Arc::clone(&served));
            tokio::spawn(async move {
                limiter.acquire(&account, priority).await.unwrap();
                served.lock().push(priority);
            })
        });
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*served.lock(), [Priority::Update, Priority::List, read(3), read(5), read(9)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_gave_up_does_not_delay_other_calls() {
        let (limiter, clock, account) = limiter(1.0, 1);
        limiter.acquire(&account, Priority::List).await.unwrap();
        let gave_up = tokio::time::timeout(Duration::from_millis(100), limiter.acquire(&account, Priority::Update));
        let (gave_up, waited) = tokio::join!(gave_up, limiter.acquire(&account, Priority::List));
        assert!(gave_up.is_err() && waited.is_ok());
        assert!(clock.now() <= Duration::from_millis(1010), "{:?}", clock.now());
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_refuses_every_call_at_once_for_a_limited_time() {
        for (asked, wait) in [(None, 1), (Some(0), 1), (Some(7), 7), (Some(3600), 300)] {
            let (limiter, clock, account) = limiter(1.0, 1);
            limiter.acquire(&account, Priority::List).await.unwrap();
            let waiting = [Priority::Update, Priority::List, Priority::Read { due: Tick::ZERO }].map(|priority| {
                let (limiter, account) = (Arc::clone(&limiter), account.clone());
                tokio::spawn(async move { limiter.acquire(&account, priority).await })
            });
            tokio::task::yield_now().await;
            limiter.throttled(&account, asked.map(Duration::from_secs));
            let until = limiter.paused(&account).unwrap().until;
            let wait = Duration::from_secs(wait);
            assert!(until >= wait && until <= wait.mul_f64(1.1), "{asked:?}: {until:?}");
            for waiting in waiting {
                assert_eq!(waiting.await.unwrap(), Err(Paused { until }));
            }
            assert_eq!(limiter.acquire(&account, Priority::Update).await, Err(Paused { until }));
            assert!(clock.now() < Duration::from_millis(10));
            clock.wait_until(until).await;
            assert_eq!(limiter.paused(&account), None);
            assert_eq!(limiter.acquire(&account, Priority::Update).await, Ok(()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn accounts_and_regions_do_not_share_a_bucket() {
        let (limiter, clock, account) = limiter(1.0, 1);
        limiter.throttled(&account, None);
        let other = Account { region: "eu-west-1".into(), ..account };
        assert_eq!(limiter.acquire(&other, Priority::List).await, Ok(()));
        assert_eq!(clock.now(), Duration::ZERO);
    }
}
