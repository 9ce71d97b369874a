//! PEM in, checked X.509 facts out: validity, serial number, fingerprint, and the PEM encoded again.
//!
//! API Gateway returns CRLF line ends and no newline after the last line. Two such PEMs, concatenated without change,
//! make `-----END CERTIFICATE----------BEGIN…`. OpenSSL, nginx, Envoy and Java refuse that, and Go finds no certificate
//! in it.

mod chain;
mod der;
mod name;
mod pins;

pub use chain::are_distinguishable;
pub use name::readable;

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use thiserror::Error;
use x509_parser::prelude::{FromDer, X509Certificate, X509Version};

const BEGIN: &str = "-----BEGIN ";
const DASHES: &str = "-----";
const CERTIFICATE: &str = "CERTIFICATE";
const END: &str = "-----END CERTIFICATE-----";
const COLUMNS: usize = 64;

/// The SHA-256 of a certificate's DER. Its text is lower-case hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    fn of(der: &[u8]) -> Self {
        Fingerprint(Sha256::digest(der).into())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// One CERTIFICATE block that parses as X.509.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The PEM, encoded again from the DER: lines of 64 characters, LF, a newline at the end. Every program can read
    /// this form.
    pub pem: String,
    /// The serial number in upper-case hexadecimal, as `openssl x509 -serial` prints it, on one line.
    pub serial_number: String,
    /// The SHA-256 of the DER.
    pub fingerprint: Fingerprint,
    /// The subject in the order of the certificate, for example `C=US, L=Seattle, CN=ApiGateway`; printable ASCII.
    pub subject: String,
    /// The start of the validity.
    pub not_before: Timestamp,
    /// The end of the validity. The end of the year 9999, which means no expiry, is two days later than the last
    /// `Timestamp`; it becomes that last `Timestamp`.
    pub not_after: Timestamp,
}

/// A client certificate. One of API Gateway has one or more CERTIFICATE blocks, the client's own first. One of ACM has
/// one block and a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    first: Block,
    rest: Vec<Block>,
    chain: Vec<Block>,
}

/// The greatest number of certificates in a chain.
pub const MAX_CHAIN: usize = 5;
/// The greatest length of a certificate's PEM in a status, in bytes.
pub const MAX_PEM: usize = 8192;

/// The reason for which a text is not a certificate that a backend may trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CertificateError {
    /// The text is empty or white space.
    #[error("the PEM is empty")]
    Empty,
    /// A private key, which must not be stored or logged.
    #[error("the PEM holds a private key where a certificate belongs")]
    PrivateKey,
    /// A PEM block of another kind.
    #[error("the PEM holds a block that is not a CERTIFICATE")]
    OtherBlock,
    /// Text outside of PEM blocks.
    #[error("the text is not PEM")]
    NotPem,
    /// A block without its END line.
    #[error("the PEM is truncated: a block has no END line")]
    Truncated,
    /// A body that is not base64.
    #[error("the body of the PEM is not base64")]
    NotBase64,
    /// Bytes that are not exactly one X.509 certificate in strict DER.
    #[error("the PEM does not hold an X.509 certificate")]
    NotX509,
    /// The chain has more certificates than API Gateway accepts.
    #[error("the chain has more than 5 certificates")]
    LongChain,
    /// A certificate of the chain is longer than [`MAX_PEM`].
    #[error("a certificate of the chain is longer than 8 KiB")]
    LongPem,
    /// The extended key usage excludes clients.
    #[error("the extended key usage of the certificate lacks clientAuth, so servers refuse it")]
    NotForClients,
}

impl Certificate {
    /// Reads one or more CERTIFICATE blocks and nothing else.
    pub fn parse(pem: &str) -> Result<Self, CertificateError> {
        // Every kind of line end: LF, CRLF, and CR alone.
        let mut lines = pem.split(['\r', '\n']).map(str::trim).filter(|line| !line.is_empty());
        let first = next_block(&mut lines)?.ok_or(CertificateError::Empty)?;
        let mut rest = Vec::new();
        while let Some(block) = next_block(&mut lines)? {
            rest.push(block);
        }
        Ok(Certificate { first, rest, chain: Vec::new() })
    }

