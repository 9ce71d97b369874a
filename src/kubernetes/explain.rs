//! What the failures of requests mean, in one clear line that says what to do.

use kube::runtime::watcher;

use super::watch::Scope;
use crate::api::TargetKind;

pub fn explain_watch(error: &watcher::Error, resource: &str, scope: &Scope) -> String {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => explain(error, resource, scope),
        watcher::Error::WatchError(status) => {
            format!("watch on {resource} {} ended: {}; trying again", scope.describe(), status.message)
        }
        watcher::Error::NoResourceVersion => error.to_string(),
    }
}

/// One clear line that says what to do.
pub fn explain(error: &kube::Error, resource: &str, scope: &Scope) -> String {
    let place = scope.describe();
    let is_target = TargetKind::ALL.iter().any(|kind| kind.plural() == resource);
    let missing = if matches!(scope, Scope::Namespace(_)) { ", which may not exist" } else { "" };
    let or_else = if is_target { ", or leave the kind out of --target-kinds" } else { "" };
    match error {
        kube::Error::Api(status) if status.code == 404 => str::to_owned(
            "the CustomResourceDefinition of ClientCertificateRef is not installed: apply deploy/crd.yaml, or the output of `client-certificate-operator crd`; waiting for it"
        ),
        kube::Error::Api(status) if status.code == 403 => format!(
            "the operator may not list and watch {resource} {place}{missing}: give its ServiceAccount that right (see deploy/install.yaml){or_else}; waiting for it"
        ),
        kube::Error::Api(status) if status.code == 401 => {
            "the API server does not accept the operator's credentials: check its ServiceAccount token or KUBECONFIG; trying again".to_owned()
        }
        kube::Error::Api(status) => {
            format!("could not list {resource} {place}: {}; trying again", status.message)
        }
        error => {
            format!("watch on {resource} failed: the Kubernetes API server cannot be reached: {}; check the network, and KUBECONFIG where it is set; trying again", innermost(error))
        }
    }
}

/// The cause that says most: what is around it repeats it in other words.
pub fn innermost(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

/// What to do about a right that is missing. RBAC's own words name verb and resource, others' do not.
pub fn explain_refusal(error: &kube::Error, verb: &str, resource: &str) -> String {
    match error {
        kube::Error::Api(status) if status.code == 403 && status.message.contains("cannot") => format!(
            "the operator may not {verb} {resource}: give its ServiceAccount that right (see deploy/install.yaml)"
        ),
        kube::Error::Api(status) => status.message.clone(),
        error => innermost(error),
    }
}
