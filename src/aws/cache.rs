//! Snapshots of certificates, tags and stages, kept up to date by one poller for each scope. A resource subscribes,
//! reads the snapshots without waiting, and is woken when one of them changes.
//!
//! [`Scope`] decides, and the poller makes the calls; this file holds the lock. A poller starts with the first subscription of its scope
//! and ends with the last one. No call is made for a scope without subscriptions.

mod poller;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use tokio::time::timeout;

use self::poller::Poller;
use super::rate_limit::{Account, Limits, Paused, Priority, RateLimiter, Service};
use super::scope::{Interest, Moment, Scope, Subscribed, Topic};
pub use super::scope::{Listing, Snapshot, Stages, Tags};
use crate::api::ResourceName;
use crate::aws::answer::Answer;
use crate::aws::gateway::{CertificateKey, Gateway, GatewayError, Identity, Outage, Place, RestApi, Source};
use crate::clock::Clock;
use crate::leader::{Fence, LONGEST_WRITE};
use crate::metrics::Metrics;
use crate::settings::Tick;
use crate::tasks::Tasks;

/// Receives the resources to reconcile.
pub type Wake = Box<dyn Fn(Vec<ResourceName>) + Send + Sync>;

/// The data that a resource needs from AWS. It replaces the resource's earlier subscription.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// The certificates.
    pub sources: Vec<Source>,
    /// The place whose tags the resource needs.
    pub tags: Option<Place>,
    /// The API whose stages the resource needs.
    pub stages: Option<RestApi>,
    /// The greatest age of an answer.
    pub interval: Duration,
    /// A new value requests a read that has not started yet: for a refresh annotation, an end of suspension, or a spec
    /// that changed after a failure. `None` does not force a read.
    pub force: Option<String>,
}

/// The snapshots for one subscriber.
#[derive(Clone, Debug)]
pub struct View {
    /// The certificates, in the order of the subscription's sources.
    pub reads: Vec<Option<Snapshot<Answer>>>,
    /// The tags of the place, if the subscription has one.
    pub tags: Option<Snapshot<Listing>>,
    /// The stages of the API and the certificates that they present, if the subscription has an API.
    pub stages: Option<Snapshot<Stages>>,
    /// Whether every topic of the subscription has an answer that is new enough.
    pub answered: bool,
    /// When the subscriber began to wait for its answers: the time of its first subscription, of its last new topic, or
    /// of its last new force. Meaningful only if `answered` is false.
    pub asked: Tick,
}

/// The snapshots of all scopes. A clone shares them.
pub struct Cache<G> {
    shared: Arc<Shared<G>>,
}

impl<G> Clone for Cache<G> {
    fn clone(&self) -> Self {
        Cache { shared: Arc::clone(&self.shared) }
    }
}

struct Shared<G> {
    gateway: G,
    limiter: RateLimiter,
    clock: Clock,
    fence: Fence,
    metrics: Arc<Metrics>,
    wake: Wake,
    own_account: RwLock<Option<String>>,
    state: Mutex<State>,
    tasks: Tasks,
}

#[derive(Default)]
struct State {
    subscribers: HashMap<ResourceName, Subscriber>,
    scopes: HashMap<Place, Polled>,
    next_generation: u64,
}

struct Subscriber {
    topics: Vec<(Place, Topic)>,
    force: Option<String>,
    asked: Tick,
}

impl Subscription {
    fn topics(&self) -> Vec<(Place, Topic)> {
        let certificate = |source: &Source| (source.place.clone(), Topic::of(source));
        let mut topics: Vec<_> = self.sources.iter().map(certificate).collect();
        topics.extend(self.tags.clone().map(|place| (place, Topic::Tags)));
        topics.extend(self.stages.clone().map(|RestApi { place, id }| (place, Topic::Stages(id))));
        topics
    }
}

/// A scope and the poller that serves it.
struct Polled {
    scope: Scope,
    /// A poller serves one generation: a scope can end, and a new scope of the same place can begin.
    generation: u64,
    notify: Arc<Notify>,
}

impl<G: Gateway> Cache<G> {
    /// A cache without subscriptions. It makes its calls through `gateway` within `limits`, writes only while `fence`
    /// is open, passes the resources that an answer concerns to `wake`, and spawns its pollers in `tasks`.
    pub fn new(
        gateway: G,
        limits: Limits,
        clock: Clock,
        fence: Fence,
        metrics: Arc<Metrics>,
        wake: Wake,
        tasks: Tasks,
    ) -> Self {
        let shared = Shared {
            gateway,
            limiter: RateLimiter::new(limits, clock, Arc::clone(&metrics)),
            clock,
            fence,
            metrics,
            wake,
            own_account: RwLock::default(),
            state: Mutex::default(),
            tasks,
        };
        Cache { shared: Arc::new(shared) }
    }

