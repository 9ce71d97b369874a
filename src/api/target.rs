//! `spec.target`: the object that holds the certificates. Data only.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{TargetKind, VerifierClass, schema};

/// The object that the operator writes the certificates into.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[x_kube(
    validation = Rule::new("!(has(self.preset) && has(self.keys))").message("target must not have both preset and keys: preset is a predefined set of keys, keys is a map from key to content"),
    validation = Rule::new("!has(self.type) || has(self.keys)").message("target.type requires target.keys: a preset has its own type"),
    validation = Rule::new("!has(self.type) || self.kind == 'Secret'").message("target.type requires kind Secret: a ConfigMap has no type; remove target.type"),
    validation = Rule::new("!has(self.preset) || self.preset in ['CaCrt', 'Pkcs12'] || self.kind == 'Secret'").message("target.preset NginxOrgCa, TlsCrt and IstioCacert require kind Secret, because their servers read only Secrets; for kind ConfigMap use preset CaCrt or Pkcs12, or keys"),
    validation = Rule::new("!has(self.pkcs12) || (has(self.preset) && self.preset == 'Pkcs12') || (has(self.keys) && self.keys.exists(key, self.keys[key] == 'Pkcs12'))").message("target.pkcs12 requires preset Pkcs12, or a key whose content is Pkcs12"),
    validation = Rule::new("(has(self.pkcs12) && has(self.pkcs12.passwordSecretRef)) || !(has(self.keys) && self.keys.exists(key, self.keys[key] == 'Pkcs12') ? (has(self.pkcs12) && has(self.pkcs12.passwordKey) ? self.pkcs12.passwordKey : 'truststore.password') in self.keys : has(self.preset) && self.preset == 'Pkcs12' && (has(self.pkcs12) && has(self.pkcs12.passwordKey) ? self.pkcs12.passwordKey : 'truststore.password') == 'truststore.p12')").message("target.pkcs12.passwordKey (default: truststore.password) must not be a key that the target already has"),
)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// Kind of the object: Secret or ConfigMap. The certificate is public, so a ConfigMap is sufficient if the server can read it, and an operator that writes only ConfigMaps needs no rights on Secrets. After a change, the operator writes the new object before it removes the former one.
    #[serde(default)]
    pub kind: TargetKind,

    /// Name of the object. Default: the name of this resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')").message("target.name must be the name of a Secret or ConfigMap: lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit; omit it for the name of this resource"))]
    pub name: Option<String>,

    /// A predefined set of keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,

    /// The keys of the object, and the content of each key. Every content except Active omits expired certificates. Bundle: the PEM of the main certificate, then of the additional certificates. Active: the PEM of the main certificate only. Sha256Pins: SHA-256 of the DER, upper-case hexadecimal, one per line, for an ACL file of HAProxy. Sha1Pins: SHA-1 of the DER, lower-case hexadecimal, one per line, as nginx writes $ssl_client_fingerprint. SpkiPins: base64 of the SHA-256 of the public key, one per line. NginxMap: the lines of Sha1Pins, each with the value 1, to include in a map of nginx. EnvoySds: a file for Envoy's SDS, with the SHA-256 pins as verify_certificate_hash of the secret api-gateway. Pkcs12: a truststore for Java.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::keys")]
    pub keys: Option<BTreeMap<String, Content>>,

    /// Settings of the PKCS#12 truststore, only with preset Pkcs12 or a key whose content is Pkcs12.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pkcs12: Option<Pkcs12>,

    /// How the servers that read the target treat several certificates with the same name. OverlapSafe: the servers accept every certificate, as Go, Java and OpenSSL with X509_V_FLAG_PARTIAL_CHAIN do. FirstWins: the servers accept only the first certificate. Default: the class that the preset or the keys determine; if they determine none, SafeToSwitch assumes FirstWins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::verifier_class")]
    pub verifier_class: Option<VerifierClass>,

    /// Type of the Secret, only with kind Secret.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "type")]
    pub type_: Option<SecretType>,

    /// Labels to set on the object, at most 32. The operator does not change other labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::labels")]
    pub labels: BTreeMap<String, String>,

    /// Annotations to set on the object, at most 32. The operator does not change other annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::annotations")]
    pub annotations: BTreeMap<String, String>,

    /// If true, the operator adopts an existing object, provided that the object has no other keys, has the same type, is not immutable, and is not managed by another controller or tool.
    #[serde(default)]
    pub adopt: bool,

    /// What happens to the object when this resource is deleted or names another target. Delete: the object is deleted. Retain: the object stays, without an owner reference to this resource.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

