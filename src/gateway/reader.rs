//! The certificate reader: what stands between the passes over resources and API Gateway, so that any number of
//! resources costs an account few of its ten requests a second.
//!
//! ```text
//!  passes ── ask ──► desk of the place ── plan ──► budget ──► gateway: one certificate, or the list of all
//!    ▲                 │  known answers                          │
//!    └──── wake ───────┴───────────── learn ◄────────────────────┘
//! ```
//!
//! There is a desk for each place, that is for each region and identity. A pass that asks gets an answer that is known and
//! new enough, or none, and then its resource is woken when there is news: no pass waits for AWS, so that a region that
//! is down holds nobody up. What is asked within a few milliseconds is asked of API Gateway together: by the list where
//! that costs fewer calls, which serves whoever asks next too.

mod calls;
mod descriptions;
mod desk;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::Notify;

pub use self::descriptions::Described;
use self::descriptions::UnderWay;
use self::desk::Desk;
use super::budget::{Bucket, Budget};
use super::{CertificateKey, Gateway, GatewayError, Place, Source};
use crate::api::ResourceName;
use crate::clock::Clock;
use crate::leader::Fence;
use crate::metrics::Metrics;
use crate::reading::{Came, Demand};
use crate::settings::Tick;

/// How long is waited for others who ask, so that one call serves all.
const GATHER: Duration = Duration::from_millis(4);
/// With so many desks, those that nobody uses are closed before another is opened.
const DESKS: usize = 64;

/// Told which resources to look at again.
pub type Wake = Box<dyn Fn(Vec<ResourceName>) + Send + Sync>;

/// The certificate readers of all places. Clones are the same.
pub struct Reader<G> {
    shared: Arc<Shared<G>>,
}

impl<G> Clone for Reader<G> {
    fn clone(&self) -> Self {
        Reader { shared: Arc::clone(&self.shared) }
    }
}

struct Shared<G> {
    gateway: G,
    budget: Budget,
    clock: Clock,
    metrics: Arc<Metrics>,
    fence: Fence,
    wake: Wake,
    own_account: RwLock<Option<String>>,
    desks: Mutex<HashMap<Place, Arc<Counter>>>,
    descriptions: UnderWay,
}

/// A desk, and the bell that calls whoever serves it.
struct Counter {
    desk: Mutex<State>,
    bell: Notify,
}

struct State {
    desk: Desk,
    is_served: bool,
    is_closed: bool,
}

impl Counter {
    fn new(place: &Place) -> Self {
        let state = State { desk: Desk::new(place.clone()), is_served: false, is_closed: false };
        Counter { desk: Mutex::new(state), bell: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<G: Gateway> Reader<G> {
    /// A reader that makes its calls through this gateway and within this budget, and writes only where the fence is open.
    pub fn new(gateway: G, budget: Budget, clock: Clock, fence: Fence, metrics: Arc<Metrics>, wake: Wake) -> Self {
        let shared = Shared {
            gateway,
            budget,
            clock,
            metrics,
            fence,
            wake,
            own_account: RwLock::default(),
            desks: Mutex::default(),
            descriptions: UnderWay::default(),
        };
        Reader { shared: Arc::new(shared) }
    }

    /// Asks about a certificate. None where the answer needs a call first: the resource is woken when there is news.
    pub fn ask(&self, source: &Source, demand: &Demand, resource: &ResourceName) -> Option<Came> {
        let shared = &self.shared;
        let closed = shared.budget.closed(&shared.bucket(&source.place));
        shared.at_desk(&source.place, |counter, state| {
            let asked = state.desk.ask(&source.id, demand, resource, closed.as_ref(), shared.clock.now());
            if asked.came.is_some() && !demand.again {
                shared.metrics.answer_shared();
            }
            if asked.is_open {
                if std::mem::replace(&mut state.is_served, true) {
                    counter.bell.notify_one();
                } else {
                    tokio::spawn(calls::serve(Arc::clone(shared), source.place.clone(), Arc::clone(counter)));
                }
            }
            asked.came
        })
    }

    /// Sends a description.
    pub async fn set_description(&self, source: &Source, text: &str, namespace: &str) -> Described {
        // In a box, because few passes send one, and each has the room of a call otherwise.
        Box::pin(descriptions::set(&self.shared, source, text, namespace)).await
    }

    /// The certificate that a source means, as it is one whoever names it.
    pub fn key_of(&self, source: &Source) -> CertificateKey {
        let Source { place, id } = source;
        CertificateKey { account: self.shared.account_of(place), region: place.region.clone(), id: id.clone() }
    }

    /// Asks AWS for that account, and remembers it.
    pub async fn learn_own_account(&self) -> Result<String, GatewayError> {
        let account = self.shared.gateway.own_account().await?;
        *self.shared.own_account.write().unwrap_or_else(PoisonError::into_inner) = Some(account.clone());
        Ok(account)
    }

    /// Closes the desks of places that may not be used any more, and ends their sessions.
    pub fn retain(&self, may_be_used: impl Fn(&Place) -> bool) {
        let mut desks = self.shared.desks.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.close(&mut desks, |place, _| !may_be_used(place));
    }
}

impl<G: Gateway> Shared<G> {
    /// The account of a place; none, where it is the operator's own and not known yet.
    fn account_of(&self, place: &Place) -> Option<String> {
        let own = || self.own_account.read().unwrap_or_else(PoisonError::into_inner).clone();
        place.account().map(str::to_owned).or_else(own)
    }

    fn bucket(&self, place: &Place) -> Bucket {
        Bucket { account: self.account_of(place), region: place.region.clone() }
    }

    /// Does something at the desk of a place, which is opened where there is none. No desk is closed meanwhile.
    fn at_desk<R>(&self, place: &Place, what: impl FnOnce(&Arc<Counter>, &mut State) -> R) -> R {
        let mut desks = self.desks.lock().unwrap_or_else(PoisonError::into_inner);
        if desks.len() >= DESKS && !desks.contains_key(place) {
            let now = self.clock.now();
            self.close(&mut desks, |_, desk| desk.is_idle(now));
        }
        let counter = desks.entry(place.clone()).or_insert_with(|| Arc::new(Counter::new(place)));
        what(counter, &mut counter.lock())
    }

    fn close(&self, desks: &mut HashMap<Place, Arc<Counter>>, is_over: impl Fn(&Place, &Desk) -> bool) {
        desks.retain(|place, counter| {
            let mut state = counter.lock();
            state.is_closed = is_over(place, &state.desk);
            if state.is_closed {
                self.gateway.end_session(place);
                counter.bell.notify_one();
            }
            !state.is_closed
        });
    }

    fn now(&self) -> Tick {
        self.clock.now()
    }
}
