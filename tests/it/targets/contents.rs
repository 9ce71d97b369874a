//! Every preset and every content in real objects, and the obstacles to another content.

use std::io::Write;
use std::process::{Command, Stdio};

use client_certificate_operator::api::{DIGEST_ANNOTATION, REFRESH_ANNOTATION, VerifierClass};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::ResourceExt;
use kube::api::Api;
use operator_testing::certificates::NewCertificate;
use operator_testing::emulator::Fault;
use operator_testing::script::Operation;
use operator_testing::wait::never;
use serde_json::{Map, Value, json};

use crate::fixture::{A_WHILE, ID, TestedKind, World, WorldOf, condition, data};
use crate::ground::source;

for_both_kinds! {
    every_content_matches_the_output_of_openssl,
    after_a_restart_nothing_is_written_and_the_target_is_recognized_without_api_gateway,
    a_target_that_would_become_too_large_does_not_change,
}

const SECOND: &str = "k2c0qe";

/// Every content, each under its own name, including those with one certificate.
fn every_content() -> Value {
    let contents = ["Bundle", "Active", "Sha256Pins", "Sha1Pins", "SpkiPins", "NginxMap", "EnvoySds", "Pkcs12"];
    contents.iter().map(|content| (content.to_lowercase(), json!(content))).collect::<Map<_, _>>().into()
}

/// The output of a pipe of openssl commands for a PEM, on one line.
fn openssl(pem: &str, pipe: &str) -> String {
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", pipe]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(pem.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{pipe}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn fingerprint(pem: &str, hash: &str) -> String {
    openssl(pem, &format!("openssl x509 -noout -fingerprint -{hash} | cut -d= -f2 | tr -d :"))
}

async fn every_content_matches_the_output_of_openssl<K: TestedKind>() {
    let world = WorldOf::<K>::start("contents").await;
    world.generate(NewCertificate::new().id(SECOND));
    let spec = json!({ "additionalClientCertificateIds": [SECOND], "target": { "keys": every_content() } });
    let resource = world.create_ready("payments", spec).await;
    let object = world.target("payments").await;
    let [first, second] = [world.pem(ID), world.pem(SECOND)];
    let lines = |of: &dyn Fn(&str) -> String| format!("{}\n{}\n", of(&first), of(&second));
    let spki = "openssl x509 -pubkey -noout | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64";
    let sha1 = |pem: &str| fingerprint(pem, "sha1").to_lowercase();
    for (key, expected) in [
        ("bundle", format!("{first}{second}")),
        ("active", first.clone()),
        ("sha256pins", lines(&|pem| fingerprint(pem, "sha256"))),
        ("sha1pins", lines(&sha1)),
        ("spkipins", lines(&|pem| openssl(pem, spki))),
        ("nginxmap", lines(&|pem| format!("{} 1;", sha1(pem)))),
    ] {
        assert_eq!(data(&object, key), Some(expected.as_str()), "{key}");
    }
    let sds: Value = serde_json::from_str(data(&object, "envoysds").unwrap()).unwrap();
    let hashes = [&first, &second].map(|pem| fingerprint(pem, "sha256").to_lowercase());
    let context = json!({ "verify_certificate_hash": hashes });
    assert_eq!(sds["resources"][0]["validation_context"], context);
    assert!(object.keys().contains(&"pkcs12") && data(&object, "truststore.password").unwrap().len() == 32);
    assert_eq!(object.keys().len(), 9);
    assert!(object.annotations().contains_key(DIGEST_ANNOTATION));
    // The contents include a Bundle, whose readers are unknown.
    assert_eq!(resource.status.unwrap().verifier_class, None);
    world.until_events("payments", &[("Normal TargetCreated", 1)]).await;
}

#[tokio::test]
async fn every_preset_has_its_key_its_type_and_its_class_of_verifiers() {
    use VerifierClass::{FirstWins, OverlapSafe};
    let world = World::start("presets").await;
    let pem = world.pem(ID);
    for (preset, key, type_, class) in [
        ("CaCrt", "ca.crt", "Opaque", None),
        ("NginxOrgCa", "ca.crt", "nginx.org/ca", Some(FirstWins)),
        ("TlsCrt", "tls.crt", "Opaque", Some(FirstWins)),
        ("IstioCacert", "cacert", "Opaque", Some(FirstWins)),
    ] {
        let name = preset.to_lowercase();
        let resource = world.create_ready(&name, json!({ "target": { "preset": preset } })).await;
        let object = world.target(&name).await;
        assert_eq!((object.keys(), data(&object, key)), (vec![key], Some(pem.as_str())), "{preset}");
        assert_eq!(object.type_.as_deref(), Some(type_), "{preset}");
        assert_eq!(resource.status.unwrap().verifier_class, class, "{preset}");
        assert!(!object.annotations().contains_key(DIGEST_ANNOTATION), "{preset}");
    }
    let resource = world.create_ready("java", json!({ "target": { "preset": "Pkcs12" } })).await;
    let object = world.target("java").await;
    assert_eq!(
        (object.keys(), object.type_.as_deref()),
        (vec!["truststore.p12", "truststore.password"], Some("Opaque"))
    );
    assert_eq!(resource.status.unwrap().verifier_class, Some(OverlapSafe));
    // A suspended resource keeps its verifier class.
    world.patch("tlscrt", json!({ "spec": { "suspend": true, "target": { "preset": "CaCrt" } } })).await;
    let resource = world.until("tlscrt", "Suspended", "True", "Suspended").await;
    assert_eq!(resource.status.unwrap().verifier_class, Some(FirstWins));
}

