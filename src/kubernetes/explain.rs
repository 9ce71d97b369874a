//! The messages for failed requests, in one line: the failure, and the action for the user.

use kube::runtime::watcher;

use super::watch::Scope;
use crate::api::TargetKind;

pub fn explain_watch(error: &watcher::Error, resource: &str, scope: &Scope) -> String {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => explain(error, resource, scope),
        watcher::Error::WatchError(status) => {
            format!("watch on {resource} {} ended: {}; retrying", scope.describe(), status.message)
        }
        watcher::Error::NoResourceVersion => error.to_string(),
    }
}

/// The message for a failed request.
pub fn explain(error: &kube::Error, resource: &str, scope: &Scope) -> String {
    let place = scope.describe();
    let is_target = TargetKind::ALL.iter().any(|kind| kind.plural() == resource);
    let missing = if matches!(scope, Scope::Namespace(_)) { ", which may not exist" } else { "" };
    let or_else = if is_target { ", or remove the kind from --target-kinds" } else { "" };
    match error {
        kube::Error::Api(status) if status.code == 404 => str::to_owned(
            "the CustomResourceDefinition of ClientCertificateRef is not installed; apply deploy/crd.yaml, or the output of `client-certificate-operator crd`; retrying",
        ),
        kube::Error::Api(status) if status.code == 403 => format!(
            "RBAC does not allow the operator to list and watch {resource} {place}{missing}; grant it to the operator's ServiceAccount (see deploy/install.yaml){or_else}; retrying"
        ),
        kube::Error::Api(status) if status.code == 401 => {
            "the API server rejected the operator's credentials; check the ServiceAccount token or KUBECONFIG; retrying"
                .to_owned()
        }
        kube::Error::Api(status) => {
            format!("could not list {resource} {place}: {}; retrying", status.message)
        }
        error => {
            format!(
                "watch on {resource} failed: the Kubernetes API server is unreachable: {}; check the network, and KUBECONFIG if set; retrying",
                innermost(error)
            )
        }
    }
}

/// The innermost cause. The outer errors only repeat it.
pub fn innermost(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

/// The message for a refused request. RBAC's message contains the word "cannot"; a message of admission does not.
pub fn explain_refusal(error: &kube::Error, verb: &str, resource: &str) -> String {
    match error {
        kube::Error::Api(status) if status.code == 403 && status.message.contains("cannot") => format!(
            "RBAC does not allow the operator to {verb} {resource}; grant it to the operator's ServiceAccount (see deploy/install.yaml)"
        ),
        kube::Error::Api(status) => status.message.clone(),
        error => innermost(error),
    }
}
