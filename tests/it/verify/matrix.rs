//! Every way to request a certificate, in both versions of TLS.

use super::*;

use Answer::{Always, HangUp, Others};
use Check::{Any, NotAsked, Optional, Pinned};

const BY_TLS: &str = "refused by TLS (";
const IN: &str = "accepted (HTTP 200)";

/// The server, the names that it sends (o: API Gateway's, x: another), and the expected result: the exit code, the
/// reception of a caller without a certificate, and that of a stranger (empty: no such call).
const MATRIX: [(Check, &str, Answer, i32, &str, &str); 16] = [
    (Pinned, "o", Always(200), 0, BY_TLS, BY_TLS),
    (Pinned, "xo", Always(200), 0, BY_TLS, BY_TLS),
    (Pinned, "", Always(200), 0, BY_TLS, BY_TLS),
    (Pinned, "x", Always(200), 3, BY_TLS, BY_TLS),
    (NotAsked, "", Always(200), 3, IN, ""),
    // An application that requires a token of every caller.
    (NotAsked, "", Always(401), 3, "refused by HTTP 401", ""),
    // Like nginx's optional_no_ca, without and with a check of the fingerprint.
    (Optional, "", Always(200), 3, IN, IN),
    (Optional, "", Others(403), 0, "refused by HTTP 403", "refused by HTTP 403"),
    (Optional, "o", Others(400), 0, "refused by HTTP 400", "refused by HTTP 400"),
    (Optional, "o", Others(496), 0, "refused by HTTP 496", "refused by HTTP 496"),
    (Optional, "o", Others(404), 3, "accepted (HTTP 404)", "accepted (HTTP 404)"),
    (Optional, "o", Others(302), 3, "accepted (HTTP 302)", "accepted (HTTP 302)"),
    (Optional, "o", Others(503), 3, "accepted (HTTP 503)", "accepted (HTTP 503)"),
    (Optional, "o", HangUp, 0, "refused by TLS (connection closed)", "refused by TLS (connection closed)"),
    // The server checks only the name, which all certificates have.
    (Any, "o", Always(200), 3, BY_TLS, IN),
    (Any, "", Always(204), 3, BY_TLS, "accepted (HTTP 204)"),
];

#[tokio::test]
async fn every_way_to_request_certificates_has_its_facts_and_its_verdict() {
    let world = world("verify-matrix").await;
    let (right, other) = (world.right(), other_name());
    let reference = world.reference();
    for version in [&TLS12, &TLS13] {
        for (check, hinted, answer, code, without, stranger) in MATRIX {
            let hints = hinted.chars().map(|hint| if hint == 'o' { name(&right) } else { other.clone() }).collect();
            let backend = Backend { version, check, hints, answer };
            let running = backend.start(&right).await;
            let connect = running.address.to_string();
            let report = verify(world.kubeconfig(), &["--connect", &connect, "--ref", &reference]).await;
            let shown = format!("{backend:?}\n{}{}", report.stdout, report.stderr);
            assert_eq!(report.code, code, "{shown}");
            assert_eq!(report.stderr, "", "{shown}");
            let spoken = if version == &TLS12 { "TLS 1.2" } else { "TLS 1.3" };
            assert_eq!(report.fact("connected"), format!("{connect} as 127.0.0.1, {spoken}"), "{shown}");
            let asks = if check == NotAsked { "no" } else { "yes" };
            assert_eq!(report.fact("requests a client certificate"), asks, "{shown}");
            assert!(report.fact("a caller without a certificate").starts_with(without), "{shown}");
            if check == NotAsked {
                assert!(!report.stdout.contains("authorities that it hints"), "{shown}");
                assert!(!report.stdout.contains("a stranger's certificate"), "{shown}");
            } else {
                let expected = match hinted {
                    "" => "none, which means any",
                    "o" => "C=US, L=Seattle, CN=ApiGateway (API Gateway's)",
                    "x" => "O=Somebody, CN=Else (not API Gateway's)",
                    _ => "C=US, L=Seattle, CN=ApiGateway (API Gateway's); O=Somebody, CN=Else (not API Gateway's)",
                };
                assert_eq!(report.fact("authorities that it hints"), expected, "{shown}");
                assert!(report.fact("a stranger's certificate of the same name").starts_with(stranger), "{shown}");
            }
            assert!(report.fact("verdict").starts_with(if code == 0 { "on: " } else { "off: " }), "{shown}");
            assert_eq!(
                report.stdout.contains("\nnote: "),
                without.ends_with(['0', '1', '3']) && !without.contains('(')
            );
        }
    }
}

