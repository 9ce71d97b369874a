//! The two worlds of the contract: memory alone, and the AWS client over HTTP to the emulator.

use std::time::Duration;

use aws_sdk_acm::error::ProvideErrorMetadata;
use aws_sdk_acm::operation::import_certificate::builders::ImportCertificateFluentBuilder;
use aws_sdk_acm::primitives::Blob;
use client_certificate_operator::aws::client::AwsGateway;
use client_certificate_operator::aws::gateway::{AcmCertificate, AcmStatus, ClientCertificate, Gateway, Place, Source};

use super::{AcmWorld, AwsFailure, FailingWorld, ImportingWorld, World};
use crate::certificates::NewCertificate;
use crate::emulator::{Emulator, Fault, HOME_ACCOUNT, acm_refusal, new_acm_arn};
use crate::memory_gateway::{Failure, MemoryGateway};
use crate::private_ca::Leaf;
use crate::script::{self, Operation, Service};

/// [`MemoryGateway`].
#[derive(Default)]
pub struct MemoryWorld(MemoryGateway);

impl World for MemoryWorld {
    type Gateway = MemoryGateway;

    fn gateway(&self) -> &MemoryGateway {
        &self.0
    }

    async fn generate(&self, region: &str, new: NewCertificate) -> ClientCertificate {
        self.0.generate(region, new)
    }

    async fn delete(&self, source: &Source) {
        self.0.delete(source);
    }

    async fn create_api(&self) -> String {
        let id = new_api_id();
        self.0.create_api(&Place::own(self.region()), &id);
        id
    }

    async fn present(&self, rest_api_id: &str, stage: &str, certificate: Option<&str>) {
        self.0.present(&Place::own(self.region()), rest_api_id, stage, certificate);
    }

    async fn delete_stage(&self, rest_api_id: &str, stage: &str) {
        self.0.delete_stage(&Place::own(self.region()), rest_api_id, stage);
    }

    async fn delete_api(&self, rest_api_id: &str) {
        self.0.delete_api(&Place::own(self.region()), rest_api_id);
    }
}

impl MemoryWorld {
    /// The region that an ARN names: whoever looks elsewhere does not find it.
    fn place_of(arn: &str) -> Place {
        Place::own(arn.split(':').nth(3).unwrap())
    }
}

impl ImportingWorld for MemoryWorld {
    /// The gateway has no import: after ACM's checks, the certificate is put into the gateway.
    async fn import(&self, arn: Option<&str>, leaf: &Leaf) -> Result<String, String> {
        let place = Place::own(self.region());
        let former = match arn {
            Some(arn) => match self.0.get_acm_certificate(&place, arn).await {
                Ok(certificate) => certificate.leaf,
                Err(_) => return Err("ResourceNotFoundException".to_owned()),
            },
            None => None,
        };
        if let Some(name) = acm_refusal(leaf, former.as_deref()) {
            return Err(name.to_owned());
        }
        let arn = arn.map_or_else(|| new_acm_arn(self.region(), HOME_ACCOUNT), str::to_owned);
        self.0.put_acm(&place, leaf.to_acm(&arn));
        Ok(arn)
    }
}

impl AcmWorld for MemoryWorld {
    fn new_arn(&self, region: &str) -> String {
        new_acm_arn(region, HOME_ACCOUNT)
    }

    fn put(&self, arn: &str, leaf: &Leaf) {
        self.0.put_acm(&Self::place_of(arn), leaf.to_acm(arn));
    }

    fn set_status(&self, arn: &str, status: AcmStatus) {
        let change = |certificate: &mut AcmCertificate| certificate.status = status;
        assert!(self.0.change_acm(&Self::place_of(arn), arn, change));
    }

    fn delete_imported(&self, arn: &str) {
        assert!(self.0.delete_acm(&Self::place_of(arn), arn));
    }
}

impl FailingWorld for MemoryWorld {
    fn fail(&self, operation: Operation, failure: AwsFailure, times: u32) {
        self.0.inject(script::Fault::new(Failure::Error(failure.error())).on(operation).times(times));
    }
}

/// Ten letters and digits, as API Gateway's are.
fn new_api_id() -> String {
    std::iter::repeat_with(|| fastrand::alphanumeric().to_ascii_lowercase()).take(10).collect()
}

/// [`AwsGateway`] and an [`Emulator`].
pub struct EmulatorWorld {
    emulator: Emulator,
    gateway: AwsGateway,
}

impl EmulatorWorld {
    /// With a shorter patience than in production, for the failures without a response.
    pub async fn start() -> Self {
        let emulator = Emulator::start().await.unwrap();
        let gateway = emulator.gateway_builder().attempt_timeout(Duration::from_millis(1500)).build();
        Self { emulator, gateway }
    }
}

impl World for EmulatorWorld {
    type Gateway = AwsGateway;

    fn gateway(&self) -> &AwsGateway {
        &self.gateway
    }

    async fn generate(&self, region: &str, new: NewCertificate) -> ClientCertificate {
        self.emulator.generate(region, new)
    }

    async fn delete(&self, source: &Source) {
        self.emulator.delete(source);
    }

    async fn create_api(&self) -> String {
        let id = new_api_id();
        self.emulator.create_api(self.region(), &id);
        id
    }

    async fn present(&self, rest_api_id: &str, stage: &str, certificate: Option<&str>) {
        self.emulator.present(self.region(), rest_api_id, stage, certificate);
    }

