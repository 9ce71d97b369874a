//! The audit log of kube-apiserver: the requests of each user, so that a test can check that no write followed.

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde_json::Value;

use super::ControlPlane;
use super::files::Files;

/// Every write, and the reads of the objects that an operator watches. A running watch appears in stage
/// ResponseStarted.
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

/// An answered request. A watch appears at its start, any other request at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub verb: String,
    /// The API group, empty for the core group.
    pub group: String,
    /// The plural, for example `secrets`.
    pub resource: String,
    /// For example `status`; empty for the object itself.
    pub subresource: String,
    /// Empty for a list, and for a creation with `generateName`.
    pub name: String,
    /// Empty for a cluster-scoped object, and for a list over all namespaces.
    pub namespace: String,
    /// For example `admin` or `system:serviceaccount:NAMESPACE:NAME`.
    pub user: String,
    /// The HTTP status of the answer.
    pub code: u16,
    /// The time at which kube-apiserver received the request.
    pub time: Timestamp,
}

impl AuditEntry {
    /// Whether the request is a write, with any answer.
    pub fn is_write(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }

    fn parse(line: &str) -> Result<Option<Self>> {
        let event: Value = serde_json::from_str(line)?;
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let verb = text("/verb");
        // A watch has an entry for its start and one for its end. A refused request has only the latter.
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
    /// All requests of a user in a namespace, or in all, since the start of the control plane, the oldest answer first:
    /// every write, and the reads of Secrets, ConfigMaps, Events and this project's resources.
    ///
    /// The user is a name such as `admin`, or [`service_account_user`](super::service_account_user).
    pub fn requests(&self, user: &str, namespace: Option<&str>) -> Result<Vec<AuditEntry>> {
        let path = self.files.audit_log();
        let log = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        // kube-apiserver is still writing a last line without an end.
        let complete = log.rfind('\n').map_or("", |end| &log[..end]);
        let of_user = format!("\"username\":\"{user}\"");
        let mut entries = Vec::new();
        for line in complete.lines().filter(|line| line.contains(&of_user)) {
            let entry = AuditEntry::parse(line).with_context(|| format!("not an audit event: {line}"))?;
            // The user is compared again, because the line also contains the name of an impersonated user.
            entries.extend(
                entry.filter(|entry| entry.user == user && namespace.is_none_or(|name| entry.namespace == name)),
            );
        }
        Ok(entries)
    }

    /// The writes among [`Self::requests`], including refused ones. Events count; filter them by `resource`.
    pub fn writes_by(&self, user: &str, namespace: Option<&str>) -> Result<Vec<AuditEntry>> {
        Ok(self.requests(user, namespace)?.into_iter().filter(AuditEntry::is_write).collect())
    }
}

pub(super) fn write_policy(files: &Files) -> Result<()> {
    files.write("audit-policy.yaml", POLICY)
}
