//! Snapshots of certificates, kept up to date by one poller for each scope: resources subscribe, read what is known
//! without waiting, and are woken when it changes.
//!
//! [`Scope`] decides; this file makes the calls and holds the lock. A poller starts with the first subscription of its scope
//! and ends with the last one. No call is made for a scope without subscriptions.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::rate_limit::{Account, Limits, Paused, Priority, RateLimiter};
pub use super::scope::Snapshot;
use super::scope::{Checked, Interest, Listed, Moment, Scope, Step, Subscribed, refuses_the_list};
use crate::api::ResourceName;
use crate::clock::Clock;
use crate::gateway::{
    CertificateKey, ClientCertificate, Denial, Gateway, GatewayError, Identity, Outage, PAGE_SIZE, Place, Source,
};
use crate::leader::{Fence, LONGEST_WRITE};
use crate::metrics::Metrics;
use crate::settings::Tick;

/// Longer than the gateway's own time-outs take: no read keeps a poller for ever.
const LONGEST_READ: Duration = Duration::from_secs(20);
/// More pages than any account has: the default quota is 60 certificates, and a page holds 500.
const PAGES_MOST: usize = 100;
/// Credentials that AWS refused are replaced by others for the next call, which is made after this time.
const CREDENTIALS_REPLACED: Duration = Duration::from_millis(200);

/// Is given the resources to look at again.
pub type Wake = Box<dyn Fn(Vec<ResourceName>) + Send + Sync>;

/// What a resource wants from AWS, in place of what it wanted before.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// The certificates.
    pub sources: Vec<Source>,
    /// How old an answer may be.
    pub interval: Duration,
    /// A new value asks for a read that starts from now on: for a refresh annotation, an end of suspension, or a spec that
    /// changed after a failure. None is no such wish.
    pub force: Option<String>,
}

/// What the cache knows for one subscriber.
#[derive(Clone, Debug)]
pub struct View {
    /// In the order of the subscription's sources.
    pub reads: Vec<Option<Snapshot>>,
    /// Whether every source has an answer as new as the subscription asks for.
    pub answered: bool,
    /// Since when the subscriber has been waiting for that: the time of its first subscription, of a new source, or of the
    /// last new force. Meaningful while not `answered`.
    pub asked: Tick,
}

/// The certificates of all scopes. Clones are the same cache.
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
    poller_failed: Notify,
}

#[derive(Default)]
struct State {
    subscribers: HashMap<ResourceName, Subscriber>,
    scopes: HashMap<Place, Polled>,
    next_generation: u64,
}

struct Subscriber {
    sources: Vec<Source>,
    force: Option<String>,
    asked: Tick,
}

/// A scope and the poller that serves it.
struct Polled {
    scope: Scope,
    /// A poller serves one generation: the scope may have been emptied and made again.
    generation: u64,
    bell: Arc<Notify>,
}

/// What a poller is for.
struct Poller<G: Gateway> {
    shared: Arc<Shared<G>>,
    place: Place,
    generation: u64,
    bell: Arc<Notify>,
}

impl<G: Gateway> Cache<G> {
    /// A cache without subscriptions, which makes its calls through this gateway within these limits, writes only where
    /// the fence is open, and gives the resources that an answer concerns to `wake`.
    pub fn new(gateway: G, limits: Limits, clock: Clock, fence: Fence, metrics: Arc<Metrics>, wake: Wake) -> Self {
        let shared = Shared {
            gateway,
            limiter: RateLimiter::new(limits, clock, Arc::clone(&metrics)),
            clock,
            fence,
            metrics,
            wake,
            own_account: RwLock::default(),
            state: Mutex::default(),
            poller_failed: Notify::new(),
        };
        Cache { shared: Arc::new(shared) }
    }

    /// Subscribes a resource, in place of what it subscribed to before, and answers what is known. Never waits. Has to be
    /// called within a tokio runtime, which the pollers run on.
    pub fn subscribe(&self, resource: &ResourceName, subscription: Subscription) -> View {
        let shared = &self.shared;
        let moment = shared.moment();
        let mut state = shared.lock();
        let before = state.subscribers.remove(resource);
        let last_force = before.as_ref().and_then(|before| before.force.clone());
        let is_forced = subscription.force.is_some() && subscription.force != last_force;
        let interest = Interest { interval: subscription.interval, force: is_forced };
        let mut asked = before.as_ref().map_or(moment.now, |before| before.asked);
        for source in &subscription.sources {
            let polled = shared.polled(&mut state, &source.place);
            let account = shared.account_of(&source.place);
            let subscribed = polled.scope.subscribe(&source.id, resource, interest, account.as_deref(), moment);
            if subscribed == Subscribed::New || is_forced {
                asked = moment.now;
            }
            if subscribed != Subscribed::Unchanged {
                polled.bell.notify_one();
            }
        }
        // Only now, so that a scope that is left and entered keeps its session and its poller.
        for source in before.iter().flat_map(|before| &before.sources) {
            if !subscription.sources.contains(source) {
                shared.leave(&mut state, source, resource);
            }
        }
        let scope = |source: &Source| state.scopes.get(&source.place).map(|polled| &polled.scope);
        let reads = subscription.sources.iter().map(|source| scope(source)?.snapshot(&source.id).cloned()).collect();
        let has_answered =
            |source: &Source| scope(source).is_some_and(|scope| scope.has_answered(&source.id, resource));
        let answered = subscription.sources.iter().all(has_answered);
        let force = subscription.force.or(last_force);
        state.subscribers.insert(resource.clone(), Subscriber { sources: subscription.sources, force, asked });
        View { reads, answered, asked }
    }

