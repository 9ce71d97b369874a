//! The environment of the demo: a control plane, an API Gateway, and the operator with its ServiceAccount.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use client_certificate_operator::aws::gateway::{ClientCertificate, Source};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use operator_testing::certificates::NewCertificate;
use operator_testing::control_plane::{ControlPlane, Options, service_account_user};
use operator_testing::emulator::{DEFAULT_REGION, Emulator};
use operator_testing::operator::Operator;
use serde_json::{Value, json};

use crate::stage::{Shell, Stage};

/// The namespace of the demo.
pub const NAMESPACE: &str = "backends";
/// The id in the samples.
pub const FIRST: &str = "9ao60f";
/// The id of the successor of [`FIRST`].
pub const SECOND: &str = "n3w7id";
/// The target of deploy/samples/nginx.
pub const PINS: &str = "payments-client-pins";
const OPERATOR: &str = "client-certificate-operator";

/// The running programs.
pub struct World {
    // Fields are dropped in this order: the operator ends before its servers.
    operator: Operator,
    /// The emulator of API Gateway.
    pub emulator: Emulator,
    /// The control plane.
    pub control_plane: ControlPlane,
    /// The shell for the commands.
    pub shell: Shell,
}

impl World {
    /// Starts the programs, and shows that they run.
    pub async fn start(stage: &Stage, binary: &Path) -> Result<Self> {
        stage.step(
            "A Kubernetes control plane, and an emulator of API Gateway",
            "etcd and kube-apiserver run on free ports of 127.0.0.1, and so does an emulator of API Gateway's client certificates,\n\
             which checks signatures as AWS does. The demo does not use your clusters and accounts.",
        );
        let start = Instant::now();
        let control_plane =
            ControlPlane::start_with(Options { without_controller_manager: true, ..Options::default() }).await?;
        let cache = control_plane.folder().join("kubectl-cache");
        let shell = Shell::new([&control_plane.kubectl_path(), binary], control_plane.kubeconfig(), cache)?;
        shell.quietly("openssl version").await?;
        let emulator = Emulator::start().await?;
        for id in [FIRST, SECOND] {
            emulator.generate(DEFAULT_REGION, NewCertificate::new().id(id));
        }
        stage.seen(&format!("both run after {:.1?}", start.elapsed()));

        stage.step(
            "Install the operator: the CRD, the RBAC rules and a Deployment",
            "There is no node to run its pods, so the operator runs as a process.",
        );
        let install = "kubectl apply --server-side -f deploy/install.yaml";
        shell.run(stage, install).await?;
        let wait = "kubectl wait --for=condition=Established crd/clientcertificaterefs.apigateway.clientcert.dev";
        shell.run(stage, wait).await?;
        shell.run(stage, &format!("kubectl create namespace {NAMESPACE}")).await?;
        shell.run(stage, &format!("kubectl config set-context --current --namespace={NAMESPACE}")).await?;

        stage.step(
            "Run the operator, with only the rights of its ServiceAccount",
            "The ServiceAccount may write Secrets, because the operator needs this right, and no Deployments.",
        );
        let user = service_account_user(OPERATOR, OPERATOR);
        shell.run(stage, &format!("kubectl auth can-i update secrets --as={user}")).await?;
        let refused = shell.run_refused(stage, &format!("kubectl auth can-i create deployments --as={user}")).await?;
        ensure!(refused.starts_with("no"), "kubectl auth can-i failed: {refused}");
        let kubeconfig = control_plane.service_account_kubeconfig(OPERATOR, OPERATOR).await?;
        let mut operator = Operator::builder(binary).kubeconfig(kubeconfig).quiet();
        for (name, value) in emulator.environment() {
            operator = operator.env(name, value);
        }
        let start = Instant::now();
        let mut operator = operator.spawn()?;
        operator.wait_ready().await?;
        stage.seen(&format!("client-certificate-operator run: ready after {:.1?}", start.elapsed()));
        Ok(Self { operator, emulator, control_plane, shell })
    }

    /// A Secret of the demo, if it exists.
    pub async fn secret(&self, name: &str) -> Result<Option<Secret>> {
        let secrets: Api<Secret> = Api::namespaced(self.control_plane.client().await?, NAMESPACE);
        Ok(secrets.get_opt(name).await?)
    }

    /// The ConfigMap with the pins, if it exists.
    pub async fn pins(&self) -> Result<Option<ConfigMap>> {
        let maps: Api<ConfigMap> = Api::namespaced(self.control_plane.client().await?, NAMESPACE);
        Ok(maps.get_opt(PINS).await?)
    }

