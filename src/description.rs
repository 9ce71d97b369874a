//! The certificate's description in API Gateway: when to send it, when to give in.

use std::time::Duration;

use crate::error::{FailureClass, Streak};
use crate::gateway::{GatewayError, Source};
use crate::settings::Tick;

const HOUR: Duration = Duration::from_secs(60 * 60);
/// Being undone this often in an hour means that somebody else owns the description too.
const UNDONE_MOST: usize = 3;

/// Whose the description is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// This resource's.
    Mine,
    /// An older resource's.
    Theirs {
        /// `namespace/name` of it.
        owner: String,
        /// Whether it asks for the same text, so that nobody is at odds.
        same_text: bool,
    },
}

/// What to do about the description now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// API Gateway holds it.
    Synced,
    /// Send it.
    Send,
    /// API Gateway made something else of it; sending it again would change nothing.
    NotApplied,
    /// Somebody keeps undoing it.
    Contested {
        /// The next try.
        until: Tick,
    },
    /// The last try failed.
    Waiting {
        /// How.
        failure: GatewayError,
        /// The next try.
        until: Tick,
    },
}

/// What is remembered of a resource's attempts.
#[derive(Clone, Debug, Default)]
pub struct Description {
    theirs: bool,
    in_place: bool,
    wanted: Option<Box<Wanted>>, // boxed: few resources ask for a description
}

/// A text that the spec asks for.
#[derive(Clone, Debug, Default)]
struct Wanted {
    text: String,
    of: Option<Source>,
    undone: Vec<Tick>,
    contested: bool,
    sent_at: Option<Tick>,
    not_applied: Option<String>,
    streak: Streak,
    waiting: Option<(GatewayError, Tick)>,
}

impl Description {
    /// Takes note of what the spec asks for, and of which certificate. Another text is a new start, and so is another
    /// certificate: that it does not have the text yet is nobody's undoing. True where the text is wanted newly: what API
    /// Gateway holds may have changed without anybody looking.
    pub fn want(&mut self, wanted: Option<&str>, of: Option<&Source>) -> bool {
        // Where nothing is wanted, of which certificate is of no matter.
        let before = self.wanted.as_ref().map(|before| (before.text.as_str(), before.of.as_ref()));
        let is_new = before != wanted.map(|text| (text, of));
        if is_new {
            let new = |text: &str| Box::new(Wanted { text: text.to_owned(), of: of.cloned(), ..Wanted::default() });
            *self = Description { wanted: wanted.map(new), ..Description::default() };
        }
        is_new && wanted.is_some()
    }

    /// Takes note of whose the description is. True where it was another resource's a moment ago and is this one's now:
    /// what API Gateway holds has to be read afresh, because the other one wrote it.
    pub fn claimed(&mut self, claim: &Claim) -> bool {
        let was_theirs = std::mem::replace(&mut self.theirs, *claim != Claim::Mine);
        if self.theirs {
            self.in_place = false;
        }
        was_theirs && !self.theirs
    }

    /// Remembers that the text was in place before the operator started, as the status says.
    pub fn was_in_place(&mut self) {
        self.in_place = true;
    }

    /// Forgets earlier failures, because somebody asked for another try. A text that API Gateway made another of is no
    /// failure: what it made of it then it would make of it now.
    pub fn reset_failures(&mut self) {
        if let Some(wanted) = &mut self.wanted {
            wanted.streak.reset();
            wanted.waiting = None;
        }
    }

    /// Takes note of what a read found. True where somebody has undone our text.
    pub fn found(&mut self, found: &str, now: Tick) -> bool {
        let Some(wanted) = &mut self.wanted else { return false };
        wanted.undone.retain(|at| now.saturating_sub(*at) < HOUR);
        if wanted.text == found {
            // Held for as long as a try lasts: whoever undid it has stopped.
            if wanted.contested && wanted.sent_at.is_none_or(|at| now.saturating_sub(at) >= HOUR) {
                wanted.contested = false;
                wanted.undone.clear();
            }
            self.in_place = true;
            wanted.not_applied = None;
            wanted.waiting = None;
            return false;
        }
        let undone = std::mem::take(&mut self.in_place);
        if undone {
            wanted.undone.push(now);
            wanted.contested |= wanted.undone.len() >= UNDONE_MOST;
        }
        undone
    }

