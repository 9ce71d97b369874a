//! Holds the Lease that makes one of several replicas the leader, or waits for the Lease. The result is a
//! [`Leadership`].

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::{Api, Client};
use tokio::sync::{oneshot, watch};
use tracing::{info, warn};

use super::{LogOnce, innermost};
use crate::clock::Clock;
use crate::kubernetes::write_params;
use crate::leader::{Candidate, DURATION, Holding, LOOK_EVERY, Leadership, RENEW_EVERY, Step};
use crate::metrics::Metrics;
use crate::settings::Tick;
use crate::tasks::Tasks;

/// The time limit of a request. It leaves time for another request before the Lease ends.
pub const DEADLINE: Duration = Duration::from_secs(4);

/// The Lease, and this replica as a candidate.
#[derive(Clone, Debug)]
pub struct Election {
    /// The namespace of the Lease.
    pub namespace: String,
    /// The name of the Lease.
    pub name: String,
    /// The name of this replica.
    pub holder: String,
}

/// A replica that has joined an election.
pub struct Joined {
    resign: oneshot::Sender<()>,
    ended: tokio::task::JoinHandle<()>,
}

impl Joined {
    /// Releases the Lease, so that another replica does not have to wait for its end.
    pub async fn resign(self) {
        if self.resign.send(()).is_ok() {
            let _ = self.ended.await;
        }
    }
}

/// Joins an election, in a new task. Each request of `client` has to end within [`DEADLINE`].
pub fn join(
    election: Election,
    client: Client,
    tasks: &Tasks,
    clock: Clock,
    leadership: watch::Sender<Leadership>,
    metrics: Arc<Metrics>,
) -> Joined {
    let (resign, resigned) = oneshot::channel();
    let leases = Api::namespaced(client, &election.namespace);
    let log = LogOnce::new("requests for the Lease recovered");
    let replica =
        Replica { election, leases, clock, leadership, metrics, log, candidate: Candidate::default(), held: None };
    Joined { resign, ended: tasks.spawn_finite("lease", replica.run(resigned)) }
}

/// The Lease that this replica holds, as last written, and the time at which that write was sent.
struct Held {
    lease: Lease,
    sent: Tick,
}

struct Replica {
    election: Election,
    leases: Api<Lease>,
    clock: Clock,
    leadership: watch::Sender<Leadership>,
    metrics: Arc<Metrics>,
    log: LogOnce,
    candidate: Candidate,
    held: Option<Held>,
}

