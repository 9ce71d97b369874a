//! Accounts and regions share no state, and can have separate faults.

use client_certificate_operator::aws::gateway::Gateway;
use operator_testing::emulator::{AccessKey, DEFAULT_REGION as REGION, Emulator, Fault, HOME_ACCOUNT, NewRole};
use operator_testing::http;
use operator_testing::script::Operation;
use serde_json::json;

use super::{new, source};

const OTHER: &str = "444455556666";
const ROLE: &str = "arn:aws:iam::444455556666:role/reader";
const PATH: &str = "/clientcertificates/abc123";

/// An emulator with the same id in two accounts and two regions, and a key for the other account.
async fn world() -> (Emulator, AccessKey) {
    let emulator = Emulator::start().await.unwrap();
    for region in [REGION, "eu-west-1"] {
        emulator.generate(region, new().id("abc123").description(format!("{HOME_ACCOUNT} {region}")));
        emulator.account(OTHER).generate(region, new().id("abc123").description(format!("{OTHER} {region}")));
    }
    emulator.add_role(NewRole::new(ROLE));
    let fields = [("Action", "AssumeRole"), ("RoleArn", ROLE), ("RoleSessionName", "operator")];
    emulator.sts(emulator.access_key(), REGION, &fields).await.unwrap();
    let key = emulator.sessions()[0].access_key.clone();
    (emulator, key)
}

#[tokio::test]
async fn the_same_id_is_another_certificate_in_another_account_or_region() {
    let (emulator, other) = world().await;
    let home = emulator.access_key().clone();
    for (account, key) in [(HOME_ACCOUNT, &home), (OTHER, &other)] {
        for region in [REGION, "eu-west-1"] {
            let answer = emulator.signed_by(key, region, "GET", PATH, "").await.unwrap();
            assert_eq!(answer.json()["description"], format!("{account} {region}"));
            assert_eq!(emulator.count_in(Operation::Get, account, region), 1);
        }
        let list = emulator.signed_by(key, REGION, "GET", "/clientcertificates", "").await.unwrap();
        assert_eq!(list.json()["item"].as_array().unwrap().len(), 1);
    }
    let account = emulator.account(OTHER);
    assert!(account.set_description(REGION, "abc123", "changed") && account.renew(REGION, "abc123", new()).is_some());
    assert_eq!(account.certificate(REGION, "abc123").unwrap().description, "changed");
    assert!(account.set_pem(REGION, "abc123", "garbage"));
    assert!(account.delete(REGION, "abc123") && !account.delete(REGION, "abc123"));
    assert_eq!(emulator.signed_by(&other, REGION, "GET", PATH, "").await.unwrap().status, 404);
    assert!(account.restore(REGION, "abc123"));
    assert_eq!(account.certificate(REGION, "abc123").unwrap().pem, "garbage");
    assert_eq!(emulator.certificate(&source("abc123")).unwrap().description, format!("{HOME_ACCOUNT} {REGION}"));
}

#[tokio::test]
async fn faults_can_apply_to_one_account_or_one_region() {
    let (emulator, other) = world().await;
    let home = emulator.access_key().clone();
    let status = async |key: &AccessKey, region: &str| {
        emulator.signed_by(key, region, "GET", PATH, "").await.ok().map(|answer| answer.status)
    };
    emulator.inject(Fault::drop_connection().in_region("eu-west-1"));
    assert_eq!((status(&home, REGION).await, status(&other, REGION).await), (Some(200), Some(200)));
    assert_eq!((status(&home, "eu-west-1").await, status(&other, "eu-west-1").await), (None, None));
    emulator.clear_faults();
    emulator.inject(Fault::error(503, "ServiceUnavailableException", "Unavailable").in_account(OTHER));
    assert_eq!((status(&home, "eu-west-1").await, status(&other, "eu-west-1").await), (Some(200), Some(503)));
}

