//! The last act: a real nginx in front of a backend.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use client_certificate_operator::aws::gateway::Source;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use operator_testing::certificates::{NewCertificate, issue};
use operator_testing::emulator::DEFAULT_REGION;
use operator_testing::servers::{Mount, Server, Setup};

use crate::stage::Stage;
use crate::world::{FIRST, NAMESPACE, SECOND, World};

const PINS: &str = "payments-client-pins";
const STRANGER: &str = "stranger";

/// Shows who is let in, and how the next certificate is prepared.
pub async fn guard(stage: &Stage, world: &mut World) -> Result<()> {
    stage.step(
        "A real nginx lets API Gateway in and nobody else",
        "nginx pins the certificates, as deploy/samples/nginx has it: all of API Gateway's have one name, so the name proves\n\
         nothing. Here is no node, so what a kubelet would mount into its pod is mounted by the demo.",
    );
    let sample = "deploy/samples/nginx/clientcertificateref.yaml";
    world.shell.run(stage, &format!("kubectl apply -f {sample}")).await?;
    world.shell.run(stage, "kubectl wait --for=condition=Ready ccr/payments --timeout=60s").await?;
    world.shell.run(stage, &format!("kubectl get configmap {PINS} -o jsonpath='{{.data}}'")).await?;
    let mut mount = Mount::new(&mounted(world).await?)?;
    let mut nginx = Server::start(Setup::NginxPins, &mount).await?;
    prepare_callers(world, &nginx)?;
    let url = format!("https://localhost:{}/", nginx.address().port());

    call(stage, world, &url, Some(FIRST), 200).await?;
    call(stage, world, &url, None, 403).await?;
    call(stage, world, &url, Some(STRANGER), 403).await?;
    stage.seen(&format!(
        "{FIRST} is let in; turned away are who has no certificate, and a stranger's certificate of the same name"
    ));
    let address = nginx.address();
    let verify = format!(
        "client-certificate-operator verify --connect {address} --server-name localhost --ref {NAMESPACE}/payments"
    );
    let verdict = world.shell.run(stage, &verify).await?;
    ensure!(verdict.contains("verdict: on"), "the operator's own look at it has another verdict");

    stage.step(
        "The next certificate is prepared",
        "Named as an additional one it is trusted beside the first, so that the stage can switch at any time without a lost call.",
    );
    call(stage, world, &url, Some(SECOND), 403).await?;
    let patch = format!(
        "kubectl patch ccr payments --type=merge -p '{{\"spec\":{{\"additionalClientCertificateIds\":[\"{SECOND}\"]}}}}'"
    );
    world.shell.run(stage, &patch).await?;
    let wait =
        format!("kubectl wait --for=jsonpath='{{.status.certificates[1].id}}'={SECOND} ccr/payments --timeout=60s");
    world.shell.run(stage, &wait).await?;
    mount.update(&mounted(world).await?)?;
    nginx.reload().await?;
    for id in [FIRST, SECOND] {
        call(stage, world, &url, Some(id), 200).await?;
    }
    call(stage, world, &url, Some(STRANGER), 403).await?;
    stage.seen("both are let in now, and the stranger is not");
    Ok(())
}

/// What a kubelet would put into the volume.
async fn mounted(world: &World) -> Result<BTreeMap<String, Vec<u8>>> {
    let maps: Api<ConfigMap> = Api::namespaced(world.control_plane.client().await?, NAMESPACE);
    let data = maps.get(PINS).await?.data.context("the ConfigMap is empty")?;
    Ok(data.into_iter().map(|(key, text)| (key, text.into_bytes())).collect())
}

/// Lays the callers' certificates and keys, and the authority of nginx's own certificate, where commands find them: `$TLS`.
fn prepare_callers(world: &mut World, nginx: &Server) -> Result<()> {
    let folder = world.control_plane.folder().join("callers");
    std::fs::create_dir(&folder)?;
    let write = |name: String, text: &str| std::fs::write(folder.join(name), text);
    write("ca.crt".into(), nginx.authority_pem())?;
    for id in [FIRST, SECOND] {
        let key = world.emulator.private_key(&Source::own(DEFAULT_REGION, id));
        write(format!("{id}.key"), &key.context("the emulator has no such key")?)?;
        write(format!("{id}.crt"), &world.certificate(id).context("the emulator has no such certificate")?.pem)?;
    }
    let stranger = issue(NewCertificate::new());
    write(format!("{STRANGER}.key"), &stranger.private_key_pem)?;
    write(format!("{STRANGER}.crt"), &stranger.certificate.pem)?;
    world.shell.set("TLS", folder);
    Ok(())
}

async fn call(stage: &Stage, world: &World, url: &str, who: Option<&str>, expected: u16) -> Result<()> {
    let who = who.map(|who| format!("--cert $TLS/{who}.crt --key $TLS/{who}.key ")).unwrap_or_default();
    let command = format!(
        "curl --silent --show-error --output /dev/null --write-out 'HTTP %{{http_code}}' --cacert $TLS/ca.crt {who}{url}"
    );
    let answer = world.shell.run(stage, &command).await?;
    ensure!(answer == format!("HTTP {expected}"), "nginx answered {answer}");
    Ok(())
}
