//! Rules: which requests a fault befalls, and how often.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::request::ApiRequest;

/// What happens to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The answer is a Kubernetes `Status`; kube-apiserver never sees the request.
    Status {
        /// The HTTP status.
        code: u16,
        /// The `reason` that clients look at.
        reason: &'static str,
        /// Told in the header and in the body.
        retry_after: Option<Duration>,
    },
    /// The connection is cut; kube-apiserver never sees the request.
    CutBefore,
    /// kube-apiserver does what was asked, and the connection is cut before the client learns it. Not for a watch, whose answer has no end.
    CutAfter,
    /// The request is forwarded, but later.
    Delay(Duration),
    /// The request is swallowed and never answered, and the connection is kept: no FIN, no RST.
    Silence,
    /// kube-apiserver does what was asked, and nothing comes of it: the connection is kept. Not for a watch, whose answer has no end.
    Hang,
    /// The head of the answer comes, and then nothing: a watch that has begun and whose network has gone.
    HeadOnly,
}

impl Fault {
    /// 409 `Conflict`: somebody wrote in between.
    pub fn conflict() -> Self {
        Self::status(409, "Conflict")
    }

    /// 409 `AlreadyExists`: somebody created it first.
    pub fn already_exists() -> Self {
        Self::status(409, "AlreadyExists")
    }

    /// 403 `Forbidden`: a right is missing.
    pub fn forbidden() -> Self {
        Self::status(403, "Forbidden")
    }

    /// 422 `Invalid`: validation or a CEL rule refuses.
    pub fn invalid() -> Self {
        Self::status(422, "Invalid")
    }

    /// 429 `TooManyRequests`, with `Retry-After` in whole seconds.
    pub fn too_many_requests(retry_after: Duration) -> Self {
        Self::Status { code: 429, reason: "TooManyRequests", retry_after: Some(retry_after) }
    }

    /// 500 `InternalError`: an admission webhook that fails, etcd that loses its leader.
    pub fn internal_error() -> Self {
        Self::status(500, "InternalError")
    }

    /// 503 `ServiceUnavailable`. kube's client tries again, up to 15 times, after 429, 503 and 504: its caller sees only what lasts.
    pub fn unavailable() -> Self {
        Self::status(503, "ServiceUnavailable")
    }

    /// Any other `Status`.
    pub fn status(code: u16, reason: &'static str) -> Self {
        Self::Status { code, reason, retry_after: None }
    }
}

/// A fault, the requests it is for (all, until narrowed), and how often it happens (once, unless said otherwise).
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
    /// The fault, for the next request.
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

    /// Only requests of this HTTP method, as in `PATCH`.
    pub fn method(mut self, method: &str) -> Self {
        self.method = Some(method.to_owned());
        self
    }

    /// Only requests of this Kubernetes verb, as in `update`.
    pub fn verb(mut self, verb: &str) -> Self {
        self.verb = Some(verb.to_owned());
        self
    }

    /// Only requests for this resource, as in `secrets`, or `things/status` for a subresource. `things` alone leaves `things/status` alone.
    pub fn resource(mut self, resource: &str) -> Self {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        self.resource = Some(resource.to_owned());
        self.subresource = Some(subresource.to_owned());
        self
    }

    /// Only requests whose path or query contains this.
    pub fn path_contains(mut self, part: &str) -> Self {
        self.path = Some(part.to_owned());
        self
    }

    /// Only requests that ask for a change, whatever their verb.
    pub fn writes(mut self) -> Self {
        self.writes = true;
        self
    }

    /// Lets the first `count` matching requests pass.
    pub fn skip(mut self, count: usize) -> Self {
        self.skip = count;
        self
    }

    /// Happens to the next `count` matching requests.
    pub fn times(mut self, count: usize) -> Self {
        self.times = count;
        self
    }

    /// Happens until the rules are cleared.
    pub fn always(self) -> Self {
        self.times(usize::MAX)
    }

    pub(super) fn handle(&self) -> Injected {
        Injected { hits: Arc::clone(&self.hits) }
    }

    /// The fault, when it is this request's turn.
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

/// Tells how often a rule has been applied, so that a test can be sure that its fault happened.
#[derive(Debug, Clone)]
pub struct Injected {
    hits: Arc<AtomicUsize>,
}

impl Injected {
    /// How often so far.
    pub fn hits(&self) -> usize {
        self.hits.load(Ordering::Relaxed)
    }
}
