//! The objects of an earlier version with this one: its CRD, its statuses, its targets.
//!
//! `upgrade/recorded.json` contains the objects of the operator of commit 10949e2, the last one before statuses had
//! PEMs: the resources of the restart tests, each in its state, their targets, and the certificates of API Gateway.
//! `upgrade/crd.yaml` is the CRD of that commit.

use std::collections::BTreeMap;
use std::process::Output;
use std::time::Duration;

use client_certificate_operator::api::{ClientCertificateRef, crd};
use client_certificate_operator::aws::gateway::ClientCertificate;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use operator_testing::certificates::NewCertificate;
use operator_testing::control_plane::ControlPlane;
use operator_testing::emulator::DEFAULT_REGION;
use operator_testing::wait::eventually;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::chart::with_input;
use crate::fixture::{SOON, World, conditions};
use crate::ground::{role, source, started};
use crate::restart::gone;

const EARLIER_CRD: &str = include_str!("upgrade/crd.yaml");
const FIELD_MANAGER: &str = "client-certificate-operator";
/// The time for which an operator is checked. The least `refreshInterval` is longer.
const WATCHED: Duration = Duration::from_secs(20);
/// An address without a listener.
const NOWHERE: &str = "http://127.0.0.1:9";
/// The annotations that a write may add to a target, from this version on.
const ADDED: [&str; 2] = ["apigateway.clientcert.dev/object", "apigateway.clientcert.dev/owner"];
/// The resources whose certificates can all be read, so that this version has each PEM after the first read.
const READABLE: [&str; 8] = ["healthy", "two", "older", "younger", "truststore", "map", "deleted", "edited"];

/// The resource with an additional certificate that API Gateway no longer has. The earlier operator kept it in the
/// target until its process ended. This version removes it after the first read.
const ENDS_TRUST: (&str, &str) = ("more-gone", "moregone");

#[derive(Deserialize)]
struct Recorded {
    namespace: String,
    resources: Vec<Value>,
    targets: Vec<Value>,
    certificates: Vec<RecordedCertificate>,
}

#[derive(Deserialize)]
struct RecordedCertificate {
    new: NewCertificate,
    pem: String,
}

impl Recorded {
    /// The recording, with this namespace in place of its own.
    fn read(namespace: &str) -> Self {
        let text = include_str!("upgrade/recorded.json");
        let first: Recorded = serde_json::from_str(text).unwrap();
        serde_json::from_str(&text.replace(&first.namespace, namespace)).unwrap()
    }

    fn resource(&self, name: &str) -> &Value {
        self.resources.iter().find(|resource| resource["metadata"]["name"] == name).unwrap()
    }
}

fn dynamic(world: &World<'_>) -> Api<DynamicObject> {
    let kind = ApiResource::erase::<ClientCertificateRef>(&());
    Api::namespaced_with(world.client.clone(), &world.namespace, &kind)
}

/// Writes a status like the earlier operator: by a merge patch.
async fn patch_status(world: &World<'_>, name: &str, status: &Value) -> kube::Result<DynamicObject> {
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    dynamic(world).patch_status(name, &params, &Patch::Merge(json!({ "status": status }))).await
}

/// The status of the recording, with the generation of the resource here.
fn status_of(recorded: &Value, generation: i64) -> Value {
    let mut status = recorded["status"].clone();
    status["observedGeneration"] = json!(generation);
    for condition in status["conditions"].as_array_mut().unwrap() {
        condition["observedGeneration"] = json!(generation);
    }
    status
}

/// A control plane with the CRD of the earlier version, applied by its documented command.
async fn with_the_earlier_crd() -> ControlPlane {
    let control_plane = ControlPlane::start().await.unwrap();
    succeeds(&kubectl(&control_plane, &["apply", "--filename=-"], EARLIER_CRD));
    succeeds(&kubectl(&control_plane, &["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"], ""));
    control_plane.apply_yaml(role()).await.unwrap();
    control_plane
}

fn kubectl(control_plane: &ControlPlane, args: &[&str], input: &str) -> Output {
    let mut kubectl = control_plane.kubectl();
    kubectl.args(args);
    with_input(kubectl, input)
}

fn succeeds(output: &Output) {
    assert!(output.status.success(), "{output:?}");
}

/// Applies the CRD of this version.
fn upgrade_crd(control_plane: &ControlPlane, how: &[&str]) {
    let crd = serde_json::to_string(&crd()).unwrap();
    succeeds(&kubectl(control_plane, &[&["apply", "--filename=-"], how].concat(), &crd));
}

