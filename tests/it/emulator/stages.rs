//! Stages are as strict as AWS's: reads, changes, and permissions.

use operator_testing::emulator::{DEFAULT_REGION as REGION, Emulator, Fault, HOME_ACCOUNT, HOME_USER};
use operator_testing::http::Answer;
use operator_testing::script::Operation;
use serde_json::{Value, json};

use super::acm::leaf;
use super::{error_type, new};

const API: &str = "a1b2c3d4e5";
const STAGES: &str = "/restapis/a1b2c3d4e5/stages";
const PROD: &str = "/restapis/a1b2c3d4e5/stages/prod";

/// An emulator with two certificates and a stage that presents the first.
async fn world() -> Emulator {
    let emulator = Emulator::start().await.unwrap();
    for id in ["abc123", "def456"] {
        emulator.generate(REGION, new().id(id));
    }
    emulator.present(REGION, API, "prod", Some("abc123"));
    emulator
}

async fn get(emulator: &Emulator, target: &str) -> Answer {
    emulator.signed(REGION, "GET", target, "").await.unwrap()
}

async fn patch(emulator: &Emulator, target: &str, operations: Value) -> Answer {
    let body = json!({ "patchOperations": operations }).to_string();
    emulator.signed(REGION, "PATCH", target, &body).await.unwrap()
}

fn replace(certificate: &str) -> Value {
    json!([{ "op": "replace", "path": "/clientCertificateId", "value": certificate }])
}

