//! How the operator speaks to the Kubernetes API: clients with deadlines, watches, the Lease.

pub mod client;
mod explain;
pub mod lease;
pub mod log_once;
pub mod watch;

pub use explain::{explain_refusal, innermost};
pub use log_once::LogOnce;
