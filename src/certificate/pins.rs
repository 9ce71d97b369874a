//! Pins other than the SHA-256 of the DER. They are computed on demand: few targets need them, and a [`Block`] stays in
//! memory for each resource.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::Block;
use crate::text::hex;

impl Block {
    /// The DER of the certificate. Never `None`, because the PEM was checked.
    pub fn der(&self) -> Option<Vec<u8>> {
        let body: String = self.pem.lines().filter(|line| !line.starts_with('-')).collect();
        STANDARD.decode(body).ok()
    }

    /// The SHA-1 of the DER in lower-case hexadecimal, as in nginx's `$ssl_client_fingerprint`.
    pub fn sha1(&self) -> Option<String> {
        Some(hex(&<Sha1 as sha1::Digest>::digest(self.der()?)))
    }

    /// The base64 of the SHA-256 of the SubjectPublicKeyInfo, as RFC 7469 pins a key.
    pub fn spki_sha256(&self) -> Option<String> {
        let der = self.der()?;
        let (_, certificate) = X509Certificate::from_der(&der).ok()?;
        Some(STANDARD.encode(Sha256::digest(certificate.public_key().raw)))
    }
}

#[cfg(test)]
mod tests {
    use crate::certificate::Certificate;
    use crate::fixtures::{PEM, PEM_FINGERPRINT, PEM_SHA1, PEM_SPKI};
    use sha2::{Digest, Sha256};

    #[test]
    fn the_pins_match_the_output_of_openssl() {
        let certificate = Certificate::parse(PEM).unwrap();
        let main = certificate.main();
        assert_eq!(main.sha1().unwrap(), PEM_SHA1);
        assert_eq!(main.spki_sha256().unwrap(), PEM_SPKI);
        let sha256: String = Sha256::digest(main.der().unwrap()).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(sha256, PEM_FINGERPRINT);
    }
}
