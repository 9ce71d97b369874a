mod authorities {
    proves!(EnvoyCa);
}

mod hashes {
    proves!(EnvoyHashes);
}

mod spki {
    proves!(EnvoySpki);
}
