//! The memory and the calls to API Gateway of resources that follow stages, against as many resources that name the
//! same certificates.

use std::time::Duration;

use anyhow::Result;
use client_certificate_operator::api::{ClientCertificateRef, Stage};
use operator_testing::emulator::DEFAULT_REGION;
use operator_testing::script::Operation;

use crate::Options;
use crate::burst::Done;
use crate::report::{Report, mebibytes};
use crate::world::World;

/// The number of stages, which the resources use in turn: the default quota of certificates.
const STAGES: usize = 60;
/// The greatest ratio of the memory for a stage to that for a certificate.
const MEMORY_ALLOWED: f64 = 1.1;
/// The time in which the allocator returns buffers and the caches become current.
const SETTLING: Duration = Duration::from_secs(10);

pub async fn measure(world: &World, options: &Options, report: &mut Report) -> Result<()> {
    eprintln!("stages: {} resources over {STAGES} certificates, then over as many stages", options.resources);
    let certificates = world.generate_in(DEFAULT_REGION, STAGES);
    for (number, id) in certificates.ids.iter().enumerate() {
        world.emulator.present(DEFAULT_REGION, &api(number), "prod", Some(id));
    }
    let named = |namespace: &str, number: usize| certificates.resource(namespace, number, "24h");
    let by_id = resident(world, options, named).await?;
    world.emulator.clear_calls();
    let followed = |namespace: &str, number: usize| {
        let mut resource = certificates.resource(namespace, number, "24h")?;
        resource.spec.client_certificate_id = None;
        resource.spec.stage =
            Some(Stage { rest_api_id: api(number % STAGES), stage_name: "prod".into(), ..Stage::default() });
        Ok(resource)
    };
    let by_stage = resident(world, options, followed).await?;
    let [stages, lists, reads] =
        [Operation::GetStages, Operation::List, Operation::Get].map(|op| world.emulator.count(op));
    let ratio = by_stage as f64 / by_id as f64;
    report.figure(
        &format!("stages: memory of {} resources that name certificates", options.resources),
        mebibytes(by_id as f64),
    );
    report.figure(&format!("stages: memory of as many that follow {STAGES} stages"), mebibytes(by_stage as f64));
    let what = "stages: memory of following over naming";
    report.limited(what, format!("{ratio:.2}"), MEMORY_ALLOWED, ratio <= MEMORY_ALLOWED);
    report.limited("stages: calls of GetStages", stages, STAGES, stages <= STAGES);
    report.limited("stages: calls for the certificates", lists + reads, 2, lists + reads <= 2);
    Ok(())
}

fn api(number: usize) -> String {
    format!("api{number:04}")
}

/// The resident memory of an operator with these resources, all of them Ready.
async fn resident(
    world: &World,
    options: &Options,
    resource: impl Fn(&str, usize) -> Result<ClientCertificateRef>,
) -> Result<u64> {
    let namespace = world.control_plane.namespace("stages").await?;
    let mut operator = world.operator(Some(&namespace), options.concurrency).await?;
    let resources: Vec<_> = (0..options.resources).map(|number| resource(&namespace, number)).collect::<Result<_>>()?;
    let mut done = Done::watch(world, &namespace, &resources).await?;
    world.create_all(resources, options.concurrency).await?;
    done.at().await?;
    drop(done);
    tokio::time::sleep(SETTLING).await;
    let memory = operator.resident_memory()?;
    operator.terminate(Duration::from_secs(20)).await?;
    Ok(memory)
}
