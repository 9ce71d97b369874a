//! The emulator is as strict as AWS, so that it does not accept requests that AWS would refuse.

mod accounts;
mod acm;
mod limit;
mod pages;
mod sessions;
mod stages;
mod sts;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use operator_testing::certificates::NewCertificate;
use operator_testing::emulator::{AccessKey, DEFAULT_REGION as REGION, Emulator, Fault, Options};
use operator_testing::http::{self, Answer};
use operator_testing::script::Operation;
use serde_json::json;
use x509_parser::pem::parse_x509_pem;
use x509_parser::x509::X509Version;

use client_certificate_operator::aws::gateway::{Gateway, Source};

fn new() -> NewCertificate {
    NewCertificate::new().shared_key()
}

fn source(id: &str) -> Source {
    Source::own(REGION, id)
}

fn error_type(answer: &Answer) -> (u16, &str) {
    (answer.status, answer.header("x-amzn-errortype").unwrap_or_default())
}

#[tokio::test]
async fn an_unsigned_request_is_refused() {
    let emulator = Emulator::start().await.unwrap();
    emulator.generate(REGION, new().id("abc123"));
    let answer = http::send(emulator.address(), "GET", "/clientcertificates/abc123", &[], "").await.unwrap();
    assert_eq!(error_type(&answer), (403, "MissingAuthenticationTokenException"));
}

#[tokio::test]
async fn every_invalid_signature_is_refused() {
    let emulator = Emulator::start().await.unwrap();
    emulator.generate(REGION, new().id("abc123"));
    let (path, now) = ("/clientcertificates/abc123", Timestamp::now());
    let good = emulator.access_key().clone();
    let sign = |key: &AccessKey, at, method: &str, path: &str, body: &str| {
        emulator.sign(key, at, REGION, method, path, body).unwrap()
    };
    let ok = http::send(emulator.address(), "GET", path, &sign(&good, now, "GET", path, ""), "").await.unwrap();
    assert_eq!(ok.status, 200);

    let wrong_secret = AccessKey { secret: "another".into(), ..good.clone() };
    let wrong_id = AccessKey { id: "AKIDUNKNOWN".into(), ..good.clone() };
    let with_token = AccessKey { session_token: Some("token".into()), ..good.clone() };
    let minutes = SignedDuration::from_mins;
    let mut other_scope = sign(&good, now, "GET", path, "");
    other_scope[2].1 = other_scope[2].1.replace(REGION, "eu-west-1");
    let mut malformed = sign(&good, now, "GET", path, "");
    malformed[2].1 = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE".into();
    let mut unsigned_header = sign(&good, now, "GET", path, "");
    unsigned_header.push(("x-amz-meta".into(), "added".into()));
    let cases = [
        ("another secret", sign(&wrong_secret, now, "GET", path, ""), "InvalidSignatureException"),
        ("an unknown key", sign(&wrong_id, now, "GET", path, ""), "UnrecognizedClientException"),
        ("an unexpected session token", sign(&with_token, now, "GET", path, ""), "UnrecognizedClientException"),
        ("another path", sign(&good, now, "GET", "/clientcertificates/xyz789", ""), "InvalidSignatureException"),
        ("another query", sign(&good, now, "GET", "/clientcertificates/abc123?a=b", ""), "InvalidSignatureException"),
        ("another method", sign(&good, now, "DELETE", path, ""), "InvalidSignatureException"),
        ("another body", sign(&good, now, "GET", path, "body"), "InvalidSignatureException"),
        ("an old signature", sign(&good, now - minutes(6), "GET", path, ""), "InvalidSignatureException"),
        ("a clock ahead", sign(&good, now + minutes(6), "GET", path, ""), "InvalidSignatureException"),
        ("another region", other_scope, "InvalidSignatureException"),
        ("an added header", unsigned_header, "InvalidSignatureException"),
        ("half a header", malformed, "IncompleteSignatureException"),
    ];
    for (what, headers, expected) in cases {
        let answer = http::send(emulator.address(), "GET", path, &headers, "").await.unwrap();
        assert_eq!(error_type(&answer), (403, expected), "{what}");
    }
}

