//! The controllers: one concern and one key each. [`mirror`] is keyed by resource, [`description`] by certificate.

pub mod description;
pub mod mirror;
pub mod publish;
mod recorder;
