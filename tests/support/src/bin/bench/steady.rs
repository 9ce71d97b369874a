//! The memory of many existing resources, and the cost of refreshes without a change.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use anyhow::Result;
use client_certificate_operator::api::ClientCertificateRef;
use futures::stream::{self, StreamExt, TryStreamExt};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use operator_testing::operator::Operator;
use operator_testing::script::Operation;
use serde_json::json;

use crate::burst::Done;
use crate::report::{Report, mebibytes, milliseconds};
use crate::watching::Watching;
use crate::world::World;
use crate::{Options, Part};

const MEMORY_ALLOWED: u64 = 45 << 20;
/// The variation of the memory that is no sign of a kept Secret: 1 % of the size of all Secrets is far more.
const GROWTH_ALLOWED: f64 = 1_048_576.0;
/// The fewest resources whose refreshes are measured.
const FEW: usize = 100;
/// The refresh interval meanwhile: the least one that the API allows.
const INTERVAL: &str = "30s";
/// The greatest ratio of the cost of a refresh of the most resources to that of the fewest. It allows for noise, but
/// not for a cost in proportion to the resources.
const CPU_ALLOWED: f64 = 3.0;
/// The time in which the allocator returns buffers and the caches become current.
const SETTLING: Duration = Duration::from_secs(10);
/// The time for which an idle operator is measured.
const IDLE: Duration = Duration::from_secs(20);

pub async fn measure(world: &World, options: &Options, report: &mut Report) -> Result<()> {
    eprintln!("memory and resync: {} resources", options.resources);
    let namespace = world.control_plane.namespace("steady").await?;
    let mut operator = world.operator(Some(&namespace), options.concurrency).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let empty = operator.resident_memory()?;
    let resources: Vec<_> =
        (0..options.resources).map(|number| world.resource(&namespace, number, "24h")).collect::<Result<_>>()?;
    let mut done = Done::watch(world, &namespace, &resources).await?;
    world.create_all(resources, options.concurrency).await?;
    done.at().await?;
    drop(done);
    tokio::time::sleep(SETTLING).await;

    if options.runs(Part::Memory) {
        report.figure("memory: no resources", mebibytes(empty as f64));
        let full = operator.resident_memory()?;
        let what = format!("memory: {} resources", options.resources);
        report.limited(&what, mebibytes(full as f64), mebibytes(MEMORY_ALLOWED as f64), full <= MEMORY_ALLOWED);
        report.figure("memory: highest until then", mebibytes(operator.peak_memory()? as f64));
    }
    if options.runs(Part::Memory) {
        unrelated(world, options, &namespace, operator, report).await?;
    } else {
        operator.terminate(Duration::from_secs(20)).await?;
    }
    if options.runs(Part::Resync) {
        let mut costs = Vec::new();
        for count in [FEW, options.resources, options.fleet_resources] {
            costs.push(resync(world, options, count, report).await?);
        }
        let ratio = costs[2].as_secs_f64() / costs[0].as_secs_f64();
        report.limited(
            &format!("resync: processor time of a refresh, {} resources over {FEW}", options.fleet_resources),
            format!("{ratio:.2}"),
            CPU_ALLOWED,
            ratio <= CPU_ALLOWED,
        );
    }
    Ok(())
}

/// The effect of large unrelated Secrets on the operator's memory.
async fn unrelated(
    world: &World,
    options: &Options,
    namespace: &str,
    mut operator: Operator,
    report: &mut Report,
) -> Result<()> {
    eprintln!("memory: {} unrelated Secrets of {} bytes", options.secrets, options.secret_size);
    let before = operator.resident_memory()?;
    create_secrets(world, options, namespace).await?;
    tokio::time::sleep(SETTLING).await;
    let after = operator.resident_memory()?;
    let growth = after as f64 - before as f64;
    let what = format!("memory: growth with {} Secrets of {} bytes", options.secrets, options.secret_size);
    report.limited(&what, mebibytes(growth), mebibytes(GROWTH_ALLOWED), growth <= GROWTH_ALLOWED);

    operator.terminate(Duration::from_secs(20)).await?;
    let operator = world.operator(Some(namespace), options.concurrency).await?;
    tokio::time::sleep(SETTLING).await;
    let anew = operator.resident_memory()?;
    let what = "memory: a new process beside all of these";
    report.limited(what, mebibytes(anew as f64), mebibytes(MEMORY_ALLOWED as f64), anew <= MEMORY_ALLOWED);
    report.figure("memory: highest of the new process", mebibytes(operator.peak_memory()? as f64));
    Ok(())
}

