//! ImportCertificate, with ACM's conditions for a certificate, its key and its chain. The conditions are from the user
//! guide of ACM. The messages are those of AWS where they are published.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use rcgen::{KeyPair, PublicKeyData};
use serde::Deserialize;
use serde_json::{Value, json};
use x509_parser::extensions::{ExtendedKeyUsage, GeneralName};
use x509_parser::pem::Pem;
use x509_parser::prelude::X509Certificate;
use x509_parser::public_key::PublicKey;

use super::{Acm, Refusal, parsed};
use crate::private_ca::Leaf;

const LONGEST_KEY: usize = 5120;
/// The bit of keyEncipherment in the extension keyUsage of RFC 5280.
const KEY_ENCIPHERMENT: u16 = 1 << 2;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Import {
    certificate: Option<String>,
    private_key: Option<String>,
    certificate_chain: Option<String>,
    #[serde(default)]
    tags: Vec<Tag>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Tag {
    key: String,
    #[serde(default)]
    value: String,
}

/// Imports the certificate in the body under an ARN, in place of an existing one.
pub(super) fn perform(acm: &mut Acm, arn: &str, body: &[u8]) -> Result<Value, Refusal> {
    let Import { certificate, private_key, certificate_chain, tags } = parsed(body)?;
    let certificate = decoded("certificate", certificate)?.ok_or_else(|| missing("certificate"))?;
    let private_key = decoded("privateKey", private_key)?.ok_or_else(|| missing("privateKey"))?;
    let chain = decoded("certificateChain", certificate_chain)?;
    let former = acm.certificates.get(arn).map(|held| held.leaf.certificate.as_str());
    if former.is_some() && !tags.is_empty() {
        return Err(invalid("Tagging is not permitted on re-import."));
    }
    let leaf = checked(&certificate, &private_key, chain.as_deref(), former)?;
    acm.put(arn, leaf);
    if let Some(held) = acm.certificates.get_mut(arn).filter(|_| !tags.is_empty()) {
        held.tags = tags.into_iter().map(|tag| (tag.key, tag.value)).collect::<BTreeMap<_, _>>();
    }
    Ok(json!({ "CertificateArn": arn }))
}

/// The name of ACM's error if ACM does not import a certificate. `former` is the certificate to replace, if there is
/// one.
pub(crate) fn refusal(leaf: &Leaf, former: Option<&str>) -> Option<&'static str> {
    let checked = checked(&leaf.certificate, &leaf.private_key, leaf.chain.as_deref(), former);
    checked.err().map(|refusal| refusal.name)
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(400, "ValidationException", message)
}

fn missing(member: &str) -> Refusal {
    constraint("null", member, "Member must not be null")
}

fn constraint(value: &str, member: &str, must: &str) -> Refusal {
    let value = format!("Value {value} at '{member}' failed to satisfy constraint");
    invalid(format!("1 validation error detected: {value}: {must}"))
}

/// Decodes a blob of JSON as text: the blob has to be PEM.
fn decoded(member: &str, base64: Option<String>) -> Result<Option<String>, Refusal> {
    let Some(base64) = base64 else { return Ok(None) };
    let bytes = BASE64_STANDARD.decode(base64).map_err(|_| super::unreadable())?;
    if bytes.is_empty() {
        return Err(constraint("''", member, "Member must have length greater than or equal to 1"));
    }
    String::from_utf8(bytes).map(Some).map_err(|_| not_pem(member))
}

fn not_pem(member: &str) -> Refusal {
    let what = match member {
        "certificate" => "certificate",
        "privateKey" => "private key",
        _ => "certificate chain",
    };
    invalid(format!("The {what} is not PEM-encoded or is not valid."))
}

/// Checks an import, and returns the certificate that ACM then has. `former` is the certificate to replace, if there is
/// one.
fn checked(certificate: &str, private_key: &str, chain: Option<&str>, former: Option<&str>) -> Result<Leaf, Refusal> {
    let blocks = blocks("certificate", certificate)?;
    let [block] = &blocks[..] else {
        let one = "The certificate field contains more than one certificate. You can specify only one certificate in this field.";
        return Err(invalid(one));
    };
    let leaf = x509("certificate", block)?;
    if private_key.len() > LONGEST_KEY {
        return Err(constraint("'***'", "privateKey", "Member must have length less than or equal to 5120"));
    }
    let key = KeyPair::from_pem(private_key).map_err(|_| not_pem("privateKey"))?;
    if key.subject_public_key_info() != leaf.public_key().raw {
        return Err(invalid("The private key does not match the certificate."));
    }
    if !leaf.validity().is_valid() {
        return Err(invalid("The certificate is not within its validity period."));
    }
    if !names_a_host(&leaf) {
        return Err(invalid("The certificate has neither a fully qualified domain name nor an IP address."));
    }
    if let Some(chain) = chain {
        is_certified_by(&leaf, chain)?;
    }
    if let Some(former) = former {
        let blocks = self::blocks("certificate", former)?;
        can_follow(&leaf, &x509("certificate", &blocks[0])?)?;
    }
    let time = |at: i64| Timestamp::from_second(at).unwrap_or_default();
    Ok(Leaf {
        certificate: certificate.to_owned(),
        chain: chain.map(str::to_owned),
        private_key: private_key.to_owned(),
        serial_number: leaf.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect(),
        not_before: time(leaf.validity().not_before.timestamp()),
        not_after: time(leaf.validity().not_after.timestamp()),
    })
}

