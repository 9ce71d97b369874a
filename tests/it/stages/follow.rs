//! The certificate that a stage presents comes first in the target, and the former one stays for the overlap.

use client_certificate_operator::api::CertificateRole::{Former, Main, Tagged};
use operator_testing::certificates::NewCertificate;
use operator_testing::script::Operation::{Get, GetStages, List};
use operator_testing::wait::never;

use super::*;
use crate::fixture::A_WHILE;

#[tokio::test]
async fn a_switch_reaches_the_target_and_the_former_certificate_stays_for_the_overlap() {
    let world = world("switch").await;
    let resource = world.following("payments", json!({ "overlap": "1h" })).await;
    let status = resource.status.as_ref().unwrap();
    assert_eq!((held(&resource), status.client_certificate_id.as_deref()), (vec![(ID, Main)], Some(ID)));
    let before = stage(&resource).unwrap().clone();
    assert_eq!((before.rest_api_id.as_str(), before.stage_name.as_str()), (API, STAGE));
    assert_eq!(before.client_certificate_id.as_deref(), Some(ID));
    assert!(message(&resource, READ).ends_with("stage prod of REST API a1b2c3d4e5 presents it"));
    assert!(holds(&world, "payments", &[ID]).await);
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;

    present(&world, Some(NEW));
    let resource = world.refresh("payments").await;
    assert_eq!(held(&resource), [(NEW, Main), (ID, Former)]);
    let former = entry(&resource, ID);
    assert!(former.former_since.is_some() && former.safe_to_switch == Some(false));
    let after = stage(&resource).unwrap();
    assert_eq!(after.client_certificate_id.as_deref(), Some(NEW));
    assert!(after.since > before.since, "{after:?}");
    assert!(holds(&world, "payments", &[NEW, ID]).await);
    assert_eq!(condition(&resource, "Ready").unwrap().status, "True");

    world.patch("payments", json!({ "spec": { "overlap": "1s" } })).await;
    world.until_it("payments", "the former one leaves", |resource| held(resource) == [(NEW, Main)]).await;
    assert!(holds(&world, "payments", &[NEW]).await);
    let events = world.events("payments").await;
    assert_eq!((events.get("Normal StageSwitched"), events.get("Normal TagsLost")), (Some(&1), None), "{events:?}");
}

#[tokio::test]
async fn a_switch_is_found_within_one_interval_by_one_call_for_all_resources() {
    let world = world("interval").await;
    for name in ["one", "two", "three"] {
        world.following(name, json!({})).await;
    }
    world.emulator.present(DEFAULT_REGION, API, "test", Some(NEWER));
    let other = json!({ "stage": { "restApiId": API, "stageName": "test" }, "refreshInterval": "30s" });
    world.create_resource("test", other).await;
    world.until_ready("test").await;
    world.emulator.clear_calls();
    present(&world, Some(NEW));
    for name in ["one", "two", "three"] {
        until_within_an_interval(&world, name, NEW).await;
    }
    assert_eq!(held(&world.resource("test").await), [(NEWER, Main)]);
    assert_eq!(world.emulator.count(GetStages), 1);
    assert!(world.emulator.count(Get) + world.emulator.count(List) <= 2);
}

async fn until_within_an_interval(world: &World<'_>, name: &str, id: &str) {
    // A refresh comes in the last tenth of the interval.
    let limit = std::time::Duration::from_secs(35);
    eventually(limit, "it follows", async || {
        let resource = world.resource(name).await;
        if held(&resource)[0] == (id, Main) { Ok(()) } else { Err(format!("{:?}", held(&resource))) }
    })
    .await;
}

#[tokio::test]
async fn a_stage_that_switches_back_and_forth_changes_only_the_order() {
    let world = world("flaps").await;
    world.following("payments", json!({ "overlap": "1h" })).await;
    let mut expected = vec![ID];
    for next in [NEW, ID, NEW, NEWER, ID] {
        let writes = world.target_writes().len();
        present(&world, Some(next));
        world.ask_now("payments").await;
        let resource = world.until_it("payments", "it follows", |resource| held(resource)[0].0 == next).await;
        expected.retain(|id| *id != next);
        expected.insert(0, next);
        let mut ids: Vec<_> = held(&resource).into_iter().map(|(id, _)| id).collect();
        assert_eq!(ids.remove(0), next);
        ids.sort();
        let mut others = expected[1..].to_vec();
        others.sort();
        assert_eq!(ids, others, "all that it presented within the overlap");
        assert!(held(&resource)[1..].iter().all(|(_, role)| *role == Former));
        assert_eq!(world.target_writes().len(), writes + 1, "one write for each change");
    }
    assert_eq!(entry(&world.resource("payments").await, ID).former_since, None, "presented again it is Main");
}

