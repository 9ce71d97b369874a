//! `make contract-aws` against the emulator in place of a real account, with the standard environment, in another
//! process.

use std::process::{Command, Stdio};

use operator_testing::certificates::NewCertificate;
use operator_testing::contract::account::{Options, TAG, run};
use operator_testing::emulator::{Call, DEFAULT_REGION as REGION, Emulator, Fault, HOME_USER};
use operator_testing::http;
use operator_testing::private_ca::{NewLeaf, PrivateCa};
use operator_testing::script::Operation;

const RATE: f64 = 40.0;

const THEIRS: &str = "arn:aws:acm:us-east-1:111122223333:certificate/12345678-1234-1234-1234-123456789012";

/// An account with a certificate and an API of other users.
async fn account() -> Emulator {
    let emulator = Emulator::start().await.unwrap();
    emulator.generate(REGION, NewCertificate::new().id("theirs").shared_key());
    emulator.present(REGION, "theirapi00", "prod", Some("theirs"));
    emulator.put_acm(THEIRS, PrivateCa::root("theirs").issue(NewLeaf::new("theirs.example.com")));
    emulator
}

/// Runs the contract in another process, without a terminal; returns whether it succeeded, and its output.
async fn contract(emulator: &Emulator, test: &str) -> (bool, String) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "--ignored", "--nocapture", &format!("contract_account::{test}")]);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
        command.env_remove(name);
    }
    command.envs(emulator.environment()).env("HOME", "/nonexistent").stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(text.contains("running 1 test"), "{text}");
    (output.status.success(), text)
}

#[tokio::test]
#[ignore = "run by the tests below, in processes of their own"]
async fn in_a_process_with_consent() {
    let outcome = run(&Options { yes: true, rate: RATE }, None::<&[u8]>, &mut std::io::stdout()).await;
    assert!(outcome.unwrap(), "a case failed, or something is left");
}

#[tokio::test]
#[ignore = "run by the tests below, in processes of their own"]
async fn in_a_process_without_consent() {
    let no = Some("n\n".as_bytes());
    for answers in [None, no] {
        let error = run(&Options { yes: false, rate: RATE }, answers, &mut std::io::stdout()).await.unwrap_err();
        assert!(error.to_string().starts_with("nothing was created"), "{error:#}");
    }
}

/// Checks that the certificate and the API of other users are unchanged, and that no others exist.
fn only_theirs_is_left(emulator: &Emulator, printed: &str) {
    assert_eq!(emulator.certificates(REGION), ["theirs"], "{printed}");
    assert_eq!(emulator.apis(REGION), ["theirapi00"], "{printed}");
    assert_eq!(emulator.presented(REGION, "theirapi00", "prod").as_deref(), Some("theirs"), "{printed}");
    assert_eq!(emulator.acm_arns(), [THEIRS], "{printed}");
}

fn is_write(call: &Call) -> bool {
    use Operation::{
        DescribeCertificate, Get, GetCallerIdentity, GetCertificate, GetRestApis, GetStage, GetStages, List,
        ListCertificates, ListTagsForCertificate,
    };
    let of_acm = [DescribeCertificate, GetCertificate, ListCertificates, ListTagsForCertificate];
    let others = [Get, List, GetRestApis, GetStages, GetStage, GetCallerIdentity];
    !of_acm.contains(&call.operation) && !others.contains(&call.operation)
}

#[tokio::test]
async fn every_case_passes_every_question_is_answered_and_everything_is_deleted() {
    let emulator = account().await;
    let (passed, printed) = contract(&emulator, "in_a_process_with_consent").await;
    assert!(passed, "{printed}");
    only_theirs_is_left(&emulator, &printed);
    assert_eq!(printed.matches(" passed\n").count(), 15, "{printed}");
    for (question, answer) in [
        ("Does the list contain tags?", "yes"),
        ("What is the response to clearing a description?", "200 without the element description"),
        ("What is the response to clearing a stage?", "200 without the element clientCertificateId"),
        ("UpdateStage with an unknown id?", "404 NotFoundException: Invalid Client Certificate"),
        ("Does DeleteClientCertificate refuse a presented one?", "no: 202"),
        ("When does GetStages show a switch?", "at read 1, "),
        ("UpdateStage with an unknown ARN?", "400 BadRequestException: "),
        ("UpdateStage with the ARN of an RSA certificate?", "200 with clientCertificateId \"arn:aws:acm:"),
        ("UpdateStage with the ARN of an ECDSA certificate?", "200 with clientCertificateId \"arn:aws:acm:"),
        ("UpdateStage with the ARN of a certificate for servers?", "200 with clientCertificateId \"arn:aws:acm:"),
        ("UpdateStage with the ARN of a certificate without a chain?", "200 with clientCertificateId \"arn:aws:acm:"),
        ("GetClientCertificate with the ARN that a stage presents?", "404 NotFoundException: "),
        ("Does GetClientCertificates list ACM certificates?", "no"),
        ("Does DeleteCertificate refuse a presented one?", "yes: 400 ResourceInUseException: "),
        ("ImportCertificate with a chain in the wrong order?", "400 ValidationException: Could not validate"),
        ("ImportCertificate with a chain without its root?", "200"),
    ] {
        let line =
            printed.lines().find(|line| line.contains(question)).unwrap_or_else(|| panic!("{question}: {printed}"));
        assert!(line.contains(answer), "{line}");
    }
    assert!(!printed.contains("not answered"), "{printed}");

    // The run does not write to other users' objects, and stays in its budget.
    let calls = emulator.calls();
    let calls: Vec<_> = calls.iter().filter(|call| call.operation != Operation::GetCallerIdentity).collect();
    let is_theirs = |call: &Call| [Some("theirs"), Some("theirapi00"), Some(THEIRS)].contains(&call.id.as_deref());
    assert!(!calls.iter().any(|call| is_write(call) && is_theirs(call)));
    let took = calls.last().unwrap().at.duration_since(calls[0].at).as_secs_f64();
    // The first call may reach the emulator late.
    let least = (calls.len() - 1) as f64 / RATE * 0.8;
    assert!(took >= least, "{} calls in {took:.1} s, which is faster than {RATE} a second", calls.len());
    assert!(printed.contains(&format!("It made {} calls.", calls.len())), "{} calls: {printed}", calls.len());
}

