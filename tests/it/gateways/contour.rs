//! Contour: BoringSSL's verdict. What is wrong with the Secret is wrong with the whole host: Contour takes the host away.

use super::stories::{self, Other};
use super::world::{Form, Guarded, Verdict};

proves!(Contour);

/// Whatever is not a Secret with `ca.crt`, Contour refuses everybody, and never lets anybody in unasked.
#[tokio::test]
async fn without_a_target_everybody_is_refused() {
    let others = [Other::Object { kind: "Secret", key: "tls.crt" }, Other::Object { kind: "ConfigMap", key: "ca.crt" }];
    stories::refuses_without_a_target(Form::Contour, "contour-without", "Secret", &others).await;
}

/// The check has never been there, as when the HTTPProxy comes before the resource.
#[tokio::test]
async fn before_there_is_a_target_everybody_is_refused() {
    stories::refuses_before_there_is_a_target(Form::Contour, "contour-before").await;
}

#[tokio::test]
async fn a_secret_of_another_namespace_takes_a_delegation() {
    let world = Guarded::from_elsewhere(Form::Contour, "contour-elsewhere").await;
    world.apply_resource().await;
    world.until(Verdict::RefusesAll).await;
    world.delegate().await;
    world.until(Verdict::Checks).await;
}
