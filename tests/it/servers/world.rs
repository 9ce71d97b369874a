//! One server with one target, and an operator that keeps the target.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;

use client_certificate_operator::api::{Content, REFRESH_ANNOTATION};
use k8s_openapi::api::core::v1::Secret;
use operator_testing::certificates::{NewCertificate, issue};
use operator_testing::emulator::DEFAULT_REGION;
use operator_testing::private_ca::Leaf;
use operator_testing::servers::{Answer, Client, Identity, Mount, Server, Setup};
use operator_testing::wait::eventually;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::fixture::{SOON, World};
use crate::ground::source;

/// The resource of the world, and its target.
pub const NAME: &str = "backend";
/// The certificate that the stage presents, and the next one.
pub const OLD: &str = "old001";
pub const NEW: &str = "new001";

/// Limits the number of these tests at once, because servers and clients take the processor from all other tests.
pub async fn permit() -> SemaphorePermit<'static> {
    static TURNS: Semaphore = Semaphore::const_new(3);
    TURNS.acquire().await.unwrap()
}

/// A world with a target that has the keys of several set-ups.
pub struct Mirrored {
    world: World<'static>,
    /// The name of the resource, and the name of its target.
    names: [&'static str; 2],
    pub mount: Mount,
}

impl Deref for Mirrored {
    type Target = World<'static>;

    fn deref(&self) -> &World<'static> {
        &self.world
    }
}

impl Mirrored {
    /// Mirrors [`OLD`] into one target with the keys of all the set-ups. [`NEW`] exists in API Gateway.
    pub async fn start(prefix: &str, setups: &[Setup]) -> Self {
        let world = World::start(prefix).await;
        for id in [OLD, NEW] {
            world.emulator.generate(DEFAULT_REGION, NewCertificate::new().id(id));
        }
        let keys: BTreeMap<&str, Content> = setups.iter().flat_map(|setup| setup.keys()).copied().collect();
        world.create(NAME, json!({ "clientCertificateId": OLD, "target": { "keys": keys } })).await;
        until_held(&world, NAME, &[OLD]).await;
        Self::of(world, [NAME; 2]).await
    }

    /// Mounts the target of a resource. `names` has the name of the resource and the name of the target.
    pub async fn of(world: World<'static>, names: [&'static str; 2]) -> Self {
        let mount = Mount::new(&data(&world.target(names[1]).await)).unwrap();
        Mirrored { world, names, mount }
    }

    /// Sets these certificates in the spec, the main one first, and waits until the target holds them.
    pub async fn ask_for(&self, ids: &[&str]) {
        let spec = json!({ "clientCertificateId": ids[0], "additionalClientCertificateIds": ids[1..] });
        self.world.patch(self.names[0], json!({ "spec": spec })).await;
        self.until_held(ids).await;
    }

    /// Imports a certificate into ACM, sets its ARN as the only certificate of the spec, waits until the target holds
    /// the certificate, and returns the ARN.
    pub async fn import(&self, leaf: &Leaf) -> String {
        let arn = self.world.emulator.import_acm(DEFAULT_REGION, leaf.clone());
        let spec = json!({ "clientCertificateId": null, "acmCertificateArn": arn });
        self.world.patch(NAME, json!({ "spec": spec })).await;
        self.until_held(&[&arn]).await;
        arn
    }

    /// Waits until the target holds these certificates, the main one first.
    pub async fn until_held(&self, ids: &[&str]) {
        until_held(&self.world, self.names[0], ids).await;
    }

    /// The current data of the target.
    pub async fn data(&self) -> BTreeMap<String, Vec<u8>> {
        data(&self.world.target(self.names[1]).await)
    }

    /// Mounts the current data of the target.
    pub async fn swap(&mut self) {
        let data = self.data().await;
        self.mount.update(&data).unwrap();
    }

    /// Mounts the current data of the target, and reloads every server that has to reload.
    pub async fn follow(&mut self, servers: &mut [Server]) {
        self.swap().await;
        for server in servers {
            server.reload().await.unwrap();
        }
    }

    /// Requests a read of AWS, and waits for its end.
    pub async fn refresh(&self, value: &str) {
        self.world.patch(self.names[0], json!({ "metadata": { "annotations": { REFRESH_ANNOTATION: value } } })).await;
        self.until_status("the refresh is acted on", "/lastHandledRefresh", |handled| handled == value).await;
    }

    /// Waits until a field of the status fulfils the condition `is`.
    pub async fn until_status(&self, what: &str, pointer: &str, is: impl Fn(&Value) -> bool) {
        eventually(SOON, what, async || {
            let status = serde_json::to_value(self.world.resource(self.names[0]).await.status).unwrap();
            if status.pointer(pointer).is_some_and(&is) { Ok(()) } else { Err(status.to_string()) }
        })
        .await;
    }

    /// A certificate of API Gateway with its key.
    pub fn identity(&self, id: &str) -> Identity {
        let certificate = self.world.emulator.certificate(&source(id)).unwrap();
        Identity::new(&certificate.pem, &self.world.emulator.private_key(&source(id)).unwrap()).unwrap()
    }

    /// A client of the server that presents a certificate of API Gateway.
    pub fn client(&self, server: &Server, id: &str) -> Client {
        Client::new(server, Some(&self.identity(id))).unwrap()
    }
}

/// A stranger's client certificate: the same name, another key.
pub fn stranger() -> Identity {
    let issued = issue(NewCertificate::new());
    Identity::new(&issued.certificate.pem, &issued.private_key_pem).unwrap()
}

/// Makes requests until one is let in, because a server needs time to load the target.
pub async fn until_let_in(client: &Client, who: &str) {
    eventually(SOON, &format!("{who} is let in"), async || said(client.get().await, Answer::is_let_in)).await;
}

/// Makes requests until one is refused.
pub async fn until_refused(client: &Client, who: &str) {
    eventually(SOON, &format!("{who} is refused"), async || said(client.get().await, Answer::is_refused)).await;
}

fn said(answer: Answer, is: impl Fn(&Answer) -> bool) -> Result<(), Answer> {
    if is(&answer) { Ok(()) } else { Err(answer) }
}

/// Waits until the status shows these certificates for the current spec.
async fn until_held(world: &World<'_>, name: &str, ids: &[&str]) {
    world.until(name, "TargetWritten", "True", "Written").await;
    eventually(SOON, &format!("the target holds {ids:?}"), async || {
        let resource = world.resource(name).await;
        let held: Vec<String> = resource.status.into_iter().flat_map(|s| s.certificates).map(|held| held.id).collect();
        if held == ids { Ok(()) } else { Err(format!("{held:?}")) }
    })
    .await;
}

fn data(secret: &Secret) -> BTreeMap<String, Vec<u8>> {
    secret.data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone())).collect()
}

/// An application that responds to every request, behind a server or gateway that checks certificates.
pub async fn application(ip: IpAddr) -> SocketAddr {
    let listener = TcpListener::bind((ip, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = connection.read(&mut [0; 4096]).await;
                let hello = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n";
                connection.write_all(hello).await
            });
        }
    });
    address
}
