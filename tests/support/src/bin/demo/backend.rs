//! A real nginx in front of a backend.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use client_certificate_operator::aws::gateway::Source;
use operator_testing::certificates::{NewCertificate, issue};
use operator_testing::emulator::DEFAULT_REGION;
use operator_testing::servers::{Caller, Client, Identity, Mount, Peer as _, Server, Setup};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::stage::{Stage, until};
use crate::world::{FIRST, NAMESPACE, PINS, SECOND, World};

const STRANGER: &str = "stranger";
const API: &str = "a1b2c3d4e5";
const STAGE: &str = "/restapis/a1b2c3d4e5/stages/prod";
/// The time for which API Gateway presents both certificates after a switch.
const PROPAGATION: Duration = Duration::from_secs(4);

/// Shows which clients nginx lets in, and how to prepare the next certificate.
pub async fn guard(stage: &Stage, world: &mut World) -> Result<()> {
    stage.step(
        "A real nginx accepts API Gateway and rejects all other clients",
        "nginx pins the certificates, as in deploy/samples/nginx: all client certificates of API Gateway have the same name, so\n\
         the name proves nothing. The target becomes a ConfigMap, and the operator deletes the Secret. There is no node, so\n\
         the demo writes the files that a kubelet would mount into the pod.",
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
        "nginx accepts {FIRST}; it rejects a client without a certificate, and a stranger's certificate with the same name"
    ));
    let address = nginx.address();
    let verify = format!(
        "client-certificate-operator verify --connect {address} --server-name localhost --ref {NAMESPACE}/payments"
    );
    let verdict = world.shell.run(stage, &verify).await?;
    ensure!(verdict.contains("verdict: on"), "the command verify prints another verdict");

    stage.step(
        "The next certificate is prepared",
        "The target holds both certificates, so the stage can switch at any time without a lost call.",
    );
    call(stage, world, &url, Some(SECOND), 403).await?;
    let patch = format!(
        "kubectl patch ccr payments --type=merge -p '{{\"spec\":{{\"additionalClientCertificateIds\":[\"{SECOND}\"]}}}}'"
    );
    world.shell.run(stage, &patch).await?;
    wait_for(stage, world, &format!("certificates[?(@.id==\"{SECOND}\")].id"), SECOND).await?;
    mount.update(&mounted(world).await?)?;
    nginx.reload().await?;
    for id in [FIRST, SECOND] {
        call(stage, world, &url, Some(id), 200).await?;
    }
    call(stage, world, &url, Some(STRANGER), 403).await?;
    stage.seen("nginx accepts both certificates now, and still rejects the stranger");
    renew(stage, world, &mut mount, &mut nginx).await
}

