//! What is known and what is asked of one place: a region, seen with one identity's rights. Plain and synchronous, and
//! time is an argument: questions and answers in, what to call next and whom to wake out.

mod entry;
mod plan;

use self::entry::{Entry, Known, Waiting};
pub(super) use self::plan::{Pick, Step};

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use jiff::Timestamp;

use crate::api::ResourceName;
use crate::error::{FailureClass, ReadFailure, Streak};
use crate::gateway::budget::Closed;
use crate::gateway::{ClientCertificate, Denial, GatewayError, Place, Source};
use crate::reading::{Came, Demand};
use crate::settings::Tick;

/// A list that was refused, or that made no sense, is not asked for again for this long.
const LIST_OFF: Duration = Duration::from_secs(10 * 60);
/// A trouble that is over sooner is not told to those who were not asked about.
const SHORT: Duration = Duration::from_secs(5);

/// A second try that is likely to go better is made after this time.
const AT_ONCE: Duration = Duration::from_millis(200);

/// One place.
pub(super) struct Desk {
    place: Place,
    certificates: HashMap<String, Box<Entry>>, // boxed: a map has room for twice as many
    /// Pages of the list, as far as is known.
    pages: usize,
    list_off_until: Tick,
    trouble: Option<Trouble>,
    streak: Streak,
    /// The certificates whose reads have failed since the last answer. One that always fails is not the place's trouble.
    failing: HashSet<String>,
    last_served: HashMap<String, u64>,
    served: u64,
    /// When certificates were read for the first time, each by itself, of late.
    first_reads: VecDeque<Tick>,
}

/// What became of a question.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Asked {
    /// The answer, as far as there is one.
    pub(super) came: Option<Came>,
    /// Whether the question stays open, and the resource is woken when there is news.
    pub(super) is_open: bool,
}

/// Nothing that is asked here is answered.
#[derive(Clone, Debug)]
struct Trouble {
    failure: GatewayError,
    until: Tick,
    /// Whether everybody has to know.
    told: bool,
}

/// The time of an answer, and what else is needed to take note of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment<'a> {
    /// When the call began.
    pub(super) at: Tick,
    /// The steady clock now.
    pub(super) now: Tick,
    /// The wall clock now.
    pub(super) wall: Timestamp,
    /// A random number from 0 to 1.
    pub(super) jitter: f64,
    /// The account, where it is known.
    pub(super) account: Option<&'a str>,
}

impl Desk {
    pub(super) fn new(place: Place) -> Self {
        Desk {
            place,
            certificates: HashMap::new(),
            pages: 1,
            list_off_until: Tick::ZERO,
            trouble: None,
            streak: Streak::default(),
            failing: HashSet::new(),
            last_served: HashMap::new(),
            served: 0,
            first_reads: VecDeque::new(),
        }
    }

    /// Asks about a certificate. Without an answer, or with one that may change soon, somebody has to serve the desk.
    pub(super) fn ask(
        &mut self,
        id: &str,
        demand: &Demand,
        resource: &ResourceName,
        closed: Option<&Closed>,
        now: Tick,
    ) -> Asked {
        let trouble = self.trouble_to_tell(closed, now);
        let entry = self.certificates.entry(id.to_owned()).or_default();
        entry.note_interest(demand.interval, now);
        if let Some(came) = entry.answer(demand, now) {
            return Asked { came: Some(came), is_open: false };
        }
        let trouble = trouble.filter(|_| !demand.insists());
        entry.wait(demand, resource, trouble.is_some());
        let came = trouble.map(|failure| Came { outcome: Err(failure.into()), at: now });
        Asked { came, is_open: true }
    }

    fn trouble_to_tell(&self, closed: Option<&Closed>, now: Tick) -> Option<GatewayError> {
        if let Some(closed) = closed.filter(|closed| closed.until > now + SHORT) {
            return Some(closed.failure.clone());
        }
        self.trouble.as_ref().filter(|trouble| trouble.told).map(|trouble| trouble.failure.clone())
    }

    /// Takes note of an answer about one certificate. Answers whom to wake.
    pub(super) fn got(
        &mut self,
        id: &str,
        outcome: Result<ClientCertificate, GatewayError>,
        moment: Moment<'_>,
    ) -> Vec<ResourceName> {
        let mut woken = Vec::new();
        if outcome.as_ref().is_err_and(|failure| self.tries_once_more(failure, moment.now)) {
            return woken;
        }
        match &outcome {
            Err(failure) if is_of_place(failure) => woken = self.in_trouble(failure, Some(id), moment),
            _ => self.out_of_trouble(moment.now),
        }
        let source = Source { place: self.place.clone(), id: id.to_owned() };
        let Some(entry) = self.certificates.get_mut(id) else { return woken };
        entry.omitted = false;
        let known = match outcome {
            Ok(came) => entry.check(&source, came, moment),
            Err(failure) => Known::failed(failure.into(), moment.at),
        };
        woken.extend(entry.learn(known, true, moment));
        woken.sort();
        woken.dedup();
        woken
    }

    /// Takes note of a page of the list. Answers whom to wake.
    pub(super) fn listed(&mut self, certificates: Vec<ClientCertificate>, moment: Moment<'_>) -> Vec<ResourceName> {
        let mut woken = Vec::new();
        self.out_of_trouble(moment.now);
        for came in certificates {
            let source = Source { place: self.place.clone(), id: came.id.clone() };
            // Nobody has asked for some of them, but may in a moment: many resources come one after the other.
            let entry =
                self.certificates.entry(came.id.clone()).or_insert_with(|| Box::new(Entry::unnamed(moment.now)));
            entry.omitted = false;
            let known = entry.check(&source, came, moment);
            woken.extend(entry.learn(known, false, moment));
        }
        woken
    }

