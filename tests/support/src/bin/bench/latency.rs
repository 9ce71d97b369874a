//! The time from the API server's answer to the create of one resource until its Secret exists and the resource is
//! Ready.

use std::time::{Duration, Instant};

use anyhow::Result;
use client_certificate_operator::api::ClientCertificateRef;
use kube::api::{Api, PostParams};
use operator_testing::certificates::NewCertificate;
use operator_testing::script::Operation;

use crate::Options;
use crate::bare::Writes;
use crate::report::{Report, milliseconds, quantile};
use crate::watching::Watching;
use crate::world::World;

/// If the cache holds the certificate: the greatest ratio of the operator's time to that of a bare client's writes.
const RATIO_ALLOWED: f64 = 1.2;
/// If the cache does not hold the certificate: the greatest time that the operator adds to API Gateway's latency.
const EXCESS_ALLOWED: Duration = Duration::from_millis(15);

/// The times from the answer to a create until the Secret existed, and until the resource was Ready.
#[derive(Default)]
struct Latencies {
    secret: Vec<Duration>,
    ready: Vec<Duration>,
}

/// The watches on the Secrets and resources of one namespace.
struct Watched {
    namespace: String,
    secrets: Watching,
    ready: Watching,
}

impl Watched {
    async fn start(world: &World, prefix: &str) -> Result<Self> {
        let namespace = world.control_plane.namespace(prefix).await?;
        let secrets = Watching::secrets(&world.author, &namespace).await?;
        let ready = Watching::ready_resources(&world.author, &namespace).await?;
        Ok(Self { namespace, secrets, ready })
    }

    async fn note(&mut self, name: &str, answered: Instant, latencies: &mut Latencies) -> Result<()> {
        latencies.secret.push(self.secrets.one(name).await?.saturating_duration_since(answered));
        latencies.ready.push(self.ready.one(name).await?.saturating_duration_since(answered));
        Ok(())
    }
}

pub async fn measure(world: &World, options: &Options, report: &mut Report) -> Result<()> {
    let writes = Writes::learn(world).await?;
    let mut by_hand = Watched::start(world, "latency-floor").await?;
    let mut by_operator = Watched::start(world, "latency").await?;
    let _operator = world.operator(Some(&by_operator.namespace), options.concurrency).await?;
    let (mut floor, mut known, mut unknown) = (Latencies::default(), Latencies::default(), Latencies::default());

    // The cache holds this certificate from the first resource on.
    let warm = World::resource_of(&by_operator.namespace, 0, &world.certificates, "24h")?;
    create(world, &warm).await?;
    by_operator.ready.one(warm.name()).await?;
    world.emulator.clear_calls();
    for number in 1..=options.samples {
        let resource = |namespace: &str| World::resource_of(namespace, number, &world.certificates[..1], "24h");
        let created = create(world, &resource(&by_hand.namespace)?).await?;
        let answered = Instant::now();
        writes.write(&world.account, &created).await?;
        by_hand.note(created.name(), answered, &mut floor).await?;

        let created = create(world, &resource(&by_operator.namespace)?).await?;
        by_operator.note(created.name(), Instant::now(), &mut known).await?;
    }
    let calls: usize = [Operation::Get, Operation::List].map(|operation| world.emulator.count(operation)).iter().sum();

    for number in 1..=options.samples {
        // Each resource has another region, so that no answer serves the next resource.
        let region = format!("xx-{}-1", "a".repeat(number % 20 + 1) + &"b".repeat(number / 20));
        let id = world.emulator.generate(&region, NewCertificate::new().shared_key()).id;
        let mut resource = World::resource_of(&by_operator.namespace, options.samples + number, &[id], "24h")?;
        resource.spec.region = Some(region);
        let created = create(world, &resource).await?;
        by_operator.note(created.name(), Instant::now(), &mut unknown).await?;
    }

    let median = |latencies: &[Duration]| quantile(latencies, 0.5);
    let ratio = median(&known.ready).as_secs_f64() / median(&floor.ready).as_secs_f64();
    report.figure("latency: a bare client's writes until Ready, median", milliseconds(median(&floor.ready)));
    report.figure("latency: certificate in the cache, until the Secret, median", milliseconds(median(&known.secret)));
    report.figure("latency: certificate in the cache, until Ready, median", milliseconds(median(&known.ready)));
    report.limited(
        "latency: certificate in the cache, until Ready, over the bare client",
        format!("{ratio:.2}"),
        RATIO_ALLOWED,
        ratio <= RATIO_ALLOWED,
    );
    report.limited("latency: certificate in the cache, calls to API Gateway", calls, 0, calls == 0);
    report.figure("latency: API Gateway's", milliseconds(options.gateway_latency()));
    let limit = median(&known.secret) + options.gateway_latency() + EXCESS_ALLOWED;
    let first = median(&unknown.secret);
    let what = "latency: certificate not in the cache, until the Secret, median";
    report.limited(what, milliseconds(first), milliseconds(limit), first <= limit);
    report.figure(
        "latency: certificate not in the cache, until the Secret, 90th percentile",
        milliseconds(quantile(&unknown.secret, 0.9)),
    );
    Ok(())
}

async fn create(world: &World, resource: &ClientCertificateRef) -> Result<ClientCertificateRef> {
    let resources: Api<ClientCertificateRef> = Api::namespaced(world.author.clone(), resource.namespace());
    Ok(resources.create(&PostParams::default(), resource).await?)
}
