//! The operations on client certificates, as strict as API Gateway.

use std::collections::BTreeMap;

use axum::http::Method;
use client_certificate_operator::aws::gateway::ClientCertificate;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::Refusal;
use super::faults::FaultKind;
use super::pages;
use super::state::{Location, State};
use crate::certificates::NewCertificate;
use crate::script::Operation;

pub(super) fn route(method: &Method, path: &str) -> Option<(Operation, Option<String>)> {
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

/// Performs an operation; returns the status and the body.
pub(super) fn perform(
    state: &State,
    operation: Operation,
    location: &Location,
    query: &str,
    body: &[u8],
    fault: Option<&FaultKind>,
) -> Result<(u16, Value), Refusal> {
    let mut answer = match operation {
        Operation::Get => {
            let inner = state.lock();
            let issued = inner.certificates.get(location).ok_or_else(not_found)?;
            (200, elements(&issued.certificate))
        }
        Operation::List => {
            let inner = state.lock();
            let all: Vec<_> = location.siblings(&inner.certificates).collect();
            (200, pages::page(&all, |_, issued| elements(&issued.certificate), query, fault)?)
        }
        Operation::Update => {
            let description = description_of(body)?;
            let mut inner = state.lock();
            let issued = inner.certificates.get_mut(location).ok_or_else(not_found)?;
            if let Some(mut description) = description {
                if matches!(fault, Some(FaultKind::Shorten)) {
                    description.pop();
                }
                issued.certificate.description = description;
            }
            (200, elements(&issued.certificate))
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
            let new = NewCertificate { description, tags, ..NewCertificate::default() };
            let issued = state.generate(&location.account, &location.region, new);
            (201, elements(&issued.certificate))
        }
        Operation::Delete if state.delete(location) => (202, json!({})),
        Operation::Delete => return Err(not_found()),
        _ => return Err(not_found()),
    };
    match fault {
        Some(FaultKind::WithoutPem { certificate }) => take_pem(&mut answer.1, certificate),
        Some(FaultKind::WithoutTags) => take_tags(&mut answer.1),
        _ => {}
    }
    Ok(answer)
}

/// Removes the PEM of this certificate from a response.
fn take_pem(answer: &mut Value, id: &str) {
    if let Some(items) = answer["item"].as_array_mut() {
        items.iter_mut().for_each(|item| take_pem(item, id));
    } else if answer["clientCertificateId"] == id {
        answer.as_object_mut().unwrap().remove("pemEncodedCertificate");
    }
}

/// Removes all tags from a response.
fn take_tags(answer: &mut Value) {
    if let Some(items) = answer["item"].as_array_mut() {
        items.iter_mut().for_each(take_tags);
    } else if let Some(answer) = answer.as_object_mut() {
        answer.remove("tags");
    }
}

/// The description that a patch sets, if it sets one.
fn description_of(body: &[u8]) -> Result<Option<String>, Refusal> {
    replaced(body, "/description")
}

/// The value that a patch sets for this path, if it sets one.
pub(super) fn replaced(body: &[u8], replaceable: &str) -> Result<Option<String>, Refusal> {
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
    let mut replaced = None;
    for PatchOperation { op, path, value } in patch.patch_operations {
        if path != replaceable {
            return Err(bad_request(format!("Invalid patch path {path}")));
        }
        if op != "replace" {
            return Err(bad_request(format!("Invalid patch operation {op}: must be one of [replace]")));
        }
        replaced = Some(value.ok_or_else(|| bad_request("Invalid patch value: none is given"))?);
    }
    Ok(replaced)
}

/// The six response elements. An empty description is omitted.
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

pub(super) fn not_found() -> Refusal {
    Refusal::new(404, "NotFoundException", "Invalid Client Certificate identifier specified")
}

pub(super) fn bad_request(message: impl Into<String>) -> Refusal {
    Refusal::new(400, "BadRequestException", message)
}
