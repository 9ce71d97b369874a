//! Several replicas of the operator: one works, and the others stand by for its end.

mod election;
mod load;
mod paused;
mod rivals;

use std::ops::Deref;

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::Api;
use operator_testing::operator::{Builder, Operator};
use operator_testing::proxy::{FaultProxy, Seen};
use operator_testing::wait::eventually;

use crate::fixture::{SOON, World};

const LEASE: &str = "client-certificate-operator";

/// The Role of a replica in addition to the permissions of every operator, as in the chart.
const RIGHTS: &str = r#"apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: leader-election, namespace: NAMESPACE}
rules:
- {apiGroups: [coordination.k8s.io], resources: [leases], resourceNames: [client-certificate-operator], verbs: [get, update]}
---
apiVersion: coordination.k8s.io/v1
kind: Lease
metadata: {name: client-certificate-operator, namespace: NAMESPACE}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: leader-election, namespace: NAMESPACE}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: leader-election}
subjects: [{kind: ServiceAccount, name: client-certificate-operator, namespace: NAMESPACE}]
"#;

/// A replica, and the proxy for its requests to the API server.
struct Replica {
    operator: Operator,
    proxy: FaultProxy,
}

impl Replica {
    async fn leads(&mut self) -> bool {
        self.operator.metric("ccr_leader", &[]).await.unwrap() == Some(1.0)
    }

    async fn until_it_leads(&mut self) {
        eventually(SOON, "it leads", async || self.leads().await).await;
    }

    /// The writes of the replica, except those of the Lease.
    fn writes(&self) -> Vec<Seen> {
        let is_write = |seen: &Seen| !matches!(seen.request.verb, "get" | "list" | "watch");
        self.proxy.seen().into_iter().filter(|seen| is_write(seen) && seen.request.resource != "leases").collect()
    }
}

/// Creates the objects for the election: the Lease, and the permissions on it.
pub async fn prepare_election(world: &World<'_>) {
    world.control_plane.apply_yaml(&RIGHTS.replace("NAMESPACE", &world.namespace)).await.unwrap();
}

/// Makes an operator a replica, which takes part in the election.
pub fn replica(world: &World<'_>, operator: Builder, name: &str) -> Builder {
    operator.arg("--leader-elect").env("CCR_HOLDER", name).env("CCR_LEASE_NAMESPACE", &world.namespace)
}

/// A world without an operator, in which replicas may hold a Lease.
struct Replicas(World<'static>);

impl Deref for Replicas {
    type Target = World<'static>;

    fn deref(&self) -> &World<'static> {
        &self.0
    }
}

impl Replicas {
    async fn new(prefix: &str) -> Self {
        let world = World::without_operator(prefix).await;
        prepare_election(&world).await;
        Replicas(world)
    }

    /// Starts a replica and waits until it is ready.
    async fn start(&self, name: &str) -> Replica {
        let mut replica = self.spawn(name).await;
        replica.operator.wait_ready().await.unwrap();
        replica
    }

    async fn spawn(&self, name: &str) -> Replica {
        let proxy = FaultProxy::start(self.control_plane).await.unwrap();
        let operator = replica(self, self.builder_through(&proxy).await, name).spawn().unwrap();
        Replica { operator, proxy }
    }

    async fn lease(&self) -> Option<Lease> {
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), &self.namespace);
        leases.get_opt(LEASE).await.unwrap()
    }

    async fn holder(&self) -> Option<String> {
        self.lease().await?.spec?.holder_identity
    }

    async fn until_held_by(&self, name: &str) {
        eventually(SOON, &format!("{name} holds the Lease"), async || {
            let holder = self.holder().await;
            if holder.as_deref() == Some(name) { Ok(()) } else { Err(format!("{holder:?} holds it")) }
        })
        .await;
    }
}
