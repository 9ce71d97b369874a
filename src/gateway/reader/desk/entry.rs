//! One certificate at a desk: what is known of it, and who waits for news.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use super::Moment;
use crate::api::ResourceName;
use crate::error::{FailureClass, RETRIES_MOST, ReadFailure, Streak};
use crate::gateway::{ClientCertificate, Source};
use crate::reading::{Answer, Came, Demand, FORCED_READS_APART, OF_USE_TO_NEW, Why};
use crate::settings::Tick;

/// Nobody names a certificate any more that was not asked for in so many of its intervals.
const SILENT: u32 = 3;

/// One certificate.
#[derive(Debug, Default)]
pub(super) struct Entry {
    pub(super) known: Option<Known>,
    /// When a failure is to be tried again.
    retry_at: Tick,
    streak: Streak,
    /// When the calls began that failed last.
    failed: Vec<Tick>,
    /// When its description was written last.
    pub(super) changed_at: Tick,
    /// The shortest interval of the resources that name it, none where no resource does; and when that was said last.
    pub(super) interval: Duration,
    interval_at: Tick,
    /// When it was asked for last.
    asked: Tick,
    /// The list does not show it.
    pub(super) omitted: bool,
    pub(super) waiting: Option<Box<Waiting>>,
}

/// What is known of a certificate.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) outcome: Result<Arc<Answer>, ReadFailure>,
    /// When the call began that told.
    pub(super) at: Tick,
    /// Of the answer as it came, to tell whether the next is the same and need not be checked and stored again.
    digest: u64,
}

/// Who waits for news, and what for.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiting {
    /// Answers of calls that began before will not do.
    not_before: Tick,
    /// A call is not made before.
    pub(super) begin_at: Tick,
    /// Somebody waits who may have mended what failed before.
    pub(super) insists: bool,
    /// When the first of them began to wait.
    pub(super) since: Tick,
    resources: BTreeSet<ResourceName>,
    /// Those who know of the failure: they are woken when it is over, or another.
    told: BTreeSet<ResourceName>,
}

impl Known {
    pub(super) fn failed(failure: ReadFailure, at: Tick) -> Self {
        Known { outcome: Err(failure), at, digest: 0 }
    }
}

impl Waiting {
    /// Everybody who does not know of the failure yet, but does now.
    pub(super) fn tell(&mut self) -> Vec<ResourceName> {
        let news: Vec<_> = self.resources.difference(&self.told).cloned().collect();
        self.told.extend(news.iter().cloned());
        news
    }

    pub(super) fn namespaces(&self) -> impl Iterator<Item = &str> {
        self.resources.iter().map(|resource| resource.namespace.as_str())
    }
}

impl Entry {
    /// A certificate that no resource has named yet.
    pub(super) fn unnamed(now: Tick) -> Self {
        Entry { asked: now, ..Entry::default() }
    }

    pub(super) fn note_interest(&mut self, interval: Duration, now: Tick) {
        self.asked = now;
        let is_outdated = now >= self.interval_at + self.interval * SILENT;
        if self.interval.is_zero() || interval <= self.interval || is_outdated {
            self.interval = interval;
            self.interval_at = now;
        }
    }

    /// Whether a resource names it, as far as one can tell.
    pub(super) fn is_named(&self, now: Tick) -> bool {
        now < self.asked + self.interval * SILENT
    }

    /// What the list shows and nobody names is kept for as long as it is of use: the resource that names it may be next
    /// in the queue.
    pub(super) fn is_worth_keeping(&self, now: Tick) -> bool {
        let told = self.known.as_ref().map_or(self.asked, |known| known.at.max(self.asked));
        self.is_named(now) || now < told + OF_USE_TO_NEW
    }

    /// What is known, if it will do.
    pub(super) fn answer(&self, demand: &Demand, now: Tick) -> Option<Came> {
        let known = self.known.as_ref().filter(|known| known.at >= self.changed_at)?;
        let will_do = match known.outcome {
            Ok(_) => known.at >= demand.not_before,
            Err(_) if known.at >= demand.failure_not_before => true,
            Err(_) => !demand.insists() && self.next_try(demand.why) > now,
        };
        will_do.then(|| Came { outcome: known.outcome.clone(), at: known.at })
    }