    /// What to do, given what API Gateway holds. `None` where the spec asks for nothing.
    pub fn verdict(&self, found: &str, now: Tick) -> Option<Verdict> {
        let wanted = self.wanted.as_ref()?;
        if wanted.text == found {
            return Some(Verdict::Synced);
        }
        if wanted.not_applied.as_deref() == Some(found) {
            return Some(Verdict::NotApplied);
        }
        if let Some(until) = wanted.sent_at.map(|at| at + HOUR).filter(|until| wanted.contested && now < *until) {
            return Some(Verdict::Contested { until });
        }
        match &wanted.waiting {
            Some((failure, until)) if now < *until => {
                Some(Verdict::Waiting { failure: failure.clone(), until: *until })
            }
            _ => Some(Verdict::Send),
        }
    }

    /// Takes note of a try: what API Gateway answered that it holds, or how it failed.
    pub fn sent(&mut self, result: Result<&str, &GatewayError>, refresh: Duration, now: Tick, jitter: f64) {
        let Some(wanted) = &mut self.wanted else { return };
        wanted.sent_at = Some(now);
        match result {
            Ok(holds) => {
                self.in_place = wanted.text == holds;
                wanted.not_applied = (!self.in_place).then(|| holds.to_owned());
                wanted.waiting = None;
                wanted.streak.reset();
            }
            Err(failure) => {
                let wait = wanted.streak.fail(failure.class(), refresh, jitter);
                wanted.waiting = Some((failure.clone(), now + wait));
            }
        }
    }

    /// When to try again after a failure.
    pub fn retry_at(&self) -> Option<Tick> {
        self.waiting().map(|(_, at)| *at)
    }

    /// When to read again because of the last failure: what API Gateway holds is unknown then.
    pub fn read_again_at(&self) -> Option<Tick> {
        let (failure, at) = self.waiting()?;
        matches!(failure.class(), FailureClass::Conflict | FailureClass::Unavailable { .. }).then_some(*at)
    }

