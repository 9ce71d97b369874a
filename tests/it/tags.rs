//! Certificates that are trusted by the tags of the spec, and the time at which a stage may be switched.

mod bounds;
pub mod guide;
mod lists;
mod lost;
mod soak;

use client_certificate_operator::api::{CertificateRole, CertificateStatus, ClientCertificateRef};
use operator_testing::certificates::NewCertificate;
use serde_json::{Value, json};

use crate::fixture::{ID, World, WorldOf, condition, conditions, data};

const OTHERS: &str = "AdditionalCertificatesRead";
const SWITCH: &str = "SafeToSwitch";
const NEW: &str = "k2c0qe";
const NEWER: &str = "q4w8zt";
/// The tag of these tests.
const TAG: (&str, &str) = ("app", "payments");

fn tagged(id: &str) -> NewCertificate {
    NewCertificate::new().id(id).tag(TAG.0, TAG.1)
}

/// A spec with pins, of which readers accept all, with the tag and more fields.
fn pins(more: Value) -> Value {
    let mut spec = json!({
        "additionalClientCertificateTags": { "app": "payments" },
        "refreshInterval": "30s",
        "target": { "keys": { "pins": "Sha256Pins" } },
    });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec
}

/// A world whose main certificate has the tag.
async fn world(prefix: &str) -> World<'static> {
    let world = World::start(prefix).await;
    world.emulator.set_tags(&crate::ground::source(ID), &[TAG]);
    world
}

fn held(resource: &ClientCertificateRef) -> Vec<(&str, CertificateRole)> {
    certificates(resource).iter().map(|held| (held.id.as_str(), held.role.unwrap())).collect()
}

fn certificates(resource: &ClientCertificateRef) -> &[CertificateStatus] {
    resource.status.as_ref().map(|status| status.certificates.as_slice()).unwrap_or_default()
}

fn entry<'r>(resource: &'r ClientCertificateRef, id: &str) -> Option<&'r CertificateStatus> {
    certificates(resource).iter().find(|held| held.id == id)
}

fn message<'r>(resource: &'r ClientCertificateRef, type_: &str) -> &'r str {
    &condition(resource, type_).unwrap().message
}

async fn pin_lines(world: &World<'_>, name: &str) -> usize {
    data(&world.target(name).await, "pins").unwrap().lines().count()
}
