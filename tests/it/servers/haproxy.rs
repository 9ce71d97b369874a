mod authorities {
    proves!(HaproxyCa);
}

mod pins {
    proves!(HaproxyPins);
}
