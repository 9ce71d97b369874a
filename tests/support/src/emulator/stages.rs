//! REST APIs and their stages with the certificates that they present.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use axum::http::Method;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::access::HOME_ACCOUNT;
use super::account::Account;
use super::answer::Refusal;
use super::api::{bad_request, not_found as no_certificate, replaced};
use super::faults::FaultKind;
use super::state::{Inner, Location, State};
use super::{Emulator, apis, pages};
use crate::script::Operation;

/// A REST API.
pub(super) struct Api {
    pub(super) name: String,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) created: Timestamp,
    /// Whether the API has a method. An API without a method cannot be deployed.
    pub(super) has_methods: bool,
    pub(super) deployments: BTreeSet<String>,
    stages: BTreeMap<String, Stage>,
}

/// A stage of a REST API.
struct Stage {
    certificate: Option<String>,
    /// The former certificates, each with the time of its end.
    formers: Vec<(Option<String>, Instant)>,
    created: Timestamp,
    updated: Timestamp,
}

impl Api {
    pub(super) fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            tags: BTreeMap::new(),
            created: Timestamp::now(),
            has_methods: false,
            deployments: BTreeSet::new(),
            stages: BTreeMap::new(),
        }
    }

    pub(super) fn has_stage(&self, stage: &str) -> bool {
        self.stages.contains_key(stage)
    }

    /// The response elements of a stage.
    pub(super) fn stage_elements(&self, name: &str) -> Option<Value> {
        self.stages.get(name).map(|stage| stage_elements(name, stage))
    }

    /// Makes a stage present any certificate, or none. Creates the stage if it does not exist.
    pub(super) fn present(&mut self, stage: &str, certificate: Option<&str>) {
        let now = Timestamp::now();
        let certificate = certificate.map(str::to_owned);
        match self.stages.get_mut(stage) {
            Some(stage) => {
                stage.updated = now;
                if stage.certificate != certificate {
                    let former = std::mem::replace(&mut stage.certificate, certificate);
                    stage.formers.push((former, Instant::now()));
                }
            }
            None => {
                let new = Stage { certificate, formers: Vec::new(), created: now, updated: now };
                self.stages.insert(stage.to_owned(), new);
            }
        }
    }

    /// The stages that present a certificate.
    pub(super) fn presenting<'a>(&'a self, certificate: &'a str) -> impl Iterator<Item = &'a str> {
        let presents = move |stage: &Stage| stage.certificate.as_deref() == Some(certificate);
        self.stages.iter().filter(move |(_, stage)| presents(stage)).map(|(name, _)| name.as_str())
    }

    pub(super) fn delete_stage(&mut self, stage: &str) -> bool {
        self.stages.remove(stage).is_some()
    }

    /// The API with its stages, for administration.
    pub(super) fn with_stages(&self, id: &str) -> Value {
        let mut answer = api_elements(id, self);
        answer["stages"] = self.stages.iter().map(|(name, stage)| stage_elements(name, stage)).collect();
        answer
    }
}

impl Emulator {
    /// Makes a REST API without stages in a region of the home account.
    pub fn create_api(&self, region: &str, rest_api_id: &str) {
        self.account(HOME_ACCOUNT).create_api(region, rest_api_id);
    }

    /// Makes a stage in the home account present this certificate, an id or an ARN, or none. Creates the API and the
    /// stage if they do not exist. Does not check whether the certificate exists.
    pub fn present(&self, region: &str, rest_api_id: &str, stage: &str, certificate: Option<&str>) {
        self.account(HOME_ACCOUNT).present(region, rest_api_id, stage, certificate);
    }

    /// The certificate that a stage in the home account presents: an id or an ARN. `None` if it presents none or does
    /// not exist.
    pub fn presented(&self, region: &str, rest_api_id: &str, stage: &str) -> Option<String> {
        self.account(HOME_ACCOUNT).presented(region, rest_api_id, stage)
    }

    /// The ids of the home account's REST APIs in a region.
    pub fn apis(&self, region: &str) -> Vec<String> {
        let at = self.account(HOME_ACCOUNT).at(region, "");
        at.siblings(&self.state.lock().apis).map(|(id, _)| id.to_owned()).collect()
    }

    /// The ids of the home account's certificates in a region.
    pub fn certificates(&self, region: &str) -> Vec<String> {
        let at = self.account(HOME_ACCOUNT).at(region, "");
        at.siblings(&self.state.lock().certificates).map(|(id, _)| id.to_owned()).collect()
    }

