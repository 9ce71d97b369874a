//! The parts of the CRD's schema that no attribute expresses: bounded maps, and the assembly of the CRD.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube::CustomResourceExt;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::json;

use super::{ClientCertificateRef, GROUP};
use crate::certificate::{MAX_CHAIN, MAX_PEM};

/// The domains of labels and annotations that belong to Kubernetes or to a tool that acts on them.
const RESERVED_DOMAINS: [&str; 5] = ["kubernetes.io", "k8s.io", "argocd.argoproj.io", "meta.helm.sh", GROUP];

/// The CustomResourceDefinition, as `client-certificate-operator crd` prints it.
pub fn crd() -> CustomResourceDefinition {
    let mut crd = ClientCertificateRef::crd();
    for version in &mut crd.spec.versions {
        if let Some(schema) = version.schema.as_mut().and_then(|s| s.open_api_v3_schema.as_mut()) {
            tidy(schema);
            if let Some(target) = property(schema, "spec").and_then(|spec| property(spec, "target")) {
                // The default is empty, so that each default is only at its field.
                target.default = Some(JSON(json!({})));
            }
            if let Some(status) = property(schema, "status") {
                // Without this default, kstatus (Flux, Helm) would count a resource without a status as Current.
                status.default = Some(JSON(json!({ "observedGeneration": -1 })));
            }
        }
    }
    crd
}

fn property<'a>(schema: &'a mut JSONSchemaProps, name: &str) -> Option<&'a mut JSONSchemaProps> {
    schema.properties.as_mut()?.get_mut(name)
}

/// Removes `nullable`, which the Rust types add: no field may be `null`, and with `nullable` the API server would keep
/// a null instead of the default.
fn tidy(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        tidy(items);
    }
    for child in schema.properties.iter_mut().flat_map(|properties| properties.values_mut()) {
        tidy(child);
    }
}

pub(super) fn timestamp(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "date-time" })
}

pub(super) fn tags(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "maxProperties": 64, "additionalProperties": { "type": "string", "maxLength": 1024 } })
}

pub(super) fn chain(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": MAX_CHAIN,
        "x-kubernetes-list-type": "atomic",
        "items": { "type": "string", "maxLength": MAX_PEM, "description": "The certificate of an authority, PEM." }
    })
}

pub(super) fn additional_ids(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 63,
        "items": { "type": "string", "maxLength": 64, "description": "API Gateway's identifier of an additional client certificate." },
        "x-kubernetes-validations": [
            {
                "rule": "self.all(id, id.matches('^[A-Za-z0-9_-]{1,64}$'))",
                "message": "additionalClientCertificateIds must contain ids of client certificates: 1 to 64 letters, digits, '-' and '_', for example k2c0qe"
            },
            {
                "rule": "self.all(id, self.exists_one(other, other == id))",
                "message": "additionalClientCertificateIds must contain each id only once"
            }
        ]
    })
}

/// The characters that AWS documents for the key or value of a tag.
const TAG_CHARACTERS: &str = r"[\\p{L}\\p{Z}\\p{N}_.:/=+@-]*";

pub(super) fn additional_tags(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "minProperties": 1,
        "maxProperties": 10,
        "additionalProperties": { "type": "string", "maxLength": 256 },
        "x-kubernetes-validations": [{
            "rule": format!("self.all(key, key.size() >= 1 && key.size() <= 128 && key.matches('^{TAG_CHARACTERS}$') && self[key].matches('^{TAG_CHARACTERS}$'))"),
            "message": "additionalClientCertificateTags must have tags that AWS accepts: a key of 1 to 128 and a value of at most 256 letters, digits, spaces and any of _.:/=+@-"
        }]
    })
}

pub(super) fn verifier_class(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": ["OverlapSafe", "FirstWins"] })
}

pub(super) fn keys(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "minProperties": 1,
        "maxProperties": 16,
        "additionalProperties": { "type": "string", "enum": ["Bundle", "Active", "Sha256Pins", "Sha1Pins", "SpkiPins", "NginxMap", "EnvoySds", "Pkcs12"] },
        "x-kubernetes-validations": [{
            "rule": "self.all(key, key.matches('^[-._a-zA-Z0-9]{1,253}$') && key != '.' && !key.startsWith('..'))",
            "message": "target.keys must have file names as keys: letters, digits, '-', '_' and '.', not beginning with '..', for example ca.crt"
        }]
    })
}

pub(super) fn labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": { "type": "string", "maxLength": 63 },
        "x-kubernetes-validations": [
            metadata_key("labels"),
            reserved("labels"),
            {
                "rule": "!('konghq.com/ca-cert' in self)",
                "message": "target.labels must not contain konghq.com/ca-cert: Kong rejects API Gateway's certificates, because they lack the 'CA' basic constraint; terminate TLS at another proxy in front of Kong"
            },
            {
                "rule": "self.all(key, self[key].matches('^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$'))",
                "message": "target.labels must have values of letters, digits, '-', '_' and '.' that begin and end with a letter or digit"
            }
        ]
    })
}

pub(super) fn annotations(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": { "type": "string", "maxLength": 4096 },
        "x-kubernetes-validations": [metadata_key("annotations"), reserved("annotations")]
    })
}

fn metadata_key(field: &str) -> serde_json::Value {
    json!({
        "rule": "self.all(key, !key.matches('^[^/]{254}') && key.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",
        "message": format!("target.{field} must have keys of the form name or domain/name, the domain at most 253 characters, the name at most 63 letters, digits, '-', '_' and '.'")
    })
}

fn reserved(field: &str) -> serde_json::Value {
    let domains = RESERVED_DOMAINS.map(|domain| domain.replace('.', "[.]")).join("|");
    json!({
        "rule": format!("!self.exists(key, key.matches('^(.*[.])?({domains})/'))"),
        "message": format!("target.{field} must not have keys under {}: they belong to Kubernetes or to tools that act on them", RESERVED_DOMAINS.join(", "))
    })
}

pub(super) fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "description": "A condition of the resource.",
            "required": ["type", "status", "lastTransitionTime", "reason", "message"],
            "properties": {
                "type": { "type": "string", "maxLength": 316, "description": "Name of the condition, for example Ready." },
                "status": { "type": "string", "enum": ["True", "False", "Unknown"], "description": "Status of the condition." },
                "reason": { "type": "string", "maxLength": 1024, "description": "Reason of the status, in one word; docs/reference/conditions.md lists all reasons." },
                "message": { "type": "string", "maxLength": 32768, "description": "Reason of the status in a sentence, and the action for the user." },
                "observedGeneration": { "type": "integer", "format": "int64", "description": "Generation of the spec that the condition refers to." },
                "lastTransitionTime": { "type": "string", "format": "date-time", "description": "When the status of the condition last changed." }
            }
        }
    })
}
