//! Administration over unsigned HTTP below `/_emulator`, for the demo and for a shell.

mod access;
mod stages;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Query, State as FromState};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post, put};
use serde::Deserialize;
use serde_json::{Value, json};

use super::access::HOME_ACCOUNT;
use super::api::elements;
use super::faults::Fault;
use super::state::{Location, State};
use crate::certificates::{Issued, NewCertificate};

/// The region of requests without `?region=`. Requests without `?account=` are for the home account.
pub const DEFAULT_REGION: &str = "us-east-1";

pub(super) fn routes() -> Router<Arc<State>> {
    access::routes()
        .merge(stages::routes())
        .route("/_emulator/certificates", get(list).post(generate))
        .route("/_emulator/certificates/{id}", get(read).delete(delete))
        .route("/_emulator/certificates/{id}/expire", post(expire))
        .route("/_emulator/certificates/{id}/renew", post(renew))
        .route("/_emulator/certificates/{id}/restore", post(restore))
        .route("/_emulator/certificates/{id}/description", put(set_description))
        .route("/_emulator/certificates/{id}/pem", put(set_pem))
        .route("/_emulator/certificates/{id}/tags", put(set_tags))
        .route("/_emulator/latency", put(set_latency))
        .route("/_emulator/faults", get(faults).post(inject).delete(clear_faults))
        .route("/_emulator/calls", get(calls).delete(clear_calls))
}

type S = FromState<Arc<State>>;

#[derive(Deserialize)]
struct Place {
    account: Option<String>,
    region: Option<String>,
}

impl Place {
    fn names(self) -> (String, String) {
        let or = |name: Option<String>, usual: &str| name.unwrap_or_else(|| usual.to_owned());
        (or(self.account, HOME_ACCOUNT), or(self.region, DEFAULT_REGION))
    }

    fn of(self, id: String) -> Location {
        let (account, region) = self.names();
        Location { account, region, id }
    }
}

async fn list(FromState(state): S, Query(place): Query<Place>) -> Json<Value> {
    let (inner, (account, region)) = (state.lock(), place.names());
    let here = inner.certificates.iter().filter(|(at, _)| at.account == account && at.region == region);
    Json(here.map(|(_, issued)| elements(&issued.certificate)).collect())
}

async fn generate(FromState(state): S, Query(place): Query<Place>, body: String) -> Response {
    let (account, region) = place.names();
    match new_certificate(&body) {
        Ok(new) => (StatusCode::CREATED, Json(with_key(&state.generate(&account, &region, new)))).into_response(),
        Err(error) => unreadable(&error),
    }
}

async fn read(FromState(state): S, Path(id): Path<String>, Query(place): Query<Place>) -> Response {
    match state.lock().certificates.get(&place.of(id)) {
        Some(issued) => Json(with_key(issued)).into_response(),
        None => done(false),
    }
}

async fn delete(FromState(state): S, Path(id): Path<String>, Query(place): Query<Place>) -> Response {
    done(state.delete(&place.of(id)))
}

async fn restore(FromState(state): S, Path(id): Path<String>, Query(place): Query<Place>) -> Response {
    done(state.restore(&place.of(id)))
}

async fn expire(FromState(state): S, Path(id): Path<String>, Query(place): Query<Place>) -> Response {
    let new = NewCertificate::new().expires_in_seconds(-60);
    state.replace(&place.of(id), new).map_or_else(|| done(false), |issued| Json(with_key(&issued)).into_response())
}

async fn renew(FromState(state): S, Path(id): Path<String>, Query(place): Query<Place>, body: String) -> Response {
    match new_certificate(&body) {
        Ok(new) => state
            .replace(&place.of(id), new)
            .map_or_else(|| done(false), |issued| Json(with_key(&issued)).into_response()),
        Err(error) => unreadable(&error),
    }
}

async fn set_description(
    FromState(state): S,
    Path(id): Path<String>,
    Query(place): Query<Place>,
    text: String,
) -> Response {
    done(state.change(&place.of(id), |issued| issued.certificate.description = text))
}

async fn set_pem(FromState(state): S, Path(id): Path<String>, Query(place): Query<Place>, text: String) -> Response {
    done(state.change(&place.of(id), |issued| issued.certificate.pem = text))
}

/// Replaces the tags by the map in the body.
async fn set_tags(FromState(state): S, Path(id): Path<String>, Query(place): Query<Place>, body: String) -> Response {
    match serde_json::from_str(&body) {
        Ok(tags) => done(state.change(&place.of(id), |issued| issued.certificate.tags = tags)),
        Err(error) => unreadable(&error),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Latency {
    milliseconds: u64,
}

async fn set_latency(FromState(state): S, body: String) -> Response {
    match serde_json::from_str::<Latency>(&body) {
        Ok(Latency { milliseconds }) => {
            state.lock().latency = Duration::from_millis(milliseconds);
            done(true)
        }
        Err(error) => unreadable(&error),
    }
}

async fn faults(FromState(state): S) -> Json<Value> {
    Json(json!(state.lock().script.remaining()))
}

/// Adds one fault or a list of faults.
async fn inject(FromState(state): S, body: String) -> Response {
    let list = if body.trim_start().starts_with('[') { body } else { format!("[{body}]") };
    match serde_json::from_str::<Vec<Fault>>(&list) {
        Ok(faults) => {
            let mut inner = state.lock();
            faults.into_iter().for_each(|fault| inner.script.push(fault));
            done(true)
        }
        Err(error) => unreadable(&error),
    }
}

async fn clear_faults(FromState(state): S) -> Response {
    state.lock().script.clear();
    done(true)
}

async fn calls(FromState(state): S) -> Json<Value> {
    let inner = state.lock();
    let mut counts = serde_json::Map::new();
    for call in &inner.calls {
        let operation = json!(call.operation).as_str().unwrap_or_default().to_owned();
        let count = counts.get(&operation).and_then(Value::as_u64).unwrap_or(0);
        counts.insert(operation, (count + 1).into());
    }
    Json(json!({ "counts": counts, "peakUnderWay": inner.peaks.most, "calls": inner.calls }))
}

async fn clear_calls(FromState(state): S) -> Response {
    state.clear_calls();
    done(true)
}

fn new_certificate(body: &str) -> serde_json::Result<NewCertificate> {
    if body.trim().is_empty() { Ok(NewCertificate::default()) } else { serde_json::from_str(body) }
}

fn with_key(issued: &Issued) -> Value {
    let mut answer = elements(&issued.certificate);
    answer["privateKey"] = issued.private_key_pem.as_str().into();
    answer
}

fn done(found: bool) -> Response {
    if found { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND }.into_response()
}

fn unreadable(error: &serde_json::Error) -> Response {
    (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response()
}
