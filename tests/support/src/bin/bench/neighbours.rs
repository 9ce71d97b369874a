//! The effect of one account that is throttled to zero on the resources of another account.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use client_certificate_operator::api::{AssumeRole, ClientCertificateRef};
use kube::api::{Api, PostParams};
use operator_testing::certificates::NewCertificate;
use operator_testing::emulator::{HOME_ACCOUNT, NewRole, RateLimit};
use operator_testing::script::Operation;

use crate::Options;
use crate::report::{Report, milliseconds, quantile};
use crate::watching::Watching;
use crate::world::World;

const ACCOUNT: &str = "444455556666";
const ROLE: &str = "arn:aws:iam::444455556666:role/certificates";
const REGION: &str = "xx-shared-1";
/// The number of resources of the throttled account, each with another certificate.
const BESIDE: usize = 500;
/// The greatest ratio of the slowest time of the other account.
const ALLOWED: f64 = 2.0;

/// The times of the resources of the other account, and the number of its calls.
struct Figures {
    latencies: Vec<Duration>,
    calls: usize,
}

pub async fn measure(world: &World, options: &Options, report: &mut Report) -> Result<()> {
    eprintln!("neighbours: {} resources of one account, beside {BESIDE} of another", options.neighbours);
    world.emulator.add_role(NewRole::new(ROLE));
    world.emulator.set_rate_limit(Some(RateLimit::default()));
    let beside = world.generate_in(REGION, BESIDE);
    let account = world.emulator.account(ACCOUNT);
    let make = |_| account.generate(REGION, NewCertificate::new().shared_key()).id;
    let ids: Vec<String> = (0..options.neighbours).map(make).collect();
    let run = async |is_throttled: bool| {
        world.emulator.set_rate_limit_of(HOME_ACCOUNT, is_throttled.then(RateLimit::nothing));
        let namespace = world.control_plane.namespace("neighbours").await?;
        let rules = tempfile::NamedTempFile::new()?;
        std::fs::write(rules.path(), format!("rules: [{{namespaces: [{namespace}], roles: ['{ROLE}']}}]"))?;
        let path = rules.path().to_str().context("a path that is not UTF-8")?;
        let rules_file = [format!("--rules-file={path}")];
        let mut operator = world.operator_with(Some(&namespace), options.concurrency, &rules_file).await?;
        let of_neighbour = (0..BESIDE).map(|number| {
            let mut resource = beside.resource(&namespace, number, "30s")?;
            resource.metadata.name = Some(format!("beside-{number}"));
            Ok(resource)
        });
        world.create_all(of_neighbour.collect::<Result<_>>()?, options.concurrency).await?;
        // By then, the resources are mirrored or have the reason Throttled.
        tokio::time::sleep(Duration::from_secs(5)).await;
        world.emulator.clear_calls();
        let figures = one_by_one(world, &namespace, &ids).await?;
        operator.terminate(Duration::from_secs(20)).await?;
        Ok::<_, anyhow::Error>(figures)
    };
    let (well, throttled) = (run(false).await?, run(true).await?);
    world.emulator.set_rate_limit_of(HOME_ACCOUNT, None);
    world.emulator.set_rate_limit(None);

    let (before, beside) = (quantile(&well.latencies, 0.99), quantile(&throttled.latencies, 0.99));
    report.figure("neighbours: create to Secret, 99th percentile, all well", milliseconds(before));
    report.figure("neighbours: the same beside an account that is throttled to zero", milliseconds(beside));
    let ratio = beside.as_secs_f64() / before.as_secs_f64();
    report.limited("neighbours: ratio of the two", format!("{ratio:.2}"), ALLOWED, ratio <= ALLOWED);
    let (calls, limit) = (throttled.calls, well.calls);
    report.limited("neighbours: calls of the account that is well", calls, limit, calls <= limit);
    Ok(())
}

/// Creates resources that read by the role, and measures the time of each until its Secret exists.
async fn one_by_one(world: &World, namespace: &str, ids: &[String]) -> Result<Figures> {
    let mut secrets = Watching::secrets(&world.author, namespace).await?;
    let resources: Api<ClientCertificateRef> = Api::namespaced(world.author.clone(), namespace);
    let mut latencies = Vec::new();
    for number in 0..ids.len() {
        let mut resource = World::resource_of(namespace, number, ids, "30s")?;
        resource.spec.region = Some(REGION.to_owned());
        resource.spec.assume_role = Some(AssumeRole { role_arn: ROLE.to_owned(), external_id: None });
        let created = resources.create(&PostParams::default(), &resource).await?;
        let answered = Instant::now();
        latencies.push(secrets.one(created.name()).await?.saturating_duration_since(answered));
    }
    let operations = [Operation::Get, Operation::List, Operation::Update];
    let calls = operations.map(|operation| world.emulator.count_in(operation, ACCOUNT, REGION)).iter().sum();
    Ok(Figures { latencies, calls })
}
