//! A PKCS#12 truststore that Java reads (RFC 7292).
//!
//! The same input makes the same bytes, also after a restart, or every resync would be a write. So nothing in it is random:
//! the salt comes from the certificates. It does not come from the password, which could be guessed by it at one hash a guess.
//!
//! Nothing is encrypted either: certificates are public, and Java reads them either way. What the password is for is the
//! integrity of the file, by HMAC-SHA256 as Java's own keytool does it.

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
/// Oracle's own attribute. Without it Java shows no entry, as of what `openssl pkcs12 -nokeys` makes.
const TRUSTED_KEY_USAGE: &[u64] = &[2, 16, 840, 1, 113894, 746875, 1, 1];
const ANY_EXTENDED_KEY_USAGE: &[u64] = &[2, 5, 29, 37, 0];

/// As many as keytool takes.
const ITERATIONS: u32 = 10_000;
/// Goes into the salt, so that another format is another file.
const FORMAT: &str = "client-certificate-operator truststore 1";

type Salt = [u8; 32];

/// A truststore, and what it was made of.
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

/// What a truststore is made with: nothing where none is asked for.
#[derive(Clone, Debug, Default)]
pub struct TruststoreInput<'a> {
    /// The password.
    pub password: Option<Password>,
    /// The truststore that was made last: making one takes a while, on purpose.
    pub last: Option<&'a Arc<Truststore>>,
}

impl TruststoreInput<'_> {
    /// A truststore of these certificates: the last one, where it is made of the same.
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

    /// The password that it was made with.
    pub fn password(&self) -> &Password {
        &self.password
    }
}

/// The name of a certificate. Not its id, which may differ from another in case alone, and Java's aliases do not; and a
/// certificate of several blocks has one id.
fn alias(block: &Block) -> String {
    let fingerprint = block.fingerprint.to_string();
    format!("api-gateway-{}", fingerprint.get(..16).unwrap_or(&fingerprint))
}

fn oid(writer: DERWriter<'_>, components: &[u64]) {
    writer.write_oid(&ObjectIdentifier::from_slice(components));
}

/// A ContentInfo that holds bytes as they are.
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

/// The key derivation of PKCS#12 (RFC 7292, B.2) for a key as long as the hash, which is its first round alone.
fn mac_key(password: &Password, salt: &Salt) -> [u8; 32] {
    const BLOCK: usize = 64;
    const FOR_A_MAC: u8 = 3;
    let whole_blocks = |bytes: &[u8]| {
        let length = bytes.len().next_multiple_of(BLOCK);
        bytes.iter().copied().cycle().take(length).collect::<Vec<_>>()
    };
    // UTF-16, big-endian, with a zero at the end.
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