    /// Reads a certificate that an authority issued, and its chain, and sorts the chain by issuer. Without a chain, a
    /// backend trusts the certificate itself.
    pub fn issued(leaf: &str, chain: &str) -> Result<Self, CertificateError> {
        let mut certificate = Certificate::parse(leaf)?;
        if !certificate.rest.is_empty() {
            return Err(CertificateError::NotPem);
        }
        if !certificate.first.may_be_a_client() {
            return Err(CertificateError::NotForClients);
        }
        let chain = match Certificate::parse(chain) {
            Ok(Certificate { first, rest, .. }) => std::iter::once(first).chain(rest).collect(),
            Err(CertificateError::Empty) => Vec::new(),
            Err(error) => return Err(error),
        };
        if chain.len() > MAX_CHAIN {
            return Err(CertificateError::LongChain);
        }
        if std::iter::once(&certificate.first).chain(&chain).any(|block| block.pem.len() > MAX_PEM) {
            return Err(CertificateError::LongPem);
        }
        certificate.chain = chain::sorted(&certificate.first, chain);
        Ok(certificate)
    }

    /// The certificates of the authorities, the issuer of the client certificate first. Empty for a certificate that
    /// API Gateway generated.
    pub fn chain(&self) -> &[Block] {
        &self.chain
    }

    /// The trust anchors for a backend: the chain, or the certificate itself if it has no chain.
    pub fn anchors(&self) -> impl Iterator<Item = &Block> {
        let own = self.chain.is_empty().then(|| self.blocks());
        own.into_iter().flatten().chain(&self.chain)
    }

    /// The same certificate without the expired certificates of its chain.
    pub fn without_ended_authorities(mut self, now: Timestamp) -> Self {
        self.chain.retain(|block| !block.is_expired(now));
        self
    }

    /// Whether the certificate has no chain, and an authority issued it.
    pub fn lacks_chain(&self) -> bool {
        self.chain.is_empty() && !self.first.is_self_issued()
    }

    /// Whether the certificate has a chain without a self-issued certificate.
    pub fn lacks_root(&self) -> bool {
        !self.chain.is_empty() && !self.chain.iter().any(Block::is_self_issued)
    }

    /// The client certificate itself.
    pub fn main(&self) -> &Block {
        &self.first
    }

    /// All blocks, the client certificate first.
    pub fn blocks(&self) -> impl Iterator<Item = &Block> {
        std::iter::once(&self.first).chain(&self.rest)
    }

    /// The PEM, if the certificate has one block.
    pub fn single_pem(&self) -> Option<&str> {
        self.rest.is_empty().then_some(self.first.pem.as_str())
    }

    /// The same certificate with an earlier end, if `end` is earlier than its own.
    pub fn ending_by(mut self, end: Option<Timestamp>) -> Self {
        self.first.not_after = end.map_or(self.first.not_after, |end| end.min(self.first.not_after));
        self
    }

    /// Whether the client certificate has expired.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.first.is_expired(now)
    }

    /// Whether the validity of the client certificate has not begun.
    pub fn is_not_yet_valid(&self, now: Timestamp) -> bool {
        self.first.is_not_yet_valid(now)
    }
}

impl Block {
    /// Whether the certificate has expired.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.not_after <= now
    }

    /// Whether the validity of the certificate has not begun.
    pub fn is_not_yet_valid(&self, now: Timestamp) -> bool {
        now < self.not_before
    }
}

/// The fingerprints of the certificates in a PEM file; none if the file holds anything else. Another writer may have
/// changed the file.
pub fn fingerprints(pem: &[u8]) -> Box<[Fingerprint]> {
    let certificate = std::str::from_utf8(pem).ok().and_then(|text| Certificate::parse(text).ok());
    certificate.iter().flat_map(Certificate::blocks).map(|block| block.fingerprint).collect()
}

