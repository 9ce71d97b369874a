//! The server's own certificate: ECDSA P-256, for 127.0.0.1 and a host, and an authority for each server. A gateway and its
//! data plane have one each way.

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};

/// The configuration of a server, and what its clients trust.
#[derive(Debug)]
pub(crate) struct Issued {
    pub(crate) authority: String,
    pub(crate) certificate: String,
    pub(crate) key: String,
}

pub(crate) fn issue(host: &str) -> Result<Issued> {
    issue_with(host, None)
}

/// The same for one that also goes by a URI.
pub(crate) fn issue_with(host: &str, uri: Option<&str>) -> Result<Issued> {
    let authority_key = KeyPair::generate()?;
    let mut authority = CertificateParams::default();
    authority.distinguished_name.push(DnType::CommonName, "authority-of-a-test");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let authority_pem = authority.self_signed(&authority_key)?.pem();
    let issuer = Issuer::new(authority, authority_key);

    let key = KeyPair::generate()?;
    let mut server = CertificateParams::new(["127.0.0.1", host].map(String::from))?;
    server.distinguished_name.push(DnType::CommonName, host);
    if let Some(uri) = uri {
        server.subject_alt_names.push(SanType::URI(uri.try_into()?));
    }
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = server.signed_by(&key, &issuer)?.pem();
    Ok(Issued { authority: authority_pem, certificate, key: key.serialize_pem() })
}
