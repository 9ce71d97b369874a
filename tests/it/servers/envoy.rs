//! BoringSSL's verdict, by which the first of two wins, and pins of certificates and of their keys.

mod authorities {
    proves!(EnvoyCa);
}

mod hashes {
    proves!(EnvoyHashes);
}

mod spki {
    proves!(EnvoySpki);
}