#[tokio::test]
async fn a_stage_is_switched_to_a_tagged_certificate_without_a_gap() {
    let world = world("by-tag").await;
    world.emulator.set_tags(&crate::ground::source(ID), &[("app", "payments")]);
    world.generate(NewCertificate::new().id("tagged").tag("app", "payments"));
    let more = json!({ "additionalClientCertificateTags": { "app": "payments" }, "soak": "0s", "overlap": "3s" });
    let resource = world.following("payments", more).await;
    assert_eq!(held(&resource), [(ID, Main), ("tagged", Tagged)]);
    present(&world, Some("tagged"));
    world.ask_now("payments").await;
    let is = |resource: &ClientCertificateRef| held(resource) == [("tagged", Main), (ID, Tagged)];
    let resource = world.until_it("payments", "it has the tag still", is).await;
    assert_eq!(resource.status.unwrap().client_certificate_id.as_deref(), Some("tagged"));
    assert!(holds(&world, "payments", &["tagged", ID]).await);
    // Without the tag, the certificate leaves the target after the overlap.
    world.emulator.set_tags(&crate::ground::source(ID), &[]);
    world.ask_now("payments").await;
    world.until_it("payments", "it leaves", |resource| held(resource) == [("tagged", Main)]).await;
}

#[tokio::test]
async fn a_switch_without_a_running_operator_is_found_and_an_outage_of_aws_changes_nothing() {
    let mut world = world("down").await;
    world.following("payments", json!({ "overlap": "1h" })).await;
    world.stop_operator().await;
    let (before, writes) = (world.resource("payments").await, world.all_writes().len());
    let dead = world.builder().env("AWS_ENDPOINT_URL", "http://127.0.0.1:9");
    world.operator = Some(crate::ground::started(&dead).await);
    never(A_WHILE * 2, "a write", async || {
        let now = world.all_writes().len();
        (now != writes).then(|| format!("{now} writes, {writes} before"))
    })
    .await;
    assert_eq!(world.resource("payments").await.metadata.resource_version, before.metadata.resource_version);
    world.targets().delete("payments", &Default::default()).await.unwrap();
    world.until_target(SOON, "payments", "it is back", |secret| data(secret, "ca.crt") == Some(&world.pem(ID))).await;
    world.stop_operator().await;

    present(&world, Some(NEW));
    world.start_operator().await;
    world.until_it("payments", "it follows", |resource| held(resource) == [(NEW, Main), (ID, Former)]).await;
    assert!(holds(&world, "payments", &[NEW, ID]).await);
}

#[tokio::test]
async fn metrics_have_the_certificate_of_each_stage_and_the_number_of_stages_without_one() {
    let mut world = world("metrics").await;
    world.following("payments", json!({})).await;
    world.following("orders", json!({})).await;
    let labels = |world: &World<'_>, name: &str, id: &str| {
        [
            ("namespace", world.namespace.clone()),
            ("name", name.to_owned()),
            ("rest_api_id", API.to_owned()),
            ("stage", STAGE.to_owned()),
            ("certificate_id", id.to_owned()),
        ]
    };
    // The metrics come from the store, to which a watch brings the status.
    async fn until_metric(world: &mut World<'_>, name: &str, labels: &[(&str, String)], expected: f64) {
        let labels: Vec<_> = labels.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let operator = world.operator.as_mut().unwrap();
        eventually(SOON, name, async || {
            let found = operator.metric(name, &labels).await.unwrap();
            if found == Some(expected) { Ok(()) } else { Err(format!("{found:?}")) }
        })
        .await;
    }
    let of_payments = labels(&world, "payments", ID);
    until_metric(&mut world, "ccr_stage_info", &of_payments, 1.0).await;
    until_metric(&mut world, "ccr_stages_without_certificate", &[], 0.0).await;
    present(&world, None);
    for name in ["payments", "orders"] {
        world.ask_now(name).await;
        world.until(name, READ, "False", "StageHasNoCertificate").await;
    }
    // Both resources follow one stage.
    let of_none = labels(&world, "orders", "");
    until_metric(&mut world, "ccr_stage_info", &of_none, 1.0).await;
    until_metric(&mut world, "ccr_stages_without_certificate", &[], 1.0).await;
}
