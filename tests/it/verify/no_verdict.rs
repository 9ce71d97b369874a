//! Runs without a verdict: the missing part, and the action for the user.

use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};

use super::*;

/// Checks a run that fails: exit code 1, no verdict on standard output, and these words.
async fn fails(kubeconfig: &Path, args: &[&str], words: &[&str]) {
    let report = verify(kubeconfig, args).await;
    let shown = format!("{args:?}\n{}{}", report.stdout, report.stderr);
    assert_eq!(report.code, 1, "{shown}");
    assert!(!report.stdout.contains("verdict"), "{shown}");
    assert!(
        report.stderr.starts_with("client-certificate-operator: ") && report.stderr.lines().count() == 1,
        "{shown}"
    );
    for word in words {
        assert!(report.stderr.contains(word), "{word:?} is missing: {shown}");
    }
}

#[tokio::test]
async fn an_unreachable_backend_has_no_verdict() {
    let world = world("verify-unreachable").await;
    let reference = world.reference();

    // The socket is bound but does not listen, so no other process gets this port.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let connect = socket.local_addr().unwrap().to_string();
    fails(world.kubeconfig(), &["--connect", &connect, "--ref", &reference], &["cannot connect to", &connect]).await;

    let connect = "no-such-host.invalid:443";
    fails(world.kubeconfig(), &["--connect", connect, "--ref", &reference], &["cannot connect to", connect]).await;

    let plain = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let connect = plain.local_addr().unwrap().to_string();
    let serving = tokio::spawn(async move {
        let (mut connection, _) = plain.accept().await.unwrap();
        let _ = connection.read(&mut [0; 1024]).await;
        connection.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    });
    let words = ["does not complete a TLS handshake", &connect];
    fails(world.kubeconfig(), &["--connect", &connect, "--ref", &reference], &words).await;
    serving.await.unwrap();
}

#[tokio::test]
async fn a_backend_that_hangs_ends_at_the_timeout() {
    let world = world("verify-hanging").await;
    let reference = world.reference();
    let silent = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let connect = silent.local_addr().unwrap().to_string();
    let start = Instant::now();
    let args = ["--connect", &connect, "--ref", &reference, "--timeout", "1s"];
    fails(world.kubeconfig(), &args, &["does not complete a TLS handshake", "no response within 1s"]).await;
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());

    // The server requests a certificate and completes the handshake, but then sends no answer.
    let backend = Backend { version: &TLS13, check: Check::Optional, hints: vec![], answer: Answer::Silence };
    let running = backend.start(&world.right()).await;
    let connect = running.address.to_string();
    let report = verify(world.kubeconfig(), &["--connect", &connect, "--ref", &reference, "--timeout", "1s"]).await;
    assert_eq!(report.code, 1, "{}{}", report.stdout, report.stderr);
    assert_eq!(report.fact("a caller without a certificate"), "unknown (no response within 1s)");
    assert!(report.fact("verdict").starts_with("unknown: "));
}

#[tokio::test]
async fn a_resource_without_a_status_has_no_verdict() {
    let world = world("verify-resource").await;
    let connect = ["--connect", "127.0.0.1:1"];
    let missing = format!("{}/elsewhere", world.namespace);
    let args = [&connect[..], &["--ref", &missing]].concat();
    fails(world.kubeconfig(), &args, &["does not exist", &missing, "kubectl get"]).await;

    world.create_resource("unread", serde_json::json!({ "clientCertificateId": "nowhere" })).await;
    world.until("unread", "Ready", "False", "NotFound").await;
    let unread = format!("{}/unread", world.namespace);
    let args = [&connect[..], &["--ref", &unread]].concat();
    fails(world.kubeconfig(), &args, &[&unread, "is not Ready: NotFound: "]).await;

    // A ServiceAccount without permissions.
    let nobody = world.control_plane.service_account_kubeconfig(&world.namespace, "nobody").await.unwrap();
    let reference = world.reference();
    let args = [&connect[..], &["--ref", &reference]].concat();
    let words = [
        "RBAC does not allow reading",
        "`get` on clientcertificaterefs",
        &world.namespace,
        "deploy/samples/verify-job",
    ];
    fails(&nobody, &args, &words).await;

    fails(Path::new("/nowhere"), &args, &["no Kubernetes cluster is configured", "KUBECONFIG"]).await;
    let folder = tempfile::tempdir().unwrap();
    let unreachable = folder.path().join("kubeconfig");
    let text =
        std::fs::read_to_string(world.kubeconfig()).unwrap().replace(&world.control_plane.url(), "https://127.0.0.1:1");
    std::fs::write(&unreachable, text).unwrap();
    fails(&unreachable, &args, &["the Kubernetes API server is unreachable"]).await;
}

#[tokio::test]
async fn wrong_usage_ends_with_2_and_the_help_explains_the_codes() {
    let report = verify(Path::new("/nowhere"), &["--connect", "127.0.0.1:443"]).await;
    assert_eq!(report.code, 2, "{}", report.stderr);
    assert!(report.stderr.contains("--ref <NAMESPACE/NAME>"), "{}", report.stderr);
    let help = verify(Path::new("/nowhere"), &["--help"]).await;
    assert_eq!(help.code, 0);
    for words in ["Exit codes: 0 on", "3 off", "AWS keeps its private key", "deploy/samples/verify-job"] {
        assert!(help.stdout.contains(words), "{words:?} is missing in {}", help.stdout);
    }
}
