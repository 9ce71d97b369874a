//! The rate of calls to API Gateway after failures, and the number of writes about them.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use operator_testing::emulator::{Call, Fault};
use operator_testing::operator::Operator;
use operator_testing::script::Operation;
use operator_testing::wait::{eventually, never};
use serde_json::json;

use crate::faults::{SOON, World, started};

/// Waits for this number of calls of an operation for one certificate, and returns the times between them.
async fn gaps(world: &World<'_>, operation: Operation, id: &str, calls: usize) -> Vec<SignedDuration> {
    let times = || -> Vec<Timestamp> {
        let calls = world.emulator.calls().into_iter();
        calls.filter(|call| call.operation == operation && call.id.as_deref() == Some(id)).map(|call| call.at).collect()
    };
    eventually(SOON, &format!("{calls} calls for {id}"), async || times().len() >= calls).await;
    times().windows(2).map(|pair| pair[1].duration_since(pair[0])).collect()
}

#[tokio::test]
async fn a_retry_after_is_a_lower_bound() {
    let world = World::apart("retry-after").await;
    let _operator = world.operator().await;
    for id in ["throttled", "limited", "busy", "patched"] {
        world.certificate(id);
    }
    let limited = Fault::error(429, "LimitExceededException", "Limit");
    let busy = Fault::error(503, "ServiceUnavailableException", "Busy");
    for (id, fault, operation) in [
        ("throttled", Fault::throttled(Some("3")), Operation::Get),
        ("limited", limited.retry_after(Some("3")), Operation::Get),
        ("busy", busy.retry_after(Some("3")), Operation::Get),
        ("patched", Fault::throttled(Some("3")), Operation::Update),
    ] {
        world.emulator.set_faults_of(id, [fault.on(operation).times(2)]);
        world.create(id, json!({ "clientCertificateId": id, "description": "a text" })).await;
    }
    for (id, operation) in [
        ("throttled", Operation::Get),
        ("limited", Operation::Get),
        ("busy", Operation::Get),
        ("patched", Operation::Update),
    ] {
        for gap in &gaps(&world, operation, id, 3).await[..2] {
            assert!(*gap >= SignedDuration::from_secs(3), "{id}: {gap}");
        }
        // The operator retries by itself, without a request for a read.
        world.wait_for(id, "DescriptionSynced", "True Synced", 1).await;
        world.wait_ready(id, 1).await;
    }
}

#[tokio::test]
async fn an_outage_is_retried_with_backoff_and_recorded_once() {
    let world = World::apart("backoff").await;
    let _operator = world.operator().await;
    for (id, fault) in [("down", Fault::error(500, "InternalFailure", "boom")), ("slow", Fault::throttled(None))] {
        world.certificate(id);
        world.emulator.set_faults_of(id, [fault.on(Operation::Get)]);
        // The interval is short enough to wait for the longest backoff.
        world.create(id, json!({ "clientCertificateId": id, "refreshInterval": "45s" })).await;
    }
    for id in ["down", "slow"] {
        // Each of these answers has another request id.
        let gaps = gaps(&world, Operation::Get, id, 4).await;
        for (gap, seconds) in gaps.iter().zip([0.9, 1.7, 3.3]) {
            assert!(gap.as_secs_f64() >= seconds, "{id}: {gaps:?}");
        }
        assert!(gaps[0] < gaps[1] && gaps[1] < gaps[2], "{id}: {gaps:?}");
        assert_eq!(world.status_writes(id), 1, "{id}: {:?}", world.writes());
        world.emulator.set_faults_of(id, []);
        world.wait_ready(id, 1).await;
        assert_eq!(world.status_writes(id), 2, "{id}: {:?}", world.writes());
    }
}

#[tokio::test]
async fn a_denial_and_a_missing_certificate_are_not_retried_soon() {
    let world = World::apart("patience").await;
    let _operator = world.operator().await;
    let denied = Fault::error(403, "AccessDeniedException", "not authorized");
    for id in ["denied", "gone", "unpatchable"] {
        world.certificate(id);
    }
    world.emulator.delete(&world.source("gone"));
    world.emulator.set_faults_of("denied", [denied.clone().on(Operation::Get)]);
    world.emulator.set_faults_of("unpatchable", [denied.on(Operation::Update)]);
    for id in ["denied", "gone", "unpatchable"] {
        world.create(id, json!({ "clientCertificateId": id, "description": "text" })).await;
    }
    world.wait_for("denied", "CertificateRead", "False AccessDenied", 1).await;
    world.wait_for("gone", "CertificateRead", "False NotFound", 1).await;
    world.wait_for("unpatchable", "DescriptionSynced", "False AccessDenied", 1).await;
    never(Duration::from_secs(20), "a second call", async || {
        let of_api_gateway = |call: &Call| call.operation != Operation::GetCallerIdentity;
        let calls: Vec<_> = world.emulator.calls().into_iter().filter(of_api_gateway).collect();
        // One read for each resource, and one update.
        (calls.len() > 4).then_some(calls)
    })
    .await;
    // The result of an update is one more write.
    for (id, writes) in [("denied", 1), ("gone", 1), ("unpatchable", 2)] {
        assert_eq!(world.status_writes(id), writes, "{id}");
    }
}

