//! Private CAs, like those of AWS Private CA and cert-manager, and their certificates for ACM.

use client_certificate_operator::aws::gateway::{AcmCertificate, AcmStatus};
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, RsaKeySize, SanType, SerialNumber,
};
use time::OffsetDateTime;

const A_YEAR: i64 = 365 * 24 * 3600;
const TEN_YEARS: i64 = 10 * A_YEAR;

/// The type of a certificate's key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyType {
    /// ECDSA P-256, which is fast to make.
    #[default]
    EcdsaP256,
    /// ECDSA P-384
    EcdsaP384,
    /// RSA of 2,048 bits
    Rsa2048,
    /// RSA of 4,096 bits, which takes seconds to make.
    Rsa4096,
}

impl KeyType {
    fn make(self) -> KeyPair {
        match self {
            Self::EcdsaP256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
            Self::EcdsaP384 => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384),
            Self::Rsa2048 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
            Self::Rsa4096 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_4096),
        }
        .unwrap()
    }
}

/// The chain of a certificate in ACM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Chain {
    /// The certificates from the issuer to the root.
    #[default]
    Full,
    /// The certificates from the issuer to the root, without the root. Empty if the root is the issuer.
    WithoutRoot,
    /// The certificates from the root to the issuer.
    WrongOrder,
    /// No chain.
    None,
}

/// The extended key usage of a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Usage {
    /// For clients.
    #[default]
    Client,
    /// For servers only.
    Server,
    /// No extended key usage.
    Any,
}

/// Whether a certificate identifies the key of its issuer, in addition to the name of the issuer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum KeyIdentifier {
    Present,
    Missing,
}

/// The properties of a new certificate.
#[derive(Clone, Debug)]
pub struct NewLeaf {
    name: String,
    has_dns_name: bool,
    key: KeyType,
    kept_key: Option<String>,
    chain: Chain,
    usage: Usage,
    expires_in_seconds: i64,
}

impl NewLeaf {
    /// A client certificate with an ECDSA key, valid for a year, with its whole chain.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            has_dns_name: false,
            key: KeyType::default(),
            kept_key: None,
            chain: Chain::default(),
            usage: Usage::default(),
            expires_in_seconds: A_YEAR,
        }
    }

    /// A client whose name is also its DNS name, as in a certificate that ACM requests from AWS Private CA for a
    /// domain.
    pub fn domain(name: impl Into<String>) -> Self {
        Self { has_dns_name: true, ..Self::new(name) }
    }

    /// Sets the type of the key.
    pub fn key(mut self, key: KeyType) -> Self {
        self.key = key;
        self
    }

    /// Uses the key of a former certificate, like a renewal by cert-manager with `rotationPolicy: Never`.
    pub fn key_of(mut self, former: &Leaf) -> Self {
        self.kept_key = Some(former.private_key.clone());
        self
    }

    /// Sets the chain.
    pub fn chain(mut self, chain: Chain) -> Self {
        self.chain = chain;
        self
    }

    /// Sets the extended key usage.
    pub fn usage(mut self, usage: Usage) -> Self {
        self.usage = usage;
        self
    }

    /// Sets the end of the validity in seconds from now; it may be in the past.
    pub fn expires_in_seconds(mut self, seconds: i64) -> Self {
        self.expires_in_seconds = seconds;
        self
    }
}

/// A certificate with its key, for an import into ACM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// The certificate as one PEM block: LF, and a final newline.
    pub certificate: String,
    /// The chain as PEM blocks, in the order of the import; `None` without a chain.
    pub chain: Option<String>,
    /// The private key as PKCS #8, for handshakes in place of API Gateway.
    pub private_key: String,
    /// The serial number in lower-case hexadecimal.
    pub serial_number: String,
    /// The start of the validity.
    pub not_before: Timestamp,
    /// The end of the validity.
    pub not_after: Timestamp,
}

impl Leaf {
    /// Replaces the chain by any PEM blocks.
    pub fn with_chain(mut self, chain: &[&str]) -> Self {
        self.chain = Some(chain.concat()).filter(|chain| !chain.is_empty());
        self
    }

    /// The certificate in ACM's responses for an ARN: issued, or expired.
    pub fn to_acm(&self, arn: &str) -> AcmCertificate {
        let is_expired = self.not_after <= Timestamp::now();
        AcmCertificate {
            arn: arn.to_owned(),
            status: if is_expired { AcmStatus::Expired } else { AcmStatus::Issued },
            expires: Some(self.not_after),
            leaf: Some(self.certificate.clone()),
            chain: self.chain.clone(),
        }
    }
}