/// A namespace with the objects of the earlier operator, and API Gateway in the same state.
async fn restored<'a>(control_plane: &'a ControlPlane, prefix: &str) -> World<'a> {
    let world: World<'_> = World::on(control_plane, prefix).await;
    let recorded = Recorded::read(&world.namespace);
    for RecordedCertificate { new, pem } in &recorded.certificates {
        let id = new.id.clone().unwrap();
        let _: ClientCertificate = world.emulator.generate(DEFAULT_REGION, new.clone().shared_key());
        assert!(world.emulator.set_pem(&source(&id), pem));
    }
    for (id, fault) in gone() {
        world.emulator.set_faults_of(id, fault);
    }
    let mut uids = BTreeMap::new();
    for object in &recorded.resources {
        let name = object["metadata"]["name"].as_str().unwrap();
        let resource: ClientCertificateRef = serde_json::from_value(json!({
            "metadata": { "name": name, "annotations": object["metadata"]["annotations"] },
            "spec": object["spec"],
        }))
        .unwrap();
        let created = world.resources().create(&PostParams::default(), &resource).await.unwrap();
        let status = status_of(object, created.metadata.generation.unwrap());
        patch_status(&world, name, &status).await.unwrap();
        uids.insert(object["metadata"]["uid"].as_str().unwrap(), created.metadata.uid.unwrap());
        if name == "older" {
            tokio::time::sleep(Duration::from_millis(1100)).await;
        }
    }
    let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    for target in &recorded.targets {
        let mut target = target.clone();
        let metadata = target["metadata"].as_object_mut().unwrap();
        for field in ["uid", "resourceVersion", "creationTimestamp"] {
            metadata.remove(field);
        }
        let text = uids.iter().fold(target.to_string(), |text, (old, new)| text.replace(old, new));
        if target["kind"] == "Secret" {
            let secret: Secret = serde_json::from_str(&text).unwrap();
            world.secrets().create(&params, &secret).await.unwrap();
        } else {
            let maps: Api<ConfigMap> = Api::namespaced(world.client.clone(), &world.namespace);
            maps.create(&params, &serde_json::from_str(&text).unwrap()).await.unwrap();
        }
    }
    world
}

/// The objects that an upgrade must not change.
struct Before {
    resources: BTreeMap<String, ClientCertificateRef>,
    targets: BTreeMap<String, Value>,
}

async fn look(world: &World<'_>) -> Before {
    let managed = ListParams::default().labels("apigateway.clientcert.dev/managed=true");
    let maps: Api<ConfigMap> = Api::namespaced(world.client.clone(), &world.namespace);
    let secrets = world.secrets().list(&managed).await.unwrap().into_iter().map(|secret| json!(secret));
    let targets = secrets.chain(maps.list(&managed).await.unwrap().into_iter().map(|map| json!(map)));
    let resources = world.resources().list(&ListParams::default()).await.unwrap();
    Before {
        resources: resources.into_iter().map(|it| (it.metadata.name.clone().unwrap(), it)).collect(),
        targets: targets.map(|it| (it["metadata"]["name"].as_str().unwrap().to_owned(), it)).collect(),
    }
}

/// A target without the fields that a write of the annotations changes.
fn but_for_the_annotations(target: &Value) -> Value {
    let mut target = target.clone();
    let metadata = target["metadata"].as_object_mut().unwrap();
    metadata.remove("managedFields");
    metadata.remove("resourceVersion");
    let annotations = metadata["annotations"].as_object_mut().unwrap();
    ADDED.iter().for_each(|added| drop(annotations.remove(*added)));
    target
}

/// Every condition that the earlier version had too, without its message: `Type=Status Reason since time`.
fn states(resource: &ClientCertificateRef) -> Vec<String> {
    let conditions = resource.status.iter().flat_map(|status| &status.conditions);
    let mut states: Vec<_> = conditions
        .filter(|it| it.type_ != "SafeToSwitch")
        .map(|it| format!("{}={} {} since {}", it.type_, it.status, it.reason, it.last_transition_time.0))
        .collect();
    states.sort();
    states
}

/// The number of the operator's writes of the status of each resource, and the refused writes.
fn status_writes(world: &World<'_>) -> (BTreeMap<String, usize>, Vec<String>) {
    let (mut counts, mut refused) = (BTreeMap::new(), Vec::new());
    for entry in world.all_writes() {
        if (entry.resource.as_str(), entry.subresource.as_str()) == ("clientcertificaterefs", "status") {
            // A conflict writes nothing and causes another reconcile, so it does not count.
            if entry.code < 300 {
                *counts.entry(entry.name.clone()).or_default() += 1;
            } else if entry.code != 409 {
                refused.push(format!("{}: a {} of its status is answered {}", entry.name, entry.verb, entry.code));
            }
        }
    }
    (counts, refused)
}

