//! STS with the AWS SDK, and by AWS's documentation.

use aws_config::sts::AssumeRoleProvider;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use client_certificate_operator::aws::gateway::Gateway;
use jiff::{SignedDuration, Timestamp};
use operator_testing::certificates::NewCertificate;
use operator_testing::emulator::{
    AccessKey, DEFAULT_REGION as REGION, Emulator, Fault, HOME_ACCOUNT, HOME_USER, NewRole,
};
use operator_testing::http::Answer;
use operator_testing::script::Operation;

use super::source;

const ACCOUNT: &str = "444455556666";
const ROLE: &str = "arn:aws:iam::444455556666:role/path/reader";
const SESSION: &str = "arn:aws:sts::444455556666:assumed-role/reader/operator";

/// The configuration of the real SDK for the emulator.
pub(super) async fn sdk(emulator: &Emulator) -> SdkConfig {
    let AccessKey { id, secret, session_token } = emulator.access_key().clone();
    let http = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc)).build_https();
    aws_config::defaults(BehaviorVersion::latest())
        .endpoint_url(emulator.url())
        .region(Region::new(REGION))
        .credentials_provider(Credentials::new(id, secret, session_token, None, "test"))
        .http_client(http)
        .load()
        .await
}

fn tag<'a>(answer: &'a Answer, name: &str) -> &'a str {
    let (_, rest) = answer.body.split_once(&format!("<{name}>")).unwrap_or_else(|| panic!("{}", answer.body));
    rest.split_once('<').unwrap().0
}

async fn assume(emulator: &Emulator, more: &[(&str, &str)]) -> Answer {
    let fields = [&[("Action", "AssumeRole"), ("RoleArn", ROLE), ("RoleSessionName", "operator")], more].concat();
    emulator.sts(emulator.access_key(), REGION, &fields).await.unwrap()
}

#[tokio::test]
async fn the_sdk_assumes_a_role_and_sees_the_certificates_of_its_account() {
    let emulator = Emulator::start().await.unwrap();
    emulator.add_role(NewRole::new(ROLE).external_id("shared:secret/1").session_seconds(7200).may_tag());
    emulator.account(ACCOUNT).generate(REGION, NewCertificate::new().shared_key().id("abc123"));
    let provider = AssumeRoleProvider::builder(ROLE)
        .configure(&sdk(&emulator).await)
        .session_name("operator")
        .external_id("shared:secret/1")
        .session_length(std::time::Duration::from_secs(7200))
        .tags([("cluster", "a & <b>"), ("namespace", "shop")])
        .build()
        .await;
    let key = provider.provide_credentials().await.unwrap();

    let sessions = emulator.sessions();
    let [session] = sessions.as_slice() else { panic!("{sessions:?}") };
    assert_eq!((session.account.as_str(), session.arn.as_str()), (ACCOUNT, SESSION));
    assert_eq!(session.by, HOME_USER);
    assert_eq!(session.request.external_id.as_deref(), Some("shared:secret/1"));
    assert_eq!(session.request.tags["cluster"], "a & <b>");
    assert_eq!(session.request.tags["namespace"], "shop");
    let expiry = Timestamp::try_from(key.expiry().unwrap()).unwrap();
    assert!(session.expires.duration_since(expiry) < SignedDuration::from_secs(1));
    let in_two_hours = Timestamp::now() + SignedDuration::from_secs(7200);
    assert!(in_two_hours.duration_since(expiry).abs() < SignedDuration::from_mins(1));
    assert_eq!(key.account_id().unwrap().as_str(), ACCOUNT);
    let call = &emulator.calls()[0];
    assert_eq!((call.operation, call.account.as_deref()), (Operation::AssumeRole, Some(HOME_ACCOUNT)));
    assert_eq!(call.assume_role.as_ref(), Some(&session.request));

    let token = key.session_token().unwrap();
    let gateway = emulator.gateway_builder().session(key.access_key_id(), key.secret_access_key(), token).build();
    assert!(gateway.get_client_certificate(&source("abc123")).await.is_ok());
    assert_eq!(emulator.count_in(Operation::Get, ACCOUNT, REGION), 1);
    let at_home = emulator.gateway_builder().build().get_client_certificate(&source("abc123")).await;
    assert_eq!(at_home.unwrap_err().to_string(), "API Gateway has no such client certificate");
}

