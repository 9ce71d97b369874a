//! OpenSSL's verification, and pins, as with nginx.

mod authorities {
    proves!(HaproxyCa);
}

mod pins {
    proves!(HaproxyPins);
}
