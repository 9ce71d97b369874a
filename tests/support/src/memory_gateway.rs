//! A [`Gateway`] in memory, with scripted faults and a log of calls.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use client_certificate_operator::aws::gateway::{
    AcmCertificate, AcmStatus, ClientCertificate, Gateway, GatewayError, PAGE_SIZE, Page, Place, Source, Stage,
};
use tokio::time::Instant;

use crate::certificates::{NewCertificate, issue};
use crate::emulator::{HOME_ACCOUNT, acm_arn_flaw};
use crate::script::{Fault, Incoming, Operation, Script};

/// The effect of a fault on a call.
#[derive(Clone, Debug)]
pub enum Failure {
    /// The call fails with this error, and changes nothing.
    Error(GatewayError),
    /// The call succeeds, but the caller gets this error, because the answer was lost.
    AnswerLost(GatewayError),
    /// The call succeeds after this delay.
    Stall(Duration),
    /// The call succeeds, for a script with a later fault.
    Pass,
}

/// A call.
#[derive(Clone, Debug)]
pub struct Call {
    /// The time of the call by tokio's clock, which tests can pause.
    pub at: Instant,
    /// The operation.
    pub operation: Operation,
    /// The certificate, by its ARN for ACM; for GetStages, the REST API.
    pub source: Source,
    /// The description of an update.
    pub description: Option<String>,
}

/// A gateway that tests control. Clones share all state.
#[derive(Clone, Default)]
pub struct MemoryGateway {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    certificates: BTreeMap<Source, ClientCertificate>,
    /// The certificates of an API's stages, by the API's place and id.
    apis: BTreeMap<Source, BTreeMap<String, Option<String>>>,
    /// ACM certificates, by place and ARN.
    acm: BTreeMap<Source, AcmCertificate>,
    script: Script<Failure>,
    latency: Duration,
    calls: Vec<Call>,
    under_way: usize,
    peak: usize,
}

impl MemoryGateway {
    /// A gateway without certificates.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a certificate in a region.
    pub fn generate(&self, region: &str, new: NewCertificate) -> ClientCertificate {
        let certificate = issue(new).certificate;
        self.put(&Source::own(region, &certificate.id), certificate.clone());
        certificate
    }

    /// Puts any certificate under an id, in place of an existing one.
    pub fn put(&self, source: &Source, certificate: ClientCertificate) {
        self.lock().certificates.insert(source.clone(), certificate);
    }

    /// A certificate, if it exists.
    pub fn certificate(&self, source: &Source) -> Option<ClientCertificate> {
        self.lock().certificates.get(source).cloned()
    }

    /// Changes a certificate in place; returns whether it exists.
    pub fn change(&self, source: &Source, change: impl FnOnce(&mut ClientCertificate)) -> bool {
        self.lock().certificates.get_mut(source).map(change).is_some()
    }

    /// Deletes a certificate and returns it; [`put`](Self::put) restores it.
    pub fn delete(&self, source: &Source) -> Option<ClientCertificate> {
        self.lock().certificates.remove(source)
    }

    /// Makes a REST API without stages.
    pub fn create_api(&self, place: &Place, rest_api_id: &str) {
        self.lock().apis.insert(named(place, rest_api_id), BTreeMap::new());
    }

    /// Makes a stage present this certificate, an id or an ARN, or none. Creates the API and the stage if they do not
    /// exist.
    pub fn present(&self, place: &Place, rest_api_id: &str, stage: &str, certificate: Option<&str>) {
        let certificate = certificate.filter(|certificate| !certificate.is_empty()).map(str::to_owned);
        self.lock().apis.entry(named(place, rest_api_id)).or_default().insert(stage.to_owned(), certificate);
    }

    /// The certificate that a stage presents, if any.
    pub fn presented(&self, place: &Place, rest_api_id: &str, stage: &str) -> Option<String> {
        self.lock().apis.get(&named(place, rest_api_id))?.get(stage)?.clone()
    }

