//! The emulator's ACM: its responses, its refusals, and its use by API Gateway.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use client_certificate_operator::aws::gateway::{
    AcmStatus, AssumedRole, Denial, Gateway, GatewayError, Identity, Outage, Place,
};
use jiff::Timestamp;
use operator_testing::emulator::{
    DEFAULT_REGION as REGION, Emulator, Fault, HOME_ACCOUNT, HOME_USER, NewRole, RateLimit,
};
use operator_testing::http::{self, Answer};
use operator_testing::private_ca::{Chain, KeyType, Leaf, NewLeaf, PrivateCa, Usage};
use operator_testing::script::Operation;
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::new;

const OTHER_ACCOUNT: &str = "444455556666";

pub(super) fn leaf() -> Leaf {
    PrivateCa::root("root").issue(NewLeaf::new("payments"))
}

async fn ask(emulator: &Emulator, operation: &str, arn: &str) -> Answer {
    let body = json!({ "CertificateArn": arn }).to_string();
    emulator.acm(emulator.access_key(), REGION, operation, &body).await.unwrap()
}

/// The status and the name of an error.
fn error_type(answer: &Answer) -> (u16, String) {
    (answer.status, answer.json()["__type"].as_str().unwrap_or_default().to_owned())
}

fn refused(name: &str) -> (u16, String) {
    (400, name.to_owned())
}

#[tokio::test]
async fn both_operations_respond_as_acm_does() {
    let emulator = Emulator::start().await.unwrap();
    let leaf = leaf();
    let arn = emulator.import_acm(REGION, leaf.clone());
    let described = ask(&emulator, "DescribeCertificate", &arn).await;
    assert_eq!((described.status, described.header("content-type")), (200, Some("application/x-amz-json-1.1")));
    let described = described.json();
    let detail = &described["Certificate"];
    assert_eq!((&detail["CertificateArn"], &detail["Status"]), (&json!(arn), &json!("ISSUED")));
    assert_eq!((&detail["Type"], &detail["InUseBy"]), (&json!("IMPORTED"), &json!([])));
    assert_eq!(detail["NotAfter"], json!(leaf.not_after.as_second()));
    let got = ask(&emulator, "GetCertificate", &arn).await.json();
    assert_eq!(got, json!({ "Certificate": leaf.certificate, "CertificateChain": leaf.chain }));
    let ids: Vec<_> = emulator.calls().into_iter().map(|call| (call.operation, call.id)).collect();
    let expected = [Operation::DescribeCertificate, Operation::GetCertificate].map(|asked| (asked, Some(arn.clone())));
    assert_eq!(ids, expected);
}

#[tokio::test]
async fn a_request_in_another_form_is_refused() {
    let emulator = Emulator::start().await.unwrap();
    let arn = emulator.import_acm(REGION, leaf());
    let body = json!({ "CertificateArn": arn }).to_string();
    let key = emulator.access_key();
    let acm =
        async |operation: &str, body: &str| error_type(&emulator.acm(key, REGION, operation, body).await.unwrap());
    assert_eq!(acm("ExportCertificate", &body).await, refused("UnknownOperationException"));
    assert_eq!(acm("GetCertificate", "no JSON").await, refused("SerializationException"));
    assert_eq!(acm("GetCertificate", "{}").await, refused("ValidationException"));
    let headers = [
        ("x-amz-target".to_owned(), "CertificateManager.GetCertificate".to_owned()),
        ("content-type".to_owned(), "application/json".to_owned()),
    ];
    let answer = http::send(emulator.address(), "POST", "/", &headers, &body).await.unwrap();
    assert_eq!(error_type(&answer), refused("SerializationException"));
}

#[tokio::test]
async fn only_a_signature_for_acm_is_accepted() {
    let emulator = Emulator::start().await.unwrap();
    let body = json!({ "CertificateArn": emulator.import_acm(REGION, leaf()) }).to_string();
    let of_acm = [
        ("x-amz-target".to_owned(), "CertificateManager.GetCertificate".to_owned()),
        ("content-type".to_owned(), "application/x-amz-json-1.1".to_owned()),
    ];
    let unsigned = http::send(emulator.address(), "POST", "/", &of_acm, &body).await.unwrap();
    assert_eq!(error_type(&unsigned), refused("MissingAuthenticationTokenException"));
    let mut headers = emulator.sign(emulator.access_key(), Timestamp::now(), REGION, "POST", "/", &body).unwrap();
    headers.extend(of_acm);
    let of_api_gateway = http::send(emulator.address(), "POST", "/", &headers, &body).await.unwrap();
    assert_eq!(error_type(&of_api_gateway), refused("InvalidSignatureException"));
}

