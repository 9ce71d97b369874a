//! F5 NGINX Ingress Controller: OpenSSL verifies. Without a Secret of its type, every request gets 500.

use super::stories::{self, Other};
use super::world::Form;

proves!(F5Nginx);

#[tokio::test]
async fn without_a_target_every_client_is_refused() {
    let others = [Other::Object { kind: "ConfigMap", key: "ca.crt" }, Other::SecretOf { type_: "Opaque" }];
    stories::refuses_without_a_target(Form::F5Nginx, "f5-nginx-without", "Secret", &others).await;
}

#[tokio::test]
async fn before_the_first_target_every_client_is_refused() {
    stories::refuses_before_the_first_target(Form::F5Nginx, "f5-nginx-before").await;
}
