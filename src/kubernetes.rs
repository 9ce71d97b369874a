//! The Kubernetes API: which cluster, clients with deadlines, watches and the stores they
//! fill, the Lease.

pub mod client;
pub mod cluster;
mod explain;
pub mod lease;
pub mod log_once;
pub(crate) mod resource_version;
pub mod stores;
pub mod watch;

pub use explain::{explain_refusal, innermost};
pub use log_once::LogOnce;

use kube::api::PostParams;

/// The field manager of every write, and the reporter of events.
pub const FIELD_MANAGER: &str = "client-certificate-operator";

/// How everything is created and replaced.
pub fn write_params() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}
