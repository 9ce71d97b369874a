//! A client without an SDK, for correctly signed requests with any content.

use anyhow::Result;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;

use super::Emulator;
use super::sigv4::{self, AccessKey, Signed};
use crate::http::{self, Answer};
use crate::script::Service;

const FORM: &str = "application/x-www-form-urlencoded";

impl Emulator {
    /// Sends a correctly signed request to API Gateway.
    pub async fn signed(&self, region: &str, method: &str, target: &str, body: &str) -> Result<Answer> {
        self.signed_by(self.access_key(), region, method, target, body).await
    }

    /// Sends a request to API Gateway, signed with this key.
    pub async fn signed_by(
        &self,
        key: &AccessKey,
        region: &str,
        method: &str,
        target: &str,
        body: &str,
    ) -> Result<Answer> {
        let headers = self.sign(key, Timestamp::now(), region, method, target, body)?;
        http::send(self.address(), method, target, &headers, body).await
    }

    /// Sends a form to STS, signed with this key. The function adds the version.
    pub async fn sts(&self, key: &AccessKey, region: &str, fields: &[(&str, &str)]) -> Result<Answer> {
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("Version", "2011-06-15")
            .extend_pairs(fields)
            .finish();
        let request = Request { method: "POST", target: "/", content_type: Some(FORM), operation: None, body: &form };
        let headers = self.headers(key, Timestamp::now(), Service::Sts, region, &request)?;
        http::send(self.address(), "POST", "/", &headers, &form).await
    }

    /// Sends a request to ACM, signed with this key, with this operation and body.
    pub async fn acm(&self, key: &AccessKey, region: &str, operation: &str, body: &str) -> Result<Answer> {
        let operation = format!("CertificateManager.{operation}");
        let request = Request {
            method: "POST",
            target: "/",
            content_type: Some("application/x-amz-json-1.1"),
            operation: Some(&operation),
            body,
        };
        let headers = self.headers(key, Timestamp::now(), Service::Acm, region, &request)?;
        http::send(self.address(), "POST", "/", &headers, body).await
    }

    /// The headers of a request to API Gateway, for tests that change them.
    pub fn sign(
        &self,
        key: &AccessKey,
        at: Timestamp,
        region: &str,
        method: &str,
        target: &str,
        body: &str,
    ) -> Result<Vec<(String, String)>> {
        let request = Request { method, target, content_type: None, operation: None, body };
        self.headers(key, at, Service::ApiGateway, region, &request)
    }

    fn headers(
        &self,
        key: &AccessKey,
        at: Timestamp,
        service: Service,
        region: &str,
        request: &Request<'_>,
    ) -> Result<Vec<(String, String)>> {
        let date = sigv4::format_date(at);
        let mut headers = vec![("host", self.address().to_string()), ("x-amz-date", date.clone())];
        headers.extend(key.session_token.clone().map(|token| ("x-amz-security-token", token)));
        headers.extend(request.content_type.map(|kind| ("content-type", kind.to_owned())));
        headers.extend(request.operation.map(|operation| ("x-amz-target", operation.to_owned())));
        let mut map = HeaderMap::new();
        for (name, value) in &headers {
            map.insert(HeaderName::from_static(name), HeaderValue::from_str(value)?);
        }
        let (path, query) = request.target.split_once('?').unwrap_or((request.target, ""));
        let signed = Signed { method: request.method, path, query, headers: &map, body: request.body.as_bytes() };
        headers.push(("authorization", sigv4::authorization(&signed, service, &date, region, key)));
        Ok(headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }
}

struct Request<'a> {
    method: &'a str,
    target: &'a str,
    content_type: Option<&'a str>,
    operation: Option<&'a str>,
    body: &'a str,
}
