//! The layer below every Kubernetes client. A request ends within a deadline, with all its retries and its whole body.
//! A write begins only while this process may write. The layer is the lowest one, so that no request bypasses it.
//!
//! A request that times out is dropped with its HTTP/1.1 connection, so that a silent connection is not used again.

use std::task::{self, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Method, Request, Response, Uri};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::{Body as HttpBody, Bytes};
use kube::client::{Body, ClientBuilder};
use kube::{Client, Config};
use thiserror::Error;
use tower::{BoxError, Layer, Service};

use crate::health::Health;
use crate::leader::{Fence, LONGEST_WRITE};

/// The time limit of a request: of a watch, to the head of its response; of any other request, to its end.
pub const DEADLINE: Duration = LONGEST_WRITE;

#[derive(Debug, Error)]
enum Failure {
    #[error("this replica is no longer the leader")]
    NotLeading,
    #[error("no response within {} s", .0.as_secs())]
    TimedOut(Duration),
}

/// The limits of each request.
#[derive(Clone)]
pub struct Limits {
    /// The time limit.
    pub deadline: Duration,
    /// The fence that decides whether a write may begin; `None` for the Lease.
    pub guard: Option<Fence>,
    /// The record of requests in progress.
    pub health: Health,
}

/// A client whose requests have these limits.
pub fn client(config: Config, limits: Limits) -> kube::Result<Client> {
    Ok(ClientBuilder::try_from(config)?.with_layer(&Limit(limits)).build())
}

struct Limit(Limits);

impl<S> Layer<S> for Limit {
    type Service = Limited<S>;

    fn layer(&self, inner: S) -> Limited<S> {
        Limited { inner, limits: self.0.clone() }
    }
}

struct Limited<S> {
    inner: S,
    limits: Limits,
}

impl<S, B> Service<Request<Body>> for Limited<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Either<B, Full<Bytes>>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut task::Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        let mut deadline = self.limits.deadline;
        if let Some(guard) = self.limits.guard.as_ref().filter(|_| !is_read) {
            match guard.time_to_write() {
                Some(time) => deadline = deadline.min(time),
                None => return async { Err(Failure::NotLeading.into()) }.boxed(),
            }
        }
        let is_watch = is_read && is_watch(request.uri());
        let attempt = self.limits.health.attempt(deadline);
        let call = self.inner.call(request);
        let exchange = async move {
            let answer = call.await.map_err(Into::into)?;
            // kube's watcher ends a silent watch. The response to a refused watch is handled as any other.
            if is_watch && answer.status().is_success() {
                return Ok(answer.map(Either::Left));
            }
            let (head, body) = answer.into_parts();
            let body = body.collect().await.map_err(Into::into)?.to_bytes();
            Ok(Response::from_parts(head, Either::Right(Full::new(body))))
        };
        async move {
            let answer = tokio::time::timeout(deadline, exchange).await;
            drop(attempt);
            answer.map_err(|_| Failure::TimedOut(deadline))?
        }
        .boxed()
    }
}

fn is_watch(uri: &Uri) -> bool {
    uri.query().unwrap_or_default().split('&').any(|pair| matches!(pair, "watch=true" | "watch=1"))
}
