//! A restart or a take-over without other changes changes nothing, in any state of a resource and with any behaviour of
//! AWS: a new process, and the replica that leads next, make the same decisions as the former one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use client_certificate_operator::api::{ClientCertificateRef, REFRESH_ANNOTATION};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams};
use operator_testing::certificates::NewCertificate;
use operator_testing::emulator::Fault;
use operator_testing::operator::Operator;
use operator_testing::script::Operation;
use operator_testing::wait::eventually;
use serde_json::{Value, json};

use crate::fixture::{World, condition, conditions, data};
use crate::ground::{source, started};
use crate::replicas::{prepare_election, replica};

/// The time for which a new process is checked.
const WATCHED: Duration = Duration::from_secs(15);
/// A generous limit for two refreshes of the least interval, and for a paused rate limit.
const A_FEW_REFRESHES: Duration = Duration::from_secs(150);
/// An address without a listener.
const NOWHERE: &str = "http://127.0.0.1:9";
/// The resources whose targets change while no operator runs.
const TOUCHED: [&str; 2] = ["deleted", "edited"];
/// The resource whose certificate AWS does not have any more, and whose target is deleted while no operator runs. No
/// process creates the target again.
const LOST: &str = "lost";

/// The process that decides next.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Next {
    /// The former process has ended, and another one starts.
    Process,
    /// The leader is killed, and a standby takes over.
    Replica,
}

/// The behaviour of AWS while the operator starts or takes over.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Aws {
    AnswersAtOnce,
    AnswersAfterFiveSeconds,
    IsDown,
    DeniesTheList,
}

/// The resources by state: a spec, and the condition that shows the state.
pub fn states() -> Vec<(&'static str, Value, [&'static str; 3])> {
    let of = |id: &str, more: Value| {
        let mut spec = json!({ "clientCertificateId": id, "refreshInterval": "30s" });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    };
    let plain = |id: &str| of(id, json!({}));
    let with = |id: &str, more: &str| of(id, json!({ "additionalClientCertificateIds": [more] }));
    let nginx = json!({ "additionalClientCertificateIds": ["more0"], "target": { "preset": "NginxOrgCa" } });
    let ready = ["Ready", "True", "Mirrored"];
    vec![
        ("healthy", of("healthy", json!({ "description": "mine" })), ["DescriptionSynced", "True", "Synced"]),
        ("two", of("two", nginx), ["AdditionalCertificatesRead", "True", "Read"]),
        ("notfound", plain("notfound"), ["Ready", "False", "NotFound"]),
        ("denied", plain("denied"), ["Ready", "False", "AccessDenied"]),
        ("throttled", plain("throttled"), ["CertificateRead", "False", "Throttled"]),
        ("unavailable", plain("unavailable"), ["CertificateRead", "False", "Unavailable"]),
        ("invalid", plain("invalid"), ["Ready", "False", "InvalidCertificate"]),
        ("expired", plain("expired"), ["Ready", "False", "Expired"]),
        ("more-gone", with("moregone", "gone0"), ["AdditionalCertificatesRead", "False", "NotFound"]),
        ("more-denied", with("moredenied", "denied0"), ["AdditionalCertificatesRead", "False", "AccessDenied"]),
        ("older", of("shared", json!({ "description": "old" })), ["DescriptionSynced", "True", "Synced"]),
        ("younger", of("shared", json!({ "description": "young" })), ["DescriptionSynced", "False", "OwnedByAnother"]),
        ("suspended", plain("suspended"), ["Suspended", "True", "Suspended"]),
        ("truststore", of("truststore", json!({ "target": { "preset": "Pkcs12" } })), ready),
        ("map", of("map", json!({ "target": { "kind": "ConfigMap" } })), ready),
        ("deleted", plain("deleted"), ready),
        ("edited", plain("edited"), ready),
        (LOST, plain("lost"), ["Ready", "False", "NotFound"]),
    ]
}

/// The certificates that API Gateway no longer has, and the faults of reads by id.
pub fn gone() -> Vec<(&'static str, Option<Fault>)> {
    let denied = || Some(Fault::error(403, "AccessDeniedException", "no"));
    vec![
        ("notfound", None),
        ("gone0", None),
        ("lost", None),
        ("denied", denied()),
        ("denied0", denied()),
        ("throttled", Some(Fault::throttled(Some("1")))),
        ("unavailable", Some(Fault::error(500, "InternalFailure", "down"))),
    ]
}

