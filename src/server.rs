//! The one open port: metrics and probes.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use futures::{Stream, stream};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinError, spawn_blocking};

use crate::health::Health;
use crate::metrics::{Format, Metrics, Page};

/// Serves until asked to stop.
pub async fn serve(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    health: Health,
    synced: watch::Receiver<bool>,
    mut stopping: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let scrape = move |headers: HeaderMap| {
        let format = Format::accepted(headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()));
        let page = Page::new(Arc::clone(&metrics), format);
        async move { ([(header::CONTENT_TYPE, format.content_type())], Body::from_stream(pieces(page))) }
    };
    let ready = move || {
        let synced = *synced.borrow();
        async move {
            if synced {
                (StatusCode::OK, "ready\n").into_response()
            } else {
                (StatusCode::SERVICE_UNAVAILABLE, "the caches have not synced yet: see the log\n").into_response()
            }
        }
    };
    let healthy = move || {
        let checked = health.check();
        async move {
            match checked {
                Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
                Err(unhealthy) => (StatusCode::SERVICE_UNAVAILABLE, format!("{unhealthy}\n")),
            }
        }
    };
    let router =
        Router::new().route("/metrics", get(scrape)).route("/healthz", get(healthy)).route("/readyz", get(ready));
    axum::serve(listener, router)
        .with_graceful_shutdown(async move {
            let _ = stopping.wait_for(|stopping| *stopping).await;
        })
        .await
}

/// A page as it is written, by threads that may be kept busy. A client that reads slowly keeps none.
fn pieces(page: Page) -> impl Stream<Item = Result<String, JoinError>> {
    stream::try_unfold(page, async |mut page| spawn_blocking(move || page.piece().map(|piece| (piece, page))).await)
}
