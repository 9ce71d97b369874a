//! The chain of a certificate that an authority issued: its order, and the use of a certificate.

use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Block, Certificate};

/// The fields by which a verifier finds the issuer of a certificate, as DER.
struct Link {
    subject: Vec<u8>,
    issuer: Vec<u8>,
    key: Vec<u8>,
    /// The identifier of the key, if the certificate has one.
    key_id: Option<Vec<u8>>,
    /// Whether the certificate has the identifier of the key of its issuer.
    has_key_id_of_issuer: bool,
}

impl Link {
    fn is_self_issued(&self) -> bool {
        self.subject == self.issuer
    }
}

impl Block {
    fn link(&self) -> Option<Link> {
        let der = self.der()?;
        let (_, certificate) = X509Certificate::from_der(&der).ok()?;
        let mut link = Link {
            subject: certificate.subject().as_raw().to_vec(),
            issuer: certificate.issuer().as_raw().to_vec(),
            key: certificate.public_key().raw.to_vec(),
            key_id: None,
            has_key_id_of_issuer: false,
        };
        for extension in certificate.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::SubjectKeyIdentifier(id) => link.key_id = Some(id.0.to_vec()),
                ParsedExtension::AuthorityKeyIdentifier(id) => link.has_key_id_of_issuer = id.key_identifier.is_some(),
                _ => {}
            }
        }
        Some(link)
    }

    /// Whether the subject and the issuer are the same.
    pub fn is_self_issued(&self) -> bool {
        self.link().is_some_and(|link| link.is_self_issued())
    }

    /// Whether the extended key usage, if there is one, includes clients.
    pub fn may_be_a_client(&self) -> bool {
        let Some(der) = self.der() else { return false };
        let Ok((_, certificate)) = X509Certificate::from_der(&der) else { return false };
        match certificate.extended_key_usage() {
            Ok(None) => true,
            Ok(Some(usage)) => usage.value.client_auth || usage.value.any,
            Err(_) => false,
        }
    }
}

/// Sorts a chain by issuer, the issuer of `leaf` first. Certificates that issued none of the others come last.
pub(super) fn sorted(leaf: &Block, chain: Vec<Block>) -> Vec<Block> {
    let mut sorted = Vec::with_capacity(chain.len());
    let mut rest = chain;
    let mut wanted = leaf.link().map(|link| link.issuer);
    while let Some(issuer) = wanted {
        let next = rest.iter().position(|block| block.link().is_some_and(|link| link.subject == issuer));
        let Some(next) = next else { break };
        let block = rest.remove(next);
        wanted = block.link().map(|link| link.issuer);
        sorted.push(block);
    }
    sorted.extend(rest);
    sorted
}

/// Whether OpenSSL and BoringSSL find the issuer of every certificate among the authorities of all. They look it up by
/// its name. Of two CAs with one name, they try only the first one, unless key identifiers distinguish the two.
pub fn are_distinguishable(certificates: &[Certificate]) -> bool {
    let blocks = || certificates.iter().flat_map(|it| std::iter::once(&it.first).chain(&it.chain));
    let links: Vec<Link> = blocks().filter_map(Block::link).collect();
    let authorities: Vec<Link> = certificates.iter().flat_map(Certificate::chain).filter_map(Block::link).collect();
    let is_distinct = |one: &Link, other: &Link| {
        let mut issued = links.iter().filter(|link| link.issuer == one.subject && !link.is_self_issued());
        one.key_id.is_some()
            && other.key_id.is_some()
            && one.key_id != other.key_id
            && issued.all(|link| link.has_key_id_of_issuer)
    };
    authorities.iter().enumerate().all(|(at, one)| {
        let mut same_name =
            authorities[..at].iter().filter(|other| other.subject == one.subject && other.key != one.key);
        same_name.all(|other| is_distinct(one, other))
    })
}
