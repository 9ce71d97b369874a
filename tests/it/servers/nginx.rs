//! OpenSSL's verdict, by which the first of two wins, and pins, by which both do.

mod authorities {
    proves!(NginxCa);
}

mod pins {
    proves!(NginxPins);
}
