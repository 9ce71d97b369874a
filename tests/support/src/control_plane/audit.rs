//! Who asked kube-apiserver for what: the audit log, so that a test can say "and no write followed".

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde_json::Value;

use super::ControlPlane;
use super::files::Files;

/// Every write, and the reads that tell how an operator watches. Stage ResponseStarted is how a watch shows while it runs.
const POLICY: &str = r#"apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  verbs: [create, update, patch, delete, deletecollection]
- level: Metadata
  verbs: [get, list, watch]
  resources:
  - group: ""
    resources: [secrets, configmaps, events]
  - group: events.k8s.io
  - group: apigateway.clientcert.dev
- level: None
"#;

/// One answered request. A watch appears when it begins, any other request when it is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub verb: String,
    /// The API group, empty for the core group.
    pub group: String,
    /// The plural, as in `secrets`.
    pub resource: String,
    /// As in `status`; empty for the object itself.
    pub subresource: String,
    /// Empty for a list, and for a creation with `generateName`.
    pub name: String,
    /// Empty for what is in no namespace, and for a list over all.
    pub namespace: String,
    /// As in `admin` or `system:serviceaccount:NAMESPACE:NAME`.
    pub user: String,
    /// The HTTP status of the answer.
    pub code: u16,
    /// When kube-apiserver received the request.
    pub time: Timestamp,
}

impl AuditEntry {
    /// Whether the request asked for a change, whatever the answer was.
    pub fn is_write(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }

    fn parse(line: &str) -> Result<Option<Self>> {
        let event: Value = serde_json::from_str(line)?;
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let verb = text("/verb");
        // A watch is told when it starts, and again when it ends; a request that is refused has only the latter.
        let started = text("/stage") == "ResponseStarted";
        let code = event.pointer("/responseStatus/code").and_then(Value::as_u64).unwrap_or_default();
        if started != (verb == "watch" && code == 200) {
            return Ok(None);
        }
        Ok(Some(Self {
            verb,
            group: text("/objectRef/apiGroup"),
            resource: text("/objectRef/resource"),
            subresource: text("/objectRef/subresource"),
            name: text("/objectRef/name"),
            namespace: text("/objectRef/namespace"),
            user: text("/user/username"),
            code: u16::try_from(code)?,
            time: text("/requestReceivedTimestamp").parse()?,
        }))
    }
}

impl ControlPlane {
    /// All requests of a user in a namespace (or everywhere), oldest answer first, since the control plane began: every write of
    /// anything, and reads of Secrets, ConfigMaps, Events and this project's resources.
    ///
    /// A user is a name as in `admin`, or [`service_account_user`](super::service_account_user).
    pub fn requests(&self, user: &str, namespace: Option<&str>) -> Result<Vec<AuditEntry>> {
        let path = self.files.audit_log();
        let log = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        // A last line without an end is still being written.
        let complete = log.rfind('\n').map_or("", |end| &log[..end]);
        let of_user = format!("\"username\":\"{user}\"");
        let mut entries = Vec::new();
        for line in complete.lines().filter(|line| line.contains(&of_user)) {
            let entry = AuditEntry::parse(line).with_context(|| format!("not an audit event: {line}"))?;
            // Looked at again: an impersonated user's name is in the line, too.
            entries.extend(
                entry.filter(|entry| entry.user == user && namespace.is_none_or(|name| entry.namespace == name)),
            );
        }
        Ok(entries)
    }

    /// Those of [`Self::requests`] that ask for a change, refused ones included. Events count: leave them out by `resource`.
    pub fn writes_by(&self, user: &str, namespace: Option<&str>) -> Result<Vec<AuditEntry>> {
        Ok(self.requests(user, namespace)?.into_iter().filter(AuditEntry::is_write).collect())
    }
}

pub(super) fn write_policy(files: &Files) -> Result<()> {
    files.write("audit-policy.yaml", POLICY)
}
