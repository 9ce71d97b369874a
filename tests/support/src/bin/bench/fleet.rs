//! Very many resources with as many certificates: their cost in memory, calls and writes, also after a restart.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;
use client_certificate_operator::api::ClientCertificateRef;
use jiff::Timestamp;
use operator_testing::emulator::RateLimit;
use operator_testing::operator::Operator;
use operator_testing::script::Operation;
use operator_testing::wait::eventually;

use crate::Options;
use crate::burst::Done;
use crate::report::{Report, mebibytes};
use crate::steady;
use crate::world::World;

const MEMORY_ALLOWED: u64 = 160 << 20;
/// The greatest number of certificates in a page of `GetClientCertificates`.
const PAGE: usize = 500;
/// The greatest number of calls in addition to the pages during the first read of the certificates.
const MORE_AT_FIRST: usize = 5;
const SETTLING: Duration = Duration::from_secs(10);
/// The time for which an idle operator is measured.
const IDLE: Duration = Duration::from_secs(20);
/// The default refresh interval.
const USUAL_INTERVAL: Duration = Duration::from_secs(300);
const HOUR: Duration = Duration::from_secs(3600);
const LIMIT: Duration = Duration::from_secs(300);

/// A namespace full of resources.
struct Fleet<'a> {
    world: &'a World,
    options: &'a Options,
    namespace: String,
    resources: Vec<ClientCertificateRef>,
    certificates: usize,
    title: String,
}

pub async fn measure(world: &World, options: &Options, report: &mut Report) -> Result<()> {
    let last = options.fleet_certificates.len() - 1;
    for (round, count) in options.fleet_certificates.iter().enumerate() {
        eprintln!("fleet: making {count} certificates");
        let certificates = world.generate_in(&format!("xx-fleet-{round}"), *count);
        let namespace = world.control_plane.namespace("fleet").await?;
        let resource = |number| certificates.resource(&namespace, number, "24h");
        let resources = (0..options.fleet_resources).map(resource).collect::<Result<_>>()?;
        let title = format!("fleet of {} over {count} certificates", options.fleet_resources);
        let fleet = Fleet { world, options, namespace, resources, certificates: *count, title };
        fleet.mirrored(report).await?;
        let mut operator = fleet.restarted(report).await?;
        if round == last {
            fleet.refreshed(&operator, report).await?;
        }
        operator.terminate(Duration::from_secs(20)).await?;
    }
    world.emulator.set_rate_limit(None);
    Ok(())
}