    /// Subscribes a resource, in place of its earlier subscription, and returns the snapshots. Never waits. The caller
    /// has to be within a tokio runtime, on which the pollers run.
    pub fn subscribe(&self, resource: &ResourceName, subscription: Subscription) -> View {
        let shared = &self.shared;
        let moment = shared.moment();
        let mut state = shared.state.lock();
        let before = state.subscribers.remove(resource);
        let last_force = before.as_ref().and_then(|before| before.force.clone());
        let is_forced = subscription.force.is_some() && subscription.force != last_force;
        let interest = Interest { interval: subscription.interval, force: is_forced };
        let mut asked = before.as_ref().map_or(moment.now, |before| before.asked);
        let topics = subscription.topics();
        for (place, topic) in &topics {
            let polled = shared.polled(&mut state, place);
            let account = shared.account_of(place);
            let subscribed = polled.scope.subscribe(topic, resource, interest, account.as_deref(), moment);
            if subscribed == Subscribed::New || is_forced {
                asked = moment.now;
            }
            if subscribed == Subscribed::New && polled.scope.has_answered(topic, resource) {
                shared.metrics.answer_shared();
            }
            if subscribed != Subscribed::Unchanged {
                polled.notify.notify_one();
            }
        }
        // The earlier subscription ends after the new one has begun: thus a scope that is in both keeps its session and
        // its poller.
        for (place, topic) in before.iter().flat_map(|before| &before.topics) {
            if !topics.iter().any(|(at, kept)| at == place && kept == topic) {
                shared.leave(&mut state, place, topic, resource);
            }
        }
        let scope = |place: &Place| state.scopes.get(place).map(|polled| &polled.scope);
        let read = |source: &Source| scope(&source.place)?.certificate(&source.id).cloned();
        let has_answered =
            |(place, topic): &(Place, Topic)| scope(place).is_some_and(|scope| scope.has_answered(topic, resource));
        let view = View {
            reads: subscription.sources.iter().map(read).collect(),
            tags: subscription.tags.as_ref().and_then(scope).and_then(Scope::list).cloned(),
            stages: subscription.stages.as_ref().and_then(|api| scope(&api.place)?.stages(&api.id)).cloned(),
            answered: topics.iter().all(has_answered),
            asked,
        };
        let force = subscription.force.or(last_force);
        state.subscribers.insert(resource.clone(), Subscriber { topics, force, asked });
        view
    }

    /// Ends a resource's subscription.
    pub fn unsubscribe(&self, resource: &ResourceName) {
        let mut state = self.shared.state.lock();
        if let Some(gone) = state.subscribers.remove(resource) {
            for (place, topic) in &gone.topics {
                self.shared.leave(&mut state, place, topic, resource);
            }
        }
    }

    /// Ends every subscription, because another replica leads now. The answers of calls that are in progress are
    /// dropped.
    pub fn unsubscribe_all(&self) {
        let mut state = self.shared.state.lock();
        state.subscribers.clear();
        for (place, polled) in std::mem::take(&mut state.scopes) {
            self.shared.end(&place, &polled);
        }
    }

    /// The snapshot of a certificate that has a subscriber.
    pub fn get(&self, source: &Source) -> Option<Snapshot<Answer>> {
        self.shared.state.lock().scopes.get(&source.place)?.scope.certificate(&source.id).cloned()
    }

    /// The snapshot of the tags of a place, if any resource subscribes to them.
    pub fn tags(&self, place: &Place) -> Option<Snapshot<Listing>> {
        self.shared.state.lock().scopes.get(place)?.scope.list().cloned()
    }

    /// The snapshot of the stages of an API that has a subscriber.
    pub fn stages(&self, api: &RestApi) -> Option<Snapshot<Stages>> {
        self.shared.state.lock().scopes.get(&api.place)?.scope.stages(&api.id).cloned()
    }

    /// Requests a read of a certificate; a read that has already started does not count. The end of the read wakes the
    /// subscribers, even if nothing changed. At most one forced read of a certificate starts in 10 s.
    pub fn refresh(&self, source: &Source) {
        let now = self.shared.clock.now();
        if let Some(polled) = self.shared.state.lock().scopes.get_mut(&source.place) {
            polled.scope.refresh(&source.id, now);
            polled.notify.notify_one();
        }
    }