    /// Deletes a stage; returns whether it existed.
    pub fn delete_stage(&self, place: &Place, rest_api_id: &str, stage: &str) -> bool {
        let mut inner = self.lock();
        inner.apis.get_mut(&named(place, rest_api_id)).is_some_and(|stages| stages.remove(stage).is_some())
    }

    /// Deletes an API with its stages; returns whether it existed.
    pub fn delete_api(&self, place: &Place, rest_api_id: &str) -> bool {
        self.lock().apis.remove(&named(place, rest_api_id)).is_some()
    }

    /// Puts a certificate into ACM, in place of an existing one of the same ARN.
    pub fn put_acm(&self, place: &Place, certificate: AcmCertificate) {
        self.lock().acm.insert(named(place, &certificate.arn), certificate);
    }

    /// Changes an ACM certificate in place; returns whether it exists. A certificate that is neither issued nor expired
    /// keeps its leaf and chain, but no response contains them.
    pub fn change_acm(&self, place: &Place, arn: &str, change: impl FnOnce(&mut AcmCertificate)) -> bool {
        self.lock().acm.get_mut(&named(place, arn)).map(change).is_some()
    }

    /// Deletes an ACM certificate, even if a stage presents it; returns whether it existed.
    pub fn delete_acm(&self, place: &Place, arn: &str) -> bool {
        self.lock().acm.remove(&named(place, arn)).is_some()
    }

    /// Delays every answer by this time.
    pub fn set_latency(&self, latency: Duration) {
        self.lock().latency = latency;
    }

    /// Adds a fault at the end of the script.
    pub fn inject(&self, fault: Fault<Failure>) {
        self.lock().script.push(fault);
    }

    /// Makes the next call fail with this error.
    pub fn fail_once(&self, error: GatewayError) {
        self.inject(Fault::new(Failure::Error(error)).once());
    }

    /// Ends every fault.
    pub fn clear_faults(&self) {
        self.lock().script.clear();
    }

    /// The calls since the start or the last clearing.
    pub fn calls(&self) -> Vec<Call> {
        self.lock().calls.clone()
    }

    /// The number of calls of an operation.
    pub fn count(&self, operation: Operation) -> usize {
        self.lock().calls.iter().filter(|call| call.operation == operation).count()
    }

    /// The greatest number of calls in progress at once.
    pub fn peak_under_way(&self) -> usize {
        self.lock().peak
    }

    /// Clears the log of calls.
    pub fn clear_calls(&self) {
        let mut inner = self.lock();
        inner.calls.clear();
        inner.peak = 0;
    }

    /// Records a call, waits for its delay, and returns its fault.
    async fn begin(
        &self,
        operation: Operation,
        source: &Source,
        description: Option<&str>,
    ) -> Result<Begun, GatewayError> {
        let (under_way, latency, failure) = {
            let mut inner = self.lock();
            let call = Call {
                at: Instant::now(),
                operation,
                source: source.clone(),
                description: description.map(Into::into),
            };
            inner.calls.push(call);
            inner.under_way += 1;
            inner.peak = inner.peak.max(inner.under_way);
            let id = Some(source.id.as_str()).filter(|id| !id.is_empty());
            let call = Incoming { operation, account: None, region: Some(&source.place.region), id };
            (UnderWay(self.clone()), inner.latency, inner.script.next_for(call))
        };
        let delay = match &failure {
            Some(Failure::Stall(delay)) => latency + *delay,
            _ => latency,
        };
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        match failure {
            Some(Failure::Error(error)) => Err(error),
            Some(Failure::AnswerLost(error)) => Ok(Begun { lost: Some(error), _under_way: under_way }),
            Some(Failure::Stall(_) | Failure::Pass) | None => Ok(Begun { lost: None, _under_way: under_way }),
        }
    }