    fn waiting(&self) -> Option<&(GatewayError, Tick)> {
        self.wanted.as_ref()?.waiting.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFRESH: Duration = Duration::from_secs(300);

    fn minutes(n: u64) -> Tick {
        Tick::from_secs(n * 60)
    }

    fn wanting(text: &str) -> Description {
        let mut description = Description::default();
        description.want(Some(text), None);
        description
    }

    #[test]
    fn without_a_description_in_the_spec_there_is_nothing_to_do() {
        let mut description = Description::default();
        description.want(None, None);
        assert_eq!(description.verdict("anything", Tick::ZERO), None);
        assert!(!description.found("anything", Tick::ZERO));
    }

    #[test]
    fn an_empty_description_and_none_in_api_gateway_are_equal() {
        assert_eq!(wanting("").verdict("", Tick::ZERO), Some(Verdict::Synced));
        assert_eq!(wanting("").verdict("text", Tick::ZERO), Some(Verdict::Send));
    }

    #[test]
    fn an_answer_that_differs_is_not_sent_again_until_either_side_changes() {
        let mut description = wanting("a  b");
        description.sent(Ok("a b"), REFRESH, Tick::ZERO, 0.5);
        assert_eq!(description.verdict("a b", minutes(60)), Some(Verdict::NotApplied));
        assert_eq!(description.verdict("c", minutes(60)), Some(Verdict::Send), "API Gateway changed");
        description.want(Some("d"), None);
        assert_eq!(description.verdict("a b", minutes(60)), Some(Verdict::Send), "the spec changed");
    }

    #[test]
    fn being_undone_three_times_in_an_hour_leaves_one_try_an_hour() {
        let mut description = wanting("ours");
        for minute in [0, 10] {
            description.sent(Ok("ours"), REFRESH, minutes(minute), 0.5);
            assert!(description.found("theirs", minutes(minute + 5)));
            assert_eq!(description.verdict("theirs", minutes(minute + 5)), Some(Verdict::Send));
        }
        description.sent(Ok("ours"), REFRESH, minutes(15), 0.5);
        assert!(description.found("theirs", minutes(20)));
        let contested = Some(Verdict::Contested { until: minutes(75) });
        assert_eq!(description.verdict("theirs", minutes(20)), contested);
        assert!(!description.found("theirs", minutes(70)), "undone once, not at every look");
        assert_eq!(description.verdict("theirs", minutes(75)), Some(Verdict::Send));
        description.sent(Ok("ours"), REFRESH, minutes(75), 0.5);
        assert!(description.found("theirs", minutes(80)));
        assert_eq!(description.verdict("theirs", minutes(80)), Some(Verdict::Contested { until: minutes(135) }));
        description.sent(Ok("ours"), REFRESH, minutes(135), 0.5);
        assert!(!description.found("ours", minutes(200)), "it held");
        assert!(description.found("theirs", minutes(201)));
        assert_eq!(description.verdict("theirs", minutes(201)), Some(Verdict::Send));
    }

    #[test]
    fn a_failed_try_waits_and_a_conflict_reads_again_first() {
        let mut description = wanting("ours");
        description.sent(Err(&GatewayError::Conflict), REFRESH, minutes(1), 0.5);
        let until = minutes(1) + Duration::from_secs(1);
        assert_eq!(
            description.verdict("theirs", minutes(1)),
            Some(Verdict::Waiting { failure: GatewayError::Conflict, until })
        );
        assert_eq!(description.read_again_at(), Some(until));
        assert_eq!(description.verdict("theirs", until), Some(Verdict::Send));
        description.sent(Err(&GatewayError::Throttled { retry_after: None }), REFRESH, until, 0.5);
        assert_eq!(description.read_again_at(), None);
        description.reset_failures();
        assert_eq!(description.verdict("theirs", until), Some(Verdict::Send));
    }

    #[test]
    fn a_description_taken_over_is_read_afresh_and_the_others_text_is_no_undoing() {
        let mut description = wanting("ours");
        let theirs = Claim::Theirs { owner: "a/b".into(), same_text: false };
        assert!(!description.claimed(&Claim::Mine));
        description.sent(Ok("ours"), REFRESH, Tick::ZERO, 0.5);
        assert!(!description.claimed(&theirs));
        assert!(description.claimed(&Claim::Mine));
        assert!(!description.found("theirs", minutes(1)));
        assert!(!description.claimed(&Claim::Mine), "once");
    }

    #[test]
    fn another_certificate_without_the_text_is_no_undoing() {
        let source = |id: &str| Source::own("us-east-1", id);
        let mut description = Description::default();
        description.want(Some("ours"), Some(&source("9ao60f")));
        description.sent(Ok("ours"), REFRESH, Tick::ZERO, 0.5);
        description.want(Some("ours"), Some(&source("k2c0qe")));
        assert!(!description.found("", minutes(1)), "it never had the text");
        description.sent(Ok("ours"), REFRESH, minutes(1), 0.5);
        description.want(Some("ours"), Some(&source("k2c0qe")));
        assert!(description.found("theirs", minutes(2)), "now somebody has undone it");
    }

    #[test]
    fn a_text_that_was_in_place_before_a_restart_counts_as_undone() {
        let mut description = wanting("ours");
        assert!(!description.found("theirs", Tick::ZERO), "never seen in place");
        description.was_in_place();
        assert!(description.found("theirs", Tick::ZERO));
    }
}