    /// When a failure may be tried again. Whoever is new need not put up with an old failure, as long as there were not
    /// too many within the interval.
    fn next_try(&self, why: Why) -> Tick {
        let is_failing = self.known.as_ref().is_some_and(|known| known.outcome.is_err());
        let oldest = self.failed.first().filter(|_| self.failed.len() > RETRIES_MOST as usize);
        let allowed = oldest.map_or(Tick::ZERO, |oldest| *oldest + self.interval);
        match why {
            Why::Changed | Why::Lifted => Tick::ZERO,
            Why::Forced => self.known.as_ref().map_or(Tick::ZERO, |known| known.at + FORCED_READS_APART),
            _ if !is_failing => Tick::ZERO,
            Why::New => allowed,
            Why::Due => allowed.max(self.retry_at),
        }
    }

    /// Puts a resource on the list of those who wait.
    pub(super) fn wait(&mut self, demand: &Demand, resource: &ResourceName, trouble_is_told: bool) {
        let begin_at = self.next_try(demand.why);
        let new = || Box::new(Waiting { begin_at, since: demand.since, ..Waiting::default() });
        let waiting = self.waiting.get_or_insert_with(new);
        waiting.not_before = waiting.not_before.max(demand.not_before).max(self.changed_at);
        waiting.begin_at = waiting.begin_at.min(begin_at);
        waiting.insists |= demand.insists();
        if !waiting.resources.contains(resource) {
            waiting.resources.insert(resource.clone());
        }
        if trouble_is_told {
            waiting.told.insert(resource.clone());
        }
    }

    /// What was wrong with the place as a whole is over.
    pub(super) fn trouble_is_over(&mut self, now: Tick) {
        let is_transient = |known: &Known| known.outcome.as_ref().is_err_and(ReadFailure::is_transient);
        if let Some(waiting) = self.waiting.as_mut().filter(|_| self.known.as_ref().is_some_and(is_transient)) {
            waiting.begin_at = waiting.begin_at.min(now);
        }
    }

    /// Checks an answer. One that is the same as before is the same object as before.
    pub(super) fn check(&self, source: &Source, came: ClientCertificate, moment: Moment<'_>) -> Known {
        let mut hash = DefaultHasher::new();
        (&came, moment.account).hash(&mut hash);
        let digest = hash.finish();
        let before = self.known.as_ref().filter(|known| known.digest == digest);
        let same = before.and_then(|known| known.outcome.as_ref().ok());
        let outcome = match same.filter(|answer| !answer.certificate.is_expired(moment.wall)) {
            Some(answer) => Ok(Arc::clone(answer)),
            None => Answer::check(source, moment.account, came, moment.wall).map(Arc::new),
        };
        Known { outcome, at: moment.at, digest }
    }

    /// Takes note of news, of a call for this certificate or of the list. Answers whom to wake.
    pub(super) fn learn(&mut self, known: Known, by_name: bool, moment: Moment<'_>) -> Vec<ResourceName> {
        if known.at < self.changed_at || self.known.as_ref().is_some_and(|before| before.at > known.at) {
            return Vec::new();
        }
        let class = known.outcome.as_ref().err().map(ReadFailure::class);
        match class {
            None => {
                self.streak.reset();
                self.failed = Vec::new();
            }
            Some(class) => {
                let wait = match class {
                    // Reckoned from the answer and without jitter: those who name it come after that, each in its time.
                    FailureClass::Settled => self.interval.mul_f64(0.9),
                    class => self.streak.fail(class, self.interval, moment.jitter),
                };
                self.retry_at = moment.now + wait;
                if by_name {
                    self.failed.push(moment.at);
                    let excess = self.failed.len().saturating_sub(RETRIES_MOST as usize + 1);
                    self.failed.drain(..excess);
                }
            }
        }
        let is_news = self.known.as_ref().is_none_or(|before| before.outcome != known.outcome);
        let at = known.at;
        self.known = Some(known);
        let Some(mut waiting) = self.waiting.take_if(|waiting| at >= waiting.not_before) else { return Vec::new() };
        let unaware = waiting.resources.iter().filter(|resource| is_news || !waiting.told.contains(*resource));
        let woken = unaware.cloned().collect();
        // A failure that may pass is asked about again by itself, and whoever knows of it hears when it is over.
        if class.is_some_and(|class| class != FailureClass::Settled) {
            waiting.told = waiting.resources.clone();
            waiting.begin_at = self.next_try(Why::Due);
            waiting.insists = false;
            waiting.not_before = at + Tick::from_nanos(1);
            self.waiting = Some(waiting);
        }
        woken
    }
}
