//! The abstract world: its state, its events, and the properties of every state.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Mutex;

use client_certificate_operator::conditions::Reason;
use client_certificate_operator::controllers::mirror::TargetPlan;
use stateright::{Model, Property};

use super::facts::{
    Done, Facts, Guard, Read, Seen, Spec, Stored, Version, Why, conclude, decide, describe, edited, explain,
    foreign_secret, hold, holds, is_wanted, no_backoff, no_outcome, no_status, no_updates, owner, reported, sender,
    sent, unmarked,
};

/// A certificate in API Gateway, or the failure of its reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Aws {
    There,
    Fails(Why),
}

/// The object that the resources claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Object {
    pub secret: u32,
    /// Another writer made the object, and the operator has not adopted it.
    pub is_foreign: bool,
}

/// The target in a replica's store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Store {
    Nothing,
    /// The content has to be fetched.
    Metadata,
    All(Seen),
}

/// A resource in a replica's store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct View {
    pub stored: Stored,
    pub is_current: bool,
    /// The replica has written a status that the store does not have yet.
    pub is_behind_own_write: bool,
}

/// A reconcile that has begun.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Run {
    pub facts: Facts,
    /// Whether the resource still has the version that was read.
    pub is_current: bool,
    pub done: Vec<Done>,
    pub is_second_try: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Replica {
    pub target: Store,
    pub views: [View; 2],
    pub reads: [Read; 3],
    pub text: u8,
    pub backoffs: [u32; 2],
    pub updates: u32,
    /// The updates of the description in progress. They wait for a token.
    pub sending: Vec<u32>,
    pub runs: [Option<Run>; 2],
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub aws: [Aws; 3],
    pub text: u8,
    pub target: Option<Object>,
    pub resources: [Stored; 2],
    pub replicas: Vec<Replica>,
    pub tick: u16,
    /// The leading replica, which is the only one that begins reconciles.
    pub leader: usize,
    /// The number of times that each event of the bounds may still happen.
    pub left: Vec<u8>,
    pub crashes: u8,
    pub takeovers: u8,
    pub faults: u8,
    /// Whether a write has done what no write may do.
    pub has_written_foreign: bool,
    pub has_younger_written: bool,
    pub has_gone_back: bool,
    pub writes: Writes,
}

/// The number of writes that a run without faults counts. It is no part of the state.
#[derive(Clone, Copy, Debug, Default)]
pub struct Writes(usize);

impl PartialEq for Writes {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Writes {}

impl Hash for Writes {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

/// The events outside the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    EditTarget,
    DeleteTarget,
    UnmarkTarget,
    /// Another writer replaces the target by its own object.
    ReplaceTarget {
        with_more_keys: bool,
    },
    Aws(u8, Aws),
    DescribeOutside,
    /// The spec gets another main certificate.
    ChangeMain(u8, u8),
    /// The spec gets a description.
    Describe(u8, u8),
    Wait(u16),
}

/// The fault of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    None,
    /// The write succeeds, and the answer is lost.
    AnswerLost,
    /// The write is refused.
    Refused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    Happens(usize),
    Start(usize, usize),
    Continue(usize, usize, Fault),
    Send(usize, Fault),
    /// The leader lists the certificates.
    List,
    WatchTarget(usize),
    WatchResources(usize),
    /// The leader crashes and starts again.
    Crash,
    /// The next replica leads. The former leader may still end its reconciles.
    TakeOver {
        lags: bool,
    },
}

/// The bounds of the world.
#[derive(Clone, Debug)]
pub struct Bounds {
    pub specs: [Spec; 2],
    /// The resources that are reconciled.
    pub resources: Vec<usize>,
    /// The number of reconciles in progress at once, in one replica.
    pub concurrency: usize,
    /// No event happens between the effects of a reconcile, and the store of the target does not lag. For
    /// configurations about updates of the description.
    pub is_atomic: bool,
    pub aws: [Aws; 3],
    /// The possible events, with their number of times.
    pub events: Vec<(Event, u8)>,
    pub crashes: u8,
    pub takeovers: u8,
    /// The number of writes that are refused, or whose answer is lost.
    pub faults: u8,
}

