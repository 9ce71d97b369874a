//! A full etcd accepts only deletions until an administrator frees space.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, ListParams, ObjectMeta, PostParams};
use operator_testing::control_plane::{ControlPlane, Options};
use operator_testing::wait::eventually;
use serde_json::{Value, json};
use tokio::net::UnixStream;

use super::{LONG, makes_no_further_write};
use crate::faults::{World, install};

const QUOTA: u64 = 24 * 1024 * 1024;

/// Makes one call of etcd's API, like etcdctl.
async fn etcd(control_plane: &ControlPlane, path: &str, body: Value) -> Result<Value> {
    let socket: PathBuf = control_plane.folder().join("etcd.sock:0");
    let stream = UnixStream::connect(&socket).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::post(path).header("host", "etcd").body(Full::<Bytes>::from(body.to_string()))?;
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    ensure!(status.is_success(), "etcd answers {status} to {path}: {}", String::from_utf8_lossy(&body));
    Ok(serde_json::from_slice(&body)?)
}

/// Fills the free space with ConfigMaps.
async fn fill(world: &World<'_>) {
    let filler: Api<ConfigMap> = Api::namespaced(world.client.clone(), "default");
    for number in 0_usize.. {
        let size = if number < 200 { 900_000 } else { 1_000 };
        let name = Some(format!("filler{number}"));
        let data = Some([("x".to_owned(), "x".repeat(size))].into());
        let metadata =
            ObjectMeta { name, labels: Some([("filler".into(), "true".into())].into()), ..Default::default() };
        let new = ConfigMap { metadata, data, ..ConfigMap::default() };
        match filler.create(&PostParams::default(), &new).await {
            Ok(_) => {}
            Err(error) if error.to_string().contains("database space exceeded") => return,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Frees space, like an administrator.
async fn make_room(world: &World<'_>) {
    let filler: Api<ConfigMap> = Api::namespaced(world.client.clone(), "default");
    filler.delete_collection(&DeleteParams::default(), &ListParams::default().labels("filler=true")).await.unwrap();
    let of = world.control_plane;
    let range = etcd(of, "/v3/kv/range", json!({ "key": "AA==", "limit": "1" })).await.unwrap();
    let revision = range["header"]["revision"].clone();
    etcd(of, "/v3/kv/compaction", json!({ "revision": revision, "physical": true })).await.unwrap();
    etcd(of, "/v3/maintenance/defragment", json!({})).await.unwrap();
    let raised = etcd(of, "/v3/maintenance/alarm", json!({ "action": "GET", "alarm": "NOSPACE" })).await.unwrap();
    for alarm in raised["alarms"].as_array().expect("it was raised") {
        let lift = json!({ "action": "DEACTIVATE", "alarm": "NOSPACE", "memberID": alarm["memberID"] });
        etcd(of, "/v3/maintenance/alarm", lift).await.unwrap();
    }
}

#[tokio::test]
async fn a_full_etcd_is_logged_and_removes_no_target() {
    let control_plane =
        ControlPlane::start_with(Options { etcd_quota: Some(QUOTA), ..Options::default() }).await.unwrap();
    install(&control_plane).await;
    let world = World::on(&control_plane, "full").await;
    let mut operator = world.operator().await;
    for id in ["kept", "gone"] {
        world.mirrored(id, true).await;
    }
    let before = world.target("kept").await;
    fill(&world).await;

    // API Gateway has a new certificate that cannot be written. A target is deleted, which is still possible.
    world.emulator.renew(&world.source("kept"), operator_testing::certificates::NewCertificate::new().shared_key());
    world.secrets().delete("gone", &DeleteParams::default()).await.unwrap();
    operator.wait_for_log("database space exceeded").await.unwrap();
    assert_eq!(world.target("kept").await, before, "the last good one stays");

    make_room(&world).await;
    eventually(LONG, "the target is back", async || world.target("gone").await.is_some()).await;
    world.refreshed("kept", "now").await;
    world.wait_for_target("kept", "kept").await;
    world.wait_ready("gone", 1).await;
    makes_no_further_write(&world, "kept").await;
}