/// The objects of a namespace that a restart must not change.
struct Snapshot {
    resources: BTreeMap<String, ClientCertificateRef>,
    /// Secrets and ConfigMaps by kind and name.
    targets: BTreeMap<(&'static str, String), Value>,
    /// The events of each resource, with their counts.
    events: BTreeMap<String, BTreeSet<String>>,
}

impl Snapshot {
    async fn of(world: &World<'_>) -> Self {
        let resources = world.resources().list(&ListParams::default()).await.unwrap();
        let maps: Api<ConfigMap> = Api::namespaced(world.client.clone(), &world.namespace);
        let mut targets = BTreeMap::new();
        for secret in world.secrets().list(&ListParams::default()).await.unwrap() {
            targets.insert(("Secret", secret.name_any()), json!(secret));
        }
        for map in maps.list(&ListParams::default()).await.unwrap() {
            targets.insert(("ConfigMap", map.name_any()), json!(map));
        }
        let events: Api<Event> = Api::namespaced(world.client.clone(), &world.namespace);
        let mut reported: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for event in events.list(&ListParams::default()).await.unwrap() {
            let name = event.regarding.as_ref().and_then(|it| it.name.clone()).unwrap_or_default();
            let count = event.series.as_ref().map_or(1, |series| series.count);
            let text = format!(
                "{} x{count}: {} ({})",
                event.reason.clone().unwrap_or_default(),
                event.note.clone().unwrap_or_default(),
                event.name_any()
            );
            reported.entry(name).or_default().insert(text);
        }
        Snapshot {
            resources: resources.into_iter().map(|resource| (resource.name_any(), resource)).collect(),
            targets,
            events: reported,
        }
    }

    /// The changes of the resources without outside changes.
    fn differences(&self, after: &Snapshot) -> Vec<String> {
        let mut differences = Vec::new();
        for (name, resource) in self.resources.iter().filter(|(name, _)| !is_touched(name)) {
            let now = &after.resources[name];
            if now != resource || now.resource_version() != resource.resource_version() {
                let (before, after) = (conditions(resource), conditions(now));
                let gone: Vec<_> = before.iter().filter(|one| !after.contains(one)).collect();
                let new: Vec<_> = after.iter().filter(|one| !before.contains(one)).collect();
                differences.push(format!("{name}: the status was written: {gone:#?} became {new:#?}"));
            }
            let reported = after.events.get(name).cloned().unwrap_or_default();
            let before = self.events.get(name).cloned().unwrap_or_default();
            let new: Vec<_> = reported.difference(&before).collect();
            if !new.is_empty() {
                differences.push(format!("{name}: events were reported: {new:?}"));
            }
        }
        for key in self.targets.keys().chain(after.targets.keys()).filter(|(_, name)| !is_touched(name)) {
            if self.targets.get(key) != after.targets.get(key) {
                differences.push(format!("{key:?} was written"));
            }
        }
        differences
    }
}

fn is_touched(name: &str) -> bool {
    name == LOST || TOUCHED.contains(&name)
}

async fn until(world: &World<'_>, name: &str, [type_, status, reason]: [&str; 3]) {
    eventually(A_FEW_REFRESHES, &format!("{name} has {type_}={status} {reason}"), async || {
        let resource = world.resource(name).await;
        let found = condition(&resource, type_);
        let found = found.is_some_and(|it| (it.status.as_str(), it.reason.as_str()) == (status, reason));
        if found { Ok(()) } else { Err(conditions(&resource).join("; ")) }
    })
    .await;
}

/// Brings every resource into its state, and waits until the operator makes no more writes.
async fn settled(next: Next) -> World<'static> {
    let mut world = World::without_operator("restarted").await;
    let states = states();
    let mut ids: BTreeSet<String> = BTreeSet::new();
    for (_, spec, _) in &states {
        let more = spec["additionalClientCertificateIds"].as_array().into_iter().flatten();
        ids.extend(more.chain([&spec["clientCertificateId"]]).map(|id| id.as_str().unwrap().to_owned()));
    }
    ids.iter().for_each(|id| drop(world.generate(NewCertificate::new().id(id))));
    match next {
        Next::Process => world.start_operator().await,
        Next::Replica => {
            prepare_election(&world).await;
            world.operator = Some(started(&replica(&world, world.builder(), "former")).await);
        }
    }
    for (name, spec, _) in &states {
        world.create_resource(name, spec.clone()).await;
        if *name == "older" {
            // The resource that is older by a second keeps the description.
            tokio::time::sleep(Duration::from_millis(1100)).await;
        }
    }
    for (name, ..) in &states {
        until(&world, name, ["Ready", "True", "Mirrored"]).await;
    }

    for (id, fault) in gone() {
        assert!(world.emulator.delete(&source(id)));
        world.emulator.set_faults_of(id, fault);
    }
    world.emulator.set_pem(&source("invalid"), "testcert-123");
    world.emulator.expire(&source("expired")).unwrap();
    world.patch("suspended", json!({ "spec": { "suspend": true } })).await;
    for (name, ..) in states.iter().filter(|(name, ..)| *name != "suspended") {
        world.patch(name, json!({ "metadata": { "annotations": { REFRESH_ANNOTATION: "1" } } })).await;
    }
    for (name, _, state) in states {
        until(&world, name, state).await;
    }
    let mut versions = Vec::new();
    let mut since = Instant::now();
    eventually(A_FEW_REFRESHES, "nothing is written any more", async || {
        let resources = world.resources().list(&ListParams::default()).await.unwrap();
        let now: Vec<_> = resources.iter().map(ResourceExt::resource_version).collect();
        if now != versions {
            (versions, since) = (now, Instant::now());
        }
        since.elapsed() >= Duration::from_secs(35)
    })
    .await;
    world
}