/// The property of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claimed {
    NeverEmpty,
    StatusIsTrue,
    OldestDescribes,
    OneUpdate,
    ForeignIsLeftAlone,
    StatusNeverGoesBack,
    ReachesTheGoal,
}

pub struct Checked {
    pub bounds: Bounds,
    pub without: Option<Guard>,
    pub claimed: Claimed,
    /// The failure to reach the goal, after the first one.
    pub failure: Mutex<Option<String>>,
    settled: Mutex<HashMap<World, bool>>,
}

/// The number of rounds of reconciles after which a run without faults has to be at rest.
pub const ROUNDS: usize = 8;

impl Checked {
    pub fn new(bounds: Bounds, claimed: Claimed, without: Option<Guard>) -> Self {
        Checked { bounds, without, claimed, failure: Mutex::default(), settled: Mutex::default() }
    }
}

impl Replica {
    fn started(world: &World) -> Self {
        let view = |stored| View { stored, is_current: true, is_behind_own_write: false };
        Replica {
            target: world.listed(),
            views: world.resources.map(view),
            reads: [Read::Pending; 3],
            text: 0,
            backoffs: [no_backoff(); 2],
            updates: no_updates(),
            sending: Vec::new(),
            runs: [None, None],
        }
    }

    fn stores(&self) -> [Stored; 2] {
        self.views.map(|view| view.stored)
    }
}

impl World {
    fn new(bounds: &Bounds) -> Self {
        let mut world = World {
            aws: bounds.aws,
            text: 0,
            target: None,
            resources: bounds.specs.map(|spec| (spec, no_status())),
            replicas: Vec::new(),
            tick: 0,
            leader: 0,
            left: bounds.events.iter().map(|(_, times)| *times).collect(),
            crashes: bounds.crashes,
            takeovers: bounds.takeovers,
            faults: bounds.faults,
            has_written_foreign: false,
            has_younger_written: false,
            has_gone_back: false,
            writes: Writes::default(),
        };
        world.replicas = (0..=bounds.takeovers).map(|_| Replica::started(&world)).collect();
        world
    }

    /// The target in a list of labelled objects.
    fn listed(&self) -> Store {
        match self.target {
            Some(object) if holds(object.secret).is_labelled => {
                Store::All(Seen { secret: object.secret, version: Version::Current })
            }
            _ => Store::Nothing,
        }
    }

    fn seen(&mut self) -> impl Iterator<Item = &mut Seen> {
        self.replicas.iter_mut().flat_map(|replica| {
            let store = match &mut replica.target {
                Store::All(seen) => Some(seen),
                Store::Nothing | Store::Metadata => None,
            };
            store.into_iter().chain(replica.runs.iter_mut().flatten().filter_map(|run| run.facts.target.as_mut()))
        })
    }

    /// Changes the target. Every copy of it becomes old.
    fn set_target(&mut self, object: Option<Object>) {
        let is_same_life = self.target.is_some() && object.is_some();
        for seen in self.seen() {
            seen.version = match seen.version {
                Version::Current if is_same_life => Version::Older,
                Version::Older if is_same_life => Version::Older,
                _ => Version::FormerLife,
            };
        }
        self.target = object;
    }

    fn set_resource(&mut self, index: usize, stored: Stored) {
        self.resources[index] = stored;
        for replica in &mut self.replicas {
            replica.views[index].is_current = false;
            if let Some(run) = &mut replica.runs[index] {
                run.is_current = false;
            }
        }
    }

    fn fetch(&mut self, replica: usize) -> Option<Seen> {
        self.replicas[replica].target = self.listed();
        self.target.map(|object| Seen { secret: object.secret, version: Version::Current })
    }

