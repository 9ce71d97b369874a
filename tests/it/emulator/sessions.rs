//! The permissions and the duration of sessions.

use std::time::Duration;

use operator_testing::emulator::{AccessKey, DEFAULT_REGION as REGION, Emulator, NewRole};
use operator_testing::script::Operation;
use operator_testing::wait::eventually;

use super::{error_type, new};

const ROLE: &str = "arn:aws:iam::444455556666:role/reader";

async fn session(emulator: &Emulator, by: &AccessKey, role: &str) -> Option<AccessKey> {
    let fields = [("Action", "AssumeRole"), ("RoleArn", role), ("RoleSessionName", "operator")];
    let answer = emulator.sts(by, REGION, &fields).await.unwrap();
    (answer.status == 200).then(|| emulator.sessions().last().unwrap().access_key.clone())
}

/// An emulator with a role, a certificate in its account, and a session.
async fn with_session(role: NewRole) -> (Emulator, AccessKey) {
    let emulator = Emulator::start().await.unwrap();
    emulator.account("444455556666").generate(REGION, new().id("abc123"));
    emulator.add_role(role);
    let key = session(&emulator, emulator.access_key(), ROLE).await.unwrap();
    (emulator, key)
}

async fn get(emulator: &Emulator, key: &AccessKey) -> (u16, String) {
    let answer = emulator.signed_by(key, REGION, "GET", "/clientcertificates/abc123", "").await.unwrap();
    let (status, name) = error_type(&answer);
    (status, name.to_owned())
}

fn expired() -> (u16, String) {
    (403, "ExpiredTokenException".to_owned())
}

#[tokio::test]
async fn a_session_lasts_as_long_as_its_role_allows() {
    let (emulator, key) = with_session(NewRole::new(ROLE).session_seconds(1)).await;
    eventually(Duration::from_secs(10), "the session ends", async || get(&emulator, &key).await == expired()).await;
    let next = session(&emulator, emulator.access_key(), ROLE).await.unwrap();
    assert_ne!((&next.id, &next.session_token), (&key.id, &key.session_token));
}

#[tokio::test]
async fn sessions_end_through_the_admin_api_and_outlast_their_role() {
    let (emulator, key) = with_session(NewRole::new(ROLE)).await;
    assert!(emulator.remove_role(ROLE));
    assert_eq!(session(&emulator, emulator.access_key(), ROLE).await, None);
    assert_eq!(get(&emulator, &key).await.0, 200);
    assert_eq!(emulator.expire_sessions(ROLE), 1);
    assert_eq!(get(&emulator, &key).await, expired());
    assert_eq!(emulator.expire_sessions(ROLE), 0);
    let answer = emulator.sts(&key, REGION, &[("Action", "GetCallerIdentity")]).await.unwrap();
    assert!(answer.status == 403 && answer.body.contains("<Code>ExpiredToken</Code>"), "{}", answer.body);
}

#[tokio::test]
async fn the_key_of_a_session_requires_its_token() {
    let (emulator, key) = with_session(NewRole::new(ROLE)).await;
    for session_token in [None, Some("another".to_owned())] {
        let spoiled = AccessKey { session_token, ..key.clone() };
        assert_eq!(get(&emulator, &spoiled).await, (403, "UnrecognizedClientException".to_owned()));
    }
}

#[tokio::test]
async fn a_denial_applies_to_one_operation_of_one_principal_and_names_both() {
    let (emulator, key) = with_session(NewRole::new(ROLE)).await;
    emulator.deny(ROLE, Operation::List);
    let list = async |key: &AccessKey| emulator.signed_by(key, REGION, "GET", "/clientcertificates", "").await.unwrap();
    let denied = list(&key).await;
    assert_eq!(error_type(&denied), (403, "AccessDeniedException"));
    assert_eq!(
        denied.json()["message"],
        format!(
            "User: arn:aws:sts::444455556666:assumed-role/reader/operator is not authorized to perform: apigateway:GET \
             on resource: arn:aws:apigateway:{REGION}::/clientcertificates"
        )
    );
    assert_eq!(get(&emulator, &key).await.0, 200);
    assert_eq!(list(emulator.access_key()).await.status, 200);
    assert!(emulator.allow(ROLE, Operation::List) && !emulator.allow(ROLE, Operation::List));
    assert_eq!(list(&key).await.status, 200);
    emulator.deny(ROLE, Operation::Update);
    let update = emulator.signed_by(&key, REGION, "PATCH", "/clientcertificates/abc123", "{}").await.unwrap();
    assert!(
        update.body.contains("apigateway:PATCH on resource: arn:aws:apigateway:us-east-1::/clientcertificates/abc123")
    );
}

#[tokio::test]
async fn a_session_assumes_the_roles_that_trust_it() {
    const FURTHER: &str = "arn:aws:iam::777788889999:role/further";
    let (emulator, key) = with_session(NewRole::new(ROLE)).await;
    emulator.add_role(NewRole::new(FURTHER));
    assert_eq!(session(&emulator, &key, FURTHER).await, None);
    for trusted in [ROLE, "arn:aws:iam::444455556666:root"] {
        emulator.add_role(NewRole::new(FURTHER).allows_only(trusted));
        let further = session(&emulator, &key, FURTHER).await.unwrap();
        let identity = emulator.sts(&further, REGION, &[("Action", "GetCallerIdentity")]).await.unwrap();
        assert!(identity.body.contains("arn:aws:sts::777788889999:assumed-role/further/operator"), "{}", identity.body);
    }
}
