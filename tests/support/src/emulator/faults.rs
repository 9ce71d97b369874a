//! The faults of API Gateway, ACM and STS, and of the connection to them, and their form in responses.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Response, StatusCode, header};
use serde::{Deserialize, Serialize};

use super::answer::{content_type as usual_type, error_body};
use super::request_id;
use crate::script::{self, Service};

/// A line of the emulator's script.
pub type Fault = script::Fault<FaultKind>;

/// The effect of a fault on a call. In JSON, `"kind"` is the name of the variant in camel case.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum FaultKind {
    /// An answer with this status.
    Error {
        /// The HTTP status.
        status: u16,
        /// `x-amzn-ErrorType`; from ACM, `__type`; from STS, the code.
        #[serde(default)]
        error_type: Option<String>,
        /// The message. Every response of API Gateway adds a new request id.
        #[serde(default)]
        message: String,
        /// The header `Retry-After`, unchanged.
        #[serde(default)]
        retry_after: Option<String>,
        /// A body in place of the usual one.
        #[serde(default)]
        body: Option<String>,
        /// The body's type.
        #[serde(default)]
        content_type: Option<String>,
    },
    /// The usual answer after a delay.
    Stall {
        /// The delay.
        milliseconds: u64,
    },
    /// The connection closes without an answer.
    Drop,
    /// A successful answer with a body of spaces.
    Large {
        /// The length of the body.
        bytes: usize,
        /// Whether the body has chunks instead of a `Content-Length`.
        #[serde(default)]
        chunked: bool,
    },
    /// An update stores the sent text without its last character.
    Shorten,
    /// The usual answer without the PEM of this certificate, alone or in a list.
    WithoutPem {
        /// The id of the certificate.
        certificate: String,
    },
    /// The usual answer without tags.
    WithoutTags,
    /// A page of a list has its own position as the next position.
    RepeatPosition,
    /// Every page of a list has another next position, and the last page is followed by the first certificates again.
    EndlessPages,
    /// A page of a list has no `item`.
    WithoutItems,
    /// Half of the usual answer, as a complete response.
    Cut,
    /// The usual answer, for a script with a later fault.
    Pass,
}

impl Fault {
    /// An error response of API Gateway.
    pub fn error(status: u16, error_type: &str, message: &str) -> Self {
        Self::new(FaultKind::Error {
            status,
            error_type: Some(error_type.into()),
            message: message.into(),
            retry_after: None,
            body: None,
            content_type: None,
        })
    }

    /// A response that is not from API Gateway, such as a proxy's page.
    pub fn page(status: u16, content_type: &str, body: &str) -> Self {
        Self::new(FaultKind::Error {
            status,
            error_type: None,
            message: String::new(),
            retry_after: None,
            body: Some(body.into()),
            content_type: Some(content_type.into()),
        })
    }

    /// The 429 of the account's rate limit.
    pub fn throttled(retry_after: Option<&str>) -> Self {
        Self::error(429, "TooManyRequestsException", "Too Many Requests").retry_after(retry_after)
    }

    /// The 409 of two changes at the same time.
    pub fn concurrent_modification() -> Self {
        Self::error(409, "ConflictException", CONCURRENT)
    }

    /// The former response to two changes at the same time: a 400.
    pub fn concurrent_modification_400() -> Self {
        Self::error(400, "BadRequestException", CONCURRENT)
    }

    /// Sets the header `Retry-After` of an error response.
    pub fn retry_after(mut self, value: Option<&str>) -> Self {
        if let FaultKind::Error { retry_after, .. } = &mut self.kind {
            *retry_after = value.map(Into::into);
        }
        self
    }

    /// The usual answer after a delay.
    pub fn stall(delay: Duration) -> Self {
        Self::new(FaultKind::Stall { milliseconds: delay.as_millis() as u64 })
    }

    /// The connection closes without an answer.
    pub fn drop_connection() -> Self {
        Self::new(FaultKind::Drop)
    }

    /// A response of 10 MiB.
    pub fn large(chunked: bool) -> Self {
        Self::new(FaultKind::Large { bytes: 10 << 20, chunked })
    }