    fn happen(&mut self, event: Event) -> Option<()> {
        match event {
            Event::EditTarget => {
                let object = self.target?;
                self.set_target(Some(Object { secret: edited(object.secret), ..object }));
            }
            Event::UnmarkTarget => {
                let object = self.target?;
                self.set_target(Some(Object { secret: unmarked(object.secret), ..object }));
            }
            Event::DeleteTarget => {
                self.target?;
                self.set_target(None);
            }
            Event::ReplaceTarget { with_more_keys } => {
                self.set_target(None);
                self.set_target(Some(Object { secret: foreign_secret(with_more_keys), is_foreign: true }));
            }
            Event::Aws(certificate, aws) => self.aws[usize::from(certificate)] = aws,
            Event::DescribeOutside => self.text = 3,
            Event::ChangeMain(resource, main) => {
                let (spec, status) = self.resources[usize::from(resource)];
                let spec = Spec { main, generation: spec.generation + 1, ..spec };
                self.set_resource(usize::from(resource), (spec, status));
            }
            Event::Describe(resource, text) => {
                let (spec, status) = self.resources[usize::from(resource)];
                let spec = Spec { text: Some(text), generation: spec.generation + 1, ..spec };
                self.set_resource(usize::from(resource), (spec, status));
            }
            Event::Wait(minutes) => self.tick += minutes,
        }
        Some(())
    }

    fn poll(&mut self, replica: usize, certificate: usize) {
        let (aws, text) = (self.aws[certificate], self.text);
        let replica = &mut self.replicas[replica];
        replica.reads[certificate] = match aws {
            Aws::There => {
                if certificate == 0 {
                    replica.text = text;
                }
                Read::Good
            }
            Aws::Fails(why) => {
                // A transient failure does not replace a conclusive one in the cache.
                if why == Why::Down
                    && matches!(replica.reads[certificate], Read::Failed { why, .. } if why != Why::Down)
                {
                    return;
                }
                // After NotFound, the cache has no former answer.
                let had_answer = matches!(replica.reads[certificate], Read::Good | Read::Failed { was_good: true, .. });
                let was_good = had_answer && why != Why::NotFound;
                Read::Failed { why, was_good }
            }
        };
    }

    fn watch_resource(&mut self, replica: usize, index: usize) {
        let stored = self.resources[index];
        self.replicas[replica].views[index] = View { stored, is_current: true, is_behind_own_write: false };
    }

    /// Gathers the facts like the mirror, and runs the description controller, which compares and sends.
    fn start(&mut self, at: usize, index: usize, without: Option<Guard>) -> Option<()> {
        let replica = &self.replicas[at];
        let view = replica.views[index];
        if view.is_behind_own_write || replica.runs[index].is_some() {
            return None;
        }
        let (spec, status) = view.stored;
        let mut description = no_outcome();
        if spec.text.is_some() {
            let found = (replica.reads[usize::from(spec.main)] == Read::Good).then_some(if spec.main == 0 {
                replica.text
            } else {
                0
            });
            let described = describe(replica.stores(), index as u8, found, replica.updates, self.tick, without);
            description = described.outcome;
            if let Some(update) = described.sends {
                self.note_update(at, update);
            }
            let replica = &mut self.replicas[at];
            replica.updates = described.updates;
            replica.sending.extend(described.sends);
        }
        let said = reported(status);
        let target = match self.replicas[at].target {
            Store::All(seen) => Some(seen),
            Store::Nothing if !said.names_target && !said.is_not_written => None,
            Store::Nothing | Store::Metadata => self.fetch(at),
        };
        let replica = &self.replicas[at];
        let facts = Facts {
            resource: index as u8,
            spec,
            status,
            target,
            reads: replica.reads,
            text: replica.text,
            description,
            hold: hold(replica.backoffs[index], &spec, self.tick),
            tick: self.tick,
        };
        let run = Run { facts, is_current: view.is_current, done: Vec::new(), is_second_try: false };
        self.replicas[at].runs[index] = Some(run);
        if self.pending_write(at, index, without).is_none() && !self.changes_status(at, index, without) {
            self.finish(at, index, Fault::None, without);
        }
        Some(())
    }

