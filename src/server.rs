//! The one open port: metrics and probes.

use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::metrics::Metrics;

/// Serves until asked to stop.
pub async fn serve(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    synced: watch::Receiver<bool>,
    mut stopping: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let scrape = move || {
        let text = metrics.render();
        async move { ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text) }
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
    let router = Router::new()
        .route("/metrics", get(scrape))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready));
    axum::serve(listener, router)
        .with_graceful_shutdown(async move {
            let _ = stopping.wait_for(|stopping| *stopping).await;
        })
        .await
}