    /// A field of the demo's resource, by JSON pointer.
    pub async fn field(&self, pointer: &str) -> Result<Value> {
        let json = self.shell.quietly("kubectl get ccr payments -o json").await?;
        Ok(serde_json::from_str::<Value>(&json)?.pointer(pointer).cloned().unwrap_or_default())
    }

    /// The certificate with this id in API Gateway.
    pub fn certificate(&self, id: &str) -> Option<ClientCertificate> {
        self.emulator.certificate(&Source::own(DEFAULT_REGION, id))
    }

    /// The file that a Secret should hold for a certificate: LF line ends, one newline after the last line.
    pub fn pem(&self, id: &str) -> Option<Vec<u8>> {
        self.certificate(id).map(|certificate| (certificate.pem.replace("\r\n", "\n") + "\n").into_bytes())
    }

    /// Sends a signed request to API Gateway, and prints the request and the response with a shortened PEM.
    pub async fn ask(&self, stage: &Stage, method: &str, path: &str, body: &str) -> Result<Value> {
        let answer = self.emulator.signed(DEFAULT_REGION, method, path, body).await?;
        let mut shown = answer.json();
        if let Some(pem) = shown.get_mut("pemEncodedCertificate") {
            *pem = json!("-----BEGIN CERTIFICATE-----\r\n…");
        }
        let body = if body.is_empty() { String::new() } else { format!(" {body}") };
        let title = format!("{method} {path}{body} → {}", answer.status);
        stage.exchange(&title, &serde_json::to_string_pretty(&shown)?);
        ensure!((200..300).contains(&answer.status), "API Gateway refused the request");
        Ok(answer.json())
    }

    /// The operator's log so far.
    pub fn operator_log(&self) -> Vec<String> {
        self.operator.logs()
    }

    /// Prints how to use the running programs.
    pub fn keep(&self, stage: &Stage) {
        let (emulator, kubectl) = (self.emulator.url(), self.control_plane.kubectl_path());
        stage.heading("Everything keeps running, until Ctrl-C", "In another terminal, for example:");
        println!("  export KUBECONFIG={}", self.control_plane.kubeconfig().display());
        println!("  export PATH={}:$PATH", kubectl.parent().unwrap_or(Path::new(".")).display());
        println!("  kubectl explain ccr.spec.target");
        println!("  kubectl apply -f deploy/samples/minimal.yaml && kubectl get ccr,secret");
        println!("\nNo kube-controller-manager runs, so kubectl delete ccr leaves the target.");
        println!("\nThe emulator of API Gateway listens on {emulator}:");
        println!("  curl {emulator}/_emulator/certificates");
        println!(
            "  curl -X POST {emulator}/_emulator/certificates -d '{{\"id\":\"abc123\",\"expiresInSeconds\":3600}}'"
        );
        println!("  curl -X PUT {emulator}/_emulator/certificates/{FIRST}/description -d 'set by hand'");
        println!("  curl -X POST {emulator}/_emulator/certificates/{FIRST}/renew");
        println!("  curl -X POST {emulator}/_emulator/certificates/{FIRST}/expire");
        println!("  curl -X POST {emulator}/_emulator/faults -d '{{\"kind\":\"error\",\"status\":503,\"times\":3}}'");
        println!("  curl {emulator}/_emulator/calls");
        println!("\nTo let the operator read API Gateway now instead of at its next refresh:");
        println!("  kubectl annotate --overwrite ccr payments apigateway.clientcert.dev/refresh=\"$(date)\"");
        if let Some(address) = self.operator_log().iter().find_map(|line| {
            let line: Value = serde_json::from_str(line).ok()?;
            line["address"].as_str().map(str::to_owned)
        }) {
            println!("\nThe operator's own metrics:\n  curl http://{address}/metrics");
        }
        println!("\nCtrl-C here stops everything.");
    }

    /// Ends the programs, in order.
    pub async fn stop(mut self, stage: &Stage) -> Result<()> {
        stage.step("The end", "The operator receives SIGTERM, as Kubernetes would send it.");
        ensure!(stage.is_at_its_end(), "the number of steps in the headings is wrong");
        let exit = self.operator.terminate(Duration::from_secs(15)).await?;
        ensure!(exit.code == Some(0), "the operator ended with {:?}", exit.code);
        stage.seen(&format!(
            "the operator ended after {:.1?} with exit code 0; everything else is stopped and deleted",
            exit.took
        ));
        self.emulator.stop().await;
        Ok(())
    }
}
