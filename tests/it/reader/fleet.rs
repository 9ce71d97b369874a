//! Many resources as the reader sees them: each asks when it is due, and again when it is woken, as the program does.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use client_certificate_operator::api::{ClientCertificateRef, ResourceName};
use client_certificate_operator::clock::Clock;
use client_certificate_operator::description::Claim;
use client_certificate_operator::error::ReadFailure;
use client_certificate_operator::gateway::budget::{Budget, Limits};
use client_certificate_operator::gateway::reader::Reader;
use client_certificate_operator::gateway::{Gateway, Place, Source};
use client_certificate_operator::leader::Fence;
use client_certificate_operator::memory::{Memory, Which};
use client_certificate_operator::metrics::Metrics;
use client_certificate_operator::settings::Tick;
use jiff::Timestamp;
use tokio::sync::{Notify, watch};

/// Resources that ask a reader.
pub struct Fleet<G> {
    pub reader: Reader<G>,
    pub clock: Clock,
    pub metrics: Arc<Metrics>,
    bells: Arc<Mutex<HashMap<ResourceName, Arc<Notify>>>>,
}

/// One of them, as far as tests look at it.
pub struct Member {
    outcome: watch::Receiver<Option<Seen>>,
}

/// What a resource heard last, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    pub outcome: Result<(), ReadFailure>,
    /// When it heard that.
    pub heard: Tick,
    /// When the call began that told.
    pub at: Tick,
}

impl Member {
    /// What it heard last.
    pub fn seen(&self) -> Option<Seen> {
        self.outcome.borrow().clone()
    }

    /// Waits until it has heard something good; answers when it did.
    pub async fn until_good(&self) -> Tick {
        self.until(|seen| seen.outcome.is_ok()).await.heard
    }

    /// Waits until it has heard something like this.
    pub async fn until(&self, is: impl Fn(&Seen) -> bool) -> Seen {
        let mut outcome = self.outcome.clone();
        let is = |seen: &Option<Seen>| seen.as_ref().is_some_and(&is);
        outcome.wait_for(is).await.unwrap().clone().unwrap()
    }
}

impl<G: Gateway> Fleet<G> {
    /// A reader with the budget of the defaults, and nobody who asks.
    pub fn new(gateway: G) -> Self {
        Self::with_budget(gateway, 5.0, 20)
    }

    pub fn with_budget(gateway: G, rate: f64, burst: u32) -> Self {
        let (clock, metrics) = (Clock::start(), Arc::new(Metrics::default()));
        let limits = Limits { rate, burst: NonZeroU32::new(burst).unwrap() };
        let budget = Budget::new(limits, clock, Arc::clone(&metrics));
        let bells: Arc<Mutex<HashMap<ResourceName, Arc<Notify>>>> = Arc::default();
        let ring = Arc::clone(&bells);
        let wake = Box::new(move |woken: Vec<ResourceName>| {
            let bells = ring.lock().unwrap();
            woken.iter().filter_map(|name| bells.get(name)).for_each(|bell| bell.notify_one());
        });
        let reader = Reader::new(gateway, budget, clock, Fence::open(clock), Arc::clone(&metrics), wake);
        Fleet { reader, clock, metrics, bells }
    }

    /// A resource that begins to ask for a certificate.
    pub fn add(&self, name: &str, source: Source, interval: &str) -> Member {
        let (namespace, name) = name.split_once('/').unwrap_or(("backends", name));
        let mut resource = ClientCertificateRef::default();
        resource.metadata.namespace = Some(namespace.to_owned());
        resource.metadata.name = Some(name.to_owned());
        resource.metadata.generation = Some(1);
        resource.spec.client_certificate_id = source.id.clone();
        resource.spec.refresh_interval = interval.to_owned();
        let bell = Arc::new(Notify::new());
        let name = ResourceName::new(namespace, name);
        self.bells.lock().unwrap().insert(name.clone(), Arc::clone(&bell));
        let (tell, outcome) = watch::channel(None);
        tokio::spawn(live(resource, name, Ok(source), self.reader.clone(), self.clock, bell, tell));
        Member { outcome }
    }

    /// The same for many, in one region, each with a certificate of its own.
    pub fn add_many(&self, ids: impl IntoIterator<Item = String>, place: &Place, interval: &str) -> Vec<Member> {
        let source = |id: &String| Source { place: place.clone(), id: id.clone() };
        ids.into_iter().map(|id| self.add(&format!("of-{id}"), source(&id), interval)).collect()
    }
}

async fn live<G: Gateway>(
    resource: ClientCertificateRef,
    name: ResourceName,
    source: Result<Source, ReadFailure>,
    reader: Reader<G>,
    clock: Clock,
    bell: Arc<Notify>,
    tell: watch::Sender<Option<Seen>>,
) {
    let mut memory = Memory::new(&resource);
    while !tell.is_closed() {
        let now = clock.now();
        if let Some(demand) = memory.demand(Which::Main, &resource, &source, &Claim::Mine, now)
            && let Some(came) = reader.ask(source.as_ref().unwrap(), &demand, &name)
        {
            memory.answered(Which::Main, &resource, &source, came, clock.now(), fastrand::f64());
            let outcome = memory.main.reading.outcome(&source, Timestamp::now()).unwrap().map(|_| ());
            let at = memory.main.reading.at(&source).unwrap();
            tell.send_replace(Some(Seen { outcome, heard: clock.now(), at }));
        }
        let next = memory.next_read(&resource, &source, &[], clock.now()).max(clock.now() + Duration::from_millis(1));
        tokio::select! {
            () = clock.wait_until(next) => {}
            () = bell.notified() => {}
        }
    }
}
