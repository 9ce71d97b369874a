//! The AWS client beyond the contract: the standard environment, its timeouts, and its checks.

mod causes;

use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use client_certificate_operator::aws::client::AwsGateway;
use client_certificate_operator::aws::gateway::{Gateway, GatewayError, Outage, Place, Source, Stage};
use operator_testing::certificates::NewCertificate;
use operator_testing::emulator::{DEFAULT_REGION as REGION, Emulator, Fault};
use operator_testing::private_ca::{NewLeaf, PrivateCa};
use operator_testing::script::Operation;

fn source(id: &str) -> Source {
    Source::own(REGION, id)
}

fn outage(outage: Outage) -> GatewayError {
    GatewayError::Unavailable { outage, retry_after: None }
}

async fn with_one_certificate() -> Emulator {
    let emulator = Emulator::start().await.unwrap();
    emulator.generate(REGION, NewCertificate::new().id("abc123").shared_key());
    emulator
}

#[tokio::test]
async fn a_refused_connection_is_a_connection_failure_until_the_server_accepts_again() {
    let mut emulator = with_one_certificate().await;
    let gateway = emulator.gateway_builder().build();
    assert!(gateway.get_client_certificate(&source("abc123")).await.is_ok());
    emulator.suspend().await;
    let refused = Outage::Unreachable { host: causes::host(&emulator.url()), cause: "Connection refused".into() };
    assert_eq!(gateway.get_client_certificate(&source("abc123")).await, Err(outage(refused)));
    emulator.resume().await.unwrap();
    assert!(gateway.get_client_certificate(&source("abc123")).await.is_ok());
}

#[tokio::test]
async fn a_call_is_made_once_and_times_out() {
    let emulator = with_one_certificate().await;
    let gateway = emulator.gateway_builder().attempt_timeout(Duration::from_millis(300)).build();
    emulator.inject_all([Fault::error(500, "InternalFailure", "boom").once(), Fault::stall(Duration::from_secs(60))]);
    let start = Instant::now();
    assert_eq!(gateway.get_client_certificate(&source("abc123")).await, Err(outage(Outage::Status(500))));
    let late = Outage::NoAnswer { host: causes::host(&emulator.url()) };
    assert_eq!(gateway.get_client_certificate(&source("abc123")).await, Err(outage(late)));
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    assert_eq!(emulator.count(Operation::Get), 2);
}

#[tokio::test]
async fn without_credentials_nothing_is_sent() {
    let emulator = with_one_certificate().await;
    let gateway = AwsGateway::builder().endpoint_url(emulator.url()).region(REGION).build();
    assert_eq!(gateway.get_client_certificate(&source("abc123")).await, Err(outage(Outage::NoCredentials)));
    assert!(gateway.check_credentials().await.unwrap_err().contains("no AWS credentials"));
    assert!(emulator.calls().is_empty());
}

#[tokio::test]
async fn an_invalid_region_or_id_is_refused_before_a_request() {
    let emulator = with_one_certificate().await;
    let gateway = emulator.gateway_builder().build();
    for (region, id) in [("evil.example/us-east-1", "abc123"), (REGION, "../restapis"), (REGION, "")] {
        let source = Source::own(region, id);
        let error = gateway.get_client_certificate(&source).await.unwrap_err();
        assert!(matches!(error, GatewayError::BadRequest { .. }), "{source:?}: {error}");
        assert_eq!(gateway.set_description(&source, "x").await, Err(error));
    }
    for (region, id) in
        [("evil.example/us-east-1", "a1b2c3d4e5"), (REGION, "a1b2/stages"), (REGION, "a-b"), (REGION, "")]
    {
        let error = gateway.get_stages(&Place::own(region), id).await.unwrap_err();
        assert!(matches!(error, GatewayError::BadRequest { .. }), "{region}, {id}: {error}");
    }
    assert!(emulator.calls().is_empty());
}

#[tokio::test]
async fn a_certificate_that_was_not_requested_is_refused() {
    let emulator = with_one_certificate().await;
    let body = r#"{"clientCertificateId":"xyz789","pemEncodedCertificate":"x"}"#;
    emulator.inject(Fault::page(200, "application/json", body).once());
    let gateway = emulator.gateway_builder().build();
    assert_eq!(gateway.get_client_certificate(&source("abc123")).await, Err(outage(Outage::NotUnderstood)));
}

#[tokio::test]
async fn a_wrong_certificate_is_returned_to_the_caller_for_its_checks() {
    let emulator = with_one_certificate().await;
    let gateway = emulator.gateway_builder().build();
    for pem in ["", "garbage", "-----BEGIN PRIVATE KEY-----\r\n"] {
        emulator.set_pem(&source("abc123"), pem);
        assert_eq!(gateway.get_client_certificate(&source("abc123")).await.unwrap().pem, pem);
    }
}

