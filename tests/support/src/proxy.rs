//! A proxy between an operator and kube-apiserver that answers, cuts, delays or drops the requests that a test selects.
//!
//! The proxy accepts plain HTTP and forwards it over TLS. Headers and bodies are unchanged, and a watch is streamed.
//! The credentials must be a token, because the proxy does not forward a client certificate. It does not support
//! upgraded connections (`kubectl exec`).

mod forward;
mod request;
mod rule;
mod silence;

use std::future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use self::forward::Upstream;
pub use self::request::ApiRequest;
pub use self::rule::{Fault, Injected, Rule};
use self::silence::Silenced;
use crate::control_plane::ControlPlane;

/// A request that the proxy has handled. A watch appears at its start.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The request.
    pub request: ApiRequest,
    /// The time of arrival.
    pub time: Timestamp,
    /// The HTTP status of the response; `None` if the connection was cut.
    pub code: Option<u16>,
    /// Whether a rule applied.
    pub injected: bool,
}

/// A running proxy. It ends, and cuts its connections, when it is dropped or with the runtime that started it.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    state: Arc<State>,
    server: JoinHandle<()>,
}

#[derive(Debug)]
struct State {
    upstream: Upstream,
    rules: Mutex<Vec<Rule>>,
    seen: Mutex<Vec<Seen>>,
    /// The number of times that all connections were silenced. A connection from before the last time is silent.
    silences: watch::Sender<usize>,
}

impl FaultProxy {
    /// Starts a proxy without rules.
    pub async fn start(control_plane: &ControlPlane) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let upstream = Upstream::new(&control_plane.url(), control_plane.ca_pem())?;
        let state = Arc::new(State {
            upstream,
            rules: Mutex::default(),
            seen: Mutex::default(),
            silences: watch::Sender::new(0),
        });
        let server = tokio::spawn(serve(listener, Arc::clone(&state)));
        Ok(Self { address, state, server })
    }

    /// The address of the proxy.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Adds a rule. The first matching rule that is not used up applies to a request.
    pub fn inject(&self, rule: Rule) -> Injected {
        let handle = rule.handle();
        lock(&self.state.rules).push(rule);
        handle
    }

    /// Ends all faults. Delayed requests stay delayed.
    pub fn clear(&self) {
        lock(&self.state.rules).clear();
    }

    /// Silences every open connection for ever: the proxy drops its data, answers nothing and does not close it, like a
    /// firewall that has lost its state. New connections work.
    pub fn silence_connections(&self) {
        self.state.silences.send_modify(|silences| *silences += 1);
    }

    /// All requests so far, in the order of their answers or cuts.
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.state.seen).clone()
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => {
                let state = Arc::clone(&state);
                connections.spawn(async move {
                    let silenced = Silenced::of(&state.silences);
                    let service = service_fn(|request| state.answer(request, silenced.clone()));
                    // An error here means that the client has closed the connection, or that a fault has cut it.
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

type Answer = Response<BoxBody<Bytes, hyper::Error>>;

impl State {
    /// Handles one request. An error cuts the client's connection.
    async fn answer(&self, request: Request<Incoming>, mut silenced: Silenced) -> Result<Answer> {
        if silenced.is_now() {
            return future::pending().await;
        }
        let time = Timestamp::now();
        let api = ApiRequest::new(request.method(), request.uri());
        let fault = lock(&self.rules).iter_mut().find_map(|rule| rule.apply(&api));
        let injected = fault.is_some();
        let result = tokio::select! {
            result = self.perform(request, fault, silenced.clone()) => result,
            () = silenced.wait() => future::pending().await,
        };
        let code = result.as_ref().ok().map(|answer| answer.status().as_u16());
        lock(&self.seen).push(Seen { request: api, time, code, injected });
        result
    }

    async fn perform(&self, request: Request<Incoming>, fault: Option<Fault>, silenced: Silenced) -> Result<Answer> {
        match fault {
            None => {}
            Some(Fault::Silence) => return future::pending().await,
            Some(Fault::Hang) => {
                self.upstream.send(request).await?.into_body().collect().await?;
                return future::pending().await;
            }
            Some(Fault::HeadOnly) => {
                return Ok(self.upstream.send(request).await?.map(|body| Silenced::at_once().body(body).boxed()));
            }
            Some(Fault::Outdated) => {
                let event = serde_json::json!({ "type": "ERROR", "object": status(410, "Expired", None) });
                return respond(200, &event, None);
            }
            Some(Fault::Delay(duration)) => tokio::time::sleep(duration).await,
            Some(Fault::Status { code, reason, retry_after }) => {
                return respond(code, &status(code, reason, retry_after), retry_after);
            }
            Some(Fault::CutBefore) => bail!("cut before the request was forwarded"),
            Some(Fault::CutAfter) => {
                self.upstream.send(request).await?.into_body().collect().await?;
                bail!("cut after the request was forwarded");
            }
        }
        Ok(self.upstream.send(request).await?.map(|body| silenced.body(body).boxed()))
    }
}

/// A `Status` in the form of kube-apiserver.
fn status(code: u16, reason: &str, retry_after: Option<Duration>) -> Value {
    let mut status = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": format!("injected by a test: {reason}"), "reason": reason, "code": code,
    });
    if let Some(delay) = retry_after {
        status["details"] = serde_json::json!({ "retryAfterSeconds": delay.as_secs() });
    }
    status
}

fn respond(code: u16, body: &Value, retry_after: Option<Duration>) -> Result<Answer> {
    let mut response = Response::builder().status(code).header("content-type", "application/json");
    if let Some(delay) = retry_after {
        response = response.header("retry-after", delay.as_secs());
    }
    let body = Full::from(format!("{body}\n")).map_err(|never| match never {});
    Ok(response.body(body.boxed())?)
}