    /// Deletes a stage of the home account; returns whether it existed.
    pub fn delete_stage(&self, region: &str, rest_api_id: &str, stage: &str) -> bool {
        self.account(HOME_ACCOUNT).delete_stage(region, rest_api_id, stage)
    }

    /// Deletes a REST API of the home account with its stages; returns whether it existed.
    pub fn delete_api(&self, region: &str, rest_api_id: &str) -> bool {
        self.account(HOME_ACCOUNT).delete_api(region, rest_api_id)
    }
}

impl Account<'_> {
    /// Makes a REST API without stages in a region.
    pub fn create_api(&self, region: &str, rest_api_id: &str) {
        self.state.lock().apis.insert(self.at(region, rest_api_id), Api::new("made by hand"));
    }

    /// Makes a stage present this certificate, an id or an ARN, or none. Creates the API and the stage if they do not
    /// exist. Does not check whether the certificate exists.
    pub fn present(&self, region: &str, rest_api_id: &str, stage: &str, certificate: Option<&str>) {
        self.state.present(self.at(region, rest_api_id), stage, certificate);
    }

    /// The certificate that a stage presents: an id or an ARN. `None` if it presents none or does not exist.
    pub fn presented(&self, region: &str, rest_api_id: &str, stage: &str) -> Option<String> {
        self.state.lock().apis.get(&self.at(region, rest_api_id))?.stages.get(stage)?.certificate.clone()
    }

    /// Deletes a stage; returns whether it existed.
    pub fn delete_stage(&self, region: &str, rest_api_id: &str, stage: &str) -> bool {
        let mut inner = self.state.lock();
        inner.apis.get_mut(&self.at(region, rest_api_id)).is_some_and(|api| api.delete_stage(stage))
    }

    /// Deletes a REST API with its stages; returns whether it existed.
    pub fn delete_api(&self, region: &str, rest_api_id: &str) -> bool {
        self.state.lock().apis.remove(&self.at(region, rest_api_id)).is_some()
    }
}

impl State {
    /// Makes a stage present a certificate, or none. Creates the API and the stage if they do not exist.
    pub(super) fn present(&self, api: Location, stage: &str, certificate: Option<&str>) {
        self.lock().apis.entry(api).or_insert_with(|| Api::new("made by hand")).present(stage, certificate);
    }

    /// The certificate of a stage first, then those that it presented within this time, each once. `None` if the stage
    /// does not exist.
    pub(super) fn presented_within(
        &self,
        api: &Location,
        stage: &str,
        propagation: Duration,
    ) -> Option<Vec<Option<String>>> {
        let inner = self.lock();
        let stage = inner.apis.get(api)?.stages.get(stage)?;
        let mut presented = vec![stage.certificate.clone()];
        for (former, _) in stage.formers.iter().rev().take_while(|(_, until)| until.elapsed() < propagation) {
            if !presented.contains(former) {
                presented.push(former.clone());
            }
        }
        Some(presented)
    }
}

/// Whether an operation is one of this module.
pub(super) fn is_of(operation: Operation) -> bool {
    use Operation::{
        CreateDeployment, CreateRestApi, CreateStage, DeleteRestApi, DeleteStage, GetRestApis, GetStage, GetStages,
        PutRestApi, UpdateStage,
    };
    matches!(operation, GetRestApis | GetStages | GetStage | UpdateStage)
        || matches!(
            operation,
            CreateRestApi | PutRestApi | CreateDeployment | CreateStage | DeleteStage | DeleteRestApi
        )
}

