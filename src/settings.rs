//! The configuration and the time for the pure parts of a reconcile.

use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;

use crate::api::TargetKind;

/// The configuration for decisions.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The region of resources without `spec.region`.
    pub default_region: Option<String>,
    /// The time before its expiry from which a certificate counts as expiring.
    pub expiring_within: Duration,
    /// The name of this installation in every status. All its replicas have the same name.
    pub installation: String,
    /// Whether the operator may write descriptions.
    pub manage_descriptions: bool,
    /// The kinds of targets that the operator writes.
    pub target_kinds: TargetKinds,
}

/// The kinds of targets that the operator writes, at least one. It sends no requests for other kinds, because RBAC may not
/// allow them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetKinds(Vec<TargetKind>);

impl Default for TargetKinds {
    fn default() -> Self {
        TargetKinds(TargetKind::ALL.to_vec())
    }
}

impl TargetKinds {
    /// Whether the operator writes a kind.
    pub fn contains(&self, kind: TargetKind) -> bool {
        self.0.contains(&kind)
    }

    /// Each kind once.
    pub fn iter(&self) -> impl Iterator<Item = TargetKind> {
        self.0.iter().copied()
    }
}

impl FromStr for TargetKinds {
    type Err = String;

    /// Reads names of kinds, separated by commas. An empty list means all kinds.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut kinds = Vec::new();
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let kind = TargetKind::ALL.into_iter().find(|kind| kind.as_str() == name);
            let kind = kind.ok_or_else(|| {
                "expected kinds separated by commas: Secret, ConfigMap, or Secret,ConfigMap".to_owned()
            })?;
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        Ok(if kinds.is_empty() { TargetKinds::default() } else { TargetKinds(kinds) })
    }
}

/// The time since the start of the process, by a clock that never jumps.
pub type Tick = Duration;

/// The time, as an argument. Certificates expire by the wall clock. Waits are measured by the steady clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The time of the wall clock.
    pub wall: Timestamp,
    /// The time of the steady clock.
    pub tick: Tick,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_targets_are_read_and_no_name_means_all() {
        let kinds = |text: &str| text.parse::<TargetKinds>().map(|kinds| kinds.iter().collect::<Vec<_>>());
        for text in ["Secret,ConfigMap", "", " , "] {
            assert_eq!(kinds(text).unwrap(), TargetKind::ALL, "{text:?}");
        }
        assert_eq!(kinds("ConfigMap").unwrap(), [TargetKind::ConfigMap]);
        assert_eq!(kinds("Secret, Secret").unwrap(), [TargetKind::Secret]);
        assert!(!"ConfigMap".parse::<TargetKinds>().unwrap().contains(TargetKind::Secret));
        for text in ["secret", "Pod", "Secret;ConfigMap", "Secret,Pod"] {
            assert!(kinds(text).unwrap_err().contains("Secret,ConfigMap"), "{text:?}");
        }
    }
}