    /// Notes that the younger resource's update is sent although the older one owns the description. The statuses of the
    /// API server decide, not those that the replica has seen, with the specs that the replica has seen.
    fn note_update(&mut self, at: usize, update: u32) {
        let views = self.replicas[at].views;
        let known = [0, 1].map(|index| (views[index].stored.0, self.resources[index].1));
        let rightful = owner(known, 0, true, None);
        let is_of_older = rightful.as_ref().as_ref().is_some_and(|(owner, _)| *owner == 0);
        self.has_younger_written |= is_of_older && sender(update).0 == 1;
    }

    fn pending_write(&self, at: usize, index: usize, without: Option<Guard>) -> Option<super::facts::Write> {
        let run = self.replicas[at].runs[index].as_ref()?;
        decide(&run.facts, without).writes.get(run.done.len()).cloned()
    }

    fn changes_status(&self, at: usize, index: usize, without: Option<Guard>) -> bool {
        let replica = &self.replicas[at];
        replica.runs[index].as_ref().is_some_and(|run| {
            let (concluded, _) = conclude(&run.facts, &run.done, replica.backoffs[index], without);
            concluded.status != run.facts.status
        })
    }

    /// The next effect of a run: a write of the target, or of the status.
    fn proceed(&mut self, at: usize, index: usize, fault: Fault, without: Option<Guard>) -> Option<()> {
        let run = self.replicas[at].runs[index].clone()?;
        let Some(write) = self.pending_write(at, index, without) else {
            return self.finish(at, index, fault, without);
        };
        self.writes.0 += 1;
        let (secret, meets) = (write.secret, write.meets_precondition || without == Some(Guard::Precondition));
        let may = match (self.target, write.is_create) {
            _ if fault == Fault::Refused => Done::NoAnswer,
            (None, true) => Done::Written,
            (Some(_), true) => Done::Exists,
            (Some(_), false) if meets => Done::Written,
            (_, false) => Done::Conflict,
        };
        if may == Done::Written {
            if let Some(before) = self.target.filter(|before| before.is_foreign) {
                let may_adopt = run.facts.spec.adopt && !holds(before.secret).has_more_keys;
                self.has_written_foreign |= !may_adopt;
            }
            self.set_target(Some(Object { secret, is_foreign: false }));
        }
        let done = if fault == Fault::AnswerLost { Done::NoAnswer } else { may };
        if done == Done::Written {
            self.replicas[at].target = self.listed();
        } else if !write.is_create && matches!(self.replicas[at].target, Store::All(_)) {
            self.replicas[at].target = Store::Metadata;
        }
        let lost_a_race = matches!(done, Done::Exists | Done::Conflict);
        if lost_a_race && !run.is_second_try {
            let target = self.fetch(at);
            let run = self.replicas[at].runs[index].as_mut()?;
            run.facts.target = target;
            run.is_second_try = true;
        } else {
            self.replicas[at].runs[index].as_mut()?.done.push(done);
        }
        Some(())
    }

    fn finish(&mut self, at: usize, index: usize, fault: Fault, without: Option<Guard>) -> Option<()> {
        let run = self.replicas[at].runs[index].take()?;
        let (concluded, backoff) = conclude(&run.facts, &run.done, self.replicas[at].backoffs[index], without);
        self.replicas[at].backoffs[index] = backoff;
        if concluded.status == run.facts.status || fault == Fault::Refused {
            return Some(());
        }
        self.writes.0 += 1;
        if run.is_current || without == Some(Guard::StatusVersion) {
            let (spec, before) = self.resources[index];
            self.has_gone_back |= reported(concluded.status).generation < reported(before).generation;
            self.set_resource(index, (spec, concluded.status));
            if fault == Fault::None {
                self.replicas[at].views[index].is_behind_own_write = true;
            }
        }
        Some(())
    }

