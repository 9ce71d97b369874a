//! The custom resource `ClientCertificateRef`: its spec, its columns and its validation rules. Data only.
//!
//! Each validation message names the field and its allowed values.
#![allow(clippy::duplicated_attributes)] // Clippy considers the columns of the table duplicates

mod kind;
mod schema;
mod stage;
mod status;
mod target;

pub use kind::TargetKind;
pub use schema::crd;
pub use stage::{AcmTrust, Stage, StageStatus};
pub(crate) use status::MAX_CERTIFICATES;
pub use status::{CertificateRole, CertificateStatus, ClientCertificateRefStatus, TargetRef, VerifierClass};
pub use target::{Content, DeletionPolicy, Pkcs12, Preset, SecretKeyRef, SecretType, Target};

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::core::DeserializeGuard;
use kube::core::error_boundary::InvalidObject;
use kube::{CustomResource, KubeSchema, Resource, ResourceExt};
use serde::{Deserialize, Serialize};

/// The API group. It is a macro, because `concat!` accepts no constant. After a change, `make generate` writes the
/// group into every other place, including the attribute of `ClientCertificateRefSpec`, which accepts only a literal.
macro_rules! group {
    ($suffix:literal) => {
        concat!("apigateway.clientcert.dev", $suffix)
    };
}

/// The API group of the resource, and the prefix of every label and annotation of the operator.
pub const GROUP: &str = group!("");
/// The label on every target, with the value `true`. The watch on targets selects by it.
pub const MANAGED_LABEL: &str = group!("/managed");
/// The label on a Secret whose values may be passwords of truststores, with the value `true`.
pub const PASSWORD_LABEL: &str = group!("/truststore-password");
/// The annotation on every target with the namespace and name of the ClientCertificateRef that owns it.
pub const OWNER_ANNOTATION: &str = group!("/owner");
/// The annotation on every target with its own kind and name, `Secret/payments`. A copy under another name does not
/// match.
pub const OBJECT_ANNOTATION: &str = group!("/object");
/// The annotation on a target that lists its labels and annotations from `spec.target`, so that the operator can remove
/// them.
pub const APPLIED_ANNOTATION: &str = group!("/applied");
/// The annotation on a target that holds more than certificates: the digest of the written data, by which the operator
/// recognizes that data.
pub const DIGEST_ANNOTATION: &str = group!("/digest");
/// The annotation on a ClientCertificateRef that requests a read of API Gateway, by any new value.
pub const REFRESH_ANNOTATION: &str = group!("/refresh");

/// The default of `spec.refreshInterval`.
pub const DEFAULT_REFRESH_INTERVAL: Duration = Duration::from_secs(5 * 60);
const REFRESH_INTERVAL_MIN: Duration = Duration::from_secs(30);
const REFRESH_INTERVAL_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// The default of `spec.soak`.
const DEFAULT_SOAK: &str = "15m";
const SOAK_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// The default of `spec.overlap`.
pub const DEFAULT_OVERLAP: Duration = Duration::from_secs(60 * 60);
const OVERLAP_MAX: Duration = Duration::from_secs(168 * 60 * 60);

