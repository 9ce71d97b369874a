//! What the operator remembers of each resource between passes. Nothing of it has to survive a restart: what must is in
//! the resource's status.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::api::ResourceName;
use crate::api::{ClientCertificateRef, ClientCertificateRefStatus};
use crate::conditions::{ConditionType, find, is_true};
use crate::description::{Claim, Description};
use crate::error::{ReadFailure, Streak};
use crate::gateway::Source;
use crate::reading::{Came, Demand, Reading, Why};
use crate::settings::Tick;
use crate::target::Truststore;

/// A target undone this often in a row is put back more slowly.
const REPAIRS_AT_ONCE: usize = 3;
/// Repairs further apart than this are not a fight.
const QUIET: Duration = Duration::from_secs(5 * 60);

/// What is remembered of one resource.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// The resource's uid: another life has another memory.
    pub uid: String,
    /// When the resource was seen first: it may wait long for its first pass.
    seen: Option<Tick>,
    /// Whether it is suspended, or was and was not read since.
    pub was_suspended: bool,
    /// The generation that was last acted on.
    pub generation: Option<i64>,
    /// The value of the refresh annotation that was last acted on.
    pub handled_refresh: Option<String>,
    /// API Gateway's answers.
    pub reading: Reading,
    /// What was asked of API Gateway and is not answered yet.
    asked: Option<Box<Asked>>,
    /// Attempts at the description.
    pub description: Description,
    /// The target as it was last written by us: a digest of what was desired then.
    pub written: Option<u64>,
    /// The truststore that was made last.
    pub truststore: Option<Arc<Truststore>>,
    /// Repairs of the target.
    pub repairs: Repairs,
    /// Failures of writes to the target.
    pub target_streak: Streak,
    /// Failures to publish.
    pub publish_streak: Streak,
    /// Whose mark the status carried.
    pub mark: Mark,
    /// The status that was last written, until the cache has caught up with it.
    pub published: Option<Box<Published>>,
}

/// What was asked of API Gateway, and in which state of the resource.
#[derive(Clone, Debug)]
struct Asked {
    demand: Demand,
    generation: Option<i64>,
    refresh: Option<String>,
    source: Result<Source, ReadFailure>,
}

impl Asked {
    fn fits(&self, generation: Option<i64>, refresh: Option<&str>, source: &Result<Source, ReadFailure>) -> bool {
        self.generation == generation && self.refresh.as_deref() == refresh && self.source == *source
    }
}

/// A status that was written.
#[derive(Clone, Debug)]
pub struct Published {
    /// The resource's version after the write.
    pub resource_version: String,
    /// What was written.
    pub status: ClientCertificateRefStatus,
}

impl Memory {
    /// A memory for a resource that was not seen before.
    pub fn new(resource: &ClientCertificateRef) -> Self {
        Memory { uid: resource.uid().to_owned(), ..Memory::default() }
    }

