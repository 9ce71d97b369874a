//! The meaning of each condition, and the cause and remedy of each reason: the text of `docs/reference/conditions.md`.
//! A reason without a cause and a remedy does not compile.

use super::{ConditionType, Is, Reason};

/// A reason of one condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The condition that has the reason.
    pub of: ConditionType,
    /// The status of the condition with this reason.
    pub is: Is,
    /// The cause of the reason.
    pub cause: &'static str,
    /// The action for the user, and when the operator retries.
    pub remedy: &'static str,
}

impl ConditionType {
    /// Every type, in the order of the reference.
    pub const ALL: [ConditionType; 9] = [
        ConditionType::Ready,
        ConditionType::CertificateRead,
        ConditionType::AdditionalCertificatesRead,
        ConditionType::TargetWritten,
        ConditionType::SafeToSwitch,
        ConditionType::DescriptionSynced,
        ConditionType::Expiring,
        ConditionType::Stalled,
        ConditionType::Suspended,
    ];

    /// The meaning of the condition, when a resource has it, and whether it changes Ready.
    pub fn meaning(self) -> &'static str {
        match self {
            ConditionType::Ready => {
                "The condition to wait for. It is True exactly when the target holds an unexpired certificate of the spec's main id, and the last read from API Gateway succeeded or failed only temporarily (`Throttled`, `Unavailable`). If Ready is False, it has the reason of the condition that failed: CertificateRead or TargetWritten."
            }
            ConditionType::CertificateRead => {
                "The operator read the main certificate from API Gateway. If the target holds a certificate, `Throttled` and `Unavailable` change no condition until they have lasted for `spec.refreshInterval`; after that, this condition alone is False. They never replace another failure, for example `NotFound`. The log and the metrics show them at once."
            }
            ConditionType::AdditionalCertificatesRead => {
                "The operator read the additional certificates. A resource has this condition only with `spec.additionalClientCertificateIds` or `spec.additionalClientCertificateTags`. If certificates cannot be read, the condition has the reason of the first one, as in CertificateRead, and the message has a sentence for each certificate; the target holds the last version that the operator read, if any. This condition never changes Ready."
            }
            ConditionType::TargetWritten => {
                "The target has the content that the spec requires. If a write fails, the target stays as it was."
            }
            ConditionType::SafeToSwitch => {
                "A stage may be switched to every certificate of the target other than the main certificate. A resource has this condition only while its target holds such a certificate. If the target could not be written, the condition has the reason of TargetWritten. This condition never changes Ready."
            }
            ConditionType::DescriptionSynced => {
                "API Gateway holds the description of the spec. A resource has this condition only with `spec.description`. After a failed read or update, the condition has the reason of CertificateRead. This condition never changes Ready."
            }
            ConditionType::Expiring => "The main certificate expires soon. This condition never changes Ready.",
            ConditionType::Stalled => {
                "Retrying does not help: a user has to change the spec, AWS or the cluster. A resource has this condition only while it is True, with the reason of the failed condition. Flux and Helm then fail at once instead of at their timeout."
            }
            ConditionType::Suspended => {
                "`spec.suspend` is true. A resource has this condition only while it is True; the other conditions stay as they were."
            }
        }
    }
}