/// The operation, the API and the stage of a request.
pub(super) fn route(method: &Method, path: &str) -> Option<(Operation, Option<String>, Option<String>)> {
    let segments: Vec<_> = path.strip_prefix("/restapis")?.split('/').collect();
    let named = |name: &str| Some(name.to_owned()).filter(|name| !name.is_empty());
    Some(match (method.as_str(), segments.as_slice()) {
        ("GET", [""]) => (Operation::GetRestApis, None, None),
        ("POST", [""]) => (Operation::CreateRestApi, None, None),
        ("PUT", ["", api]) => (Operation::PutRestApi, Some(named(api)?), None),
        ("DELETE", ["", api]) => (Operation::DeleteRestApi, Some(named(api)?), None),
        ("POST", ["", api, "deployments"]) => (Operation::CreateDeployment, Some(named(api)?), None),
        ("GET", ["", api, "stages"]) => (Operation::GetStages, Some(named(api)?), None),
        ("POST", ["", api, "stages"]) => (Operation::CreateStage, Some(named(api)?), None),
        ("GET", ["", api, "stages", stage]) => (Operation::GetStage, Some(named(api)?), Some(named(stage)?)),
        ("PATCH", ["", api, "stages", stage]) => (Operation::UpdateStage, Some(named(api)?), Some(named(stage)?)),
        ("DELETE", ["", api, "stages", stage]) => (Operation::DeleteStage, Some(named(api)?), Some(named(stage)?)),
        _ => return None,
    })
}

/// Performs an operation; returns the status and the body.
pub(super) fn perform(
    state: &State,
    operation: Operation,
    location: &Location,
    stage: Option<&str>,
    query: &str,
    body: &[u8],
    fault: Option<&FaultKind>,
) -> Result<(u16, Value), Refusal> {
    let mut inner = state.lock();
    if operation == Operation::GetRestApis {
        let all: Vec<_> = location.siblings(&inner.apis).collect();
        return Ok((200, pages::page(&all, api_elements, query, fault)?));
    }
    let name = stage.unwrap_or_default();
    if let Some(made) = apis::perform(&mut inner, operation, location, name, body) {
        return made;
    }
    if operation == Operation::UpdateStage {
        let certificate = certificate_of(&inner, location, body)?;
        let api = inner.apis.get_mut(location).ok_or_else(|| no_api(location))?;
        if !api.has_stage(name) {
            return Err(no_stage());
        }
        if let Some(certificate) = certificate {
            api.present(name, Some(certificate.as_str()).filter(|certificate| !certificate.is_empty()));
        }
    }
    let api = inner.apis.get(location).ok_or_else(|| no_api(location))?;
    if operation == Operation::GetStages {
        let stages = api.stages.iter().map(|(name, stage)| stage_elements(name, stage));
        let has_items = !matches!(fault, Some(FaultKind::WithoutItems));
        return Ok((200, if has_items { json!({ "item": stages.collect::<Vec<_>>() }) } else { json!({}) }));
    }
    api.stage_elements(name).map(|stage| (200, stage)).ok_or_else(no_stage)
}

/// The certificate that a patch sets, if it sets one: `""` for none, an id of the account and region, or the ARN of a
/// certificate that ACM has issued there. AWS does not document the response to an unknown id.
fn certificate_of(inner: &Inner, api: &Location, body: &[u8]) -> Result<Option<String>, Refusal> {
    let Some(certificate) = replaced(body, "/clientCertificateId")? else { return Ok(None) };
    let there = Location { id: certificate.clone(), ..api.clone() };
    if certificate.starts_with("arn:") {
        return match inner.acm.is_presentable(&certificate, api) {
            true => Ok(Some(certificate)),
            false => Err(bad_request("Invalid certificate ARN specified")),
        };
    }
    if certificate.is_empty() || inner.certificates.contains_key(&there) {
        return Ok(Some(certificate));
    }
    Err(no_certificate())
}

pub(super) fn api_elements(id: &str, api: &Api) -> Value {
    json!({ "id": id, "name": api.name, "createdDate": api.created.as_second(), "tags": api.tags })
}

/// The response elements of a stage. A missing certificate is omitted.
fn stage_elements(name: &str, stage: &Stage) -> Value {
    let mut elements = json!({
        "stageName": name,
        "deploymentId": "d1e2f3",
        "cacheClusterEnabled": false,
        "cacheClusterStatus": "NOT_AVAILABLE",
        "methodSettings": {},
        "tracingEnabled": false,
        "createdDate": stage.created.as_second(),
        "lastUpdatedDate": stage.updated.as_second(),
    });
    if let Some(certificate) = &stage.certificate {
        elements["clientCertificateId"] = certificate.as_str().into();
    }
    elements
}

pub(super) fn no_api(at: &Location) -> Refusal {
    let message = format!("Invalid API identifier specified {}:{}", at.account, at.id);
    Refusal::new(404, "NotFoundException", message)
}

pub(super) fn no_stage() -> Refusal {
    Refusal::new(404, "NotFoundException", "Invalid stage identifier specified")
}
