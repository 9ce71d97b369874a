//! client-certificate-operator: the map follows.

pub mod api;
pub mod certificate;
pub mod conditions;
pub mod description;
pub mod error;
#[cfg(test)]
mod fixtures;
pub mod gateway;
pub mod index;
pub mod memory;
pub mod metrics;
pub mod reading;
pub mod reconcile;
pub mod settings;
pub mod target;
mod text;
