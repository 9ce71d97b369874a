//! Many resources that are there: the memory they take, and what it costs to refresh them when nothing changed.

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
use serde_json::json;

use crate::burst::Done;
use crate::report::{Report, mebibytes, milliseconds};
use crate::watching::Watching;
use crate::world::World;
use crate::{Options, Part};

const MEMORY_ALLOWED: u64 = 40 << 20;
/// What may come and go without anybody having kept a Secret: 1 % of the size of all of them is far more.
const GROWTH_ALLOWED: f64 = 1_048_576.0;
const CPU_ALLOWED: Duration = Duration::from_millis(1);
/// Buffers are given back, and caches catch up.
const SETTLING: Duration = Duration::from_secs(10);
/// How long an idle operator is looked at.
const IDLE: Duration = Duration::from_secs(20);

pub async fn measure(world: &World, options: &Options, report: &mut Report) -> Result<()> {
    eprintln!("memory and resync: {} resources", options.resources);
    let namespace = world.control_plane.namespace("steady").await?;
    let mut operator = world.operator(Some(&namespace), options.concurrency).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let empty = operator.resident_memory()?;
    let resources: Vec<_> =
        (0..options.resources).map(|number| world.resource(&namespace, number, "24h")).collect::<Result<_>>()?;
    let names = resources.iter().map(|resource| resource.name().to_owned()).collect();
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
    if options.runs(Part::Resync) {
        resync(world, options, &namespace, &names, &mut operator, report).await?;
    }
    if options.runs(Part::Memory) {
        unrelated(world, options, &namespace, operator, report).await?;
    }
    Ok(())
}

/// What large Secrets that are none of the operator's business do to its memory.
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

/// Processor time and writes of refreshes.
async fn resync(
    world: &World,
    options: &Options,
    namespace: &str,
    names: &HashSet<String>,
    operator: &mut Operator,
    report: &mut Report,
) -> Result<()> {
    eprintln!("resync: {} s idle, then {} s of refreshes every 30 s", IDLE.as_secs(), options.window);
    let before = operator.cpu_time()?;
    tokio::time::sleep(IDLE).await;
    let idle = (operator.cpu_time()? - before).div_f64(IDLE.as_secs_f64());

    refresh_every(world, options.concurrency, namespace, names, "30s").await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let passes = passes(operator).await?;
    let (before, since) = (operator.cpu_time()?, Timestamp::now());
    tokio::time::sleep(Duration::from_secs(options.window)).await;
    let busy = operator.cpu_time()? - before;
    let resyncs = self::passes(operator).await? - passes;
    let writes = world.control_plane.writes_by(&World::operator_user(), Some(namespace))?;
    let writes = writes.iter().filter(|entry| entry.time >= since).count();

    let own = busy.saturating_sub(idle.mul_f64(options.window as f64));
    let each = own.div_f64(resyncs.max(1.0));
    report.figure("resync: idle, processor time a second", milliseconds(idle));
    report.figure("resync: refreshes in the window", resyncs);
    report.limited(
        "resync: processor time of a refresh",
        format!("{:.3} ms", each.as_secs_f64() * 1e3),
        milliseconds(CPU_ALLOWED),
        resyncs > 0.0 && each < CPU_ALLOWED,
    );
    report.limited("resync: Kubernetes writes", writes, 0, writes == 0);
    Ok(())
}

/// Passes over resources so far.
async fn passes(operator: &mut Operator) -> Result<f64> {
    Ok(operator.metric("ccr_reconciles_total", &[]).await?.unwrap_or_default())
}

/// Makes every resource refresh this often, and waits until the operator has taken note.
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
