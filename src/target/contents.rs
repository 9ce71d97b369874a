//! The content of each key of a target, and the servers that read the target.

use std::fmt::Write;

use serde_json::json;
use sha2::{Digest, Sha256};

use super::render::Valid;
use super::{TargetContent, Truststore};
use crate::api::{
    CertificateStatus, ClientCertificateRef, Content, Pkcs12, Preset, SecretKeyRef, SecretType, TargetKind,
    VerifierClass,
};
use crate::certificate::{Block, Certificate, Fingerprint, are_distinguishable};
use crate::text::hex;

/// The keys of a resource's target with their contents, without the key for the password of a truststore.
pub(super) fn keys(resource: &ClientCertificateRef) -> Vec<(String, Content)> {
    let spec = &resource.spec.target;
    if let Some(keys) = &spec.keys {
        return keys.iter().map(|(key, content)| (key.clone(), *content)).collect();
    }
    let (key, content) = match spec.preset.unwrap_or(Preset::CaCrt) {
        Preset::CaCrt | Preset::NginxOrgCa => ("ca.crt", Content::Bundle),
        Preset::TlsCrt => ("tls.crt", Content::Bundle),
        Preset::IstioCacert => ("cacert", Content::Bundle),
        Preset::Pkcs12 => ("truststore.p12", Content::Pkcs12),
    };
    vec![(key.to_owned(), content)]
}

/// The type of the Secret; `None` for a ConfigMap.
pub(super) fn secret_type(resource: &ClientCertificateRef) -> Option<&'static str> {
    let spec = &resource.spec.target;
    let of_preset = (spec.preset == Some(Preset::NginxOrgCa)).then_some(SecretType::NginxOrgCa);
    match spec.kind {
        TargetKind::Secret => Some(spec.type_.or(of_preset).unwrap_or(SecretType::Opaque).as_str()),
        TargetKind::ConfigMap => None,
    }
}

/// Whether the target holds the main certificate even after it has expired.
pub fn holds_active(resource: &ClientCertificateRef) -> bool {
    keys(resource).iter().any(|(_, content)| *content == Content::Active)
}

/// The source of the password of a truststore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordWanted<'a> {
    /// A Secret of the user.
    Given(&'a SecretKeyRef),
    /// The operator generates the password once, and stores it in the target under this key.
    Made(&'a str),
}

/// The source of the password of a resource's truststore; `None` if the resource has no truststore.
pub fn password_wanted(resource: &ClientCertificateRef) -> Option<PasswordWanted<'_>> {
    if keys(resource).iter().all(|(_, content)| *content != Content::Pkcs12) {
        return None;
    }
    let pkcs12 = resource.spec.target.pkcs12.as_ref();
    Some(match pkcs12.and_then(|pkcs12| pkcs12.password_secret_ref.as_ref()) {
        Some(given) => PasswordWanted::Given(given),
        None => {
            let key = pkcs12.and_then(|pkcs12| pkcs12.password_key.as_deref());
            PasswordWanted::Made(key.unwrap_or(Pkcs12::PASSWORD_KEY))
        }
    })
}

/// How servers treat the certificates in this target; `None` if several kinds of servers may read it.
pub fn verifier_class(resource: &ClientCertificateRef, held: &[CertificateStatus]) -> Option<VerifierClass> {
    let spec = &resource.spec.target;
    if spec.verifier_class.is_some() {
        return spec.verifier_class;
    }
    // Servers find an authority by its name. All certificates that API Gateway generates have the same name, but the
    // authorities of a chain usually have different names.
    let generated = held.iter().filter(|held| held.chain.is_empty()).count();
    let keys = keys(resource);
    let is_chained = |content: &Content| *content == Content::Bundle || is_overlap_safe(*content);
    let issued = || held.iter().filter(|held| !held.chain.is_empty()).filter_map(CertificateStatus::certificate);
    if generated <= 1
        && generated < held.len()
        && keys.iter().all(|(_, content)| is_chained(content))
        && are_distinguishable(&issued().collect::<Vec<_>>())
    {
        return Some(VerifierClass::OverlapSafe);
    }
    match (&spec.keys, spec.preset) {
        (Some(_), _) => keys.iter().all(|(_, content)| is_overlap_safe(*content)).then_some(VerifierClass::OverlapSafe),
        (None, Some(Preset::TlsCrt | Preset::NginxOrgCa | Preset::IstioCacert)) => Some(VerifierClass::FirstWins),
        (None, Some(Preset::Pkcs12)) => Some(VerifierClass::OverlapSafe),
        (None, Some(Preset::CaCrt) | None) => None,
    }
}

fn is_overlap_safe(content: Content) -> bool {
    match content {
        Content::Bundle | Content::Active => false,
        Content::Sha256Pins
        | Content::Sha1Pins
        | Content::SpkiPins
        | Content::NginxMap
        | Content::EnvoySds
        | Content::Pkcs12 => true,
    }
}

