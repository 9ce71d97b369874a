//! The message for an unreachable AWS contains the cause: the host and the innermost error, or AWS's message. The
//! connections are real. A test of the environment runs in another process.

use std::sync::Arc;

use client_certificate_operator::aws::client::AwsGateway;
use client_certificate_operator::aws::gateway::Gateway;
use client_certificate_operator::error::{ReadFailure, Subject};
use operator_testing::emulator::DEFAULT_REGION as REGION;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

use super::{in_a_process, source, with_one_certificate};

/// The host of a URL, with its port.
pub fn host(url: &str) -> String {
    url.split('/').nth(2).unwrap().to_owned()
}

/// The message of the condition after a read of a certificate in this environment.
async fn says(environment: Vec<(&'static str, String)>) -> String {
    let text = in_a_process("causes::in_a_process_the_client_prints_the_cause", environment).await;
    let said = text.lines().find_map(|line| line.strip_prefix("it says: ")).expect("a line").to_owned();
    let words = said.to_lowercase();
    for changing in ["request id", "os error", "/tmp", "unix)", "dispatch failure"] {
        assert!(!words.contains(changing), "{said}");
    }
    said
}

#[tokio::test]
#[ignore = "run by the tests below, in processes of their own"]
async fn in_a_process_the_client_prints_the_cause() {
    let gateway = AwsGateway::from_environment().await;
    let source = source("abc123");
    let failure = ReadFailure::Gateway(gateway.get_client_certificate(&source).await.unwrap_err());
    println!("\nit says: {} {}", failure.reason(), failure.explain(Some(Subject::Certificate(&source))));
}

fn keys() -> Vec<(&'static str, String)> {
    vec![
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE".into()),
        ("AWS_SECRET_ACCESS_KEY", "secret".into()),
        ("AWS_REGION", REGION.into()),
        ("AWS_EC2_METADATA_DISABLED", "true".into()),
    ]
}

fn keys_at(endpoint: String) -> Vec<(&'static str, String)> {
    let mut environment = keys();
    environment.push(("AWS_ENDPOINT_URL", endpoint));
    environment
}

/// A server that handles every connection in the same way.
async fn server(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 16_384];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    address.to_string()
}

#[tokio::test]
async fn a_closed_port() {
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert_eq!(
        says(keys_at(format!("http://{address}"))).await,
        format!("Unavailable the call to API Gateway failed: the connection to {address} failed: Connection refused")
    );
}

#[tokio::test]
async fn a_host_that_has_no_address() {
    let said = says(keys_at("https://apigateway.invalid".into())).await;
    let start =
        "Unavailable the call to API Gateway failed: the connection to apigateway.invalid failed: failed to lookup";
    assert!(said.starts_with(start), "{said}");
}

#[tokio::test]
async fn a_server_whose_certificate_is_not_trusted() {
    let key = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let private = PrivatePkcs8KeyDer::from(key.signing_key.serialize_der());
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![key.cert.der().clone()], private.into()).unwrap();
    let (acceptor, listener) = (TlsAcceptor::from(Arc::new(config)), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = acceptor.accept(stream).await;
        }
    });
    let environment = keys_at(format!("https://localhost:{port}"));
    let said = says(environment.clone()).await;
    assert!(said.starts_with("Unavailable "), "{said}");
    assert!(said.contains(&format!("localhost:{port} failed: invalid peer certificate: UnknownIssuer")), "{said}");
    assert!(said.contains("SSL_CERT_FILE"), "{said}");
    // An unusable CA file has another message, although the client refuses the server in both cases.
    for (file, problem) in [("/nonexistent", "cannot be read"), ("/dev/null", "holds no certificate")] {
        let environment = [environment.clone(), vec![("SSL_CERT_FILE", file.to_owned())]].concat();
        let said = says(environment).await;
        let problem = format!("localhost:{port} failed: the file that SSL_CERT_FILE names {problem}");
        assert!(said.ends_with(&problem), "{said}");
    }
    // A bad block among good ones has no effect.
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("ca.pem");
    std::fs::write(
        &bundle,
        format!("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n{}", key.cert.pem()),
    )
    .unwrap();
    let environment = [environment, vec![("SSL_CERT_FILE", bundle.to_str().unwrap().to_owned())]].concat();
    let said = says(environment).await;
    assert!(!said.contains("certificate:"), "the server is trusted: {said}");
}

#[tokio::test]
async fn a_proxy_that_refuses() {
    for (answer, cause) in [
        (
            "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
            "the proxy requires authentication (HTTP status 407); add a user and a password to HTTPS_PROXY",
        ),
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "the proxy refused the connection"),
        ("", "the proxy closed the connection"),
    ] {
        let mut environment = keys();
        environment.push(("HTTPS_PROXY", format!("http://{}", server(answer).await)));
        let said = says(environment).await;
        let host = "apigateway.us-east-1.amazonaws.com";
        let expected = format!("the call to API Gateway failed: the connection to {host} failed: {cause}");
        assert_eq!(said, format!("Unavailable {expected}"));
    }
}

#[tokio::test]
async fn a_404_of_a_proxy_is_not_a_missing_certificate() {
    let answer = "HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>";
    let said = says(keys_at(format!("http://{}", server(answer).await))).await;
    assert_eq!(said, "Unavailable the call to API Gateway failed: HTTP status 404");
}

