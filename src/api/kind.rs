//! The kinds of targets.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Kind of the target.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum TargetKind {
    /// A v1 Secret.
    #[default]
    Secret,
    /// A v1 ConfigMap.
    ConfigMap,
}

impl TargetKind {
    /// Every kind.
    pub const ALL: [TargetKind; 2] = [TargetKind::Secret, TargetKind::ConfigMap];

    /// The name of the kind in Kubernetes.
    pub fn as_str(self) -> &'static str {
        match self {
            TargetKind::Secret => "Secret",
            TargetKind::ConfigMap => "ConfigMap",
        }
    }

    /// The name of the resource in the Kubernetes API and in RBAC rules.
    pub fn plural(self) -> &'static str {
        match self {
            TargetKind::Secret => "secrets",
            TargetKind::ConfigMap => "configmaps",
        }
    }
}

impl fmt::Display for TargetKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
