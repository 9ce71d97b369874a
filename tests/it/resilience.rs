//! After any faults at any place have ended, the operator reaches the goal, and then makes no further write.

mod cluster;
mod crash;
mod crd;
mod full;
mod namespaces;
mod policy;
mod races;
mod requests;
mod rights;
mod silence;

use std::time::{Duration, Instant};

use k8s_openapi::ByteString;
use kube::api::Patch;
use operator_testing::wait::eventually;
use serde_json::json;

use crate::faults::{World, source};

/// A generous limit for a few doublings of a backoff.
const LONG: Duration = Duration::from_secs(90);
/// A time that is longer than the first waits of a backoff.
const QUIET: Duration = Duration::from_secs(3);

/// The steps of a user, in order. Each makes the operator send different requests.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A resource with a description is created.
    Create,
    /// The target is edited.
    Edit,
    /// The target is deleted.
    Delete,
    /// The spec names another target.
    Rename,
    /// The spec has another description.
    Describe,
}

const STORY: [Step; 5] = [Step::Create, Step::Edit, Step::Delete, Step::Rename, Step::Describe];

/// The state that the operator has to reach.
#[derive(Clone, Debug)]
struct Goal {
    id: String,
    generation: i64,
    target: String,
    not: Option<String>,
    description: String,
}

impl Goal {
    fn of(id: &str) -> Self {
        Goal { id: id.into(), generation: 0, target: id.into(), not: None, description: "first".into() }
    }

    async fn take(&mut self, world: &World<'_>, step: Step) {
        let id = self.id.clone();
        match step {
            Step::Create => {
                world.certificate(&id);
                let spec = json!({ "clientCertificateId": id, "description": self.description });
                self.generation = world.create(&id, spec).await;
            }
            Step::Edit => {
                let patch = Patch::Merge(json!({ "stringData": { "ca.crt": "edited", "more": "added" } }));
                world.secrets().patch(&self.target, &Default::default(), &patch).await.unwrap();
            }
            Step::Delete => drop(world.secrets().delete(&self.target, &Default::default()).await.unwrap()),
            Step::Rename => {
                self.not = Some(std::mem::replace(&mut self.target, format!("{id}-renamed")));
                self.generation = world.change(&id, json!({ "target": { "name": self.target } })).await;
            }
            Step::Describe => {
                self.description = "second".into();
                self.generation = world.change(&id, json!({ "description": "second" })).await;
            }
        }
    }

    /// Checks the goal. The error is the missing part.
    async fn missing(&self, world: &World<'_>) -> Result<(), String> {
        let resource = world.resources().get(&self.id).await.map_err(|error| error.to_string())?;
        let status = resource.status.unwrap_or_default();
        for type_ in ["Ready", "CertificateRead", "TargetWritten", "DescriptionSynced"] {
            let condition = status.conditions.iter().find(|condition| condition.type_ == type_);
            let is = |c: &&k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition| {
                c.status == "True" && c.observed_generation == Some(self.generation)
            };
            condition.filter(is).ok_or_else(|| format!("{type_}: {condition:?}"))?;
        }
        let secret = world.secrets().get_opt(&self.target).await.map_err(|error| error.to_string())?;
        let expected = [("ca.crt".to_owned(), ByteString(world.pem(&self.id).into_bytes()))].into();
        if secret.as_ref().is_none_or(|secret| secret.data.as_ref() != Some(&expected)) {
            return Err(format!("the target is {:?}", secret.and_then(|secret| secret.data)));
        }
        if let Some(not) = &self.not
            && world.secrets().get_opt(not).await.map_err(|error| error.to_string())?.is_some()
        {
            return Err(format!("{not} is still there"));
        }
        let description = world.emulator.certificate(&source(&self.id)).unwrap().description;
        if description == self.description { Ok(()) } else { Err(format!("API Gateway holds {description:?}")) }
    }

    async fn reached(&self, world: &World<'_>, what: &str) {
        eventually(LONG, &format!("{} is right: {what}", self.id), async || self.missing(world).await).await;
    }
}

/// Checks that the operator stops writing, and that another reconcile writes only the observed generation.
async fn makes_no_further_write(world: &World<'_>, id: &str) {
    let count = || world.writes().len();
    let start = Instant::now();
    let mut before = count();
    // The loop has a long pause, because the audit log is long, and reading it takes processor time from the operator.
    loop {
        tokio::time::sleep(QUIET).await;
        match std::mem::replace(&mut before, count()) {
            same if same == before => break,
            fewer => assert!(start.elapsed() < LONG, "it does not stop writing: {:?}", &world.writes()[fewer..]),
        }
    }
    let generation = world.touch(id).await;
    world.wait_ready(id, generation).await;
    let ours = &world.writes()[before..];
    assert!(ours.len() == 1 && ours[0].subresource == "status", "a look that finds nothing to do writes {ours:?}");
}
