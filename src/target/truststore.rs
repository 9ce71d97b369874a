//! A PKCS#12 truststore that Java reads (RFC 7292).
//!
//! The same input gives the same bytes, also after a restart, because otherwise every reconcile would write the target.
//! So no part is random: the salt is a hash of the certificates. The password is not in that hash, because one hash
//! would then suffice to test a guess of the password.
//!
//! No part is encrypted: certificates are public, and Java reads them without encryption. The password protects the
//! integrity of the file, by HMAC-SHA256 as in Java's keytool.

use std::fmt;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use yasna::models::ObjectIdentifier;
use yasna::{DERWriter, Tag, construct_der};

use super::Password;
use crate::certificate::Block;

const DATA: &[u64] = &[1, 2, 840, 113549, 1, 7, 1];
const CERTIFICATE_BAG: &[u64] = &[1, 2, 840, 113549, 1, 12, 10, 1, 3];
const X509_CERTIFICATE: &[u64] = &[1, 2, 840, 113549, 1, 9, 22, 1];
const FRIENDLY_NAME: &[u64] = &[1, 2, 840, 113549, 1, 9, 20];
const SHA256: &[u64] = &[2, 16, 840, 1, 101, 3, 4, 2, 1];
/// An attribute of Oracle. Without it, Java shows no entry, as with the output of `openssl pkcs12 -nokeys`.
const TRUSTED_KEY_USAGE: &[u64] = &[2, 16, 840, 1, 113894, 746875, 1, 1];
const ANY_EXTENDED_KEY_USAGE: &[u64] = &[2, 5, 29, 37, 0];

/// The same number as keytool's.
const ITERATIONS: u32 = 10_000;
/// A part of the salt, so that another version of the format has another salt.
const FORMAT: &str = "client-certificate-operator truststore 1";

type Salt = [u8; 32];

/// A truststore, with its password and salt.
#[derive(Clone, PartialEq, Eq)]
pub struct Truststore {
    password: Password,
    salt: Salt,
    bytes: Vec<u8>,
}

impl fmt::Debug for Truststore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Truststore({} bytes)", self.bytes.len())
    }
}

/// The input of a truststore; empty for a target without one.
#[derive(Clone, Debug, Default)]
pub struct TruststoreInput<'a> {
    /// The password.
    pub password: Option<Password>,
    /// The last truststore. It is reused, because key derivation is slow by design.
    pub last: Option<&'a Arc<Truststore>>,
}

impl TruststoreInput<'_> {
    /// A truststore of these certificates: the last one, if it has the same certificates and password.
    pub(super) fn truststore(&self, blocks: &[&Block]) -> Option<Arc<Truststore>> {
        let password = self.password.as_ref()?;
        let salt = salt(blocks);
        match self.last {
            Some(last) if last.password == *password && last.salt == salt => Some(Arc::clone(last)),
            _ => Truststore::make(password.clone(), salt, blocks).map(Arc::new),
        }
    }
}

impl Truststore {
    fn make(password: Password, salt: Salt, blocks: &[&Block]) -> Option<Self> {
        let ders: Option<Vec<_>> = blocks.iter().map(|block| Some((alias(block), block.der()?))).collect();
        let ders = ders?;
        let bags = construct_der(|writer| {
            writer.write_sequence_of(|writer| ders.iter().for_each(|(alias, der)| bag(writer.next(), alias, der)));
        });
        let safe = construct_der(|writer| writer.write_sequence_of(|writer| data(writer.next(), &bags)));
        let mac = mac(&password, &salt, &safe)?;
        let bytes = construct_der(|writer| {
            writer.write_sequence(|writer| {
                writer.next().write_u8(3);
                data(writer.next(), &safe);
                writer.next().write_sequence(|writer| {
                    writer.next().write_sequence(|writer| {
                        writer.next().write_sequence(|writer| {
                            oid(writer.next(), SHA256);
                            writer.next().write_null();
                        });
                        writer.next().write_bytes(&mac);
                    });
                    writer.next().write_bytes(&salt);
                    writer.next().write_u32(ITERATIONS);
                });
            });
        });
        Some(Truststore { password, salt, bytes })
    }

    /// The file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The password of the truststore.
    pub fn password(&self) -> &Password {
        &self.password
    }
}

/// The alias of a certificate. It is not the id: two ids may differ only in case, which Java's aliases ignore, and a
/// certificate of several blocks has one id.
fn alias(block: &Block) -> String {
    let fingerprint = block.fingerprint.to_string();
    format!("api-gateway-{}", fingerprint.get(..16).unwrap_or(&fingerprint))
}

fn oid(writer: DERWriter<'_>, components: &[u64]) {
    writer.write_oid(&ObjectIdentifier::from_slice(components));
}

/// A ContentInfo of type `data` with these bytes.
fn data(writer: DERWriter<'_>, bytes: &[u8]) {
    writer.write_sequence(|writer| {
        oid(writer.next(), DATA);
        writer.next().write_tagged(Tag::context(0), |writer| writer.write_bytes(bytes));
    });
}

fn bag(writer: DERWriter<'_>, alias: &str, der: &[u8]) {
    writer.write_sequence(|writer| {
        oid(writer.next(), CERTIFICATE_BAG);
        writer.next().write_tagged(Tag::context(0), |writer| {
            writer.write_sequence(|writer| {
                oid(writer.next(), X509_CERTIFICATE);
                writer.next().write_tagged(Tag::context(0), |writer| writer.write_bytes(der));
            });
        });
        writer.next().write_set_of(|writer| {
            attribute(writer.next(), FRIENDLY_NAME, |writer| writer.write_bmp_string(alias));
            attribute(writer.next(), TRUSTED_KEY_USAGE, |writer| oid(writer, ANY_EXTENDED_KEY_USAGE));
        });
    });
}

fn attribute(writer: DERWriter<'_>, type_: &[u64], value: impl FnOnce(DERWriter<'_>)) {
    writer.write_sequence(|writer| {
        oid(writer.next(), type_);
        writer.next().write_set_of(|writer| value(writer.next()));
    });
}

fn salt(blocks: &[&Block]) -> Salt {
    let mut hash = Sha256::new_with_prefix(FORMAT);
    for block in blocks {
        hash.update(block.fingerprint.to_string());
    }
    hash.finalize().into()
}

fn mac(password: &Password, salt: &Salt, safe: &[u8]) -> Option<Vec<u8>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&mac_key(password, salt)).ok()?;
    mac.update(safe);
    Some(mac.finalize().into_bytes().to_vec())
}

/// The key derivation of PKCS#12 (RFC 7292, B.2) for a key of the hash's length, which needs only the first round.
fn mac_key(password: &Password, salt: &Salt) -> [u8; 32] {
    const BLOCK: usize = 64;
    const FOR_A_MAC: u8 = 3;
    let whole_blocks = |bytes: &[u8]| {
        let length = bytes.len().next_multiple_of(BLOCK);
        bytes.iter().copied().cycle().take(length).collect::<Vec<_>>()
    };
    // The password is in UTF-16, big-endian, with a final zero.
    let password: Vec<u8> = password.expose().encode_utf16().chain([0]).flat_map(u16::to_be_bytes).collect();
    let mut key: [u8; 32] = Sha256::new_with_prefix([FOR_A_MAC; BLOCK])
        .chain_update(whole_blocks(salt))
        .chain_update(whole_blocks(&password))
        .finalize()
        .into();
    for _ in 1..ITERATIONS {
        key = Sha256::digest(key).into();
    }
    key
}

#[cfg(test)]
mod tests;
