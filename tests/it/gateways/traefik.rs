//! Traefik: Go verifies.

use operator_testing::servers::Client;

use super::stories::{self, Other};
use super::world::{Form, Guarded, NAME, Verdict};
use crate::servers::world::{stranger, until_let_in};

proves!(Traefik);

#[tokio::test]
async fn without_a_target_every_client_is_refused() {
    let others = [Other::Object { kind: "ConfigMap", key: "ca.crt" }];
    stories::refuses_without_a_target(Form::Traefik, "traefik-without", "Secret", &others).await;
}

#[tokio::test]
async fn before_the_first_target_every_client_is_refused() {
    stories::refuses_before_the_first_target(Form::Traefik, "traefik-before").await;
}

#[tokio::test]
async fn a_route_to_another_namespace_responds_404() {
    let world = Guarded::start(Form::Traefik, "traefik-elsewhere").await;
    world.until(Verdict::Checks).await;
    world.furnish(&world.elsewhere).await;
    let route = route().replace("    options:\n", &format!("    options:\n      namespace: {}\n", world.namespace));
    assert_ne!(route, self::route());
    world.apply(&world.elsewhere, &route).await;
    let deleted = world.kubectl(&["delete", "ingressroute", NAME]).await;
    assert!(deleted.status.success(), "{deleted:?}");
    world.until(Verdict::RefusesAll).await;
}

/// If the routes of one host have different options, Traefik uses none of them.
#[tokio::test]
async fn a_route_of_the_host_without_the_option_accepts_every_client() {
    let world = Guarded::start(Form::Traefik, "traefik-differing").await;
    world.until(Verdict::Checks).await;
    let other = route()
        .replace("  name: payments\nspec", "  name: other\nspec")
        .replace("Host(`", "PathPrefix(`/other`) && Host(`");
    let other = other.split("    options:").next().unwrap();
    world.apply(&world.namespace, other).await;
    let client = Client::new(&world.gateway, Some(&stranger())).unwrap();
    until_let_in(&client, "a stranger").await;
    until_let_in(&Client::new(&world.gateway, None).unwrap(), "who has no certificate").await;
}

/// The sample's IngressRoute.
fn route() -> String {
    let sample = std::fs::read_to_string(Form::Traefik.sample().join("traefik.yaml")).unwrap();
    sample.split("\n---\n").nth(1).unwrap().to_owned()
}
