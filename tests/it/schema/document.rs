//! The CRD as a document: its descriptions, its bounds, and the output of kubectl.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use client_certificate_operator::api::crd;

use crate::fixture::{ID, World};

fn schema() -> Value {
    let crd = serde_json::to_value(crd()).unwrap();
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

/// Visits each part of a schema with its path.
fn walk(path: &str, schema: &Value, visit: &mut impl FnMut(&str, &Value)) {
    visit(path, schema);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(&format!("{path}.{name}"), property, visit);
    }
    for (part, suffix) in [("items", "[]"), ("additionalProperties", "{}")] {
        if schema[part].is_object() {
            walk(&format!("{path}{suffix}"), &schema[part], visit);
        }
    }
}

#[test]
fn every_field_has_a_description() {
    let mut fields = 0;
    walk("ccr", &schema(), &mut |path, schema| {
        // The description of a map includes its values.
        if !path.ends_with("{}") {
            fields += 1;
            let described = schema["description"].as_str().is_some_and(|text| text.len() > 15 && text.ends_with('.'));
            assert!(described, "{path} has no description that is a sentence: {}", schema["description"]);
        }
    });
    assert!(fields > 30, "{fields} fields are not all of them");
}

#[test]
fn every_string_list_and_map_is_bounded() {
    walk("ccr", &schema(), &mut |path, schema| {
        let bounded = |bounds: &[&str]| bounds.iter().any(|bound| !schema[*bound].is_null());
        let is_bounded = match schema["type"].as_str() {
            Some("string") => bounded(&["maxLength", "enum", "format"]),
            Some("array") => bounded(&["maxItems"]),
            Some("object") => bounded(&["properties", "maxProperties"]),
            Some("boolean" | "integer") => true,
            other => panic!("{path} has the type {other:?}"),
        };
        assert!(is_bounded, "{path} has no bound: {schema}");
    });
}

#[tokio::test]
async fn the_api_server_accepts_the_crd_and_the_cost_of_its_rules_without_a_warning() {
    let world = World::without_operator("crd").await;
    for args in [["apply", "--server-side"], ["create", "--validate=strict"]] {
        let mut command = world.control_plane.kubectl();
        command.args(args).args(["--dry-run=server", "--filename=-"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = tokio::process::Command::from(command).spawn().unwrap();
        // The CRD has another name here, because it exists already.
        let text = include_str!("../../../deploy/crd.yaml").replace("clientcertificateref", "triedcertificateref");
        child.stdin.take().unwrap().write_all(text.as_bytes()).await.unwrap();
        let output = child.wait_with_output().await.unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[tokio::test]
async fn kubectl_explains_every_field() {
    let world = World::without_operator("explain").await;
    // kubectl needs an empty cache, because it caches the kinds from before the CRD for minutes.
    let cache = tempfile::tempdir().unwrap();
    let explain = async |args: &[&str]| {
        let mut command = world.control_plane.kubectl();
        command.env("KUBECACHEDIR", cache.path()).arg("explain").args(args);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let text = explain(&["ccr.spec.target", "--recursive"]).await;
    let fields = [
        "adopt",
        "annotations",
        "deletionPolicy",
        "keys",
        "kind",
        "labels",
        "name",
        "passwordKey",
        "passwordSecretRef",
        "pkcs12",
        "preset",
        "type",
        "verifierClass",
    ];
    for field in fields {
        let listed = text.lines().any(|line| line.split_whitespace().next() == Some(field));
        assert!(listed, "{field} is not listed:\n{text}");
    }
    let text = explain(&["ccr.spec.target.deletionPolicy"]).await.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in ["ENUM: Delete Retain", "What happens to the object when this resource is deleted"] {
        assert!(text.contains(words), "{words:?} is not in: {text}");
    }
}

#[tokio::test]
async fn kubectl_get_shows_the_state_in_columns() {
    let world = World::start("columns").await;
    let resource = world.create_ready("payments", json!({ "target": { "name": "payments-ca" } })).await;
    let held = &resource.status.unwrap().certificates[0];
    let expires = held.expiration_date.unwrap().to_string();
    let get = async |args: &[&str]| {
        let output = world.kubectl(&[&["get", "ccr"], args].concat()).await;
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect::<Vec<_>>()
    };

    let lines = get(&[]).await;
    assert_eq!(lines[0], ["NAME", "ID", "READY", "EXPIRES", "TARGET", "AGE"]);
    assert_eq!(lines[1][..5], ["payments", ID, "True", &expires, "payments-ca"]);
    let lines = get(&["--output=wide"]).await;
    assert_eq!(
        lines[0],
        ["NAME", "ID", "READY", "EXPIRES", "TARGET", "AGE", "REASON", "KIND", "FINGERPRINT", "SWITCH"]
    );
    assert_eq!(lines[1][6..], ["Mirrored", "Secret", held.sha256_fingerprint.as_ref().unwrap()]);
}
