//! A Kubernetes client that begins no write while the process does not lead, and lets none take longer than the Lease
//! allows for. It stands below everything that writes, so that nothing can be forgotten.

use std::task::{self, Poll};

use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Method, Request, Response};
use kube::client::{Body, ClientBuilder};
use kube::{Client, Config};
use thiserror::Error;
use tower::{BoxError, Layer, Service};

use crate::leader::{Fence, LONGEST_WRITE};

#[derive(Debug, Error)]
enum NotWritten {
    #[error("this replica does not lead any more")]
    NotLeading,
    #[error("no answer within {} s", LONGEST_WRITE.as_secs())]
    TimedOut,
}

/// A client behind the fence.
pub fn client(config: Config, fence: Fence) -> kube::Result<Client> {
    Ok(ClientBuilder::try_from(config)?.with_layer(&Gate(fence)).build())
}

#[derive(Clone)]
struct Gate(Fence);

impl<S> Layer<S> for Gate {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Gated { inner, fence: self.0.clone() }
    }
}

struct Gated<S> {
    inner: S,
    fence: Fence,
}

impl<S, B> Service<Request<Body>> for Gated<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<B>, BoxError>>;

    fn poll_ready(&mut self, context: &mut task::Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if matches!(*request.method(), Method::GET | Method::HEAD) {
            return self.inner.call(request).map(|answer| answer.map_err(Into::into)).boxed();
        }
        if !self.fence.may_write() {
            return async { Err(NotWritten::NotLeading.into()) }.boxed();
        }
        let call = self.inner.call(request);
        async move {
            let answer = tokio::time::timeout(LONGEST_WRITE, call).await;
            answer.map_err(|_| NotWritten::TimedOut)?.map_err(Into::into)
        }
        .boxed()
    }
}
