//! Several accounts and regions: the identity that reads a resource's certificate, the roles that a namespace may use,
//! and the isolation of failures. The program and the API server are real.

mod credentials;
mod descriptions;
mod labels;
mod own;
mod regions;
mod roles;
mod rules;
mod start;
mod sts;

use std::ops::{Deref, DerefMut};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use client_certificate_operator::api::ClientCertificateRef;
use operator_testing::certificates::NewCertificate;
use operator_testing::emulator::Call;
use operator_testing::wait::eventually;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fixture::{SOON, World, condition, data};

/// An account other than the emulator's home account.
const THERE: &str = "444455556666";
const ROLE: &str = "arn:aws:iam::444455556666:role/certificates";
const OTHER_REGION: &str = "eu-west-1";
/// Allows the role to the namespace of the test.
const ALLOWED: &str = "rules: [{name: ours, namespaces: [NAMESPACE], roles: ['arn:aws:iam::444455556666:role/*']}]";
/// A generous limit for a retry half a minute after a denial.
const AFTER_A_DENIAL: Duration = Duration::from_secs(70);

/// A rules file in a volume of the kubelet: behind a link to a folder. A change makes the link point to another folder.
struct RulesFile {
    folder: TempDir,
}

impl RulesFile {
    fn new(text: &str) -> Self {
        let file = RulesFile { folder: tempfile::tempdir().unwrap() };
        symlink("..data/rules.yaml", file.path()).unwrap();
        file.replace(text);
        file
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("rules.yaml")
    }

    fn replace(&self, text: &str) {
        let next = tempfile::Builder::new().prefix("..").tempdir_in(self.folder.path()).unwrap().keep();
        std::fs::write(next.join("rules.yaml"), text).unwrap();
        let link = self.folder.path().join("..data_tmp");
        symlink(next.file_name().unwrap(), &link).unwrap();
        std::fs::rename(link, self.folder.path().join("..data")).unwrap();
    }
}

/// A world whose operator has a rules file. `NAMESPACE` in the rules means the namespace of the world.
struct Ruled<'a> {
    world: World<'a>,
    file: RulesFile,
}

impl<'a> Deref for Ruled<'a> {
    type Target = World<'a>;

    fn deref(&self) -> &World<'a> {
        &self.world
    }
}

impl DerefMut for Ruled<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.world
    }
}

impl Ruled<'static> {
    async fn start(prefix: &str, rules: &str) -> Self {
        let mut ruled = Ruled::without_operator(prefix, rules).await;
        ruled.start_operator().await;
        ruled
    }

    async fn without_operator(prefix: &str, rules: &str) -> Self {
        Ruled::of(World::without_operator(prefix).await, rules)
    }
}

impl<'a> Ruled<'a> {
    fn of(world: World<'a>, rules: &str) -> Self {
        let file = RulesFile::new(&rules.replace("NAMESPACE", &world.namespace));
        Ruled { world, file }
    }

    async fn start_operator(&mut self) {
        let path = self.file.path();
        self.world.start_operator_with(&["--rules-file", path.to_str().unwrap()]).await;
    }

    /// Changes the rules file and waits until the operator has read it.
    async fn change_rules(&mut self, rules: &str) {
        let count = self.rules_loaded("success").await;
        self.file.replace(&rules.replace("NAMESPACE", &self.world.namespace));
        eventually(SOON, "the new rules are in force", async || self.rules_loaded("success").await > count).await;
    }

    /// The number of loads of a changed rules file with this result.
    async fn rules_loaded(&mut self, result: &str) -> f64 {
        let operator = self.world.operator.as_mut().unwrap();
        operator.metric("ccr_rules_loads_total", &[("result", result)]).await.unwrap().unwrap_or_default()
    }
}

impl World<'_> {
    /// Makes a certificate in another account.
    fn generate_there(&self, region: &str, id: &str) {
        self.emulator.account(THERE).generate(region, NewCertificate::new().shared_key().id(id));
    }

    /// Waits until the Secret holds the certificate of an account.
    async fn until_holds(&self, name: &str, account: &str, region: &str, id: &str) {
        let pem = self.emulator.account(account).certificate(region, id).unwrap().pem;
        let pem = format!("{}\n", pem.replace("\r\n", "\n"));
        self.until_target(SOON, name, "it holds the certificate", |secret| data(secret, "ca.crt") == Some(&pem)).await;
    }

    /// The calls with one access key.
    fn calls_with(&self, access_key_id: &str) -> Vec<Call> {
        let calls = self.emulator.calls().into_iter();
        calls.filter(|call| call.access_key_id.as_deref() == Some(access_key_id)).collect()
    }
}

/// The fields of a spec with a role.
fn by(role: &str) -> Value {
    json!({ "assumeRole": { "roleArn": role } })
}

/// The fields of a spec with another certificate and a role.
fn by_role(id: &str, role: &str) -> Value {
    json!({ "clientCertificateId": id, "assumeRole": { "roleArn": role } })
}

fn account_of(resource: &ClientCertificateRef) -> Option<&str> {
    resource.status.as_ref()?.certificates.first()?.account_id.as_deref()
}

fn message<'r>(resource: &'r ClientCertificateRef, type_: &str) -> &'r str {
    &condition(resource, type_).unwrap().message
}