    /// Sends an update of the description that has got its token, if its owner still wants it.
    fn send(&mut self, at: usize, fault: Fault, without: Option<Guard>) -> Option<()> {
        let replica = &mut self.replicas[at];
        let update = replica.sending.pop()?;
        let is_readable = replica.reads[0] == Read::Good;
        if without != Some(Guard::Withdrawal) && !is_wanted(replica.updates, update, replica.stores(), is_readable) {
            replica.updates = sent(replica.updates, None, self.tick);
            return Some(());
        }
        self.note_update(at, update);
        self.writes.0 += 1;
        let (_, text) = sender(update);
        let result = match self.aws[0] {
            Aws::Fails(why) => Err(why),
            Aws::There if fault == Fault::Refused => Err(Why::Down),
            Aws::There => {
                self.text = text;
                if fault == Fault::AnswerLost { Err(Why::Down) } else { Ok(text) }
            }
        };
        let replica = &mut self.replicas[at];
        if result.is_ok() {
            replica.text = text;
        }
        replica.updates = sent(replica.updates, Some(result), self.tick);
        Some(())
    }

    fn crash(&mut self) {
        self.replicas[self.leader] = Replica::started(self);
    }

    /// The next replica begins with only its stores, which may be as old as the start.
    fn take_over(&mut self, lags: bool) {
        self.leader += 1;
        if !lags {
            self.replicas[self.leader] = Replica::started(self);
        }
    }

    fn list(&mut self, at: usize, resources: &[usize]) {
        let named = resources.iter().flat_map(|index| {
            let (spec, _) = self.resources[*index];
            std::iter::once(spec.main).chain(spec.additional)
        });
        for certificate in named.collect::<Vec<_>>() {
            self.poll(at, usize::from(certificate));
        }
    }

    /// Ends all reconciles in progress, without a fault.
    fn end_runs(&mut self, at: usize, without: Option<Guard>) {
        for index in 0..2 {
            while self.replicas[at].runs[index].is_some() {
                self.proceed(at, index, Fault::None, without);
            }
        }
        while self.send(at, Fault::None, without).is_some() {}
    }

    fn catch_up(&mut self, at: usize) {
        self.replicas[at].target = self.listed();
        (0..2).for_each(|index| self.watch_resource(at, index));
    }

    /// Makes a run without faults: reconciles in progress end, outages end, and one replica continues. At rest, two rounds
    /// write nothing. Returns the reason for which the run does not come to rest, or not at the goal.
    pub fn settle(&self, bounds: &Bounds, without: Option<Guard>) -> Result<(), String> {
        let mut world = self.clone();
        for aws in &mut world.aws {
            if *aws == Aws::Fails(Why::Down) {
                *aws = Aws::There;
            }
        }
        let (leader, mut quiet) = (world.leader, 0);
        for _ in 0..ROUNDS {
            // This time is longer than any wait.
            world.tick += 61;
            world.list(leader, &bounds.resources);
            let before = world.writes.0;
            for index in &bounds.resources {
                world.catch_up(leader);
                world.start(leader, *index, without);
                world.end_runs(leader, without);
            }
            quiet = if before == world.writes.0 { quiet + 1 } else { 0 };
            if quiet == 2 {
                return world.is_at_the_goal(bounds);
            }
        }
        Err(format!("not at rest after {ROUNDS} rounds: {}", world.explain()))
    }

