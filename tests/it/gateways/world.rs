//! One gateway with one target, and an operator that keeps the target.

use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::time::Duration;

use client_certificate_operator::api::VerifierClass;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::DeleteParams;
use operator_testing::certificates::NewCertificate;
use operator_testing::control_plane::ControlPlane;
use operator_testing::emulator::DEFAULT_REGION;
use operator_testing::gateways::{Gateway, own_address};
use operator_testing::go_programs::definitions;
use operator_testing::servers::{Answer, Client, Identity, Peer};
use operator_testing::wait::{eventually, never};
use serde_json::{Value, json};
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};

use crate::fixture::{A_WHILE, ID, SOON, World};
use crate::ground::{install, source};
use crate::servers::world::{application, stranger};

/// The resource of the samples.
pub const NAME: &str = "payments";
/// The next certificate of the stage. It now presents [`ID`].
pub const NEW: &str = "new001";
/// The files of a sample for a route in another namespace than the target.
const ACROSS: [&str; 2] = ["tlscertificatedelegation.yaml", "referencegrant.yaml"];

/// The files of definitions that the gateways need.
const DEFINITIONS: [&str; 6] = [
    "github.com-envoyproxy-gateway-",
    "github.com-nginxinc-",
    "github.com-projectcontour-",
    "github.com-traefik-",
    "istio.io-api-",
    "sigs.k8s.io-gateway-api-",
];

/// A gateway, and the object that configures its client verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Contour: an HTTPProxy with `clientValidation`.
    Contour,
    /// Envoy Gateway: a ClientTrafficPolicy with `caCertificateRefs`.
    EnvoyGateway,
    /// F5 NGINX Ingress Controller: a Policy with `ingressMTLS`.
    F5Nginx,
    /// ingress-nginx: an Ingress with `auth-tls-secret`.
    IngressNginx,
    /// Istio: a Gateway with `mode: MUTUAL`.
    Istio,
    /// Traefik: a TLSOption with `clientAuth`.
    Traefik,
}

