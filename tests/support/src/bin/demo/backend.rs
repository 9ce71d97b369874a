//! A real nginx in front of a backend.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use client_certificate_operator::aws::gateway::Source;
use operator_testing::certificates::{NewCertificate, issue};
use operator_testing::emulator::DEFAULT_REGION;
use operator_testing::servers::{Client, Identity, Mount, Peer as _, Server, Setup};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::stage::{Stage, until};
use crate::world::{FIRST, NAMESPACE, PINS, SECOND, World};

const STRANGER: &str = "stranger";

/// Shows who is let in, and how the next certificate is prepared.
pub async fn guard(stage: &Stage, world: &mut World) -> Result<()> {
    stage.step(
        "A real nginx lets API Gateway in and nobody else",
        "nginx pins the certificates, as deploy/samples/nginx has it: all of API Gateway's have one name, so the name proves\n\
         nothing. The target becomes a ConfigMap, and the Secret goes. There is no node, so the demo mounts what a kubelet would mount into the pod.",
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
        "nginx accepts {FIRST}; it refuses a caller without a certificate, and a stranger's certificate of the same name"
    ));
    let address = nginx.address();
    let verify = format!(
        "client-certificate-operator verify --connect {address} --server-name localhost --ref {NAMESPACE}/payments"
    );
    let verdict = world.shell.run(stage, &verify).await?;
    ensure!(verdict.contains("verdict: on"), "the operator's own look at it has another verdict");

    stage.step(
        "The next certificate is prepared",
        "The target holds it beside the first one, so the stage can switch at any time without a lost call.",
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
    stage.seen("nginx accepts both now, and still refuses the stranger");
    renew_by_tag(stage, world, &mut mount, &mut nginx).await
}

