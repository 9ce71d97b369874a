//! The common part of every request to any service: log, limit, faults, signature, permission.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Request, State as FromState};
use axum::http::request::Parts;
use axum::http::{Method, Response};
use jiff::Timestamp;

use super::access::Caller;
use super::answer::{self, Refusal, refuse};
use super::faults::{self, DropConnection, Fault, FaultKind};
use super::log::Call;
use super::roles::{AssumeRole, parse_arn};
use super::sigv4::{self, Signed};
use super::state::{Inner, Location, State};
use super::{acm, api, stages, sts};
use crate::script::{Incoming, Operation, Service};

/// The operation of a request, and its subject.
struct Asked {
    operation: Operation,
    id: Option<String>,
    stage: Option<String>,
    assume_role: Option<AssumeRole>,
}

/// Handles every request that is not below `/_emulator`.
pub(super) async fn handle(FromState(state): FromState<Arc<State>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, 1 << 20).await else {
        let refusal = Refusal::new(413, "RequestEntityTooLargeException", "Request Too Long");
        return refuse(Service::ApiGateway, &refusal);
    };
    let asked = match route(&parts, &body) {
        Ok(asked) => asked,
        Err((service, refusal)) => return refuse(service, &refusal),
    };
    let service = asked.operation.service();
    let (key_id, region) = sigv4::claimed(&parts.headers).unzip();
    let (path, query) = (parts.uri.path(), parts.uri.query().unwrap_or_default());
    let signed = Signed { method: parts.method.as_str(), path, query, headers: &parts.headers, body: &body };

    let (account, caller) = {
        let inner = state.lock();
        let account = key_id.as_deref().and_then(|key_id| inner.access.account_of(&state.keys, key_id));
        (account, inner.access.authenticate(&state.keys, service, &signed, Timestamp::now()))
    };
    let call = state.arrived(Call {
        access_key_id: key_id,
        account: account.clone(),
        region: region.clone(),
        id: asked.id.clone(),
        stage: asked.stage.clone(),
        assume_role: asked.assume_role.clone(),
        ..Call::now(asked.operation)
    });
    let incoming = Incoming {
        operation: asked.operation,
        account: account.as_deref(),
        region: region.as_deref(),
        id: asked.id.as_deref(),
    };
    let (latency, fault) = {
        let mut inner = state.lock();
        // A refusal by the limit does not consume a fault of the script.
        let refused = caller.as_ref().ok().and_then(|caller| throttle(&mut inner, service, &caller.account));
        (inner.latency, refused.or_else(|| inner.script.next_for(incoming)))
    };

    tokio::time::sleep(latency).await;
    let response = match faults::answer(service, fault.as_ref()).await {
        Some(response) => response,
        None => caller
            .and_then(|caller| perform(&state, &caller, asked, region.unwrap_or_default(), &signed, fault.as_ref()))
            .map_or_else(
                |refusal| refuse(service, &refusal),
                |(status, body)| answer::answer(service, status, faults::cut(fault.as_ref(), body)),
            ),
    };
    if response.extensions().get::<DropConnection>().is_none() {
        call.answered(response.status().as_u16());
    }
    response
}

/// The fault of the service's rate limit, if the account has used it up.
fn throttle(inner: &mut Inner, service: Service, account: &str) -> Option<FaultKind> {
    let (limits, fault) = match service {
        Service::ApiGateway => (&mut inner.limits, Fault::throttled(None)),
        Service::Acm => (&mut inner.acm.limits, Fault::error(400, "ThrottlingException", "Rate exceeded")),
        Service::Sts => return None,
    };
    let limit = limits.take(account, Instant::now()).err()?;
    inner.acm.throttled += usize::from(service == Service::Acm);
    Some(fault.retry_after(limit.retry_after.as_deref()).kind)
}

fn perform(
    state: &Arc<State>,
    caller: &Caller,
    asked: Asked,
    region: String,
    signed: &Signed<'_>,
    fault: Option<&FaultKind>,
) -> Result<(u16, String), Refusal> {
    let Asked { operation, id, stage, assume_role } = asked;
    match operation.service() {
        Service::Sts => sts::perform(state, caller, assume_role).map(|body| (200, body)),
        Service::Acm => {
            let asked = acm::Asked { operation, region: &region, arn: id.as_deref(), body: signed.body };
            acm::perform(state, caller, &asked, fault).map(|body| (200, body.to_string()))
        }
        Service::ApiGateway => {
            let partition = parse_arn(&caller.principal).map_or("aws", |parts| parts.partition);
            let (action, path) = (format!("apigateway:{}", signed.method), signed.path);
            let resource = format!("arn:{partition}:apigateway:{region}::{path}");
            state.lock().access.check(caller, operation, &action, &resource)?;
            let location = Location { account: caller.account.clone(), region, id: id.unwrap_or_default() };
            let (query, body) = (signed.query, signed.body);
            let (status, body) = match stages::is_of(operation) {
                true => stages::perform(state, operation, &location, stage.as_deref(), query, body, fault)?,
                false => api::perform(state, operation, &location, query, body, fault)?,
            };
            Ok((status, body.to_string()))
        }
    }
}

fn route(parts: &Parts, body: &[u8]) -> Result<Asked, (Service, Refusal)> {
    if parts.method == Method::POST && parts.uri.path() == "/" {
        let header = |name| parts.headers.get(name).and_then(|value| value.to_str().ok());
        if let Some(target) = header("x-amz-target") {
            let content_type = header("content-type").unwrap_or_default();
            let (operation, id) = acm::route(target, content_type, body).map_err(|refusal| (Service::Acm, refusal))?;
            return Ok(Asked { operation, id, stage: None, assume_role: None });
        }
        let form = sts::Form::parse(body);
        let operation = form.operation().map_err(|refusal| (Service::Sts, refusal))?;
        let assume_role = (operation == Operation::AssumeRole).then(|| form.assume_role());
        return Ok(Asked { operation, id: None, stage: None, assume_role });
    }
    let (method, path) = (&parts.method, parts.uri.path());
    let of_certificates = || api::route(method, path).map(|(operation, id)| (operation, id, None));
    match stages::route(method, path).or_else(of_certificates) {
        Some((operation, id, stage)) => Ok(Asked { operation, id, stage, assume_role: None }),
        None => {
            let refusal = Refusal::new(403, "MissingAuthenticationTokenException", "Missing Authentication Token");
            Err((Service::ApiGateway, refusal))
        }
    }
}