    /// The resource with the status that was last written, where the cache still holds an older one: judged by an old
    /// status, an event would be told twice and a write repeated.
    pub fn with_published_status<'a>(&mut self, resource: &'a ClientCertificateRef) -> Cow<'a, ClientCertificateRef> {
        let cached = resource.metadata.resource_version.as_deref();
        match &self.published {
            Some(published) if is_older(cached, &published.resource_version) => {
                let mut newer = ClientCertificateRef { status: Some(published.status.clone()), ..resource.clone() };
                newer.metadata.resource_version = Some(published.resource_version.clone());
                Cow::Owned(newer)
            }
            _ => {
                self.published = None;
                Cow::Borrowed(resource)
            }
        }
    }

    /// What to ask API Gateway in this pass, if anything. What was asked in an earlier pass and not answered yet is asked
    /// again, word for word.
    ///
    /// A new refresh annotation wants an answer that is no older than itself. For a new resource, a changed spec and a
    /// description taken over from another resource one of the last seconds will do; a changed spec does not put up with
    /// an earlier failure, because it may be what mends it.
    pub fn demand(
        &mut self,
        resource: &ClientCertificateRef,
        source: &Result<Source, ReadFailure>,
        claim: &Claim,
        now: Tick,
    ) -> Option<Demand> {
        let newly_wanted = self.description.want(resource.spec.description.as_deref(), source.as_ref().ok());
        if self.generation.is_none() && was_synced(resource) {
            self.description.was_in_place();
        }
        let taken_over = self.description.claimed(claim);
        let refresh =
            self.refresh_pending(resource).then(|| resource.refresh_requested().unwrap_or_default().to_owned());
        let why = if self.was_suspended {
            Some(Why::Lifted)
        } else if refresh.is_some() && self.reading.next_forced() <= now {
            Some(Why::Forced)
        } else if self.generation.is_none() {
            Some(Why::New)
        } else if self.generation != resource.generation() || newly_wanted || taken_over {
            Some(Why::Changed)
        } else if self.reading.has_failed() || self.reading.next(source) <= now {
            Some(Why::Due)
        } else {
            None
        };
        // What was asked stands until it is answered, or something is asked that wants more: that a description was taken
        // over, for example, shows only once.
        let stands = |asked: &&Asked| {
            asked.fits(resource.generation(), refresh.as_deref(), source)
                && why.is_none_or(|why| why == asked.demand.why || why == Why::Due)
        };
        if let Some(asked) = self.asked.as_deref().filter(stands) {
            return Some(Demand { again: true, ..asked.demand.clone() });
        }
        self.asked = None;
        let why = why?;
        let wanted = self.seen.filter(|_| why == Why::New).unwrap_or(now);
        let demand = Demand::new(why, resource.refresh_interval(), self.reading.at(source), wanted, now);
        let asked =
            Asked { demand: demand.clone(), generation: resource.generation(), refresh, source: source.clone() };
        self.asked = Some(Box::new(asked));
        Some(demand)
    }

    /// Takes note of what came. True where it shows that somebody has undone our description.
    pub fn answered(
        &mut self,
        resource: &ClientCertificateRef,
        source: &Result<Source, ReadFailure>,
        came: Came,
        now: Tick,
        jitter: f64,
    ) -> bool {
        let asked = self.asked.take();
        if asked.as_ref().is_some_and(|asked| asked.demand.insists()) {
            self.description.reset_failures();
        }
        // An answer from before the annotation, though it did for what was asked, leaves that open.
        let handled = asked.filter(|asked| came.at >= asked.demand.since);
        if let Some(value) = handled.and_then(|asked| asked.refresh) {
            self.handled_refresh = Some(value);
        }
        self.generation = resource.generation();
        self.was_suspended = false;
        let undone = came.outcome.as_ref().is_ok_and(|answer| self.description.found(&answer.description, now));
        self.reading.record(source.clone(), came, resource.refresh_interval(), now, jitter);
        undone
    }

    /// Whether somebody asks for a read before its time: by another spec, or by the refresh annotation.
    fn read_asked_for(&self, resource: &ClientCertificateRef) -> bool {
        self.generation != resource.generation() || self.refresh_pending(resource)
    }

    /// Whether the refresh annotation has a value that was not acted on.
    pub fn refresh_pending(&self, resource: &ClientCertificateRef) -> bool {
        let recorded = resource.status.as_ref().and_then(|status| status.last_handled_refresh.as_deref());
        let handled = self.handled_refresh.as_deref().or(recorded);
        resource.refresh_requested().is_some_and(|value| handled != Some(value))
    }

    /// When to read next: as the last answer or failure says, sooner where a forced read is pending.
    pub fn next_read(&self, resource: &ClientCertificateRef, source: &Result<Source, ReadFailure>, now: Tick) -> Tick {
        if self.asked.is_some() {
            // Whoever was asked wakes the resource. This is for the case that it does not.
            return now + Duration::from_secs(30);
        }
        let next = self.reading.next(source);
        if self.read_asked_for(resource) { next.min(self.reading.next_forced()) } else { next }
    }
}

/// Whether the status says that API Gateway held the description that the spec still asks for.
fn was_synced(resource: &ClientCertificateRef) -> bool {
    let Some(status) = &resource.status else { return false };
    is_true(&status.conditions, ConditionType::DescriptionSynced)
        && find(&status.conditions, ConditionType::DescriptionSynced)
            .is_some_and(|condition| condition.observed_generation == resource.generation())
}

