//! The ground of every test with an operator: a namespace, an emulator of API Gateway, and a ServiceAccount with
//! exactly the permissions of `deploy/install.yaml`, only in that namespace.

use std::path::{Path, PathBuf};

use client_certificate_operator::api::{ClientCertificateRef, crd};
use client_certificate_operator::aws::gateway::{ClientCertificate, Source};
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, PostParams};
use operator_testing::certificates::NewCertificate;
use operator_testing::control_plane::audit::AuditEntry;
use operator_testing::control_plane::{ControlPlane, service_account_user};
use operator_testing::emulator::{DEFAULT_REGION, Emulator};
use operator_testing::operator::{Builder, Operator};
use operator_testing::proxy::FaultProxy;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// The name of the operator's ServiceAccount, of its ClusterRole, and of the binding.
pub const ACCOUNT: &str = "client-certificate-operator";
const BINARY: &str = env!("CARGO_BIN_EXE_client-certificate-operator");

/// The ground of a test. All its parts end when it is dropped.
pub struct Ground<'a> {
    pub control_plane: &'a ControlPlane,
    /// A client as administrator.
    pub client: Client,
    pub namespace: String,
    pub emulator: Emulator,
    kubeconfig: PathBuf,
}

/// The operator's ClusterRole in deploy/install.yaml.
pub fn role() -> &'static str {
    let head = format!("kind: ClusterRole\nmetadata:\n  name: {ACCOUNT}\n");
    include_str!("../../deploy/install.yaml").split("---\n").find(|document| document.contains(&head)).unwrap()
}

/// Applies the CRD and the ClusterRole. Each test binds the ClusterRole in its own namespace.
pub async fn install(control_plane: &ControlPlane) {
    let crd = serde_json::to_string(&crd()).unwrap();
    // The two are applied separately, because kubectl 1.29 reads a file that begins with JSON as JSON to its end.
    control_plane.apply_yaml(&crd).await.unwrap();
    control_plane.apply_yaml(role()).await.unwrap();
}

/// The source of a certificate of the default region.
pub fn source(id: &str) -> Source {
    Source::own(DEFAULT_REGION, id)
}

impl Ground<'static> {
    /// A ground on the shared control plane.
    pub async fn shared(prefix: &str) -> Self {
        static INSTALLED: OnceCell<()> = OnceCell::const_new();
        let control_plane = ControlPlane::shared().await.unwrap();
        INSTALLED.get_or_init(async || install(control_plane).await).await;
        Ground::on(control_plane, prefix).await
    }
}

impl<'a> Ground<'a> {
    /// A ground on a control plane with the installation.
    pub async fn on(control_plane: &'a ControlPlane, prefix: &str) -> Self {
        let client = control_plane.client().await.unwrap();
        let namespace = control_plane.namespace(prefix).await.unwrap();
        let kubeconfig = control_plane.service_account_kubeconfig(&namespace, ACCOUNT).await.unwrap();
        let emulator = Emulator::start().await.unwrap();
        let ground = Ground { control_plane, client, namespace, emulator, kubeconfig };
        ground.grant().await;
        ground
    }

    /// Grants the operator its permissions in the namespace.
    pub async fn grant(&self) {
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": { "name": ACCOUNT, "namespace": self.namespace },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": ACCOUNT },
            "subjects": [{ "kind": "ServiceAccount", "name": ACCOUNT, "namespace": self.namespace }],
        });
        self.control_plane.apply_yaml(&binding.to_string()).await.unwrap();
    }

    /// The user name of the operator in the API server.
    pub fn user(&self) -> String {
        service_account_user(&self.namespace, ACCOUNT)
    }

    /// The kubeconfig of the operator's ServiceAccount.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// An operator before its start. Its requests go directly to the API server and the emulator.
    pub fn builder(&self) -> Builder {
        let mut builder = Operator::builder(BINARY).kubeconfig(&self.kubeconfig).env("CCR_NAMESPACES", &self.namespace);
        for (name, value) in self.emulator.environment() {
            builder = builder.env(name, value);
        }
        builder
    }

    /// An operator before its start, with a proxy in front of the API server.
    pub async fn builder_through(&self, proxy: &FaultProxy) -> Builder {
        let path = self.control_plane.service_account_kubeconfig_through(proxy, &self.namespace, ACCOUNT).await;
        self.builder().kubeconfig(path.unwrap())
    }

    /// Makes a certificate with the shared key in API Gateway.
    pub fn generate(&self, new: NewCertificate) -> ClientCertificate {
        self.emulator.generate(DEFAULT_REGION, new.shared_key())
    }

    /// The PEM that a target has to hold for a certificate, without the operator's code.
    pub fn pem(&self, id: &str) -> String {
        format!("{}\n", self.emulator.certificate(&source(id)).unwrap().pem.replace("\r\n", "\n"))
    }

    pub fn resources(&self) -> Api<ClientCertificateRef> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Creates a resource with this spec.
    pub async fn create_resource(&self, name: &str, spec: Value) -> ClientCertificateRef {
        let resource = json!({
            "apiVersion": "apigateway.clientcert.dev/v1alpha1",
            "kind": "ClientCertificateRef",
            "metadata": { "name": name },
            "spec": spec,
        });
        let resource = serde_json::from_value(resource).unwrap();
        self.resources().create(&PostParams::default(), &resource).await.unwrap()
    }

    /// All writes that the operator has tried so far.
    pub fn all_writes(&self) -> Vec<AuditEntry> {
        self.control_plane.writes_by(&self.user(), Some(&self.namespace)).unwrap()
    }
}

/// Starts an operator and waits until it is ready.
pub async fn started(builder: &Builder) -> Operator {
    let mut operator = builder.spawn().unwrap();
    operator.wait_ready().await.unwrap();
    operator
}
