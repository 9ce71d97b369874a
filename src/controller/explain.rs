//! What the failures of watches and lists mean, in one clear line that says what to do.

use kube::runtime::watcher;

use crate::api::TargetKind;
use crate::index::Scope;
use crate::trouble::innermost;

pub fn explain_watch(error: &watcher::Error, resource: &str, scope: &Scope) -> String {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => explain(error, resource, scope),
        watcher::Error::WatchError(status) => {
            format!("the watch on {resource} {} ended: {}; it begins anew", scope.describe(), status.message)
        }
        watcher::Error::NoResourceVersion => error.to_string(),
    }
}

/// One clear line that says what to do.
pub fn explain(error: &kube::Error, resource: &str, scope: &Scope) -> String {
    let place = scope.describe();
    let is_target = TargetKind::ALL.iter().any(|kind| kind.plural() == resource);
    let or_else = if is_target { ", or leave the kind out of --target-kinds" } else { "" };
    match error {
        kube::Error::Api(status) if status.code == 404 => str::to_owned(
            "the CustomResourceDefinition of ClientCertificateRef is not installed: apply deploy/crd.yaml, or the output of `client-certificate-operator crd`; waiting for it"
        ),
        kube::Error::Api(status) if status.code == 403 => format!(
            "the operator may not list and watch {resource} {place}: give its ServiceAccount that right (see deploy/install.yaml){or_else}; waiting for it"
        ),
        kube::Error::Api(status) if status.code == 401 => {
            "the API server does not accept the operator's credentials: check its ServiceAccount token or KUBECONFIG; trying again".to_owned()
        }
        kube::Error::Api(status) => {
            format!("could not list {resource} {place}: {}; trying again", status.message)
        }
        error => format!("the Kubernetes API server cannot be reached: {}; trying again", innermost(error)),
    }
}