#[tokio::test]
async fn the_maximum_number_of_certificates_is_in_every_content_once() {
    let world = World::start("most").await;
    let ids: Vec<_> = (0..63).map(|n| format!("more{n}")).collect();
    for id in &ids {
        world.generate(NewCertificate::new().id(id));
    }
    let spec = json!({ "additionalClientCertificateIds": ids, "target": { "keys": every_content() } });
    world.create_ready("payments", spec).await;
    let all = |object: &Secret| data(object, "sha1pins").is_some_and(|pins| pins.lines().count() == 64);
    let object = world.until_target(crate::fixture::SOON, "payments", "holds all", all).await;
    let bundle: String = std::iter::once(ID).chain(ids.iter().map(String::as_str)).map(|id| world.pem(id)).collect();
    assert_eq!(data(&object, "bundle"), Some(bundle.as_str()));
    for key in ["sha256pins", "sha1pins", "nginxmap"] {
        let lines: std::collections::BTreeSet<_> = data(&object, key).unwrap().lines().collect();
        assert_eq!(lines.len(), 64, "{key}");
    }
    // All certificates here have the same key, so that they are made in seconds.
    let pins: Vec<_> = data(&object, "spkipins").unwrap().lines().collect();
    assert!(pins.len() == 64 && pins.iter().all(|pin| *pin == pins[0]), "{pins:?}");
    let sds: Value = serde_json::from_str(data(&object, "envoysds").unwrap()).unwrap();
    assert_eq!(sds["resources"][0]["validation_context"]["verify_certificate_hash"].as_array().unwrap().len(), 64);
}

async fn after_a_restart_nothing_is_written_and_the_target_is_recognized_without_api_gateway<K: TestedKind>() {
    let mut world = WorldOf::<K>::start("again").await;
    world.generate(NewCertificate::new().id(SECOND));
    let of = |target: Value| json!({ "additionalClientCertificateIds": [SECOND], "target": target });
    for (name, target) in [
        ("whole", json!({ "keys": every_content() })),
        ("java", json!({ "preset": "Pkcs12" })),
        ("pins", json!({ "keys": { "pins": "Sha1Pins" } })),
    ] {
        world.create_ready(name, of(target)).await;
    }
    let before = world.target_writes();
    assert_eq!(before.len(), 3);
    world.stop_operator().await;
    world.start_operator().await;
    for name in ["whole", "java", "pins"] {
        world.patch(name, json!({ "metadata": { "annotations": { REFRESH_ANNOTATION: "1" } } })).await;
        operator_testing::wait::eventually(crate::fixture::SOON, "the refresh is handled", async || {
            world.resource(name).await.status.unwrap().last_handled_refresh.as_deref() == Some("1")
        })
        .await;
        world.until_ready(name).await;
    }
    assert_eq!(world.target_writes(), before);

    // If no certificate can be read, the operator restores the target from the status.
    world.stop_operator().await;
    world.patch_target("pins", json!({ "text": { "pins": "changed\n" } })).await;
    for operation in [Operation::Get, Operation::List] {
        world.emulator.inject(Fault::error(503, "ServiceUnavailableException", "down").on(operation));
    }
    world.start_operator().await;
    let pins = |object: &K| data(object, "pins").is_some_and(|pins| pins.lines().count() == 2);
    world.until_target(crate::fixture::SOON, "pins", "is put back", pins).await;
    for name in ["whole", "java", "pins"] {
        world.until(name, "TargetWritten", "True", "Written").await;
        world.until(name, "CertificateRead", "True", "Read").await;
    }
    let expected: Vec<_> = before.into_iter().chain(["update pins".to_owned()]).collect();
    assert_eq!(world.target_writes(), expected);
    world.emulator.clear_faults();
}