#[tokio::test]
async fn the_form_of_an_arn_is_checked_before_its_place() {
    let emulator = Emulator::start().await.unwrap();
    let arn = emulator.import_acm(REGION, leaf());
    for (arn, name) in [
        ("9ao60f".to_owned(), "ValidationException"),
        (format!("arn:aws:acm:{REGION}:{HOME_ACCOUNT}:certificate/"), "ValidationException"),
        (format!("arn:aws:acm:{REGION}:{HOME_ACCOUNT}:domain/x"), "InvalidArnException"),
        (format!("arn:aws:iam::{HOME_ACCOUNT}:server-certificate/x"), "InvalidArnException"),
        (arn.replace(REGION, "eu-west-1"), "ResourceNotFoundException"),
        (arn.replace(HOME_ACCOUNT, OTHER_ACCOUNT), "ResourceNotFoundException"),
        (arn.replace("arn:aws:", "arn:aws-cn:"), "ResourceNotFoundException"),
    ] {
        for operation in ["DescribeCertificate", "GetCertificate"] {
            assert_eq!(error_type(&ask(&emulator, operation, &arn).await), refused(name), "{operation} {arn}");
        }
    }
}

#[tokio::test]
async fn a_certificate_that_was_never_issued_is_in_progress() {
    let emulator = Emulator::start().await.unwrap();
    let gateway = emulator.gateway_builder().build();
    let read = async |arn: &str| gateway.get_acm_certificate(&Place::own(REGION), arn).await;
    let arn = emulator.import_acm(REGION, leaf());
    for (status, expected) in [
        ("PENDING_VALIDATION", AcmStatus::Pending),
        ("FAILED", AcmStatus::Failed),
        ("VALIDATION_TIMED_OUT", AcmStatus::Failed),
    ] {
        assert!(emulator.set_acm_status(&arn, status));
        let got = read(&arn).await.unwrap();
        assert_eq!((got.status, got.expires, got.leaf), (expected, None, None));
        assert_eq!(error_type(&ask(&emulator, "GetCertificate", &arn).await), refused("RequestInProgressException"));
    }
    emulator.set_acm_status(&arn, "HIBERNATING");
    let error = GatewayError::Unavailable { outage: Outage::NotUnderstood, retry_after: None };
    assert_eq!(read(&arn).await, Err(error.clone()));
    // The client requests the certificate after it received the status ISSUED.
    emulator.set_acm_status(&arn, "ISSUED");
    emulator.inject(Fault::error(400, "RequestInProgressException", "wait").on(Operation::GetCertificate).once());
    let got = read(&arn).await.unwrap();
    assert_eq!((got.status, got.leaf), (AcmStatus::Pending, None));
    emulator.inject(Fault::without_pem(&arn).on(Operation::GetCertificate).once());
    assert_eq!(read(&arn).await, Err(error));
    assert_eq!(read(&arn).await.unwrap().status, AcmStatus::Issued);
}

#[tokio::test]
async fn iam_denies_one_arn_and_one_operation() {
    let emulator = Emulator::start().await.unwrap();
    let gateway = emulator.gateway_builder().build();
    let read = async |arn: &str| gateway.get_acm_certificate(&Place::own(REGION), arn).await.map(|got| got.arn);
    let [one, other] = [(); 2].map(|()| emulator.import_acm(REGION, leaf()));
    let denied = Err(GatewayError::AccessDenied(Denial::NotAuthorized));
    for operation in [Operation::DescribeCertificate, Operation::GetCertificate] {
        emulator.deny_on(HOME_USER, operation, &one);
        assert_eq!(read(&one).await, denied, "{operation:?}");
        assert_eq!(read(&other).await, Ok(other.clone()));
        assert!(emulator.allow(HOME_USER, operation));
    }
    emulator.deny(HOME_USER, Operation::GetCertificate);
    assert_eq!((read(&one).await, read(&other).await), (denied.clone(), denied));
    let answer = ask(&emulator, "GetCertificate", &one).await;
    assert_eq!(error_type(&answer), refused("AccessDeniedException"));
    let message = answer.json()["message"].as_str().unwrap().to_owned();
    let expected = format!("{HOME_USER} is not authorized to perform: acm:GetCertificate on resource: {one}");
    assert!(message.ends_with(&expected), "{message}");
}

