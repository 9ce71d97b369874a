//! What goes wrong between the operator and the Kubernetes API, told once and with what to do about it.

use std::sync::{Mutex, PoisonError};

use kube::runtime::watcher;
use tracing::{info, warn};

use crate::index::Scope;

/// Tells a trouble once, until it changes or passes.
pub struct Trouble {
    last: Mutex<Option<String>>,
    over: &'static str,
}

impl Default for Trouble {
    fn default() -> Self {
        Trouble::of("the trouble is over: the watch goes on")
    }
}

impl Trouble {
    /// One whose end is told in these words.
    pub fn of(over: &'static str) -> Self {
        Trouble { last: Mutex::default(), over }
    }

    pub fn tell(&self, trouble: String) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref() != Some(&trouble) {
            warn!("{trouble}");
            *last = Some(trouble);
        }
    }

    pub fn is_over(&self) {
        if self.last.lock().unwrap_or_else(PoisonError::into_inner).take().is_some() {
            info!("{}", self.over);
        }
    }
}

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
    match error {
        kube::Error::Api(status) if status.code == 404 => str::to_owned(
            "the CustomResourceDefinition of ClientCertificateRef is not installed: apply deploy/crd.yaml, or the output of `client-certificate-operator crd`; waiting for it"
        ),
        kube::Error::Api(status) if status.code == 403 => format!(
            "the operator may not list and watch {resource} {place}: give its ServiceAccount that right (see deploy/install.yaml); waiting for it"
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

/// The cause that says most: what is around it repeats it in other words.
pub fn innermost(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}