    /// Ends a resource's subscription.
    pub fn unsubscribe(&self, resource: &ResourceName) {
        let mut state = self.shared.lock();
        if let Some(gone) = state.subscribers.remove(resource) {
            for source in &gone.sources {
                self.shared.leave(&mut state, source, resource);
            }
        }
    }

    /// Ends every subscription: another replica works now. The answer of a call that is under way is dropped.
    pub fn unsubscribe_all(&self) {
        let mut state = self.shared.lock();
        state.subscribers.clear();
        for (place, polled) in std::mem::take(&mut state.scopes) {
            self.shared.end(&place, &polled);
        }
    }

    /// What is known of a certificate to which somebody subscribes.
    pub fn get(&self, source: &Source) -> Option<Snapshot> {
        self.shared.lock().scopes.get(&source.place)?.scope.snapshot(&source.id).cloned()
    }

    /// Asks for a read of a certificate that starts from now on. Its subscribers are woken when the read ends, even where
    /// nothing has changed. At most one forced read of a certificate starts within 10 s.
    pub fn refresh(&self, source: &Source) {
        let now = self.shared.clock.now();
        if let Some(polled) = self.shared.lock().scopes.get_mut(&source.place) {
            polled.scope.refresh(&source.id, now);
            polled.bell.notify_one();
        }
    }

    /// Sends a description and answers what AWS then holds. The snapshot has it at once.
    pub async fn set_description(&self, source: &Source, text: &str) -> Result<String, GatewayError> {
        let shared = &self.shared;
        let account = shared.limited_by(&source.place);
        if let Err(Paused { until }) = shared.limiter.acquire(&account, Priority::Update).await {
            let left = until.saturating_sub(shared.clock.now());
            return Err(GatewayError::Throttled { retry_after: Some(left) });
        }
        // Asked only now: the token may have been long in coming.
        if !shared.fence.may_write() {
            return Err(GatewayError::Unavailable { outage: Outage::NotLeading, retry_after: None });
        }
        let call = shared.gateway.set_description(source, text);
        let outcome = timeout(LONGEST_WRITE, call).await.unwrap_or_else(|_| Err(timed_out()));
        shared.note_throttling(&account, outcome.as_ref().err());
        let description = outcome.as_ref().ok().map(|answer| answer.description.as_str());
        let woken = {
            let now = shared.clock.now();
            let mut state = shared.lock();
            let scope = state.scopes.get_mut(&source.place).map(|polled| &mut polled.scope);
            // A call that failed may have been carried out all the same.
            scope.map(|scope| scope.described(&source.id, description, now)).unwrap_or_default()
        };
        shared.wake(woken);
        if outcome.is_err() {
            self.refresh(source);
        }
        outcome.map(|answer| answer.description)
    }

    /// The certificate that a source means, as it is one whoever names it.
    pub fn key_of(&self, source: &Source) -> CertificateKey {
        let Source { place, id } = source;
        CertificateKey { account: self.shared.account_of(place), region: place.region.clone(), id: id.clone() }
    }

    /// Asks AWS for the account of the operator's own credentials, and remembers it.
    pub async fn learn_own_account(&self) -> Result<String, GatewayError> {
        let account = self.shared.gateway.own_account().await?;
        *self.shared.own_account.write().unwrap_or_else(PoisonError::into_inner) = Some(account.clone());
        Ok(account)
    }

    /// Ends the scopes of places that may not be used any more, and their sessions.
    pub fn retain(&self, may_be_used: impl Fn(&Place) -> bool) {
        self.shared.lock().scopes.retain(|place, polled| {
            let stays = may_be_used(place);
            if !stays {
                self.shared.end(place, polled);
            }
            stays
        });
    }

    /// Ends only when a poller ended as none should: by a panic. The process had better end then.
    pub async fn poller_failed(&self) {
        self.shared.poller_failed.notified().await;
    }
}

