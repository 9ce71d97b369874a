//! The time from a new certificate until it counts as safe, and the events that delay it.

use client_certificate_operator::api::CertificateRole::{Additional, Main, Tagged};
use serde_json::json;

use super::*;
use crate::fixture::A_WHILE;

#[tokio::test]
async fn a_tagged_certificate_enters_the_target_automatically_and_is_safe_after_the_soak() {
    let mut world = world("soaks").await;
    let resource = world.create_ready("payments", pins(json!({ "soak": "4s" }))).await;
    assert_eq!(held(&resource), [(ID, Main)]);
    assert!(condition(&resource, SWITCH).is_none(), "nothing stands beside the main one");
    assert_eq!(entry(&resource, ID).unwrap().tags, [("app".to_owned(), "payments".to_owned())].into());
    world.generate(tagged(NEW));
    let resource = world.refresh("payments").await;
    assert_eq!(held(&resource), [(ID, Main), (NEW, Tagged)]);
    let soaking = condition(&resource, SWITCH).unwrap();
    assert_eq!((soaking.status.as_str(), soaking.reason.as_str()), ("False", "Soaking"));
    let new = entry(&resource, NEW).unwrap();
    let since = new.trusted_since.unwrap();
    assert!(soaking.message.contains(&(since + std::time::Duration::from_secs(4)).to_string()), "{}", soaking.message);
    assert_eq!((new.safe_to_switch, new.role), (Some(false), Some(Tagged)));
    assert_eq!(pin_lines(&world, "payments").await, 2);

    // The command with which a pipeline waits.
    let path = format!("jsonpath={{.status.certificates[?(@.id==\"{NEW}\")].safeToSwitch}}=true");
    let output = world.kubectl(&["wait", "ccr/payments", &format!("--for={path}"), "--timeout=30s"]).await;
    assert!(output.status.success(), "{output:?}");
    let resource = world.until("payments", SWITCH, "True", "Soaked").await;
    let new = entry(&resource, NEW).unwrap();
    assert_eq!((new.trusted_since, new.safe_to_switch), (Some(since), Some(true)));
    assert_eq!(condition(&resource, "Ready").unwrap().status, "True");
    world
        .until_events(
            "payments",
            &[("Normal TargetCreated", 1), ("Normal TargetUpdated", 1), ("Normal SafeToSwitch", 1)],
        )
        .await;
    let output = world.kubectl(&["get", "ccr", "payments", "--output=wide"]).await;
    assert!(String::from_utf8_lossy(&output.stdout).contains("Soaked"), "{output:?}");
    let namespace = world.namespace.clone();
    let operator = world.operator.as_mut().unwrap();
    for (id, expected) in [(NEW, Some(1.0)), (ID, None)] {
        let labels = [("namespace", namespace.as_str()), ("name", "payments"), ("certificate_id", id)];
        let found = operator.metric("ccr_certificate_safe_to_switch", &labels).await.unwrap();
        assert_eq!(found, expected, "{id}: the main one needs no switch");
    }

    // The switch: the new certificate becomes the main one, and keeps its recorded time.
    world.patch("payments", json!({ "spec": { "clientCertificateId": NEW } })).await;
    let resource = world
        .until_it("payments", "the two change places", |resource| held(resource) == [(NEW, Main), (ID, Tagged)])
        .await;
    let new = entry(&resource, NEW).unwrap();
    assert_eq!((new.trusted_since, new.safe_to_switch), (Some(since), Some(true)));
    world.emulator.delete(&crate::ground::source(ID));
    let resource = world.refresh("payments").await;
    assert_eq!(held(&resource), [(NEW, Main)], "one that is gone leaves at once");
}

#[tokio::test]
async fn a_first_wins_target_is_not_safe_unless_the_spec_overrides_the_class() {
    let world = world("first-wins").await;
    world.generate(tagged(NEW));
    let spec = |target| pins(json!({ "soak": "0s", "target": target }));
    world.create_ready("plain", spec(json!({}))).await;
    world.create_ready("active", spec(json!({ "keys": { "ca.crt": "Active", "pins": "NginxMap" } }))).await;
    world.create_ready("java", spec(json!({ "preset": "Pkcs12" }))).await;
    world.create_ready("go", spec(json!({ "verifierClass": "OverlapSafe" }))).await;
    for (name, reason, safe) in [
        ("plain", "FirstWins", false),
        ("active", "FirstWins", false),
        ("java", "Soaked", true),
        ("go", "Soaked", true),
    ] {
        let status = if safe { "True" } else { "False" };
        let resource = world.until(name, SWITCH, status, reason).await;
        assert_eq!(entry(&resource, NEW).unwrap().safe_to_switch, Some(safe), "{name}");
        assert_eq!(condition(&resource, "Ready").unwrap().status, "True");
    }
    assert!(!world.events("plain").await.contains_key("Normal SafeToSwitch"));
    world.patch("plain", json!({ "spec": { "target": { "verifierClass": "OverlapSafe" } } })).await;
    world.until("plain", SWITCH, "True", "Soaked").await;
}

