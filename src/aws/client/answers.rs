//! Converts the SDK's responses to [`ClientCertificate`], [`Stage`] and [`AcmCertificate`].

use std::collections::HashMap;

use aws_sdk_acm::operation::describe_certificate::DescribeCertificateOutput;
use aws_sdk_acm::operation::get_certificate::{GetCertificateError, GetCertificateOutput};
use aws_sdk_acm::types::CertificateStatus;
use aws_sdk_apigateway::error::SdkError;
use aws_sdk_apigateway::operation::get_client_certificate::GetClientCertificateOutput;
use aws_sdk_apigateway::operation::get_client_certificates::GetClientCertificatesOutput;
use aws_sdk_apigateway::operation::get_stages::GetStagesOutput;
use aws_sdk_apigateway::operation::update_client_certificate::UpdateClientCertificateOutput;
use aws_sdk_apigateway::primitives::DateTime;
use aws_sdk_sts::operation::get_caller_identity::GetCallerIdentityOutput;
use jiff::Timestamp;

use super::errors::Failure;
use crate::aws::gateway::{AcmCertificate, AcmStatus, ClientCertificate, Page, Source, Stage};

/// A response without a PEM is an error: it probably comes from a proxy, not from API Gateway. An empty or invalid PEM
/// passes here; [`answer`](crate::aws::answer) checks it.
pub(super) fn of_get(source: &Source, answer: GetClientCertificateOutput) -> Result<ClientCertificate, Failure> {
    let pem = answer.pem_encoded_certificate.ok_or_else(Failure::not_understood)?;
    certificate(
        source,
        answer.client_certificate_id,
        answer.description,
        [answer.created_date, answer.expiration_date],
        pem,
        answer.tags,
    )
}

/// The caller needs only the description of this response, so a response without a PEM is valid.
pub(super) fn of_update(source: &Source, answer: UpdateClientCertificateOutput) -> Result<ClientCertificate, Failure> {
    certificate(
        source,
        answer.client_certificate_id,
        answer.description,
        [answer.created_date, answer.expiration_date],
        answer.pem_encoded_certificate.unwrap_or_default(),
        answer.tags,
    )
}

/// A page of the list. An invalid item is left out: a resource that names the certificate reads it by id and gets the
/// error. A response without the element `item` is an error.
pub(super) fn of_list(answer: GetClientCertificatesOutput) -> Result<Page, Failure> {
    let items = answer.items.ok_or_else(Failure::not_understood)?;
    let usable = items.into_iter().filter_map(|item| {
        let dates = [item.created_date, item.expiration_date];
        Some(elements(item.client_certificate_id?, item.description, dates, item.pem_encoded_certificate?, item.tags))
    });
    Ok(Page { certificates: usable.collect(), next: answer.position.filter(|position| !position.is_empty()) })
}

/// The stages of an API. A stage without a name is left out, because no resource can name it. A response without the
/// element `item` is an error.
pub(super) fn of_stages(answer: GetStagesOutput) -> Result<Vec<Stage>, Failure> {
    let items = answer.item.ok_or_else(Failure::not_understood)?;
    let named = items.into_iter().filter_map(|item| {
        let name = item.stage_name.filter(|name| !name.is_empty())?;
        Some(Stage { name, certificate: item.client_certificate_id.filter(|id| !id.is_empty()) })
    });
    Ok(named.collect())
}

/// The ARN, status and date of an ACM certificate, without its PEM.
pub(super) fn of_describe(arn: &str, answer: DescribeCertificateOutput) -> Result<AcmCertificate, Failure> {
    let detail = answer.certificate.ok_or_else(Failure::not_understood)?;
    // A broken cache or proxy must not replace one certificate with another.
    let arn = detail.certificate_arn.filter(|said| said == arn).ok_or_else(Failure::not_understood)?;
    let status = detail.status.as_ref().and_then(acm_status).ok_or_else(Failure::not_understood)?;
    Ok(AcmCertificate { arn, status, expires: detail.not_after.and_then(timestamp), leaf: None, chain: None })
}

/// The PEM of the certificate, and of its chain if there is one. A response without a PEM is an error.
pub(super) fn of_get_acm(answer: GetCertificateOutput) -> Result<(String, Option<String>), Failure> {
    let leaf = answer.certificate.ok_or_else(Failure::not_understood)?;
    Ok((leaf, answer.certificate_chain.filter(|chain| !chain.is_empty())))
}

/// Whether ACM has not issued the certificate yet, even if DescribeCertificate returned another status just before.
pub(super) fn is_in_progress<R>(error: &SdkError<GetCertificateError, R>) -> bool {
    error.as_service_error().is_some_and(GetCertificateError::is_request_in_progress_exception)
}

fn acm_status(status: &CertificateStatus) -> Option<AcmStatus> {
    Some(match status {
        CertificateStatus::Issued => AcmStatus::Issued,
        CertificateStatus::PendingValidation => AcmStatus::Pending,
        CertificateStatus::Failed | CertificateStatus::ValidationTimedOut => AcmStatus::Failed,
        CertificateStatus::Revoked => AcmStatus::Revoked,
        CertificateStatus::Inactive => AcmStatus::Inactive,
        CertificateStatus::Expired => AcmStatus::Expired,
        _ => return None,
    })
}

/// The account of the caller.
pub(super) fn of_identity(answer: GetCallerIdentityOutput) -> Result<String, Failure> {
    answer.account.filter(|account| !account.is_empty()).ok_or_else(Failure::not_understood)
}

fn certificate(
    source: &Source,
    id: Option<String>,
    description: Option<String>,
    dates: [Option<DateTime>; 2],
    pem: String,
    tags: Option<HashMap<String, String>>,
) -> Result<ClientCertificate, Failure> {
    // A broken cache or proxy must not replace one certificate with another.
    let id = id.filter(|id| *id == source.id).ok_or_else(Failure::not_understood)?;
    Ok(elements(id, description, dates, pem, tags))
}

fn elements(
    id: String,
    description: Option<String>,
    [created, expires]: [Option<DateTime>; 2],
    pem: String,
    tags: Option<HashMap<String, String>>,
) -> ClientCertificate {
    ClientCertificate {
        id,
        description: description.unwrap_or_default(),
        created: created.and_then(timestamp),
        expires: expires.and_then(timestamp),
        pem,
        tags: tags.unwrap_or_default().into_iter().collect(),
    }
}

fn timestamp(date: DateTime) -> Option<Timestamp> {
    Timestamp::new(date.secs(), i32::try_from(date.subsec_nanos()).ok()?).ok()
}
