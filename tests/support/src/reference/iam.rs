//! The IAM policies. Their ARNs are those of the operator's messages.

use anyhow::Result;
use client_certificate_operator::aws::gateway::{Place, Source};
use serde::Serialize;
use serde_json::{Value, json};

/// A policy, with its elements in the order of AWS's documentation.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Policy {
    version: &'static str,
    statement: Vec<Statement>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Statement {
    effect: &'static str,
    #[serde(skip_serializing_if = "Value::is_null")]
    principal: Value,
    action: Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    resource: Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    condition: Value,
}

fn policy(statement: Vec<Statement>) -> Policy {
    Policy { version: "2012-10-17", statement }
}

fn allow(action: Value, resource: Value) -> Statement {
    Statement { effect: "Allow", action, resource, ..Statement::default() }
}

fn trust(action: Value) -> Policy {
    policy(vec![Statement {
        effect: "Allow",
        principal: json!({ "AWS": "arn:aws:iam::111122223333:role/client-certificate-operator" }),
        action,
        condition: json!({ "StringEquals": { "sts:ExternalId": "ccr/payments" } }),
        ..Statement::default()
    }])
}

/// The policies, each under a heading.
pub fn policies() -> Result<String> {
    let (list, one) = (Place::own("*").list_arn(), Source::own("*", "*").arn());
    let role = "arn:aws:iam::444455556666:role/certificates";
    let read = || allow(json!("apigateway:GET"), json!([list, one]));
    let sections = [
        (
            "Read, list and describe",
            "For resources with `spec.description` or `spec.additionalClientCertificateTags`, and for the fewest calls.",
            policy(vec![read(), allow(json!("apigateway:PATCH"), json!(one))]),
        ),
        ("Read and list", "Run the operator with `--manage-descriptions=false`.", policy(vec![read()])),
        (
            "Read only",
            "This policy does not allow the list, which shows all certificates of the account and region. The operator then makes one call for each certificate, and cannot find certificates by tags. Run the operator with `--manage-descriptions=false`.",
            policy(vec![allow(json!("apigateway:GET"), json!(one))]),
        ),
        (
            "Follow stages",
            "For resources with `spec.stage`, in addition to one of the policies above. The second `*` is the id of the REST API.",
            policy(vec![allow(json!("apigateway:GET"), json!(Place::own("*").stages_arn("*")))]),
        ),
        (
            "Read ACM certificates",
            "For resources with `spec.acmCertificateArn` or `spec.stage.acm: Trust`, in addition to one of the policies above. Restrict the ARNs as far as possible.",
            policy(vec![allow(
                json!(["acm:DescribeCertificate", "acm:GetCertificate"]),
                json!("arn:aws:acm:*:111122223333:certificate/*"),
            )]),
        ),
        (
            "Assume a role of another account",
            "For the operator's own role. If the rules set `sessionTags`, also allow `sts:TagSession`.",
            policy(vec![allow(json!("sts:AssumeRole"), json!(role))]),
        ),
        (
            "Trust policy of that role",
            "`111122223333` is the operator's account. The role also needs one of the first three policies. Omit the Condition if there is no external id.",
            trust(json!("sts:AssumeRole")),
        ),
        (
            "Trust policy with session tags",
            "For a role that the operator assumes with session tags, if the rules set `sessionTags`.",
            trust(json!(["sts:AssumeRole", "sts:TagSession"])),
        ),
    ];
    let mut text = String::new();
    for (title, use_, policy) in sections {
        text += &format!("## {title}\n\n{use_}\n\n```json\n{}\n```\n\n", serde_json::to_string_pretty(&policy)?);
    }
    Ok(text)
}
