//! How the operator speaks to the Kubernetes API: which cluster, clients with deadlines, watches and the stores they
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