impl Form {
    pub fn name(self) -> &'static str {
        match self {
            Form::Contour => "Contour",
            Form::EnvoyGateway => "Envoy Gateway",
            Form::F5Nginx => "F5 NGINX Ingress Controller",
            Form::IngressNginx => "ingress-nginx",
            Form::Istio => "Istio",
            Form::Traefik => "Traefik",
        }
    }

    /// The folder of the sample.
    pub fn sample(self) -> PathBuf {
        let folder = match self {
            Form::Contour => "contour",
            Form::EnvoyGateway => "envoy-gateway",
            Form::F5Nginx => "f5-nginx",
            Form::IngressNginx => "ingress-nginx",
            Form::Istio => "istio",
            Form::Traefik => "traefik",
        };
        Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/samples").join(folder)
    }

    /// The target of the sample.
    fn target(self) -> &'static str {
        if self == Form::Istio { "payments-tls-cacert" } else { "payments-client-ca" }
    }

    /// The verifier class: whether the second certificate of a target is accepted.
    pub fn class(self) -> VerifierClass {
        match self {
            Form::Traefik => VerifierClass::OverlapSafe,
            _ => VerifierClass::FirstWins,
        }
    }

    async fn start(self, control_plane: &ControlPlane, namespaces: &[&str]) -> Gateway {
        let started = match self {
            Form::Contour => Gateway::contour(control_plane, namespaces).await,
            Form::EnvoyGateway => Gateway::envoy_gateway(control_plane, namespaces).await,
            Form::F5Nginx => Gateway::f5_nginx(control_plane, namespaces[0]).await,
            Form::IngressNginx => Gateway::ingress_nginx(control_plane, namespaces[0]).await,
            Form::Istio => Gateway::istio(control_plane, namespaces[0]).await,
            Form::Traefik => Gateway::traefik(control_plane, namespaces).await,
        };
        started.unwrap()
    }

    /// The sample's objects, with a free port of this machine, and with the test's namespace if they name one.
    fn here(self, text: &str, address: SocketAddr, namespace: &str) -> String {
        match self {
            Form::Contour | Form::F5Nginx | Form::Traefik => text.to_owned(),
            Form::EnvoyGateway => text.replace("port: 443", &format!("port: {}", address.port())),
            Form::IngressNginx => text
                .replace("namespace: backends", &format!("namespace: {namespace}"))
                .replace("secret: backends/", &format!("secret: {namespace}/")),
            Form::Istio => text
                .replace("number: 443", &format!("number: {}", address.port()))
                .replace("namespace: istio-ingress", &format!("namespace: {namespace}")),
        }
    }

    /// The objects that the sample assumes in addition to the server's certificate and the application: the route to
    /// the application, and objects of an installation.
    fn beside(self, application: SocketAddr) -> Vec<Value> {
        match self {
            Form::Contour | Form::IngressNginx | Form::Traefik => Vec::new(),
            Form::EnvoyGateway => vec![json!({
                "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": { "name": "payments" },
                "spec": {
                    "parentRefs": [{ "name": "payments" }],
                    "rules": [{ "backendRefs": [{ "name": "payments", "port": 8080 }] }],
                },
            })],
            // This version reads no EndpointSlices.
            Form::F5Nginx => vec![json!({
                "apiVersion": "v1", "kind": "Endpoints",
                "metadata": { "name": "payments", "labels": { "endpointslice.kubernetes.io/skip-mirror": "true" } },
                "subsets": [{
                    "addresses": [{ "ip": application.ip() }],
                    "ports": [{ "name": "http", "port": application.port() }],
                }],
            })],
            Form::Istio => vec![
                json!({
                    "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": { "name": "gateway" },
                    "rules": [{ "apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list", "watch"] }],
                }),
                json!({
                    "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": { "name": "gateway" },
                    "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "gateway" },
                    "subjects": [{ "kind": "ServiceAccount", "name": "default" }],
                }),
                json!({
                    "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": { "name": "payments" },
                    "spec": {
                        "hosts": ["payments.example.com"], "gateways": ["payments"],
                        "http": [{ "route": [{ "destination": { "host": "payments", "port": { "number": 8080 } } }] }],
                    },
                }),
            ],
        }
    }

    /// The sample's reference to the target, and its reference to a target of another namespace.
    fn reference(self, namespace: &str) -> (String, String) {
        let target = self.target();
        match self {
            Form::Contour => (format!("caSecret: {target}"), format!("caSecret: {namespace}/{target}")),
            Form::EnvoyGateway => {
                (format!("name: {target}"), format!("name: {target}\n        namespace: {namespace}"))
            }
            _ => {
                panic!("{} names no Secret of another namespace", self.name())
            }
        }
    }
}

/// The clients that a gateway lets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Only clients with the right certificate.
    Checks,
    /// No client.
    RefusesAll,
}

/// Limits the number of these tests at once, because controllers and clients take the processor from all other tests.
async fn permit() -> SemaphorePermit<'static> {
    static TURNS: Semaphore = Semaphore::const_new(2);
    TURNS.acquire().await.unwrap()
}