    async fn delete_stage(&self, rest_api_id: &str, stage: &str) {
        self.emulator.delete_stage(self.region(), rest_api_id, stage);
    }

    async fn delete_api(&self, rest_api_id: &str) {
        self.emulator.delete_api(self.region(), rest_api_id);
    }
}

impl ImportingWorld for EmulatorWorld {
    async fn import(&self, arn: Option<&str>, leaf: &Leaf) -> Result<String, String> {
        let client = aws_sdk_acm::Client::new(&self.emulator.sdk_config());
        let imported = request(&client, arn, leaf).send().await;
        imported
            .map(|answer| answer.certificate_arn.unwrap())
            .map_err(|error| error.code().unwrap_or_default().to_owned())
    }
}

/// A request for ImportCertificate, by the AWS SDK.
pub(super) fn request(client: &aws_sdk_acm::Client, arn: Option<&str>, leaf: &Leaf) -> ImportCertificateFluentBuilder {
    let blob = |pem: &String| Blob::new(pem.as_bytes());
    let request = client.import_certificate().set_certificate_arn(arn.map(str::to_owned));
    let request = request.certificate(blob(&leaf.certificate)).private_key(blob(&leaf.private_key));
    request.set_certificate_chain(leaf.chain.as_ref().map(blob))
}

impl AcmWorld for EmulatorWorld {
    fn new_arn(&self, region: &str) -> String {
        self.emulator.new_acm_arn(region)
    }

    fn put(&self, arn: &str, leaf: &Leaf) {
        self.emulator.put_acm(arn, leaf.clone());
    }

    fn set_status(&self, arn: &str, status: AcmStatus) {
        let status = match status {
            AcmStatus::Issued => "ISSUED",
            AcmStatus::Pending => "PENDING_VALIDATION",
            AcmStatus::Failed => "FAILED",
            AcmStatus::Revoked => "REVOKED",
            AcmStatus::Inactive => "INACTIVE",
            AcmStatus::Expired => "EXPIRED",
        };
        assert!(self.emulator.set_acm_status(arn, status));
    }

    fn delete_imported(&self, arn: &str) {
        self.emulator.delete_acm(arn).unwrap();
    }
}

/// What ACM says in other words than API Gateway.
fn failure_of_acm(failure: AwsFailure) -> Option<Fault> {
    Some(match failure {
        AwsFailure::BadRequest => Fault::error(400, "InvalidArnException", "Invalid certificate"),
        AwsFailure::Forbidden => Fault::error(400, "AccessDeniedException", "User is not authorized"),
        AwsFailure::ExpiredKey => Fault::error(400, "ExpiredTokenException", "The security token is expired"),
        AwsFailure::NotFound => Fault::error(400, "ResourceNotFoundException", "Could not find certificate"),
        _ => return None,
    })
}

impl FailingWorld for EmulatorWorld {
    fn fail(&self, operation: Operation, failure: AwsFailure, times: u32) {
        const HTML: &str = "<html><body>Blocked</body></html>";
        let limit = || Fault::error(429, "LimitExceededException", "Limit exceeded").retry_after(Some("2"));
        let fault = match failure {
            AwsFailure::BadRequest => Fault::error(400, "BadRequestException", "Invalid certificate"),
            AwsFailure::Unauthorized => Fault::error(401, "UnauthorizedException", "Unauthorized"),
            AwsFailure::Forbidden => Fault::error(403, "AccessDeniedException", "User is not authorized"),
            AwsFailure::ForbiddenPage => Fault::page(403, "text/html", HTML),
            AwsFailure::ExpiredKey => Fault::error(403, "ExpiredTokenException", "The security token is expired"),
            AwsFailure::NotFound => Fault::error(404, "NotFoundException", "Invalid identifier"),
            AwsFailure::Conflict => Fault::concurrent_modification(),
            AwsFailure::Conflict400 => Fault::concurrent_modification_400(),
            AwsFailure::TooManyRequests => Fault::throttled(Some("7")),
            AwsFailure::TooManyRequestsSilent => Fault::throttled(None),
            AwsFailure::TooManyRequestsOdd => Fault::throttled(Some("Wed, 21 Oct 2026 07:28:00 GMT")),
            AwsFailure::LimitExceeded => limit(),
            AwsFailure::Throttling400 => Fault::error(400, "ThrottlingException", "Rate exceeded"),
            AwsFailure::Redirect => Fault::page(302, "text/html", HTML),
            AwsFailure::Internal => Fault::error(500, "InternalFailure", "Internal server error"),
            AwsFailure::ServiceUnavailable => {
                Fault::error(503, "ServiceUnavailableException", "Unavailable").retry_after(Some("3"))
            }
            AwsFailure::NotJson => Fault::page(200, "text/html", HTML),
            AwsFailure::OtherJson => Fault::page(200, "application/json", r#"{"status":"ok"}"#),
            AwsFailure::Stall => Fault::stall(Duration::from_secs(600)),
            AwsFailure::Drop => Fault::drop_connection(),
            AwsFailure::Large => Fault::large(false),
            AwsFailure::LargeChunked => Fault::large(true),
        };
        let of_acm = Some(failure).filter(|_| operation.service() == Service::Acm).and_then(failure_of_acm);
        self.emulator.inject(of_acm.unwrap_or(fault).on(operation).times(times));
    }
}
