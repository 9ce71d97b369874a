//! Rules: the requests of a fault, and its number of times.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::request::ApiRequest;

/// The effect of a fault on a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The answer is a Kubernetes `Status`. kube-apiserver does not receive the request.
    Status {
        /// The HTTP status.
        code: u16,
        /// The `reason`, by which clients decide.
        reason: &'static str,
        /// The time in the header `Retry-After` and in the body.
        retry_after: Option<Duration>,
    },
    /// The connection is cut. kube-apiserver does not receive the request.
    CutBefore,
    /// kube-apiserver performs the request, and the connection is cut before the response. Not for a watch, whose
    /// response does not end.
    CutAfter,
    /// The request is forwarded after a delay.
    Delay(Duration),
    /// The request is dropped and never answered, and the connection stays open: no FIN, no RST.
    Silence,
    /// kube-apiserver performs the request, no response follows, and the connection stays open. Not for a watch, whose
    /// response does not end.
    Hang,
    /// Only the head of the response arrives, like in a watch that has begun before the network failed.
    HeadOnly,
    /// A watch begins, and its only event is the error 410 `Expired`: kube-apiserver no longer has the version, as after a
    /// long outage.
    Outdated,
}

impl Fault {
    /// 409 `Conflict`: another writer changed the object.
    pub fn conflict() -> Self {
        Self::status(409, "Conflict")
    }

    /// 409 `AlreadyExists`: another writer created the object first.
    pub fn already_exists() -> Self {
        Self::status(409, "AlreadyExists")
    }

    /// 403 `Forbidden`: a permission is missing.
    pub fn forbidden() -> Self {
        Self::status(403, "Forbidden")
    }

    /// 422 `Invalid`: validation or a CEL rule refuses the object.
    pub fn invalid() -> Self {
        Self::status(422, "Invalid")
    }

    /// 429 `TooManyRequests`, with `Retry-After` in whole seconds.
    pub fn too_many_requests(retry_after: Duration) -> Self {
        Self::Status { code: 429, reason: "TooManyRequests", retry_after: Some(retry_after) }
    }

    /// 500 `InternalError`: for example, an admission webhook fails or etcd loses its leader.
    pub fn internal_error() -> Self {
        Self::status(500, "InternalError")
    }

    /// 503 `ServiceUnavailable`. kube's client retries up to 15 times after 429, 503 and 504, so its caller sees only a
    /// lasting fault.
    pub fn unavailable() -> Self {
        Self::status(503, "ServiceUnavailable")
    }

    /// Any other `Status`.
    pub fn status(code: u16, reason: &'static str) -> Self {
        Self::Status { code, reason, retry_after: None }
    }
}

/// A fault, its requests (by default all), and its number of times (by default once).
#[derive(Debug)]
pub struct Rule {
    fault: Fault,
    method: Option<String>,
    verb: Option<String>,
    resource: Option<String>,
    subresource: Option<String>,
    path: Option<String>,
    writes: bool,
    skip: usize,
    times: usize,
    hits: Arc<AtomicUsize>,
}

impl Rule {
    /// A rule for the next request.
    pub fn new(fault: Fault) -> Self {
        Self {
            fault,
            method: None,
            verb: None,
            resource: None,
            subresource: None,
            path: None,
            writes: false,
            skip: 0,
            times: 1,
            hits: Arc::default(),
        }
    }

    /// Selects requests with this HTTP method, for example `PATCH`.
    pub fn method(mut self, method: &str) -> Self {
        self.method = Some(method.to_owned());
        self
    }

    /// Selects requests with this Kubernetes verb, for example `update`.
    pub fn verb(mut self, verb: &str) -> Self {
        self.verb = Some(verb.to_owned());
        self
    }

    /// Selects requests for this resource, for example `secrets`, or `things/status` for a subresource. `things` does
    /// not select `things/status`.
    pub fn resource(mut self, resource: &str) -> Self {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        self.resource = Some(resource.to_owned());
        self.subresource = Some(subresource.to_owned());
        self
    }

    /// Selects requests whose path or query contains this text.
    pub fn path_contains(mut self, part: &str) -> Self {
        self.path = Some(part.to_owned());
        self
    }

    /// Selects writes, with any verb.
    pub fn writes(mut self) -> Self {
        self.writes = true;
        self
    }

    /// Lets the first `count` matching requests pass.
    pub fn skip(mut self, count: usize) -> Self {
        self.skip = count;
        self
    }

    /// Applies to the next `count` matching requests.
    pub fn times(mut self, count: usize) -> Self {
        self.times = count;
        self
    }

    /// Applies until the rules are cleared.
    pub fn always(self) -> Self {
        self.times(usize::MAX)
    }

    pub(super) fn handle(&self) -> Injected {
        Injected { hits: Arc::clone(&self.hits) }
    }

    /// The fault, if the rule applies to this request.
    pub(super) fn apply(&mut self, request: &ApiRequest) -> Option<Fault> {
        let same =
            |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(is));
        let matches = same(&self.method, &request.method)
            && same(&self.verb, request.verb)
            && same(&self.resource, &request.resource)
            && same(&self.subresource, &request.subresource)
            && !(self.writes && matches!(request.verb, "get" | "list" | "watch"))
            && self.path.as_ref().is_none_or(|part| request.path.contains(part));
        if !matches || self.times == 0 {
            return None;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        self.times -= 1;
        self.hits.fetch_add(1, Ordering::Relaxed);
        Some(self.fault.clone())
    }
}

/// Counts the uses of a rule, so that a test can check that its fault happened.
#[derive(Debug, Clone)]
pub struct Injected {
    hits: Arc<AtomicUsize>,
}

impl Injected {
    /// The number of uses so far.
    pub fn hits(&self) -> usize {
        self.hits.load(Ordering::Relaxed)
    }
}
