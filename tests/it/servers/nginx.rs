//! OpenSSL accepts only the first of two certificates. With pins, nginx accepts both.

mod authorities {
    proves!(NginxCa);
}

mod pins {
    proves!(NginxPins);
}