fn message(answer: &Answer) -> String {
    answer.json()["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_stage_shows_its_certificate_by_itself_and_in_the_list() {
    let emulator = world().await;
    emulator.present(REGION, API, "bare", None);
    let prod = get(&emulator, PROD).await.json();
    assert_eq!((&prod["stageName"], &prod["clientCertificateId"]), (&json!("prod"), &json!("abc123")));
    assert!(prod["createdDate"].is_i64());
    let stages = get(&emulator, STAGES).await.json();
    assert_eq!(stages["item"].as_array().unwrap().len(), 2);
    assert_eq!((stages["item"][0].get("clientCertificateId"), &stages["item"][1]), (None, &prod));
    assert_eq!(stages.get("position"), None, "stages come without pages");
    assert_eq!(emulator.count_of(Operation::GetStages, API), 1);
    let call = emulator.calls().into_iter().find(|call| call.operation == Operation::GetStage).unwrap();
    assert_eq!((call.id.as_deref(), call.stage.as_deref(), call.status), (Some(API), Some("prod"), Some(200)));
}

#[tokio::test]
async fn the_list_of_apis_has_pages() {
    let emulator = world().await;
    for number in 0..59 {
        emulator.create_api(REGION, &format!("b{number:02}"));
    }
    emulator.create_api("eu-west-1", "elsewhere");
    emulator.account("444455556666").create_api(REGION, "theirs");
    let size = |answer: &Answer| answer.json()["item"].as_array().unwrap().len();
    let first = get(&emulator, "/restapis").await;
    assert_eq!((size(&first), &first.json()["item"][0]["id"]), (25, &json!(API)));
    let position = first.json()["position"].as_str().unwrap().to_owned();
    let second = get(&emulator, &format!("/restapis?limit=500&position={position}")).await;
    assert_eq!((size(&second), second.json().get("position")), (35, None));
    for query in ["?limit=0", "?limit=501", "?limit=many", "?position=made-up"] {
        assert_eq!(error_type(&get(&emulator, &format!("/restapis{query}")).await), (400, "BadRequestException"));
    }
}

#[tokio::test]
async fn a_patch_of_one_path_switches_a_stage_and_clears_it() {
    let emulator = world().await;
    let switched = patch(&emulator, PROD, replace("def456")).await;
    assert_eq!((switched.status, &switched.json()["clientCertificateId"]), (200, &json!("def456")));
    assert_eq!(emulator.presented(REGION, API, "prod").as_deref(), Some("def456"));
    assert_eq!(patch(&emulator, PROD, json!([])).await.json()["clientCertificateId"], json!("def456"));
    let arn = emulator.import_acm(REGION, leaf());
    assert_eq!(patch(&emulator, PROD, replace(&arn)).await.json()["clientCertificateId"], json!(arn));
    let cleared = patch(&emulator, PROD, replace("")).await;
    assert_eq!((cleared.status, cleared.json().get("clientCertificateId")), (200, None));
    assert_eq!(emulator.presented(REGION, API, "prod"), None);
}

#[tokio::test]
async fn a_patch_accepts_only_an_existing_certificate_and_only_its_path() {
    let emulator = world().await;
    let elsewhere = emulator.generate("eu-west-1", new().id("elsewhere")).id;
    let of_others = emulator.new_acm_arn(REGION).replace(HOME_ACCOUNT, "444455556666");
    emulator.put_acm(&of_others, leaf());
    let in_another_region = emulator.import_acm("eu-west-1", leaf());
    let pending = emulator.import_acm(REGION, leaf());
    emulator.set_acm_status(&pending, "PENDING_VALIDATION");
    for operations in [
        json!([{ "op": "replace", "path": "/variables/a", "value": "x" }]),
        json!([{ "op": "replace", "path": "/deploymentId", "value": "x" }]),
        json!([{ "op": "add", "path": "/clientCertificateId", "value": "def456" }]),
        json!([{ "op": "remove", "path": "/clientCertificateId" }]),
        json!([{ "op": "replace", "path": "/clientCertificateId" }]),
        replace("arn:aws:iam::111122223333:server-certificate/x"),
        replace(&of_others),
        replace(&in_another_region),
        replace(&pending),
        replace(&emulator.new_acm_arn(REGION)),
    ] {
        let answer = patch(&emulator, PROD, operations.clone()).await;
        assert_eq!(error_type(&answer), (400, "BadRequestException"), "{operations}");
    }
    for certificate in ["nosuch", &elsewhere] {
        let answer = patch(&emulator, PROD, replace(certificate)).await;
        assert_eq!(error_type(&answer), (404, "NotFoundException"), "{certificate}");
    }
    assert_eq!(emulator.presented(REGION, API, "prod").as_deref(), Some("abc123"));
}

#[tokio::test]
async fn missing_resources_have_the_error_of_aws() {
    let emulator = world().await;
    let no_stage = "Invalid stage identifier specified".to_owned();
    let no_api = format!("Invalid API identifier specified {HOME_ACCOUNT}:nosuch");
    for (target, expected) in [
        (&format!("{STAGES}/test"), &no_stage),
        (&format!("{STAGES}/%24default"), &no_stage),
        (&"/restapis/nosuch/stages/prod".to_owned(), &no_api),
    ] {
        for answer in [get(&emulator, target).await, patch(&emulator, target, replace("def456")).await] {
            assert_eq!((error_type(&answer), &message(&answer)), ((404, "NotFoundException"), expected), "{target}");
        }
    }
    let answer = get(&emulator, "/restapis/nosuch/stages").await;
    assert_eq!((answer.status, message(&answer)), (404, no_api));
    for (method, target) in [("PUT", STAGES), ("POST", PROD), ("GET", "/restapis/a/stages/b/c"), ("GET", "/restapis/")]
    {
        let answer = emulator.signed(REGION, method, target, "").await.unwrap();
        assert_eq!(error_type(&answer), (403, "MissingAuthenticationTokenException"), "{method} {target}");
    }
}

#[tokio::test]
async fn a_denial_names_the_action_and_the_stages() {
    let emulator = world().await;
    for (operation, method, target, action) in [
        (Operation::GetRestApis, "GET", "/restapis", "GET"),
        (Operation::GetStages, "GET", STAGES, "GET"),
        (Operation::GetStage, "GET", PROD, "GET"),
        (Operation::UpdateStage, "PATCH", PROD, "PATCH"),
    ] {
        emulator.deny(HOME_USER, operation);
        let answer = emulator.signed(REGION, method, target, &json!({}).to_string()).await.unwrap();
        assert_eq!(error_type(&answer), (403, "AccessDeniedException"), "{operation:?}");
        let resource = format!("apigateway:{action} on resource: arn:aws:apigateway:{REGION}::{target}");
        assert!(message(&answer).ends_with(&resource), "{}", message(&answer));
        assert!(emulator.allow(HOME_USER, operation));
        assert_eq!(emulator.signed(REGION, method, target, "{}").await.unwrap().status, 200, "{operation:?}");
    }
}

#[tokio::test]
async fn a_fault_of_one_api_does_not_change_the_stage() {
    let emulator = world().await;
    emulator.present(REGION, "f6g7h8i9j0", "prod", Some("abc123"));
    for (fault, name) in [
        (Fault::concurrent_modification(), (409, "ConflictException")),
        (Fault::concurrent_modification_400(), (400, "BadRequestException")),
        (Fault::throttled(Some("1")), (429, "TooManyRequestsException")),
        (
            Fault::error(429, "LimitExceededException", "Limit exceeded").retry_after(Some("2")),
            (429, "LimitExceededException"),
        ),
    ] {
        emulator.inject(fault.of(API).on(Operation::UpdateStage).once());
        assert_eq!(get(&emulator, PROD).await.status, 200, "another operation");
        assert_eq!(patch(&emulator, "/restapis/f6g7h8i9j0/stages/prod", replace("def456")).await.status, 200);
        let answer = patch(&emulator, PROD, replace("def456")).await;
        assert_eq!(error_type(&answer), name);
        if name.0 == 429 {
            assert!(answer.header("retry-after").is_some());
        }
        assert_eq!(emulator.presented(REGION, API, "prod").as_deref(), Some("abc123"));
    }
}

#[tokio::test]
async fn an_api_is_created_deployed_staged_and_deleted() {
    let emulator = Emulator::start().await.unwrap();
    let send = async |method: &str, target: &str, body: Value| {
        emulator.signed(REGION, method, target, &body.to_string()).await.unwrap()
    };
    assert_eq!(send("POST", "/restapis", json!({})).await.status, 400, "an API has a name");
    let made = send("POST", "/restapis", json!({ "name": "shop", "tags": { "a": "b" } })).await;
    assert_eq!((made.status, &made.json()["tags"]), (201, &json!({ "a": "b" })));
    let api = format!("/restapis/{}", made.json()["id"].as_str().unwrap());
    let deployments = format!("{api}/deployments");
    assert_eq!(error_type(&send("POST", &deployments, json!({})).await), (400, "BadRequestException"), "no methods");
    let without = json!({ "openapi": "3.0.1", "paths": { "/": { "get": {} } } });
    assert_eq!(send("PUT", &format!("{api}?mode=overwrite"), without).await.status, 400, "no integration");
    let with = json!({ "paths": { "/": { "get": { "x-amazon-apigateway-integration": { "type": "mock" } } } } });
    assert_eq!(send("PUT", &format!("{api}?mode=overwrite"), with).await.status, 200);
    let deployment = send("POST", &deployments, json!({})).await.json()["id"].clone();
    let stages = format!("{api}/stages");
    let wrong = json!({ "stageName": "prod", "deploymentId": "nosuch" });
    assert_eq!(send("POST", &stages, wrong).await.status, 404);
    let stage = json!({ "stageName": "prod", "deploymentId": deployment });
    assert_eq!(send("POST", &stages, stage.clone()).await.status, 201);
    assert_eq!(error_type(&send("POST", &stages, stage).await), (409, "ConflictException"));
    assert_eq!(send("GET", &stages, json!({})).await.json()["item"][0]["stageName"], json!("prod"));
    for target in [format!("{stages}/prod"), api] {
        assert_eq!(send("DELETE", &target, json!({})).await.status, 202, "{target}");
        assert_eq!(send("DELETE", &target, json!({})).await.status, 404, "{target}");
    }
    assert_eq!(emulator.apis(REGION), Vec::<String>::new());
}
