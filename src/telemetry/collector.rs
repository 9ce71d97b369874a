//! The HTTP client for the collector, made of libraries that the operator uses already.

use std::time::Duration;

use futures::future::BoxFuture;
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use tokio::runtime::{Builder, Runtime};

use crate::kubernetes::{LogOnce, innermost};

/// The limit of a response of the collector. Real responses have a few bytes.
const ANSWER_MOST: usize = 64 * 1024;

/// Sends spans, and logs a failure once.
#[derive(Debug)]
pub(super) struct Collector {
    /// The SDK sends spans from its own thread, which has no runtime. The operator's runtime must not wait for that
    /// thread.
    runtime: Runtime,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    timeout: Duration,
    log: LogOnce,
}

impl Collector {
    pub(super) fn new(timeout: Duration) -> std::io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let connector = HttpsConnectorBuilder::new().with_native_roots()?.https_or_http().enable_http1().build();
        // No connection stays open, because no task serves it between two exports, which are seconds apart.
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Ok(Collector { runtime, client, timeout, log: LogOnce::new("export of traces recovered") })
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let exchange = async {
            let answer = self.client.request(request.map(Full::new)).await?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, ANSWER_MOST).collect().await?.to_bytes();
            Ok(Response::from_parts(head, body))
        };
        tokio::time::timeout(self.timeout, exchange).await?
    }

    /// Logs a failure once, and the recovery.
    fn log_outcome(&self, outcome: &Result<Response<Bytes>, HttpError>) {
        let failure = match outcome {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("HTTP status {}", answer.status())),
            Err(error) => Some(innermost(error.as_ref())),
        };
        match failure {
            Some(failure) => self.log.warn(format!(
                "could not export traces ({failure}); check OTEL_EXPORTER_OTLP_ENDPOINT and the collector; unsent spans are dropped"
            )),
            None => self.log.recovered(),
        }
    }
}

impl HttpClient for Collector {
    fn send_bytes<'s, 'f>(&'s self, request: Request<Bytes>) -> BoxFuture<'f, Result<Response<Bytes>, HttpError>>
    where
        's: 'f,
        Self: 'f,
    {
        Box::pin(async move {
            let outcome = self.runtime.block_on(self.send(request));
            self.log_outcome(&outcome);
            outcome
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_behind_tls_is_reached_by_tls() {
        let collector = Collector::new(Duration::from_secs(5)).unwrap();
        // The port is free, so the connection is refused. A connector without TLS would fail earlier.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}/v1/traces", listener.local_addr().unwrap());
        drop(listener);
        let request = Request::post(url).body(Bytes::new()).unwrap();
        let error = collector.runtime.block_on(collector.send(request)).unwrap_err();
        assert!(innermost(error.as_ref()).contains("refused"), "{error:?}");
    }
}