/// Settings of a PKCS#12 truststore.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[x_kube(
    validation = Rule::new("!(has(self.passwordSecretRef) && has(self.passwordKey))").message("target.pkcs12 must not have both passwordSecretRef and passwordKey: the operator does not copy your password into the target"),
)]
#[serde(rename_all = "camelCase")]
pub struct Pkcs12 {
    /// The password of the truststore, in a Secret of the same namespace with the label apigateway.clientcert.dev/truststore-password: "true". Default: the operator generates a password once and stores it in the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_secret_ref: Option<SecretKeyRef>,

    /// Key of the target that holds the generated password. Default: truststore.password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[-._a-zA-Z0-9]{1,253}$') && self != '.' && !self.startsWith('..')").message("target.pkcs12.passwordKey must be a file name: letters, digits, '-', '_' and '.', not beginning with '..', for example truststore.password"))]
    pub password_key: Option<String>,
}

impl Pkcs12 {
    /// The default of `passwordKey`.
    pub const PASSWORD_KEY: &str = "truststore.password";
}

/// One key of a Secret in the resource's own namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// Key of the Secret that holds the password.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// A predefined set of keys. CaCrt: ca.crt, which most servers read. NginxOrgCa: ca.crt in a Secret of type nginx.org/ca, which the F5 NGINX Ingress Controller requires. TlsCrt: tls.crt, for haproxytech kubernetes-ingress and Emissary. IstioCacert: cacert, for a Gateway of Istio. Pkcs12: truststore.p12 and its password, for Java. Kind ConfigMap supports only CaCrt and Pkcs12. Default: CaCrt, unless keys is set.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// `ca.crt`: Bundle
    CaCrt,
    /// `ca.crt`: Bundle, type nginx.org/ca
    NginxOrgCa,
    /// `tls.crt`: Bundle
    TlsCrt,
    /// `cacert`: Bundle
    IstioCacert,
    /// `truststore.p12`: Pkcs12, and the password
    Pkcs12,
}

/// What a key of the target holds.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// The main certificate, then the additional certificates, without expired ones.
    Bundle,
    /// The main certificate only, even if it has expired.
    Active,
    /// SHA-256 of the DER, upper-case hexadecimal, one per line, for an ACL file of HAProxy.
    Sha256Pins,
    /// SHA-1 of the DER, lower-case hexadecimal, one per line.
    Sha1Pins,
    /// Base64 of the SHA-256 of the SubjectPublicKeyInfo, one per line.
    SpkiPins,
    /// The lines of Sha1Pins, each with the value 1, to include in a map of nginx.
    NginxMap,
    /// A file for Envoy's SDS, with the SHA-256 pins.
    EnvoySds,
    /// A truststore that Java reads, with one alias for each certificate.
    Pkcs12,
}

/// Type of the Secret, only with keys. Default: Opaque. The type of a Secret is immutable; to change the type, change target.name too.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretType {
    /// The default of Kubernetes.
    Opaque,
    /// The type that the F5 NGINX Ingress Controller requires.
    #[serde(rename = "nginx.org/ca")]
    NginxOrgCa,
}

impl SecretType {
    /// The name of the type in Kubernetes.
    pub fn as_str(self) -> &'static str {
        match self {
            SecretType::Opaque => "Opaque",
            SecretType::NginxOrgCa => "nginx.org/ca",
        }
    }
}

/// What happens to the target after the deletion of its resource.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum DeletionPolicy {
    /// Garbage collection deletes the target.
    #[default]
    Delete,
    /// The target stays.
    Retain,
}
