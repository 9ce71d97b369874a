//! ingress-nginx: OpenSSL verifies. Without its Secret, every request gets 403.

use serde_json::json;

use super::stories::{self, Other};
use super::world::{Form, Guarded, Verdict};
use crate::fixture::ID;

proves!(IngressNginx);

#[tokio::test]
async fn without_a_target_every_client_is_refused() {
    let others = [Other::Object { kind: "ConfigMap", key: "ca.crt" }];
    stories::refuses_without_a_target(Form::IngressNginx, "ingress-nginx-without", "Secret", &others).await;
}

#[tokio::test]
async fn before_the_first_target_every_client_is_refused() {
    stories::refuses_before_the_first_target(Form::IngressNginx, "ingress-nginx-before").await;
}

/// The target is in another namespace than the Ingress.
#[tokio::test]
async fn a_secret_of_another_namespace_is_not_read() {
    let world = Guarded::start(Form::IngressNginx, "ingress-nginx-elsewhere").await;
    world.until(Verdict::Checks).await;
    let annotation = format!("nginx.ingress.kubernetes.io/auth-tls-secret={}/payments-client-ca", world.elsewhere);
    let annotated = world.kubectl(&["annotate", "--overwrite", "ingress", "payments", &annotation]).await;
    assert!(annotated.status.success(), "{annotated:?}");
    world.create_elsewhere(json!({ "ca.crt": world.pem(ID) })).await;
    world.until(Verdict::RefusesAll).await;
}
