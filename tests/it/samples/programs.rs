//! Runs the samples of the plain servers: the real program with the sample's unchanged configuration or source and its
//! reload loop, with the target of the sample's resource.

use std::net::{Ipv4Addr, SocketAddr};

use client_certificate_operator::api::VerifierClass;
use operator_testing::servers::{Client, Identity, Mount, Peer, Sample, Server, Setup};
use serde_json::{Value, json};

use super::*;
use crate::fixture::{ID, SOON, World};
use crate::ground::source;
use crate::servers::world::{application, permit, stranger, until_let_in, until_refused};
use crate::verify::verify;
use operator_testing::wait::eventually;

const NEW: &str = "new001";

/// The files of a sample's folder, and the container that terminates TLS.
pub fn sample(name: &str, application: SocketAddr) -> Sample {
    let mut read = Sample { files: BTreeMap::new(), args: vec![], mount_path: String::new(), application };
    for entry in std::fs::read_dir(folder().join(name)).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        if path.extension().is_some_and(|extension| extension != "yaml") {
            read.files.insert(path.file_name().unwrap().to_str().unwrap().to_owned(), text);
            continue;
        }
        for document in serde_saphyr::from_multiple::<Value>(&text).unwrap() {
            if document["kind"] == "ConfigMap" {
                read.files
                    .extend(serde_json::from_value::<BTreeMap<String, String>>(document["data"].clone()).unwrap());
            }
            if document["kind"] == "Deployment" {
                let container = &document["spec"]["template"]["spec"]["containers"][0];
                read.args = serde_json::from_value(container["args"].clone()).unwrap_or_default();
                read.mount_path = container["volumeMounts"][0]["mountPath"].as_str().unwrap().to_owned();
            }
        }
    }
    read
}

/// The data of the sample's target.
async fn target(world: &World<'_>) -> BTreeMap<String, Vec<u8>> {
    let target = world.resource("payments").await.status.unwrap().target.unwrap();
    if target.kind.to_string() == "ConfigMap" {
        let maps: Api<ConfigMap> = Api::namespaced(world.client.clone(), &world.namespace);
        let data = maps.get(&target.name).await.unwrap().data.unwrap_or_default();
        data.into_iter().map(|(key, value)| (key, value.into_bytes())).collect()
    } else {
        let data = world.secrets().get(&target.name).await.unwrap().data.unwrap_or_default();
        data.into_iter().map(|(key, value)| (key, value.0)).collect()
    }
}

fn identity(world: &World<'_>, id: &str) -> Identity {
    let pem = world.emulator.certificate(&source(id)).unwrap().pem;
    Identity::new(&pem, &world.emulator.private_key(&source(id)).unwrap()).unwrap()
}

/// Applies the sample's resource, runs its server, and renews the certificate.
async fn runs(name: &str, setup: Setup) {
    let _permit = permit().await;
    let world = World::start("samples-run").await;
    world.emulator.generate(REGION, NewCertificate::new().id(NEW));
    let file = folder().join(name).join("clientcertificateref.yaml");
    kubectl(world.control_plane, &world.namespace, &["apply", "--filename", file.to_str().unwrap()]).await;
    world.until_ready("payments").await;
    let mut mount = Mount::new(&target(&world).await).unwrap();
    let server = Server::start_sample(setup, &mount, &sample(name, application(Ipv4Addr::LOCALHOST.into()).await))
        .await
        .unwrap();

    let client = |identity: Option<&Identity>| Client::new(&server, identity).unwrap();
    let (old, new, other) = (identity(&world, ID), identity(&world, NEW), stranger());
    let answer = client(Some(&old)).get().await;
    assert!(answer.is_let_in(), "the right certificate: {answer}");
    for (who, identity) in [("none", None), ("a stranger's", Some(&other)), ("one not in the target", Some(&new))] {
        let answer = client(identity).get().await;
        assert!(answer.is_refused(), "{who}: {answer}");
    }
    let reference = format!("{}/payments", world.namespace);
    let connect = server.address().to_string();
    let args = ["--connect", &connect, "--server-name", "localhost", "--ref", &reference];
    let report = verify(world.kubeconfig(), &args).await;
    assert_eq!(report.code, 0, "{}{}", report.stdout, report.stderr);

    // The next certificate comes first, and the old one after it.
    let spec = json!({ "clientCertificateId": NEW, "additionalClientCertificateIds": [ID] });
    world.patch("payments", json!({ "spec": spec })).await;
    let before = mount.data().unwrap();
    let after = eventually(SOON, "the target changes", async || {
        let data = target(&world).await;
        (data != before).then_some(data)
    });
    mount.update(&after.await).unwrap();
    // A server that has to reload does so by itself.
    until_let_in(&client(Some(&new)), "the next certificate").await;
    match setup.class() {
        VerifierClass::OverlapSafe => {
            let answer = client(Some(&old)).get().await;
            assert!(answer.is_let_in(), "the old one meanwhile: {answer}");
        }
        // A former worker may accept one more call after the reload.
        VerifierClass::FirstWins => until_refused(&client(Some(&old)), "the old one behind it").await,
    }
    let answer = client(Some(&other)).get().await;
    assert!(answer.is_refused(), "a stranger's after the renewal: {answer}");
}

/// The samples warn of this: the same configuration without the line that compares pins lets strangers in. `verify`
/// detects it.
#[tokio::test]
async fn without_the_line_that_compares_pins_verify_reports_accepted_strangers() {
    let _permit = permit().await;
    let world = World::start("samples-open").await;
    for (name, setup, file, line) in [
        ("nginx", Setup::NginxPins, "nginx.conf", "if ($is_api_gateway = 0) { return 403; }"),
        ("haproxy", Setup::HaproxyPins, "haproxy.cfg", "http-request deny deny_status 403 unless is_api_gateway"),
    ] {
        let resource = folder().join(name).join("clientcertificateref.yaml");
        kubectl(world.control_plane, &world.namespace, &["apply", "--filename", resource.to_str().unwrap()]).await;
        world.until_ready("payments").await;
        let mount = Mount::new(&target(&world).await).unwrap();
        let mut open = sample(name, application(Ipv4Addr::LOCALHOST.into()).await);
        let text = open.files.get_mut(file).unwrap();
        assert_eq!(text.matches(line).count(), 1, "{name}");
        *text = text.replace(line, "");
        let server = Server::start_sample(setup, &mount, &open).await.unwrap();
        let (connect, reference) = (server.address().to_string(), format!("{}/payments", world.namespace));
        let report = verify(world.kubeconfig(), &["--connect", &connect, "--ref", &reference]).await;
        assert_eq!(report.code, 3, "{name}: {}{}", report.stdout, report.stderr);
        assert_eq!(report.fact("a stranger's certificate of the same name"), "accepted (HTTP 200)", "{name}");
    }
}

macro_rules! samples {
    ($($test:ident: $folder:literal, $setup:ident;)*) => {
        $(
            #[tokio::test]
            async fn $test() {
                runs($folder, Setup::$setup).await;
            }
        )*
    };
}

samples! {
    nginx: "nginx", NginxPins;
    nginx_ca: "nginx-ca", NginxCa;
    haproxy: "haproxy", HaproxyPins;
    haproxy_ca: "haproxy-ca", HaproxyCa;
    envoy: "envoy", EnvoyHashes;
    envoy_ca: "envoy-ca", EnvoyCa;
    go: "go", Go;
    java: "java", JavaPkcs12;
}