/// Whether a version was made before another. Versions of one object are numbers that grow; should they ever not be, a
/// cache counts as caught up.
pub fn is_older(version: Option<&str>, than: &str) -> bool {
    match (version.map(str::parse::<u64>), than.parse::<u64>()) {
        (Some(Ok(version)), Ok(than)) => version < than,
        _ => false,
    }
}

/// A mark that another installation took is put back no more often than this, so that both notice and neither fights.
const MARK_AGAIN: Duration = Duration::from_secs(10 * 60);

/// Whether the status of a resource was found to be ours, which two installations can tell each other by.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mark {
    was_ours: bool,
    put_back: Option<Tick>,
}

/// Whose mark to leave in a status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marked {
    /// The installation to name.
    pub installation: String,
    /// Another that works on the same resource, where it has just shown itself.
    pub rival: Option<String>,
}

impl Mark {
    /// Decides what to make of the mark that was found. The first time another's is that of one before us; where ours was
    /// taken since, both are at work.
    pub fn found(&mut self, mark: Option<&str>, ours: &str, now: Tick) -> Marked {
        match mark.filter(|mark| *mark != ours) {
            Some(rival) if self.was_ours => {
                let was_just_put_back = self.put_back.is_some_and(|at| now.saturating_sub(at) < MARK_AGAIN);
                if !was_just_put_back {
                    self.put_back = Some(now);
                }
                let installation = if was_just_put_back { rival } else { ours };
                Marked { installation: installation.to_owned(), rival: Some(rival.to_owned()) }
            }
            _ => {
                self.was_ours = true;
                Marked { installation: ours.to_owned(), rival: None }
            }
        }
    }

    /// Whether a mark shows that another installation has just taken the resource.
    pub fn is_taken(&self, mark: Option<&str>, ours: &str) -> bool {
        self.was_ours && mark.is_some_and(|mark| mark != ours)
    }
}

/// When the target was put back after somebody had changed or deleted it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Repairs {
    in_a_row: usize,
    last: Tick,
}

impl Repairs {
    /// When the next repair may happen, where somebody undoes us again and again: at once three times, then after 1 s
    /// doubling to 60 s.
    pub fn held_until(&self, now: Tick) -> Option<Tick> {
        let excess = self.in_a_row.checked_sub(REPAIRS_AT_ONCE)?;
        let seconds = 1_u64.checked_shl(u32::try_from(excess).unwrap_or(u32::MAX)).unwrap_or(60).min(60);
        let until = self.last + Duration::from_secs(seconds);
        (now < until && !self.is_over(now)).then_some(until)
    }

    /// Counts a repair.
    pub fn record(&mut self, now: Tick) {
        self.in_a_row = if self.is_over(now) { 1 } else { self.in_a_row + 1 };
        self.last = now;
    }

    fn is_over(&self, now: Tick) -> bool {
        now.saturating_sub(self.last) >= QUIET
    }
}

/// The memories of all resources.
#[derive(Debug, Default)]
pub struct Memories {
    by_resource: Mutex<HashMap<ResourceName, Box<Memory>>>, // boxed: a map has room for twice as many
}

impl Memories {
    /// Takes out the memory of a resource, for a pass; a new one where there is none of this life.
    pub fn take(&self, resource: &ClientCertificateRef) -> Memory {
        let key = ResourceName::new(resource.namespace(), resource.name());
        let memory = self.lock().remove(&key).filter(|memory| memory.uid == resource.uid());
        memory.map_or_else(|| Memory::new(resource), |memory| *memory)
    }

    /// The watch tells of a resource, perhaps for the first time.
    pub fn meet(&self, resource: &ClientCertificateRef, now: Tick) {
        let key = ResourceName::new(resource.namespace(), resource.name());
        let mut memories = self.lock();
        // What a pass has taken out comes back over this.
        if memories.get(&key).is_none_or(|memory| memory.uid != resource.uid()) {
            memories.insert(key, Box::new(Memory { seen: Some(now), ..Memory::new(resource) }));
        }
    }

    /// Puts it back.
    pub fn put(&self, resource: &ClientCertificateRef, memory: Memory) {
        self.lock().insert(ResourceName::new(resource.namespace(), resource.name()), Box::new(memory));
    }