/// The spec: one client certificate of API Gateway, which the operator mirrors into one object of the cluster.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[kube(
    group = "apigateway.clientcert.dev",
    version = "v1alpha1",
    kind = "ClientCertificateRef",
    plural = "clientcertificaterefs",
    singular = "clientcertificateref",
    shortname = "ccr",
    namespaced,
    status = "ClientCertificateRefStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "ClientCertificateRef mirrors an Amazon API Gateway client certificate into a Secret or ConfigMap of its own namespace, keeps it up to date, and can own the certificate's description in API Gateway.",
    printcolumn(
        name = "ID",
        type_ = "string",
        json_path = ".status.clientCertificateId",
        description = "API Gateway's identifier of the main certificate, which the spec names or the stage presents"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "Whether the target holds the certificate"
    ),
    printcolumn(
        name = "Expires",
        type_ = "string",
        json_path = ".status.expirationDate",
        description = "When the main certificate in the target expires, UTC"
    ),
    printcolumn(
        name = "Target",
        type_ = "string",
        json_path = ".status.target.name",
        description = "The object that holds the certificate"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        priority = 1,
        description = "Why the resource is ready or not"
    ),
    printcolumn(
        name = "Kind",
        type_ = "string",
        json_path = ".status.target.kind",
        priority = 1,
        description = "Kind of the object that holds the certificate"
    ),
    printcolumn(
        name = "Fingerprint",
        type_ = "string",
        json_path = ".status.certificates[0].sha256Fingerprint",
        priority = 1,
        description = "SHA-256 of the certificate's DER"
    ),
    printcolumn(
        name = "Switch",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"SafeToSwitch\")].reason",
        priority = 1,
        description = "Reason of SafeToSwitch: Soaked if a stage may be switched to each certificate other than the main certificate"
    )
)]
#[x_kube(
    validation = Rule::new("[has(self.clientCertificateId), has(self.stage), has(self.acmCertificateArn)].filter(is_set, is_set).size() == 1").message("set exactly one of clientCertificateId, stage and acmCertificateArn: the id of the main certificate, the stage that presents it, or its ARN in ACM"),
    validation = Rule::new("!has(self.acmCertificateArn) || !has(self.region) || self.acmCertificateArn.contains(':acm:' + self.region + ':')").message("region must be the region of acmCertificateArn; omit it"),
    validation = Rule::new("!has(self.acmCertificateArn) || !has(self.description)").message("description must not be set beside acmCertificateArn: it belongs to client certificates of API Gateway"),
    validation = Rule::new("!has(self.clientCertificateId) || !has(self.additionalClientCertificateIds) || !(self.clientCertificateId in self.additionalClientCertificateIds)").message("additionalClientCertificateIds must not contain clientCertificateId, which the target always holds; remove that id from the list"),
)]
#[serde(rename_all = "camelCase")]
pub struct ClientCertificateRefSpec {
    /// API Gateway's identifier of the client certificate, as `aws apigateway get-client-certificates` lists it, for example 9ao60f. It names the main certificate. Set exactly one of `clientCertificateId`, `stage` and `acmCertificateArn`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9_-]{1,64}$')").message("clientCertificateId must be the id of a client certificate: 1 to 64 letters, digits, '-' and '_', for example 9ao60f"))]
    pub client_certificate_id: Option<String>,

    /// A stage of a REST API. The main certificate is the certificate that the stage presents. When the stage presents another certificate, the operator writes that certificate into the target within `refreshInterval`; the target also holds the former certificate for `overlap`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,

    /// ARN of a certificate in ACM, which is the main certificate. The target trusts the chain of this certificate, and so every certificate that the same CA issues. After a re-import or a renewal, the target also holds the former certificate, and a former chain, for `overlap`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    #[x_kube(validation = Rule::new("self.matches('^arn:aws(-[a-z]+)*:acm:[a-z]{2,}(-[a-z]+)+-[0-9]{1,2}:[0-9]{12}:certificate/[A-Za-z0-9-]{1,64}$')").message("acmCertificateArn must be the ARN of a certificate in ACM, for example arn:aws:acm:us-east-1:111122223333:certificate/12345678-1234-1234-1234-123456789012"))]
    pub acm_certificate_arn: Option<String>,

    /// Ids of additional certificates for the target, in this order after the main certificate, for example to prepare a renewal. The operator reads all certificates with the same region and role. If the operator cannot read one certificate, the others are not affected. The target does not hold expired certificates. At most 63.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::additional_ids")]
    pub additional_client_certificate_ids: Vec<String>,

    /// 1 to 10 tags. The target also holds every certificate of the account and region that has all of these tags, the newest first, after those of additionalClientCertificateIds. A user who may create or tag client certificates in that account and region decides which certificates the backend trusts. A certificate that loses one of the tags stays in the target for `overlap`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::additional_tags")]
    pub additional_client_certificate_tags: BTreeMap<String, String>,