/// Shows a renewal on a stage: presented, prepared, safe, switched, dropped.
async fn renew(stage: &Stage, world: &World, mount: &mut Mount, nginx: &mut Server) -> Result<()> {
    stage.step(
        "Prepared: the next certificate has a tag",
        "A pipeline generates the next certificate with the tag app=payments. No stage presents it yet.",
    );
    let made = world.ask(stage, "POST", "/clientcertificates", r#"{"tags":{"app":"payments"}}"#).await?;
    let new = made["clientCertificateId"].as_str().context("the new certificate has no id")?.to_owned();

    stage.step(
        "Presented: the resource follows a stage, and trusts the next certificate by its tag",
        "Stage prod of API a1b2c3d4e5 presents the first certificate to this backend. The resource names the stage and the tag\n\
         instead of certificates, so it needs no edit for a renewal. From now on, API Gateway calls the backend continuously,\n\
         each time over a new connection.",
    );
    world.emulator.present(DEFAULT_REGION, API, "prod", Some(FIRST));
    world.ask(stage, "GET", STAGE, "").await?;
    let spec = format!(
        r#"{{"spec":{{"clientCertificateId":null,"stage":{{"restApiId":"{API}","stageName":"prod"}},"overlap":"5s","additionalClientCertificateIds":null,"additionalClientCertificateTags":{{"app":"payments"}},"soak":"3s"}}}}"#
    );
    world.shell.run(stage, &format!("kubectl patch ccr payments --type=merge -p '{spec}'")).await?;
    wait_for(stage, world, "stage.clientCertificateId", FIRST).await?;
    wait_for(stage, world, &format!("certificates[?(@.id==\"{new}\")].id"), &new).await?;
    until_only(world, &[FIRST, &new]).await?;
    let soaking = world.shell.run(stage, SAFE_TO_SWITCH).await?;
    ensure!(soaking.contains("Soaking"), "the condition SafeToSwitch is different");
    mount.update(&mounted(world).await?)?;
    nginx.reload().await?;
    let api_gateway = world.emulator.presenter(DEFAULT_REGION, API, "prod", nginx, PROPAGATION);
    let calls = Calls::start(api_gateway.clone());
    stage.seen("the status shows the certificate that the stage presents, and the next certificate");

    stage.step(
        "Safe: a pipeline waits for its own certificate",
        "The next certificate is safe after the target has held it for spec.soak: 3 s here, the longest time that the server\n\
         needs to load the target. The pipeline waits for safeToSwitch.",
    );
    wait_for(stage, world, &format!("certificates[?(@.id==\"{new}\")].safeToSwitch"), "true").await?;
    let soaked = world.shell.run(stage, SAFE_TO_SWITCH).await?;
    ensure!(soaked.contains("Soaked"), "the condition SafeToSwitch is different");
    stage.seen("nginx has loaded the certificate, and the stage may be switched from now on");

    stage.step(
        "Switched: the stage presents the new certificate",
        "A pipeline or a person switches the stage; the operator never does. The resource needs no edit. A switch takes time: for\n\
         4 s here, API Gateway presents the former certificate and the new one at random. The pipeline requests a read by the\n\
         annotation; such reads are at least 10 s apart, so this one takes a moment.",
    );
    let body = format!(r#"{{"patchOperations":[{{"op":"replace","path":"/clientCertificateId","value":"{new}"}}]}}"#);
    world.ask(stage, "PATCH", STAGE, &body).await?;
    let switched = Instant::now();
    world
        .shell
        .run(stage, "kubectl annotate --overwrite ccr payments apigateway.clientcert.dev/refresh=switched")
        .await?;
    wait_for(stage, world, "stage.clientCertificateId", &new).await?;
    wait_for(stage, world, "certificates[?(@.role==\"Former\")].id", FIRST).await?;
    mount.update(&mounted(world).await?)?;
    nginx.reload().await?;
    world.shell.run(stage, "kubectl get ccr payments -o wide").await?;
    let (old, new_one) = (|| api_gateway.presented_of(FIRST), || api_gateway.presented_of(&new));
    let propagated = async || {
        let both = old().propagating > 0 && new_one().propagating > 0;
        Ok((both && switched.elapsed() > PROPAGATION).then_some(()))
    };
    until("the switch has propagated, and API Gateway has presented both certificates", propagated).await?;
    stage.seen(&format!(
        "meanwhile {} calls presented the former certificate, and {} the new one",
        old().propagating,
        new_one().propagating
    ));

    stage.step(
        "Dropped: the operator removes the former certificate",
        "The operator has read the switch. After spec.overlap, 5 s here, it removes the former certificate from the target.",
    );
    until_only(world, &[&new]).await?;
    mount.update(&mounted(world).await?)?;
    nginx.reload().await?;
    let url = format!("https://localhost:{}/", nginx.address().port());
    // The former workers of nginx serve for a while after a reload.
    let client = client(world, nginx, FIRST)?;
    until("nginx rejects the former certificate", async || Ok(client.get().await.is_refused().then_some(()))).await?;
    call(stage, world, &url, Some(FIRST), 403).await?;
    world.shell.run(stage, "kubectl get ccr payments -o wide").await?;
    let (made, refused) = calls.stop().await;
    ensure!(refused.is_empty(), "{} of {made} calls were rejected: {refused:?}", refused.len());
    stage.seen(&format!("{made} calls before, during and after the switch, and none was rejected"));
    Ok(())
}

/// Waits until the target holds only these certificates.
async fn until_only(world: &World, ids: &[&str]) -> Result<()> {
    let only = async || {
        let held = world.field("/status/certificates").await?;
        let is_only = |held: &Vec<Value>| {
            held.len() == ids.len() && held.iter().all(|held| ids.iter().any(|id| held["id"] == **id))
        };
        Ok(held.as_array().is_some_and(is_only).then_some(()))
    };
    until(&format!("the target holds only {}", ids.join(" and ")), only).await.map(|_| ())
}

/// Waits until a field of the status has this value.
async fn wait_for(stage: &Stage, world: &World, field: &str, value: &str) -> Result<()> {
    let command = format!("kubectl wait ccr/payments --for=jsonpath='{{.status.{field}}}'={value} --timeout=60s");
    world.shell.run(stage, &command).await?;
    Ok(())
}

const SAFE_TO_SWITCH: &str = r#"kubectl get ccr payments -o jsonpath='{range .status.conditions[?(@.type=="SafeToSwitch")]}{.type}={.status} {.reason}: {.message}{end}'"#;

/// A client that presents a certificate of API Gateway.
fn client(world: &World, nginx: &Server, id: &str) -> Result<Client> {
    let key = world.emulator.private_key(&Source::own(DEFAULT_REGION, id)).context("the emulator has no such key")?;
    let certificate = world.certificate(id).context("the emulator has no such certificate")?;
    Client::new(nginx, Some(&Identity::new(&certificate.pem, &key)?))
}

/// A client that calls without a pause.
struct Calls {
    goes_on: watch::Sender<bool>,
    caller: JoinHandle<(usize, Vec<String>)>,
}

impl Calls {
    fn start(client: impl Caller + Sync) -> Self {
        let (goes_on, is_wanted) = watch::channel(true);
        let caller = tokio::spawn(async move {
            let (mut made, mut refused) = (0, Vec::new());
            while *is_wanted.borrow() {
                let answer = client.call().await;
                made += 1;
                if !answer.is_let_in() {
                    refused.push(answer.to_string());
                }
            }
            (made, refused)
        });
        Calls { goes_on, caller }
    }

    async fn stop(self) -> (usize, Vec<String>) {
        self.goes_on.send_replace(false);
        self.caller.await.unwrap_or_else(|error| (0, vec![error.to_string()]))
    }
}

fn callers(world: &World) -> PathBuf {
    world.control_plane.folder().join("callers")
}

/// The files that a kubelet would put into the volume.
async fn mounted(world: &World) -> Result<BTreeMap<String, Vec<u8>>> {
    let data = world.pins().await?.and_then(|map| map.data).context("there is no ConfigMap with data")?;
    Ok(data.into_iter().map(|(key, text)| (key, text.into_bytes())).collect())
}

/// Writes the callers' certificates and keys, and the CA of nginx's certificate, into the folder `$TLS`, for the
/// commands.
fn prepare_callers(world: &mut World, nginx: &Server) -> Result<()> {
    let folder = callers(world);
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
    ensure!(answer == format!("HTTP {expected}"), "nginx responded {answer}");
    Ok(())
}