impl<G: Gateway> Shared<G> {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn moment(&self) -> Moment {
        Moment { now: self.clock.now(), wall: Timestamp::now(), jitter: fastrand::f64() }
    }

    /// The account of a place; none, where it is the operator's own and not known yet.
    fn account_of(&self, place: &Place) -> Option<String> {
        let own = || self.own_account.read().unwrap_or_else(PoisonError::into_inner).clone();
        place.account().map(str::to_owned).or_else(own)
    }

    fn limited_by(&self, place: &Place) -> Account {
        Account { id: self.account_of(place), region: place.region.clone() }
    }

    /// The scope of a place, which is made, and polled from now on, where there is none.
    fn polled<'a>(self: &Arc<Self>, state: &'a mut State, place: &Place) -> &'a mut Polled {
        let State { scopes, next_generation, .. } = state;
        scopes.entry(place.clone()).or_insert_with(|| {
            *next_generation += 1;
            let (generation, bell) = (*next_generation, Arc::new(Notify::new()));
            let (shared, place) = (Arc::clone(self), place.clone());
            let poller = Poller { shared, place: place.clone(), generation, bell: Arc::clone(&bell) };
            tokio::spawn(poller.run());
            Polled { scope: Scope::new(place), generation, bell }
        })
    }

    fn leave(&self, state: &mut State, source: &Source, resource: &ResourceName) {
        let Some(polled) = state.scopes.get_mut(&source.place) else { return };
        polled.scope.unsubscribe(&source.id, resource);
        polled.bell.notify_one();
        if polled.scope.is_empty()
            && let Some(polled) = state.scopes.remove(&source.place)
        {
            self.end(&source.place, &polled);
        }
    }

    fn end(&self, place: &Place, polled: &Polled) {
        if place.identity != Identity::Operator {
            self.gateway.end_session(place);
        }
        polled.bell.notify_one();
    }

    fn wake(&self, mut woken: Vec<ResourceName>) {
        if !woken.is_empty() {
            woken.sort();
            woken.dedup();
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

/// Reports a poller that panics.
struct Watched<G: Gateway>(Poller<G>);

impl<G: Gateway> Drop for Watched<G> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.shared.poller_failed.notify_one();
        }
    }
}

impl<G: Gateway> Poller<G> {
    async fn run(self) {
        let watched = Watched(self);
        let poller = &watched.0;
        let mut calls: FuturesUnordered<BoxFuture<'_, ()>> = FuturesUnordered::new();
        // None where the scope has ended: calls that are under way are given up.
        while let Some(step) = poller.with_scope(|scope| scope.plan(poller.shared.clock.now())) {
            match step {
                Step::End => return,
                Step::Wait(until) => {
                    let due = async {
                        match until {
                            Some(until) => poller.shared.clock.wait_until(until).await,
                            None => std::future::pending().await,
                        }
                    };
                    tokio::select! {
                        () = due => {}
                        () = poller.bell.notified() => {}
                        Some(()) = calls.next(), if !calls.is_empty() => {}
                    }
                }
                Step::List => calls.push(poller.list().boxed()),
                Step::Get(picks) => calls.extend(picks.into_iter().map(|(id, due)| poller.get(id, due).boxed())),
            }
        }
    }

    /// Does something with the scope; none where it has ended.
    fn with_scope<R>(&self, what: impl FnOnce(&mut Scope) -> R) -> Option<R> {
        let mut state = self.shared.lock();
        let polled = state.scopes.get_mut(&self.place).filter(|polled| polled.generation == self.generation)?;
        Some(what(&mut polled.scope))
    }

    /// Has the scope take note of something, and wakes whom that concerns.
    fn note(&self, what: impl FnOnce(&mut Scope, Moment) -> Vec<ResourceName>) {
        let moment = self.shared.moment();
        let woken = self.with_scope(|scope| what(scope, moment));
        self.shared.wake(woken.unwrap_or_default());
    }

    /// Reads one certificate.
    async fn get(&self, id: String, due: Tick) {
        let account = self.shared.limited_by(&self.place);
        let source = Source { place: self.place.clone(), id };
        let id = &source.id;
        let call = || self.shared.gateway.get_client_certificate(&source);
        let (started, outcome) = match self.call(&account, Priority::Read { due }, |scope| scope.has(id), call).await {
            Ok(Some(called)) => called,
            Ok(None) => return,
            Err(Paused { until }) => return self.note(|scope, moment| scope.paused(id, until, moment)),
        };
        let not_before = self.shared.limiter.paused(&account).map(|paused| paused.until);
        let checked = outcome.map(|came| self.check(&source, account.id.as_deref(), came));
        self.note(|scope, moment| scope.got(id, started, checked, not_before, moment));
    }

