//! What the operator remembers of each resource between passes. Nothing of it has to survive a restart: what must is in
//! the resource's status.

mod inquiry;

pub use inquiry::Inquiry;

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
use crate::reading::{Additional, Came, Demand};
use crate::settings::Tick;
use crate::target::Truststore;

/// A target undone this often in a row is put back more slowly.
const REPAIRS_AT_ONCE: usize = 3;
/// Repairs further apart than this are not a fight.
const QUIET: Duration = Duration::from_secs(5 * 60);

/// One of the certificates that a resource names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The main one.
    Main,
    /// One of the additional ones, by its place in the list.
    Additional(usize),
}

/// What is remembered of one resource.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// The resource's uid: another life has another memory.
    pub uid: String,
    /// What is known of the main certificate.
    pub main: Inquiry,
    /// What is known of the additional ones, each with its id, in the order of the spec.
    pub additional: Vec<(String, Inquiry)>,
    /// Attempts at the description.
    pub description: Description,
    /// Whether an answer since the last pass that went through showed that somebody has undone our description.
    pub description_undone: bool,
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

    /// Puts what is known in the order in which the spec names certificates now. Where it moves one from one place to
    /// another, as at the end of a renewal, what is known of it moves along.
    pub fn arrange(&mut self, main: &str, additional: &[Additional]) {
        let is_named = |known: &(String, Inquiry)| known.0 == main;
        let in_place = self.additional.iter().map(|(id, _)| id).eq(additional.iter().map(|named| &named.id));
        if in_place && !self.additional.iter().any(is_named) {
            return;
        }
        let mut known = std::mem::take(&mut self.additional);
        let promoted = known.iter().position(is_named).map(|at| known.remove(at).1);
        // One that was never read well knows less than what it would replace.
        if let Some(promoted) = promoted.filter(|promoted| promoted.reading.last_good().is_some()) {
            let former = std::mem::replace(&mut self.main, promoted);
            let id = former.reading.last_good().map(|answer| answer.source.id.clone());
            known.extend(id.map(|id| (id, former)));
        }
        for named in additional {
            let at = known.iter().position(|(id, _)| *id == named.id);
            let inquiry = at.map(|at| known.swap_remove(at).1).unwrap_or_else(|| self.main.for_another());
            self.additional.push((named.id.clone(), inquiry));
        }
    }

    fn inquiry(&mut self, which: Which) -> Option<&mut Inquiry> {
        match which {
            Which::Main => Some(&mut self.main),
            Which::Additional(at) => self.additional.get_mut(at).map(|(_, inquiry)| inquiry),
        }
    }

    /// Whether there was an answer from this source, good or bad.
    pub fn was_read(&mut self, which: Which, source: &Result<Source, ReadFailure>) -> bool {
        self.inquiry(which).is_some_and(|inquiry| inquiry.reading.at(source).is_some())
    }

    /// What to ask API Gateway about one of the certificates in this pass, if anything.
    pub fn demand(
        &mut self,
        which: Which,
        resource: &ClientCertificateRef,
        source: &Result<Source, ReadFailure>,
        claim: &Claim,
        now: Tick,
    ) -> Option<Demand> {
        let mut of_description = false;
        if which == Which::Main {
            let newly_wanted = self.description.want(resource.spec.description.as_deref(), source.as_ref().ok());
            if self.main.generation.is_none() && was_synced(resource) {
                self.description.was_in_place();
            }
            of_description = self.description.claimed(claim) || newly_wanted;
        }
        self.inquiry(which)?.demand(resource, source, of_description, now)
    }

    /// Takes note of what came.
    pub fn answered(
        &mut self,
        which: Which,
        resource: &ClientCertificateRef,
        source: &Result<Source, ReadFailure>,
        came: Came,
        now: Tick,
        jitter: f64,
    ) {
        let found = came.outcome.clone();
        let Some(inquiry) = self.inquiry(which) else { return };
        let insisted = inquiry.answered(resource, source, came, now, jitter);
        if which == Which::Main {
            if insisted {
                self.description.reset_failures();
            }
            self.description_undone |= found.is_ok_and(|answer| self.description.found(&answer.description, now));
        }
    }

    /// Whether the resource was suspended, so that lifting it reads afresh.
    pub fn suspended(&mut self) {
        self.main.was_suspended = true;
        self.additional.iter_mut().for_each(|(_, inquiry)| inquiry.was_suspended = true);
    }

    /// When to read any of the certificates next.
    pub fn next_read(
        &self,
        resource: &ClientCertificateRef,
        source: &Result<Source, ReadFailure>,
        additional: &[Additional],
        now: Tick,
    ) -> Tick {
        let others = self.additional.iter().zip(additional);
        let others = others.map(|((_, inquiry), named)| inquiry.next_read(resource, &named.source, now));
        others.fold(self.main.next_read(resource, source, now), Tick::min)
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
            memories.insert(key, Box::new(Memory { main: Inquiry::met(now), ..Memory::new(resource) }));
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
            **memory = Memory { uid: std::mem::take(&mut memory.uid), main: Inquiry::met(now), ..Memory::default() };
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
    use crate::fixtures::{PEM, came, certificate, resource, source_of};
    use crate::gateway::GatewayError;
    use crate::reading::{Answer, Why};

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
        memory.main.generation = Some(7);
        memories.put(&first, memory);
        assert_eq!(memories.take(&first).main.generation, Some(7));
        let mut memory = Memory::new(&first);
        memory.main.generation = Some(7);
        memories.put(&first, memory);
        first.metadata.uid = Some("another".into());
        assert_eq!(memories.take(&first).main.generation, None);
    }

    #[test]
    fn a_refresh_is_not_answered_by_a_failure_from_before_it() {
        let mut resource = resource("payments");
        let source = Ok(Source::own("us-east-1", "9ao60f"));
        let failed = |at| Came { outcome: Err(ReadFailure::Gateway(GatewayError::NotFound)), at };
        let mut memory = Memory::new(&resource);
        memory.demand(Which::Main, &resource, &source, &Claim::Mine, seconds(100)).unwrap();
        memory.answered(Which::Main, &resource, &source, failed(seconds(100)), seconds(100), 0.5);
        resource.metadata.annotations = Some([(REFRESH_ANNOTATION.to_owned(), "now".to_owned())].into());
        for (now, why, came_at, is_pending) in [(103, Why::Due, 100, true), (110, Why::Forced, 110, false)] {
            let demand = memory.demand(Which::Main, &resource, &source, &Claim::Mine, seconds(now)).unwrap();
            assert_eq!(demand.why, why);
            memory.answered(Which::Main, &resource, &source, failed(seconds(came_at)), seconds(now), 0.5);
            assert_eq!(memory.main.refresh_pending(&resource), is_pending);
        }
    }

    #[test]
    fn what_was_asked_stands_until_it_is_answered() {
        let mut resource = resource("payments");
        resource.spec.description = Some("ours".into());
        let (source, mut memory) = (source_of(&resource), Memory::new(&resource));
        let theirs = Claim::Theirs { owner: "a/b".into(), same_text: false };
        let failed = |at| came(Err(ReadFailure::Expired), seconds(at));
        assert_eq!(memory.demand(Which::Main, &resource, &source, &theirs, seconds(0)).unwrap().why, Why::New);
        memory.answered(Which::Main, &resource, &source, failed(0), seconds(0), 0.5);
        assert_eq!(memory.demand(Which::Main, &resource, &source, &theirs, seconds(1)).unwrap().why, Why::Due);

        // Taken over: that shows in one pass alone, and holds in the next.
        let first = memory.demand(Which::Main, &resource, &source, &Claim::Mine, seconds(2)).unwrap();
        assert_eq!((first.why, first.again), (Why::Changed, false));
        let next = memory.demand(Which::Main, &resource, &source, &Claim::Mine, seconds(3)).unwrap();
        assert_eq!(next, Demand { again: true, ..first });
        memory.answered(Which::Main, &resource, &source, failed(3), seconds(3), 0.5);
        assert_eq!(memory.demand(Which::Main, &resource, &source, &Claim::Mine, seconds(4)).unwrap().why, Why::Due);
    }

    #[test]
    fn what_is_known_of_a_certificate_moves_with_it() {
        let good = |id: &str| {
            let now = "2026-11-24T00:00:00Z".parse().unwrap();
            came(Answer::check(&Source::own("us-east-1", id), None, certificate(id, PEM), now), seconds(1))
        };
        let named = |ids: &[&str]| -> Vec<Additional> {
            let source = |id: &str| Ok(Source::own("us-east-1", id));
            ids.iter().map(|id| Additional { id: (*id).to_owned(), source: source(id) }).collect()
        };
        let (resource, mut memory) = (resource("payments"), Memory::default());
        let know = |memory: &mut Memory, main: &str, others: &[&str], which, id| {
            memory.arrange(main, &named(others));
            memory.answered(which, &resource, &Ok(Source::own("us-east-1", id)), good(id), seconds(1), 0.5);
        };
        know(&mut memory, "old", &["new", "other"], Which::Main, "old");
        know(&mut memory, "old", &["new", "other"], Which::Additional(0), "new");
        let known = |memory: &Memory| -> Vec<Option<String>> {
            let id = |inquiry: &Inquiry| inquiry.reading.last_good().map(|answer| answer.source.id.clone());
            std::iter::once(id(&memory.main)).chain(memory.additional.iter().map(|(_, one)| id(one))).collect()
        };
        let some = |id: &str| Some(id.to_owned());
        assert_eq!(known(&memory), [some("old"), some("new"), None]);
        memory.arrange("old", &named(&["other", "new"]));
        assert_eq!(known(&memory), [some("old"), None, some("new")]);
        memory.arrange("new", &named(&["old", "other"]));
        assert_eq!(known(&memory), [some("new"), some("old"), None]);
        memory.arrange("other", &named(&["old"]));
        assert_eq!(
            known(&memory),
            [some("new"), some("old")],
            "until the other was read, its forerunner stands in for it"
        );
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
