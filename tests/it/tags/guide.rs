//! Runs the guides `renewal.md`, `renewal-by-tag.md` and `terraform.md` by their commands. The kubectl commands run unchanged. The
//! AWS SDK replaces the `aws` and `terraform` commands. Only the soak is shorter.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;

use aws_sdk_apigateway::types::{Op, PatchOperation};
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::json;

use super::*;
use crate::chart::with_input;
use crate::docs::page::Page;
use crate::ground::Ground;

pub fn page(name: &str) -> Page {
    Page::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guides").join(name))
}

/// The commands of a section, each on one line.
pub fn commands(page: &Page, heading: &str) -> Vec<String> {
    let text = page.blocks(Some(heading), "sh").concat().replace("\\\n", " ");
    text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// The text after a word, in quotes or up to a space.
pub fn argument<'c>(command: &'c str, word: &str) -> &'c str {
    let (_, rest) = command.split_once(word).unwrap_or_else(|| panic!("{command:?} has no {word:?}"));
    rest.split([' ', '\'', ')']).next().unwrap()
}

/// Runs a command of a guide in the ground's namespace, in a folder and with variables, and returns its output.
pub async fn run(
    ground: &Ground<'_>,
    folder: &Path,
    variables: impl IntoIterator<Item = (&str, &str)>,
    command: &str,
) -> String {
    let command = command.replace("-n backends", &format!("-n {}", ground.namespace));
    let path = ground.control_plane.kubectl_path();
    let path = format!("{}:{}", path.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut shell = tokio::process::Command::new("/bin/sh");
    shell.args(["-c", &command]).envs(variables).env("PATH", path).current_dir(folder).stdin(Stdio::null());
    let output = shell.env("KUBECONFIG", ground.control_plane.kubeconfig()).output().await.unwrap();
    assert!(output.status.success(), "{command}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Applies YAML of a guide in the ground's namespace.
pub fn apply(ground: &Ground<'_>, yaml: &str) {
    let yaml = yaml.replace("namespace: backends", &format!("namespace: {}", ground.namespace));
    let mut apply = ground.control_plane.kubectl();
    apply.args(["apply", "--filename=-"]);
    let output = with_input(apply, &yaml);
    assert!(output.status.success(), "{output:?}");
}

/// Makes the call of an `aws apigateway update-stage` command, with this certificate as the value of the variable.
pub async fn update_stage(aws: &aws_sdk_apigateway::Client, command: &str, variable: &str, certificate: &str) {
    let patch = format!(r#"op=replace,path=/clientCertificateId,value="{variable}""#);
    assert!(command.contains(&patch), "{command}");
    let patch = PatchOperation::builder().op(Op::Replace).path("/clientCertificateId").value(certificate).build();
    let (api, stage) = (argument(command, "--rest-api-id "), argument(command, "--stage-name "));
    aws.update_stage().rest_api_id(api).stage_name(stage).patch_operations(patch).send().await.unwrap();
}

/// A guide whose commands run.
pub struct Acted {
    pub world: WorldOf<'static, ConfigMap>,
    /// The value of `$NEW` in the commands.
    pub new: String,
}

impl Acted {
    /// The resource of renewal by tag.
    async fn start(prefix: &str) -> Self {
        Self::start_page(WorldOf::start(prefix).await, "renewal-by-tag.md").await
    }

    /// The resource of a guide, with a soak that a test can wait for.
    pub async fn start_page(world: WorldOf<'static, ConfigMap>, name: &str) -> Self {
        world.emulator.set_tags(&crate::ground::source(ID), &[TAG]);
        apply(&world, &page(name).blocks(None, "yaml")[0].replace("soak: 15m", "soak: 5s"));
        world.until_ready("payments").await;
        Acted { world, new: String::new() }
    }

    pub fn aws(&self) -> aws_sdk_apigateway::Client {
        aws_sdk_apigateway::Client::new(&self.world.emulator.sdk_config())
    }

    pub async fn generate(&self, tag: (&str, &str)) -> String {
        let made = self.aws().generate_client_certificate().tags(tag.0, tag.1).send().await.unwrap();
        made.client_certificate_id.unwrap()
    }

    pub async fn delete(&self, id: &str) {
        self.aws().delete_client_certificate().client_certificate_id(id).send().await.unwrap();
    }

    pub async fn kubectl(&self, command: &str) {
        assert!(command.starts_with("kubectl -n backends "), "{command}");
        run(&self.world, &std::env::temp_dir(), [("NEW", self.new.as_str())], command).await;
    }

    pub async fn until_held(&self, ids: &[&str]) {
        self.world
            .until_it("payments", &format!("the target holds {ids:?}"), |resource| {
                held(resource).iter().map(|(id, _)| *id).eq(ids.iter().copied())
            })
            .await;
    }

    pub async fn safe(&self) -> Option<bool> {
        entry(&self.world.resource("payments").await, &self.new).and_then(|held| held.safe_to_switch)
    }
}

#[tokio::test]
async fn a_renewal_with_the_aws_cli() {
    let mut acted = Acted::start("guide-aws").await;
    let commands = commands(&page("renewal-by-tag.md"), "With the aws CLI");
    assert_eq!(commands.len(), 7, "{commands:#?}");
    let (mut switched, mut dropped) = (false, false);
    for command in &commands {
        if command.starts_with("NEW=$(aws apigateway generate-client-certificate") {
            let tag = argument(command, "--tags ").split_once('=').unwrap();
            acted.new = acted.generate(tag).await;
        } else if command.starts_with("aws apigateway update-stage") {
            assert!(command.contains(r#"op=replace,path=/clientCertificateId,value="$NEW""#), "{command}");
            assert_eq!(acted.safe().await, Some(true), "the commands before waited for it");
            switched = true;
        } else if command.starts_with("aws apigateway delete-client-certificate") {
            assert!(switched);
            let new = acted.new.clone();
            acted.until_held(&[&new, ID]).await;
            acted.delete(argument(command, "--client-certificate-id ")).await;
            acted.world.refresh("payments").await;
            acted.until_held(&[&new]).await;
            dropped = true;
        } else {
            acted.kubectl(command).await;
        }
    }
    assert!(dropped);
}

#[tokio::test]
async fn a_renewal_by_hand() {
    let mut acted = Acted { world: WorldOf::start("guide-by-hand").await, new: String::new() };
    acted.world.create_ready("payments", json!({})).await;
    let commands = commands(&page("renewal.md"), "Steps");
    assert_eq!(commands.len(), 7, "{commands:#?}");
    let (mut switched, mut dropped) = (false, false);
    for command in &commands {
        let new = acted.new.clone();
        if command.starts_with("aws apigateway generate-client-certificate") {
            acted.new = acted.generate(TAG).await;
        } else if command.starts_with("aws apigateway update-stage") {
            assert!(command.contains("op=replace,path=/clientCertificateId,value=k2c0qe"), "{command}");
            acted.until_held(&[ID, &new]).await;
            switched = true;
        } else if command.starts_with("aws apigateway delete-client-certificate") {
            assert!(switched);
            acted.until_held(&[&new]).await;
            acted.delete(argument(command, "--client-certificate-id ")).await;
            acted.world.refresh("payments").await;
            acted.world.until_ready("payments").await;
            dropped = true;
        } else {
            // The page has an example instead of the id that AWS generates.
            acted.kubectl(&command.replace("k2c0qe", &new)).await;
        }
    }
    assert!(dropped);
    acted.until_held(&[&acted.new.clone()]).await;
}

#[tokio::test]
async fn a_renewal_with_terraform_in_two_applies() {
    let mut acted = Acted::start("guide-terraform").await;
    let tag = ("app", "payments");
    let mut made = BTreeMap::from([("2026".to_owned(), ID.to_owned())]);
    let mut presented = "2026".to_owned();
    for command in commands(&page("terraform.md"), "In two applies") {
        if command.starts_with("terraform apply") {
            let generations: Vec<String> = serde_json::from_str(argument(&command, "generations=")).unwrap();
            for generation in &generations {
                if !made.contains_key(generation) {
                    made.insert(generation.clone(), acted.generate(tag).await);
                }
            }
            let wanted = argument(&command, "-var presented=").to_owned();
            if wanted != presented {
                assert_eq!(acted.safe().await, Some(true), "the wait stands before the switch");
                presented = wanted;
            }
        } else if command.starts_with("NEW=$(terraform output -json client_certificate_ids") {
            acted.new = made["2027"].clone();
        } else {
            acted.kubectl(&command).await;
        }
    }
    assert_eq!(presented, "2027");
    let new = acted.new.clone();
    acted.world.patch("payments", json!({ "spec": { "clientCertificateId": new } })).await;
    acted.delete(ID).await;
    acted.world.refresh("payments").await;
    acted.until_held(&[&new]).await;
}
