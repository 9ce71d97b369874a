//! The status of a `ClientCertificateRef`.

use std::collections::BTreeMap;
use std::fmt;
use std::io;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::schema;
use super::{StageStatus, TargetKind};
use crate::certificate::{Certificate, fingerprints};

/// The greatest size of a status as JSON. A larger status is not written.
const MAX_STATUS_BYTES: usize = 512 * 1024;
/// The greatest number of certificates in the schema.
pub(crate) const MAX_CERTIFICATES: usize = 64;

/// The status: what the operator read and wrote.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct ClientCertificateRefStatus {
    /// Generation of the spec that this status refers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// The last value of the annotation apigateway.clientcert.dev/refresh that the operator handled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub last_handled_refresh: Option<String>,

    /// The installation of the operator that wrote this status: namespace and name of its Lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 317))]
    pub installation: Option<String>,

    /// Id of the client certificate, or ARN of the ACM certificate, that the spec names or the stage presents, even if the operator could not read the certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub client_certificate_id: Option<String>,

    /// When the main certificate in the target expires, UTC: API Gateway's date or the certificate's own, whichever is earlier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::timestamp")]
    pub expiration_date: Option<Timestamp>,

    /// With `spec.stage`: the stage and the certificate that it presents. Absent until the operator has read the first certificate of the stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<StageStatus>,

    /// Ready, CertificateRead, TargetWritten and Expiring; AdditionalCertificatesRead if the spec has additional certificates; SafeToSwitch if the target holds a certificate other than the main certificate; DescriptionSynced if the spec has a description; Stalled and Suspended while they are True.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,

    /// The certificates that the target holds, the main one first. An ACM certificate that was imported again with another chain is listed once for each chain until the overlap has passed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = MAX_CERTIFICATES, "x-kubernetes-list-type" = "atomic"))]
    pub certificates: Vec<CertificateStatus>,

    /// The object that holds the certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetRef>,

    /// How servers treat several certificates in this target, if the preset or the keys determine which servers read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verifier_class: Option<VerifierClass>,

    /// Fields of a later version of the operator. The operator keeps these fields, because a write replaces the whole
    /// status.
    #[serde(flatten)]
    #[schemars(skip)]
    pub unknown: BTreeMap<String, Value>,
}

impl ClientCertificateRefStatus {
    /// The main certificate in the target. A status of an earlier version of the operator has no roles: then the first
    /// certificate that is not in `additional` is the main one.
    pub fn main_certificate<'a>(
        &'a self,
        additional: impl IntoIterator<Item = &'a str>,
    ) -> Option<&'a CertificateStatus> {
        let has_roles = self.certificates.iter().any(|held| held.role.is_some());
        let additional: Vec<&str> = if has_roles { Vec::new() } else { additional.into_iter().collect() };
        self.certificates.iter().find(|held| match held.role {
            Some(role) => role == CertificateRole::Main,
            None => !has_roles && !additional.contains(&held.id.as_str()),
        })
    }

    /// Whether the status exceeds the greatest size.
    pub fn is_too_large(&self) -> bool {
        let mut room = Room(MAX_STATUS_BYTES);
        serde_json::to_writer(&mut room, self).is_err()
    }
}

/// A writer that counts bytes up to a limit and drops them.
struct Room(usize);

impl io::Write for Room {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::WriteZero)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// OverlapSafe: servers accept every certificate in the target, for example Java and servers that compare pins. FirstWins: servers accept only the first certificate, for example nginx, HAProxy and Envoy with a list of authorities, because OpenSSL and BoringSSL find an authority by its name and all of API Gateway's certificates have the same name.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerifierClass {
    /// The servers accept every certificate in the target.
    OverlapSafe,
    /// The servers accept only the first valid certificate in the target.
    FirstWins,
}

/// Why the target holds the certificate. Main: clientCertificateId or acmCertificateArn names the certificate, or the stage presents it; the former main certificate keeps this role until the operator has read its successor. Additional: additionalClientCertificateIds contains the id. Tagged: the certificate has all tags of additionalClientCertificateTags. Former: the certificate lost its tags, or the stage or the ARN now has another certificate; the certificate leaves the target after `overlap`.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CertificateRole {
    /// The main certificate.
    Main,
    /// The spec names the certificate as an additional certificate.
    Additional,
    /// The certificate has the tags of the spec.
    Tagged,
    /// The certificate had the tags, or the stage or the ARN had this certificate.
    Former,
}