    /// An update stores a shorter text than the sent one.
    pub fn shorten() -> Self {
        Self::new(FaultKind::Shorten)
    }

    /// The usual answer without this certificate's PEM.
    pub fn without_pem(id: impl Into<String>) -> Self {
        Self::new(FaultKind::WithoutPem { certificate: id.into() })
    }

    /// The usual answer without any tags.
    pub fn without_tags() -> Self {
        Self::new(FaultKind::WithoutTags)
    }

    /// A page of a list has its own position as the next position.
    pub fn repeated_position() -> Self {
        Self::new(FaultKind::RepeatPosition)
    }

    /// A list never ends.
    pub fn endless_pages() -> Self {
        Self::new(FaultKind::EndlessPages)
    }

    /// A page of a list lacks the element `item`.
    pub fn without_items() -> Self {
        Self::new(FaultKind::WithoutItems)
    }

    /// Half of the usual answer: truncated JSON or XML.
    pub fn cut() -> Self {
        Self::new(FaultKind::Cut)
    }

    /// The usual answer.
    pub fn pass() -> Self {
        Self::new(FaultKind::Pass)
    }
}

const CONCURRENT: &str = "Unable to complete operation due to concurrent modification. Please try again later.";

/// Marks a response that the server must not send: it closes the connection instead.
#[derive(Clone)]
pub(super) struct DropConnection;

/// The response of a fault that replaces the usual one, if it does.
pub(super) async fn answer(service: Service, fault: Option<&FaultKind>) -> Option<Response<Body>> {
    match fault? {
        FaultKind::Shorten
        | FaultKind::WithoutPem { .. }
        | FaultKind::WithoutTags
        | FaultKind::RepeatPosition
        | FaultKind::EndlessPages
        | FaultKind::WithoutItems
        | FaultKind::Cut
        | FaultKind::Pass => None,
        FaultKind::Stall { milliseconds } => {
            tokio::time::sleep(Duration::from_millis(*milliseconds)).await;
            None
        }
        FaultKind::Drop => {
            let mut response = Response::new(Body::empty());
            response.extensions_mut().insert(DropConnection);
            Some(response)
        }
        FaultKind::Large { bytes, chunked } => Some(Response::new(spaces(*bytes, *chunked))),
        FaultKind::Error { status, error_type, message, retry_after, body, content_type } => {
            let usual = || {
                let message = match service {
                    Service::ApiGateway => format!("{message} (Request ID: {})", request_id()),
                    Service::Acm | Service::Sts => message.clone(),
                };
                error_body(service, *status, error_type.as_deref().unwrap_or_default(), &message)
            };
            let mut response = Response::builder()
                .status(StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
                .header(header::CONTENT_TYPE, content_type.as_deref().unwrap_or(usual_type(service)));
            if let Some(name) = error_type {
                response = response.header("x-amzn-RequestId", request_id());
                if service == Service::ApiGateway {
                    response = response.header("x-amzn-ErrorType", name);
                }
            }
            if let Some(value) = retry_after {
                response = response.header(header::RETRY_AFTER, value);
            }
            response.body(Body::from(body.clone().unwrap_or_else(usual))).ok()
        }
    }
}

/// Cuts a body in half, if the fault is [`FaultKind::Cut`].
pub(super) fn cut(fault: Option<&FaultKind>, mut body: String) -> String {
    if let Some(FaultKind::Cut) = fault {
        let middle = body.floor_char_boundary(body.len() / 2);
        body.truncate(middle);
    }
    body
}

fn spaces(bytes: usize, chunked: bool) -> Body {
    const CHUNK: usize = 64 << 10;
    if !chunked {
        return Body::from(vec![b' '; bytes]);
    }
    let chunks = std::iter::repeat_n(CHUNK, bytes / CHUNK).chain(std::iter::once(bytes % CHUNK));
    let chunks = chunks.map(|size| Ok::<_, std::convert::Infallible>(vec![b' '; size]));
    Body::from_stream(futures::stream::iter(chunks))
}
