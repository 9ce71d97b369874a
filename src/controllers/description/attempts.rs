//! Decides when to send a description to API Gateway, and when to stop. Pure.

use std::time::Duration;

use super::plan::State;
use crate::aws::gateway::{GatewayError, Source};
use crate::backoff::Backoff;
use crate::settings::Tick;

const HOUR: Duration = Duration::from_secs(60 * 60);
/// So many undone updates in an hour mean that another writer keeps changing the description.
const UNDONE_MOST: usize = 3;
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_DENIED: Duration = Duration::from_secs(30);
const RETRY_MAX: Duration = Duration::from_secs(60);
const RETRY_DENIED_MAX: Duration = Duration::from_secs(10 * 60);

/// The attempts to set one description of one certificate. A restart loses them; the new process may send the text once
/// more.
#[derive(Clone, Debug)]
pub struct Attempts {
    text: String,
    source: Source,
    /// The generation and the refresh annotation of the owner: a new value of either causes a retry at once.
    wish: Wish,
    /// Whether API Gateway held the text at the last read or update.
    in_place: bool,
    restores: bool,
    undone: Vec<Tick>,
    contested: bool,
    sent_at: Option<Tick>,
    not_applied: Option<String>,
    backoff: Backoff,
    denied: Backoff,
    failed: Option<(GatewayError, Tick)>,
}

/// The values of an owner whose change causes a retry at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// `metadata.generation`
    pub generation: Option<i64>,
    /// The refresh annotation.
    pub refresh: Option<String>,
}

/// The result of the description in the owner's status when this process started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// The status has no result for this generation.
    Nothing,
    /// API Gateway held the text.
    Synced,
    /// API Gateway stored another text.
    NotApplied,
    /// Another writer kept changing the text.
    Contested,
}

/// The next step.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Send the text.
    Send {
        /// Whether another writer had changed the text.
        restores: bool,
    },
    /// Send nothing. The tick is the time of the retry, if there is one.
    Rest(State, Option<Tick>),
}

impl Attempts {
    /// No attempts yet. `recorded` is the result in the owner's status, and `found` the text in API Gateway.
    pub fn new(text: &str, source: &Source, wish: Wish, recorded: Recorded, found: &str, now: Tick) -> Self {
        let mut attempts = Attempts {
            text: text.to_owned(),
            source: source.clone(),
            wish,
            in_place: recorded == Recorded::Synced,
            restores: false,
            undone: Vec::new(),
            contested: false,
            sent_at: None,
            not_applied: None,
            backoff: Backoff::new(RETRY_FIRST, RETRY_MAX),
            denied: Backoff::new(RETRY_DENIED, RETRY_DENIED_MAX),
            failed: None,
        };
        match recorded {
            Recorded::NotApplied if found != text => attempts.not_applied = Some(found.to_owned()),
            Recorded::Contested => {
                attempts.contested = true;
                attempts.sent_at = Some(now);
            }
            _ => {}
        }
        attempts
    }

    /// Whether the attempts are for this text and this certificate.
    pub fn are_at(&self, text: &str, source: &Source) -> bool {
        self.text == text && self.source == *source
    }

    /// The next step if API Gateway holds `found`. Idempotent.
    pub fn look(&mut self, found: &str, wish: &Wish, now: Tick) -> Verdict {
        if self.wish != *wish {
            self.wish = wish.clone();
            self.failed = None;
            self.backoff.reset();
            self.denied.reset();
        }
        self.undone.retain(|at| now.saturating_sub(*at) < HOUR);
        if self.text == found {
            // The text has stayed for an hour, so the other writer has stopped.
            if self.contested && self.sent_at.is_none_or(|at| now.saturating_sub(at) >= HOUR) {
                self.contested = false;
                self.undone.clear();
            }
            self.in_place = true;
            self.restores = false;
            self.not_applied = None;
            self.failed = None;
            return Verdict::Rest(State::Synced, None);
        }
        if std::mem::take(&mut self.in_place) {
            self.restores = true;
            self.undone.push(now);
            self.contested |= self.undone.len() >= UNDONE_MOST;
        }
        if self.not_applied.as_deref() == Some(found) {
            return Verdict::Rest(State::NotApplied, None);
        }
        if let Some(until) = self.sent_at.map(|at| at + HOUR).filter(|until| self.contested && now < *until) {
            return Verdict::Rest(State::Contested, Some(until));
        }
        match &self.failed {
            Some((error, until)) if now < *until => Verdict::Rest(State::Failed(error.clone()), Some(*until)),
            _ => Verdict::Send { restores: self.restores },
        }
    }