impl Fleet<'_> {
    /// All resources exist when the operator starts.
    async fn mirrored(&self, report: &mut Report) -> Result<()> {
        let title = &self.title;
        let count = self.resources.len();
        eprintln!("fleet: creating {count} resources: a minute for 10,000");
        self.world.create_all(self.resources.clone(), self.options.concurrency).await?;
        eprintln!("fleet: mirroring them: a minute or two for 10,000");
        let mut done = Done::watch(self.world, &self.namespace, &self.resources).await?;
        self.world.emulator.clear_calls();
        self.world.emulator.set_rate_limit(Some(RateLimit::default()));
        let (start, since) = (Instant::now(), Timestamp::now());
        let mut operator = self.world.operator(Some(&self.namespace), self.options.concurrency).await?;
        let took = done.at().await?.saturating_duration_since(start);
        drop(done);
        tokio::time::sleep(SETTLING).await;

        report.figure(
            &format!("{title}: {count} mirrored, from the start of the operator"),
            format!("{:.0} s", took.as_secs_f64()),
        );
        self.report_memory("after mirroring", &operator, report)?;
        self.report_calls("to mirror them", self.pages() + MORE_AT_FIRST, report);
        for (kind, writes) in self.writes(since)? {
            report.figure(&format!("{title}: Kubernetes writes to mirror them, {kind}"), writes);
        }
        operator.terminate(Duration::from_secs(20)).await?;
        Ok(())
    }

    /// A new process finds all targets up to date.
    async fn restarted(&self, report: &mut Report) -> Result<Operator> {
        let title = &self.title;
        eprintln!("fleet: starting the operator again");
        self.world.emulator.clear_calls();
        let (start, since) = (Instant::now(), Timestamp::now());
        let mut operator = self.world.operator(Some(&self.namespace), self.options.concurrency).await?;
        let ready = start.elapsed();
        self.wait_for_passes(&mut operator).await;
        let passed = start.elapsed();
        tokio::time::sleep(SETTLING).await;

        report.figure(&format!("{title}: restart, until ready"), format!("{:.1} s", ready.as_secs_f64()));
        report.figure(
            &format!("{title}: restart, until every resource was looked at"),
            format!("{:.1} s", passed.as_secs_f64()),
        );
        self.report_memory("after a restart", &operator, report)?;
        self.report_calls("after a restart", self.pages(), report);
        let writes = self.writes(since)?;
        for (kind, writes) in &writes {
            report.figure(&format!("{title}: Kubernetes writes after a restart, {kind}"), writes);
        }
        let writes: usize = writes.values().sum();
        report.limited(&format!("{title}: Kubernetes writes after a restart"), writes, 0, writes == 0);
        Ok(operator)
    }

    /// Refreshes without a change, at a shorter interval than the default, so that the window contains some.
    async fn refreshed(&self, operator: &Operator, report: &mut Report) -> Result<()> {
        let title = &self.title;
        let (interval, window) = (self.options.fleet_interval, self.options.fleet_window);
        eprintln!("fleet: {} s idle", IDLE.as_secs());
        let before = operator.cpu_time()?;
        tokio::time::sleep(IDLE).await;
        let idle = (operator.cpu_time()? - before).div_f64(IDLE.as_secs_f64());

        eprintln!("fleet: making every resource refresh every {interval} s: a minute or two for 10,000");
        let names = self.resources.iter().map(|resource| resource.name().to_owned()).collect();
        let every = format!("{interval}s");
        steady::refresh_every(self.world, self.options.concurrency, &self.namespace, &names, &every).await?;
        tokio::time::sleep(SETTLING).await;
        eprintln!("fleet: watching refreshes for {window} s");
        self.world.emulator.clear_calls();
        let (before, since) = (operator.cpu_time()?, Timestamp::now());
        tokio::time::sleep(Duration::from_secs(window)).await;
        let busy = operator.cpu_time()? - before;
        let calls = self.calls();
        let writes: usize = self.writes(since)?.values().sum();

        // The number of refreshes is inversely proportional to the interval. The cost of idling is the same.
        let window = window as f64;
        let refreshes_an_hour = HOUR.as_secs_f64() / USUAL_INTERVAL.as_secs_f64();
        let per_refresh = interval as f64 / window;
        for (operation, calls) in &calls {
            report.figure(
                &format!("{title}: refreshes every {interval} s for {window} s, {operation:?}"),
                format!("{calls}, computed for every 5 min: {:.0}/h", *calls as f64 * per_refresh * refreshes_an_hour),
            );
        }
        let a_refresh = calls.iter().map(|(_, calls)| *calls as f64).sum::<f64>() * per_refresh;
        let pages = self.pages();
        report.limited(
            &format!("{title}: calls to refresh all once"),
            format!("{a_refresh:.0}"),
            pages,
            a_refresh <= pages as f64,
        );
        let own = busy.saturating_sub(idle.mul_f64(window)).mul_f64(per_refresh);
        report.figure(&format!("{title}: processor time to refresh all once"), format!("{:.2} s", own.as_secs_f64()));
        report.figure(&format!("{title}: processor time, idle"), format!("{:.0} s/h", (idle * 3600).as_secs_f64()));
        report.figure(
            &format!("{title}: processor time, computed for a refresh every 5 min"),
            format!("{:.0} s/h", (idle * 3600 + own.mul_f64(refreshes_an_hour)).as_secs_f64()),
        );
        report.limited(&format!("{title}: Kubernetes writes while refreshing"), writes, 0, writes == 0);
        self.report_memory("after refreshes", operator, report)
    }

    /// The number of calls that read every certificate once.
    fn pages(&self) -> usize {
        self.certificates.div_ceil(PAGE)
    }

    fn report_memory(&self, when: &str, operator: &Operator, report: &mut Report) -> Result<()> {
        let title = &self.title;
        let resident = operator.resident_memory()?;
        let what = format!("{title}: memory {when}");
        let is_kept = resident <= MEMORY_ALLOWED;
        report.limited(&what, mebibytes(resident as f64), mebibytes(MEMORY_ALLOWED as f64), is_kept);
        report.figure(&format!("{title}: highest until then, {when}"), mebibytes(operator.peak_memory()? as f64));
        Ok(())
    }

    fn report_calls(&self, when: &str, limit: usize, report: &mut Report) {
        let title = &self.title;
        let calls = self.calls();
        for (operation, calls) in &calls {
            report.figure(&format!("{title}: calls {when}, {operation:?}"), calls);
        }
        let calls: usize = calls.iter().map(|(_, calls)| calls).sum();
        report.limited(&format!("{title}: calls {when}"), calls, limit, calls <= limit);
        let throttled = self.world.emulator.throttled();
        report.limited(&format!("{title}: of these throttled, {when}"), throttled, 0, throttled == 0);
    }

    fn calls(&self) -> Vec<(Operation, usize)> {
        let operations = [Operation::Get, Operation::List, Operation::Update];
        operations.into_iter().map(|operation| (operation, self.world.emulator.count(operation))).collect()
    }

    /// The operator's writes by verb and kind.
    fn writes(&self, since: Timestamp) -> Result<BTreeMap<String, usize>> {
        let mut writes = BTreeMap::new();
        for entry in self.world.control_plane.writes_by(&World::operator_user(), Some(&self.namespace))? {
            if entry.time >= since {
                *writes.entry(World::kind_of(&entry)).or_default() += 1;
            }
        }
        Ok(writes)
    }

    /// Waits until the operator has reconciled as many resources as exist.
    async fn wait_for_passes(&self, operator: &mut Operator) {
        let count = self.resources.len() as f64;
        eventually(LIMIT, "a pass over every resource", async || {
            let passes = operator.metric("ccr_reconciles_total", &[]).await.ok()??;
            (passes >= count).then_some(())
        })
        .await;
    }
}