/// A control plane with the CustomResourceDefinitions of the gateways, which no other test needs.
async fn control_plane() -> &'static ControlPlane {
    static CONTROL_PLANE: OnceCell<ControlPlane> = OnceCell::const_new();
    let start = async || {
        let control_plane = ControlPlane::start().await.unwrap();
        install(&control_plane).await;
        let folder = tokio::task::spawn_blocking(definitions).await.unwrap().unwrap();
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let needed = files.filter(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            DEFINITIONS.iter().any(|prefix| name.starts_with(prefix))
        });
        // All files are applied at once, because kubectl waits for all definitions.
        let texts: Vec<String> = needed.map(|path| std::fs::read_to_string(path).unwrap()).collect();
        control_plane.apply_yaml(&texts.join("\n---\n")).await.unwrap();
        // The objects of the gateways' installations: the classes in the samples, and the one that F5's controller
        // needs.
        let classes = [
            json!({
                "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": { "name": "envoy-gateway" },
                "spec": { "controllerName": "gateway.envoyproxy.io/gatewayclass-controller" },
            }),
            json!({
                "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": { "name": "f5-nginx" },
                "spec": { "controller": "nginx.org/ingress-controller" },
            }),
            json!({
                "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": { "name": "nginx" },
                "spec": { "controller": "k8s.io/ingress-nginx" },
            }),
        ];
        for class in classes {
            control_plane.apply_yaml(&class.to_string()).await.unwrap();
        }
        control_plane
    };
    CONTROL_PLANE.get_or_init(start).await
}

/// A gateway with the objects of its sample, in front of an application that returns hello.
pub struct Guarded {
    // The gateway ends before the world.
    pub gateway: Gateway,
    pub form: Form,
    world: World<'static>,
    /// A namespace other than the target's.
    pub elsewhere: String,
    _permit: SemaphorePermit<'static>,
}

impl Deref for Guarded {
    type Target = World<'static>;

    fn deref(&self) -> &World<'static> {
        &self.world
    }
}

impl DerefMut for Guarded {
    fn deref_mut(&mut self) -> &mut World<'static> {
        &mut self.world
    }
}

impl Guarded {
    /// Mirrors [`ID`] with the sample's resource, and waits until the gateway answers. [`NEW`] exists in API Gateway.
    pub async fn start(form: Form, prefix: &str) -> Self {
        let mut guarded = Self::without_target(form, prefix).await;
        guarded.apply_resource().await;
        guarded.gateway.until_it_answers().await.unwrap();
        guarded
    }

    /// A gateway without the sample's resource.
    pub async fn without_target(form: Form, prefix: &str) -> Self {
        let mut guarded = Self::without_route(form, prefix).await;
        let namespace = guarded.namespace.clone();
        guarded.serve(&namespace, |text| text).await;
        guarded
    }

    /// A gateway with the sample's other objects in another namespace than the target's.
    pub async fn from_elsewhere(form: Form, prefix: &str) -> Self {
        let mut guarded = Self::without_route(form, prefix).await;
        let (elsewhere, (here, there)) = (guarded.elsewhere.clone(), form.reference(&guarded.namespace));
        let change = |text: String| {
            let lines = text
                .lines()
                .map(|line| if line.trim() == here { line.replace(&here, &there) } else { line.to_owned() });
            let changed = lines.collect::<Vec<_>>().join("\n");
            assert_ne!(changed, text.trim_end(), "it names the target");
            changed
        };
        guarded.serve(&elsewhere, change).await;
        guarded
    }

    async fn without_route(form: Form, prefix: &str) -> Self {
        let permit = permit().await;
        let control_plane = control_plane().await;
        let mut world = World::on(control_plane, prefix).await;
        world.emulator.generate(DEFAULT_REGION, NewCertificate::new().id(NEW));
        world.start_operator().await;
        let elsewhere = control_plane.namespace(prefix).await.unwrap();
        let gateway = form.start(control_plane, &[&world.namespace, &elsewhere]).await;
        Guarded { gateway, form, world, elsewhere, _permit: permit }
    }

