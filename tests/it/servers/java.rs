//! PKIX tries every certificate of the truststore, and asks none of them for its dates.

mod pem {
    proves!(JavaPem);
}

mod pkcs12 {
    proves!(JavaPkcs12);
}
