//! What can go wrong on the way to API Gateway, ACM and STS and in them, and how it looks on the wire.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Response, StatusCode, header};
use serde::{Deserialize, Serialize};

use super::answer::{content_type as usual_type, error_body};
use super::request_id;
use crate::script::{self, Service};

/// A line of the emulator's script.
pub type Fault = script::Fault<FaultKind>;

/// What happens to a call. In JSON, `"kind"` names the variant in camel case.
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
        /// The message, to which every answer of API Gateway adds a fresh request id.
        #[serde(default)]
        message: String,
        /// The header `Retry-After`, as it stands.
        #[serde(default)]
        retry_after: Option<String>,
        /// A body in the place of the usual one.
        #[serde(default)]
        body: Option<String>,
        /// The body's type.
        #[serde(default)]
        content_type: Option<String>,
    },
    /// The usual answer, so late.
    Stall {
        /// How late.
        milliseconds: u64,
    },
    /// The connection closes without an answer.
    Drop,
    /// A successful answer with a body of spaces.
    Large {
        /// How many.
        bytes: usize,
        /// Whether the length comes first (`Content-Length`) or stays unknown (chunks).
        #[serde(default)]
        chunked: bool,
    },
    /// An update stores a shorter text than it was sent: without its last character.
    Shorten,
    /// The usual answer, but this certificate comes without its PEM, alone or in a list.
    WithoutPem {
        /// Its id.
        certificate: String,
    },
    /// The usual answer, but no certificate in it carries any tag.
    WithoutTags,
    /// A page of a list tells as the next position the one that it was asked for.
    RepeatPosition,
    /// Every page of a list tells another next position, and after the last the first certificates come again.
    EndlessPages,
    /// A page of a list has no `item`.
    WithoutItems,
    /// Half of the usual answer, as if that were all.
    Cut,
    /// The usual answer: for a script in which trouble comes later.
    Pass,
}

impl Fault {
    /// An error answer as API Gateway gives it.
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

    /// An answer that API Gateway did not write, such as a proxy's page.
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

    /// 429 as the account's rate limit gives it.
    pub fn throttled(retry_after: Option<&str>) -> Self {
        Self::error(429, "TooManyRequestsException", "Too Many Requests").retry_after(retry_after)
    }

    /// 409, as when two change an API at the same time.
    pub fn concurrent_modification() -> Self {
        Self::error(409, "ConflictException", CONCURRENT)
    }

    /// The same as it used to be answered.
    pub fn concurrent_modification_400() -> Self {
        Self::error(400, "BadRequestException", CONCURRENT)
    }

    /// With this header `Retry-After`, on error answers.
    pub fn retry_after(mut self, value: Option<&str>) -> Self {
        if let FaultKind::Error { retry_after, .. } = &mut self.kind {
            *retry_after = value.map(Into::into);
        }
        self
    }

    /// The usual answer, so late.
    pub fn stall(delay: Duration) -> Self {
        Self::new(FaultKind::Stall { milliseconds: delay.as_millis() as u64 })
    }

    /// The connection closes without an answer.
    pub fn drop_connection() -> Self {
        Self::new(FaultKind::Drop)
    }

    /// A 10 MiB answer.
    pub fn large(chunked: bool) -> Self {
        Self::new(FaultKind::Large { bytes: 10 << 20, chunked })
    }

    /// An update stores a shorter text than it was sent.
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

    /// A page of a list tells as the next position the one that it was asked for.
    pub fn repeated_position() -> Self {
        Self::new(FaultKind::RepeatPosition)
    }

    /// A list never ends.
    pub fn endless_pages() -> Self {
        Self::new(FaultKind::EndlessPages)
    }

    /// A page of a list has no items, not even none.
    pub fn without_items() -> Self {
        Self::new(FaultKind::WithoutItems)
    }

    /// Half of the usual answer: JSON, or XML, that ends in the middle.
    pub fn cut() -> Self {
        Self::new(FaultKind::Cut)
    }

    /// The usual answer.
    pub fn pass() -> Self {
        Self::new(FaultKind::Pass)
    }
}

const CONCURRENT: &str = "Unable to complete operation due to concurrent modification. Please try again later.";

/// Marks an answer that must not be sent: the server closes the connection in its place.
#[derive(Clone)]
pub(super) struct DropConnection;

/// The answer that a fault puts in the place of the usual one, if it does.
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

/// Half of a body, where the fault wants that.
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