    /// How long the target must have held a certificate before a stage may be switched to this certificate, from 0s to 24h, for example 90s, 15m or 1h30m. Set at least the time that servers need to load the target. Default: 15m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 24))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+([.][0-9]+)?(s|m|h))+$') && duration(self) <= duration('24h')").message("soak must be a duration from 0s to 24h in s, m and h, for example 90s, 15m or 1h30m"))]
    pub soak: Option<String>,

    /// How long the target holds a certificate after the certificate lost its tags, or after the stage presented another certificate, from 0s to 168h, for example 90s, 15m or 72h. Default: 1h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 24))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+([.][0-9]+)?(s|m|h))+$') && duration(self) <= duration('168h')").message("overlap must be a duration from 0s to 168h in s, m and h, for example 90s, 15m or 72h"))]
    pub overlap: Option<String>,

    /// AWS region of the certificate, for example us-east-1. Default: the operator's own region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z]{2,}(-[a-z]+)+-[0-9]{1,2}$')").message("region must be the name of an AWS region, for example us-east-1; omit it for the operator's own region"))]
    pub region: Option<String>,

    /// IAM role that the operator assumes to read and describe the certificate, for a certificate of another account. The operator's rules must allow the role for this namespace. Default: the operator's own credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assume_role: Option<AssumeRole>,

    /// The certificate's description in API Gateway. If set, this resource owns the description: the operator writes the description to API Gateway, and restores the description when another writer changes it; "" clears the description. If not set, the operator never changes the description. At most 1024 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub description: Option<String>,

    /// Interval at which the operator reads the certificate from API Gateway, from 30s to 24h, for example 90s, 5m or 1h30m.
    #[serde(default = "default_refresh_interval")]
    #[schemars(length(max = 24))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+([.][0-9]+)?(s|m|h))+$') && duration(self) >= duration('30s') && duration(self) <= duration('24h')").message("refreshInterval must be a duration from 30s to 24h in s, m and h, for example 90s, 5m or 1h30m"))]
    pub refresh_interval: String,

    /// If true, the operator does not call API Gateway for this resource and does not write or repair the target. The target stays as it is. After a change to false, the operator reads the certificate from API Gateway again.
    #[serde(default)]
    pub suspend: bool,

    /// The object that the operator writes the certificate into, always in the resource's own namespace.
    #[serde(default)]
    pub target: Target,
}

