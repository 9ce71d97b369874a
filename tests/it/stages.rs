//! Resources that follow a stage: the target holds the certificate that the stage presents, and the former one for the
//! overlap.

mod budget;
mod descriptions;
mod failures;
mod follow;
mod guide;
mod rules;
mod spec;

use client_certificate_operator::api::{CertificateRole, CertificateStatus, ClientCertificateRef, StageStatus};
use operator_testing::certificates::NewCertificate;
use operator_testing::emulator::DEFAULT_REGION;
use operator_testing::wait::eventually;
use serde_json::{Value, json};

use crate::fixture::{ID, SOON, World, condition, conditions, data};

const API: &str = "a1b2c3d4e5";
const STAGE: &str = "prod";
const NEW: &str = "k2c0qe";
const NEWER: &str = "q4w8zt";
const READ: &str = "CertificateRead";

/// A spec that follows the stage, with more fields.
fn follows(more: Value) -> Value {
    let mut spec = json!({ "stage": { "restApiId": API, "stageName": STAGE }, "refreshInterval": "30s" });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec
}

/// A world whose stage presents [`ID`], before an operator runs.
async fn quiet_world(prefix: &str) -> World<'static> {
    let world = World::without_operator(prefix).await;
    [NEW, NEWER].iter().for_each(|id| _ = world.generate(NewCertificate::new().id(*id)));
    present(&world, Some(ID));
    world
}

async fn world(prefix: &str) -> World<'static> {
    let mut world = quiet_world(prefix).await;
    world.start_operator().await;
    world
}

fn present(world: &World<'_>, id: Option<&str>) {
    world.emulator.present(DEFAULT_REGION, API, STAGE, id);
}

impl World<'_> {
    /// Creates a resource that follows the stage, and waits until it is ready.
    async fn following(&self, name: &str, more: Value) -> ClientCertificateRef {
        self.create_resource(name, follows(more)).await;
        self.until_ready(name).await
    }
}

fn held(resource: &ClientCertificateRef) -> Vec<(&str, CertificateRole)> {
    let held = resource.status.iter().flat_map(|status| &status.certificates);
    held.map(|held| (held.id.as_str(), held.role.unwrap())).collect()
}

fn entry<'r>(resource: &'r ClientCertificateRef, id: &str) -> &'r CertificateStatus {
    resource.status.iter().flat_map(|status| &status.certificates).find(|held| held.id == id).unwrap()
}

fn stage(resource: &ClientCertificateRef) -> Option<&StageStatus> {
    resource.status.as_ref()?.stage.as_ref()
}

fn message<'r>(resource: &'r ClientCertificateRef, type_: &str) -> &'r str {
    &condition(resource, type_).unwrap().message
}

/// The bundle of these certificates for the target.
fn bundle(world: &World<'_>, ids: &[&str]) -> String {
    ids.iter().map(|id| world.pem(id)).collect()
}

async fn holds(world: &World<'_>, name: &str, ids: &[&str]) -> bool {
    data(&world.target(name).await, "ca.crt") == Some(&bundle(world, ids))
}