    async fn call(
        &self,
        operation: Operation,
        source: &Source,
        description: Option<&str>,
    ) -> Result<ClientCertificate, GatewayError> {
        let begun = self.begin(operation, source, description).await?;
        let mut inner = self.lock();
        let certificate = inner.certificates.get_mut(source).ok_or(GatewayError::NotFound)?;
        if let Some(description) = description {
            certificate.description = description.to_owned();
        }
        begun.lost.map_or_else(|| Ok(certificate.clone()), Err)
    }
}

/// The source of an id or an ARN in a place.
fn named(place: &Place, id: &str) -> Source {
    Source { place: place.clone(), id: id.to_owned() }
}

/// A call in progress.
struct Begun {
    /// The error that the caller gets in place of the answer.
    lost: Option<GatewayError>,
    _under_way: UnderWay,
}

/// Counts a call in progress, until it is dropped, also if the caller gives up.
struct UnderWay(MemoryGateway);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.lock().under_way -= 1;
    }
}

impl Gateway for MemoryGateway {
    async fn get_client_certificate(&self, source: &Source) -> Result<ClientCertificate, GatewayError> {
        self.call(Operation::Get, source, None).await
    }

    async fn set_description(&self, source: &Source, description: &str) -> Result<ClientCertificate, GatewayError> {
        self.call(Operation::Update, source, Some(description)).await
    }

    async fn list_client_certificates(&self, place: &Place, position: Option<&str>) -> Result<Page, GatewayError> {
        let all = Source { place: place.clone(), id: String::new() };
        let begun = self.begin(Operation::List, &all, None).await?;
        let after = position.unwrap_or_default();
        let inner = self.lock();
        let mut rest =
            inner.certificates.iter().filter(|(source, _)| source.place == *place && source.id.as_str() > after);
        let certificates: Vec<_> = rest.by_ref().take(PAGE_SIZE).map(|(_, certificate)| certificate.clone()).collect();
        let next = rest.next().and(certificates.last()).map(|last| last.id.clone());
        begun.lost.map_or(Ok(Page { certificates, next }), Err)
    }

    async fn get_stages(&self, place: &Place, rest_api_id: &str) -> Result<Vec<Stage>, GatewayError> {
        let api = named(place, rest_api_id);
        let begun = self.begin(Operation::GetStages, &api, None).await?;
        let inner = self.lock();
        let stages = inner.apis.get(&api).ok_or(GatewayError::NotFound)?.iter();
        let stages = stages.map(|(name, certificate)| Stage { name: name.clone(), certificate: certificate.clone() });
        begun.lost.map_or_else(|| Ok(stages.collect()), Err)
    }

    async fn get_acm_certificate(&self, place: &Place, arn: &str) -> Result<AcmCertificate, GatewayError> {
        let source = named(place, arn);
        let begun = self.begin(Operation::DescribeCertificate, &source, None).await?;
        if let Some(message) = acm_arn_flaw(arn) {
            return Err(GatewayError::BadRequest { message });
        }
        let mut certificate = self.lock().acm.get(&source).cloned().ok_or(GatewayError::NotFound)?;
        if let Some(error) = &begun.lost {
            return Err(error.clone());
        }
        if matches!(certificate.status, AcmStatus::Issued | AcmStatus::Expired) {
            drop(begun);
            let begun = self.begin(Operation::GetCertificate, &source, None).await?;
            return begun.lost.map_or(Ok(certificate), Err);
        }
        (certificate.leaf, certificate.chain) = (None, None);
        Ok(certificate)
    }

    async fn own_account(&self) -> Result<String, GatewayError> {
        let nowhere = Source::own("", "");
        let begun = self.begin(Operation::GetCallerIdentity, &nowhere, None).await?;
        begun.lost.map_or(Ok(HOME_ACCOUNT.to_owned()), Err)
    }

    fn end_session(&self, _: &Place) {}
}