#[tokio::test]
async fn a_role_reads_acm_and_api_gateway_with_one_session() {
    let role = format!("arn:aws:iam::{OTHER_ACCOUNT}:role/reader");
    let emulator = Emulator::start().await.unwrap();
    emulator.add_role(NewRole::new(&role));
    emulator.account(OTHER_ACCOUNT).generate(REGION, new().id("abc123"));
    let arn = emulator.new_acm_arn(REGION).replace(HOME_ACCOUNT, OTHER_ACCOUNT);
    emulator.put_acm(&arn, leaf());
    let role = AssumedRole { arn: role, external_id: None, namespace: "backends".into(), tags_session: false };
    let place = Place { identity: Identity::Role(role.into()), region: REGION.into() };
    let gateway = emulator.gateway_builder().build();
    assert_eq!(gateway.get_acm_certificate(&place, &arn).await.unwrap().arn, arn);
    assert_eq!(gateway.list_client_certificates(&place, None).await.unwrap().certificates.len(), 1);
    assert_eq!(emulator.sessions().len(), 1);
    let own = Place::own(REGION);
    assert_eq!(
        gateway.get_acm_certificate(&own, &arn).await,
        Err(GatewayError::NotFound),
        "the operator's own account"
    );
    gateway.end_session(&place);
    gateway.get_acm_certificate(&place, &arn).await.unwrap();
    assert_eq!(emulator.sessions().len(), 2, "a session that was ended is not used again");
}

#[tokio::test]
async fn the_rate_limits_of_acm_and_api_gateway_are_separate() {
    let emulator = Emulator::start().await.unwrap();
    let gateway = emulator.gateway_builder().build();
    let (place, arn) = (Place::own(REGION), emulator.import_acm(REGION, leaf()));
    let acm = async || gateway.get_acm_certificate(&place, &arn).await.map(|_| ());
    let list = async || gateway.list_client_certificates(&place, None).await.map(|_| ());
    let throttled =
        |seconds: Option<u64>| Err(GatewayError::Throttled { retry_after: seconds.map(Duration::from_secs) });
    emulator.set_acm_rate_limit(Some(RateLimit::nothing()));
    assert_eq!((acm().await, list().await), (throttled(None), Ok(())));
    assert_eq!((emulator.acm_throttled(), emulator.throttled()), (1, 0));
    let answer = ask(&emulator, "GetCertificate", &arn).await;
    assert_eq!(error_type(&answer), refused("ThrottlingException"));
    emulator.set_acm_rate_limit(Some(RateLimit { retry_after: Some("3".into()), ..RateLimit::nothing() }));
    assert_eq!(acm().await, throttled(Some(3)));
    emulator.set_acm_rate_limit(None);
    emulator.set_rate_limit(Some(RateLimit::nothing()));
    assert_eq!((acm().await, list().await), (Ok(()), throttled(None)));
}

#[tokio::test]
async fn a_certificate_that_a_stage_presents_is_not_deleted() {
    let emulator = Emulator::start().await.unwrap();
    let arn = emulator.import_acm(REGION, leaf());
    emulator.present(REGION, "a1b2c3d4e5", "prod", Some(&arn));
    assert_eq!(emulator.delete_acm(&arn), Err("ResourceInUseException"));
    let stage = format!("arn:aws:apigateway:{REGION}::/restapis/a1b2c3d4e5/stages/prod");
    let described = ask(&emulator, "DescribeCertificate", &arn).await.json();
    assert_eq!(described["Certificate"]["InUseBy"], json!([stage]));
    emulator.present(REGION, "a1b2c3d4e5", "prod", None);
    assert_eq!(emulator.delete_acm(&arn), Ok(()));
    assert_eq!(emulator.delete_acm(&arn), Err("ResourceNotFoundException"));
    assert_eq!(error_type(&ask(&emulator, "GetCertificate", &arn).await), refused("ResourceNotFoundException"));
}

/// The body of ImportCertificate. A blob in JSON is base64.
fn import_body(arn: Option<&str>, leaf: &Leaf, tags: Value) -> String {
    let blob = |text: &str| BASE64_STANDARD.encode(text);
    let mut body = json!({
        "Certificate": blob(&leaf.certificate),
        "PrivateKey": blob(&leaf.private_key),
        "CertificateChain": leaf.chain.as_deref().map(blob),
        "Tags": tags,
    });
    if let Some(arn) = arn {
        body["CertificateArn"] = arn.into();
    }
    body.to_string()
}