/// The changes of conditions, events and targets.
async fn changes(world: &World<'_>, before: &Before, aws_is_up: bool) -> Vec<String> {
    let after = look(world).await;
    let mut wrong = Vec::new();
    let ends_trust = |name: &str| aws_is_up && name == ENDS_TRUST.0;
    for (name, resource) in &before.resources {
        let (before, now) = (states(resource), states(&after.resources[name]));
        if before != now {
            let gone: Vec<_> = before.iter().filter(|one| !now.contains(one)).collect();
            let new: Vec<_> = conditions(&after.resources[name]);
            wrong.push(format!("{name}: its conditions changed: {gone:?} went, now {new:#?}"));
        }
        let ids = |resource: &ClientCertificateRef| -> Vec<String> {
            resource.status.iter().flat_map(|status| &status.certificates).map(|held| held.id.clone()).collect()
        };
        let expected = if ends_trust(name) { vec![ENDS_TRUST.1.to_owned()] } else { ids(resource) };
        if expected != ids(&after.resources[name]) {
            wrong.push(format!("{name}: it holds {:?} now", ids(&after.resources[name])));
        }
    }
    let events: Api<Event> = Api::namespaced(world.client.clone(), &world.namespace);
    for event in events.list(&ListParams::default()).await.unwrap() {
        let name = event.regarding.and_then(|it| it.name).unwrap_or_default();
        if !ends_trust(&name) {
            wrong.push(format!("{name}: an event was reported: {:?} {:?}", event.reason, event.note));
        }
    }
    for (name, target) in &before.targets {
        match after.targets.get(name) {
            Some(now) if ends_trust(name) || but_for_the_annotations(now) == but_for_the_annotations(target) => {}
            _ => wrong.push(format!("{name}: its target was written")),
        }
    }
    wrong
}

/// Starts this version with the objects of the earlier one, and returns the faults.
async fn upgraded(world: &World<'_>, aws_is_up: bool) -> Vec<String> {
    let before = look(world).await;
    let builder = if aws_is_up { world.builder() } else { world.builder().aws_endpoint(NOWHERE) };
    let operator = started(&builder).await;
    tokio::time::sleep(WATCHED).await;
    let (counts, mut wrong) = status_writes(world);
    wrong.extend(changes(world, &before, aws_is_up).await);
    let after = look(world).await;
    for (name, resource) in &after.resources {
        let count = counts.get(name).copied().unwrap_or_default();
        if count != 1 {
            wrong.push(format!("{name}: its status was written {count} times"));
        }
        let status = resource.status.as_ref().unwrap();
        if status.client_certificate_id != resource.spec.client_certificate_id {
            wrong.push(format!("{name}: status.clientCertificateId is {:?}", status.client_certificate_id));
        }
        let main =
            status.certificates.iter().find(|held| Some(&held.id) == resource.spec.client_certificate_id.as_ref());
        if status.expiration_date != main.and_then(|main| main.expiration_date) {
            wrong.push(format!("{name}: status.expirationDate is {:?}", status.expiration_date));
        }
        let is_complete = status.certificates.iter().all(|held| held.pem.is_some() && held.role.is_some());
        if aws_is_up && READABLE.contains(&name.as_str()) && !is_complete {
            wrong.push(format!("{name}: a certificate has no PEM or no role: {:?}", status.certificates));
        }
    }
    drop(operator);
    wrong
}

#[tokio::test]
async fn the_first_reconcile_of_a_new_version_writes_each_status_once_and_a_downgrade_accepts_it() {
    let control_plane = with_the_earlier_crd().await;
    let world = restored(&control_plane, "up").await;
    upgrade_crd(&control_plane, &[]);
    let wrong = upgraded(&world, true).await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    // Restores the earlier CRD, and the statuses of the earlier operator.
    succeeds(&kubectl(&control_plane, &["apply", "--filename=-"], EARLIER_CRD));
    for recorded in Recorded::read(&world.namespace).resources {
        let name = recorded["metadata"]["name"].as_str().unwrap();
        let resource = world.resource(name).await;
        let status = status_of(&recorded, resource.metadata.generation.unwrap());
        let written = eventually(SOON, &format!("{name}: the earlier CRD is in force"), async || {
            let written = patch_status(&world, name, &status).await.unwrap().data;
            if written["status"]["clientCertificateId"].is_null() { Ok(written) } else { Err("not yet") }
        })
        .await;
        assert_eq!(written["status"], status, "{name}");
    }
}