impl Reason {
    /// The explanations of the reason, one for each condition that can have it. Ready and Stalled mostly repeat the
    /// reason of another condition; they have an explanation only for a reason that no other condition has.
    pub fn explanations(self) -> Vec<Explanation> {
        use ConditionType::{
            AdditionalCertificatesRead, CertificateRead, DescriptionSynced, Expiring, Ready, SafeToSwitch, Suspended,
            TargetWritten,
        };
        let one = |of, is, cause, remedy| Explanation { of, is, cause, remedy };
        match self {
            Reason::Mirrored => vec![one(Ready, Is::True, "The target holds the certificate.", "Nothing.")],
            Reason::Read => vec![
                one(CertificateRead, Is::True, "API Gateway returned the certificate.", "Nothing."),
                one(
                    AdditionalCertificatesRead,
                    Is::True,
                    "API Gateway returned every additional certificate.",
                    "Nothing.",
                ),
            ],
            Reason::NotRead => vec![
                one(
                    CertificateRead,
                    Is::Unknown,
                    "API Gateway has not responded yet.",
                    "Nothing. If the reason stays, check that the operator runs and watches the namespace.",
                ),
                one(
                    AdditionalCertificatesRead,
                    Is::Unknown,
                    "API Gateway has not returned every certificate yet, or its list contains no tags.",
                    "Nothing.",
                ),
            ],
            Reason::NotFound => vec![one(
                CertificateRead,
                Is::False,
                "The account and region have no such certificate.",
                "Check the id and the region, or create the certificate. The operator tries again after `refreshInterval`, doubling to 1 h, and at once on a refresh.",
            )],
            Reason::AccessDenied => vec![one(
                CertificateRead,
                Is::False,
                "IAM does not allow the call; AWS rejects the credentials or the identity of the operator's pod (the message has AWS's code and text); a configured source of credentials returns none; or AWS does not allow the operator to assume the role.",
                "Add the action in the message to the policy, renew the credentials, or correct the role's trust policy. The operator tries again after 30 s, doubling to 10 min, but at most `refreshInterval`.",
            )],
            Reason::BadRequest => vec![one(
                CertificateRead,
                Is::False,
                "API Gateway rejects the request as invalid, or no region is set.",
                "Do what the message says. The operator tries again after `refreshInterval`.",
            )],
            Reason::Throttled => vec![one(
                CertificateRead,
                Is::False,
                "API Gateway throttles the calls: the account has used its 10 requests per second.",
                "Nothing. To prevent it, find the client that uses the requests. The operator pauses its calls in the account and region for `Retry-After`, at most 5 min, or 1 s without one.",
            )],
            Reason::Unavailable => vec![
                one(
                    CertificateRead,
                    Is::False,
                    "The call timed out or the connection failed (DNS, closed port, untrusted certificate, refusal of a proxy; the message names host and cause); the response is 5xx, a 404 that does not come from API Gateway, not JSON, or larger than 5 MiB; or the operator has no AWS credentials or no session of the role yet.",
                    "Do what the message says. The operator tries again after 1 s, doubling to 60 s, and sooner after another response for that account and region.",
                ),
                one(
                    TargetWritten,
                    Is::False,
                    "The API server is temporarily unable to accept the write.",
                    "Nothing. The operator tries again after 1 s, doubling to 60 s.",
                ),
                one(
                    DescriptionSynced,
                    Is::False,
                    "The operator does not know its own account. If the rules allow roles, the operator needs the account to decide which resource owns a description.",
                    "Allow the operator to reach AWS STS.",
                ),
            ],
            Reason::InvalidCertificate => vec![one(
                CertificateRead,
                Is::False,
                "The response contains no certificate, or other data beside certificates, or a certificate that OpenSSL or Envoy would not load because the certificate is not strict DER; or an ACM certificate lacks clientAuth in its extended key usage, or has more than five certificates in its chain.",
                "Inspect the certificate with `aws apigateway get-client-certificate` or `aws acm get-certificate`. The operator tries again after `refreshInterval`.",
            )],
            Reason::Expired => vec![one(
                CertificateRead,
                Is::False,
                "The certificate has expired.",
                "Generate a new certificate, set `spec.clientCertificateId` to its id and select it on the stage. The operator tries again after `refreshInterval`.",
            )],
            Reason::NotYetValid => vec![one(
                CertificateRead,
                Is::False,
                "The certificate is not valid before the time in the message. The target keeps the last valid certificate.",
                "Nothing, or check the clock of the nodes. The operator tries again at that time.",
            )],
            Reason::StageHasNoCertificate => vec![one(
                CertificateRead,
                Is::False,
                "The stage that `spec.stage` names has no client certificate, so its backends cannot distinguish its calls from those of other clients. The target keeps the last certificate.",
                "Select a client certificate on the stage. The operator tries again after `refreshInterval`.",
            )],
            Reason::StageNotFound => vec![one(
                CertificateRead,
                Is::False,
                "The account and region have no such stage, or no such REST API. The target keeps the last certificate.",
                "Check `spec.stage`, the region and the role. The operator tries again after `refreshInterval`, doubling to 1 h if the API is missing.",
            )],
            Reason::AcmNotAllowed => vec![one(
                CertificateRead,
                Is::False,
                "The stage presents an ACM certificate, and `spec.stage.acm` is `Refuse`. The target keeps the last certificate.",
                "Set `spec.stage.acm` to `Trust`, which trusts every certificate of the same CA, or select a client certificate that API Gateway generated.",
            )],
            Reason::NotIssued => vec![one(
                CertificateRead,
                Is::False,
                "ACM has not issued the certificate: it is pending, or its validation failed. The target keeps the last certificate.",
                "Complete the validation in ACM, or import a certificate. The operator tries again after `refreshInterval`.",
            )],
            Reason::Revoked => vec![one(
                CertificateRead,
                Is::False,
                "The certificate is revoked or inactive in ACM. The target keeps the last certificate.",
                "Select another certificate.",
            )],
            Reason::NotApplicable => vec![one(
                DescriptionSynced,
                Is::False,
                "The stage presents an ACM certificate, which has no description in API Gateway.",
                "Remove `spec.description`.",
            )],
            Reason::RoleNotAllowed => vec![one(
                CertificateRead,
                Is::False,
                "The operator's rules do not allow this role, its external id, or the operator's own credentials for the namespace, or no rule names the namespace.",
                "Ask the administrator of the operator for a rule. The operator tries again when its rules change.",
            )],
            Reason::RegionNotAllowed => vec![one(
                CertificateRead,
                Is::False,
                "The operator's rules do not allow this region for the namespace.",
                "Ask the administrator of the operator for a rule. The operator tries again when its rules change.",
            )],
            Reason::CertificateNotAllowed => vec![one(
                CertificateRead,
                Is::False,
                "The operator's rules do not allow this certificate, or the REST API of the stage, for the namespace.",
                "Ask the administrator of the operator for a rule. The operator tries again when its rules change.",
            )],
            Reason::Written => {
                vec![one(TargetWritten, Is::True, "The target has the content that the spec requires.", "Nothing.")]
            }
            Reason::NoCertificate => {
                vec![one(TargetWritten, Is::Unknown, "There is no certificate to write yet.", "See CertificateRead.")]
            }
            Reason::TargetExists => vec![one(
                TargetWritten,
                Is::False,
                "An object with this name exists, and does not belong to the operator.",
                "Change `spec.target.name`, delete the object, or set `spec.target.adopt`.",
            )],
            Reason::NotAdoptable => vec![one(
                TargetWritten,
                Is::False,
                "The operator cannot adopt the existing object: the object has other keys or another type, is immutable, or has another manager.",
                "Remove the obstacle that the message names, or change `spec.target.name`.",
            )],
            Reason::OwnedByAnother => vec![
                one(
                    TargetWritten,
                    Is::False,
                    "The object belongs to another ClientCertificateRef.",
                    "Change `spec.target.name`, or delete the other resource.",
                ),
                one(
                    DescriptionSynced,
                    Is::False,
                    "The older resource in the message owns the description of this certificate.",
                    "Remove `spec.description` from one of the two resources.",
                ),
            ],
            Reason::TypeImmutable => vec![one(
                TargetWritten,
                Is::False,
                "The Secret has another type, and the type of a Secret is immutable.",
                "Change `spec.target.name`.",
            )],
            Reason::KindNotAllowed => vec![one(
                TargetWritten,
                Is::False,
                "The operator does not write objects of this kind.",
                "Change `spec.target.kind`, or add the kind to `--target-kinds` and to the operator's RBAC rules.",
            )],
            Reason::Forbidden => vec![one(
                TargetWritten,
                Is::False,
                "RBAC does not allow the operator to write the target.",
                "Grant the right in the message to the operator's ServiceAccount.",
            )],
            Reason::NamespaceTerminating => {
                vec![one(TargetWritten, Is::False, "The namespace is being deleted.", "Nothing.")]
            }
            Reason::NoPassword => vec![one(
                TargetWritten,
                Is::False,
                "The password of the truststore is not where `spec.target.pkcs12.passwordSecretRef` says, or its Secret lacks the label that allows it, or Java does not accept it (1 to 128 printable ASCII characters).",
                "Do what the message says. The operator tries again within a minute.",
            )],
            Reason::QuotaExceeded => vec![one(
                TargetWritten,
                Is::False,
                "The target exceeds a ResourceQuota of the namespace.",
                "Raise the ResourceQuota, or delete objects.",
            )],
            Reason::TooLarge => vec![one(
                TargetWritten,
                Is::False,
                "The target would exceed 1 MiB, or the status 512 KiB.",
                "Use fewer keys, or fewer additional certificates.",
            )],
            Reason::Refused => vec![one(
                TargetWritten,
                Is::False,
                "An admission policy, a webhook or validation rejected the write.",
                "Do what the message says: it contains their reason.",
            )],
            Reason::Mutated => vec![one(
                TargetWritten,
                Is::False,
                "An admission policy changes the field that the message names.",
                "Exempt the object from the policy. The operator tries again after 1 s, doubling to 60 s.",
            )],
            Reason::Conflict => vec![
                one(
                    TargetWritten,
                    Is::False,
                    "Another writer changed the object at the same time, or the object is being deleted.",
                    "Nothing. The operator tries again after 1 s, doubling to 60 s, or after the deletion.",
                ),
                one(
                    DescriptionSynced,
                    Is::False,
                    "API Gateway was changing the certificate at the same time (HTTP status 409).",
                    "Nothing. The operator reads the certificate and tries again.",
                ),
            ],
            Reason::Contested => vec![
                one(
                    TargetWritten,
                    Is::False,
                    "Another writer undoes every repair of the object.",
                    "Find that writer in the object's `managedFields`. The operator waits 1 s, doubling to 60 s, between repairs.",
                ),
                one(
                    DescriptionSynced,
                    Is::False,
                    "Another writer (Terraform, another cluster) changed the description three times in an hour.",
                    "Remove the description from one of the two writers. The operator tries again once an hour.",
                ),
            ],
            Reason::Synced => {
                vec![one(DescriptionSynced, Is::True, "API Gateway holds the description.", "Nothing.")]
            }
            Reason::SameAsOwner => vec![one(
                DescriptionSynced,
                Is::True,
                "An older resource owns the description, and has the same description.",
                "Nothing.",
            )],
            Reason::DescriptionNotAllowed => vec![one(
                DescriptionSynced,
                Is::False,
                "The operator runs with `--manage-descriptions=false`, or its rules do not allow the namespace to own descriptions.",
                "Remove `spec.description`, or ask the administrator of the operator.",
            )],
            Reason::NotApplied => vec![one(
                DescriptionSynced,
                Is::False,
                "API Gateway stored a description that differs from the description that the operator sent.",
                "Compare both descriptions. The operator sends the description again when one of them changes.",
            )],
            Reason::EndsSoon => vec![one(
                Expiring,
                Is::True,
                "The certificate expires within `--expiring-within` (30 days).",
                "Renew the certificate.",
            )],
            Reason::EndsLater => vec![one(Expiring, Is::False, "The certificate expires later.", "Nothing.")],
            Reason::Suspended => vec![one(
                Suspended,
                Is::True,
                "`spec.suspend` is true.",
                "Set `spec.suspend` to false. The operator then reads the certificate again.",
            )],
            Reason::InvalidSpec => vec![one(
                Ready,
                Is::False,
                "The stored resource does not match the schema, for example because it was stored before a change of the schema.",
                "Correct the resource and apply it again.",
            )],
            Reason::Soaked => vec![one(
                SafeToSwitch,
                Is::True,
                "The target has held each certificate for `spec.soak`, and its servers accept all of them.",
                "Switch the stage.",
            )],
            Reason::Soaking => vec![one(
                SafeToSwitch,
                Is::False,
                "The target has not held a certificate for `spec.soak` yet.",
                "Wait until the time in the message.",
            )],
            Reason::FirstWins => vec![one(
                SafeToSwitch,
                Is::False,
                "The servers that read the target may accept only the first certificate.",
                "Compare pins, or set `spec.target.verifierClass` if the servers accept every certificate.",
            )],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_cause_and_a_remedy() {
        for reason in Reason::ALL {
            let explanations = reason.explanations();
            assert!(!explanations.is_empty(), "{reason}");
            for explanation in explanations {
                let ends = [explanation.cause, explanation.remedy].map(|text| text.ends_with('.'));
                assert_eq!(ends, [true, true], "{reason} of {}", explanation.of);
            }
        }
    }
}
