//! The events that change the access of namespaces while the operator runs: a new rules file, new labels of a
//! namespace, and the first answer about the operator's own account.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Api, Resource, ResourceExt};
use thiserror::Error;
use tokio::sync::{oneshot, watch};
use tracing::{error, info, warn};

use crate::access::Access;
use crate::api::{Cached, ClientCertificateRef, ResourceName};
use crate::aws::gateway::{Gateway, Identity};
use crate::controllers::mirror::Context;
use crate::kubernetes;
use crate::kubernetes::watch::{Change, Scope};
use crate::metrics::Metrics;
use crate::rules::{InvalidRules, Rules};
use crate::tasks::Tasks;

/// The interval at which the rules file is checked. The kubelet takes up to a minute to update the file after a change
/// of the ConfigMap.
const LOOK: Duration = Duration::from_secs(5);
/// The time for which the start waits for the operator's own account.
const ACCOUNT_PATIENCE: Duration = Duration::from_secs(2);
const ACCOUNT_RETRY: Duration = Duration::from_secs(30);

/// The rules, and the file that holds them.
#[derive(Clone, Debug, Default)]
pub struct RulesFile {
    path: Option<PathBuf>,
    text: String,
    /// The rules at the last read.
    pub rules: Rules,
    /// Whether the operator watches namespaces.
    sees_namespaces: bool,
}

/// The reason for which rules cannot be used.
#[derive(Debug, Error)]
pub enum UnusableRules {
    /// The file cannot be read.
    #[error("cannot read the rules file {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The content of the file is invalid.
    #[error("the rules file {} is invalid: {source}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Why.
        source: InvalidRules,
    },
    /// The rules select namespaces by label, and the operator does not watch namespaces.
    #[error(
        "the rules file {} has a namespaceSelector, but an operator with --namespaces does not watch the labels of namespaces; list the namespaces in `namespaces`",
        path.display()
    )]
    NoLabels {
        /// The file.
        path: PathBuf,
    },
}

impl RulesFile {
    /// Reads the file, if there is one. `sees_namespaces`: whether the operator may watch namespaces.
    pub fn read(path: Option<PathBuf>, sees_namespaces: bool) -> Result<Self, UnusableRules> {
        let Some(path) = path else { return Ok(RulesFile::default()) };
        let text = read(&path)?;
        let rules = parse(&path, &text, sees_namespaces)?;
        Ok(RulesFile { path: Some(path), text, rules, sees_namespaces })
    }
}

fn read(path: &Path) -> Result<String, UnusableRules> {
    std::fs::read_to_string(path).map_err(|source| UnusableRules::Unreadable { path: path.to_owned(), source })
}

fn parse(path: &Path, text: &str, sees_namespaces: bool) -> Result<Rules, UnusableRules> {
    let rules = Rules::parse(text).map_err(|source| UnusableRules::Invalid { path: path.to_owned(), source })?;
    if rules.use_labels() && !sees_namespaces {
        return Err(UnusableRules::NoLabels { path: path.to_owned() });
    }
    Ok(rules)
}

/// Records the description that a resource may own. Returns the other resources to reconcile.
pub fn claim<G: Gateway>(resource: &ClientCertificateRef, context: &Context<G>) -> Vec<ResourceName> {
    let reads = context.may_describe(resource);
    context.descriptions.apply(resource, reads.as_ref().map(|(key, source)| (key, source)))
}

/// Decides the access of all resources again: decides the claims, ends the sessions that are no longer allowed, and
/// wakes every resource.
pub fn apply<G: Gateway>(context: &Context<G>) {
    apply_to(&Scope::All, context);
}

/// Decides the access of the resources of one scope again.
fn apply_to<G: Gateway>(scope: &Scope, context: &Context<G>) {
    let is_in_scope = |cached: &Cached| cached.meta().namespace.as_deref().is_some_and(|name| scope.covers(name));
    let all: Vec<_> = context.stores.all_resources().collect();
    if !all.iter().any(|cached| is_in_scope(cached)) {
        return;
    }
    let mut places = HashSet::new();
    let mut woken = HashSet::new();
    for cached in &all {
        let Ok(resource) = &cached.0 else { continue };
        if is_in_scope(cached) {
            woken.extend(claim(resource, context));
            woken.insert(ResourceName::of(cached));
        }
        let access = context.access.of(resource);
        places.extend(access.iter().flat_map(Access::places).cloned());
    }
    context.aws.retain(|place| place.identity == Identity::Operator || places.contains(place));
    context.stores.wake(woken);
}

