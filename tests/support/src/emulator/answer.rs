//! The format of responses: JSON from API Gateway and ACM, XML from STS.

use axum::body::Body;
use axum::http::{Response, StatusCode, header};
use serde_json::json;

use super::request_id;
use crate::script::Service;

/// The refusal of a call: the status, AWS's name, and the message.
#[derive(Debug)]
pub(super) struct Refusal {
    pub status: u16,
    pub name: &'static str,
    pub message: String,
}

impl Refusal {
    pub(super) fn new(status: u16, name: &'static str, message: impl Into<String>) -> Self {
        Self { status, name, message: message.into() }
    }
}

pub(super) fn content_type(service: Service) -> &'static str {
    match service {
        Service::ApiGateway => "application/json",
        Service::Acm => "application/x-amz-json-1.1",
        Service::Sts => "text/xml",
    }
}

pub(super) fn answer(service: Service, status: u16, body: String) -> Response<Body> {
    respond(service, status, None, body)
}

pub(super) fn refuse(service: Service, refusal: &Refusal) -> Response<Body> {
    let Refusal { status, name, message } = refusal;
    respond(service, *status, Some(name), error_body(service, *status, name, message))
}

/// The body of an error.
pub(super) fn error_body(service: Service, status: u16, name: &str, message: &str) -> String {
    match service {
        Service::ApiGateway => json!({ "message": message }).to_string(),
        Service::Acm => json!({ "__type": name, "message": message }).to_string(),
        Service::Sts => {
            let blame = if status < 500 { "Sender" } else { "Receiver" };
            let (name, message) = (escape(name), escape(message));
            let error = format!("<Error><Type>{blame}</Type><Code>{name}</Code><Message>{message}</Message></Error>");
            let id = request_id();
            format!("<ErrorResponse xmlns=\"{NAMESPACE}\">{error}<RequestId>{id}</RequestId></ErrorResponse>")
        }
    }
}

const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// The body of a successful response of STS. `result` is XML already.
pub(super) fn result_body(action: &str, result: &str) -> String {
    let metadata = format!("<ResponseMetadata><RequestId>{}</RequestId></ResponseMetadata>", request_id());
    let result = format!("<{action}Result>{result}</{action}Result>");
    format!("<{action}Response xmlns=\"{NAMESPACE}\">{result}{metadata}</{action}Response>")
}

/// Escapes text for XML.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn respond(service: Service, status: u16, error: Option<&str>, body: String) -> Response<Body> {
    let mut response = Response::builder()
        .status(StatusCode::from_u16(status).unwrap())
        .header(header::CONTENT_TYPE, content_type(service))
        .header("x-amzn-RequestId", request_id());
    if let (Service::ApiGateway, Some(name)) = (service, error) {
        response = response.header("x-amzn-ErrorType", name);
    }
    response.body(Body::from(body)).unwrap()
}