    /// Records the result of an update: the text that API Gateway holds, or the error.
    pub fn sent(&mut self, result: Result<&str, &GatewayError>, now: Tick, jitter: f64) {
        match result {
            Ok(holds) => {
                self.sent_at = Some(now);
                self.in_place = self.text == holds;
                self.restores = false;
                self.not_applied = (!self.in_place).then(|| holds.to_owned());
                self.failed = None;
                self.backoff.reset();
                self.denied.reset();
            }
            Err(error) => {
                let class = error.class();
                let wait = match class.is_transient() {
                    true => self.backoff.fail(jitter).max(class.retry_after().unwrap_or_default()),
                    false => self.denied.fail(jitter),
                };
                self.failed = Some((error.clone(), now + wait));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> Source {
        Source::own("us-east-1", "9ao60f")
    }

    fn minutes(n: u64) -> Tick {
        Tick::from_secs(n * 60)
    }

    fn attempts(text: &str, recorded: Recorded, found: &str) -> Attempts {
        Attempts::new(text, &source(), Wish::default(), recorded, found, Tick::ZERO)
    }

    fn look(attempts: &mut Attempts, found: &str, now: Tick) -> Verdict {
        attempts.look(found, &Wish::default(), now)
    }

    const SYNCED: Verdict = Verdict::Rest(State::Synced, None);
    const SEND: Verdict = Verdict::Send { restores: false };
    const RESTORE: Verdict = Verdict::Send { restores: true };

    #[test]
    fn an_empty_description_and_none_in_api_gateway_are_equal() {
        assert_eq!(look(&mut attempts("", Recorded::Nothing, ""), "", Tick::ZERO), SYNCED);
        assert_eq!(look(&mut attempts("", Recorded::Nothing, "text"), "text", Tick::ZERO), SEND);
    }

    #[test]
    fn an_answer_that_differs_is_not_sent_again_until_api_gateway_changes() {
        let mut attempts = attempts("a  b", Recorded::Nothing, "");
        attempts.sent(Ok("a b"), Tick::ZERO, 0.5);
        assert_eq!(look(&mut attempts, "a b", minutes(60)), Verdict::Rest(State::NotApplied, None));
        assert_eq!(look(&mut attempts, "c", minutes(60)), SEND);
    }

    #[test]
    fn after_three_reverts_in_an_hour_there_is_one_attempt_per_hour() {
        let mut attempts = attempts("ours", Recorded::Nothing, "theirs");
        for minute in [0, 10] {
            attempts.sent(Ok("ours"), minutes(minute), 0.5);
            assert_eq!(look(&mut attempts, "theirs", minutes(minute + 5)), RESTORE);
            assert_eq!(look(&mut attempts, "theirs", minutes(minute + 5)), RESTORE, "the same finding counts once");
        }
        attempts.sent(Ok("ours"), minutes(15), 0.5);
        let contested = Verdict::Rest(State::Contested, Some(minutes(75)));
        assert_eq!(look(&mut attempts, "theirs", minutes(20)), contested);
        assert_eq!(look(&mut attempts, "theirs", minutes(75)), RESTORE);
        attempts.sent(Ok("ours"), minutes(75), 0.5);
        assert_eq!(look(&mut attempts, "theirs", minutes(80)), Verdict::Rest(State::Contested, Some(minutes(135))));
        attempts.sent(Ok("ours"), minutes(135), 0.5);
        assert_eq!(look(&mut attempts, "ours", minutes(200)), SYNCED, "it held");
        assert_eq!(look(&mut attempts, "theirs", minutes(201)), RESTORE);
    }

    #[test]
    fn a_failed_update_waits_unless_the_owner_changes_something() {
        let mut attempts = attempts("ours", Recorded::Nothing, "theirs");
        attempts.sent(Err(&GatewayError::Conflict), minutes(1), 0.5);
        let until = minutes(1) + RETRY_FIRST;
        let failed = Verdict::Rest(State::Failed(GatewayError::Conflict), Some(until));
        assert_eq!(look(&mut attempts, "theirs", minutes(1)), failed);
        assert_eq!(look(&mut attempts, "theirs", until), SEND);
        attempts.sent(Err(&GatewayError::NotFound), until, 0.5);
        let wish = Wish { generation: Some(2), refresh: None };
        assert_eq!(attempts.look("theirs", &wish, until), SEND);
    }

    #[test]
    fn a_new_process_reads_from_the_status_what_not_to_send() {
        let mut not_applied = attempts("a  b", Recorded::NotApplied, "a b");
        assert_eq!(look(&mut not_applied, "a b", Tick::ZERO), Verdict::Rest(State::NotApplied, None));
        let mut contested = attempts("ours", Recorded::Contested, "theirs");
        assert_eq!(look(&mut contested, "theirs", Tick::ZERO), Verdict::Rest(State::Contested, Some(minutes(60))));
        let mut synced = attempts("ours", Recorded::Synced, "theirs");
        assert_eq!(look(&mut synced, "theirs", Tick::ZERO), RESTORE, "it was in place before the restart");
    }
}
