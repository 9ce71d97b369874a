mod pem {
    proves!(JavaPem);
}

mod pkcs12 {
    proves!(JavaPkcs12);
}