    /// Sends a description, and returns the description in the response. The snapshot has it at once. The wait for a
    /// token may be long: `None` if the description is no longer wanted after it, and then nothing is sent.
    pub async fn set_description(
        &self,
        source: &Source,
        text: &str,
        is_wanted: impl Fn() -> bool,
    ) -> Option<Result<String, GatewayError>> {
        let shared = &self.shared;
        let account = shared.limited_by(&source.place);
        if let Err(Paused { until }) = shared.limiter.acquire(&account, Priority::Update).await {
            let left = until.saturating_sub(shared.clock.now());
            return Some(Err(GatewayError::Throttled { retry_after: Some(left) }));
        }
        if !is_wanted() {
            return None;
        }
        if !shared.fence.may_write() {
            return Some(Err(GatewayError::Unavailable { outage: Outage::NotLeading, retry_after: None }));
        }
        let call = shared.gateway.set_description(source, text);
        let outcome = timeout(LONGEST_WRITE, call).await.unwrap_or_else(|_| Err(timed_out()));
        shared.note_throttling(&account, outcome.as_ref().err());
        let description = outcome.as_ref().ok().map(|answer| answer.description.as_str());
        let woken = {
            let now = shared.clock.now();
            let mut state = shared.state.lock();
            let scope = state.scopes.get_mut(&source.place).map(|polled| &mut polled.scope);
            // AWS may have carried out a call that failed.
            scope.map(|scope| scope.described(&source.id, description, now)).unwrap_or_default()
        };
        shared.wake(woken);
        if matches!(outcome, Err(GatewayError::Conflict | GatewayError::Unavailable { .. })) {
            self.refresh(source);
        }
        Some(outcome.map(|answer| answer.description))
    }

    /// The key of a source's certificate: the sources of two roles in one account have the same key.
    pub fn key_of(&self, source: &Source) -> CertificateKey {
        let Source { place, id } = source;
        CertificateKey { account: self.shared.account_of(place), region: place.region.clone(), id: id.clone() }
    }

    /// The account of the operator's own credentials; `None` while it is unknown.
    pub fn own_account(&self) -> Option<String> {
        self.shared.own_account.read().clone()
    }

    /// Reads the account of the operator's own credentials from AWS, and keeps it.
    pub async fn learn_own_account(&self) -> Result<String, GatewayError> {
        let account = self.shared.gateway.own_account().await?;
        *self.shared.own_account.write() = Some(account.clone());
        Ok(account)
    }

    /// Ends the scopes, and the sessions, of all places that may no longer be used.
    pub fn retain(&self, may_be_used: impl Fn(&Place) -> bool) {
        self.shared.state.lock().scopes.retain(|place, polled| {
            let stays = may_be_used(place);
            if !stays {
                self.shared.end(place, polled);
            }
            stays
        });
    }
}

impl<G: Gateway> Shared<G> {
    fn moment(&self) -> Moment {
        Moment { now: self.clock.now(), wall: Timestamp::now(), jitter: fastrand::f64() }
    }

    /// The account of a place; `None` while the operator's own account is unknown.
    fn account_of(&self, place: &Place) -> Option<String> {
        let own = || self.own_account.read().clone();
        place.account().map(str::to_owned).or_else(own)
    }

    fn limited_by(&self, place: &Place) -> Account {
        Account { id: self.account_of(place), region: place.region.clone(), service: Service::ApiGateway }
    }

    /// The scope of a place. If the place has none, creates a scope and starts its poller.
    fn polled<'a>(self: &Arc<Self>, state: &'a mut State, place: &Place) -> &'a mut Polled {
        let State { scopes, next_generation, .. } = state;
        scopes.entry(place.clone()).or_insert_with(|| {
            *next_generation += 1;
            let (generation, notify) = (*next_generation, Arc::new(Notify::new()));
            let (shared, place) = (Arc::clone(self), place.clone());
            let poller = Poller { shared, place: place.clone(), generation, notify: Arc::clone(&notify) };
            self.tasks.spawn_finite("poller of AWS", poller.run());
            Polled { scope: Scope::new(place), generation, notify }
        })
    }

    fn leave(&self, state: &mut State, place: &Place, topic: &Topic, resource: &ResourceName) {
        let Some(polled) = state.scopes.get_mut(place) else { return };
        polled.scope.unsubscribe(topic, resource);
        polled.notify.notify_one();
        if polled.scope.is_empty()
            && let Some(polled) = state.scopes.remove(place)
        {
            self.end(place, &polled);
        }
    }

    fn end(&self, place: &Place, polled: &Polled) {
        if place.identity != Identity::Operator {
            self.gateway.end_session(place);
        }
        polled.notify.notify_one();
    }

    fn wake(&self, mut woken: Vec<ResourceName>) {
        if !woken.is_empty() {
            woken.sort();
            woken.dedup();
            self.metrics.batch_answered(woken.len());
            (self.wake)(woken);
        }
    }

    fn note_throttling(&self, account: &Account, failure: Option<&GatewayError>) {
        if let Some(GatewayError::Throttled { retry_after }) = failure {
            self.limiter.throttled(account, *retry_after);
        }
    }
}

fn timed_out() -> GatewayError {
    GatewayError::Unavailable { outage: Outage::TimedOut, retry_after: None }
}
