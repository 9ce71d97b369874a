//! As with nginx: OpenSSL's verdict, and pins.

mod authorities {
    proves!(HaproxyCa);
}

mod pins {
    proves!(HaproxyPins);
}
