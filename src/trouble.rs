//! What goes wrong between the operator and the Kubernetes API, told once.

use std::sync::{Mutex, PoisonError};

use tracing::{info, warn};

/// Tells a trouble once, until it changes or passes.
#[derive(Debug)]
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

    /// Tells it, unless it is what was told last.
    pub fn tell(&self, trouble: String) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref() != Some(&trouble) {
            warn!("{trouble}");
            *last = Some(trouble);
        }
    }

    /// Tells that it is over, where there was one.
    pub fn is_over(&self) {
        if self.last.lock().unwrap_or_else(PoisonError::into_inner).take().is_some() {
            info!("{}", self.over);
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
