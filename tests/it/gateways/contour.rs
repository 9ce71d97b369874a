//! Contour: BoringSSL verifies. If the Secret is invalid, Contour removes the whole host.

use super::stories::{self, Other};
use super::world::{Form, Guarded, Verdict};

proves!(Contour);

/// Without a Secret with `ca.crt`, Contour refuses every client, and never lets one in unverified.
#[tokio::test]
async fn without_a_target_every_client_is_refused() {
    let others = [Other::Object { kind: "Secret", key: "tls.crt" }, Other::Object { kind: "ConfigMap", key: "ca.crt" }];
    stories::refuses_without_a_target(Form::Contour, "contour-without", "Secret", &others).await;
}

/// The target has never existed, for example because the HTTPProxy is created before the resource.
#[tokio::test]
async fn before_the_first_target_every_client_is_refused() {
    stories::refuses_before_the_first_target(Form::Contour, "contour-before").await;
}

#[tokio::test]
async fn a_secret_of_another_namespace_requires_a_delegation() {
    let world = Guarded::from_elsewhere(Form::Contour, "contour-elsewhere").await;
    world.apply_resource().await;
    world.until(Verdict::RefusesAll).await;
    world.delegate().await;
    world.until(Verdict::Checks).await;
}
