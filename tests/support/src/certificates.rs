//! Client certificates with all properties of API Gateway's, including the unusual ones.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use client_certificate_operator::aws::gateway::ClientCertificate;
use jiff::{SignedDuration, Timestamp};
use rcgen::string::PrintableString;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, DnValue, KeyPair, PKCS_RSA_SHA256, RsaKeySize, SerialNumber,
};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

const LIFETIME: SignedDuration = SignedDuration::from_hours(365 * 24);

/// The properties of a new certificate. The default is a certificate that API Gateway would generate now.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct NewCertificate {
    /// The id; by default six random letters and digits.
    pub id: Option<String>,
    /// The description.
    pub description: String,
    /// The tags.
    pub tags: BTreeMap<String, String>,
    /// The start of the validity; by default now, or 365 days before the end.
    pub not_before: Option<Timestamp>,
    /// The end of the validity; by default 365 days after the start.
    pub not_after: Option<Timestamp>,
    /// `not_after` in seconds from now; negative for an expired certificate.
    pub expires_in_seconds: Option<i64>,
    /// Whether the certificate has a key that all such certificates of the process share, so that thousands are made in
    /// seconds.
    pub shared_key: bool,
}

impl NewCertificate {
    /// The default properties.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the id.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Sets the description.
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// Adds a tag.
    pub fn tag(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.insert(name.into(), value.into());
        self
    }

    /// Sets the end of the validity in seconds from now; it may be in the past.
    pub fn expires_in_seconds(mut self, seconds: i64) -> Self {
        self.expires_in_seconds = Some(seconds);
        self
    }

    /// Uses the shared key.
    pub fn shared_key(mut self) -> Self {
        self.shared_key = true;
        self
    }

    fn validity(&self) -> (Timestamp, Timestamp) {
        let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap();
        let end = self.expires_in_seconds.map(|seconds| now + SignedDuration::from_secs(seconds)).or(self.not_after);
        let start = self.not_before.unwrap_or_else(|| end.map_or(now, |end| end - LIFETIME));
        (start, end.unwrap_or(start + LIFETIME))
    }
}

/// A certificate with its private key, which API Gateway keeps secret.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The certificate in the API's responses.
    pub certificate: ClientCertificate,
    /// The private key as PKCS #8, for handshakes in place of API Gateway.
    pub private_key_pem: String,
}

/// Makes a certificate: X.509 v3 without extensions, RSA-2048 and SHA-256, self-signed, with the name that API Gateway
/// gives to every certificate of every customer.
pub fn issue(new: NewCertificate) -> Issued {
    let own_key;
    let key = if new.shared_key {
        shared_key()
    } else {
        own_key = new_key();
        &own_key
    };
    let (not_before, not_after) = new.validity();
    let mut params = CertificateParams::default();
    params.distinguished_name = name();
    params.serial_number = Some(SerialNumber::from_slice(&serial()));
    params.not_before = OffsetDateTime::from_unix_timestamp(not_before.as_second()).unwrap();
    params.not_after = OffsetDateTime::from_unix_timestamp(not_after.as_second()).unwrap();
    let pem = params.self_signed(key).unwrap().pem();
    let certificate = ClientCertificate {
        id: new.id.unwrap_or_else(random_id),
        description: new.description,
        created: Some(not_before),
        expires: Some(not_after),
        pem: pem.trim_end().lines().collect::<Vec<_>>().join("\r\n"),
        tags: new.tags,
    };
    Issued { certificate, private_key_pem: key.serialize_pem() }
}

fn name() -> DistinguishedName {
    let mut name = DistinguishedName::new();
    for (kind, value) in
        [(DnType::CountryName, "US"), (DnType::LocalityName, "Seattle"), (DnType::CommonName, "ApiGateway")]
    {
        name.push(kind, DnValue::PrintableString(PrintableString::try_from(value).unwrap()));
    }
    name
}

/// 63 random bits: a positive number that differs even between certificates with the same key.
fn serial() -> [u8; 8] {
    (fastrand::u64(..) >> 1 | 1 << 62).to_be_bytes()
}

fn random_id() -> String {
    std::iter::repeat_with(|| char::from(b"abcdefghijklmnopqrstuvwxyz0123456789"[fastrand::usize(..36)]))
        .take(6)
        .collect()
}

fn new_key() -> KeyPair {
    KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap()
}

fn shared_key() -> &'static KeyPair {
    static KEY: OnceLock<KeyPair> = OnceLock::new();
    KEY.get_or_init(new_key)
}