/// AWS behaves like this from now on. One that is down is another address for the next process.
fn behave(world: &World<'_>, aws: Aws) {
    match aws {
        Aws::AnswersAfterFiveSeconds => world.emulator.set_latency(Duration::from_secs(5)),
        Aws::DeniesTheList => {
            world.emulator.inject(Fault::error(403, "AccessDeniedException", "no").on(Operation::List));
        }
        Aws::AnswersAtOnce | Aws::IsDown => {}
    }
}

async fn until_it_leads(replica: &mut Operator) {
    eventually(A_FEW_REFRESHES, "the standby leads", async || {
        replica.metric("ccr_leader", &[]).await.unwrap() == Some(1.0)
    })
    .await;
}

/// Whether the condition becomes true within the limit.
async fn comes_true(limit: Duration, mut is: impl AsyncFnMut() -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < limit {
        if is().await {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    false
}

async fn changes_nothing(next: Next, aws: Aws) {
    let mut world = settled(next).await;
    let builder = match aws {
        Aws::IsDown => world.builder().aws_endpoint(NOWHERE),
        _ => world.builder(),
    };
    let standby = match next {
        Next::Process => {
            world.stop_operator().await;
            None
        }
        Next::Replica => {
            let standby = started(&replica(&world, builder.clone(), "next")).await;
            world.operator.take().unwrap().kill().unwrap();
            Some(standby)
        }
    };
    behave(&world, aws);
    let before = Snapshot::of(&world).await;
    for name in ["deleted", LOST] {
        world.secrets().delete(name, &DeleteParams::default()).await.unwrap();
    }
    world.patch_target("edited", json!({ "text": { "ca.crt": "edited" } })).await;
    let pems: BTreeMap<&str, String> = TOUCHED.map(|name| (name, world.pem(name))).into();
    let writes = world.all_writes().len();

    let mut operator = match standby {
        None => started(&builder).await,
        Some(mut standby) => {
            until_it_leads(&mut standby).await;
            standby
        }
    };
    let start = Instant::now();
    let mut wrong = Vec::new();
    for name in TOUCHED {
        let is_back = comes_true(WATCHED.saturating_sub(start.elapsed()), async || {
            let target = world.secrets().get_opt(name).await.unwrap();
            target.is_some_and(|target| data(&target, "ca.crt") == Some(pems[name].as_str()))
        })
        .await;
        if !is_back {
            wrong.push(format!("{name}: its target is not put back: {:?}", conditions(&world.resource(name).await)));
        }
    }
    tokio::time::sleep(WATCHED.saturating_sub(start.elapsed())).await;

    if world.secrets().get_opt(LOST).await.unwrap().is_some() {
        wrong.push(format!("{LOST}: the target of a certificate that does not exist was created"));
    }
    wrong.extend(before.differences(&Snapshot::of(&world).await));
    // A write without a change counts too.
    for write in world.all_writes().into_iter().skip(writes) {
        if write.resource == "clientcertificaterefs" && !is_touched(&write.name) {
            wrong.push(format!("{}: {} of its status, answered {}", write.name, write.verb, write.code));
        }
    }
    assert!(wrong.is_empty(), "{next:?}, {aws:?}:\n{}", wrong.join("\n"));
    assert_eq!(operator.metric("ccr_reconciles_total", &[("result", "error")]).await.unwrap().unwrap_or_default(), 0.0);
}

#[tokio::test]
async fn a_restart_changes_nothing_while_aws_answers_at_once() {
    changes_nothing(Next::Process, Aws::AnswersAtOnce).await;
}

#[tokio::test]
async fn a_restart_changes_nothing_while_aws_answers_after_five_seconds() {
    changes_nothing(Next::Process, Aws::AnswersAfterFiveSeconds).await;
}

#[tokio::test]
async fn a_restart_changes_nothing_while_aws_is_down() {
    changes_nothing(Next::Process, Aws::IsDown).await;
}

#[tokio::test]
async fn a_restart_changes_nothing_while_aws_denies_the_list() {
    changes_nothing(Next::Process, Aws::DeniesTheList).await;
}

#[tokio::test]
async fn a_take_over_changes_nothing_while_aws_answers_at_once() {
    changes_nothing(Next::Replica, Aws::AnswersAtOnce).await;
}

#[tokio::test]
async fn a_take_over_changes_nothing_while_aws_answers_after_five_seconds() {
    changes_nothing(Next::Replica, Aws::AnswersAfterFiveSeconds).await;
}

#[tokio::test]
async fn a_take_over_changes_nothing_while_aws_is_down() {
    changes_nothing(Next::Replica, Aws::IsDown).await;
}

#[tokio::test]
async fn a_take_over_changes_nothing_while_aws_denies_the_list() {
    changes_nothing(Next::Replica, Aws::DeniesTheList).await;
}