    fn is_at_the_goal(&self, bounds: &Bounds) -> Result<(), String> {
        let is_there = |certificate: u8| self.aws[usize::from(certificate)] == Aws::There;
        let of_target = self.target.map(|object| (holds(object.secret), object.is_foreign));
        for index in &bounds.resources {
            let (spec, status) = self.resources[*index];
            let said = reported(status);
            let is_mine =
                of_target.as_ref().is_some_and(|(holds, is_foreign)| !is_foreign && holds.owner == Some(*index as u8));
            if said.is_written {
                let held = of_target.as_ref().and_then(|(holds, _)| holds.certificates.clone());
                if held.as_ref() != Some(&said.certificates) {
                    return Err(format!("the status names {:?}, the target holds {held:?}", said.certificates));
                }
                let certificates = &said.certificates;
                let is_right = certificates.first() == Some(&spec.main)
                    && spec.additional.is_none_or(|additional| match self.aws[usize::from(additional)] {
                        Aws::There => certificates[1..] == [additional],
                        Aws::Fails(Why::NotFound) => certificates.len() == 1,
                        // A revoked permission removes no certificate from a target.
                        Aws::Fails(Why::Denied | Why::Down) => certificates.len() <= 2,
                    });
                if is_there(spec.main) && !is_right {
                    return Err(format!("other certificates are wanted: {}", self.explain()));
                }
            }
            let is_in_the_way = of_target.is_some() && !is_mine;
            if is_there(spec.main) && said.is_written == is_in_the_way {
                return Err(format!("the target is mine: {is_mine}: {}", self.explain()));
            }
            if said.is_ready != (said.is_written && is_there(spec.main)) {
                return Err(format!("not ready: {}", self.explain()));
            }
            if !said.is_written && said.reason == Some(Reason::Conflict) {
                return Err(format!("a conflict for good: {}", self.explain()));
            }
        }
        if is_there(0)
            && let Some((owner, _)) = owner(self.resources, 0, true, None).as_ref()
            && Some(self.text) != self.resources[usize::from(*owner)].0.text
        {
            return Err(format!("{owner} owns the description, and API Gateway holds {}", self.text));
        }
        Ok(())
    }

    /// A status with TargetWritten lists the certificates in the target, or a reconcile is due.
    fn is_status_true(&self, bounds: &Bounds, without: Option<Guard>) -> bool {
        bounds.resources.iter().all(|index| {
            let (_, status) = self.resources[*index];
            let said = reported(status);
            if !said.is_written {
                return true;
            }
            let held = self.target.and_then(|object| holds(object.secret).certificates.clone()).unwrap_or_default();
            if said.certificates.iter().all(|certificate| held.contains(certificate)) {
                return true;
            }
            // After the leader has seen this state, it writes, or the status shows that it waits.
            let (mut world, at) = (self.clone(), self.leader);
            world.replicas[at].runs = [None, None];
            world.catch_up(at);
            world.start(at, *index, without);
            let run = &world.replicas[at].runs[*index];
            run.as_ref().is_some_and(|run| !matches!(decide(&run.facts, without).plan.target, TargetPlan::Kept))
        })
    }

    fn explain(&self) -> String {
        let of_target =
            self.target.map(|object| (holds(object.secret).certificates.clone(), holds(object.secret).owner));
        let statuses = self.resources.map(|(spec, status)| format!("{spec:?}: {}", explain(status)));
        format!("aws {:?}, text {}, target {of_target:?}, {statuses:#?}", self.aws, self.text)
    }
}