fn other_name() -> Vec<u8> {
    let mut params = rcgen::CertificateParams::default();
    let mut other = rcgen::DistinguishedName::new();
    other.push(rcgen::DnType::OrganizationName, "Somebody");
    other.push(rcgen::DnType::CommonName, "Else");
    params.distinguished_name = other;
    name(params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der())
}

#[tokio::test]
async fn a_report_has_the_content_of_the_target_and_the_untested_parts() {
    let world = world("verify-report").await;
    let backend = Backend { version: &TLS13, check: Optional, hints: vec![], answer: Others(403) };
    let running = backend.start(&world.right()).await;
    let connect = running.address.to_string();
    let reference = world.reference();
    let args =
        ["--connect", &connect, "--ref", &reference, "--server-name", "payments.test", "--path", "/orders?all=1"];
    let report = verify(world.kubeconfig(), &args).await;
    assert_eq!(report.code, 0, "{}{}", report.stdout, report.stderr);

    let status = world.resource("payments").await.status.unwrap();
    let held = &status.certificates[0];
    assert_eq!(report.fact("resource"), format!("{reference}, Secret payments"));
    let (fingerprint, end) = (held.sha256_fingerprint.as_ref().unwrap(), held.expiration_date.unwrap());
    let expected = format!("C=US, L=Seattle, CN=ApiGateway, SHA-256 {fingerprint}, expires {end}");
    assert_eq!(report.fact(&format!("certificate {ID}")), expected);
    assert_eq!(report.fact("the right certificate"), "not tried (AWS keeps its private key)");
    assert_eq!(report.fact("the server's own certificate"), "not checked (API Gateway checks it)");

    // The callers: first one without a certificate, then one with a certificate that differs from API Gateway's only in
    // the key.
    let seen = running.seen();
    assert_eq!(seen.len(), 2);
    for caller in &seen {
        assert_eq!(caller.name.as_deref(), Some("payments.test"));
        assert!(caller.request.starts_with("GET /orders?all=1 HTTP/1.1\r\nHost: payments.test\r\n"), "{caller:?}");
    }
    assert_eq!(seen[0].certificate, None);
    let stranger = seen[1].certificate.as_ref().unwrap();
    assert_eq!(name(stranger), name(&world.right()));
    use x509_parser::prelude::FromDer;
    let (_, certificate) = x509_parser::certificate::X509Certificate::from_der(stranger).unwrap();
    assert!(certificate.validity().is_valid() && certificate.extensions().is_empty());
    assert_eq!(certificate.version(), x509_parser::x509::X509Version::V3);
    assert_ne!(stranger, &world.right());
}

#[tokio::test]
async fn handshake_only_sends_no_request() {
    let world = world("verify-handshake").await;
    let reference = world.reference();
    for version in [&TLS12, &TLS13] {
        for (check, code) in [(Pinned, 0), (Optional, 0), (NotAsked, 3)] {
            let backend = Backend { version, check, hints: vec![], answer: Always(200) };
            let running = backend.start(&world.right()).await;
            let connect = running.address.to_string();
            let args = ["--connect", &connect, "--ref", &reference, "--handshake-only"];
            let report = verify(world.kubeconfig(), &args).await;
            assert_eq!(report.code, code, "{backend:?}\n{}{}", report.stdout, report.stderr);
            assert_eq!(report.fact("callers that the server must reject"), "not tried (--handshake-only)");
            assert!(running.seen().iter().all(|caller| caller.request.is_empty()), "{:?}", running.seen());
        }
    }
}
