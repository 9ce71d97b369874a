//! The server for metrics and probes, on the only open port.

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use crate::health::Health;
use crate::metrics::{Format, Metrics};

/// Serves until the process stops.
pub async fn serve(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    health: Health,
    synced: watch::Receiver<bool>,
    mut stopping: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let scrape = move |headers: HeaderMap| {
        let format = Format::accepted(headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()));
        let metrics = Arc::clone(&metrics);
        async move {
            // The rendering has its own thread, because there may be very many resources.
            match spawn_blocking(move || format.of_open_metrics(metrics.render())).await {
                Ok(page) => ([(header::CONTENT_TYPE, format.content_type())], page).into_response(),
                Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            }
        }
    };
    let ready = move || {
        let synced = *synced.borrow();
        async move {
            if synced {
                (StatusCode::OK, "ready\n").into_response()
            } else {
                (StatusCode::SERVICE_UNAVAILABLE, "the caches have not synced yet; see the log\n").into_response()
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