async fn a_target_that_would_become_too_large_does_not_change<K: TestedKind>() {
    let world = WorldOf::<K>::start("large").await;
    let keys = (0..16).map(|n| (format!("{n}.pem"), json!("Bundle"))).collect::<Map<_, _>>();
    world.create_ready("payments", json!({ "target": { "keys": keys } })).await;
    let before = world.target("payments").await;
    // 16 times 70 certificates of a kilobyte each.
    let small = world.pem(ID);
    let others: String = (0..70)
        .map(|n| {
            let id = format!("other{n}");
            world.generate(NewCertificate::new().id(&id));
            world.pem(&id)
        })
        .collect();
    world.emulator.set_pem(&source(ID), &format!("{small}{others}"));
    world.patch("payments", json!({ "metadata": { "annotations": { REFRESH_ANNOTATION: "1" } } })).await;
    let refused = world.until("payments", "TargetWritten", "False", "TooLarge").await;
    assert!(condition(&refused, "TargetWritten").unwrap().message.contains("1 MiB"), "{refused:?}");
    assert_eq!(world.target("payments").await, before);
    // Fewer keys resolve the failure.
    let fewer: Map<_, _> = (1..16).map(|n| (format!("{n}.pem"), Value::Null)).collect();
    world.patch("payments", json!({ "spec": { "target": { "keys": fewer } } })).await;
    world.until_ready("payments").await;
    assert_eq!(data(&world.target("payments").await, "0.pem"), Some(format!("{small}{others}").as_str()));
}

#[tokio::test]
async fn a_preset_of_another_type_is_refused_and_another_name_helps() {
    let world = World::start("type").await;
    world.create_ready("payments", json!({})).await;
    let before = world.target("payments").await;
    for target in [
        json!({ "preset": "NginxOrgCa" }),
        json!({ "preset": null, "keys": { "ca.crt": "Bundle" }, "type": "nginx.org/ca" }),
    ] {
        world.patch("payments", json!({ "spec": { "target": target } })).await;
        world.until("payments", "TargetWritten", "False", "TypeImmutable").await;
        let refused = world.until("payments", "Stalled", "True", "TypeImmutable").await;
        let message = &condition(&refused, "TargetWritten").unwrap().message;
        let words = ["has type Opaque instead of nginx.org/ca", "change spec.target.name"];
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
        never(A_WHILE, "it is touched", async || Some(world.target("payments").await).filter(|it| *it != before)).await;
    }
    world.patch("payments", json!({ "spec": { "target": { "name": "payments-ca" } } })).await;
    world.until_ready("payments").await;
    assert_eq!(world.target("payments-ca").await.type_.as_deref(), Some("nginx.org/ca"));
    assert_eq!(world.target_writes(), ["create payments", "create payments-ca", "delete payments"]);

    // The same in reverse, with the name that is free again.
    world.patch("payments", json!({ "spec": { "target": { "type": null } } })).await;
    world.until("payments", "TargetWritten", "False", "TypeImmutable").await;
    world.patch("payments", json!({ "spec": { "target": { "name": null } } })).await;
    world.until_ready("payments").await;
    assert_eq!(world.target("payments").await.type_.as_deref(), Some("Opaque"));
}

#[tokio::test]
async fn an_immutable_secret_blocks_another_content() {
    let world = World::start("fixed").await;
    world.create_ready("payments", json!({})).await;
    let before = world.patch_target("payments", json!({ "immutable": true })).await;
    for target in [json!({ "preset": "TlsCrt" }), json!({ "preset": "Pkcs12" })] {
        world.patch("payments", json!({ "spec": { "target": target } })).await;
        let refused = world.until("payments", "Stalled", "True", "NotAdoptable").await;
        assert!(condition(&refused, "TargetWritten").unwrap().message.contains("immutable"), "{refused:?}");
        assert_eq!(world.target("payments").await, before);
    }
    world.patch("payments", json!({ "spec": { "target": { "name": "payments-p12" } } })).await;
    world.until_ready("payments").await;
    assert_eq!(world.target("payments-p12").await.keys(), ["truststore.p12", "truststore.password"]);
}

#[tokio::test]
async fn a_truststore_stays_the_same_when_the_kind_changes_and_changes_back() {
    let world = World::start("moved-p12").await;
    let maps: Api<ConfigMap> = Api::namespaced(world.client.clone(), &world.namespace);
    world.create_ready("payments", json!({ "target": { "preset": "Pkcs12" } })).await;
    let bytes = |secret: &Secret| secret.data.clone().unwrap();
    let before = bytes(&world.target("payments").await);
    world.patch("payments", json!({ "spec": { "target": { "kind": "ConfigMap" } } })).await;
    world.until_ready("payments").await;
    let map = maps.get("payments").await.unwrap();
    assert_eq!(map.binary_data.unwrap()["truststore.p12"], before["truststore.p12"]);
    assert_eq!(map.data.unwrap()["truststore.password"].as_bytes(), before["truststore.password"].0);
    world.patch("payments", json!({ "spec": { "target": { "kind": "Secret" } } })).await;
    world.until_ready("payments").await;
    assert_eq!(bytes(&world.target("payments").await), before);

    let writes = world
        .all_writes()
        .into_iter()
        .filter(|it| it.code < 300 && ["secrets", "configmaps"].contains(&it.resource.as_str()));
    let writes: Vec<_> = writes.map(|it| format!("{} {}", it.verb, it.resource)).collect();
    let moved = ["create secrets", "create configmaps", "delete secrets", "create secrets", "delete configmaps"];
    assert_eq!(writes, moved, "the new one is there before the old one goes");
}