/// The field of the spec that determines the main certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Main<'a> {
    /// The id of the certificate.
    Certificate(&'a str),
    /// The stage that presents the certificate.
    Stage(&'a Stage),
    /// The ARN of the ACM certificate.
    Acm(&'a str),
}

/// A role that the operator assumes for this resource.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct AssumeRole {
    /// ARN of the role, for example arn:aws:iam::111122223333:role/certificates. Its trust policy must allow the operator's own role to assume it.
    #[schemars(length(max = 640))]
    #[x_kube(validation = Rule::new("self.matches('^arn:aws(-[a-z]+)*:iam::[0-9]{12}:role/[A-Za-z0-9_+=,.@/-]{1,577}$')").message("assumeRole.roleArn must be the ARN of an IAM role, for example arn:aws:iam::111122223333:role/certificates"))]
    pub role_arn: String,

    /// The external id that the role's trust policy requires, if any. Omit it if the operator's rules set it for the namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1224))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9_+=,.@:/-]+$') && self.size() >= 2").message("assumeRole.externalId must have 2 to 1224 letters, digits and any of _+=,.@:/-"))]
    pub external_id: Option<String>,
}

/// A resource in the store. A resource that does not parse must not stop the others.
pub type Cached = DeserializeGuard<ClientCertificateRef>;

/// Checks a resource for the store. A resource without a certificate, for example for a later version of the operator,
/// counts as one that does not parse.
pub fn checked(resource: Cached) -> Cached {
    match resource.0 {
        Ok(resource) if resource.main().is_none() => {
            let error = "spec: none of clientCertificateId, stage and acmCertificateArn is set".to_owned();
            DeserializeGuard(Err(InvalidObject { error, metadata: resource.metadata }))
        }
        parsed => DeserializeGuard(parsed),
    }
}

/// The namespace and name of a resource.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceName {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl ResourceName {
    /// The name of a resource, by its parts.
    pub fn new(namespace: &str, name: &str) -> Self {
        ResourceName { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    /// The name of a resource in the store.
    pub fn of(resource: &Cached) -> Self {
        ResourceName::new(&resource.namespace().unwrap_or_default(), &resource.name_any())
    }

    /// The reference to the resource with this uid, for an event.
    pub fn reference(&self, uid: Option<String>) -> ObjectReference {
        ObjectReference {
            api_version: Some(ClientCertificateRef::api_version(&()).into_owned()),
            kind: Some(ClientCertificateRef::kind(&()).into_owned()),
            namespace: Some(self.namespace.clone()),
            name: Some(self.name.clone()),
            uid,
            ..ObjectReference::default()
        }
    }
}

fn default_refresh_interval() -> String {
    "5m".to_owned()
}

impl ClientCertificateRef {
    /// The name of the target: `spec.target.name`, or the name of the resource.
    pub fn target_name(&self) -> &str {
        self.spec.target.name.as_deref().or(self.metadata.name.as_deref()).unwrap_or_default()
    }

    /// The field of the spec that determines the main certificate. `None` in a resource that the schema does not
    /// accept.
    pub fn main(&self) -> Option<Main<'_>> {
        let id = self.spec.client_certificate_id.as_deref().map(Main::Certificate);
        let stage = || self.spec.stage.as_ref().map(Main::Stage);
        id.or_else(stage).or_else(|| self.spec.acm_certificate_arn.as_deref().map(Main::Acm))
    }

    /// The entry of the status for the stage in the spec.
    pub fn stage_status(&self) -> Option<&StageStatus> {
        let Some(Main::Stage(stage)) = self.main() else { return None };
        self.status.as_ref()?.stage.as_ref().filter(|status| status.is_of(stage))
    }

    /// The ids of the additional certificates, each once and without the main one.
    pub fn additional_ids(&self) -> impl Iterator<Item = &str> {
        let (main, ids) = (self.spec.client_certificate_id.as_ref(), &self.spec.additional_client_certificate_ids);
        let is_new = move |at: usize, id: &String| Some(id) != main && !ids[..at].contains(id);
        ids.iter().enumerate().filter(move |(at, id)| is_new(*at, id)).map(|(_, id)| id.as_str())
    }

    /// The kind and name of the target in the spec.
    pub fn target_ref(&self) -> TargetRef {
        TargetRef { kind: self.spec.target.kind, name: self.target_name().to_owned() }
    }

    /// `metadata.namespace`, which every stored resource has.
    pub fn namespace(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or_default()
    }

    /// `metadata.name`, which every stored resource has.
    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// `metadata.uid`, which every stored resource has.
    pub fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }

    /// `metadata.generation`, which counts changes of the spec.
    pub fn generation(&self) -> Option<i64> {
        self.metadata.generation
    }

    /// Whether deletion has begun.
    pub fn is_being_deleted(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    /// The value of the refresh annotation, cut to the greatest length of `status.lastHandledRefresh`.
    pub fn refresh_requested(&self) -> Option<&str> {
        let value = self.metadata.annotations.as_ref()?.get(REFRESH_ANNOTATION)?;
        let end = value.char_indices().nth(1024).map_or(value.len(), |(at, _)| at);
        Some(&value[..end])
    }

    /// `spec.refreshInterval`, clamped to the bounds of the schema, because an older schema may have had other bounds.
    pub fn refresh_interval(&self) -> Duration {
        parse_duration(&self.spec.refresh_interval)
            .unwrap_or(DEFAULT_REFRESH_INTERVAL)
            .clamp(REFRESH_INTERVAL_MIN, REFRESH_INTERVAL_MAX)
    }

    /// `spec.soak` as text for messages.
    pub fn soak_text(&self) -> &str {
        self.spec.soak.as_deref().unwrap_or(DEFAULT_SOAK)
    }

    /// `spec.soak`.
    pub fn soak(&self) -> Duration {
        let soak = parse_duration(self.soak_text()).or_else(|| parse_duration(DEFAULT_SOAK));
        soak.unwrap_or_default().min(SOAK_MAX)
    }

    /// `spec.overlap`.
    pub fn overlap(&self) -> Duration {
        let overlap = self.spec.overlap.as_deref().and_then(parse_duration);
        overlap.map_or(DEFAULT_OVERLAP, |overlap| overlap.min(OVERLAP_MAX))
    }

    /// Whether the spec names this certificate, as the main one or an additional one.
    pub fn names(&self, id: &str) -> bool {
        self.spec.client_certificate_id.as_deref() == Some(id) || self.additional_ids().any(|named| named == id)
    }
}

/// Reads a duration of the form `1h30m`, `90s` or `1.5m`, the grammar of `spec.refreshInterval`. kube's type panics on
/// a duration that is too long, and on a sign in the middle.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let unit_at = rest.find(['s', 'm', 'h'])?;
        let number = &rest[..unit_at];
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        if [whole, fraction].iter().any(|part| part.is_empty() || part.contains(|c: char| !c.is_ascii_digit())) {
            return None;
        }
        let number: f64 = number.parse().ok()?;
        let seconds = match rest.as_bytes()[unit_at] {
            b'h' => number * 3600.0,
            b'm' => number * 60.0,
            _ => number,
        };
        total = total.checked_add(Duration::try_from_secs_f64(seconds).ok()?)?;
        rest = &rest[unit_at + 1..];
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_of_the_resource_and_of_every_label_is_the_constant() {
        assert_eq!(ClientCertificateRef::group(&()), GROUP);
        for key in [MANAGED_LABEL, PASSWORD_LABEL, OWNER_ANNOTATION, OBJECT_ANNOTATION, REFRESH_ANNOTATION] {
            assert_eq!(key.split_once('/').unwrap().0, GROUP);
        }
    }

    #[test]
    fn durations_are_read_as_the_api_server_reads_them() {
        for (text, seconds) in [("30s", 30.0), ("5m", 300.0), ("1h30m", 5400.0), ("1.5h", 5400.0), ("2m0.5s", 120.5)] {
            assert_eq!(parse_duration(text), Some(Duration::from_secs_f64(seconds)), "{text}");
        }
        for text in ["", "0", "5", "-1m", "+1m", "1h-5m", "5 minutes", "m", "1d", "5ms", ".5m", "1.m", "1e3s", "infs"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
        for too_long in [format!("{}h", "9".repeat(30)), format!("{}h", "9".repeat(400))] {
            assert_eq!(parse_duration(&too_long), None, "{too_long}");
        }
    }

    #[test]
    fn soak_and_overlap_have_defaults_and_bounds() {
        let with = |text: Option<&str>| {
            let mut resource = ClientCertificateRef::default();
            resource.spec.soak = text.map(str::to_owned);
            resource.spec.overlap = text.map(str::to_owned);
            (resource.soak().as_secs(), resource.overlap().as_secs())
        };
        assert_eq!(with(None), (900, 3600));
        assert_eq!(with(Some("0s")), (0, 0));
        assert_eq!(with(Some("soon")), (900, 3600));
        assert_eq!(with(Some("1000h")), (86_400, 604_800));
    }

    #[test]
    fn an_interval_that_is_older_than_the_schema_is_clamped_to_its_bounds() {
        let with = |text: &str| {
            let mut resource = ClientCertificateRef::default();
            resource.spec.refresh_interval = text.to_owned();
            resource.refresh_interval()
        };
        assert_eq!(with("0s"), Duration::from_secs(30));
        assert_eq!(with("87600h"), Duration::from_secs(86_400));
        assert_eq!(with("soon"), DEFAULT_REFRESH_INTERVAL);
    }
}
