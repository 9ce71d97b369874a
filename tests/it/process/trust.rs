//! The CAs that the operator trusts for AWS: those of the machine, and a bundle that the chart mounts.

use std::os::unix::fs::symlink;
use std::time::Duration;

use operator_testing::certificates::NewCertificate;
use operator_testing::operator::Builder;
use operator_testing::tls_front::TlsFront;
use operator_testing::wait::eventually;
use serde_json::json;

use crate::ground::Ground;

const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_bundle_is_trusted_in_addition_to_the_machines_certificates() {
    let ground = Ground::shared("trust").await;
    let front = TlsFront::start(ground.emulator.address()).await.unwrap();
    ground.generate(NewCertificate::new().id("9ao60f"));
    ground.create_resource("private", json!({ "clientCertificateId": "9ao60f" })).await;
    let machines = "/etc/ssl/certs/ca-certificates.crt";
    let builder = || ground.builder().env("AWS_ENDPOINT_URL", front.url()).env("SSL_CERT_FILE", machines);
    let condition = async |builder: Builder, status: &str| {
        let mut operator = builder.spawn().unwrap();
        operator.wait_ready().await.unwrap();
        eventually(SOON, &format!("CertificateRead is {status}"), async || {
            let resource = ground.resources().get("private").await.unwrap();
            let conditions = resource.status.map(|status| status.conditions).unwrap_or_default();
            let found = conditions.into_iter().find(|one| one.type_ == "CertificateRead")?;
            (found.status == status).then_some(found.message)
        })
        .await
    };
    let message = condition(builder(), "False").await;
    assert!(message.contains("failed: invalid peer certificate: UnknownIssuer"), "{message}");

    // The folder has the layout of a kubelet's ConfigMap volume.
    let mounted = tempfile::tempdir().unwrap();
    std::fs::create_dir(mounted.path().join("..2026")).unwrap();
    std::fs::write(mounted.path().join("..2026/ca.crt"), front.ca_pem()).unwrap();
    symlink("..2026", mounted.path().join("..data")).unwrap();
    symlink("..data/ca.crt", mounted.path().join("ca.crt")).unwrap();
    condition(builder().env("SSL_CERT_DIR", mounted.path()), "True").await;
}
