//! client-certificate-operator: the map follows.

pub mod api;
pub mod certificate;
pub mod conditions;
pub mod error;
#[cfg(test)]
mod fixtures;
pub mod gateway;
pub mod target;
mod text;