/// The certificates in a PEM text, at least one.
fn blocks(member: &str, text: &str) -> Result<Vec<Pem>, Refusal> {
    let blocks: Vec<_> =
        Pem::iter_from_buffer(text.as_bytes()).collect::<Result<_, _>>().map_err(|_| not_pem(member))?;
    let are_certificates = !blocks.is_empty() && blocks.iter().all(|block| block.label == "CERTIFICATE");
    if are_certificates { Ok(blocks) } else { Err(not_pem(member)) }
}

fn x509<'a>(member: &str, block: &'a Pem) -> Result<X509Certificate<'a>, Refusal> {
    block.parse_x509().map_err(|_| not_pem(member))
}

fn names_a_host(leaf: &X509Certificate<'_>) -> bool {
    let alternatives = leaf.subject_alternative_name().ok().flatten();
    let is_host = |name: &GeneralName<'_>| matches!(name, GeneralName::DNSName(_) | GeneralName::IPAddress(_));
    alternatives.is_some_and(|names| names.value.general_names.iter().any(is_host))
        || leaf.subject().iter_common_name().any(|name| name.as_str().is_ok_and(|name| name.contains('.')))
}

/// Each certificate of the chain has to certify the one before it.
fn is_certified_by(leaf: &X509Certificate<'_>, chain: &str) -> Result<(), Refusal> {
    let blocks = blocks("certificateChain", chain)?;
    let above = blocks.iter().map(|block| x509("certificateChain", block)).collect::<Result<Vec<_>, _>>()?;
    let pairs = std::iter::once(leaf).chain(&above).zip(&above);
    let mut all = pairs.map(|(below, above)| {
        below.issuer() == above.subject() && below.verify_signature(Some(above.public_key())).is_ok()
    });
    if all.all(|certified| certified) {
        return Ok(());
    }
    Err(invalid("Could not validate the certificate with the certificate chain."))
}

/// The conditions of a re-import, in addition to those of an import.
fn can_follow(new: &X509Certificate<'_>, former: &X509Certificate<'_>) -> Result<(), Refusal> {
    if key_type(new) != key_type(former) {
        return Err(invalid("The key type and size cannot be changed on re-import."));
    }
    let [now, before] = [new, former].map(|certificate| {
        let usage = certificate.key_usage().ok().flatten().map(|usage| usage.value.flags);
        let purposes = certificate.extended_key_usage().ok().flatten().map(|usage| purposes(usage.value));
        (usage, purposes)
    });
    // A re-import may remove keyEncipherment from an EC certificate: RFC 5480 does not permit this usage.
    let given_back = if key_type(new).starts_with("EC_") { KEY_ENCIPHERMENT } else { 0 };
    let keeps_usage = before.0.is_some() == now.0.is_some()
        && before.0.unwrap_or_default() & !given_back & !now.0.unwrap_or_default() == 0;
    let keeps_purposes = before.1.is_some() == now.1.is_some()
        && before.1.unwrap_or_default().iter().all(|kept| now.1.as_ref().is_some_and(|now| now.contains(kept)));
    if keeps_usage && keeps_purposes {
        return Ok(());
    }
    Err(invalid("Key usages of the former certificate cannot be removed on re-import."))
}

/// The purposes in the extension extKeyUsage, without clientAuth, which a re-import may remove.
fn purposes(usage: &ExtendedKeyUsage<'_>) -> Vec<String> {
    let named = [
        ("any", usage.any),
        ("serverAuth", usage.server_auth),
        ("codeSigning", usage.code_signing),
        ("emailProtection", usage.email_protection),
        ("timeStamping", usage.time_stamping),
        ("OCSPSigning", usage.ocsp_signing),
    ];
    let named = named.into_iter().filter(|(_, has)| *has).map(|(name, _)| name.to_owned());
    named.chain(usage.other.iter().map(ToString::to_string)).collect()
}

/// The type and size of a key, by ACM's name.
pub(super) fn key_type(certificate: &X509Certificate<'_>) -> String {
    match certificate.public_key().parsed() {
        Ok(PublicKey::RSA(key)) => format!("RSA_{}", key.key_size()),
        Ok(PublicKey::EC(point)) if point.key_size() == 256 => "EC_prime256v1".to_owned(),
        Ok(PublicKey::EC(point)) => format!("EC_secp{}r1", point.key_size()),
        _ => "unknown".to_owned(),
    }
}
