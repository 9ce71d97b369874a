//! The operations that create and delete REST APIs and their stages, as far as a stage needs them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::answer::Refusal;
use super::api::bad_request;
use super::stages::{Api, api_elements, no_api, no_stage};
use super::state::{Inner, Location};
use crate::script::Operation;

#[derive(Deserialize)]
struct NewApi {
    name: Option<String>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewStage {
    stage_name: String,
    deployment_id: String,
}

/// Performs an operation, if it is one of this module.
pub(super) fn perform(
    inner: &mut Inner,
    operation: Operation,
    at: &Location,
    stage: &str,
    body: &[u8],
) -> Option<Result<(u16, Value), Refusal>> {
    Some(match operation {
        Operation::CreateRestApi => create(inner, at, body),
        Operation::PutRestApi => api(inner, at).and_then(|api| put(api, &at.id, body)),
        Operation::CreateDeployment => api(inner, at).and_then(deploy),
        Operation::CreateStage => api(inner, at).and_then(|api| create_stage(api, body)),
        Operation::DeleteStage => api(inner, at).and_then(|api| accepted(api.delete_stage(stage)).ok_or_else(no_stage)),
        Operation::DeleteRestApi => accepted(inner.apis.remove(at).is_some()).ok_or_else(|| no_api(at)),
        _ => return None,
    })
}

fn accepted(deleted: bool) -> Option<(u16, Value)> {
    deleted.then(|| (202, json!({})))
}

fn api<'a>(inner: &'a mut Inner, at: &Location) -> Result<&'a mut Api, Refusal> {
    inner.apis.get_mut(at).ok_or_else(|| no_api(at))
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|_| bad_request("Unable to parse the request"))
}

fn create(inner: &mut Inner, at: &Location, body: &[u8]) -> Result<(u16, Value), Refusal> {
    let NewApi { name, tags } = parse(body)?;
    let name = name.filter(|name| !name.is_empty()).ok_or_else(|| bad_request("API name cannot be empty"))?;
    let id = random_id(10);
    let mut api = Api::new(name);
    api.tags = tags;
    let answer = api_elements(&id, &api);
    inner.apis.insert(Location { id, ..at.clone() }, api);
    Ok((201, answer))
}

/// Imports an OpenAPI document: only its paths count, and each method must have an integration.
fn put(api: &mut Api, id: &str, body: &[u8]) -> Result<(u16, Value), Refusal> {
    let document: Value = parse(body)?;
    let paths = document["paths"].as_object().into_iter().flat_map(|paths| paths.values());
    let methods: Vec<_> = paths.filter_map(Value::as_object).flat_map(|path| path.values()).collect();
    if methods.iter().any(|method| !method["x-amazon-apigateway-integration"].is_object()) {
        return Err(bad_request("No integration defined for method"));
    }
    api.has_methods = !methods.is_empty();
    Ok((200, api_elements(id, api)))
}

fn deploy(api: &mut Api) -> Result<(u16, Value), Refusal> {
    if !api.has_methods {
        return Err(bad_request("The REST API doesn't contain any methods"));
    }
    let id = random_id(6);
    api.deployments.insert(id.clone());
    Ok((201, json!({ "id": id, "createdDate": api.created.as_second() })))
}

fn create_stage(api: &mut Api, body: &[u8]) -> Result<(u16, Value), Refusal> {
    let NewStage { stage_name, deployment_id } = parse(body)?;
    if !api.deployments.contains(&deployment_id) {
        return Err(Refusal::new(404, "NotFoundException", "Invalid Deployment identifier specified"));
    }
    if api.has_stage(&stage_name) {
        return Err(Refusal::new(409, "ConflictException", "Stage already exists"));
    }
    api.present(&stage_name, None);
    api.stage_elements(&stage_name).map(|stage| (201, stage)).ok_or_else(no_stage)
}

fn random_id(length: usize) -> String {
    std::iter::repeat_with(|| fastrand::alphanumeric().to_ascii_lowercase()).take(length).collect()
}
