//! Administration of REST APIs and of the certificates of their stages.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, State as FromState};
use axum::response::{Json, Response};
use axum::routing::{get, put};
use serde::Deserialize;
use serde_json::Value;

use super::{Place, S, done, unreadable};
use crate::emulator::stages::Api;
use crate::emulator::state::State;

pub(super) fn routes() -> Router<Arc<State>> {
    Router::new()
        .route("/_emulator/restapis", get(apis))
        .route("/_emulator/restapis/{id}", put(create).delete(delete))
        .route("/_emulator/restapis/{id}/stages/{stage}", put(present).delete(delete_stage))
}

async fn apis(FromState(state): S, Query(place): Query<Place>) -> Json<Value> {
    let (inner, place) = (state.lock(), place.of(String::new()));
    Json(place.siblings(&inner.apis).map(|(id, api)| api.with_stages(id)).collect())
}

/// Creates an API. An existing API stays unchanged.
async fn create(FromState(state): S, Path(id): Path<String>, Query(place): Query<Place>) -> Response {
    state.lock().apis.entry(place.of(id)).or_insert_with(|| Api::new("made by hand"));
    done(true)
}

async fn delete(FromState(state): S, Path(id): Path<String>, Query(place): Query<Place>) -> Response {
    done(state.lock().apis.remove(&place.of(id)).is_some())
}

/// The certificate that a stage presents: an id or an ARN, or none.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Presented {
    client_certificate_id: Option<String>,
}

/// Sets the certificate of a stage. Creates the API and the stage if they do not exist. An empty body means no
/// certificate.
async fn present(
    FromState(state): S,
    Path((id, stage)): Path<(String, String)>,
    Query(place): Query<Place>,
    body: String,
) -> Response {
    let body = if body.trim().is_empty() { "{}" } else { &body };
    match serde_json::from_str::<Presented>(body) {
        Ok(Presented { client_certificate_id }) => {
            state.present(place.of(id), &stage, client_certificate_id.as_deref());
            done(true)
        }
        Err(error) => unreadable(&error),
    }
}

async fn delete_stage(
    FromState(state): S,
    Path((id, stage)): Path<(String, String)>,
    Query(place): Query<Place>,
) -> Response {
    done(state.lock().apis.get_mut(&place.of(id)).is_some_and(|api| api.delete_stage(&stage)))
}
