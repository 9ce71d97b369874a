//! client-certificate-operator: the map follows.

pub mod gateway;