#[tokio::test]
async fn everything_is_deleted_even_if_cases_fail_and_answers_are_lost() {
    let emulator = account().await;
    emulator.inject_all([
        Fault::shorten().on(Operation::Update),
        // The certificate is made, but the response with its id is lost.
        Fault::cut().on(Operation::Generate).once(),
        Fault::cut().on(Operation::ImportCertificate).once(),
        Fault::error(400, "ThrottlingException", "Rate exceeded").on(Operation::ImportCertificate).once(),
        Fault::error(500, "InternalFailure", "boom").on(Operation::DeleteCertificate).once(),
        Fault::concurrent_modification().on(Operation::UpdateStage).once(),
        Fault::throttled(Some("0")).on(Operation::Delete).once(),
        Fault::error(500, "InternalFailure", "boom").on(Operation::Delete).once(),
        Fault::error(500, "InternalFailure", "boom").on(Operation::CreateDeployment).once(),
    ]);
    let (passed, printed) = contract(&emulator, "in_a_process_with_consent").await;
    assert!(!passed, "{printed}");
    for case in ["a description is set and echoed", "a certificate has all six elements"] {
        let line = printed.lines().find(|line| line.contains(case)).unwrap_or_else(|| panic!("{case}: {printed}"));
        assert!(line.contains("FAILED: "), "{line}");
    }
    assert!(printed.contains("The run deleted everything that it created."), "{printed}");
    only_theirs_is_left(&emulator, &printed);
}

#[tokio::test]
async fn objects_that_cannot_be_deleted_are_named() {
    let emulator = account().await;
    emulator.deny(HOME_USER, Operation::Delete);
    emulator.deny(HOME_USER, Operation::DeleteRestApi);
    emulator.deny(HOME_USER, Operation::DeleteCertificate);
    let (passed, printed) = contract(&emulator, "in_a_process_with_consent").await;
    assert!(!passed, "{printed}");
    let mut left = emulator.certificates(REGION);
    left.retain(|id| id != "theirs");
    let api = emulator.apis(REGION).into_iter().find(|id| id != "theirapi00").unwrap();
    assert!(printed.contains(&format!("NOT DELETED: REST API {api}: DeleteRestApi: 403 AccessDenied")), "{printed}");
    assert!(left.len() > 10, "{left:?}");
    let apis = http::send(emulator.address(), "GET", "/_emulator/restapis", &[], "").await.unwrap().json();
    let made = apis.as_array().unwrap().iter().find(|made| made["id"] == *api).unwrap();
    assert!(printed.contains(&format!("{TAG}={}", made["tags"][TAG].as_str().unwrap())), "{made}");
    for id in left {
        assert!(printed.contains(&format!("NOT DELETED: client certificate {id}: ")), "{id}: {printed}");
    }
    let mut imported = emulator.acm_arns();
    imported.retain(|arn| arn != THEIRS);
    assert!(imported.len() > 5, "{imported:?}");
    for arn in imported {
        assert!(printed.contains(&format!("NOT DELETED: ACM certificate {arn}: ")), "{arn}: {printed}");
        assert_eq!(emulator.acm_tags(&arn).unwrap()[TAG], made["tags"][TAG], "{arn}");
    }
}

#[tokio::test]
async fn nothing_is_created_without_consent() {
    let emulator = account().await;
    let (passed, printed) = contract(&emulator, "in_a_process_without_consent").await;
    assert!(passed && printed.contains("account 111122223333") && printed.contains(TAG), "{printed}");
    assert!(!emulator.calls().iter().any(is_write));
    only_theirs_is_left(&emulator, &printed);
}
