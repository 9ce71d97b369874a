//! The status of a `ClientCertificateRef`: what the operator found and did.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TargetKind;
use super::schema;

/// What the operator found and did.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct ClientCertificateRefStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// The value of the annotation apigateway.clientcert.dev/refresh that was last acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub last_handled_refresh: Option<String>,

    /// The installation of the operator that wrote this: namespace and name of its Lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 317))]
    pub installation: Option<String>,

    /// Ready, CertificateRead, TargetWritten, Expiring; AdditionalCertificatesRead where the spec has additional certificates; DescriptionSynced where it has a description; Stalled and Suspended while they are true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,

    /// The certificates that the target holds, the main one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 64, "x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["id"]))]
    pub certificates: Vec<CertificateStatus>,

    /// The object that holds them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetRef>,

    /// How servers treat a target like this that holds several certificates, where the preset or the keys tell which servers read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verifier_class: Option<VerifierClass>,
}

/// OverlapSafe: every certificate in the target is accepted, as by Java and wherever pins are compared. FirstWins: only the first is, as by OpenSSL and BoringSSL, because all of API Gateway's certificates have one name; so nginx, HAProxy and Envoy with a list of authorities.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerifierClass {
    /// Every certificate in the target is accepted.
    OverlapSafe,
    /// Only the first valid certificate in the target is accepted.
    FirstWins,
}

/// One certificate: what API Gateway says of it, and what stands in the certificate itself.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct CertificateStatus {
    /// API Gateway's identifier of the client certificate.
    #[schemars(length(max = 64))]
    pub id: String,

    /// AWS region that it was read from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub region: Option<String>,

    /// AWS account that it was read from, where the operator knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 12))]
    pub account_id: Option<String>,

    /// The description in API Gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8192))]
    pub description: Option<String>,

    /// When API Gateway made it, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::timestamp")]
    pub created_date: Option<Timestamp>,

    /// When it expires, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::timestamp")]
    pub expiration_date: Option<Timestamp>,

    /// The certificate's tags in API Gateway.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::tags")]
    pub tags: BTreeMap<String, String>,

    /// Serial number, upper-case hexadecimal as `openssl x509 -serial` prints it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub serial_number: Option<String>,

    /// SHA-256 of the certificate's DER, lower-case hexadecimal as `openssl x509 -outform der | sha256sum` prints it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub sha256_fingerprint: Option<String>,

    /// Subject of the certificate. API Gateway gives every certificate of every customer the same one: it proves nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub subject: Option<String>,
}

/// Which object holds the certificate.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetRef {
    /// Kind of the object.
    pub kind: TargetKind,
    /// Name of the object.
    #[schemars(length(max = 253))]
    pub name: String,
}

impl fmt::Display for TargetRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}