#[tokio::test]
async fn stages_without_a_name_are_omitted_and_a_response_without_stages_is_an_error() {
    let emulator = with_one_certificate().await;
    let gateway = emulator.gateway_builder().build();
    let stages = async |body: &str| {
        emulator.inject(Fault::page(200, "application/json", body).once());
        gateway.get_stages(&Place::own(REGION), "a1b2c3d4e5").await
    };
    let named = r#"{"item":[{"deploymentId":"d"},{"stageName":""},{"stageName":"prod","clientCertificateId":""}]}"#;
    assert_eq!(stages(named).await, Ok(vec![Stage { name: "prod".into(), certificate: None }]));
    for body in ["{}", r#"{"item":null}"#, r#"{"item":[{"stageName":"#, r#"{"item":[{"stageName":7}]}"#] {
        assert_eq!(stages(body).await, Err(outage(Outage::NotUnderstood)), "{body}");
    }
    emulator.present(REGION, "a1b2c3d4e5", "prod", Some("abc123"));
    emulator.inject_all([Fault::cut().once(), Fault::without_items().once()]);
    for _ in 0..2 {
        let stages = gateway.get_stages(&Place::own(REGION), "a1b2c3d4e5").await;
        assert_eq!(stages, Err(outage(Outage::NotUnderstood)));
    }
}

#[tokio::test]
async fn every_call_is_reported_once() {
    let mut emulator = with_one_certificate().await;
    let seen: Arc<Mutex<Vec<(&str, String)>>> = Arc::default();
    let observer = {
        let seen = seen.clone();
        Arc::new(move |operation: &'static str, code: &str, _: Duration| {
            seen.lock().unwrap().push((operation, code.to_owned()));
        })
    };
    let gateway = emulator.gateway_builder().attempt_timeout(Duration::from_secs(3)).build().with_observer(observer);
    emulator.inject_all([
        Fault::pass().once(),
        Fault::page(403, "text/html", "<html>").once(),
        Fault::page(200, "text/html", "<html>").once(),
        Fault::large(false).once(),
        Fault::stall(Duration::from_secs(60)).once(),
    ]);
    for _ in 0..5 {
        let _ = gateway.get_client_certificate(&source("abc123")).await;
    }
    let _ = gateway.set_description(&source("nosuch"), "x").await;
    let _ = gateway.get_stages(&Place::own(REGION), "nosuch").await;
    let _ = gateway.get_client_certificate(&source("not/an/id")).await;
    let arn = emulator.import_acm(REGION, PrivateCa::root("root").issue(NewLeaf::new("payments")));
    emulator.inject(Fault::error(400, "RequestInProgressException", "wait").on(Operation::GetCertificate).once());
    let _ = gateway.get_acm_certificate(&Place::own(REGION), &arn).await;
    emulator.suspend().await;
    let _ = gateway.get_client_certificate(&source("abc123")).await;
    let seen = seen.lock().unwrap();
    let codes: Vec<_> = seen.iter().map(|(_, code)| code.as_str()).collect();
    let of_api_gateway = ["200", "403", "not-understood", "too-large", "timeout", "404", "404"];
    assert_eq!(codes, [of_api_gateway.as_slice(), &["200", "400", "connection"]].concat());
    assert_eq!((seen[0].0, seen[5].0, seen[6].0), ("GetClientCertificate", "UpdateClientCertificate", "GetStages"));
    assert_eq!((seen[7].0, seen[8].0), ("DescribeCertificate", "GetCertificate"));
}

