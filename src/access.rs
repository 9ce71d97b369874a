//! The rules in force and the labels of namespaces, which may both change at any time.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use crate::api::ClientCertificateRef;
use crate::reading::Access;
use crate::rules::Rules;
use crate::settings::Settings;

/// What decides on the access of each resource.
#[derive(Debug)]
pub struct AccessControl {
    settings: Settings,
    rules: RwLock<Arc<Rules>>,
    labels: RwLock<HashMap<String, BTreeMap<String, String>>>,
}

impl AccessControl {
    /// Access by these rules.
    pub fn new(settings: Settings, rules: Rules) -> Self {
        AccessControl { settings, rules: RwLock::new(Arc::new(rules)), labels: RwLock::default() }
    }

    /// The rules in force.
    pub fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts other rules in force.
    pub fn set_rules(&self, rules: Rules) {
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
    }

    /// Takes note of the labels of a namespace, none of one that is gone. Answers whether they are others than before.
    pub fn set_labels(&self, namespace: &str, labels: BTreeMap<String, String>) -> bool {
        let mut all = self.labels.write().unwrap_or_else(PoisonError::into_inner);
        let before = match labels.is_empty() {
            true => all.remove(namespace),
            false => all.insert(namespace.to_owned(), labels.clone()),
        };
        before.unwrap_or_default() != labels
    }

    /// The namespaces whose labels are known.
    pub fn labelled(&self) -> Vec<String> {
        self.labels.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// What a resource has access to.
    pub fn of(&self, resource: &ClientCertificateRef) -> Access {
        let labels = self.labels.read().unwrap_or_else(PoisonError::into_inner);
        let none = BTreeMap::new();
        Access::of(resource, &self.settings, &self.rules(), labels.get(resource.namespace()).unwrap_or(&none))
    }
}
