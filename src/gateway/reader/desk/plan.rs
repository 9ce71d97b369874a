//! What to call next at a desk: nothing, certificates one by one, or the list of all.

use std::collections::BTreeMap;

use super::{Desk, Entry, Waiting};
use crate::gateway::budget::{Closed, Turn};
use crate::reading::LATELY;
use crate::settings::Tick;

/// Certificates that are asked for one by one at the same time.
const ONE_BY_ONE: usize = 8;
/// One in so many is a refresh, where any is due: first reads alone must not keep certificates from being refreshed.
const REFRESH_EVERY: u64 = 5;

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum Step {
    /// Nobody waits.
    Idle,
    /// Nothing can be done until then.
    Wait(Tick),
    /// Ask for the list.
    List(Pick),
    /// Ask for these certificates, each by itself.
    Get(Vec<Pick>),
}

/// A call that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Pick {
    /// The certificate; of the list, the one that is most urgent.
    pub(in super::super) id: String,
    /// How urgent it is.
    pub(in super::super) turn: Turn,
    /// On whose account.
    pub(in super::super) namespace: String,
}

type Due<'a> = (&'a String, &'a Entry, &'a Waiting);

impl Desk {
    /// What to do next.
    pub(in super::super) fn plan(&mut self, closed: Option<&Closed>, now: Tick) -> Step {
        let certificates = self.certificates.iter();
        let waiting = certificates.filter_map(|(id, entry)| Some((id, entry.as_ref(), entry.waiting.as_deref()?)));
        let waiting: Vec<Due<'_>> = waiting.collect();
        let Some(earliest) = waiting.iter().map(|(_, _, waiting)| waiting.begin_at).min() else { return Step::Idle };
        let due: Vec<Due<'_>> = waiting.into_iter().filter(|(_, _, waiting)| waiting.begin_at <= now).collect();
        if let Some(closed) = closed {
            return Step::Wait(closed.until.max(earliest));
        }
        let insists = due.iter().any(|(_, _, waiting)| waiting.insists);
        if let Some(trouble) = self.trouble.as_ref().filter(|trouble| now < trouble.until && !insists) {
            return Step::Wait(trouble.until.max(earliest));
        }
        if due.is_empty() {
            return Step::Wait(earliest);
        }
        let mut picks: Vec<_> = due.iter().filter_map(pick).collect();
        // Resources that come one after the other are read one by one, until the list would have been cheaper: it serves
        // those too that come after it.
        self.first_reads.retain(|at| now < *at + LATELY);
        let first = due.iter().any(|(_, entry, _)| entry.known.is_none() && !entry.omitted);
        let so_far = if first { self.first_reads.len() } else { 0 };
        if now >= self.list_off_until && so_far + self.cost_one_by_one(&due, now) > self.pages {
            picks.sort_by_key(|(since, pick)| (pick.turn, *since));
            return picks.into_iter().next().map_or(Step::Idle, |(_, first)| Step::List(first));
        }
        // One call finds out whether the trouble is over.
        let most = if self.trouble.is_some() { 1 } else { ONE_BY_ONE };
        let picks = self.take_turns(picks, most);
        let is_first = |pick: &&Pick| self.certificates.get(&pick.id).is_some_and(|entry| entry.known.is_none());
        self.first_reads.extend(picks.iter().filter(is_first).map(|_| now));
        Step::Get(picks)
    }

    /// Whether the list is worth another page after so many: as long as asking for everything that is named here, one by
    /// one, would cost more than the pages so far.
    pub(in super::super) fn goes_on_listing(&self, pages: usize, now: Tick) -> bool {
        self.certificates.values().filter(|entry| entry.is_named(now)).count() > pages
    }

    /// How many calls it takes without the list: one for each certificate that is due, and where one of them is a
    /// refresh, one for each that is refreshed as often, because the list spares it its own.
    fn cost_one_by_one(&self, due: &[Due<'_>], now: Tick) -> usize {
        let is_good = |entry: &Entry| entry.known.as_ref().is_some_and(|known| known.outcome.is_ok()) && !entry.omitted;
        let listable = due.iter().filter(|(_, entry, _)| !entry.omitted).count();
        let refreshes = due.iter().filter(|(_, entry, waiting)| is_good(entry) && !waiting.insists);
        let Some(shortest) = refreshes.map(|(_, entry, _)| entry.interval).min() else { return listable };
        let as_often =
            |entry: &&Entry| is_good(entry) && entry.is_named(now) && entry.interval <= shortest.mul_f64(1.1);
        listable.max(self.certificates.values().map(Box::as_ref).filter(as_often).count())
    }

    /// The next of those that are due: first reads before refreshes, and the namespace that was served longest ago.
    fn take_turns(&mut self, picks: Vec<(Tick, Pick)>, most: usize) -> Vec<Pick> {
        let mut lanes: BTreeMap<(Turn, String), Vec<(Tick, Pick)>> = BTreeMap::new();
        for (since, pick) in picks {
            lanes.entry((pick.turn, pick.namespace.clone())).or_default().push((since, pick));
        }
        for picks in lanes.values_mut() {
            picks.sort_by(|a, b| (b.0, &b.1.id).cmp(&(a.0, &a.1.id)));
        }
        let mut taken = Vec::new();
        while taken.len() < most {
            let preferred = if self.served % REFRESH_EVERY == REFRESH_EVERY - 1 { Turn::Refresh } else { Turn::First };
            let served = |namespace: &String| self.last_served.get(namespace).copied().unwrap_or_default();
            let next = lanes.keys().min_by_key(|(turn, namespace)| (*turn != preferred, served(namespace))).cloned();
            let Some(lane) = next else { break };
            let Some(picks) = lanes.get_mut(&lane) else { break };
            taken.extend(picks.pop().map(|(_, pick)| pick));
            if picks.is_empty() {
                lanes.remove(&lane);
            }
            self.served += 1;
            self.last_served.insert(lane.1, self.served);
        }
        taken
    }
}

fn pick((id, entry, waiting): &Due<'_>) -> Option<(Tick, Pick)> {
    let turn = if entry.known.is_none() || waiting.insists { Turn::First } else { Turn::Refresh };
    let namespace = waiting.namespaces().next()?.to_owned();
    Some((waiting.since, Pick { id: (*id).clone(), turn, namespace }))
}