#[tokio::test]
async fn the_first_reconcile_of_a_new_version_writes_each_status_once_even_while_aws_is_down() {
    let control_plane = with_the_earlier_crd().await;
    let world = restored(&control_plane, "down").await;
    upgrade_crd(&control_plane, &[]);
    let wrong = upgraded(&world, false).await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn a_new_version_works_before_the_new_crd_is_installed() {
    let control_plane = with_the_earlier_crd().await;
    let world = restored(&control_plane, "early").await;
    let before = look(&world).await;
    let operator = started(&world.builder()).await;
    tokio::time::sleep(WATCHED).await;
    let (counts, mut wrong) = status_writes(&world);
    wrong.extend(changes(&world, &before, true).await);
    // The API server drops the fields that the earlier CRD lacks, so each reconcile writes. A write that changes no
    // stored field wakes no reconcile, so AWS's answers limit the number of writes: a certificate with the answer 500
    // is read five times in this time, and throttling of the account in between can change its outcome twice each time.
    wrong
        .extend(counts.iter().filter(|(_, count)| **count > 12).map(|(name, count)| format!("{name}: {count} writes")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    world.patch("healthy", json!({ "spec": { "target": { "labels": { "team": "a" } } } })).await;
    world.until_ready("healthy").await;

    // The status is complete after the next reconcile.
    upgrade_crd(&control_plane, &["--server-side", "--force-conflicts"]);
    world.patch("healthy", json!({ "spec": { "target": { "labels": { "team": "b" } } } })).await;
    let resource = world.until_ready("healthy").await;
    assert!(resource.status.unwrap().certificates[0].pem.is_some());
    drop(operator);
}

#[tokio::test]
async fn the_new_crd_accepts_stored_resources_every_way_of_applying_and_statuses_of_the_earlier_version() {
    let control_plane = with_the_earlier_crd().await;
    let world = restored(&control_plane, "applied").await;
    let recorded = Recorded::read(&world.namespace);
    let ways: [(&str, &[&str]); 3] = [
        ("by-apply", &["apply"]),
        ("by-server-side", &["apply", "--server-side"]),
        ("by-flux", &["apply", "--server-side", "--force-conflicts", "--field-manager=kustomize-controller"]),
    ];
    let apply = async |name: &str, way: &[&str], team: &str| {
        let object = json!({
            "apiVersion": "apigateway.clientcert.dev/v1alpha1",
            "kind": "ClientCertificateRef",
            "metadata": { "name": name, "namespace": world.namespace },
            "spec": { "clientCertificateId": "two", "additionalClientCertificateIds": ["more0"], "target": { "labels": { "team": team } } },
        });
        succeeds(&kubectl(&control_plane, &[way, &["--filename=-"]].concat(), &object.to_string()));
    };
    for (name, way) in ways {
        apply(name, way, "a").await;
        patch_status(&world, name, &status_of(recorded.resource("two"), 1)).await.unwrap();
    }
    let before = look(&world).await;

    for how in [
        &["--dry-run=server"][..],
        &["--server-side", "--force-conflicts", "--field-manager=kustomize-controller"],
        &["--server-side", "--force-conflicts"],
    ] {
        upgrade_crd(&control_plane, how);
    }
    assert!(look(&world).await.resources.iter().eq(before.resources.iter()), "what is stored stays as it is");
    for (name, way) in ways {
        for team in ["b", "c"] {
            apply(name, way, team).await;
        }
        let resource = world.resource(name).await;
        assert_eq!(resource.spec.target.labels["team"], "c");
        assert_eq!(resource.status, before.resources[name].status, "{name}");
    }
    for (name, resource) in &before.resources {
        let spec = json!({ "spec": { "target": { "annotations": { "example.com/touched": "yes" } } } });
        let patched = world.patch(name, spec).await;
        assert_eq!(patched.status, resource.status, "{name}");
    }

    // The earlier operator writes two certificates, then one, with texts of its greatest length.
    let mut status = status_of(recorded.resource("two"), 1);
    status["certificates"][1]["description"] = json!("d".repeat(8192));
    status["conditions"][0]["message"] = json!("m".repeat(32768));
    patch_status(&world, "by-apply", &status).await.unwrap();
    status["certificates"].as_array_mut().unwrap().truncate(1);
    let written = patch_status(&world, "by-apply", &status).await.unwrap();
    assert_eq!(written.data["status"]["certificates"], status["certificates"]);
    apply("by-apply", ways[0].1, "d").await;
}
