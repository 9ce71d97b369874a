//! Administration of roles, permissions and the rate limit.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State as FromState};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post, put};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{S, done, unreadable};
use crate::emulator::limit::RateLimit;
use crate::emulator::roles::{NewRole, is_role};
use crate::emulator::state::State;
use crate::script::Operation;

pub(super) fn routes() -> Router<Arc<State>> {
    Router::new()
        .route("/_emulator/roles", get(roles).post(add_role).delete(remove_role))
        .route("/_emulator/sessions", get(sessions).delete(expire_sessions))
        .route("/_emulator/denied", get(denied))
        .route("/_emulator/deny", post(deny))
        .route("/_emulator/allow", post(allow))
        .route("/_emulator/rate-limit", put(set_rate_limit).delete(clear_rate_limit))
}

async fn roles(FromState(state): S) -> Json<Value> {
    Json(state.lock().access.roles.values().map(|role| json!(role)).collect())
}

async fn add_role(FromState(state): S, body: String) -> Response {
    match serde_json::from_str::<NewRole>(&body) {
        Ok(role) if is_role(&role.arn) => {
            state.lock().access.roles.insert(role.arn.clone(), role);
            done(true)
        }
        Ok(role) => (StatusCode::BAD_REQUEST, format!("not a role's ARN: {}\n", role.arn)).into_response(),
        Err(error) => unreadable(&error),
    }
}

/// The role of a request. It is not in the path, because an ARN contains slashes.
#[derive(Deserialize)]
struct Role {
    role: String,
}

async fn remove_role(FromState(state): S, Query(Role { role }): Query<Role>) -> Response {
    done(state.lock().access.roles.remove(&role).is_some())
}

async fn sessions(FromState(state): S) -> Json<Value> {
    Json(json!(state.lock().access.sessions))
}

async fn expire_sessions(FromState(state): S, Query(Role { role }): Query<Role>) -> Response {
    done(state.lock().access.expire_sessions(&role) > 0)
}

async fn denied(FromState(state): S) -> Json<Value> {
    let inner = state.lock();
    let denied = inner.access.denied.iter();
    let json = |(principal, operation, resource): &_| match resource {
        None => json!({ "principal": principal, "operation": operation }),
        Some(resource) => json!({ "principal": principal, "operation": operation, "resource": resource }),
    };
    Json(denied.map(json).collect())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Denial {
    principal: String,
    operation: Operation,
    /// The ARN of the resource; without it, all resources.
    resource: Option<String>,
}

async fn deny(FromState(state): S, body: String) -> Response {
    match serde_json::from_str::<Denial>(&body) {
        Ok(Denial { principal, operation, resource }) => {
            state.lock().access.denied.insert((principal, operation, resource));
            done(true)
        }
        Err(error) => unreadable(&error),
    }
}

async fn allow(FromState(state): S, body: String) -> Response {
    match serde_json::from_str::<Denial>(&body) {
        Ok(Denial { principal, operation, .. }) => done(state.lock().access.allow(&principal, operation)),
        Err(error) => unreadable(&error),
    }
}

/// The account of a limit; without it, all accounts.
#[derive(Deserialize)]
struct Whose {
    account: Option<String>,
}

impl Whose {
    fn set(self, state: &State, limit: Option<RateLimit>) -> Response {
        let limits = &mut state.lock().limits;
        match self.account {
            Some(account) => limits.set_of(&account, limit),
            None => limits.set(limit),
        }
        done(true)
    }
}

/// Sets a limit. An empty body means AWS's limit.
async fn set_rate_limit(FromState(state): S, Query(whose): Query<Whose>, body: String) -> Response {
    let body = if body.trim().is_empty() { "{}" } else { &body };
    match serde_json::from_str(body) {
        Ok(limit) => whose.set(&state, Some(limit)),
        Err(error) => unreadable(&error),
    }
}

async fn clear_rate_limit(FromState(state): S, Query(whose): Query<Whose>) -> Response {
    whose.set(&state, None)
}
