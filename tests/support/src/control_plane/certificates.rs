//! The keys and certificates of one control plane: its CA, the server, the administrator, and the signer of
//! ServiceAccount tokens.

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use super::files::Files;

/// Writes all files into the folder and returns the CA's certificate.
pub(super) fn write(files: &Files) -> Result<String> {
    let ca_key = KeyPair::generate()?;
    let mut ca = CertificateParams::default();
    ca.distinguished_name = name("control-plane-of-a-test", None);
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let ca_pem = ca.self_signed(&ca_key)?.pem();
    let issuer = Issuer::new(ca, ca_key);
    files.write("ca.crt", &ca_pem)?;

    let mut server = CertificateParams::new(["127.0.0.1", "localhost", "kubernetes.default.svc"].map(String::from))?;
    server.distinguished_name = name("kube-apiserver", None);
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    write_signed(files, "server", &server, &issuer)?;

    let mut admin = CertificateParams::default();
    admin.distinguished_name = name("admin", Some("system:masters"));
    admin.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    write_signed(files, "admin", &admin, &issuer)?;

    let tokens = KeyPair::generate()?;
    files.write("tokens.key", &tokens.serialize_pem())?;
    files.write("tokens.pub", &tokens.public_key_pem())?;
    Ok(ca_pem)
}

fn name(common_name: &str, organization: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    if let Some(organization) = organization {
        name.push(DnType::OrganizationName, organization);
    }
    name
}

fn write_signed(files: &Files, name: &str, params: &CertificateParams, issuer: &Issuer<'_, KeyPair>) -> Result<()> {
    let key = KeyPair::generate()?;
    files.write(&format!("{name}.crt"), &params.signed_by(&key, issuer)?.pem())?;
    files.write(&format!("{name}.key"), &key.serialize_pem())
}
