//! The rate limit of API Gateway's control plane: one token bucket for each account and all its callers.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::Emulator;
use super::log::Call;

/// The rate limit of an account. The default is AWS's limit, which AWS does not raise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct RateLimit {
    /// Calls a second in the long run.
    pub rate: f64,
    /// Calls at once after an idle time.
    pub burst: u32,
    /// The header `Retry-After` of refusals, unchanged.
    pub retry_after: Option<String>,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self { rate: 10.0, burst: 40, retry_after: None }
    }
}

impl RateLimit {
    /// A limit that allows no call.
    pub fn nothing() -> Self {
        Self { rate: 0.0, burst: 0, retry_after: None }
    }
}

impl Emulator {
    /// Limits every account separately from now on, each with a full burst. `None` ends the limit.
    pub fn set_rate_limit(&self, limit: Option<RateLimit>) {
        self.state.lock().limits.set(limit);
    }

    /// Sets another limit for one account. `None` restores the general limit.
    pub fn set_rate_limit_of(&self, account: &str, limit: Option<RateLimit>) {
        self.state.lock().limits.set_of(account, limit);
    }

    /// The number of calls to API Gateway with the answer 429, from the rate limit or the script.
    pub fn throttled(&self) -> usize {
        self.state.lock().calls.iter().filter(|call| call.status == Some(429)).count()
    }

    /// The number of these calls of one account.
    pub fn throttled_in(&self, account: &str) -> usize {
        let fits = |call: &&Call| call.status == Some(429) && call.account.as_deref() == Some(account);
        self.state.lock().calls.iter().filter(fits).count()
    }
}

/// The limits, and the tokens of each account.
#[derive(Debug, Default)]
pub(super) struct Limits {
    general: Option<RateLimit>,
    special: BTreeMap<String, RateLimit>,
    buckets: BTreeMap<String, Bucket>,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled: Instant,
}

impl Limits {
    pub(super) fn set(&mut self, limit: Option<RateLimit>) {
        self.general = limit;
        self.buckets.clear();
    }

    pub(super) fn set_of(&mut self, account: &str, limit: Option<RateLimit>) {
        match limit {
            Some(limit) => self.special.insert(account.to_owned(), limit),
            None => self.special.remove(account),
        };
        self.buckets.remove(account);
    }

    /// Takes a token from an account's bucket. Returns the limit if the bucket is empty.
    pub(super) fn take(&mut self, account: &str, now: Instant) -> Result<(), RateLimit> {
        let Some(limit) = self.special.get(account).or(self.general.as_ref()) else { return Ok(()) };
        let full = f64::from(limit.burst);
        let bucket = self.buckets.entry(account.to_owned()).or_insert(Bucket { tokens: full, filled: now });
        let since = now.saturating_duration_since(bucket.filled).as_secs_f64();
        *bucket = Bucket { tokens: (bucket.tokens + since * limit.rate).min(full), filled: now };
        if bucket.tokens < 1.0 {
            return Err(limit.clone());
        }
        bucket.tokens -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// The number of allowed calls among `calls` at once.
    fn taken(limits: &mut Limits, account: &str, now: Instant, calls: usize) -> usize {
        (0..calls).filter(|_| limits.take(account, now).is_ok()).count()
    }

    #[test]
    fn an_account_has_its_burst_and_then_its_rate() {
        let (mut limits, start) = (Limits::default(), Instant::now());
        assert_eq!(taken(&mut limits, "a", start, 1000), 1000, "off unless set");
        limits.set(Some(RateLimit::default()));
        assert_eq!(taken(&mut limits, "a", start, 100), 40);
        assert_eq!(taken(&mut limits, "a", start + Duration::from_millis(500), 100), 5);
        assert_eq!(taken(&mut limits, "a", start + Duration::from_secs(3600), 100), 40);
    }

    #[test]
    fn accounts_share_no_limit_and_one_can_be_throttled_to_zero() {
        let (mut limits, now) = (Limits::default(), Instant::now());
        limits.set(Some(RateLimit { rate: 1.0, burst: 3, retry_after: Some("2".into()) }));
        limits.set_of("shut", Some(RateLimit::nothing()));
        assert_eq!(taken(&mut limits, "a", now, 10), 3);
        assert_eq!(taken(&mut limits, "b", now, 10), 3);
        assert_eq!(taken(&mut limits, "shut", now + Duration::from_secs(60), 10), 0);
        assert_eq!(limits.take("a", now).unwrap_err().retry_after.as_deref(), Some("2"));
        limits.set_of("shut", None);
        assert_eq!(taken(&mut limits, "shut", now, 10), 3);
    }
}
