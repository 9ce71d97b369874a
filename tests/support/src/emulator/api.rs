//! The client certificate operations as API Gateway answers them, strict where it is strict.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State as FromState};
use axum::http::{Method, Response, StatusCode, header};
use client_certificate_operator::gateway::{ClientCertificate, Source};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::faults::{self, DropConnection, FaultKind};
use super::request_id;
use super::sigv4::{self, Signed};
use super::state::State;
use crate::certificates::NewCertificate;
use crate::script::Operation;

/// A refusal: status, `x-amzn-ErrorType`, message.
type Refusal = (u16, &'static str, String);

/// Everything that is not below `/_emulator`.
pub(super) async fn handle(FromState(state): FromState<Arc<State>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let Some((operation, id)) = route(&parts.method, parts.uri.path()) else {
        return refuse((403, "MissingAuthenticationTokenException", "Missing Authentication Token".into()));
    };
    let call = state.arrived(operation, sigv4::claimed_region(&parts.headers), id.clone());
    let (latency, fault) = {
        let mut inner = state.lock();
        (inner.latency, inner.script.next(operation, id.as_deref()))
    };
    let Ok(body) = axum::body::to_bytes(body, 1 << 20).await else {
        return refuse((413, "RequestEntityTooLargeException", "Request Too Long".into()));
    };
    tokio::time::sleep(latency).await;
    let shortens = matches!(fault, Some(FaultKind::Shorten));
    let faulty = match fault {
        Some(fault) => faults::apply(fault).await,
        None => None,
    };
    let response = match faulty {
        Some(response) => response,
        None => {
            let (path, query) = (parts.uri.path(), parts.uri.query().unwrap_or_default());
            let signed = Signed { method: parts.method.as_str(), path, query, headers: &parts.headers, body: &body };
            sigv4::verify(&signed, &state.keys, Timestamp::now())
                .map_err(|(name, message)| (403, name, message))
                .and_then(|region| perform(&state, operation, &region, id, query, &body, shortens))
                .map_or_else(refuse, |(status, body)| answer(status, &body))
        }
    };
    if response.extensions().get::<DropConnection>().is_none() {
        call.answered(response.status().as_u16());
    }
    response
}

fn route(method: &Method, path: &str) -> Option<(Operation, Option<String>)> {
    let mut segments = path.strip_prefix("/clientcertificates")?.splitn(3, '/');
    let root = segments.next()?.is_empty();
    let id = segments.next().filter(|id| !id.is_empty()).map(str::to_owned);
    if !root || segments.next().is_some() {
        return None;
    }
    let operation = match (method.as_str(), &id) {
        ("GET", Some(_)) => Operation::Get,
        ("GET", None) => Operation::List,
        ("PATCH", Some(_)) => Operation::Update,
        ("POST", None) => Operation::Generate,
        ("DELETE", Some(_)) => Operation::Delete,
        _ => return None,
    };
    Some((operation, id))
}

fn perform(
    state: &State,
    operation: Operation,
    region: &str,
    id: Option<String>,
    query: &str,
    body: &[u8],
    shortens: bool,
) -> Result<(u16, Value), Refusal> {
    let source = Source { region: region.to_owned(), id: id.unwrap_or_default() };
    match operation {
        Operation::Get => state
            .lock()
            .certificates
            .get(&source)
            .map(|issued| (200, elements(&issued.certificate)))
            .ok_or_else(not_found),
        Operation::List => list(state, region, query).map(|page| (200, page)),
        Operation::Update => {
            let description = description_of(body)?;
            let mut inner = state.lock();
            let issued = inner.certificates.get_mut(&source).ok_or_else(not_found)?;
            if let Some(mut description) = description {
                if shortens {
                    description.pop();
                }
                issued.certificate.description = description;
            }
            Ok((200, elements(&issued.certificate)))
        }
        Operation::Generate => {
            #[derive(Default, Deserialize)]
            #[serde(default)]
            struct Wanted {
                description: String,
                tags: BTreeMap<String, String>,
            }
            let Wanted { description, tags } = match body {
                b"" => Wanted::default(),
                body => serde_json::from_slice(body).map_err(|_| bad_request("Unable to parse the request"))?,
            };
            let issued = state.generate(region, NewCertificate { description, tags, ..NewCertificate::default() });
            Ok((201, elements(&issued.certificate)))
        }
        Operation::Delete => {
            if state.delete(&source) {
                Ok((202, json!({})))
            } else {
                Err(not_found())
            }
        }
    }
}

/// The certificates of a region in pages. The position is opaque to clients, so nothing else passes for one.
fn list(state: &State, region: &str, query: &str) -> Result<Value, Refusal> {
    let parameter = |name: &str| {
        query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    let limit = match parameter("limit").map(str::parse::<usize>) {
        None => 25,
        Some(Ok(limit @ 1..=500)) => limit,
        Some(_) => return Err(bad_request("Invalid limit parameter: it must be between 1 and 500")),
    };
    let after = match parameter("position") {
        None => String::new(),
        Some(position) => match position.strip_prefix("after-") {
            Some(id) => id.to_owned(),
            None => return Err(bad_request("Invalid position parameter")),
        },
    };
    let inner = state.lock();
    let mut rest = inner
        .certificates
        .iter()
        .filter(|(source, _)| source.region == region && source.id > after)
        .map(|(_, issued)| &issued.certificate);
    let page: Vec<_> = rest.by_ref().take(limit).collect();
    let mut answer = json!({ "item": page.iter().map(|certificate| elements(certificate)).collect::<Vec<_>>() });
    if let (Some(last), Some(_)) = (page.last(), rest.next()) {
        answer["position"] = format!("after-{}", last.id).into();
    }
    Ok(answer)
}

/// The description that a patch sets, if it sets one.
fn description_of(body: &[u8]) -> Result<Option<String>, Refusal> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Patch {
        #[serde(default)]
        patch_operations: Vec<PatchOperation>,
    }
    #[derive(Deserialize)]
    struct PatchOperation {
        op: String,
        path: String,
        value: Option<String>,
    }
    let patch: Patch = serde_json::from_slice(body).map_err(|_| bad_request("Unable to parse the request"))?;
    let mut description = None;
    for PatchOperation { op, path, value } in patch.patch_operations {
        if path != "/description" {
            return Err(bad_request(format!("Invalid patch path {path}")));
        }
        if op != "replace" {
            return Err(bad_request(format!("Invalid patch operation {op}: must be one of [replace]")));
        }
        description = Some(value.ok_or_else(|| bad_request("Invalid patch value: none is given"))?);
    }
    Ok(description)
}

/// The six elements on the wire; an empty description is left out.
pub(super) fn elements(certificate: &ClientCertificate) -> Value {
    let mut elements = json!({
        "clientCertificateId": certificate.id,
        "createdDate": certificate.created.map(Timestamp::as_second),
        "expirationDate": certificate.expires.map(Timestamp::as_second),
        "pemEncodedCertificate": certificate.pem,
        "tags": certificate.tags,
    });
    if !certificate.description.is_empty() {
        elements["description"] = certificate.description.as_str().into();
    }
    elements
}

fn not_found() -> Refusal {
    (404, "NotFoundException", "Invalid Client Certificate identifier specified".into())
}

fn bad_request(message: impl Into<String>) -> Refusal {
    (400, "BadRequestException", message.into())
}

fn answer(status: u16, body: &Value) -> Response<Body> {
    respond(status, None, body)
}

fn refuse((status, name, message): Refusal) -> Response<Body> {
    respond(status, Some(name), &json!({ "message": message }))
}

fn respond(status: u16, error_type: Option<&str>, body: &Value) -> Response<Body> {
    let mut response = Response::builder()
        .status(StatusCode::from_u16(status).unwrap())
        .header(header::CONTENT_TYPE, "application/json")
        .header("x-amzn-RequestId", request_id());
    if let Some(name) = error_type {
        response = response.header("x-amzn-ErrorType", name);
    }
    response.body(Body::from(body.to_string())).unwrap()
}
