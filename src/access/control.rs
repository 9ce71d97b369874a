//! The rules in force and the labels of namespaces. Both may change at any time.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::RwLock;

use super::{Access, Found};
use crate::api::ClientCertificateRef;
use crate::rules::Rules;
use crate::settings::Settings;

/// Decides the access of each resource.
#[derive(Debug)]
pub struct AccessControl {
    settings: Settings,
    rules: RwLock<Arc<Rules>>,
    /// The labels by namespace, for each namespace whose labels are known.
    labels: RwLock<HashMap<String, BTreeMap<String, String>>>,
}

impl AccessControl {
    /// A control with these rules, without the labels of any namespace.
    pub fn new(settings: Settings, rules: Rules) -> Self {
        AccessControl { settings, rules: RwLock::new(Arc::new(rules)), labels: RwLock::default() }
    }

    /// The rules in force.
    pub fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read())
    }

    /// Replaces the rules in force.
    pub fn set_rules(&self, rules: Rules) {
        *self.rules.write() = Arc::new(rules);
    }

    /// Records the labels of a namespace. Returns whether they change the rules that select the namespace, or are the
    /// first labels of the namespace.
    pub fn set_labels(&self, namespace: &str, labels: BTreeMap<String, String>) -> bool {
        let rules = self.rules();
        let selected = rules.selected_by(&labels);
        let before = self.labels.write().insert(namespace.to_owned(), labels);
        before.is_none_or(|before| rules.selected_by(&before) != selected)
    }

    /// The namespaces whose labels are known.
    pub fn labelled(&self) -> Vec<String> {
        self.labels.read().keys().cloned().collect()
    }

    /// Drops the labels of the namespaces for which `is_there` is false.
    pub fn retain_labels(&self, is_there: impl Fn(&str) -> bool) {
        self.labels.write().retain(|namespace, _| is_there(namespace));
    }

    /// The access of a resource. `None` if it is not decided yet: the rules select by labels, and the labels of the
    /// namespace are unknown.
    pub fn of(&self, resource: &ClientCertificateRef) -> Option<Access> {
        self.with_found(resource, &Found::default())
    }

    /// The access of a resource, with the certificates that AWS names.
    pub fn with_found(&self, resource: &ClientCertificateRef, found: &Found) -> Option<Access> {
        let rules = self.rules();
        let none = BTreeMap::new();
        let known = self.labels.read();
        let labels = match known.get(resource.namespace()) {
            None if rules.use_labels() => return None,
            labels => labels.unwrap_or(&none),
        };
        Some(Access::of(resource, found, &self.settings, &rules, labels))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::resource;
    use crate::settings::Settings;

    const BY_LABEL: &str = "rules: [{namespaceSelector: {matchLabels: {team: pay}}, regions: [eu-west-1]}]";

    fn control(rules: &str) -> AccessControl {
        let settings = Settings {
            default_region: Some("us-east-1".into()),
            expiring_within: std::time::Duration::from_secs(3600),
            installation: "operators/ours".into(),
            manage_descriptions: true,
            target_kinds: Default::default(),
        };
        AccessControl::new(settings, Rules::parse(rules).unwrap())
    }

    fn labels(team: &str) -> BTreeMap<String, String> {
        [("team".to_owned(), team.to_owned())].into()
    }

    #[test]
    fn rules_with_labels_decide_nothing_for_a_namespace_with_unknown_labels() {
        let resource = resource("payments");
        let control = control(BY_LABEL);
        assert_eq!(control.of(&resource), None);
        control.set_labels(resource.namespace(), BTreeMap::new());
        assert!(control.of(&resource).unwrap().main.unwrap().source.is_ok(), "the default");
        control.set_labels(resource.namespace(), labels("pay"));
        assert!(control.of(&resource).unwrap().main.unwrap().source.is_err(), "the rule");
        control.retain_labels(|_| false);
        assert_eq!(control.of(&resource), None);
        control.set_rules(Rules::default());
        assert!(control.of(&resource).unwrap().main.unwrap().source.is_ok(), "rules without labels need none");
    }

    #[test]
    fn labels_count_only_if_the_rules_select_by_them() {
        let control = control(BY_LABEL);
        assert!(control.set_labels("a", labels("orders")), "known for the first time");
        assert!(!control.set_labels("a", labels("shop")), "no rule is for either");
        assert!(control.set_labels("a", labels("pay")));
        let mut more = labels("pay");
        more.insert("env".into(), "prod".into());
        assert!(!control.set_labels("a", more), "the same rule");
        assert!(control.set_labels("a", BTreeMap::new()));
    }
}
