//! Many subscribers of the cache: each subscribes, and reads its view again when it is woken, like a reconcile.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use client_certificate_operator::api::ResourceName;
use client_certificate_operator::aws::cache::{Cache, Subscription, View};
use client_certificate_operator::aws::gateway::{Gateway, GatewayError, Place, Source};
use client_certificate_operator::aws::rate_limit::Limits;
use client_certificate_operator::clock::Clock;
use client_certificate_operator::error::ReadFailure;
use client_certificate_operator::leader::Fence;
use client_certificate_operator::metrics::Metrics;
use client_certificate_operator::settings::Tick;
use client_certificate_operator::tasks::Tasks;
use tokio::sync::{mpsc, watch};

/// Resources that subscribe to a cache.
pub struct Fleet<G> {
    pub cache: Cache<G>,
    pub clock: Clock,
    pub metrics: Arc<Metrics>,
    members: Arc<Mutex<Members>>,
    wakes: Arc<Mutex<Vec<ResourceName>>>,
}

type Members = HashMap<ResourceName, (Subscription, watch::Sender<Option<Seen>>)>;

/// A resource of the fleet, for tests.
pub struct Member {
    pub name: ResourceName,
    outcome: watch::Receiver<Option<Seen>>,
}

/// The last view of a resource, and its time.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    pub outcome: Result<(), ReadFailure>,
    /// The time of the view.
    pub heard: Tick,
    /// The start of the call that brought the answer.
    pub at: Tick,
    /// Whether the answer is new enough for the subscription.
    pub answered: bool,
}

impl Member {
    /// The last view.
    pub fn seen(&self) -> Option<Seen> {
        self.outcome.borrow().clone()
    }

    /// Waits for a good answer, and returns its time.
    pub async fn until_good(&self) -> Tick {
        self.until(|seen| seen.outcome.is_ok()).await.heard
    }

    /// Waits for a view that fulfils the condition.
    pub async fn until(&self, is: impl Fn(&Seen) -> bool) -> Seen {
        let mut outcome = self.outcome.clone();
        let is = |seen: &Option<Seen>| seen.as_ref().is_some_and(&is);
        outcome.wait_for(is).await.unwrap().clone().unwrap()
    }
}

pub async fn all_good(members: &[Member]) {
    for member in members {
        member.until_good().await;
    }
}

impl<G: Gateway> Fleet<G> {
    /// A cache with the default limits and without subscribers.
    pub fn new(gateway: G) -> Self {
        Self::with_limits(gateway, 5.0, 20)
    }

    pub fn with_limits(gateway: G, rate: f64, burst: u32) -> Self {
        let clock = Clock::start();
        Self::behind(gateway, rate, burst, clock, Fence::open(clock))
    }

    pub fn behind(gateway: G, rate: f64, burst: u32, clock: Clock, fence: Fence) -> Self {
        let metrics = Arc::new(Metrics::default());
        let limits = Limits { rate, burst: NonZeroU32::new(burst).unwrap() };
        let (queue, mut woken) = mpsc::unbounded_channel::<Vec<ResourceName>>();
        let wake = Box::new(move |names| drop(queue.send(names)));
        let (tasks, _) = Tasks::new();
        let cache = Cache::new(gateway, limits, clock, fence, Arc::clone(&metrics), wake, tasks);
        let fleet = Fleet { cache, clock, metrics, members: Arc::default(), wakes: Arc::default() };
        let (cache, members, wakes) = (fleet.cache.clone(), Arc::clone(&fleet.members), Arc::clone(&fleet.wakes));
        tokio::spawn(async move {
            while let Some(names) = woken.recv().await {
                wakes.lock().unwrap().extend(names.iter().cloned());
                let members = members.lock().unwrap();
                for name in names {
                    let Some((subscription, tell)) = members.get(&name) else { continue };
                    see(tell, &cache.subscribe(&name, subscription.clone()), clock.now());
                }
            }
        });
        fleet
    }

    /// Adds a resource that subscribes, and returns it with its first view.
    pub fn join(&self, name: &str, subscription: Subscription) -> (Member, View) {
        let (namespace, name) = name.split_once('/').unwrap_or(("backends", name));
        let name = ResourceName::new(namespace, name);
        let (tell, outcome) = watch::channel(None);
        // The lock is held all the time, so that no answer comes between the view and the entry.
        let mut members = self.members.lock().unwrap();
        let view = self.cache.subscribe(&name, subscription.clone());
        see(&tell, &view, self.clock.now());
        members.insert(name.clone(), (subscription, tell));
        (Member { name, outcome }, view)
    }

    pub fn add(&self, name: &str, source: Source, interval: &str) -> Member {
        self.join(name, wants(source, interval)).0
    }

    /// Adds a resource for each of many certificates in one region.
    pub fn add_many(&self, ids: impl IntoIterator<Item = String>, place: &Place, interval: &str) -> Vec<Member> {
        let source = |id: &String| Source { place: place.clone(), id: id.clone() };
        ids.into_iter().map(|id| self.add(&format!("of-{id}"), source(&id), interval)).collect()
    }

    /// Sends a description that stays wanted.
    pub async fn describe(&self, source: &Source, text: &str) -> Result<String, GatewayError> {
        self.cache.set_description(source, text, || true).await.unwrap()
    }

    /// Changes the subscription of a resource.
    pub fn change(&self, member: &Member, subscription: Subscription) -> View {
        let mut members = self.members.lock().unwrap();
        let view = self.cache.subscribe(&member.name, subscription.clone());
        let (kept, tell) = members.get_mut(&member.name).unwrap();
        *kept = subscription;
        see(tell, &view, self.clock.now());
        view
    }

    /// Removes a resource.
    pub fn remove(&self, member: &Member) {
        self.members.lock().unwrap().remove(&member.name);
        self.cache.unsubscribe(&member.name);
    }

    /// The resources that were woken since the last call.
    pub fn take_woken(&self) -> Vec<ResourceName> {
        std::mem::take(&mut *self.wakes.lock().unwrap())
    }
}

/// A subscription to one certificate at this interval.
pub fn wants(source: Source, interval: &str) -> Subscription {
    Subscription { sources: vec![source], tags: None, stages: None, interval: duration(interval), force: None }
}

/// A subscription that forces a read.
pub fn forces(source: Source, interval: &str, value: &str) -> Subscription {
    Subscription { force: Some(value.to_owned()), ..wants(source, interval) }
}

fn duration(text: &str) -> Duration {
    let (number, unit) = text.split_at(text.len() - 1);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        unit => panic!("{unit}"),
    };
    Duration::from_secs(number.parse::<u64>().unwrap() * seconds)
}

fn see(tell: &watch::Sender<Option<Seen>>, view: &View, now: Tick) {
    if let [Some(snapshot)] = &view.reads[..] {
        let outcome = snapshot.outcome.as_ref().map(|_| ()).map_err(Clone::clone);
        let seen = Seen { outcome, heard: now, at: snapshot.started, answered: view.answered };
        tell.send_replace(Some(seen));
    }
}
