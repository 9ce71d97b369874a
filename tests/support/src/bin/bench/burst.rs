//! Many resources at once, until all are mirrored and Ready; floor and operator take turns.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use anyhow::Result;
use client_certificate_operator::api::ClientCertificateRef;
use operator_testing::script::Operation;

use crate::Options;
use crate::bare::{self, Writes};
use crate::report::{Report, milliseconds, quantile};
use crate::watching::Watching;
use crate::world::World;

/// How much longer than the floor the operator may take.
const ALLOWED: f64 = 1.2;

pub async fn measure(world: &World, options: &Options, report: &mut Report) -> Result<()> {
    let writes = Writes::learn(world).await?;
    let (mut ratios, mut rates) = (Vec::new(), Vec::new());
    let mut of_operator = Counts::default();
    for pair in 1..=options.pairs {
        let floor = floor(world, options, &writes).await?;
        let operator = operator(world, options, &mut of_operator).await?;
        let ratio = operator.as_secs_f64() / floor.as_secs_f64();
        report.figure(
            &format!("throughput: pair {pair}, floor and operator"),
            format!("{:.2} s, {:.2} s: {ratio:.2}", floor.as_secs_f64(), operator.as_secs_f64()),
        );
        ratios.push(ratio);
        rates.push(options.resources as f64 / floor.as_secs_f64());
    }
    let median = quantile(&ratios, 0.5);
    report.figure("throughput: floor, median", format!("{:.0} resources/s", quantile(&rates, 0.5)));
    report.limited("throughput: operator over floor, median", format!("{median:.2}"), ALLOWED, median <= ALLOWED);
    report.limited(
        "throughput: calls to API Gateway a resource",
        format!("{:.3}", of_operator.gets as f64 / of_operator.resources as f64),
        "1.000",
        of_operator.gets == of_operator.resources,
    );
    report.figure(
        "throughput: operator's processor time, a resource",
        milliseconds(of_operator.processor.div_f64(of_operator.resources as f64)),
    );
    for (kind, count) in &of_operator.requests {
        report.figure(
            &format!("throughput: operator's {kind}, a resource"),
            format!("{:.3}", *count as f64 / of_operator.resources as f64),
        );
    }
    Ok(())
}

#[derive(Default)]
struct Counts {
    resources: usize,
    gets: usize,
    processor: Duration,
    requests: BTreeMap<String, usize>,
}

async fn floor(world: &World, options: &Options, writes: &Writes) -> Result<Duration> {
    let namespace = world.control_plane.namespace("floor").await?;
    let resources = resources(world, options, &namespace)?;
    let mut done = Done::watch(world, &namespace, &resources).await?;
    let start = Instant::now();
    bare::create_and_write(world, writes, resources, options.concurrency).await?;
    Ok(done.at().await?.saturating_duration_since(start))
}

async fn operator(world: &World, options: &Options, counts: &mut Counts) -> Result<Duration> {
    let namespace = world.control_plane.namespace("burst").await?;
    let mut operator = world.operator(Some(&namespace), options.concurrency).await?;
    let resources = resources(world, options, &namespace)?;
    let mut done = Done::watch(world, &namespace, &resources).await?;
    world.emulator.clear_calls();
    let (start, before) = (Instant::now(), operator.cpu_time()?);
    world.create_all(resources, options.concurrency).await?;
    let took = done.at().await?.saturating_duration_since(start);
    counts.processor += operator.cpu_time()? - before;
    operator.terminate(Duration::from_secs(20)).await?;
    counts.resources += options.resources;
    counts.gets += world.emulator.count(Operation::Get);
    for entry in world.control_plane.requests(&World::operator_user(), Some(&namespace))? {
        // The lists and watches of the start are of no matter here.
        if entry.is_write() || entry.verb == "get" {
            *counts.requests.entry(World::kind_of(&entry)).or_default() += 1;
        }
    }
    Ok(took)
}

fn resources(world: &World, options: &Options, namespace: &str) -> Result<Vec<ClientCertificateRef>> {
    (0..options.resources).map(|number| world.resource(namespace, number, "24h")).collect()
}

/// Sees when every resource has its Secret and is Ready.
pub struct Done {
    secrets: Watching,
    ready: Watching,
    names: HashSet<String>,
}

impl Done {
    /// Begins to look.
    pub async fn watch(world: &World, namespace: &str, resources: &[ClientCertificateRef]) -> Result<Self> {
        Ok(Self {
            secrets: Watching::secrets(&world.author, namespace).await?,
            ready: Watching::ready_resources(&world.author, namespace).await?,
            names: resources.iter().map(|resource| resource.name().to_owned()).collect(),
        })
    }

    /// When that was.
    pub async fn at(&mut self) -> Result<Instant> {
        Ok(self.secrets.all(&self.names).await?.max(self.ready.all(&self.names).await?))
    }
}
