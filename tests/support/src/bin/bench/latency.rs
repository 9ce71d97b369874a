//! From the API server's answer to the create of one resource, until its Secret is there.

use std::time::{Duration, Instant};

use anyhow::Result;
use client_certificate_operator::api::ClientCertificateRef;
use client_certificate_operator::aws::gateway::{Gateway, Source};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, PostParams};
use operator_testing::certificates::NewCertificate;

use crate::Options;
use crate::bare::Writes;
use crate::report::{Report, milliseconds, quantile};
use crate::watching::Watching;
use crate::world::World;

/// What the operator may add to API Gateway's own latency, in the median.
const ALLOWED: Duration = Duration::from_millis(30);

pub async fn measure(world: &World, options: &Options, report: &mut Report) -> Result<()> {
    let writes = Writes::learn(world).await?;
    let floor = world.control_plane.namespace("latency-floor").await?;
    let namespace = world.control_plane.namespace("latency").await?;
    let _operator = world.operator(Some(&namespace), options.concurrency).await?;
    let mut by_hand = Watching::secrets(&world.author, &floor).await?;
    let mut by_operator = Watching::secrets(&world.author, &namespace).await?;
    let gateway = world.emulator.gateway_builder().build();

    let (mut floors, mut latencies) = (Vec::new(), Vec::new());
    for number in 0..options.samples {
        // The floor: one call to API Gateway and one Secret, with nobody to be told by a watch that there is something to do.
        // In a region of its own each, so that no answer serves the next.
        let region = format!("xx-{}-1", "a".repeat(number % 20 + 1) + &"b".repeat(number / 20));
        let id = world.emulator.generate(&region, NewCertificate::new().shared_key()).id;
        let created = create(world, &floor, number, &region, &id).await?;
        let answered = Instant::now();
        let source = Source::own(&region, &id);
        gateway.get_client_certificate(&source).await?;
        let secrets: Api<Secret> = Api::namespaced(world.account.clone(), &floor);
        secrets.create(&PostParams::default(), &writes.secret(&created)).await?;
        floors.push(by_hand.one(created.name()).await?.saturating_duration_since(answered));

        let created = create(world, &namespace, number, &region, &id).await?;
        let answered = Instant::now();
        latencies.push(by_operator.one(created.name()).await?.saturating_duration_since(answered));
    }

    let (median, floor) = (quantile(&latencies, 0.5), quantile(&floors, 0.5));
    let limit = options.gateway_latency() + ALLOWED;
    report.figure("latency: API Gateway's", milliseconds(options.gateway_latency()));
    report.figure("latency: a bare client's Get and Secret, median", milliseconds(floor));
    report.limited("latency: operator, median", milliseconds(median), milliseconds(limit), median <= limit);
    report.figure("latency: operator, 90th percentile", milliseconds(quantile(&latencies, 0.9)));
    report.figure(
        "latency: operator's excess over API Gateway's, median",
        milliseconds(median.saturating_sub(options.gateway_latency())),
    );
    report.figure(
        "latency: operator over the bare client, ratio of medians",
        format!("{:.2}", median.as_secs_f64() / floor.as_secs_f64()),
    );
    Ok(())
}

async fn create(world: &World, namespace: &str, number: usize, region: &str, id: &str) -> Result<ClientCertificateRef> {
    let resources: Api<ClientCertificateRef> = Api::namespaced(world.author.clone(), namespace);
    let mut resource = World::resource_of(namespace, number, &[id.to_owned()], "24h")?;
    resource.spec.region = Some(region.to_owned());
    Ok(resources.create(&PostParams::default(), &resource).await?)
}