#[tokio::test]
async fn a_wrong_session_token_is_refused() {
    let mut options = Options::default();
    options.access_keys[0].session_token = Some("right".into());
    let emulator = Emulator::start_with(options).await.unwrap();
    emulator.generate(REGION, new().id("abc123"));
    assert!(emulator.gateway_builder().build().get_client_certificate(&source("abc123")).await.is_ok());
    let AccessKey { id, secret, .. } = emulator.access_key();
    let wrong = emulator.gateway_builder().session(id, secret, "wrong").build();
    let error = wrong.get_client_certificate(&source("abc123")).await.unwrap_err();
    assert_eq!(error.to_string(), "AWS refused the operator's credentials (UnrecognizedClientException)");
}

#[tokio::test]
async fn only_a_replacement_of_the_description_is_accepted_as_a_patch() {
    let emulator = Emulator::start().await.unwrap();
    emulator.generate(REGION, new().id("abc123").description("before"));
    let patch = async |operations: serde_json::Value| {
        let body = json!({ "patchOperations": operations }).to_string();
        emulator.signed(REGION, "PATCH", "/clientcertificates/abc123", &body).await.unwrap()
    };
    for operations in [
        json!([{ "op": "replace", "path": "/tags/a", "value": "x" }]),
        json!([{ "op": "add", "path": "/description", "value": "x" }]),
        json!([{ "op": "remove", "path": "/description" }]),
        json!([{ "op": "replace", "path": "/description" }]),
    ] {
        assert_eq!(error_type(&patch(operations.clone()).await), (400, "BadRequestException"), "{operations}");
    }
    assert_eq!(emulator.certificate(&source("abc123")).unwrap().description, "before");
    let answer = patch(json!([{ "op": "replace", "path": "/description", "value": "" }])).await;
    assert_eq!((answer.status, answer.json().get("description")), (200, None));
}

#[tokio::test]
async fn a_list_has_pages() {
    let emulator = Emulator::start().await.unwrap();
    for number in 0..60 {
        emulator.generate(REGION, new().id(format!("cert{number:02}")));
    }
    emulator.generate("eu-west-1", new().id("elsewhere"));
    let list =
        async |query: &str| emulator.signed(REGION, "GET", &format!("/clientcertificates{query}"), "").await.unwrap();
    let size = |answer: &Answer| answer.json()["item"].as_array().unwrap().len();
    let first = list("").await;
    assert_eq!((size(&first), first.json()["item"][0]["clientCertificateId"].clone()), (25, json!("cert00")));
    let position = first.json()["position"].as_str().unwrap().to_owned();
    let second = list(&format!("?limit=30&position={position}")).await;
    assert_eq!((size(&second), second.json()["item"][0]["clientCertificateId"].clone()), (30, json!("cert25")));
    let position = second.json()["position"].as_str().unwrap().to_owned();
    let last = list(&format!("?position={position}")).await;
    assert_eq!((size(&last), last.json().get("position").cloned()), (5, None));
    let all = list("?limit=500").await;
    assert_eq!((size(&all), all.json().get("position").cloned()), (60, None));
    for query in ["?limit=0", "?limit=501", "?limit=many", "?position=made-up"] {
        assert_eq!(error_type(&list(query).await), (400, "BadRequestException"), "{query}");
    }
}

#[tokio::test]
async fn certificates_are_generated_and_deleted_through_the_api() {
    let emulator = Emulator::start().await.unwrap();
    let body = json!({ "description": "made here", "tags": { "team": "shop" } }).to_string();
    let made = emulator.signed(REGION, "POST", "/clientcertificates", &body).await.unwrap();
    assert_eq!((made.status, made.json()["description"].clone()), (201, json!("made here")));
    assert!(made.json()["createdDate"].is_i64());
    let path = format!("/clientcertificates/{}", made.json()["clientCertificateId"].as_str().unwrap());
    let statuses = [("GET", 200), ("DELETE", 202), ("GET", 404), ("DELETE", 404)];
    for (method, status) in statuses {
        assert_eq!(emulator.signed(REGION, method, &path, "").await.unwrap().status, status, "{method}");
    }
}

