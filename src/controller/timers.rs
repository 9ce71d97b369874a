//! When to look at each resource again though nothing has changed: one timer a resource at most.
//!
//! Not the requeue of the controller's queue: that keeps each name twice and a whole request beside it, for as long as it
//! waits, and in a fleet every resource waits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::api::ResourceName;
use crate::clock::Clock;
use crate::settings::Tick;

/// The timers of all resources.
#[derive(Debug)]
pub struct Timers {
    clock: Clock,
    set: Mutex<Set>,
    /// Rung when another timer is the first to go off.
    sooner: Notify,
}

#[derive(Debug, Default)]
struct Set {
    by_resource: BTreeMap<Arc<ResourceName>, Tick>,
    by_tick: BTreeSet<(Tick, Arc<ResourceName>)>,
}

impl Timers {
    /// No timers yet, by this clock.
    pub fn new(clock: Clock) -> Self {
        Timers { clock, set: Mutex::default(), sooner: Notify::new() }
    }

    /// Has a resource looked at so long from now, in place of when it was to be looked at before.
    pub fn set(&self, resource: ResourceName, wait: Tick) {
        let is_first = self.lock().set(resource, self.clock.now() + wait);
        if is_first {
            self.sooner.notify_one();
        }
    }

    /// Takes back the timer of a resource: it is looked at now, or is gone.
    pub fn cancel(&self, resource: &ResourceName) {
        self.lock().cancel(resource);
    }

    /// Takes back the timers of resources that are gone, after a list.
    pub fn retain(&self, is_there: impl Fn(&ResourceName) -> bool) {
        let mut set = self.lock();
        set.by_resource.retain(|resource, _| is_there(resource));
        set.by_tick.retain(|(_, resource)| is_there(resource));
    }

    /// Tells of each resource whose time has come, and never ends.
    pub async fn run(&self, wake: impl Fn(Vec<ResourceName>)) {
        loop {
            let first = self.lock().first();
            let until_first = async {
                match first {
                    Some(tick) => self.clock.wait_until(tick).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = until_first => wake(self.lock().take_due(self.clock.now())),
                () = self.sooner.notified() => {}
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Set> {
        self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Set {
    fn first(&self) -> Option<Tick> {
        self.by_tick.first().map(|(tick, _)| *tick)
    }

    /// True where this timer is the first to go off.
    fn set(&mut self, resource: ResourceName, tick: Tick) -> bool {
        self.cancel(&resource);
        let is_first = self.first().is_none_or(|first| tick < first);
        let resource = Arc::new(resource);
        self.by_resource.insert(Arc::clone(&resource), tick);
        self.by_tick.insert((tick, resource));
        is_first
    }

    fn cancel(&mut self, resource: &ResourceName) {
        if let Some((resource, tick)) = self.by_resource.remove_entry(resource) {
            self.by_tick.remove(&(tick, resource));
        }
    }

    fn take_due(&mut self, now: Tick) -> Vec<ResourceName> {
        let mut due = Vec::new();
        while self.first().is_some_and(|tick| tick <= now)
            && let Some((_, resource)) = self.by_tick.pop_first()
        {
            self.by_resource.remove(&resource);
            due.push(Arc::unwrap_or_clone(resource));
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
    use tokio::time::Instant;

    use super::*;

    fn name(name: &str) -> ResourceName {
        ResourceName::new("backends", name)
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn running() -> (Arc<Timers>, UnboundedReceiver<(u64, Vec<ResourceName>)>) {
        let timers = Arc::new(Timers::new(Clock::start()));
        let (started, (sender, receiver)) = (Instant::now(), unbounded_channel());
        let running = Arc::clone(&timers);
        tokio::spawn(async move {
            running.run(|woken| sender.send((started.elapsed().as_secs(), woken)).unwrap()).await;
        });
        (timers, receiver)
    }

    #[tokio::test(start_paused = true)]
    async fn timers_go_off_in_the_order_of_their_times_and_once() {
        let (timers, mut woken) = running();
        for (resource, wait) in [("late", 9), ("soon", 2), ("also-late", 9), ("between", 5)] {
            timers.set(name(resource), seconds(wait));
        }
        assert_eq!(woken.recv().await, Some((2, vec![name("soon")])));
        assert_eq!(woken.recv().await, Some((5, vec![name("between")])));
        tokio::time::sleep(seconds(3600)).await;
        let mut late = Vec::new();
        while let Ok((at, resources)) = woken.try_recv() {
            assert_eq!(at, 9);
            late.extend(resources);
        }
        late.sort();
        assert_eq!(late, [name("also-late"), name("late")]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_timer_that_is_set_anew_goes_off_at_its_new_time_only() {
        let (timers, mut woken) = running();
        timers.set(name("payments"), seconds(5));
        timers.set(name("orders"), seconds(60));
        tokio::time::sleep(seconds(1)).await;
        timers.set(name("payments"), seconds(30));
        timers.set(name("orders"), seconds(1));
        assert_eq!(woken.recv().await, Some((2, vec![name("orders")])));
        assert_eq!(woken.recv().await, Some((31, vec![name("payments")])));
    }

    #[tokio::test(start_paused = true)]
    async fn a_timer_that_was_taken_back_does_not_go_off() {
        let (timers, mut woken) = running();
        for resource in ["deleted", "gone", "there"] {
            timers.set(name(resource), seconds(5));
        }
        timers.cancel(&name("deleted"));
        timers.cancel(&name("never-set"));
        timers.retain(|resource| *resource != name("gone"));
        assert_eq!(woken.recv().await, Some((5, vec![name("there")])));
        tokio::time::sleep(seconds(3600)).await;
        assert!(woken.try_recv().is_err());
        let set = timers.lock();
        assert!(set.by_resource.is_empty() && set.by_tick.is_empty(), "nothing is left of them");
    }
}