    /// Applies the objects that the sample assumes: the server's certificate, an application with a Service, and the
    /// others.
    pub async fn furnish(&self, namespace: &str) {
        let (certificate, key) = self.gateway.server_certificate().unwrap();
        let address = application(own_address().unwrap()).await;
        let objects = [
            json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "payments-tls" }, "type": "kubernetes.io/tls",
                "stringData": { "tls.crt": certificate, "tls.key": key },
            }),
            json!({
                "apiVersion": "v1", "kind": "Service", "metadata": { "name": "payments" },
                "spec": { "ports": [{ "name": "http", "port": 8080, "targetPort": address.port() }] },
            }),
            json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": { "name": "payments", "labels": { "kubernetes.io/service-name": "payments" } },
                "addressType": "IPv4", "ports": [{ "name": "http", "port": address.port() }],
                "endpoints": [{ "addresses": [address.ip()], "conditions": { "ready": true } }],
            }),
        ];
        for mut object in objects.into_iter().chain(self.form.beside(address)) {
            object["metadata"]["namespace"] = namespace.into();
            self.control_plane.apply_yaml(&object.to_string()).await.unwrap();
        }
    }

    /// Applies the assumed objects and the sample's objects, without those for another namespace.
    async fn serve(&mut self, namespace: &str, change: impl Fn(String) -> String) {
        self.furnish(namespace).await;
        for entry in std::fs::read_dir(self.form.sample()).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if name != "clientcertificateref.yaml" && !ACROSS.contains(&name) {
                let text = std::fs::read_to_string(&path).unwrap();
                let text = self.form.here(&text, self.gateway.address(), namespace);
                self.apply(namespace, &change(text)).await;
            }
        }
        let control_plane = self.control_plane;
        self.gateway.follow(control_plane).await.unwrap();
    }

    pub async fn apply(&self, namespace: &str, yaml: &str) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), yaml).unwrap();
        let mut command = self.control_plane.kubectl();
        command.args(["apply", "--validate=strict", "--warnings-as-errors", "--namespace", namespace, "--filename"]);
        command.arg(file.path());
        let output = tokio::process::Command::from(command).output().await.unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    /// Applies the sample's resource, and waits until it is ready.
    pub async fn apply_resource(&self) {
        let text = std::fs::read_to_string(self.form.sample().join("clientcertificateref.yaml")).unwrap();
        self.apply(&self.namespace, &self.form.here(&text, self.gateway.address(), &self.namespace)).await;
        self.until_ready(NAME).await;
    }

    /// Applies the sample's objects for a route in another namespace.
    pub async fn delegate(&self) {
        let mut applied = 0;
        for name in ACROSS {
            if let Ok(text) = std::fs::read_to_string(self.form.sample().join(name)) {
                let renamed = text.replace("[gateways]", &format!("[{}]", self.elsewhere));
                let renamed = renamed.replace("namespace: gateways", &format!("namespace: {}", self.elsewhere));
                assert_ne!(renamed, text, "{name} names the other namespace");
                self.apply(&self.namespace, &renamed).await;
                applied += 1;
            }
        }
        assert_eq!(applied, 1, "the sample says how");
    }

    pub async fn delete_target(&self) {
        let (secrets, maps) = (self.secrets(), self.maps());
        if secrets.get_opt(self.form.target()).await.unwrap().is_some() {
            secrets.delete(self.form.target(), &DeleteParams::default()).await.unwrap();
        }
        if maps.get_opt(self.form.target()).await.unwrap().is_some() {
            maps.delete(self.form.target(), &DeleteParams::default()).await.unwrap();
        }
    }

    fn maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Creates an object in place of the target, which is not the operator's.
    pub async fn create_target(&self, kind: &str, data: Value) {
        match kind {
            "Secret" if self.form == Form::F5Nginx => self.create_secret("nginx.org/ca", data).await,
            "Secret" => self.create_secret("Opaque", data).await,
            _ => self.put(json!({ "kind": kind, "data": data })).await,
        }
    }

    /// Creates a Secret of this type in place of the target.
    pub async fn create_secret(&self, type_: &str, data: Value) {
        self.put(json!({ "kind": "Secret", "type": type_, "stringData": data })).await;
    }

    /// Creates a Secret with the target's name in the other namespace.
    pub async fn create_elsewhere(&self, data: Value) {
        self.put_into(&self.elsewhere, json!({ "kind": "Secret", "type": "Opaque", "stringData": data })).await;
    }

    async fn put(&self, object: Value) {
        self.put_into(&self.namespace, object).await;
    }

    async fn put_into(&self, namespace: &str, mut object: Value) {
        object["apiVersion"] = "v1".into();
        object["metadata"] = json!({ "name": self.form.target(), "namespace": namespace });
        self.control_plane.apply_yaml(&object.to_string()).await.unwrap();
    }

    /// Sets these certificates in the spec, the main one first, and waits until the target holds them.
    pub async fn ask_for(&self, ids: &[&str]) {
        let spec = json!({ "clientCertificateId": ids[0], "additionalClientCertificateIds": ids[1..] });
        self.patch(NAME, json!({ "spec": spec })).await;
        self.world.until(NAME, "TargetWritten", "True", "Written").await;
        eventually(SOON, &format!("the target holds {ids:?}"), async || {
            let status = self.resource(NAME).await.status.unwrap();
            let held: Vec<String> = status.certificates.into_iter().map(|held| held.id).collect();
            if held == ids { Ok(()) } else { Err(format!("{held:?}")) }
        })
        .await;
    }

    /// A certificate of API Gateway with its key.
    pub fn identity(&self, id: &str) -> Identity {
        let certificate = self.emulator.certificate(&source(id)).unwrap();
        Identity::new(&certificate.pem, &self.emulator.private_key(&source(id)).unwrap()).unwrap()
    }

    /// A client that presents a certificate of API Gateway.
    pub fn client(&self, id: &str) -> Client {
        Client::new(&self.gateway, Some(&self.identity(id))).unwrap()
    }

    /// The gateway's answer to each identity, which has to be the same under TLS 1.2 and TLS 1.3.
    pub async fn answers(&self, identities: &[Option<&Identity>]) -> Vec<Answer> {
        let mut all = Vec::new();
        for identity in identities {
            let answer = Client::new(&self.gateway, *identity).unwrap().get().await;
            let before = Client::of_tls12(&self.gateway, *identity).unwrap().get().await;
            assert_eq!(answer.is_let_in(), before.is_let_in(), "TLS 1.3: {answer}; TLS 1.2: {before}");
            all.push(answer);
        }
        all
    }

    /// Waits until the gateway has this verdict, and checks for a while that it stays. The gateway must never let in a
    /// stranger or a client without a certificate, whatever changes meanwhile.
    pub async fn until(&self, verdict: Verdict) {
        let (right, stranger) = (self.identity(ID), stranger());
        let clients = [Some(&right), Some(&stranger), None].map(|who| Client::new(&self.gateway, who).unwrap());
        let seen = async || {
            let [right, stranger, none] = &clients;
            let answers = [right.get().await, stranger.get().await, none.get().await];
            assert!(!answers[1].is_let_in() && !answers[2].is_let_in(), "the check is dropped: {answers:?}");
            // Contour's Envoy listens only for existing hosts. The other gateways always answer.
            let is_reached = self.form == Form::Contour || !matches!(answers[0], Answer::Failed(_));
            let is = if answers[0].is_let_in() { Verdict::Checks } else { Verdict::RefusesAll };
            if is == verdict && is_reached { Ok(()) } else { Err(format!("{answers:?}")) }
        };
        let what = format!("{}: {verdict:?}", self.form.name());
        eventually(SOON, &what, &seen).await;
        self.settle().await;
        never(A_WHILE, &format!("no longer {what}"), async || seen().await.err()).await;
    }

    /// Waits for the end of a reload after its first effect: nginx's former workers serve until they receive the signal
    /// to end.
    pub async fn settle(&self) {
        if matches!(self.form, Form::F5Nginx | Form::IngressNginx) {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// The address of the gateway in the form for `verify`.
    pub fn connect(&self) -> String {
        self.gateway.address().to_string()
    }
}