fn next_block<'a>(lines: &mut impl Iterator<Item = &'a str>) -> Result<Option<Block>, CertificateError> {
    let Some(begin) = lines.next() else { return Ok(None) };
    let label = begin.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(DASHES)).ok_or(CertificateError::NotPem)?;
    if label.ends_with("PRIVATE KEY") {
        return Err(CertificateError::PrivateKey);
    }
    if label.contains(DASHES) {
        return Err(CertificateError::NotPem);
    }
    if label != CERTIFICATE {
        return Err(CertificateError::OtherBlock);
    }
    let mut body = String::new();
    for line in lines.by_ref() {
        if line == END {
            return block(&body).map(Some);
        }
        if line.starts_with(DASHES) {
            return Err(CertificateError::Truncated);
        }
        body.push_str(line);
    }
    Err(CertificateError::Truncated)
}

fn block(body: &str) -> Result<Block, CertificateError> {
    let der = STANDARD.decode(body).map_err(|_| CertificateError::NotBase64)?;
    checked(&der).ok_or(CertificateError::NotX509)
}

fn checked(der: &[u8]) -> Option<Block> {
    let (_, certificate) = X509Certificate::from_der(der).ok().filter(|(rest, _)| rest.is_empty())?;
    if !is_loadable(der, &certificate) {
        return None;
    }
    let validity = certificate.validity();
    Some(Block {
        pem: encoded(der),
        serial_number: hexadecimal(certificate.raw_serial()),
        fingerprint: Fingerprint::of(der),
        subject: readable(certificate.subject().as_raw())?,
        not_before: moment(validity.not_before.timestamp()),
        not_after: moment(validity.not_after.timestamp()),
    })
}

/// Whether OpenSSL and BoringSSL load a certificate that `x509-parser` accepts.
fn is_loadable(der: &[u8], certificate: &X509Certificate<'_>) -> bool {
    let version = certificate.version();
    let has_its_version = match version {
        X509Version::V3 => true,
        X509Version::V1 | X509Version::V2 => certificate.extensions().is_empty(),
        _ => false,
    };
    der::is_certificate(der)
        && has_its_version
        && certificate.signature_algorithm == certificate.tbs_certificate.signature
        && certificate.extensions_map().is_ok()
}

/// The timestamp of a second, or the nearest one that a `Timestamp` can hold.
fn moment(second: i64) -> Timestamp {
    let (first, last) = (Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
    Timestamp::from_second(second.clamp(first, last)).unwrap_or(Timestamp::MAX)
}

fn encoded(der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let mut pem = String::with_capacity(body.len() + body.len() / COLUMNS + 64);
    pem.push_str("-----BEGIN CERTIFICATE-----\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(COLUMNS.min(rest.len()));
        pem.extend([line, "\n"]);
        rest = after;
    }
    pem.extend([END, "\n"]);
    // The PEM stays in memory as long as the resource exists.
    pem.shrink_to_fit();
    pem
}

/// An INTEGER as OpenSSL prints it: the whole bytes of its absolute value, after a minus sign if it is negative.
fn hexadecimal(integer: &[u8]) -> String {
    let is_negative = integer.first().is_some_and(|byte| *byte >= 0x80);
    let mut amount = integer.to_vec();
    if is_negative {
        let mut carry = true;
        for byte in amount.iter_mut().rev() {
            (*byte, carry) = (!*byte).overflowing_add(u8::from(carry));
        }
    }
    let zeros = amount.iter().take_while(|byte| **byte == 0).count().min(amount.len().saturating_sub(1));
    let digits: String = amount.iter().skip(zeros).map(|byte| format!("{byte:02X}")).collect();
    if is_negative { format!("-{digits}") } else { digits }
}

#[cfg(test)]
mod tests;