/// A CA: a root, or a CA below another one.
pub struct PrivateCa {
    issuer: Issuer<'static, KeyPair>,
    /// The certificates from this CA to the root, as PEM.
    path: Vec<String>,
}

impl PrivateCa {
    /// A root with an ECDSA key, valid for ten years.
    pub fn root(name: &str) -> Self {
        Self::root_with_key(name, KeyType::default())
    }

    /// A root with a key of this type.
    pub fn root_with_key(name: &str, key: KeyType) -> Self {
        Self::make(name, key, TEN_YEARS, None, KeyIdentifier::Present)
    }

    /// A CA below this one, valid for ten years.
    pub fn intermediate(&self, name: &str) -> Self {
        Self::make(name, KeyType::default(), TEN_YEARS, Some(self), KeyIdentifier::Present)
    }

    /// A CA below this one, valid for ten years. Its certificate identifies the issuer by name only, as in many CAs
    /// that are created manually.
    pub fn intermediate_without_key_identifier(&self, name: &str) -> Self {
        Self::make(name, KeyType::default(), TEN_YEARS, Some(self), KeyIdentifier::Missing)
    }

    /// A CA below this one whose certificate expired a minute ago.
    pub fn expired_intermediate(&self, name: &str) -> Self {
        Self::make(name, KeyType::default(), -60, Some(self), KeyIdentifier::Present)
    }

    fn make(
        name: &str,
        key: KeyType,
        expires_in_seconds: i64,
        above: Option<&PrivateCa>,
        identifier: KeyIdentifier,
    ) -> Self {
        let key = key.make();
        let (mut params, ..) = params(name, expires_in_seconds, TEN_YEARS);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = identifier == KeyIdentifier::Present;
        let certificate = match above {
            Some(above) => params.signed_by(&key, &above.issuer),
            None => params.self_signed(&key),
        };
        let mut path = vec![certificate.unwrap().pem()];
        path.extend(above.into_iter().flat_map(|above| above.path.clone()));
        Self { issuer: Issuer::new(params, key), path }
    }

    /// The certificates from this CA to the root, as PEM.
    pub fn path(&self) -> &[String] {
        &self.path
    }

    /// The certificate of this CA, as PEM.
    pub fn certificate(&self) -> &str {
        &self.path[0]
    }

    /// The certificate of the root, as PEM.
    pub fn root_certificate(&self) -> &str {
        &self.path[self.path.len() - 1]
    }

    /// Issues a certificate.
    pub fn issue(&self, new: NewLeaf) -> Leaf {
        let key = new.kept_key.map_or_else(|| new.key.make(), |pem| KeyPair::from_pem(&pem).unwrap());
        let (mut params, [not_before, not_after], serial_number) = params(&new.name, new.expires_in_seconds, A_YEAR);
        params.use_authority_key_identifier_extension = true;
        if new.has_dns_name {
            params.subject_alt_names = vec![SanType::DnsName(new.name.try_into().unwrap())];
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = match new.usage {
            Usage::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
            Usage::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
            Usage::Any => Vec::new(),
        };
        let without_root = &self.path[..self.path.len() - 1];
        let chain = match new.chain {
            Chain::Full => self.path.concat(),
            Chain::WithoutRoot => without_root.concat(),
            Chain::WrongOrder => self.path.iter().rev().map(String::as_str).collect(),
            Chain::None => String::new(),
        };
        Leaf {
            certificate: params.signed_by(&key, &self.issuer).unwrap().pem(),
            chain: Some(chain).filter(|chain| !chain.is_empty()),
            private_key: key.serialize_pem(),
            serial_number,
            not_before,
            not_after,
        }
    }
}

/// The common parameters of a certificate, the start and the end of its validity, and its serial number.
fn params(name: &str, expires_in_seconds: i64, lifetime: i64) -> (CertificateParams, [Timestamp; 2], String) {
    let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap();
    let not_after = now + SignedDuration::from_secs(expires_in_seconds);
    // The validity begins in the past, because the clock of the verifier may be slow.
    let not_before = (not_after - SignedDuration::from_secs(lifetime)).min(now - SignedDuration::from_mins(5));
    let date = |time: Timestamp| OffsetDateTime::from_unix_timestamp(time.as_second()).unwrap();
    let serial = (fastrand::u64(..) >> 1 | 1 << 62).to_be_bytes();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    (params.not_before, params.not_after) = (date(not_before), date(not_after));
    (params, [not_before, not_after], serial.iter().map(|byte| format!("{byte:02x}")).collect())
}
