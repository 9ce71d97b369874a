//! Envoy Gateway: BoringSSL verifies. If the policy is invalid, every route returns 500.

use operator_testing::servers::Client;
use serde_json::{Value, json};

use super::stories::{self, Other};
use super::world::{Form, Guarded, NAME, NEW, Verdict};
use crate::fixture::ID;
use crate::servers::world::{stranger, until_let_in, until_refused};

proves!(EnvoyGateway);

/// Without a ConfigMap with a certificate, Envoy Gateway lets no client through, and never one unverified.
#[tokio::test]
async fn without_a_target_every_client_is_refused() {
    let others = [Other::Object { kind: "Secret", key: "ca.crt" }];
    stories::refuses_without_a_target(Form::EnvoyGateway, "envoy-gateway-without", "ConfigMap", &others).await;
}

#[tokio::test]
async fn before_the_first_target_every_client_is_refused() {
    stories::refuses_before_the_first_target(Form::EnvoyGateway, "envoy-gateway-before").await;
}

#[tokio::test]
async fn a_config_map_of_another_namespace_requires_a_grant() {
    let world = Guarded::from_elsewhere(Form::EnvoyGateway, "envoy-gateway-elsewhere").await;
    world.apply_resource().await;
    world.until(Verdict::RefusesAll).await;
    world.delegate().await;
    world.until(Verdict::Checks).await;
}

/// Pins in addition to a CA restrict the clients that the CA lets in, and let in no others.
#[tokio::test]
async fn pins_of_the_policy_do_not_allow_two_certificates() {
    let world = Guarded::start(Form::EnvoyGateway, "envoy-gateway-pins").await;
    world.ask_for(&[ID, NEW]).await;
    validate(&world, json!({ "certificateHashes": [pin(&world, ID).await, pin(&world, NEW).await] })).await;
    until_let_in(&world.client(ID), ID).await;
    until_refused(&world.client(NEW), NEW).await;

    // The pins are in force: without the pin of the first certificate, no client is let in.
    validate(&world, json!({ "certificateHashes": [pin(&world, NEW).await] })).await;
    until_refused(&world.client(ID), ID).await;
    world.until(Verdict::RefusesAll).await;
}

/// The only mode that accepts pins without a CA lets every client in.
#[tokio::test]
async fn pins_with_require_any_accept_strangers() {
    let world = Guarded::start(Form::EnvoyGateway, "envoy-gateway-open").await;
    let pins = json!([pin(&world, ID).await]);
    let open = json!({ "mode": "RequireAny", "optional": null, "caCertificateRefs": null, "certificateHashes": pins });
    validate(&world, open).await;
    let client = Client::new(&world.gateway, Some(&stranger())).unwrap();
    until_let_in(&client, "a stranger").await;
}

/// Changes the policy's `clientValidation`.
async fn validate(world: &Guarded, fields: Value) {
    let patch = json!({ "spec": { "tls": { "clientValidation": fields } } });
    let patched =
        world.kubectl(&["patch", "clienttrafficpolicy", NAME, "--type=merge", "--patch", &patch.to_string()]).await;
    assert!(patched.status.success(), "{patched:?}");
}

/// The pin of a certificate in Envoy's form.
async fn pin(world: &Guarded, id: &str) -> String {
    let certificates = world.resource(NAME).await.status.unwrap().certificates;
    let found = certificates.into_iter().find(|held| held.id == id);
    found.and_then(|held| held.sha256_fingerprint).unwrap_or_else(|| panic!("{id} is not in the target"))
}