/// One certificate: its data in API Gateway, and the certificate itself.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct CertificateStatus {
    /// API Gateway's identifier of the client certificate, or the ARN of an ACM certificate.
    #[schemars(length(max = 256))]
    pub id: String,

    /// Why the target holds the certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<CertificateRole>,

    /// The certificate itself, PEM. It is public. The operator restores the target from it while AWS is unavailable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8192))]
    pub pem: Option<String>,

    /// The chain of an ACM certificate, if it has one: the certificates of the authorities that issued the certificate, PEM, the nearest authority first, without expired authorities. A Bundle and a PKCS#12 truststore hold the chain instead of the certificate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::chain")]
    pub chain: Vec<String>,

    /// Start of the time for which the target has held the certificate without interruption, UTC. If another writer removes the certificate from the target, the operator sets a new start when it restores the certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::timestamp")]
    pub trusted_since: Option<Timestamp>,

    /// Whether a stage may be switched to the certificate: the target has held it for `soak`, it is not Former, and the servers that read the target accept every certificate in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safe_to_switch: Option<bool>,

    /// When the operator found that the stage or the ARN has another certificate, or that the certificate lost its tags, UTC. The certificate leaves the target after `overlap`, unless another role keeps it in the target. While the operator cannot read the stage, the certificate stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::timestamp")]
    pub former_since: Option<Timestamp>,

    /// AWS region that the certificate was read from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub region: Option<String>,

    /// AWS account that the certificate was read from, if the operator knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 12))]
    pub account_id: Option<String>,

    /// The first 1024 characters of the description in API Gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8192))]
    pub description: Option<String>,

    /// When API Gateway created the certificate, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::timestamp")]
    pub created_date: Option<Timestamp>,

    /// When the certificate expires, UTC: API Gateway's date or the certificate's own, whichever is earlier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::timestamp")]
    pub expiration_date: Option<Timestamp>,

    /// The certificate's tags in API Gateway that additionalClientCertificateTags contains.
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

    /// Subject of the certificate. All client certificates of API Gateway have the same subject, so it does not identify a certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub subject: Option<String>,
}

impl CertificateStatus {
    /// The fingerprints of the certificates that verify this one: those of its chain, or its own.
    pub fn anchors(&self) -> Vec<String> {
        if self.chain.is_empty() {
            return self.sha256_fingerprint.iter().cloned().collect();
        }
        let of = |pem: &String| fingerprints(pem.as_bytes()).iter().map(ToString::to_string).collect::<Vec<_>>();
        self.chain.iter().flat_map(of).collect()
    }

    /// The certificate with its chain, if the entry has valid PEM.
    pub fn certificate(&self) -> Option<Certificate> {
        let pem = self.pem.as_deref()?;
        match self.chain.is_empty() {
            true => Certificate::parse(pem).ok(),
            false => Certificate::issued(pem, &self.chain.concat()).ok(),
        }
    }

    /// When the certificate and the authorities of its chain expire.
    pub fn ends(&self) -> impl Iterator<Item = Timestamp> {
        let chain = if self.chain.is_empty() { None } else { self.certificate() };
        let authorities = chain.into_iter().flat_map(|certificate| {
            certificate.chain().iter().map(|authority| authority.not_after).collect::<Vec<_>>()
        });
        self.expiration_date.into_iter().chain(authorities)
    }

    /// Whether a target with this certificate verifies all that a target with the other one does: it is the same client
    /// certificate, with every authority of the other one.
    pub fn covers(&self, other: &CertificateStatus) -> bool {
        self.is_same(other)
            && self.chain.is_empty() == other.chain.is_empty()
            && other.chain.iter().all(|authority| self.chain.contains(authority))
    }

    /// Whether the certificate has this id and region.
    pub fn is_of(&self, id: &str, region: &str) -> bool {
        self.id == id && self.region.as_deref() == Some(region)
    }

    /// Whether two entries are of the same certificate. Entries without a fingerprint are compared by id.
    fn is_same(&self, other: &CertificateStatus) -> bool {
        match (&self.sha256_fingerprint, &other.sha256_fingerprint) {
            (Some(own), Some(other)) => own == other,
            (None, None) => self.id == other.id,
            _ => false,
        }
    }
}

/// The object that holds the certificates.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u8, id: u8, role: CertificateRole) -> CertificateStatus {
        CertificateStatus {
            id: format!("id{id}"),
            role: Some(role),
            sha256_fingerprint: Some(format!("{number:064x}")),
            ..CertificateStatus::default()
        }
    }

    #[test]
    fn a_status_of_an_earlier_version_has_a_main_certificate() {
        let former = |id: u8| CertificateStatus { role: None, ..entry(id, id, CertificateRole::Main) };
        let status = |certificates| ClientCertificateRefStatus { certificates, ..Default::default() };
        let without_roles = status(vec![former(1), former(2)]);
        assert_eq!(without_roles.main_certificate(["id2"]).map(|held| held.id.as_str()), Some("id1"));
        assert_eq!(without_roles.main_certificate(["id1", "id2"]), None);
        let with_roles = status(vec![entry(2, 2, CertificateRole::Additional), entry(1, 1, CertificateRole::Main)]);
        assert_eq!(with_roles.main_certificate(["id1"]).map(|held| held.id.as_str()), Some("id1"));
    }

    #[test]
    fn fields_of_a_later_version_are_kept() {
        let later = serde_json::json!({ "observedGeneration": 3, "renewal": { "phase": "Soaking" } });
        let status: ClientCertificateRefStatus = serde_json::from_value(later.clone()).unwrap();
        assert_eq!(status.observed_generation, Some(3));
        assert_eq!(serde_json::to_value(status).unwrap(), later);
    }

    #[test]
    fn half_a_mebibyte_is_too_large() {
        let mut status = ClientCertificateRefStatus::default();
        let text = |length: usize| BTreeMap::from([("text".to_owned(), Value::from("x".repeat(length)))]);
        status.unknown = text(500 * 1024);
        assert!(!status.is_too_large());
        status.unknown = text(512 * 1024);
        assert!(status.is_too_large());
    }
}
