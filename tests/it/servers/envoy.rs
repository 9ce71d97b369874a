//! BoringSSL accepts only the first of two certificates. Pins are of certificates and of their keys.

mod authorities {
    proves!(EnvoyCa);
}

mod hashes {
    proves!(EnvoyHashes);
}

mod spki {
    proves!(EnvoySpki);
}
