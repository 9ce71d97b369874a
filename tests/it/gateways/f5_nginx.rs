//! F5 NGINX Ingress Controller: OpenSSL's verdict. Without a Secret of its own type every request is answered with 500.

use serde_json::json;

use super::world::{Form, Guarded, Verdict};
use crate::fixture::ID;

proves!(F5Nginx);

#[tokio::test]
async fn without_a_target_nobody_gets_through() {
    let mut world = Guarded::start(Form::F5Nginx, "f5-nginx-without").await;
    world.until(Verdict::Checks).await;

    // Nobody puts back what is taken away.
    world.stop_operator().await;
    world.delete_target().await;
    world.until(Verdict::RefusesAll).await;
    world.create_target("Secret", json!({ "ca.crt": "" })).await;
    world.until(Verdict::RefusesAll).await;
    world.delete_target().await;
    world.create_target("ConfigMap", json!({ "ca.crt": world.pem(ID) })).await;
    world.until(Verdict::RefusesAll).await;
    world.delete_target().await;
    // What another preset makes.
    world.create_secret("Opaque", json!({ "ca.crt": world.pem(ID) })).await;
    world.until(Verdict::RefusesAll).await;

    // The operator's own again.
    world.delete_target().await;
    world.start_operator().await;
    world.until(Verdict::Checks).await;
}

#[tokio::test]
async fn before_there_is_a_target_nobody_gets_through() {
    let world = Guarded::without_target(Form::F5Nginx, "f5-nginx-before").await;
    world.until(Verdict::RefusesAll).await;
    world.apply_resource().await;
    world.until(Verdict::Checks).await;
}
