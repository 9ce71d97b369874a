//! Istio: BoringSSL verifies. A running gateway keeps the last CA that it received. A new gateway lets no client in.

use serde_json::json;

use super::world::{Form, Guarded, Verdict};
use crate::fixture::ID;

proves!(Istio);

/// A gateway that received a CA keeps it after any change of the Secret.
#[tokio::test]
async fn without_a_target_the_last_one_applies() {
    let mut world = Guarded::start(Form::Istio, "istio-without").await;
    world.until(Verdict::Checks).await;

    // No operator restores the removed target.
    world.stop_operator().await;
    world.delete_target().await;
    world.until(Verdict::Checks).await;
    world.create_target("Secret", json!({ "cacert": "" })).await;
    world.until(Verdict::Checks).await;
    world.delete_target().await;
    world.create_target("ConfigMap", json!({ "cacert": world.pem(ID) })).await;
    world.until(Verdict::Checks).await;
}

/// A gateway that never received a CA, for example in a new pod, lets no client in.
#[tokio::test]
async fn before_the_first_target_every_client_is_refused() {
    let mut world = Guarded::without_target(Form::Istio, "istio-before").await;
    world.until(Verdict::RefusesAll).await;
    world.stop_operator().await;
    world.create_target("Secret", json!({ "cacert": "" })).await;
    world.until(Verdict::RefusesAll).await;
    world.delete_target().await;
    world.create_target("ConfigMap", json!({ "cacert": world.pem(ID) })).await;
    world.until(Verdict::RefusesAll).await;

    world.delete_target().await;
    world.start_operator().await;
    world.apply_resource().await;
    world.until(Verdict::Checks).await;
}