/// The unusual properties of API Gateway's certificates, which fixtures must have.
#[tokio::test]
async fn a_certificate_has_the_form_of_api_gateway() {
    let emulator = Emulator::start().await.unwrap();
    let made = emulator.generate(REGION, NewCertificate::new());
    let (_, pem) = parse_x509_pem(made.pem.as_bytes()).unwrap();
    let certificate = pem.parse_x509().unwrap();
    assert_eq!(certificate.version(), X509Version::V3);
    assert!(certificate.extensions().is_empty());
    assert_eq!(certificate.subject().to_string(), "C=US, L=Seattle, CN=ApiGateway");
    assert_eq!(certificate.issuer(), certificate.subject());
    assert_eq!(certificate.signature_algorithm.algorithm.to_id_string(), "1.2.840.113549.1.1.11");
    assert_eq!(certificate.public_key().parsed().unwrap().key_size(), 2048);
    let validity = certificate.validity();
    assert_eq!(validity.not_after.timestamp() - validity.not_before.timestamp(), 365 * 24 * 3600);
    assert_eq!(made.expires.unwrap().as_second(), validity.not_after.timestamp());
    assert!(emulator.private_key(&source(&made.id)).unwrap().starts_with("-----BEGIN PRIVATE KEY-----"));
}

#[tokio::test]
async fn certificates_are_expired_renewed_deleted_and_restored_by_hand() {
    let emulator = Emulator::start().await.unwrap();
    let made = emulator.generate(REGION, new().description("kept").tag("a", "b"));
    let source = source(&made.id);
    let expired = emulator.expire(&source).unwrap();
    assert!(expired.expires.unwrap() < Timestamp::now());
    let renewed = emulator.renew(&source, new()).unwrap();
    assert!(renewed.pem != made.pem && renewed.pem != expired.pem);
    assert_eq!((renewed.id, renewed.description, renewed.tags), (made.id, made.description, made.tags));
    assert!(emulator.delete(&source) && emulator.certificate(&source).is_none());
    assert!(emulator.restore(&source) && emulator.certificate(&source).is_some());
    assert!(emulator.set_pem(&source, "garbage"));
    assert_eq!(emulator.certificate(&source).unwrap().pem, "garbage");
}

#[tokio::test]
async fn calls_are_counted_and_their_overlap_measured() {
    let emulator = Emulator::start().await.unwrap();
    emulator.generate(REGION, new().id("abc123"));
    emulator.set_latency(Duration::from_millis(100));
    let gateway = emulator.gateway_builder().build();
    let (one, other) = (source("abc123"), source("nosuch"));
    let _ = tokio::join!(
        gateway.get_client_certificate(&one),
        gateway.get_client_certificate(&one),
        gateway.get_client_certificate(&other),
        gateway.set_description(&one, "x"),
    );
    assert_eq!((emulator.count(Operation::Get), emulator.count(Operation::Update)), (3, 1));
    assert_eq!((emulator.count_of(Operation::Get, "abc123"), emulator.count_of(Operation::Get, "nosuch")), (2, 1));
    assert_eq!(emulator.peak_under_way(), 4);
    let call = emulator.calls().into_iter().find(|call| call.id.as_deref() == Some("nosuch")).unwrap();
    assert_eq!((call.status, call.region.as_deref()), (Some(404), Some(REGION)));
    emulator.clear_calls();
    assert_eq!((emulator.calls().len(), emulator.peak_under_way()), (0, 0));
}

#[tokio::test]
async fn faults_apply_to_the_calls_that_they_name_in_order() {
    let emulator = Emulator::start().await.unwrap();
    emulator.generate(REGION, new().id("abc123"));
    emulator.generate(REGION, new().id("xyz789"));
    emulator.inject_all([
        Fault::throttled(Some("1")).of("abc123").once(),
        Fault::error(500, "InternalFailure", "boom").of("abc123").once(),
    ]);
    let get = async |id: &str| emulator.signed(REGION, "GET", &format!("/clientcertificates/{id}"), "").await.unwrap();
    assert_eq!(get("xyz789").await.status, 200);
    let throttled = get("abc123").await;
    assert_eq!((throttled.status, throttled.header("retry-after")), (429, Some("1")));
    assert_eq!(get("abc123").await.status, 500);
    assert_eq!(get("abc123").await.status, 200);
}

