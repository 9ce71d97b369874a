//! How fast a run may call: the account's 10 a second are not the run's alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use client_certificate_operator::aws::client::AwsGateway;
use client_certificate_operator::aws::gateway::{
    AcmCertificate, ClientCertificate, Gateway, GatewayError, Page, Place, Source, Stage,
};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::PATIENCE;

/// One call after the other, evenly spaced.
pub(super) struct Budget {
    interval: Duration,
    next: Mutex<Instant>,
    calls: AtomicUsize,
}

impl Budget {
    pub(super) fn new(rate: f64) -> Self {
        Self {
            interval: Duration::from_secs_f64(1.0 / rate),
            next: Mutex::new(Instant::now()),
            calls: AtomicUsize::new(0),
        }
    }

    /// Waits until a call may be made.
    pub(super) async fn take(&self) {
        let mut next = self.next.lock().await;
        tokio::time::sleep_until(*next).await;
        *next = Instant::now() + self.interval;
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }
}

/// The operator's own client in that budget. A call that AWS throttles is made again.
pub(crate) struct Paced {
    pub(super) gateway: AwsGateway,
    pub(super) budget: Arc<Budget>,
}

impl Paced {
    async fn call<T, F>(&self, call: impl Fn() -> F) -> Result<T, GatewayError>
    where
        F: Future<Output = Result<T, GatewayError>>,
    {
        let begun = Instant::now();
        loop {
            self.budget.take().await;
            match Box::pin(call()).await {
                Err(GatewayError::Throttled { retry_after }) if begun.elapsed() < PATIENCE => {
                    tokio::time::sleep(retry_after.unwrap_or(Duration::from_secs(1))).await;
                }
                outcome => return outcome,
            }
        }
    }
}

impl Gateway for Paced {
    async fn get_client_certificate(&self, source: &Source) -> Result<ClientCertificate, GatewayError> {
        self.call(|| self.gateway.get_client_certificate(source)).await
    }

    async fn list_client_certificates(&self, place: &Place, position: Option<&str>) -> Result<Page, GatewayError> {
        self.call(|| self.gateway.list_client_certificates(place, position)).await
    }

    async fn get_stages(&self, place: &Place, rest_api_id: &str) -> Result<Vec<Stage>, GatewayError> {
        self.call(|| self.gateway.get_stages(place, rest_api_id)).await
    }

    async fn get_acm_certificate(&self, place: &Place, arn: &str) -> Result<AcmCertificate, GatewayError> {
        let read = || async {
            // `call` takes one call from the budget, for DescribeCertificate. GetCertificate is a second call.
            self.budget.take().await;
            self.gateway.get_acm_certificate(place, arn).await
        };
        self.call(read).await
    }

    async fn set_description(&self, source: &Source, description: &str) -> Result<ClientCertificate, GatewayError> {
        self.call(|| self.gateway.set_description(source, description)).await
    }

    async fn own_account(&self) -> Result<String, GatewayError> {
        self.gateway.own_account().await
    }

    fn end_session(&self, place: &Place) {
        self.gateway.end_session(place);
    }
}
