//! PKIX tries every certificate of the truststore, and does not check the dates of trust anchors.

mod pem {
    proves!(JavaPem);
}

mod pkcs12 {
    proves!(JavaPkcs12);
}