/// The environment of a pod with a web identity token, and the address of STS.
fn web_identity(token_file: &str, sts: String) -> Vec<(&'static str, String)> {
    vec![
        ("AWS_ROLE_ARN", "arn:aws:iam::111122223333:role/operator".into()),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token_file.to_owned()),
        ("AWS_REGION", REGION.into()),
        ("AWS_EC2_METADATA_DISABLED", "true".into()),
        ("AWS_ENDPOINT_URL_STS", sts),
    ]
}

fn sts_refusal(code: &str, message: &str) -> &'static str {
    let body = format!(
        "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type><Code>{code}</Code>\
         <Message>{message}</Message></Error><RequestId>1b0c4c3e-0d6c-4b5a-9a0e-000000000001</RequestId></ErrorResponse>"
    );
    let length = body.len();
    let head = "HTTP/1.1 403 Forbidden\r\nContent-Type: text/xml\r\nConnection: close";
    format!("{head}\r\nContent-Length: {length}\r\n\r\n{body}").leak()
}

#[tokio::test]
async fn a_web_identity_that_sts_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "header.claims.signature\n").unwrap();
    for (code, message) in [
        ("AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity"),
        ("InvalidIdentityToken", "No OpenIDConnect provider found in your account"),
        ("ExpiredTokenException", "Token expired: current date must be before the expiration date"),
    ] {
        let sts = format!("http://{}", server(sts_refusal(code, message)).await);
        let said = says(web_identity(token.to_str().unwrap(), sts)).await;
        assert_eq!(said, format!("AccessDenied AWS refused the identity of the operator's pod ({code}): {message}"));
    }
}

#[tokio::test]
async fn a_token_that_cannot_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let sts = "http://127.0.0.1:1".to_owned();
    let read = "the file that AWS_WEB_IDENTITY_TOKEN_FILE names cannot be read";
    for (file, cause) in [
        (folder.path().join("missing"), format!("{read}: No such file or directory")),
        (folder.path().to_owned(), format!("{read}: Is a directory")),
    ] {
        let said = says(web_identity(file.to_str().unwrap(), sts.clone())).await;
        assert_eq!(said, format!("AccessDenied the operator's AWS credentials cannot be loaded: {cause}"));
    }
    // EKS Pod Identity: the token becomes a header.
    let token = folder.path().join("token");
    std::fs::write(&token, "token\n").unwrap();
    let environment = vec![
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:1/v1/credentials".to_owned()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token.to_str().unwrap().to_owned()),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ("AWS_REGION", REGION.to_owned()),
    ];
    let said = says(environment).await;
    let start = "AccessDenied the operator's AWS credentials cannot be loaded: the file that AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE names holds no token, or one with a line end";
    assert!(said.starts_with(start), "{said}");
}

#[tokio::test]
async fn a_pod_identity_that_its_endpoint_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "header.claims.signature").unwrap();
    let refused = |reason: &str| format!("AccessDenied AWS refused the identity of the operator's pod {reason}");
    let unavailable =
        |status: u16| format!("Unavailable the endpoint of the pod's AWS credentials returned HTTP status {status}");
    let id = "[1b0c4c3e-0d6c-4b5a-9a0e-000000000001]";
    for (status, body, expected) in [
        (
            "403 Forbidden",
            format!("{id}: (AccessDeniedException): EKS cannot assume the role, fault: client\n"),
            refused("(AccessDeniedException): EKS cannot assume the role"),
        ),
        (
            "400 Bad Request",
            format!("{id}: (ExpiredTokenException): The token has expired, fault: client\n"),
            refused("(ExpiredTokenException): The token has expired"),
        ),
        (
            "404 Not Found",
            format!("{id}: (ResourceNotFoundException): No association found, fault: client\n"),
            refused("(ResourceNotFoundException): No association found"),
        ),
        (
            "400 Bad Request",
            "Service account token cannot be empty\n".to_owned(),
            refused("(HTTP status 400): Service account token cannot be empty"),
        ),
        ("400 Bad Request", format!("{id}: (ThrottlingException): Rate exceeded, fault: client"), unavailable(400)),
        ("429 Too Many Requests", "Too Many Requests. ".to_owned(), unavailable(429)),
        ("500 Internal Server Error", "dial tcp: lookup".to_owned(), unavailable(500)),
    ] {
        let head = format!("HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close");
        let answer = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let environment = vec![
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("http://{}/v1/credentials", server(answer.leak()).await)),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token.to_str().unwrap().to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("AWS_REGION", REGION.to_owned()),
        ];
        assert_eq!(says(environment).await, expected, "{status} {body}");
    }
}

#[tokio::test]
async fn an_sts_that_is_unavailable_or_returns_no_credentials() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "header.claims.signature").unwrap();
    let said = says(web_identity(token.to_str().unwrap(), "http://127.0.0.1:1".to_owned())).await;
    let no_session = "Unavailable AWS STS returned no session for the role";
    assert_eq!(said, format!("{no_session}: the connection to 127.0.0.1:1 failed: Connection refused"));
    let nothing = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let said = says(web_identity(token.to_str().unwrap(), format!("http://{}", server(nothing).await))).await;
    assert_eq!(said, format!("{no_session}: HTTP status 404"));
}

#[tokio::test]
async fn no_credentials_at_all() {
    let emulator = with_one_certificate().await;
    let environment = vec![
        ("AWS_REGION", REGION.to_owned()),
        ("AWS_ENDPOINT_URL", emulator.url()),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
    ];
    let said = says(environment).await;
    assert!(said.starts_with("Unavailable no AWS credentials were found"), "{said}");
}
