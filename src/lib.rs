//! client-certificate-operator: the map follows.

pub mod api;
pub mod certificate;
pub mod conditions;
pub mod config;
pub mod controller;
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
pub mod server;
pub mod settings;
pub mod target;
pub mod telemetry;
mod text;
