//! The steps of the demo.

use anyhow::{Context, Result, ensure};
use operator_testing::emulator::{Call, Fault};
use operator_testing::script::Operation;
use serde_json::Value;

use crate::backend::guard;
use crate::stage::{Stage, until};
use crate::world::{FIRST, PINS, SECOND, World};

const DESCRIPTION: &str = "trusted by the payments team";
const FINGERPRINT: &str =
    r"kubectl get secret payments -o jsonpath='{.data.ca\.crt}' | base64 -d | openssl x509 -noout -fingerprint -sha256";

/// Runs all steps. Stops at the first claim that is not true.
pub async fn run(stage: &Stage, world: &mut World) -> Result<()> {
    mirror(stage, world).await?;
    describe(stage, world).await?;
    repair(stage, world).await?;
    renew(stage, world).await?;
    look_back(stage, world).await?;
    guard(stage, world).await?;
    own(stage, world).await
}

async fn mirror(stage: &Stage, world: &World) -> Result<()> {
    stage.step(
        "A certificate becomes a Secret",
        "API Gateway has the client certificate 9ao60f. The backends have to trust it.",
    );
    world.shell.run(stage, "cat deploy/samples/minimal.yaml").await?;
    world.shell.run(stage, "kubectl apply -f deploy/samples/minimal.yaml").await?;
    world.shell.run(stage, "kubectl wait --for=condition=Ready ccr/payments --timeout=60s").await?;
    world.shell.run(stage, "kubectl get ccr,secret").await?;
    let command = r"kubectl get secret payments -o jsonpath='{.data.ca\.crt}' | base64 -d | openssl x509 -noout -subject -serial -enddate";
    let openssl = world.shell.run(stage, command).await?;
    let serial = world.field("/status/certificates/0/serialNumber").await?;
    let serial = serial.as_str().context("the status has no serial number")?;
    ensure!(openssl.contains("ApiGateway"), "openssl prints another subject");
    ensure!(openssl.contains(&format!("serial={serial}")), "status has serial number {serial}, openssl another");
    ensure!(holds(world, FIRST).await?, "the Secret does not hold the certificate's PEM");
    stage.seen("the Secret holds the PEM, with LF line ends, and the status has the same serial number as openssl");
    Ok(())
}