#[tokio::test]
async fn the_sdk_reads_the_name_of_a_refusal() {
    let emulator = Emulator::start().await.unwrap();
    let provider =
        AssumeRoleProvider::builder(ROLE).configure(&sdk(&emulator).await).session_name("operator").build().await;
    let refusal = async || format!("{:?}", provider.provide_credentials().await.unwrap_err());
    let denied = refusal().await;
    let words = format!("User: {HOME_USER} is not authorized to perform: sts:AssumeRole on resource: {ROLE}");
    assert!(denied.contains("AccessDenied") && denied.contains(&words), "{denied}");

    let fault = Fault::error(400, "RegionDisabledException", "STS is not activated in this region");
    emulator.inject(fault.on(Operation::AssumeRole).once());
    let scripted = refusal().await;
    assert!(scripted.contains("RegionDisabledException") && scripted.contains("not activated"), "{scripted}");
}

#[tokio::test]
async fn a_refused_role_has_the_same_error_for_every_reason() {
    let emulator = Emulator::start().await.unwrap();
    let refused = async |action: &str, more: &[(&str, &str)], why: &str| {
        let answer = assume(&emulator, more).await;
        assert_eq!((answer.status, tag(&answer, "Code")), (403, "AccessDenied"), "{why}");
        let words = format!("User: {HOME_USER} is not authorized to perform: {action} on resource: {ROLE}");
        assert_eq!(tag(&answer, "Message"), words, "{why}");
    };
    let id = ("ExternalId", "right");
    let tags = [id, ("Tags.member.1.Key", "a"), ("Tags.member.1.Value", "b")];
    refused("sts:AssumeRole", &[id], "no such role").await;
    emulator.add_role(NewRole::new(ROLE).external_id("right"));
    refused("sts:AssumeRole", &[], "no external id").await;
    refused("sts:AssumeRole", &[("ExternalId", "wrong")], "another external id").await;
    refused("sts:TagSession", &tags, "tags").await;
    assert_eq!(assume(&emulator, &[id]).await.status, 200);
    emulator.deny(HOME_USER, Operation::AssumeRole);
    refused("sts:AssumeRole", &[id], "a denial").await;
    assert!(emulator.allow(HOME_USER, Operation::AssumeRole));
    emulator.add_role(NewRole::new(ROLE).external_id("right").allows_only(format!("{HOME_USER}2")));
    refused("sts:AssumeRole", &[id], "trusts somebody else").await;
    emulator.add_role(NewRole::new(ROLE).may_tag().allows_only(HOME_USER));
    assert_eq!(assume(&emulator, &tags).await.status, 200, "an external id that nobody asks for is no harm");
    assert!(emulator.remove_role(ROLE));
    refused("sts:AssumeRole", &[], "removed").await;
    assert_eq!(emulator.sessions().len(), 2);
    assert_eq!(emulator.count(Operation::AssumeRole), 9);
}

#[tokio::test]
async fn impossible_requests_are_invalid() {
    let emulator = Emulator::start().await.unwrap();
    emulator.add_role(NewRole::new(ROLE));
    let key = emulator.access_key();
    let long = "a".repeat(65);
    let with = |role, name, seconds| {
        [("Action", "AssumeRole"), ("RoleArn", role), ("RoleSessionName", name), ("DurationSeconds", seconds)]
    };
    for (fields, code) in [
        (with("arn:aws:iam::4444:role/reader", "operator", "900"), "ValidationError"),
        (with("arn:aws:iam::444455556666:user/reader", "operator", "900"), "ValidationError"),
        (with(ROLE, "with space", "900"), "ValidationError"),
        (with(ROLE, &long, "900"), "ValidationError"),
        (with(ROLE, "operator", "899"), "ValidationError"),
        (with(ROLE, "operator", "3601"), "ValidationError"),
        ([("Action", "AssumeEverything"), ("", ""), ("", ""), ("", "")], "InvalidAction"),
    ] {
        let answer = emulator.sts(key, REGION, &fields).await.unwrap();
        assert_eq!((answer.status, tag(&answer, "Code")), (400, code), "{fields:?}");
    }
    assert_eq!(emulator.sts(key, REGION, &with(ROLE, "operator", "900")).await.unwrap().status, 200);
}