#[tokio::test]
async fn a_seeded_share_of_calls_fails_and_sts_does_not() {
    let (emulator, _) = world().await;
    emulator.inject(Fault::throttled(None).share(0.5));
    let outcomes = async || {
        emulator.seed(7);
        let gateway = emulator.gateway_builder().build();
        let mut outcomes = Vec::new();
        for _ in 0..40 {
            outcomes.push(gateway.get_client_certificate(&source("abc123")).await.is_ok());
        }
        outcomes
    };
    let first = outcomes().await;
    let through = first.iter().filter(|ok| **ok).count();
    assert!((10..=30).contains(&through), "{through}");
    assert_eq!(outcomes().await, first);
    assert_eq!(emulator.throttled(), 2 * (40 - through));
    for _ in 0..20 {
        let identity = [("Action", "GetCallerIdentity")];
        assert_eq!(emulator.sts(emulator.access_key(), REGION, &identity).await.unwrap().status, 200);
    }
}

/// The administration of accounts, roles and limits, with HTTP requests like those of `curl`.
#[tokio::test]
async fn the_admin_api_can_make_accounts_roles_and_limits() {
    let emulator = Emulator::start().await.unwrap();
    let send = async |method: &str, path: &str, body: &str| {
        http::send(emulator.address(), method, &format!("/_emulator{path}"), &[], body).await.unwrap()
    };
    let role = json!({ "arn": ROLE, "externalId": "right", "sessionSeconds": 60, "mayTag": true }).to_string();
    let denial = json!({ "principal": ROLE, "operation": "List" }).to_string();
    let certificate = r#"{"id":"abc123","sharedKey":true}"#;
    for (method, path, body, status) in [
        ("POST", format!("/certificates?account={OTHER}&region=eu-west-1"), certificate, 201),
        ("PUT", format!("/certificates/abc123/description?account={OTHER}&region=eu-west-1"), "by hand", 204),
        ("GET", "/certificates/abc123".into(), "", 404),
        ("POST", "/roles".into(), &role, 204),
        ("POST", "/roles".into(), r#"{"arn":"reader"}"#, 400),
        ("POST", "/roles".into(), r#"{"arn":"x","extenalId":"x"}"#, 400),
        ("POST", "/deny".into(), &denial, 204),
        ("POST", "/deny".into(), r#"{"principal":"x","operation":"Guess"}"#, 400),
        ("PUT", "/rate-limit".into(), "", 204),
        ("PUT", format!("/rate-limit?account={HOME_ACCOUNT}"), r#"{"rate":0,"burst":1,"retryAfter":"5"}"#, 204),
        ("PUT", "/rate-limit".into(), r#"{"rat":1}"#, 400),
    ] {
        assert_eq!(send(method, &path, body).await.status, status, "{method} {path} {body}");
    }
    assert_eq!(emulator.account(OTHER).certificate("eu-west-1", "abc123").unwrap().description, "by hand");
    assert_eq!(send("GET", "/roles", "").await.json()[0]["externalId"], "right");
    assert_eq!(send("GET", "/denied", "").await.json()[0]["operation"], "GetClientCertificates");
    let list = async || emulator.signed(REGION, "GET", "/clientcertificates", "").await.unwrap();
    assert_eq!((list().await.status, list().await.status), (200, 429));

    let fields =
        [("Action", "AssumeRole"), ("RoleArn", ROLE), ("RoleSessionName", "operator"), ("ExternalId", "right")];
    assert_eq!(emulator.sts(emulator.access_key(), REGION, &fields).await.unwrap().status, 200);
    let sessions = send("GET", "/sessions", "").await;
    assert_eq!(sessions.json()[0]["request"]["role"], ROLE);
    assert!(!sessions.body.contains(&emulator.sessions()[0].access_key.secret));
    for (method, path, body, status) in [
        ("DELETE", format!("/sessions?role={ROLE}"), "", 204),
        ("DELETE", format!("/sessions?role={ROLE}"), "", 404),
        ("DELETE", format!("/roles?role={ROLE}"), "", 204),
        ("DELETE", format!("/roles?role={ROLE}"), "", 404),
        ("POST", "/allow".into(), &denial, 204),
        ("POST", "/allow".into(), &denial, 404),
        ("DELETE", format!("/rate-limit?account={HOME_ACCOUNT}"), "", 204),
        ("DELETE", "/rate-limit".into(), "", 204),
    ] {
        assert_eq!(send(method, &path, body).await.status, status, "{method} {path} {body}");
    }
    for _ in 0..50 {
        assert_eq!(list().await.status, 200);
    }
}
