//! The time without a working replica: from the end of a leader until another leads, and from a start until the first
//! target exists.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use client_certificate_operator::api::ClientCertificateRef;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams, PostParams};
use operator_testing::operator::Operator;

use crate::Options;
use crate::report::{Report, milliseconds, quantile};
use crate::world::{ACCOUNT, World};

const CLEAN: Duration = Duration::from_secs(2);
const LOST: Duration = Duration::from_secs(20);
const START: Duration = Duration::from_secs(2);
/// The number of leaders that stop regularly, which is also the number of starts, and of leaders that are killed. Each
/// kill takes the duration of the Lease.
const STOPS: usize = 10;
const KILLS: usize = 3;
const PAUSE: Duration = Duration::from_millis(5);

pub async fn measure(world: &World, options: &Options, report: &mut Report) -> Result<()> {
    let namespace = world.control_plane.namespace("handover").await?;
    let resources: Api<ClientCertificateRef> = Api::namespaced(world.author.clone(), &namespace);
    let secrets: Api<Secret> = Api::namespaced(world.author.clone(), &namespace);
    let leases: Api<Lease> = Api::namespaced(world.author.clone(), ACCOUNT);
    let created = resources.create(&PostParams::default(), &world.resource(&namespace, 0, "24h")?).await?;

    let replica = async |number: usize| -> Result<Operator> {
        let args =
            ["--leader-elect".to_owned(), format!("--lease-namespace={ACCOUNT}"), format!("--holder=replica-{number}")];
        world.operator_with(Some(&namespace), options.concurrency, &args).await
    };
    let led_by = async |number: usize| -> Result<Instant> {
        let start = Instant::now();
        let holder = format!("replica-{number}");
        loop {
            let lease = leases.get(ACCOUNT).await?;
            if lease.spec.and_then(|spec| spec.holder_identity).as_ref() == Some(&holder) {
                return Ok(Instant::now());
            }
            ensure!(start.elapsed() < LOST * 2, "{holder} does not become the leader");
            tokio::time::sleep(PAUSE).await;
        }
    };
    let mirrored = async || -> Result<Instant> {
        let start = Instant::now();
        while secrets.get_opt(created.name()).await?.is_none() {
            ensure!(start.elapsed() < LOST, "the target does not appear");
            tokio::time::sleep(PAUSE).await;
        }
        Ok(Instant::now())
    };

    let (mut stops, mut kills, mut starts) = (Vec::new(), Vec::new(), Vec::new());
    let mut number = 0;
    let mut leader = replica(number).await?;
    led_by(number).await?;
    mirrored().await?;
    for round in 0..STOPS + KILLS {
        number += 1;
        let standby = replica(number).await?;
        // A random wait, so that the end is not in step with the reads of the Lease.
        tokio::time::sleep(Duration::from_millis(fastrand::u64(0..2000))).await;
        let ended = Instant::now();
        if round < STOPS {
            let (ending, leads) = tokio::join!(leader.terminate(LOST), led_by(number));
            ending.context("the leader does not stop")?;
            stops.push(leads?.saturating_duration_since(ended));
        } else {
            leader.kill()?;
            kills.push(led_by(number).await?.saturating_duration_since(ended));
        }
        leader = standby;
    }
    for _ in 0..STOPS {
        leader.terminate(LOST).await?;
        secrets.delete(created.name(), &DeleteParams::default()).await?;
        let started = Instant::now();
        number += 1;
        let (started_replica, there) = tokio::join!(replica(number), mirrored());
        starts.push(there?.saturating_duration_since(started));
        leader = started_replica?;
    }
    let (stop, kill, start) = (quantile(&stops, 1.0), quantile(&kills, 1.0), quantile(&starts, 1.0));
    report.figure("hand-over: clean stop until another leads, median", milliseconds(quantile(&stops, 0.5)));
    report.limited(
        "hand-over: clean stop until another leads, longest",
        milliseconds(stop),
        milliseconds(CLEAN),
        stop <= CLEAN,
    );
    report.limited(
        "hand-over: leader killed until another leads, longest",
        milliseconds(kill),
        milliseconds(LOST),
        kill <= LOST,
    );
    report.figure("hand-over: start until the first target is there, median", milliseconds(quantile(&starts, 0.5)));
    report.limited(
        "hand-over: start until the first target is there, longest",
        milliseconds(start),
        milliseconds(START),
        start <= START,
    );
    Ok(())
}
