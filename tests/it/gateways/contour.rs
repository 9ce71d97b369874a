//! Contour: BoringSSL's verdict. What is wrong with the Secret is wrong with the whole host: Contour takes the host away.

use serde_json::json;

use super::world::{Form, Guarded, Verdict};
use crate::fixture::ID;

proves!(Contour);

/// Whatever is not a Secret with `ca.crt`, Contour refuses everybody, and never lets anybody in unasked.
#[tokio::test]
async fn without_a_target_everybody_is_refused() {
    let mut world = Guarded::start(Form::Contour, "contour-without").await;
    world.until(Verdict::Checks).await;

    // Nobody puts back what is taken away.
    world.stop_operator().await;
    world.delete_target().await;
    world.until(Verdict::RefusesAll).await;
    world.create_target("Secret", json!({ "ca.crt": "" })).await;
    world.until(Verdict::RefusesAll).await;
    world.delete_target().await;
    world.create_target("Secret", json!({ "tls.crt": world.pem(ID) })).await;
    world.until(Verdict::RefusesAll).await;
    world.delete_target().await;
    world.create_target("ConfigMap", json!({ "ca.crt": world.pem(ID) })).await;
    world.until(Verdict::RefusesAll).await;

    // The operator's own again.
    world.delete_target().await;
    world.start_operator().await;
    world.until(Verdict::Checks).await;
}

/// The check has never been there, as when the HTTPProxy comes before the resource.
#[tokio::test]
async fn before_there_is_a_target_everybody_is_refused() {
    let world = Guarded::without_target(Form::Contour, "contour-before").await;
    world.until(Verdict::RefusesAll).await;
    world.apply_resource().await;
    world.until(Verdict::Checks).await;
}

#[tokio::test]
async fn a_secret_of_another_namespace_takes_a_delegation() {
    let world = Guarded::from_elsewhere(Form::Contour, "contour-elsewhere").await;
    world.apply_resource().await;
    world.until(Verdict::RefusesAll).await;
    world.delegate().await;
    world.until(Verdict::Checks).await;
}