    /// The cache holds a resource at this version: a status that was written before it need not be remembered.
    pub fn caught_up(&self, resource: &ResourceName, version: &str) {
        if let Some(memory) = self.lock().get_mut(resource)
            && memory.published.as_ref().is_some_and(|it| !is_older(Some(version), &it.resource_version))
        {
            memory.published = None;
        }
    }

    /// Whether a mark shows that another installation has taken the resource.
    pub fn is_taken(&self, resource: &ResourceName, mark: Option<&str>, ours: &str) -> bool {
        self.lock().get(resource).is_some_and(|memory| memory.mark.is_taken(mark, ours))
    }

    /// Remembers of every resource only that it is there, as if it had just been met.
    pub fn begin_anew(&self, now: Tick) {
        for memory in self.lock().values_mut() {
            **memory = Memory { uid: std::mem::take(&mut memory.uid), seen: Some(now), ..Memory::default() };
        }
    }

    /// Forgets a resource that is gone.
    pub fn forget(&self, resource: &ResourceName) {
        self.lock().remove(resource);
    }

    /// Keeps only resources that are still there, after a list.
    pub fn retain(&self, is_there: impl Fn(&ResourceName) -> bool) {
        self.lock().retain(|name, _| is_there(name));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ResourceName, Box<Memory>>> {
        // A panic elsewhere leaves the map whole: every change of it is a single call.
        self.by_resource.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::REFRESH_ANNOTATION;
    use crate::fixtures::{came, resource, source_of};
    use crate::gateway::GatewayError;

    fn seconds(n: u64) -> Tick {
        Tick::from_secs(n)
    }

    #[test]
    fn three_repairs_are_at_once_and_then_ever_slower() {
        let mut repairs = Repairs::default();
        let mut now = seconds(1000);
        let mut waits = Vec::new();
        for _ in 0..12 {
            let until = repairs.held_until(now).unwrap_or(now);
            waits.push((until - now).as_secs());
            now = until;
            repairs.record(now);
        }
        assert_eq!(waits, [0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(repairs.held_until(now + QUIET), None, "forgotten after a quiet time");
    }

    #[test]
    fn repairs_that_are_far_apart_are_no_fight() {
        let mut repairs = Repairs::default();
        for n in 1..20 {
            let now = QUIET * n;
            assert_eq!(repairs.held_until(now), None);
            repairs.record(now);
        }
    }

    #[test]
    fn two_installations_notice_each_other_and_do_not_fight() {
        let (mut first, mut second) = (Mark::default(), Mark::default());
        let mut status = None;
        let mut told = Vec::new();
        for second_of_time in 0..1300 {
            let now = seconds(second_of_time);
            let mut turns = vec![("a/one", &mut first)];
            if second_of_time > 5 {
                turns.push(("b/two", &mut second));
            }
            for (ours, mark) in turns {
                let marked = mark.found(status.as_deref(), ours, now);
                if status.as_ref() != Some(&marked.installation) {
                    told.push((second_of_time, marked.installation.clone(), marked.rival.is_some()));
                    status = Some(marked.installation);
                }
            }
        }
        let one = |at, notices| (at, "a/one".to_owned(), notices);
        let two = |at, notices| (at, "b/two".to_owned(), notices);
        assert_eq!(
            told,
            [
                one(0, false),
                two(6, false),
                one(7, true),
                two(7, true),
                one(607, true),
                two(607, true),
                one(1207, true),
                two(1207, true)
            ]
        );
    }

    #[test]
    fn a_mark_of_an_installation_that_is_gone_is_replaced_without_a_word() {
        let mut mark = Mark::default();
        assert!(!mark.is_taken(Some("a/one"), "b/two"));
        let expected = Marked { installation: "b/two".into(), rival: None };
        assert_eq!(mark.found(Some("a/one"), "b/two", seconds(0)), expected);
        assert_eq!(mark.found(Some("b/two"), "b/two", seconds(1)), expected);
        assert!(mark.is_taken(Some("a/one"), "b/two") && !mark.is_taken(Some("b/two"), "b/two"));
    }

    #[test]
    fn another_life_of_a_resource_remembers_nothing() {
        let memories = Memories::default();
        let mut first = resource("payments");
        let mut memory = memories.take(&first);
        memory.generation = Some(7);
        memories.put(&first, memory);
        assert_eq!(memories.take(&first).generation, Some(7));
        memories.put(&first, Memory { generation: Some(7), ..Memory::new(&first) });
        first.metadata.uid = Some("another".into());
        assert_eq!(memories.take(&first).generation, None);
    }

    #[test]
    fn a_refresh_is_not_answered_by_a_failure_from_before_it() {
        let mut resource = resource("payments");
        let source = Ok(Source::own("us-east-1", "9ao60f"));
        let failed = |at| Came { outcome: Err(ReadFailure::Gateway(GatewayError::NotFound)), at };
        let mut memory = Memory::new(&resource);
        memory.demand(&resource, &source, &Claim::Mine, seconds(100)).unwrap();
        memory.answered(&resource, &source, failed(seconds(100)), seconds(100), 0.5);
        resource.metadata.annotations = Some([(REFRESH_ANNOTATION.to_owned(), "now".to_owned())].into());
        for (now, why, came_at, is_pending) in [(103, Why::Due, 100, true), (110, Why::Forced, 110, false)] {
            let demand = memory.demand(&resource, &source, &Claim::Mine, seconds(now)).unwrap();
            assert_eq!(demand.why, why);
            memory.answered(&resource, &source, failed(seconds(came_at)), seconds(now), 0.5);
            assert_eq!(memory.refresh_pending(&resource), is_pending);
        }
    }

    #[test]
    fn what_was_asked_stands_until_it_is_answered() {
        let mut resource = resource("payments");
        resource.spec.description = Some("ours".into());
        let (source, mut memory) = (source_of(&resource), Memory::new(&resource));
        let theirs = Claim::Theirs { owner: "a/b".into(), same_text: false };
        let failed = |at| came(Err(ReadFailure::Expired), seconds(at));
        assert_eq!(memory.demand(&resource, &source, &theirs, seconds(0)).unwrap().why, Why::New);
        memory.answered(&resource, &source, failed(0), seconds(0), 0.5);
        assert_eq!(memory.demand(&resource, &source, &theirs, seconds(1)).unwrap().why, Why::Due);

        // Taken over: that shows in one pass alone, and holds in the next.
        let first = memory.demand(&resource, &source, &Claim::Mine, seconds(2)).unwrap();
        assert_eq!((first.why, first.again), (Why::Changed, false));
        let next = memory.demand(&resource, &source, &Claim::Mine, seconds(3)).unwrap();
        assert_eq!(next, Demand { again: true, ..first });
        memory.answered(&resource, &source, failed(3), seconds(3), 0.5);
        assert_eq!(memory.demand(&resource, &source, &Claim::Mine, seconds(4)).unwrap().why, Why::Due);
    }

    #[test]
    fn a_status_that_the_cache_has_not_seen_yet_stands_in_for_the_old_one() {
        let mut cached = resource("payments");
        let status = ClientCertificateRefStatus { observed_generation: Some(1), ..Default::default() };
        let mut memory = Memory::new(&cached);
        memory.published = Some(Box::new(Published { resource_version: "11".into(), status: status.clone() }));
        assert_eq!(memory.with_published_status(&cached).status.clone(), Some(status));
        cached.metadata.resource_version = Some("11".into());
        assert_eq!(memory.with_published_status(&cached).status.clone(), None);
        assert!(memory.published.is_none());
    }

    #[test]
    fn a_status_that_was_written_is_remembered_until_the_cache_holds_it() {
        let memories = Memories::default();
        let resource = resource("payments");
        let name = ResourceName::new(resource.namespace(), resource.name());
        let published = Published { resource_version: "11".into(), status: ClientCertificateRefStatus::default() };
        memories.put(&resource, Memory { published: Some(Box::new(published)), ..Memory::new(&resource) });
        for (version, is_remembered) in [("10", true), ("11", false)] {
            memories.caught_up(&name, version);
            let memory = memories.take(&resource);
            assert_eq!(memory.published.is_some(), is_remembered, "{version}");
            memories.put(&resource, memory);
        }
    }
}