/// The whole administration, with HTTP requests like those of `curl`.
#[tokio::test]
async fn the_admin_api_can_do_what_tests_can() {
    let emulator = Emulator::start().await.unwrap();
    let send = async |method: &str, path: &str, body: &str| {
        http::send(emulator.address(), method, &format!("/_emulator{path}"), &[], body).await.unwrap()
    };
    let made = send("POST", "/certificates", r#"{"id":"abc123","expiresInSeconds":3600,"sharedKey":true}"#).await;
    assert_eq!(made.status, 201);
    assert!(made.json()["privateKey"].as_str().unwrap().contains("PRIVATE KEY"));
    assert_eq!(send("POST", "/certificates?region=eu-west-1", r#"{"id":"def456"}"#).await.status, 201);
    assert_eq!(send("GET", "/certificates", "").await.json().as_array().unwrap().len(), 1);
    for (method, path, body) in [
        ("PUT", "/certificates/abc123/description", "by hand"),
        ("POST", "/certificates/abc123/expire", ""),
        ("POST", "/certificates/abc123/renew", r#"{"sharedKey":true}"#),
        ("PUT", "/certificates/abc123/pem", "garbage"),
        ("DELETE", "/certificates/abc123", ""),
        ("POST", "/certificates/abc123/restore", ""),
        ("PUT", "/restapis/a1b2c3d4e5", ""),
        ("PUT", "/restapis/a1b2c3d4e5/stages/prod", r#"{"clientCertificateId":"abc123"}"#),
        ("PUT", "/restapis/a1b2c3d4e5/stages/test", ""),
        ("DELETE", "/restapis/a1b2c3d4e5/stages/test", ""),
        ("PUT", "/latency", r#"{"milliseconds":1}"#),
        ("POST", "/faults", r#"{"operation":"Get","kind":"error","status":429,"retryAfter":"2","times":3}"#),
        ("POST", "/faults", r#"[{"kind":"drop","times":1},{"kind":"stall","milliseconds":5},{"kind":"pass"}]"#),
        ("POST", "/faults", r#"{"kind":"large","bytes":10485760,"chunked":true,"id":"abc123"}"#),
    ] {
        let status = send(method, path, body).await.status;
        assert!([200, 204].contains(&status), "{method} {path}: {status}");
    }
    let certificate = send("GET", "/certificates/abc123", "").await.json();
    assert_eq!(
        (&certificate["description"], &certificate["pemEncodedCertificate"]),
        (&json!("by hand"), &json!("garbage"))
    );
    let apis = send("GET", "/restapis", "").await.json();
    assert_eq!(apis[0]["stages"].as_array().unwrap().len(), 1);
    assert_eq!(apis[0]["stages"][0]["clientCertificateId"], json!("abc123"));
    assert_eq!(send("GET", "/restapis?account=444455556666", "").await.json(), json!([]));
    assert_eq!(send("DELETE", "/restapis/a1b2c3d4e5", "").await.status, 204);
    assert_eq!(send("GET", "/faults", "").await.json().as_array().unwrap().len(), 5);
    assert_eq!(emulator.signed(REGION, "GET", "/clientcertificates/abc123", "").await.unwrap().status, 429);
    assert_eq!(send("GET", "/calls", "").await.json()["counts"], json!({ "GetClientCertificate": 1 }));
    for path in ["/faults", "/calls"] {
        assert_eq!(send("DELETE", path, "").await.status, 204);
    }
    assert_eq!(send("GET", "/faults", "").await.json(), json!([]));
    for (method, path, body, status) in [
        ("POST", "/certificates", r#"{"idd":"x"}"#, 400),
        ("POST", "/faults", r#"{"kind":"unheard-of"}"#, 400),
        ("DELETE", "/certificates/nosuch", "", 404),
        ("PUT", "/restapis/a1b2c3d4e5/stages/prod", r#"{"certificate":"x"}"#, 400),
        ("DELETE", "/restapis/a1b2c3d4e5", "", 404),
        ("DELETE", "/restapis/a1b2c3d4e5/stages/prod", "", 404),
    ] {
        assert_eq!(send(method, path, body).await.status, status, "{method} {path}");
    }
}