/// The value of a key. `None` if the value would be empty: the operator never writes an empty value.
pub(super) fn value(
    content: Content,
    main: Option<&Certificate>,
    valid: &Valid<'_>,
    truststore: Option<&Truststore>,
) -> Option<Vec<u8>> {
    let Valid { certificates: valid, anchors } = valid;
    let value = match content {
        Content::Bundle => anchors.iter().map(|block| block.pem.as_str()).collect(),
        Content::Active => main?.main().pem.clone(),
        Content::Sha256Pins => lines(valid, |block| Some(block.fingerprint.to_string().to_uppercase()))?,
        Content::Sha1Pins => lines(valid, Block::sha1)?,
        Content::SpkiPins => lines(valid, Block::spki_sha256)?,
        Content::NginxMap => lines(valid, |block| Some(format!("{} 1;", block.sha1()?)))?,
        Content::EnvoySds => envoy_sds(valid)?,
        Content::Pkcs12 => return truststore.map(|truststore| truststore.bytes().to_vec()),
    };
    (!value.is_empty()).then(|| value.into_bytes())
}

fn lines(valid: &[&Block], pin: impl Fn(&Block) -> Option<String>) -> Option<String> {
    let mut text = String::new();
    for block in valid {
        writeln!(text, "{}", pin(block)?).ok()?;
    }
    Some(text)
}

/// The file that Envoy reads by `path_config_source`. It has no `trusted_ca`, because BoringSSL would use only the
/// first certificate of a name, and all these certificates have the same name. JSON is YAML too, so the file's name may
/// end in `.json` or `.yaml`.
fn envoy_sds(valid: &[&Block]) -> Option<String> {
    let hashes: Vec<_> = valid.iter().map(|block| block.fingerprint.to_string()).collect();
    let response = json!({
        "resources": [{
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
            "name": "api-gateway",
            "validation_context": { "verify_certificate_hash": hashes },
        }]
    });
    serde_json::to_string_pretty(&response).ok().map(|text| format!("{text}\n"))
}

/// The digest annotation of a target that holds more than PEM, so that the operator recognizes it without reading
/// certificates. `digest` is the digest of the data. `None` for other targets: the operator recognizes those by their
/// certificates.
pub(super) fn mark(resource: &ClientCertificateRef, digest: &[u8; 32]) -> Option<String> {
    let keys = keys(resource);
    if keys.iter().all(|(_, content)| is_pem(*content)) {
        return None;
    }
    // The same data under the same key may belong to another content.
    let mut hash = Sha256::new_with_prefix(digest);
    for (key, content) in keys {
        hash.update(format!("{key}={content:?}\n"));
    }
    Some(hex(&hash.finalize()))
}

fn is_pem(content: Content) -> bool {
    matches!(content, Content::Bundle | Content::Active)
}

/// Whether an object has the keys of the spec, no other key, and in each key only the certificates with these
/// fingerprints, or the certificates that verify them (`anchors`). A value that is not PEM must be unchanged since it
/// was written.
pub fn is_made_of(
    content: &TargetContent,
    resource: &ClientCertificateRef,
    fingerprints: &[&str],
    anchors: &[String],
) -> bool {
    let wanted = keys(resource);
    let password = match password_wanted(resource) {
        Some(PasswordWanted::Made(key)) => Some(key),
        Some(PasswordWanted::Given(_)) | None => None,
    };
    let mut once: Vec<&str> = Vec::with_capacity(anchors.len());
    for anchor in anchors {
        if !once.contains(&anchor.as_str()) {
            once.push(anchor);
        }
    }
    let holds = |key: &String, found: &[Fingerprint]| {
        let Some((_, content)) = wanted.iter().find(|(name, _)| name == key) else {
            return password == Some(key);
        };
        let expected = match content {
            Content::Bundle => once.as_slice(),
            Content::Active => &fingerprints[..fingerprints.len().min(1)],
            _ => return true,
        };
        !found.is_empty() && found.iter().map(Fingerprint::to_string).eq(expected.iter().copied())
    };
    wanted.len() + usize::from(password.is_some()) == content.keys.len()
        && content.keys.iter().zip(&content.certificates).all(|(key, found)| holds(key, found))
        && content.is_as_marked(resource)
}

/// Whether every key for all certificates holds one certificate, by the fingerprints of the certificates that verify
/// it. A value that is not PEM must be unchanged since it was written.
pub fn holds_certificate(content: &TargetContent, resource: &ClientCertificateRef, anchors: &[String]) -> bool {
    let found = |key: &str| content.keys.iter().position(|name| name == key).map(|at| &content.certificates[at]);
    keys(resource).iter().all(|(key, what)| match what {
        Content::Bundle => {
            let is_found = |anchor: &String, found: &[Fingerprint]| found.iter().any(|it| it.to_string() == *anchor);
            found(key).is_some_and(|found| anchors.iter().all(|anchor| is_found(anchor, found)))
        }
        // Such a key holds only the main certificate.
        Content::Active => true,
        _ => content.is_as_marked(resource),
    })
}

#[cfg(test)]
mod tests;
