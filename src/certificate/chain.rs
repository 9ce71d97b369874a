//! The chain of a certificate that an authority issued: its order, and the use of a certificate.

use x509_parser::prelude::{FromDer, X509Certificate};

use super::Block;

impl Block {
    /// The names of the subject and of the issuer, as DER.
    fn names(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        let der = self.der()?;
        let (_, certificate) = X509Certificate::from_der(&der).ok()?;
        Some((certificate.subject().as_raw().to_vec(), certificate.issuer().as_raw().to_vec()))
    }

    /// Whether the subject and the issuer are the same.
    pub fn is_self_issued(&self) -> bool {
        self.names().is_some_and(|(subject, issuer)| subject == issuer)
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
    let mut wanted = leaf.names().map(|(_, issuer)| issuer);
    while let Some(issuer) = wanted {
        let next = rest.iter().position(|block| block.names().is_some_and(|(subject, _)| subject == issuer));
        let Some(next) = next else { break };
        let block = rest.remove(next);
        wanted = block.names().map(|(_, issuer)| issuer);
        sorted.push(block);
    }
    sorted.extend(rest);
    sorted
}
