//! The controllers: one concern and one key each. [`mirror`] is keyed by resource, [`description`] by certificate.

pub mod description;
pub mod mirror;
pub mod publish;
mod recorder;

use kube::api::PostParams;

/// The field manager of every write, and the reporter of events.
pub const FIELD_MANAGER: &str = "client-certificate-operator";

/// How everything is created and replaced.
pub fn write_params() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}