async fn create_secrets(world: &World, options: &Options, namespace: &str) -> Result<()> {
    let content = ByteString(vec![b'x'; options.secret_size]);
    stream::iter(0..options.secrets)
        .map(|number| {
            let secret = Secret {
                metadata: ObjectMeta { name: Some(format!("unrelated-{number}")), ..ObjectMeta::default() },
                data: Some(BTreeMap::from([("content".to_owned(), content.clone())])),
                ..Secret::default()
            };
            let secrets: Api<Secret> = Api::namespaced(world.author.clone(), namespace);
            async move { secrets.create(&PostParams::default(), &secret).await }
        })
        .buffer_unordered(8)
        .try_for_each(|_| async { Ok(()) })
        .await?;
    Ok(())
}

/// The processor time and the Kubernetes requests of a refresh without a change, for `count` resources with the same
/// certificates.
async fn resync(world: &World, options: &Options, count: usize, report: &mut Report) -> Result<Duration> {
    eprintln!("resync: {count} resources, {} s idle, then {} s of refreshes", IDLE.as_secs(), options.window);
    let namespace = world.control_plane.namespace("resync").await?;
    let mut operator = world.operator(Some(&namespace), options.concurrency).await?;
    let resources: Vec<_> =
        (0..count).map(|number| world.resource(&namespace, number, "24h")).collect::<Result<_>>()?;
    let names = resources.iter().map(|resource| resource.name().to_owned()).collect();
    let mut done = Done::watch(world, &namespace, &resources).await?;
    world.create_all(resources, options.concurrency).await?;
    done.at().await?;
    drop(done);
    tokio::time::sleep(SETTLING).await;
    let before = operator.cpu_time()?;
    tokio::time::sleep(IDLE).await;
    let idle = (operator.cpu_time()? - before).div_f64(IDLE.as_secs_f64());

    refresh_every(world, options.concurrency, &namespace, &names, INTERVAL).await?;
    tokio::time::sleep(SETTLING).await;
    world.emulator.clear_calls();
    let (before, since) = (operator.cpu_time()?, Timestamp::now());
    tokio::time::sleep(Duration::from_secs(options.window)).await;
    let busy = operator.cpu_time()? - before;
    let refreshes = world.emulator.count(Operation::List);
    let requests = world.control_plane.requests(&World::operator_user(), Some(&namespace))?;
    // Watches do not count: the operator opens an ended watch again, independent of refreshes.
    let requests = requests.iter().filter(|entry| entry.time >= since && entry.verb != "watch").count();
    let resident = operator.resident_memory()?;
    operator.terminate(Duration::from_secs(20)).await?;

    let own = busy.saturating_sub(idle.mul_f64(options.window as f64));
    let each = own.div_f64((refreshes as f64).max(1.0));
    let title = format!("resync, {count} resources");
    report.figure(&format!("{title}: idle, processor time a second"), milliseconds(idle));
    report.figure(&format!("{title}: memory"), mebibytes(resident as f64));
    report.limited(&format!("{title}: refreshes in the window, at least"), refreshes, 1, refreshes > 0);
    report.figure(&format!("{title}: processor time of a refresh"), format!("{:.2} ms", each.as_secs_f64() * 1e3));
    report.limited(&format!("{title}: Kubernetes requests"), requests, 0, requests == 0);
    Ok(each)
}

/// Sets the refresh interval of every resource, and waits until the operator has observed the change.
pub async fn refresh_every(
    world: &World,
    concurrency: usize,
    namespace: &str,
    names: &HashSet<String>,
    interval: &str,
) -> Result<()> {
    let mut noted = Watching::refreshed_every(&world.author, namespace, interval).await?;
    let resources: Api<ClientCertificateRef> = Api::namespaced(world.author.clone(), namespace);
    let patch = Patch::Merge(json!({ "spec": { "refreshInterval": interval } }));
    stream::iter(names)
        .map(|name| async { resources.patch(name, &PatchParams::default(), &patch).await })
        .buffer_unordered(concurrency)
        .try_for_each(|_| async { Ok(()) })
        .await?;
    noted.all(names).await?;
    Ok(())
}