    /// The list has ended, after so many pages; `moment` is that of the first. Where the list is whole, certificates that
    /// it omits have to be asked for by name, unless they are known to be missing. Answers whom to wake.
    pub(super) fn list_ended(&mut self, pages: usize, is_whole: bool, moment: Moment<'_>) -> Vec<ResourceName> {
        self.pages = if is_whole { pages.max(1) } else { self.pages.max(pages + 1) };
        let mut woken = Vec::new();
        if is_whole {
            let missing = ReadFailure::Gateway(GatewayError::NotFound);
            let omitted = self.certificates.values_mut();
            for entry in omitted.filter(|entry| entry.known.as_ref().is_none_or(|known| known.at < moment.at)) {
                if entry.known.as_ref().is_some_and(|known| known.outcome.as_ref() == Err(&missing)) {
                    woken.extend(entry.learn(Known::failed(missing.clone(), moment.at), false, moment));
                } else {
                    entry.omitted = true;
                }
            }
        }
        self.prune(moment.now);
        woken
    }

    /// The list cannot be had. Answers whom to wake, and whether the reason is that it is not allowed, or makes no sense:
    /// then certificates are asked for one by one for a while.
    pub(super) fn list_failed(&mut self, failure: &GatewayError, moment: Moment<'_>) -> (Vec<ResourceName>, bool) {
        if self.tries_once_more(failure, moment.now) {
            return (Vec::new(), false);
        }
        if is_of_place(failure) {
            return (self.in_trouble(failure, None, moment), false);
        }
        self.list_off_until = moment.now + LIST_OFF;
        self.out_of_trouble(moment.now);
        (Vec::new(), true)
    }

    /// A description was written, or may have been: answers of calls that began before are worth nothing.
    pub(super) fn changed(&mut self, id: &str, now: Tick) {
        if let Some(entry) = self.certificates.get_mut(id) {
            entry.changed_at = now;
        }
    }

    /// Whether nobody has asked for anything lately.
    pub(super) fn is_idle(&self, now: Tick) -> bool {
        self.certificates.values().all(|entry| !entry.is_named(now))
    }

    /// Credentials that AWS did not take are replaced by others for the next call: that is made before anybody is told.
    fn tries_once_more(&mut self, failure: &GatewayError, now: Tick) -> bool {
        let is_replaced = matches!(failure, GatewayError::AccessDenied(Denial::BadCredentials { .. }));
        if !is_replaced || self.trouble.is_some() {
            return false;
        }
        self.trouble = Some(Trouble { failure: failure.clone(), until: now + AT_ONCE, told: false });
        // The same read made again is no sign of more to come.
        self.first_reads.pop_back();
        true
    }

    /// Nothing is asked for a while, because of a failure of the list or of a read of this certificate.
    fn in_trouble(&mut self, failure: &GatewayError, id: Option<&str>, moment: Moment<'_>) -> Vec<ResourceName> {
        let is_another = id.is_none_or(|id| self.failing.insert(id.to_owned()));
        // Calls that were under way together count once.
        if self.trouble.as_ref().is_some_and(|trouble| moment.now < trouble.until) {
            return Vec::new();
        }
        let interval = self.shortest_interval(moment.now);
        let was_told = self.trouble.as_ref().is_some_and(|trouble| trouble.told);
        let is_first = self.trouble.is_none();
        let wait = match is_another {
            true => self.streak.fail(failure.class(), interval, moment.jitter),
            false => failure.class().delay(1, interval, moment.jitter),
        };
        let told = was_told || (is_another && !is_first) || failure.is_of_credentials() || wait > SHORT;
        self.trouble = Some(Trouble { failure: failure.clone(), until: moment.now + wait, told });
        if !told {
            return Vec::new();
        }
        let waiting = self.certificates.values_mut().filter_map(|entry| entry.waiting.as_mut());
        waiting.flat_map(|waiting| waiting.tell()).collect()
    }

    fn out_of_trouble(&mut self, now: Tick) {
        self.failing.clear();
        if self.trouble.take().is_some() {
            self.streak.reset();
            // What failed with the others need not wait for its own next try.
            self.certificates.values_mut().for_each(|entry| entry.trouble_is_over(now));
        }
    }

    fn shortest_interval(&self, now: Tick) -> Duration {
        let named = self.certificates.values().filter(|entry| entry.is_named(now));
        named.map(|entry| entry.interval).min().unwrap_or(Duration::from_secs(30))
    }

    /// Forgets what nobody has asked for in a long time.
    fn prune(&mut self, now: Tick) {
        self.certificates.retain(|_, entry| entry.is_worth_keeping(now));
        let waiting = self.certificates.values().filter_map(|entry| entry.waiting.as_ref());
        let namespaces: HashSet<&str> = waiting.flat_map(|waiting| waiting.namespaces()).collect();
        self.last_served.retain(|namespace, _| namespaces.contains(namespace.as_str()));
    }
}

/// Whether a failure says something of every certificate of the place.
fn is_of_place(failure: &GatewayError) -> bool {
    failure.is_of_credentials()
        || match failure.class() {
            FailureClass::Throttled { .. } => true,
            FailureClass::Unavailable { .. } => !failure.is_an_odd_answer(),
            FailureClass::Settled | FailureClass::Denied | FailureClass::Conflict => false,
        }
}

#[cfg(test)]
mod tests;
