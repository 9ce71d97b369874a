mod authorities {
    proves!(NginxCa);
}

mod pins {
    proves!(NginxPins);
}