#[tokio::test]
async fn request_ids_of_aws_do_not_change_a_message() {
    let world = World::apart("stable").await;
    let _operator = world.operator().await;
    for (id, status, name) in [("bad", 400, "BadRequestException"), ("denied", 403, "AccessDeniedException")] {
        world.certificate(id);
        world.emulator.set_faults_of(id, [Fault::error(status, name, "No").on(Operation::Get)]);
        world.create(id, json!({ "clientCertificateId": id })).await;
    }
    for id in ["bad", "denied"] {
        let before = world.wait_for(id, "CertificateRead", "False", 1).await;
        world.refreshed(id, "1").await;
        assert_eq!(world.emulator.count_of(Operation::Get, id), 2);
        assert_eq!(world.conditions(id).await, before);
        // The second write is only for the annotation.
        assert_eq!(world.status_writes(id), 2);
    }
}

#[tokio::test]
async fn a_deleted_target_is_restored_while_connections_are_refused() {
    let mut world = World::apart("refused").await;
    let _operator = world.operator().await;
    world.certificate("first");
    world.emulator.suspend().await;
    world.create("first", json!({ "clientCertificateId": "first", "description": "text" })).await;
    let conditions = world.wait_for("first", "CertificateRead", "False Unavailable", 1).await;
    assert!(conditions["CertificateRead"].message.contains("failed: Connection refused"));
    assert_eq!(conditions["Ready"].status, "False");
    world.emulator.resume().await.unwrap();
    world.wait_ready("first", 1).await;
    world.wait_for("first", "DescriptionSynced", "True", 1).await;
    let good = world.target("first").await;

    world.emulator.suspend().await;
    let generation = world.hasten("first").await;
    world.wait_ready("first", generation).await;
    assert_eq!(world.target("first").await, good);
    world.secrets().delete("first", &Default::default()).await.unwrap();
    world.wait_for_target("first", "first").await;
    world.wait_ready("first", generation).await;
    world.emulator.resume().await.unwrap();
    world.wait_for("first", "CertificateRead", "True Read", generation).await;
}

#[tokio::test]
async fn a_large_answer_does_not_use_much_memory() {
    let world = World::apart("large").await;
    let operator = world.operator().await;
    for id in ["warm", "announced", "chunked"] {
        world.mirrored(id, true).await;
    }
    let before = operator.resident_memory().unwrap();
    for id in ["announced", "chunked"] {
        world.emulator.set_faults_of(id, [Fault::large(id == "chunked").on(Operation::Get)]);
        let generation = world.hasten(id).await;
        world.wait_ready(id, generation).await;
    }
    for id in ["announced", "chunked"] {
        gaps(&world, Operation::Get, id, 4).await;
    }
    let after = operator.resident_memory().unwrap();
    assert!(after < before + (9 << 20), "{before} bytes before, {after} after");
}

/// Restarts an operator after a kill. Its targets exist, and API Gateway throttles from now on.
async fn restarted(world: &World<'_>, ids: &[&str], while_down: impl AsyncFnOnce()) -> Operator {
    let mut operator = world.operator().await;
    for id in ids {
        world.mirrored(id, true).await;
    }
    operator.kill().unwrap();
    for id in ids {
        world.emulator.set_faults_of(id, [Fault::throttled(Some("1"))]);
    }
    while_down().await;
    started(&world.builder()).await
}

#[tokio::test]
async fn a_restart_while_api_gateway_throttles_changes_nothing() {
    let world = World::apart("restart").await;
    let _operator = restarted(&world, &["kept", "down"], async || {
        world.emulator.set_faults_of("down", [Fault::error(500, "InternalFailure", "boom")]);
    })
    .await;
    for id in ["kept", "down"] {
        let good = world.target(id).await;
        assert_eq!(good.as_ref().unwrap().0, world.pem(id));
        eventually(SOON, "the certificate is asked for", async || world.emulator.count_of(Operation::Get, id) > 1)
            .await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let conditions = world.wait_ready(id, 1).await;
        assert_eq!(conditions["CertificateRead"].status, "True", "{conditions:?}");
        assert_eq!(world.target(id).await, good);
        // The one write is that of the mirror: a transient failure changes nothing.
        assert_eq!(world.status_writes(id), 1);
        world.emulator.set_faults_of(id, []);
        world.wait_for(id, "CertificateRead", "True", 1).await;
        assert_eq!(world.target(id).await, good);
    }
}

#[tokio::test]
async fn a_target_edited_before_a_restart_is_restored_while_api_gateway_throttles() {
    let world = World::apart("edited").await;
    let ids = ["garbage", "foreign", "appended", "added", "emptied"];
    let _operator = restarted(&world, &ids, async || {
        world.certificate("somebody-elses");
        let foreign = world.pem("somebody-elses");
        for (id, data) in [
            ("garbage", json!({ "ca.crt": "garbage" })),
            ("foreign", json!({ "ca.crt": foreign })),
            ("appended", json!({ "ca.crt": world.pem("appended") + &foreign })),
            ("added", json!({ "more.crt": foreign })),
            ("emptied", json!({ "ca.crt": "" })),
        ] {
            let patch = kube::api::Patch::Merge(json!({ "stringData": data }));
            world.secrets().patch(id, &Default::default(), &patch).await.unwrap();
        }
    })
    .await;
    for id in ids {
        let is_right = async || {
            let target = world.target(id).await;
            target.is_some_and(|target| target.0 == world.pem(id))
        };
        eventually(SOON, &format!("{id} is put back"), is_right).await;
        world.wait_ready(id, 1).await;
        let secret = world.secrets().get(id).await.unwrap();
        let data = secret.data.unwrap();
        assert_eq!(data.keys().collect::<Vec<_>>(), ["ca.crt"], "{id}");
        assert_eq!(data["ca.crt"].0, world.pem(id).into_bytes(), "{id}");
    }
}