/// The next certificate is trusted by its tag, and the stage is switched when the status says so.
async fn renew_by_tag(stage: &Stage, world: &mut World, mount: &mut Mount, nginx: &mut Server) -> Result<()> {
    stage.step(
        "The next certificate is trusted by its tag",
        "The target holds every certificate with the tag app=payments: nobody edits a resource. A certificate counts as safe\n\
         when the target has held it for spec.soak, 3 s here, which is what the server takes at most to follow. API Gateway\n\
         calls without pause from here on, each time over a new connection.",
    );
    let spec = r#"{"spec":{"additionalClientCertificateIds":null,"additionalClientCertificateTags":{"app":"payments"},"soak":"3s"}}"#;
    world.shell.run(stage, &format!("kubectl patch ccr payments --type=merge -p '{spec}'")).await?;
    let calls = Calls::start(client(world, nginx, FIRST)?);
    let made = world.ask(stage, "POST", "/clientcertificates", r#"{"tags":{"app":"payments"}}"#).await?;
    let new = made["clientCertificateId"].as_str().context("it has no id")?.to_owned();
    refresh(stage, world, &new).await?;
    let held = async || {
        let held = world.field("/status/certificates").await?;
        Ok(held.as_array().is_some_and(|held| held.iter().any(|held| held["id"] == *new)).then_some(()))
    };
    until("the target holds the new certificate", held).await?;
    let soaking = world.shell.run(stage, SAFE_TO_SWITCH).await?;
    ensure!(soaking.contains("Soaking"), "the condition says something else");
    mount.update(&mounted(world).await?)?;
    nginx.reload().await?;
    let safe = format!(
        "kubectl wait ccr/payments --for=jsonpath='{{.status.certificates[?(@.id==\"{new}\")].safeToSwitch}}'=true --timeout=60s"
    );
    world.shell.run(stage, &safe).await?;
    let soaked = world.shell.run(stage, SAFE_TO_SWITCH).await?;
    ensure!(soaked.contains("Soaked"), "the condition says something else");
    stage.seen("nginx has loaded it, and from now on the stage may be switched");

    stage.step(
        "The switch, and the end of the former certificate",
        "A pipeline, or a person, switches the stage: the operator never does.",
    );
    calls.switch(client(world, nginx, &new)?);
    let main =
        format!("kubectl patch ccr payments --type=merge -p '{{\"spec\":{{\"clientCertificateId\":\"{new}\"}}}}'");
    world.shell.run(stage, &main).await?;
    world.shell.run(stage, "kubectl wait --for=condition=Ready ccr/payments --timeout=60s").await?;
    world.ask(stage, "DELETE", &format!("/clientcertificates/{FIRST}"), "").await?;
    refresh(stage, world, "dropped").await?;
    let alone = async || {
        let held = world.field("/status/certificates").await?;
        Ok((held.as_array().is_some_and(|held| held.len() == 1 && held[0]["id"] == *new)).then_some(()))
    };
    until("the former certificate leaves the target", alone).await?;
    mount.update(&mounted(world).await?)?;
    nginx.reload().await?;
    let url = format!("https://localhost:{}/", nginx.address().port());
    // The workers of before the reload answer a while longer.
    let client = client_of_files(world, nginx)?;
    until("nginx turns the former certificate away", async || Ok(client.get().await.is_refused().then_some(())))
        .await?;
    call(stage, world, &url, Some(FIRST), 403).await?;
    world.shell.run(stage, "kubectl get ccr payments -o wide").await?;
    let (made, refused) = calls.stop().await;
    ensure!(refused.is_empty(), "{} of {made} calls were refused: {refused:?}", refused.len());
    stage.seen(&format!("{made} calls before, during and after the switch, and not one was refused"));
    Ok(())
}

const SAFE_TO_SWITCH: &str = r#"kubectl get ccr payments -o jsonpath='{range .status.conditions[?(@.type=="SafeToSwitch")]}{.type}={.status} {.reason}: {.message}{end}'"#;

async fn refresh(stage: &Stage, world: &World, value: &str) -> Result<()> {
    let command = format!("kubectl annotate --overwrite ccr payments apigateway.clientcert.dev/refresh={value}");
    world.shell.run(stage, &command).await?;
    Ok(())
}

/// A client that presents a certificate of API Gateway.
fn client(world: &World, nginx: &Server, id: &str) -> Result<Client> {
    let key = world.emulator.private_key(&Source::own(DEFAULT_REGION, id)).context("the emulator has no such key")?;
    let certificate = world.certificate(id).context("the emulator has no such certificate")?;
    Client::new(nginx, Some(&Identity::new(&certificate.pem, &key)?))
}

/// A client that presents the first certificate, which API Gateway does not have any more.
fn client_of_files(world: &World, nginx: &Server) -> Result<Client> {
    let read = |name: String| std::fs::read_to_string(callers(world).join(name));
    let (certificate, key) = (read(format!("{FIRST}.crt"))?, read(format!("{FIRST}.key"))?);
    Client::new(nginx, Some(&Identity::new(&certificate, &key)?))
}

/// Calls without pause.
struct Calls {
    client: watch::Sender<Option<Client>>,
    caller: JoinHandle<(usize, Vec<String>)>,
}

impl Calls {
    fn start(client: Client) -> Self {
        let (client, presented) = watch::channel(Some(client));
        let caller = tokio::spawn(async move {
            let (mut made, mut refused) = (0, Vec::new());
            loop {
                let Some(client) = presented.borrow().clone() else { return (made, refused) };
                let answer = client.get().await;
                made += 1;
                if !answer.is_let_in() {
                    refused.push(answer.to_string());
                }
            }
        });
        Calls { client, caller }
    }

    fn switch(&self, client: Client) {
        self.client.send_replace(Some(client));
    }

    async fn stop(self) -> (usize, Vec<String>) {
        self.client.send_replace(None);
        self.caller.await.unwrap_or_else(|error| (0, vec![error.to_string()]))
    }
}

fn callers(world: &World) -> PathBuf {
    world.control_plane.folder().join("callers")
}

/// What a kubelet would put into the volume.
async fn mounted(world: &World) -> Result<BTreeMap<String, Vec<u8>>> {
    let data = world.pins().await?.and_then(|map| map.data).context("there is no ConfigMap with data")?;
    Ok(data.into_iter().map(|(key, text)| (key, text.into_bytes())).collect())
}

/// Lays the callers' certificates and keys, and the authority of nginx's own certificate, where commands find them: `$TLS`.
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
    ensure!(answer == format!("HTTP {expected}"), "nginx answered {answer}");
    Ok(())
}