fn importable() -> (PrivateCa, NewLeaf) {
    (PrivateCa::root("root"), NewLeaf::new("payments.example.com"))
}

async fn import(emulator: &Emulator, body: &str) -> Answer {
    emulator.acm(emulator.access_key(), REGION, "ImportCertificate", body).await.unwrap()
}

#[tokio::test]
async fn an_imported_certificate_is_listed_with_its_tags_and_can_be_deleted() {
    let emulator = Emulator::start().await.unwrap();
    let (ca, new) = importable();
    let tags = json!([{ "Key": "team", "Value": "shop" }, { "Key": "empty" }]);
    let mut arns = Vec::new();
    for key in [KeyType::EcdsaP256, KeyType::Rsa2048, KeyType::Rsa2048] {
        let answer = import(&emulator, &import_body(None, &ca.issue(new.clone().key(key)), tags.clone())).await;
        arns.push(answer.json()["CertificateArn"].as_str().unwrap().to_owned());
    }
    let acm = async |operation: &str, body: Value| {
        let answer = emulator.acm(emulator.access_key(), REGION, operation, &body.to_string()).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        if answer.body.is_empty() { Value::Null } else { answer.json() }
    };
    let listed = async |asked: Value| {
        let page = acm("ListCertificates", asked).await;
        let summaries = page["CertificateSummaryList"].as_array().unwrap().clone();
        let arns: BTreeSet<String> =
            summaries.iter().map(|summary| summary["CertificateArn"].as_str().unwrap().to_owned()).collect();
        (arns, page["NextToken"].clone())
    };
    let all = json!({ "keyTypes": ["RSA_2048", "EC_prime256v1"] });
    assert_eq!(
        listed(json!({})).await,
        (arns[1..].iter().cloned().collect(), Value::Null),
        "RSA unless asked for more"
    );
    assert_eq!(listed(json!({ "Includes": all })).await.0, arns.iter().cloned().collect());
    let (mut paged, mut token) = (BTreeSet::new(), Value::Null);
    for _ in 0..3 {
        let (page, next) = listed(json!({ "Includes": all, "MaxItems": 1, "NextToken": token })).await;
        assert_eq!(page.len(), 1);
        paged.extend(page);
        token = next;
    }
    assert_eq!((paged, token), (arns.iter().cloned().collect(), Value::Null));
    let named = json!({ "CertificateArn": arns[0] });
    let found = acm("ListTagsForCertificate", named.clone()).await;
    assert_eq!(found, json!({ "Tags": [{ "Key": "empty", "Value": "" }, { "Key": "team", "Value": "shop" }] }));
    emulator.present(REGION, "a1b2c3d4e5", "prod", Some(&arns[0]));
    let delete = async || error_type(&ask(&emulator, "DeleteCertificate", &arns[0]).await);
    assert_eq!(delete().await, refused("ResourceInUseException"));
    emulator.present(REGION, "a1b2c3d4e5", "prod", None);
    acm("DeleteCertificate", named).await;
    assert_eq!(delete().await, refused("ResourceNotFoundException"));
}