impl Model for Checked {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(&self.bounds)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        actions.extend((0..world.left.len()).filter(|at| world.left[*at] > 0).map(Action::Happens));
        let faults: &[Fault] = match world.faults {
            0 => &[Fault::None],
            _ => &[Fault::None, Fault::AnswerLost, Fault::Refused],
        };
        for (at, replica) in world.replicas.iter().enumerate() {
            let leads = at == world.leader;
            let under_way = replica.runs.iter().flatten().count();
            for index in &self.bounds.resources {
                match &replica.runs[*index] {
                    Some(_) => actions.extend(faults.iter().map(|fault| Action::Continue(at, *index, *fault))),
                    None if leads && under_way < self.bounds.concurrency => actions.push(Action::Start(at, *index)),
                    None => {}
                }
            }
            if !replica.sending.is_empty() {
                actions.extend(faults.iter().map(|fault| Action::Send(at, *fault)));
            }
            if leads {
                let is_behind = |index: &usize| !replica.views[*index].is_current;
                if self.bounds.resources.iter().any(is_behind) {
                    actions.push(Action::WatchResources(at));
                }
                if replica.target != world.listed() && !self.bounds.is_atomic {
                    actions.push(Action::WatchTarget(at));
                }
            }
        }
        actions.push(Action::List);
        if world.crashes > 0 {
            actions.push(Action::Crash);
        }
        if world.takeovers > 0 {
            actions.extend([false, true].map(|lags| Action::TakeOver { lags }));
        }
    }

    fn next_state(&self, last: &World, action: Action) -> Option<World> {
        let (mut world, without) = (last.clone(), self.without);
        match action {
            Action::Happens(at) => {
                world.left[at] -= 1;
                world.happen(self.bounds.events[at].0)?;
            }
            Action::Start(at, index) => {
                if self.bounds.is_atomic {
                    world.replicas[at].target = world.listed();
                }
                world.start(at, index, without)?;
                while self.bounds.is_atomic && world.replicas[at].runs[index].is_some() {
                    world.proceed(at, index, Fault::None, without);
                }
            }
            Action::Continue(at, index, fault) => {
                world.faults -= u8::from(fault != Fault::None);
                world.proceed(at, index, fault, without)?;
            }
            Action::Send(at, fault) => {
                world.faults -= u8::from(fault != Fault::None);
                world.send(at, fault, without)?;
            }
            Action::List => world.list(world.leader, &self.bounds.resources),
            Action::WatchTarget(at) => world.replicas[at].target = world.listed(),
            Action::WatchResources(at) => (0..2).for_each(|index| world.watch_resource(at, index)),
            Action::Crash => {
                world.crashes -= 1;
                world.crash();
            }
            Action::TakeOver { lags } => {
                world.takeovers -= 1;
                world.take_over(lags);
            }
        }
        (world != *last).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let property = match self.claimed {
            Claimed::NeverEmpty => Property::always("a target is never empty", |_, world: &World| {
                world.target.is_none_or(|object| !holds(object.secret).is_blank)
            }),
            Claimed::StatusIsTrue => {
                Property::always("what the status names is in the target, or a write is due", |model: &Self, world| {
                    world.is_status_true(&model.bounds, model.without)
                })
            }
            Claimed::OldestDescribes => {
                Property::always("a younger claim never writes while an older one is valid", |_, world: &World| {
                    !world.has_younger_written
                })
            }
            Claimed::OneUpdate => Property::always("one update is in progress at most", |_, world: &World| {
                world.replicas.iter().all(|replica| replica.sending.len() <= 1)
            }),
            Claimed::ForeignIsLeftAlone => {
                Property::always("a foreign object is never written", |_, world: &World| !world.has_written_foreign)
            }
            Claimed::StatusNeverGoesBack => {
                Property::always("a status never goes back to an older generation", |_, world: &World| {
                    !world.has_gone_back
                })
            }
            Claimed::ReachesTheGoal => Property::always("without faults the goal is reached", |model: &Self, world| {
                model.reaches_the_goal(world)
            }),
        };
        vec![property]
    }
}

impl Checked {
    fn reaches_the_goal(&self, world: &World) -> bool {
        // Removes the parts that do not affect the run: the budget, and the state of replicas that do not continue.
        let mut key = world.clone();
        (key.left, key.crashes, key.faults) = (Vec::new(), 0, 0);
        (0..key.replicas.len()).for_each(|at| key.end_runs(at, self.without));
        let replica = key.replicas.swap_remove(key.leader);
        (key.replicas, key.leader, key.takeovers) = (vec![replica], 0, 0);
        if let Some(known) = self.settled.lock().unwrap().get(&key) {
            return *known;
        }
        let result = key.settle(&self.bounds, self.without);
        let is_reached = result.is_ok();
        if let Err(failure) = result {
            self.failure.lock().unwrap().get_or_insert(failure);
        }
        self.settled.lock().unwrap().insert(key, is_reached);
        is_reached
    }
}

/// The text of bounds for the report.
pub fn describe_bounds(bounds: &Bounds) -> String {
    let Bounds { resources, concurrency, is_atomic, events, crashes, takeovers, faults, .. } = bounds;
    format!(
        "{} resources, {concurrency} reconciles at once, atomic: {is_atomic}, {crashes} crashes, {takeovers} take-overs, {faults} lost or refused writes, {events:?}",
        resources.len()
    )
}
