//! What the pure parts of a reconcile need to know of the operator's configuration, and of the time.

use std::time::Duration;

use jiff::Timestamp;

/// Configuration that decisions depend on.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The region of resources that name none.
    pub default_region: Option<String>,
    /// How long before its end a certificate counts as expiring.
    pub expiring_within: Duration,
    /// Which installation of the operator this is, as statuses tell it: replicas of one are the same.
    pub installation: String,
    /// Whether descriptions may be written at all.
    pub manage_descriptions: bool,
}

/// Time by a clock that never jumps: since the start of the process.
pub type Tick = Duration;

/// The time, as an argument. Certificates end by the wall clock; waits are measured by the steady one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The wall clock.
    pub wall: Timestamp,
    /// The steady clock.
    pub tick: Tick,
}
