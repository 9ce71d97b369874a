//! Repeated events are one event with a count.

use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, ListParams};
use operator_testing::wait::{eventually, never};
use serde_json::json;

use crate::fixture::{A_WHILE, ID, SOON, World};

/// The counts of the Event objects of this reason.
async fn counts(world: &World<'_>, reason: &str) -> Vec<i32> {
    let events: Api<Event> = Api::namespaced(world.client.clone(), &world.namespace);
    let events = events.list(&ListParams::default()).await.unwrap().into_iter();
    let of_reason = events.filter(|event| event.reason.as_deref() == Some(reason));
    of_reason.map(|event| event.series.map_or(1, |series| series.count)).collect()
}

async fn names(world: &World<'_>, id: &str) {
    world.patch("payments", json!({ "spec": { "clientCertificateId": id } })).await;
}

#[tokio::test]
async fn fifty_temporary_failures_are_one_event_with_a_count() {
    let mut world = World::start("series-of-50").await;
    world.create_ready("payments", json!({})).await;
    for count in 1..=50 {
        names(&world, "lost").await;
        world.until("payments", "Ready", "False", "NotFound").await;
        eventually(SOON, "the failure is reported", async || {
            let found = counts(&world, "NotFound").await;
            if found == [count] { Ok(()) } else { Err(format!("{found:?}, not {count}")) }
        })
        .await;
        names(&world, ID).await;
        world.until_ready("payments").await;
    }
    assert_eq!(world.writes_of("events").iter().filter(|write| write.starts_with("create")).count(), 2);

    // Another process does not have the series, but does not repeat an event that the status already shows.
    names(&world, "lost").await;
    world.until("payments", "Ready", "False", "NotFound").await;
    eventually(SOON, "it is reported", async || counts(&world, "NotFound").await == [51]).await;
    world.stop_operator().await;
    world.start_operator().await;
    // The observed generation shows that the operator has reconciled with the same result.
    world.patch("payments", json!({ "spec": { "refreshInterval": "10m" } })).await;
    world.until("payments", "Ready", "False", "NotFound").await;
    never(A_WHILE, "it is reported again", async || {
        Some(counts(&world, "NotFound").await).filter(|found| *found != [51])
    })
    .await;
}