    /// Makes a call once it has a token and if it is wanted still. Credentials that AWS refuses are replaced by others, so
    /// the call is made once more then. Answers when the call started, and its outcome.
    async fn call<T, F: Future<Output = Result<T, GatewayError>>>(
        &self,
        account: &Account,
        priority: Priority,
        is_wanted: impl Fn(&Scope) -> bool,
        call: impl Fn() -> F,
    ) -> Result<Option<(Tick, Result<T, GatewayError>)>, Paused> {
        let mut is_again = false;
        loop {
            self.shared.limiter.acquire(account, priority).await?;
            if !self.with_scope(|scope| is_wanted(scope)).unwrap_or(false) {
                return Ok(None);
            }
            let started = self.shared.clock.now();
            let outcome = timeout(LONGEST_READ, call()).await.unwrap_or_else(|_| Err(timed_out()));
            self.shared.note_throttling(account, outcome.as_ref().err());
            let is_refused = matches!(outcome, Err(GatewayError::AccessDenied(Denial::BadCredentials { .. })));
            if is_again || !is_refused {
                return Ok(Some((started, outcome)));
            }
            is_again = true;
            self.shared.clock.wait_until(self.shared.clock.now() + CREDENTIALS_REPLACED).await;
        }
    }

    /// Checks an answer, outside the lock.
    fn check(&self, source: &Source, account: Option<&str>, came: ClientCertificate) -> Checked {
        let known = self.with_scope(|scope| scope.known(&source.id)).flatten();
        Checked::new(source, account, came, known.as_ref(), Timestamp::now())
    }

    /// Reads the list, page by page. Nothing is noted before its last page has come.
    async fn list(&self) {
        let account = self.shared.limited_by(&self.place);
        let mut began = None;
        let (mut positions, mut beginnings) = (HashSet::new(), HashSet::new());
        let mut position: Option<String> = None;
        let mut list = Vec::new();
        for pages in 1..=PAGES_MOST {
            let call = || self.shared.gateway.list_client_certificates(&self.place, position.as_deref());
            let (started, outcome) = match self.call(&account, Priority::List, |scope| !scope.is_empty(), call).await {
                Ok(Some(called)) => called,
                Ok(None) => return,
                Err(Paused { until }) => return self.note(|scope, moment| scope.list_paused(until, moment)),
            };
            let began = *began.get_or_insert(started);
            let page = match outcome {
                Ok(page) => page,
                Err(failure) => return self.list_failed(&account, began, &failure),
            };
            let mut certificates = page.certificates;
            certificates.truncate(PAGE_SIZE);
            let beginning = certificates.first().map(|certificate| certificate.id.clone());
            list.extend(certificates.into_iter().map(|came| self.listed(&account, came)));
            let Some(next) = page.next else {
                return self.note(|scope, moment| scope.listed(began, pages, list, account.id.as_deref(), moment));
            };
            // Positions that go round in a circle, or pages that show again what was shown, or nothing, lead nowhere.
            if !positions.insert(next.clone()) || beginning.is_none_or(|id| !beginnings.insert(id)) {
                break;
            }
            position = Some(next);
        }
        let failure = GatewayError::Unavailable { outage: Outage::NotUnderstood, retry_after: None };
        self.list_failed(&account, began.unwrap_or_default(), &failure);
    }

    fn listed(&self, account: &Account, came: ClientCertificate) -> Listed {
        if !self.with_scope(|scope| scope.has(&came.id)).unwrap_or(false) {
            return Listed::Unclaimed(came);
        }
        let source = Source { place: self.place.clone(), id: came.id.clone() };
        let checked = self.check(&source, account.id.as_deref(), came);
        Listed::Checked(source.id, checked)
    }

    fn list_failed(&self, account: &Account, started: Tick, failure: &GatewayError) {
        let (region, account_id) = (&self.place.region, account.id.as_deref().unwrap_or_default());
        if !refuses_the_list(failure) {
            debug!(region, account = account_id, "could not list the client certificates: {failure}");
        } else if *failure == GatewayError::AccessDenied(Denial::NotAuthorized) {
            self.shared.metrics.list_refused("denied");
            warn!(
                region,
                account = account_id,
                "IAM does not allow apigateway:GET on the list of client certificates ({}): reading each by name for the next 10 minutes, which takes more of the account's requests",
                self.place.list_arn()
            );
        } else {
            self.shared.metrics.list_refused("unusable");
            warn!(
                region,
                account = account_id,
                "the list of client certificates cannot be used ({failure}): reading each by name for the next 10 minutes"
            );
        }
        let not_before = self.shared.limiter.paused(account).map(|paused| paused.until);
        self.note(|scope, moment| scope.list_failed(started, failure, not_before, moment));
    }
}