async fn describe(stage: &Stage, world: &World) -> Result<()> {
    stage.step(
        "A description in the spec reaches API Gateway",
        "In the AWS console, the description shows which team relies on the certificate, before a user deletes the certificate.",
    );
    let patch = format!(r#"kubectl patch ccr payments --type=merge -p '{{"spec":{{"description":"{DESCRIPTION}"}}}}'"#);
    world.shell.run(stage, &patch).await?;
    world.shell.run(stage, "kubectl wait --for=condition=DescriptionSynced ccr/payments --timeout=60s").await?;
    let answer = world.ask(stage, "GET", &format!("/clientcertificates/{FIRST}"), "").await?;
    ensure!(answer["description"] == DESCRIPTION, "API Gateway holds the description {}", answer["description"]);
    stage.seen("API Gateway holds the description of the spec");
    Ok(())
}

async fn repair(stage: &Stage, world: &World) -> Result<()> {
    stage.step(
        "Another writer deletes the Secret, and the operator restores it",
        "The operator restores it from the status, without a call to AWS: this works while AWS is unavailable, too.",
    );
    let before = uid(world).await?;
    let calls = world.emulator.count(Operation::Get);
    world.shell.run(stage, "kubectl delete secret payments").await?;
    let restored = async || Ok(uid(world).await.ok().filter(|uid| *uid != before));
    let (_, took) = until("the Secret is restored", restored).await?;
    world.shell.run(stage, "kubectl get secret payments").await?;
    ensure!(holds(world, FIRST).await?, "the restored Secret has another content");
    ensure!(world.emulator.count(Operation::Get) == calls, "the operator called AWS");
    stage.seen(&format!("the Secret was restored {took:.0?} after kubectl had returned, with no call to AWS"));

    stage.step(
        "Another writer edits the Secret, and the operator restores it",
        "With a wrong certificate here, a backend would accept unknown clients.",
    );
    let edit = r#"kubectl patch secret payments --type=merge -p '{"stringData":{"ca.crt":"another certificate"}}'"#;
    world.shell.run(stage, edit).await?;
    let (_, took) = until("the Secret is restored", async || Ok(holds(world, FIRST).await?.then_some(()))).await?;
    world.shell.run(stage, FINGERPRINT).await?;
    stage.seen(&format!("the Secret was restored {took:.0?} after kubectl had returned"));
    Ok(())
}

async fn renew(stage: &Stage, world: &World) -> Result<()> {
    stage.step(
        "The certificate is renewed while AWS throttles, and the Secret keeps a valid certificate",
        "A new certificate of API Gateway has a new id, n3w7id. Set that id in the spec, and the operator updates the Secret. Here\n\
         API Gateway responds twice with 429 and Retry-After: 1. Meanwhile the Secret keeps the last good certificate, and the\n\
         operator waits as long as Retry-After says.",
    );
    world.emulator.inject(Fault::throttled(Some("1")).times(2));
    let before = world.shell.run(stage, FINGERPRINT).await?;
    let name =
        format!("kubectl patch ccr payments --type=merge -p '{{\"spec\":{{\"clientCertificateId\":\"{SECOND}\"}}}}'");
    world.shell.run(stage, &name).await?;
    let throttled = || world.emulator.calls().iter().filter(|call: &&Call| call.status == Some(429)).count();
    until("API Gateway throttles", async || Ok((throttled() > 0).then_some(()))).await?;
    let meanwhile = world.shell.run(stage, FINGERPRINT).await?;
    ensure!(before == meanwhile, "the Secret lost the certificate");
    let (_, took) =
        until("the Secret holds the new certificate", async || Ok(holds(world, SECOND).await?.then_some(()))).await?;
    ensure!(throttled() == 2, "API Gateway throttled {} times", throttled());
    let after = world.shell.run(stage, FINGERPRINT).await?;
    ensure!(before != after, "the fingerprint is the same");
    world.shell.run(stage, "kubectl wait --for=condition=Ready ccr/payments --timeout=60s").await?;
    world.shell.run(stage, "kubectl wait --for=condition=DescriptionSynced ccr/payments --timeout=60s").await?;
    let answer = world.ask(stage, "GET", &format!("/clientcertificates/{SECOND}"), "").await?;
    ensure!(answer["description"] == DESCRIPTION, "API Gateway holds the description {}", answer["description"]);
    world.shell.run(stage, "kubectl get ccr payments -o wide").await?;
    stage.seen(&format!(
        "the fingerprint has changed, {took:.1?} after the first 429, and the new certificate has the description of the spec"
    ));
    Ok(())
}

async fn look_back(stage: &Stage, world: &World) -> Result<()> {
    stage.step("kubectl describe shows what happened", "Conditions show the state, events show what the operator did.");
    // Events are recorded after the status, so the demo waits for the last one.
    let shown = async || {
        let text = world.shell.quietly("kubectl describe ccr payments").await?;
        let reasons = ["TargetCreated", "DescriptionUpdated", "TargetRestored", "TargetRepaired", "TargetUpdated"];
        let missing: Vec<_> = reasons.into_iter().filter(|reason| !text.contains(reason)).collect();
        ensure!(missing.is_empty(), "kubectl describe does not show {}", missing.join(", "));
        Ok(Some(()))
    };
    until("kubectl describe shows every event", shown).await?;
    world.shell.run(stage, "kubectl describe ccr payments").await?;
    stage.seen("kubectl describe shows every event: created, described, restored, repaired, updated");
    Ok(())
}

async fn own(stage: &Stage, world: &World) -> Result<()> {
    stage.step(
        "The resource owns its target",
        "In a cluster, the garbage collector of kube-controller-manager deletes the ConfigMap with the resource\n\
         (spec.target.deletionPolicy: Retain would keep it). The demo runs no kube-controller-manager.",
    );
    let command = format!("kubectl get configmap {PINS} -o jsonpath='{{.metadata.ownerReferences[0]}}'");
    let owner: Value = serde_json::from_str(&world.shell.run(stage, &command).await?)?;
    ensure!(owner["uid"] == world.field("/metadata/uid").await?, "the owner of the ConfigMap is another object");
    stage.seen("the owner of the ConfigMap is the resource");
    Ok(())
}

async fn uid(world: &World) -> Result<String> {
    let secret = world.secret("payments").await?.context("there is no Secret")?;
    secret.metadata.uid.context("a Secret without a uid")
}

/// Whether the Secret holds exactly this certificate.
async fn holds(world: &World, id: &str) -> Result<bool> {
    let found = world.secret("payments").await?.and_then(|secret| secret.data?.remove("ca.crt")).map(|value| value.0);
    Ok(found.is_some() && found == world.pem(id))
}