/// Reads the operator's own account, with retries. The future ends when the account is known, or after
/// `ACCOUNT_PATIENCE`.
pub fn learn_own_account<G: Gateway>(tasks: &Tasks, context: Arc<Context<G>>) -> impl Future<Output = ()> + use<G> {
    let (known, is_known) = oneshot::channel();
    tasks.spawn_finite("account", async move {
        let mut known = Some(known);
        let mut last = None;
        loop {
            match context.aws.learn_own_account().await {
                Ok(account) => {
                    info!(account, "the operator's own AWS account");
                    if known.take().is_none_or(|known| known.send(()).is_err()) {
                        apply(&context);
                    }
                    return;
                }
                Err(failure) if last.as_ref() != Some(&failure) => {
                    warn!(
                        "could not read the operator's account from AWS STS (sts:GetCallerIdentity): {}; status.certificates has no accountId until AWS STS responds",
                        failure.of_call("AWS STS")
                    );
                    last = Some(failure);
                }
                Err(_) => {}
            }
            tokio::time::sleep(ACCOUNT_RETRY).await;
        }
    });
    async {
        let _ = tokio::time::timeout(ACCOUNT_PATIENCE, is_known).await;
    }
}

/// Follows the rules file and the labels of namespaces that its rules select by. The future ends when the first rules
/// can be applied.
pub fn follow_rules<G: Gateway>(
    mut file: RulesFile,
    tasks: &Tasks,
    context: Arc<Context<G>>,
) -> impl Future<Output = ()> + use<G> {
    let (known, is_known) = oneshot::channel();
    let watches = tasks.clone();
    tasks.spawn_finite("rules file", async move {
        let mut labels = None;
        if file.rules.use_labels() {
            let mut of_namespaces = watch_labels(&watches, &context);
            let _ = of_namespaces.wait_for(|known| *known).await;
            labels = Some(of_namespaces);
        }
        let _ = known.send(());
        let mut next = None;
        while file.path.is_some() {
            tokio::time::sleep(LOOK).await;
            next = file.look(&context.metrics).or(next);
            // Without its labels, a namespace would get the default, which may allow more than the rule for the
            // namespace.
            let can_apply = |rules: &mut Rules| {
                !rules.use_labels() || *labels.get_or_insert_with(|| watch_labels(&watches, &context)).borrow()
            };
            if let Some(rules) = next.take_if(can_apply) {
                info!("reloaded the rules file");
                context.access.set_rules(rules);
                apply(&context);
            }
        }
    });
    async {
        let _ = is_known.await;
    }
}

impl RulesFile {
    /// Returns the rules if the file has changed. A failure is logged once, until the content changes.
    fn look(&mut self, metrics: &Metrics) -> Option<Rules> {
        let path = self.path.as_ref()?;
        let text = match read(path) {
            Ok(text) if text == self.text => return None,
            Ok(text) => text,
            Err(failure) => {
                if !self.text.is_empty() {
                    error!("{failure}; keeping the previous rules");
                    self.text.clear();
                }
                return None;
            }
        };
        let parsed = parse(path, &text, self.sees_namespaces);
        metrics.rules_loaded(parsed.as_ref().map(|_| ()).map_err(|_| ()));
        self.text = text;
        parsed.inspect_err(|failure| error!("{failure}; keeping the previous rules")).ok()
    }
}

/// Watches the labels of namespaces. The receiver becomes true when all labels are known.
fn watch_labels<G: Gateway>(tasks: &Tasks, context: &Arc<Context<G>>) -> watch::Receiver<bool> {
    let (known, is_known) = watch::channel(false);
    let context = Arc::clone(context);
    tasks.spawn("watch on namespaces", async move {
        let api: Api<PartialObjectMeta<Namespace>> = Api::all(context.client.clone());
        let held = || context.access.labelled().iter().map(|name| ObjectRef::new(name)).collect();
        let report = |change| {
            let changed = match change {
                Change::Applied(namespace) => {
                    let namespace: PartialObjectMeta<Namespace> = namespace;
                    let labels = namespace.metadata.labels.clone().unwrap_or_default();
                    let name = namespace.name_any();
                    context.access.set_labels(&name, labels).then_some(name)
                }
                // No resource is left to wake: Kubernetes deletes the resources of a deleted namespace.
                Change::Removed(gone) => {
                    context.access.retain_labels(|namespace| namespace != gone.name);
                    None
                }
                Change::Listed => {
                    known.send_replace(true);
                    None
                }
                Change::Refused | Change::Recovered => None,
            };
            if let Some(namespace) = changed.filter(|_| *known.borrow()) {
                apply_to(&Scope::Namespace(namespace), &context);
            }
        };
        kubernetes::watch::watch(api, watcher::Config::default(), &Scope::All, held, report).await
    });
    is_known
}
