//! The time until many resources, created at once, are all mirrored and Ready. The floor and the operator take turns.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use anyhow::Result;
use client_certificate_operator::api::ClientCertificateRef;
use operator_testing::emulator::RateLimit;
use operator_testing::script::Operation;

use crate::bare::{self, Writes};
use crate::report::{Report, milliseconds, quantile};
use crate::watching::Watching;
use crate::world::{Certificates, World};
use crate::{Options, Part};

/// The greatest ratio of the operator's time to the floor's, for many resources and for very many.
const ALLOWED: f64 = 1.1;
const ALLOWED_OF_FLEET: f64 = 1.25;
/// The greatest number of calls to API Gateway in a burst, beside the pages of one list: the first certificate is read by id.
/// That makes two calls for the default quota of certificates.
const CALLS_BESIDE_PAGES: usize = 1;
/// The greatest number of certificates in a page of `GetClientCertificates`.
const PAGE: usize = 500;
/// The default quota of client certificates of an account and region.
const QUOTA: usize = 60;

pub async fn measure(world: &World, options: &Options, report: &mut Report) -> Result<()> {
    let writes = Writes::learn(world).await?;
    world.emulator.set_rate_limit(Some(RateLimit::default()));
    let burst = |resources, pairs, allowed| Burst { world, options, writes: &writes, resources, pairs, allowed };
    let many = burst(options.resources, options.pairs, ALLOWED);
    for (count, region) in [(options.resources, "xx-many-1"), (QUOTA, "xx-quota-1")] {
        many.against_floor(&world.generate_in(region, count), report).await?;
    }
    if options.runs(Part::Fleet) {
        eprintln!("throughput: {} resources at once, once each way: some minutes", options.fleet_resources);
        let certificates = world.generate_in("xx-very-many-1", options.fleet_resources);
        burst(options.fleet_resources, 1, ALLOWED_OF_FLEET).against_floor(&certificates, report).await?;
    }
    world.emulator.set_rate_limit(None);
    Ok(())
}

/// Resources that are created at once.
struct Burst<'a> {
    world: &'a World,
    options: &'a Options,
    writes: &'a Writes,
    resources: usize,
    pairs: usize,
    allowed: f64,
}

#[derive(Default)]
struct Counts {
    resources: usize,
    /// The calls of each run.
    calls: Vec<usize>,
    throttled: usize,
    processor: Duration,
    requests: BTreeMap<String, usize>,
}

impl Burst<'_> {
    async fn against_floor(&self, certificates: &Certificates, report: &mut Report) -> Result<()> {
        let (mut ratios, mut rates) = (Vec::new(), Vec::new());
        let mut of_operator = Counts::default();
        let title = format!("throughput, {} resources, {} certificates", self.resources, certificates.ids.len());
        for pair in 1..=self.pairs {
            let floor = self.floor(certificates).await?;
            let operator = self.operator(certificates, &mut of_operator).await?;
            let ratio = operator.as_secs_f64() / floor.as_secs_f64();
            report.figure(
                &format!("{title}: pair {pair}, floor and operator"),
                format!("{:.2} s, {:.2} s: {ratio:.2}", floor.as_secs_f64(), operator.as_secs_f64()),
            );
            ratios.push(ratio);
            rates.push(self.resources as f64 / floor.as_secs_f64());
        }
        let median = quantile(&ratios, 0.5);
        report.figure(&format!("{title}: floor, median"), format!("{:.0} resources/s", quantile(&rates, 0.5)));
        let what = format!("{title}: operator over floor, median");
        report.limited(&what, format!("{median:.2}"), self.allowed, median <= self.allowed);
        let most = of_operator.calls.iter().copied().max().unwrap_or_default();
        let calls_allowed = certificates.ids.len().div_ceil(PAGE) + CALLS_BESIDE_PAGES;
        let what = format!("{title}: calls to API Gateway for all, at most");
        report.limited(&what, most, calls_allowed, most <= calls_allowed);
        let throttled = of_operator.throttled;
        report.limited(&format!("{title}: of these throttled"), throttled, 0, throttled == 0);
        report.figure(
            &format!("{title}: operator's processor time, a resource"),
            milliseconds(of_operator.processor.div_f64(of_operator.resources as f64)),
        );
        for (kind, count) in &of_operator.requests {
            report.figure(
                &format!("{title}: operator's {kind}, a resource"),
                format!("{:.3}", *count as f64 / of_operator.resources as f64),
            );
        }
        Ok(())
    }

    async fn floor(&self, certificates: &Certificates) -> Result<Duration> {
        let namespace = self.world.control_plane.namespace("floor").await?;
        let resources = self.new_resources(certificates, &namespace)?;
        let mut done = Done::watch(self.world, &namespace, &resources).await?;
        let start = Instant::now();
        bare::create_and_write(self.world, self.writes, resources, self.options.concurrency).await?;
        Ok(done.at().await?.saturating_duration_since(start))
    }

    async fn operator(&self, certificates: &Certificates, counts: &mut Counts) -> Result<Duration> {
        let world = self.world;
        let namespace = world.control_plane.namespace("burst").await?;
        let mut operator = world.operator(Some(&namespace), self.options.concurrency).await?;
        let resources = self.new_resources(certificates, &namespace)?;
        let mut done = Done::watch(world, &namespace, &resources).await?;
        world.emulator.clear_calls();
        let (start, before) = (Instant::now(), operator.cpu_time()?);
        world.create_all(resources, self.options.concurrency).await?;
        let took = done.at().await?.saturating_duration_since(start);
        counts.processor += operator.cpu_time()? - before;
        operator.terminate(Duration::from_secs(20)).await?;
        counts.resources += self.resources;
        let operations = [Operation::Get, Operation::List];
        counts.calls.push(operations.map(|operation| world.emulator.count(operation)).iter().sum());
        counts.throttled += world.emulator.throttled();
        for entry in world.control_plane.requests(&World::operator_user(), Some(&namespace))? {
            // The lists and watches of the start do not count.
            if entry.is_write() || entry.verb == "get" {
                *counts.requests.entry(World::kind_of(&entry)).or_default() += 1;
            }
        }
        Ok(took)
    }

    fn new_resources(&self, certificates: &Certificates, namespace: &str) -> Result<Vec<ClientCertificateRef>> {
        (0..self.resources).map(|number| certificates.resource(namespace, number, "24h")).collect()
    }
}

/// Measures when every resource has its Secret and is Ready.
pub struct Done {
    secrets: Watching,
    ready: Watching,
    names: HashSet<String>,
}

impl Done {
    /// Starts the watches.
    pub async fn watch(world: &World, namespace: &str, resources: &[ClientCertificateRef]) -> Result<Self> {
        Ok(Self {
            secrets: Watching::secrets(&world.author, namespace).await?,
            ready: Watching::ready_resources(&world.author, namespace).await?,
            names: resources.iter().map(|resource| resource.name().to_owned()).collect(),
        })
    }

    /// Waits for all resources, and returns the time at which the last was done.
    pub async fn at(&mut self) -> Result<Instant> {
        Ok(self.secrets.all(&self.names).await?.max(self.ready.all(&self.names).await?))
    }
}