/// Environment variables belong to a whole process, so each environment needs another process.
async fn in_a_process(test: &str, environment: Vec<(&'static str, String)>) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "--ignored", "--nocapture", &format!("aws_gateway::{test}")]);
    for (name, _) in std::env::vars() {
        let is_ours = ["AWS_", "SSL_CERT_"].iter().any(|start| name.starts_with(start));
        if is_ours || name.to_ascii_lowercase().ends_with("_proxy") {
            command.env_remove(name);
        }
    }
    command.envs(environment).env("HOME", "/nonexistent");
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    text.into_owned()
}

#[tokio::test]
async fn the_standard_environment_is_enough() {
    let emulator = with_one_certificate().await;
    let mut environment = emulator.environment();
    in_a_process("in_a_process_the_client_reads_the_certificate", environment.clone()).await;
    environment.retain(|(name, _)| *name != "AWS_ENDPOINT_URL");
    environment.push(("AWS_ENDPOINT_URL_API_GATEWAY", emulator.url()));
    in_a_process("in_a_process_the_client_reads_the_certificate", environment).await;
    assert_eq!(emulator.count(Operation::Get), 2);
}

#[tokio::test]
async fn acm_is_called_at_the_endpoint_of_the_environment() {
    let emulator = Emulator::start().await.unwrap();
    let arn = emulator.import_acm(REGION, PrivateCa::root("root").issue(NewLeaf::new("payments")));
    let mut environment = emulator.environment();
    environment.push(("TESTED_ARN", arn));
    in_a_process("in_a_process_the_client_reads_from_acm", environment.clone()).await;
    environment.retain(|(name, _)| *name != "AWS_ENDPOINT_URL");
    environment.push(("AWS_ENDPOINT_URL_ACM", emulator.url()));
    in_a_process("in_a_process_the_client_reads_from_acm", environment).await;
    assert_eq!(emulator.count(Operation::GetCertificate), 2);
}

#[tokio::test]
#[ignore = "run by the tests above, in processes of their own"]
async fn in_a_process_the_client_reads_from_acm() {
    let arn = std::env::var("TESTED_ARN").unwrap();
    let gateway = AwsGateway::from_environment().await;
    assert_eq!(gateway.get_acm_certificate(&Place::own(REGION), &arn).await.unwrap().arn, arn);
}

#[tokio::test]
async fn the_proxy_of_the_environment_is_used_except_for_no_proxy() {
    let proxy = with_one_certificate().await;
    let mut environment = proxy.environment();
    environment[0].1 = "http://apigateway.invalid".into();
    environment.push(("HTTP_PROXY", proxy.url()));
    in_a_process("in_a_process_the_client_reads_the_certificate", environment.clone()).await;
    assert_eq!(proxy.count(Operation::Get), 1);
    environment.push(("NO_PROXY", "apigateway.invalid".into()));
    in_a_process("in_a_process_the_client_does_not_connect", environment).await;
    assert_eq!(proxy.count(Operation::Get), 1);
}

#[tokio::test]
async fn a_proxy_for_https_receives_a_connect_request_for_aws() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let emulator = with_one_certificate().await;
    let mut environment = emulator.environment();
    environment.retain(|(name, _)| *name != "AWS_ENDPOINT_URL");
    environment.push(("HTTPS_PROXY", format!("http://{}", listener.local_addr().unwrap())));
    let asked = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut start = [0; 64];
        let read = tokio::io::AsyncReadExt::read(&mut stream, &mut start).await.unwrap();
        String::from_utf8_lossy(&start[..read]).into_owned()
    });
    in_a_process("in_a_process_the_client_does_not_connect", environment).await;
    let asked = tokio::time::timeout(Duration::from_secs(5), asked).await.expect("the proxy was not asked").unwrap();
    assert!(asked.starts_with("CONNECT apigateway.us-east-1.amazonaws.com:443 "), "{asked}");
}

#[tokio::test]
async fn a_proxy_never_sees_the_credentials_of_the_node() {
    let proxy = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let environment = vec![
        ("HTTP_PROXY", format!("http://{}", proxy.local_addr().unwrap())),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://169.254.170.23/v1/credentials".to_owned()),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ("AWS_REGION", REGION.to_owned()),
    ];
    tokio::select! {
        _ = in_a_process("in_a_process_the_client_searches_for_credentials", environment) => {}
        _ = proxy.accept() => panic!("the proxy was asked"),
    }
}

#[tokio::test]
#[ignore = "run by the tests above, in processes of their own"]
async fn in_a_process_the_client_searches_for_credentials() {
    let gateway = AwsGateway::from_environment().await;
    let _ = tokio::time::timeout(Duration::from_secs(1), gateway.check_credentials()).await;
}

#[tokio::test]
#[ignore = "run by the tests above, in processes of their own"]
async fn in_a_process_the_client_reads_the_certificate() {
    let gateway = AwsGateway::from_environment().await;
    assert_eq!(gateway.default_region().as_deref(), Some(REGION));
    gateway.check_credentials().await.unwrap();
    assert_eq!(gateway.get_client_certificate(&source("abc123")).await.unwrap().id, "abc123");
}

#[tokio::test]
#[ignore = "run by the tests above, in processes of their own"]
async fn in_a_process_the_client_does_not_connect() {
    let gateway = AwsGateway::from_environment().await;
    let error = gateway.get_client_certificate(&source("abc123")).await.unwrap_err();
    let GatewayError::Unavailable { outage: Outage::Unreachable { host, .. }, .. } = &error else { panic!("{error}") };
    assert!(host.starts_with("apigateway."), "{error}");
}