impl Replica {
    async fn run(mut self, mut resigned: oneshot::Receiver<()>) {
        loop {
            // A resignation waits for the end of a write, because the API server may carry out a write that is cut.
            match self.held.take() {
                Some(held) => self.renew(held).await,
                None => self.look().await,
            }
            let pause = if self.held.is_some() { RENEW_EVERY } else { LOOK_EVERY };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = &mut resigned => break,
            }
        }
        if let Some(held) = self.held.take() {
            self.release(held.lease).await;
        }
    }

    /// Takes the Lease, if it is free.
    async fn look(&mut self) {
        let found = match self.leases.get_opt(&self.election.name).await {
            Ok(found) => found,
            Err(error) => return self.warn(&error.into(), "get"),
        };
        let before = self.candidate.holder().map(str::to_owned);
        let holding = found.as_ref().map(holding);
        let sent = self.clock.now();
        let taken = match self.candidate.look(&self.election.holder, holding, sent) {
            Step::Wait => {
                self.log.recovered();
                let holder = self.candidate.holder();
                if holder != before.as_deref() {
                    info!(holder, "another replica leads; waiting for the Lease");
                }
                return;
            }
            Step::Create => {
                let lease = self.taken(Lease::default());
                self.leases.create(&write_params(), &lease).await.map_err(|error| (error.into(), "create"))
            }
            Step::Take => self.replace(self.taken(found.unwrap_or_default())).await,
        };
        match taken {
            Ok(lease) => {
                self.log.recovered();
                info!(holder = self.election.holder, "leading");
                self.hold(lease, sent);
            }
            // Another replica has taken the Lease.
            Err((Failure::Conflict, _)) => {}
            Err((failure, verb)) => self.warn(&failure, verb),
        }
    }

    async fn renew(&mut self, held: Held) {
        let sent = self.clock.now();
        let mut lease = held.lease.clone();
        lease.spec.get_or_insert_default().renew_time = Some(MicroTime(Timestamp::now()));
        match self.replace(lease).await {
            Ok(lease) => {
                self.log.recovered();
                return self.hold(lease, sent);
            }
            Err((Failure::Conflict, _)) => match self.leases.get_opt(&self.election.name).await {
                // The response to an earlier write was lost, or another writer changed the metadata.
                Ok(Some(lease)) if holding(&lease).holder.as_ref() == Some(&self.election.holder) => {
                    return self.held = Some(Held { lease, ..held });
                }
                Ok(_) => return self.lose("another replica holds the Lease"),
                Err(error) => self.warn(&error.into(), "get"),
            },
            Err((failure, verb)) => self.warn(&failure, verb),
        }
        if self.clock.now().saturating_sub(held.sent) < DURATION {
            self.held = Some(held);
        } else {
            self.lose("the Lease could not be renewed in time");
        }
    }

    fn hold(&mut self, lease: Lease, sent: Tick) {
        self.held = Some(Held { lease, sent });
        self.publish(Leadership::renewed(sent));
    }

    fn publish(&self, leadership: Leadership) {
        self.metrics.leads(leadership.leads());
        self.leadership.send_replace(leadership);
    }

    fn lose(&mut self, why: &str) {
        warn!(holder = self.election.holder, "lost the leadership: {why}");
        self.publish(Leadership::StandingBy);
        self.candidate = Candidate::default();
    }

    async fn release(&mut self, mut lease: Lease) {
        self.publish(Leadership::StandingBy);
        let spec = lease.spec.get_or_insert_default();
        spec.holder_identity = None;
        spec.renew_time = Some(MicroTime(Timestamp::now()));
        match self.replace(lease).await {
            Ok(_) => info!("released the Lease"),
            Err((failure, verb)) => self.warn(&failure, verb),
        }
    }

    /// The Lease to write when this replica takes it.
    fn taken(&self, found: Lease) -> Lease {
        let before = found.spec.unwrap_or_default();
        let now = MicroTime(Timestamp::now());
        let is_another = before.holder_identity.as_ref() != Some(&self.election.holder);
        let is_first = found.metadata.resource_version.is_none();
        let metadata = ObjectMeta {
            name: Some(self.election.name.clone()),
            namespace: Some(self.election.namespace.clone()),
            ..found.metadata
        };
        let transitions = before.lease_transitions.unwrap_or_default();
        let spec = LeaseSpec {
            holder_identity: Some(self.election.holder.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            lease_transitions: Some(transitions.saturating_add((is_another && !is_first).into())),
            ..before
        };
        Lease { metadata, spec: Some(spec) }
    }

    /// Writes the Lease, if it has not changed since it was read.
    async fn replace(&self, mut lease: Lease) -> Result<Lease, (Failure, &'static str)> {
        lease.metadata.managed_fields = None;
        let replaced = self.leases.replace(&self.election.name, &write_params(), &lease).await;
        replaced.map_err(|error| (error.into(), "update"))
    }

    fn warn(&self, failure: &Failure, verb: &str) {
        let Election { namespace, name, .. } = &self.election;
        self.log.warn(match failure {
            Failure::Forbidden if verb == "create" => format!(
                "Lease {namespace}/{name} does not exist and RBAC does not allow the operator to create it, so no replica can lead; apply the chart or deploy/install.yaml, which contain the Lease; retrying"
            ),
            Failure::Forbidden => format!(
                "RBAC does not allow the operator to {verb} Lease {namespace}/{name}, so no replica can lead; grant it to the operator's ServiceAccount (see deploy/install.yaml), or run one replica with --leader-elect=false; retrying"
            ),
            Failure::NoNamespace => format!(
                "namespace {namespace} of Lease {name} does not exist; set another --lease-namespace; retrying"
            ),
            Failure::Conflict => format!("Lease {namespace}/{name} was modified by another writer; retrying"),
            Failure::Other(cause) => format!("could not {verb} Lease {namespace}/{name}: {cause}; retrying"),
        });
    }
}

/// The cause of a failed request.
enum Failure {
    Conflict,
    Forbidden,
    NoNamespace,
    Other(String),
}

impl From<kube::Error> for Failure {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => match status.code {
                403 => Failure::Forbidden,
                404 if status.message.starts_with("namespaces ") => Failure::NoNamespace,
                404 | 409 => Failure::Conflict,
                _ => Failure::Other(status.message),
            },
            error => Failure::Other(innermost(&error)),
        }
    }
}

fn holding(lease: &Lease) -> Holding {
    let spec = lease.spec.clone().unwrap_or_default();
    let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    Holding {
        holder: spec.holder_identity,
        renewed: spec.renew_time.map(|time| time.0),
        duration: seconds.map_or(DURATION, Duration::from_secs),
    }
}
