//! `spec.target`: the object that the certificates are mirrored into. Data only.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{TargetKind, schema};

/// The object that the certificate is mirrored into.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[x_kube(
    validation = Rule::new("!(has(self.preset) && has(self.keys))").message("target takes preset or keys, not both: preset names a ready-made set of keys, keys is a map from key to content"),
    validation = Rule::new("!has(self.type) || has(self.keys)").message("target.type goes with target.keys only: a preset brings its own type"),
    validation = Rule::new("!has(self.type) || self.kind == 'Secret'").message("target.type goes with kind Secret only: a ConfigMap has no type; leave target.type out"),
    validation = Rule::new("!has(self.preset) || self.preset in ['CaCrt', 'Pkcs12'] || self.kind == 'Secret'").message("target.preset NginxOrgCa, TlsCrt and IstioCacert go with kind Secret only, because what they are for reads Secrets; with kind ConfigMap take preset CaCrt or Pkcs12, or keys"),
    validation = Rule::new("!has(self.pkcs12) || (has(self.preset) && self.preset == 'Pkcs12') || (has(self.keys) && self.keys.exists(key, self.keys[key] == 'Pkcs12'))").message("target.pkcs12 goes with preset Pkcs12, or with a key whose content is Pkcs12"),
    validation = Rule::new("(has(self.pkcs12) && has(self.pkcs12.passwordSecretRef)) || !((has(self.pkcs12) && has(self.pkcs12.passwordKey) ? self.pkcs12.passwordKey : 'truststore.password') in (has(self.keys) && self.keys.exists(key, self.keys[key] == 'Pkcs12') ? self.keys.map(key, key) : has(self.preset) && self.preset == 'Pkcs12' ? ['truststore.p12'] : []))").message("target.pkcs12.passwordKey takes a key of its own: the target has one of that name already (truststore.password, where it is left out)"),
)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// Kind of the object: Secret or ConfigMap. The certificate is public, so a ConfigMap is as good where the server reads one, and an operator that writes ConfigMaps alone needs no right on Secrets. Changed, the new object is written before the old one goes.
    #[serde(default)]
    pub kind: TargetKind,

    /// Name of the object. Default: the name of this resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')").message("target.name takes the name of a Secret or ConfigMap: lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit; leave it out for the name of this resource"))]
    pub name: Option<String>,

    /// A ready-made set of keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,

    /// The keys of the object and what each holds. Bundle: the main certificate's PEM and the additional ones after it; expired ones are left out, as in everything but Active. Active: the main certificate's PEM alone. Sha256Pins: SHA-256 of the DER, upper-case hexadecimal, one a line, which is HAProxy's ACL file. Sha1Pins: SHA-1 of the DER, lower-case hexadecimal, one a line, as nginx writes $ssl_client_fingerprint. SpkiPins: base64 of the SHA-256 of the public key, one a line. NginxMap: Sha1Pins as lines to include in a map of nginx, each with the value 1. EnvoySds: a file for Envoy's SDS with the SHA-256 pins as verify_certificate_hash of the secret api-gateway. Pkcs12: a truststore for Java.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::keys")]
    pub keys: Option<BTreeMap<String, Content>>,

    /// How a PKCS#12 truststore is made; with preset Pkcs12, or a key of that content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pkcs12: Option<Pkcs12>,

    /// Type of the Secret, with kind Secret only.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "type")]
    pub type_: Option<SecretType>,

    /// Labels to set on the object, at most 32. Other labels on it are left alone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::labels")]
    pub labels: BTreeMap<String, String>,

    /// Annotations to set on the object, at most 32. Other annotations on it are left alone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::annotations")]
    pub annotations: BTreeMap<String, String>,

    /// True takes over an object that is already there, if nothing in it can be lost: it has no other keys than ours, the same type, is not immutable, and no other controller or tool manages it.
    #[serde(default)]
    pub adopt: bool,

    /// What becomes of the object when this resource is deleted, or names another target. Delete: it goes too. Retain: it stays and loses its tie to this resource.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

/// How a PKCS#12 truststore is made.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[x_kube(
    validation = Rule::new("!(has(self.passwordSecretRef) && has(self.passwordKey))").message("target.pkcs12 takes passwordSecretRef or passwordKey, not both: a password of your own is not copied into the target"),
)]
#[serde(rename_all = "camelCase")]
pub struct Pkcs12 {
    /// The password of the truststore, in a Secret of the same namespace that carries the label apigateway.clientcert.dev/truststore-password: "true". Default: a password that is made once and kept in the target, beside the truststore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_secret_ref: Option<SecretKeyRef>,

    /// Key of the target that holds the password that was made. Default: truststore.password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[-._a-zA-Z0-9]{1,253}$') && self != '.' && !self.startsWith('..')").message("target.pkcs12.passwordKey takes the name of a file: letters, digits, '-', '_' and '.', not beginning with '..', for example truststore.password"))]
    pub password_key: Option<String>,
}

impl Pkcs12 {
    /// `passwordKey` where none is given.
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

/// A ready-made set of keys. CaCrt: ca.crt, what most servers read. NginxOrgCa: ca.crt in a Secret of type nginx.org/ca, for the F5 NGINX Ingress Controller. TlsCrt: tls.crt, for haproxytech kubernetes-ingress and Emissary. IstioCacert: cacert, for a Gateway of Istio. Pkcs12: truststore.p12 and its password, for Java. With kind ConfigMap: CaCrt and Pkcs12. Default: CaCrt, unless keys is given.
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
    /// The main certificate first, then the additional ones; expired ones left out, as in all but Active.
    Bundle,
    /// The main certificate alone.
    Active,
    /// SHA-256 of the DER, upper-case hexadecimal, one a line: HAProxy's ACL file.
    Sha256Pins,
    /// SHA-1 of the DER, lower-case hexadecimal, one a line.
    Sha1Pins,
    /// Base64 of the SHA-256 of the SubjectPublicKeyInfo, one a line.
    SpkiPins,
    /// The lines of Sha1Pins, as nginx includes them in a map.
    NginxMap,
    /// A file for Envoy's SDS, with the SHA-256 pins.
    EnvoySds,
    /// A truststore that Java reads, one alias a certificate.
    Pkcs12,
}

/// Type of the Secret, with keys only. Default: Opaque. A Secret's type cannot be changed: another type needs another name.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretType {
    /// The default of Kubernetes.
    Opaque,
    /// What the F5 NGINX Ingress Controller asks for.
    #[serde(rename = "nginx.org/ca")]
    NginxOrgCa,
}

impl SecretType {
    /// The type as Kubernetes writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            SecretType::Opaque => "Opaque",
            SecretType::NginxOrgCa => "nginx.org/ca",
        }
    }
}

/// What becomes of the target without its resource.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum DeletionPolicy {
    /// Garbage collection deletes it.
    #[default]
    Delete,
    /// It stays.
    Retain,
}
