//! ACM certificates, by ARN and on a stage: the target trusts their chain, and a re-import removes no certificate at
//! once.

mod chains;
mod imports;
mod refusals;

use client_certificate_operator::api::{CertificateRole, ClientCertificateRef};
use operator_testing::emulator::DEFAULT_REGION;
use operator_testing::private_ca::{Leaf, NewLeaf, PrivateCa};
use serde_json::{Value, json};

use crate::fixture::{SOON, World, condition, data};

const READ: &str = "CertificateRead";
const API: &str = "a1b2c3d4e5";
const STAGE: &str = "prod";

/// A root and a CA below it.
struct Cas {
    root: PrivateCa,
    issuing: PrivateCa,
}

impl Cas {
    fn new() -> Self {
        let root = PrivateCa::root("Payments Root");
        let issuing = root.intermediate("Payments Issuing");
        Cas { root, issuing }
    }

    fn leaf(&self) -> Leaf {
        self.issuing.issue(NewLeaf::new("api.example.com"))
    }

    /// The chain that a target has to hold.
    fn chain(&self) -> String {
        format!("{}{}", self.issuing.certificate(), self.root.certificate())
    }
}

fn by_arn(arn: &str, more: Value) -> Value {
    let mut spec = json!({ "acmCertificateArn": arn, "refreshInterval": "30s" });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec
}

fn on_stage(more: Value) -> Value {
    let stage = json!({ "restApiId": API, "stageName": STAGE, "acm": "Trust" });
    let mut spec = json!({ "stage": stage, "refreshInterval": "30s" });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec
}

/// The role of each certificate, and the length of its chain.
fn held(resource: &ClientCertificateRef) -> Vec<(CertificateRole, usize)> {
    let held = resource.status.iter().flat_map(|status| &status.certificates);
    held.map(|held| (held.role.unwrap(), held.chain.len())).collect()
}

fn message<'r>(resource: &'r ClientCertificateRef, type_: &str) -> &'r str {
    &condition(resource, type_).unwrap().message
}

async fn bundle(world: &World<'_>, name: &str) -> String {
    data(&world.target(name).await, "ca.crt").unwrap().to_owned()
}