#[tokio::test]
async fn a_change_or_deletion_by_another_writer_restarts_the_soak() {
    let world = world("soak-again").await;
    world.generate(tagged(NEW));
    let mut resource = world.create_ready("payments", pins(json!({ "soak": "24h" }))).await;
    let ca = json!({ "ca.crt": "Bundle", "more.crt": "Bundle" });
    world.create_ready("bundle", pins(json!({ "soak": "24h", "target": { "keys": ca } }))).await;
    let since = |resource: &_, id: &str| entry(resource, id).unwrap().trusted_since.unwrap();
    for step in 0..3 {
        let (before, name) = (since(&resource, NEW), "payments");
        // The wait makes the times differ, because they are in whole seconds.
        tokio::time::sleep(A_WHILE).await;
        match step {
            0 => drop(world.patch_target(name, json!({ "text": { "pins": "AA\n" } })).await),
            1 => world.targets().delete(name, &Default::default()).await.map(drop).unwrap(),
            _ => {
                // A change that removes no certificate has no effect.
                let labels = json!({ "metadata": { "labels": { "apigateway.clientcert.dev/managed": null } } });
                world.patch_target(name, labels).await;
                tokio::time::sleep(A_WHILE).await;
                assert_eq!(since(&world.resource(name).await, NEW), before);
                continue;
            }
        }
        resource = world.until_it(name, "the soak begins again", |resource| since(resource, NEW) > before).await;
        assert_eq!(pin_lines(&world, name).await, 2);
        assert_eq!(condition(&resource, SWITCH).unwrap().reason, "Soaking");
    }
    // In a bundle, each certificate counts separately.
    let resource = world.resource("bundle").await;
    let (main, new) = (since(&resource, ID), since(&resource, NEW));
    tokio::time::sleep(A_WHILE).await;
    world.patch_target("bundle", json!({ "text": { "more.crt": world.pem(ID) } })).await;
    let resource =
        world.until_it("bundle", "the soak of one begins again", |resource| since(resource, NEW) > new).await;
    assert_eq!(since(&resource, ID), main, "the other was never missing");
}

#[tokio::test]
async fn a_restart_does_not_restart_the_soak() {
    let mut world = world("soak-restart").await;
    world.generate(tagged(NEW));
    let resource = world.create_ready("payments", pins(json!({ "soak": "12s" }))).await;
    let before = entry(&resource, NEW).unwrap().clone();
    assert_eq!(before.safe_to_switch, Some(false));
    world.stop_operator().await;
    world.emulator.inject(operator_testing::emulator::Fault::error(500, "InternalFailure", "down"));
    world.start_operator().await;
    // The status also decides while API Gateway is down.
    let resource = world.until("payments", SWITCH, "True", "Soaked").await;
    let after = entry(&resource, NEW).unwrap();
    assert_eq!((after.trusted_since, after.role), (before.trusted_since, Some(Tagged)));
    world.stop_operator().await;
    let writes = world.target_writes();
    world.start_operator().await;
    tokio::time::sleep(A_WHILE).await;
    let again = world.resource("payments").await;
    assert_eq!(again.status, resource.status);
    assert_eq!(world.target_writes(), writes);

    // The operator is down at the end of the soak, and another writer changes the target meanwhile.
    world.stop_operator().await;
    world.patch_target("payments", json!({ "text": { "pins": "AA\n" } })).await;
    world.start_operator().await;
    world
        .until_it("payments", "it begins again", |resource| {
            entry(resource, NEW).is_some_and(|new| new.trusted_since > before.trusted_since)
        })
        .await;
    world.until("payments", SWITCH, "False", "Soaking").await;
}

#[tokio::test]
async fn ids_have_a_soak_as_tags_do_and_an_unwritten_target_is_not_safe() {
    let world = world("soak-ids").await;
    world.generate(NewCertificate::new().id(NEW));
    let spec = json!({
        "additionalClientCertificateIds": [NEW], "soak": "0s", "target": { "keys": { "pins": "SpkiPins" }, "name": "ours" },
    });
    world.create_ready("payments", spec).await;
    let resource = world.until("payments", SWITCH, "True", "Soaked").await;
    assert_eq!(held(&resource), [(ID, Main), (NEW, Additional)]);
    world.create_object("foreign", json!({ "text": { "key": "value" } })).await;
    world.patch("payments", json!({ "spec": { "target": { "name": "foreign" } } })).await;
    let resource = world.until("payments", SWITCH, "False", "TargetExists").await;
    assert!(certificates(&resource).iter().all(|held| held.safe_to_switch == Some(false)));
    world.patch("payments", json!({ "spec": { "target": { "name": "other" } } })).await;
    world.until("payments", SWITCH, "True", "Soaked").await;
}