#[tokio::test]
async fn signatures_are_valid_for_one_service_and_both_services_check_them() {
    let emulator = Emulator::start().await.unwrap();
    let identity = [("Action", "GetCallerIdentity")];
    let good = emulator.access_key().clone();
    let answer = emulator.sts(&good, REGION, &identity).await.unwrap();
    assert_eq!((tag(&answer, "Account"), tag(&answer, "Arn")), (HOME_ACCOUNT, HOME_USER));
    assert_eq!(answer.header("content-type"), Some("text/xml"));

    let wrong_secret = AccessKey { secret: "another".into(), ..good.clone() };
    let wrong_id = AccessKey { id: "AKIDUNKNOWN".into(), ..good.clone() };
    for (key, code) in [(wrong_secret, "SignatureDoesNotMatch"), (wrong_id, "InvalidClientTokenId")] {
        let answer = emulator.sts(&key, REGION, &identity).await.unwrap();
        assert_eq!((answer.status, tag(&answer, "Code")), (403, code));
    }
    let body = "Action=GetCallerIdentity&Version=2011-06-15";
    let for_api_gateway = emulator.signed(REGION, "POST", "/", body).await.unwrap();
    assert_eq!((for_api_gateway.status, tag(&for_api_gateway, "Code")), (403, "SignatureDoesNotMatch"));
    assert_eq!(emulator.count(Operation::GetCallerIdentity), 4);
}

#[tokio::test]
async fn a_rotated_access_key_is_refused_by_both_services() {
    let emulator = Emulator::start().await.unwrap();
    let identity = [("Action", "GetCallerIdentity")];
    let old = emulator.access_key().clone();
    let new = emulator.rotate_access_key();
    let refused = emulator.sts(&old, REGION, &identity).await.unwrap();
    assert_eq!((refused.status, tag(&refused, "Code")), (403, "InvalidClientTokenId"));
    let denied = emulator.gateway_builder().build().get_client_certificate(&source("abc123")).await.unwrap_err();
    assert!(denied.to_string().contains("UnrecognizedClientException"), "{denied}");
    let accepted = emulator.sts(&new, REGION, &identity).await.unwrap();
    assert_eq!((tag(&accepted, "Account"), tag(&accepted, "Arn")), (HOME_ACCOUNT, HOME_USER));
}

#[tokio::test]
async fn faults_can_apply_to_sts() {
    let emulator = Emulator::start().await.unwrap();
    emulator.add_role(NewRole::new(ROLE));
    let key = emulator.access_key();
    let fields = [("Action", "AssumeRole"), ("RoleArn", ROLE), ("RoleSessionName", "operator")];
    emulator.inject_all([
        Fault::error(503, "ServiceUnavailable", "busy").on(Operation::AssumeRole).once(),
        Fault::cut().on(Operation::AssumeRole).once(),
        Fault::drop_connection().on(Operation::AssumeRole),
    ]);
    let unavailable = emulator.sts(key, REGION, &fields).await.unwrap();
    assert_eq!(
        (unavailable.status, tag(&unavailable, "Type"), tag(&unavailable, "Message")),
        (503, "Receiver", "busy")
    );
    let half = emulator.sts(key, REGION, &fields).await.unwrap();
    assert!(half.status == 200 && !half.body.contains("</AssumeRoleResponse>"), "{}", half.body);
    assert!(emulator.sts(key, REGION, &fields).await.is_err());
    assert_eq!(emulator.calls().iter().map(|call| call.status).collect::<Vec<_>>(), [Some(503), Some(200), None]);
    emulator.clear_faults();
    assert_eq!(emulator.sts(key, REGION, &fields).await.unwrap().status, 200);
}