/// The refusals of ACM that the contract does not test.
#[tokio::test]
async fn an_import_that_acm_could_not_use_is_refused() {
    let emulator = Emulator::start().await.unwrap();
    let (ca, new) = importable();
    let first = ca.issue(new.clone());
    let answer = import(&emulator, &import_body(None, &first, json!([]))).await;
    let arn = answer.json()["CertificateArn"].as_str().unwrap().to_owned();
    let says = async |arn: Option<&str>, leaf: &Leaf, tags: Value| {
        let answer = import(&emulator, &import_body(arn, leaf, tags)).await;
        assert_eq!(error_type(&answer), refused("ValidationException"), "{}", answer.body);
        answer.json()["message"].as_str().unwrap().to_owned()
    };
    let tags = json!([{ "Key": "team", "Value": "shop" }]);
    assert_eq!(says(Some(&arn), &first, tags).await, "Tagging is not permitted on re-import.");
    let two = Leaf { certificate: first.certificate.clone() + ca.certificate(), ..first.clone() };
    assert!(says(None, &two, json!([])).await.starts_with("The certificate field contains more than one certificate."));
    let chain = "Could not validate the certificate with the certificate chain.";
    let issuing = ca.intermediate("issuing");
    for leaf in [
        first.clone().with_chain(&[PrivateCa::root("root").certificate()]),
        issuing.issue(new.clone().chain(Chain::WrongOrder)),
        first.clone().with_chain(&[&first.certificate, ca.certificate()]),
    ] {
        assert_eq!(says(None, &leaf, json!([])).await, chain);
    }
    let of_no_host = ca.issue(NewLeaf::new("payments"));
    assert!(says(None, &of_no_host, json!([])).await.contains("fully qualified domain name"));
    let for_servers = ca.issue(new.clone().usage(Usage::Server));
    let answer = import(&emulator, &import_body(None, &for_servers, json!([]))).await;
    let of_servers = answer.json()["CertificateArn"].as_str().unwrap().to_owned();
    for (arn, leaf) in [(&of_servers, ca.issue(new.clone())), (&arn, ca.issue(new.clone().usage(Usage::Any)))] {
        assert!(says(Some(arn), &leaf, json!([])).await.contains("cannot be removed"));
    }
    // A re-import may add a purpose, and may remove clientAuth.
    let answer = import(&emulator, &import_body(Some(&arn), &for_servers, json!([]))).await;
    assert_eq!((answer.status, answer.json()), (200, json!({ "CertificateArn": arn })));
    for body in [json!({}), json!({ "Certificate": "TUlJQg==" }), json!({ "Certificate": "", "PrivateKey": "" })] {
        assert_eq!(error_type(&import(&emulator, &body.to_string()).await), refused("ValidationException"), "{body}");
    }
    let body = json!({ "Certificate": "no base64" }).to_string();
    assert_eq!(error_type(&import(&emulator, &body).await), refused("SerializationException"));
    emulator.deny(HOME_USER, Operation::ImportCertificate);
    let answer = import(&emulator, &import_body(None, &first, json!([]))).await;
    assert_eq!(error_type(&answer), refused("AccessDeniedException"));
}

/// cert-manager writes keys in the older forms, PKCS#1 and SEC 1.
#[tokio::test]
async fn a_key_in_any_format_is_accepted() {
    let emulator = Emulator::start().await.unwrap();
    let (ca, new) = importable();
    for (key, form) in [(KeyType::Rsa2048, "rsa"), (KeyType::EcdsaP256, "ec")] {
        let mut leaf = ca.issue(new.clone().key(key));
        let mut command = std::process::Command::new("openssl");
        command.args(if form == "rsa" { ["rsa", "-traditional"].as_slice() } else { ["ec"].as_slice() });
        let output = crate::chart::with_input(command, &leaf.private_key);
        leaf.private_key = String::from_utf8(output.stdout).unwrap();
        assert!(leaf.private_key.starts_with(&format!("-----BEGIN {} PRIVATE KEY-----", form.to_uppercase())));
        let answer = import(&emulator, &import_body(None, &leaf, json!([]))).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
}

/// A private CA issues certificates with the requested properties, and the next certificate of its path has signed
/// each.
#[test]
fn a_private_ca_issues_the_requested_certificates() {
    let root = PrivateCa::root_with_key("root", KeyType::Rsa2048);
    let ca = root.intermediate("first").expired_intermediate("second");
    assert_eq!(ca.path().len(), 3);
    let now = Timestamp::now().as_second();
    for (key, usage) in
        [(KeyType::Rsa2048, Usage::Client), (KeyType::EcdsaP256, Usage::Server), (KeyType::EcdsaP384, Usage::Any)]
    {
        let leaf = ca.issue(NewLeaf::new("payments").key(key).usage(usage));
        let chain = [std::slice::from_ref(&leaf.certificate), ca.path()].concat();
        assert_eq!(leaf.chain.as_deref(), Some(ca.path().concat().as_str()));
        let ders = chain.iter().map(|pem| x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap().1.contents);
        let ders: Vec<_> = ders.collect();
        let path: Vec<_> = ders.iter().map(|der| X509Certificate::from_der(der).unwrap().1).collect();
        for (certificate, issuer) in path.iter().zip(path[1..].iter().chain(path.last())) {
            assert_eq!(certificate.issuer(), issuer.subject());
        }
        let ended: Vec<_> = path.iter().map(|c| c.validity().not_after.timestamp() < now).collect();
        assert_eq!(ended, [false, true, false, false]);
        let purposes = path[0].extended_key_usage().unwrap().map(|extension| extension.value.client_auth);
        assert_eq!(purposes, [Some(true), Some(false), None][usage as usize]);
        assert_eq!(
            path[0].raw_serial().iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
            leaf.serial_number
        );
    }
}
