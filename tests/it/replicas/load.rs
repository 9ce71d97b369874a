//! Replicas that end and start while resources change: no change is lost, and no target is ever without its
//! certificate.

use std::time::{Duration, Instant};

use futures::future::join_all;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{ListParams, Patch, PatchParams};
use operator_testing::wait::eventually;
use serde_json::json;

use super::{Replica, Replicas};
use crate::fixture::{ID, SOON};

const RESOURCES: usize = 20;

/// The duration of the test: `CCR_SOAK_SECONDS`, which `make soak` sets to five minutes.
fn duration() -> Duration {
    let seconds = std::env::var("CCR_SOAK_SECONDS").ok().map(|text| text.parse().expect("a number of seconds"));
    Duration::from_secs(seconds.unwrap_or(40))
}

#[derive(Clone, Copy)]
enum End {
    /// Like a node that loses power.
    Kill,
    /// Like a drain or a rolling upgrade: another replica is ready before the end.
    Replace,
}

fn holds(secret: &Secret, pem: &str) -> bool {
    secret.data.as_ref().is_some_and(|data| data.get("ca.crt").is_some_and(|value| value.0 == pem.as_bytes()))
}

/// Ends replicas one after another, while every resource changes all the time.
async fn survives(prefix: &str, end: impl Fn(usize) -> End) {
    let world = Replicas::new(prefix).await;
    let pem = world.pem(ID);
    let mut replicas = [world.start("p0").await, world.start("p1").await];
    let name = |number: usize| format!("r{number}");
    for number in 0..RESOURCES {
        world.create_ready(&name(number), json!({})).await;
    }

    let until = Instant::now() + duration();
    let load = async {
        let mut round = 0;
        while Instant::now() < until {
            round += 1;
            join_all((0..RESOURCES).map(async |number| {
                let patch = json!({ "spec": { "target": { "labels": { "round": format!("{round}") } } } });
                let (name, params) = (name(number), PatchParams::default());
                world.resources().patch(&name, &params, &Patch::Merge(patch)).await.unwrap();
            }))
            .await;
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        round
    };
    let watch = async {
        let mut looks = 0;
        while Instant::now() < until {
            let secrets = world.secrets().list(&ListParams::default()).await.unwrap();
            let held = secrets.iter().filter(|secret| holds(secret, &pem)).count();
            let without: Vec<String> = secrets.iter().filter(|s| !holds(s, &pem)).map(|s| s.name_any()).collect();
            assert!(held == RESOURCES && without.is_empty(), "{held} targets hold it, and not: {without:?}");
            looks += 1;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        looks
    };
    let mut ends = 0;
    let ending = async {
        while Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(fastrand::u64(500..3000))).await;
            ends += 1;
            let next = format!("p{}", ends + 1);
            let at = fastrand::usize(..replicas.len());
            match end(ends) {
                End::Kill => {
                    replicas[at].operator.kill().unwrap();
                    replicas[at] = world.spawn(&next).await;
                }
                End::Replace => {
                    let successor = world.start(&next).await;
                    let Replica { mut operator, proxy: _proxy } = std::mem::replace(&mut replicas[at], successor);
                    assert_eq!(operator.terminate(SOON).await.unwrap().code, Some(0));
                }
            }
        }
    };
    let (rounds, looks, ()) = futures::join!(load, watch, ending);
    println!("{rounds} rounds of changes, {looks} looks at all targets, {ends} replicas ended");
    assert!(rounds > 5 && looks > 20 && ends > 2, "too little happened to show anything");

    for number in 0..RESOURCES {
        eventually(SOON * 2, &format!("{} is of the last round", name(number)), async || {
            let secret = world.target(&name(number)).await;
            let of = secret.labels().get("round").cloned();
            if of == Some(rounds.to_string()) && holds(&secret, &pem) { Ok(()) } else { Err(format!("{of:?}")) }
        })
        .await;
        world.until_ready(&name(number)).await;
    }
    let events = world.events(&name(0)).await;
    assert!(!events.keys().any(|event| event.starts_with("Warning")), "{events:?}");
}

#[tokio::test]
async fn randomly_killed_replicas_lose_no_change_and_empty_no_target() {
    survives("kills", |_| End::Kill).await;
}

#[tokio::test]
async fn drained_and_upgraded_replicas_lose_no_change_and_empty_no_target() {
    survives("drains", |_| End::Replace).await;
}
