//! The Kubernetes API: the cluster, clients with deadlines, watches and the stores that they fill, and the Lease.

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

/// The parameters of every creation and replacement.
pub fn write_params() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}
