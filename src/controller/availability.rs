//! The availability of each namespace. A namespace that does not exist, or that RBAC does not allow, does not delay the
//! others.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use crate::kubernetes::watch::Scope;
use crate::metrics::Metrics;

/// The progress of one watch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Watch {
    listed: bool,
    refused: bool,
}

type Watches = BTreeMap<(Scope, String), Watch>;

/// The progress of all watches.
#[derive(Clone)]
pub struct Availability {
    watches: watch::Sender<Watches>,
    metrics: Arc<Metrics>,
}

impl Availability {
    /// The availability of these watches. None of them has listed its objects yet.
    pub fn new(watches: impl IntoIterator<Item = (Scope, String)>, metrics: Arc<Metrics>) -> Self {
        let watches = watches.into_iter().map(|watch| (watch, Watch::default())).collect();
        Availability { watches: watch::Sender::new(watches), metrics }
    }

    /// Records that a watch has listed all its objects.
    pub fn listed(&self, scope: &Scope, plural: &str) {
        self.change(scope, plural, |watch| *watch = Watch { listed: true, refused: false });
    }

    /// Records whether RBAC refuses to let a watch list its objects.
    pub fn refused(&self, scope: &Scope, plural: &str, refused: bool) {
        self.change(scope, plural, |watch| watch.refused = refused);
    }

    /// Waits until a watch has listed all its objects.
    pub async fn wait_listed(&self, scope: &Scope, plural: &str) {
        let key = (scope.clone(), plural.to_owned());
        // This wait cannot fail, because `self` holds the sender.
        let _ = self.watches.subscribe().wait_for(|all| all.get(&key).is_some_and(|watch| watch.listed)).await;
    }

    /// Waits until one of the watches has listed all its objects.
    pub async fn wait_any_listed(&self) {
        let _ = self.watches.subscribe().wait_for(|all| all.values().any(|watch| watch.listed)).await;
    }

    /// Waits until every scope is listed or refused, and at least one scope is listed and not refused.
    pub async fn wait_ready(&self) {
        let _ = self.watches.subscribe().wait_for(is_ready).await;
    }

    fn change(&self, scope: &Scope, plural: &str, change: impl FnOnce(&mut Watch)) {
        self.watches.send_modify(|all| {
            change(all.entry((scope.clone(), plural.to_owned())).or_default());
            let unavailable = by_scope(all).into_iter().filter(|(scope, of)| **scope != Scope::All && of.refused);
            self.metrics.namespaces_unavailable(unavailable.count());
        });
    }
}

/// The progress of each scope: `listed` if all its watches have listed, and `refused` if any of them is refused.
fn by_scope(all: &Watches) -> BTreeMap<&Scope, Watch> {
    let mut scopes = BTreeMap::new();
    for ((scope, _), watch) in all {
        let of: &mut Watch = scopes.entry(scope).or_insert(Watch { listed: true, refused: false });
        *of = Watch { listed: of.listed && watch.listed, refused: of.refused || watch.refused };
    }
    scopes
}

fn is_ready(all: &Watches) -> bool {
    let scopes = by_scope(all);
    let serves = |of: &Watch| of.listed && !of.refused;
    scopes.values().all(|of| of.listed || of.refused) && scopes.values().any(serves)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unavailable_namespaces_do_not_delay_the_available_ones() {
        let scope = |name: &str| Scope::Namespace(name.to_owned());
        let watches = ["a", "b"].into_iter().flat_map(|name| ["x", "y"].map(|kind| (scope(name), kind.to_owned())));
        let availability = Availability::new(watches, Arc::default());
        let is_ready = || super::is_ready(&availability.watches.borrow());
        availability.refused(&scope("b"), "x", true);
        assert!(!is_ready(), "a is being listed");
        availability.listed(&scope("a"), "x");
        assert!(!is_ready());
        availability.listed(&scope("a"), "y");
        assert!(is_ready());
        availability.refused(&scope("b"), "x", false);
        assert!(!is_ready(), "b is being listed");
        availability.refused(&scope("a"), "y", true);
        availability.refused(&scope("b"), "x", true);
        assert!(!is_ready(), "nothing can be had");
        assert!(availability.metrics.render().contains("ccr_namespaces_unavailable 2"));
    }
}
