//! The program: command line, composition, exit codes.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Parser;
use client_certificate_operator::aws::client::AwsGateway;
use client_certificate_operator::aws::rate_limit::Limits;
use client_certificate_operator::config::{Cli, Command, RunArgs};
use client_certificate_operator::controller::{self, Election, Parts, RulesFile};
use client_certificate_operator::health::Health;
use client_certificate_operator::kubernetes::cluster;
use client_certificate_operator::metrics::Metrics;
use client_certificate_operator::settings::Settings;
use client_certificate_operator::tasks::Tasks;
use client_certificate_operator::{api, listener, probe, server, telemetry, verify};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::{error, info, warn};

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Crd => print_crd().map(|()| ExitCode::SUCCESS),
        Command::Probe(args) => probe::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Verify(args) => verify::run(&args),
        Command::Run(args) => {
            let telemetry = telemetry::init(args.log_format);
            let result = run(args);
            telemetry.end();
            result.map(|()| ExitCode::SUCCESS)
        }
    };
    match result {
        Ok(code) => code,
        Err(failure) => {
            if tracing::dispatcher::has_been_set() {
                error!("{failure:#}");
            } else {
                eprintln!("client-certificate-operator: {failure:#}");
            }
            ExitCode::FAILURE
        }
    }
}

fn print_crd() -> anyhow::Result<()> {
    print!("{}", serde_saphyr::to_string(&api::crd())?);
    Ok(())
}

#[tokio::main]
async fn run(args: RunArgs) -> anyhow::Result<()> {
    let (tasks, ended) = Tasks::new();
    let (stop, stopping) = watch::channel(false);
    ended.supervise(operate(args, tasks, stop), stopping).await
}

async fn operate(args: RunArgs, tasks: Tasks, stop: watch::Sender<bool>) -> anyhow::Result<()> {
    let mut stopping = stop.subscribe();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tasks.spawn_finite("signals", async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        let _ = stop.send(true);
    });

    let namespaces: BTreeSet<String> = args.namespaces.into_iter().flatten().collect();
    let namespaces = Vec::from_iter(namespaces);
    let rules_file = args.rules_file.filter(|path| !path.as_os_str().is_empty());
    let rules = RulesFile::read(rules_file, namespaces.is_empty())?;

    let metrics = Metrics::default();
    let metrics = Arc::new(if args.per_resource_metrics { metrics } else { metrics.without_resources() });
    let (synced, is_synced) = watch::channel(false);
    let listener = listener::listen(args.listen).with_context(|| {
        format!("cannot listen on {} (set --listen to another address; port 0 takes a free port)", args.listen)
    })?;
    info!(version = env!("CARGO_PKG_VERSION"), address = %listener.local_addr()?, "serving metrics and probes");
    let health = Health::default();
    tasks.spawn("server", server::serve(listener, Arc::clone(&metrics), health.clone(), is_synced, stopping.clone()));

    let config = cluster::config().await?;

    let counted = Arc::clone(&metrics);
    // The search for the region may request the instance metadata, which can take seconds if there is none.
    let gateway = tokio::select! {
        gateway = AwsGateway::from_environment() => gateway,
        _ = stopping.wait_for(|stopping| *stopping) => return Ok(()),
    };
    let gateway =
        gateway.with_observer(Arc::new(move |operation, code, took| counted.gateway_called(operation, code, took)));
    let default_region = gateway.default_region();
    if default_region.is_none() {
        warn!("no AWS region is set; set AWS_REGION, or spec.region in every resource");
    }
    let gateway = Arc::new(gateway);
    tasks.spawn_finite("credentials", warn_of_missing_credentials(Arc::clone(&gateway)));

    let namespace = args.lease_namespace.filter(|namespace| !namespace.is_empty());
    let namespace = namespace.unwrap_or_else(|| config.default_namespace.clone());
    let settings = Settings {
        default_region,
        expiring_within: args.expiring_within,
        installation: format!("{namespace}/{}", args.lease_name),
        manage_descriptions: args.manage_descriptions,
        target_kinds: args.target_kinds,
    };
    let election = args.leader_elect.then(|| Election {
        namespace,
        name: args.lease_name,
        holder: args.holder.filter(|holder| !holder.is_empty()).unwrap_or_else(unique_holder),
    });

    controller::run(Parts {
        config,
        gateway,
        limits: Limits { rate: args.rate, burst: args.burst },
        metrics,
        settings,
        election,
        rules,
        namespaces,
        concurrency: args.concurrency,
        health,
        tasks,
        synced,
        stopping,
    })
    .await?;
    info!("stopped");
    Ok(())
}

/// No task waits for this check: credentials may come later, and every read loads them again.
async fn warn_of_missing_credentials(gateway: Arc<AwsGateway>) {
    if let Err(failure) = gateway.check_credentials().await {
        warn!(
            "{failure}; give the operator an IAM role (IRSA, EKS Pod Identity), or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; retrying"
        );
    }
}

/// A default name for a replica. Two replicas on one host have different names.
fn unique_holder() -> String {
    let host = hostname::get().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    format!("{host}-{:08x}", fastrand::u32(..))
}
