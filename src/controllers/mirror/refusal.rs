//! Classifies the API server's refusals of requests for targets.

use crate::api::TargetKind;
use crate::error::ClusterFailure;
use crate::text;

/// The class of an error from a request for a target.
pub fn classify(error: &kube::Error, verb: &'static str, kind: TargetKind) -> ClusterFailure {
    let kube::Error::Api(status) = error else {
        return ClusterFailure::Unavailable { cause: "no connection".to_owned() };
    };
    let message = status.message.as_str();
    let has_cause =
        |reason: &str| status.details.iter().flat_map(|details| &details.causes).any(|cause| cause.reason == reason);
    match status.code {
        403 if has_cause("NamespaceTerminating") => ClusterFailure::NamespaceTerminating,
        403 if message.contains("exceeded quota") => ClusterFailure::QuotaExceeded,
        // The word "cannot" is in RBAC's message, and not in that of an admission plugin.
        403 if message.contains("cannot") => ClusterFailure::Forbidden { verb, resource: kind.plural() },
        404 if message.starts_with("namespaces ") => ClusterFailure::NamespaceTerminating,
        404 | 410 => ClusterFailure::Conflict,
        409 if status.reason == "AlreadyExists" => ClusterFailure::AlreadyExists,
        409 => ClusterFailure::Conflict,
        413 => ClusterFailure::TooLarge,
        422 if message.contains("Too long") || message.contains("too long") => ClusterFailure::TooLarge,
        429 | 500..=599 if !message.contains("denied") => {
            ClusterFailure::Unavailable { cause: format!("HTTP status {}", status.code) }
        }
        _ => ClusterFailure::Refused { message: text::stable(message) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::response::{Status, StatusCause, StatusDetails};

    fn api(code: u16, reason: &str, message: &str, cause: &str) -> kube::Error {
        let mut status = Status::failure(message, reason).with_code(code);
        status.details = Some(StatusDetails {
            name: String::new(),
            group: String::new(),
            kind: String::new(),
            uid: String::new(),
            causes: vec![StatusCause { reason: cause.into(), message: String::new(), field: String::new() }],
            retry_after_seconds: 0,
        });
        kube::Error::Api(Box::new(status))
    }

    #[test]
    fn every_answer_of_the_api_server_has_its_class() {
        let forbidden = ClusterFailure::Forbidden { verb: "create", resource: "secrets" };
        for (error, failure) in [
            (api(409, "AlreadyExists", "secrets \"x\" already exists", ""), ClusterFailure::AlreadyExists),
            (api(409, "Conflict", "the object has been modified", ""), ClusterFailure::Conflict),
            (api(404, "NotFound", "secrets \"x\" not found", ""), ClusterFailure::Conflict),
            (api(404, "NotFound", "namespaces \"x\" not found", ""), ClusterFailure::NamespaceTerminating),
            (
                api(403, "Forbidden", "unable to create new content", "NamespaceTerminating"),
                ClusterFailure::NamespaceTerminating,
            ),
            (api(403, "Forbidden", "exceeded quota: q, used: secrets=5", ""), ClusterFailure::QuotaExceeded),
            (api(403, "Forbidden", "User \"u\" cannot create resource \"secrets\"", ""), forbidden),
            (api(422, "Invalid", "data: Too long: may not be more than 1048576 bytes", ""), ClusterFailure::TooLarge),
            (api(413, "RequestEntityTooLarge", "limit is 3145728", ""), ClusterFailure::TooLarge),
            (
                api(422, "Invalid", "ValidatingAdmissionPolicy 'p' denied request: no", ""),
                ClusterFailure::Refused { message: "ValidatingAdmissionPolicy 'p' denied request: no".into() },
            ),
            (
                api(400, "BadRequest", "admission webhook \"w\" denied the request: no", ""),
                ClusterFailure::Refused { message: "admission webhook \"w\" denied the request: no".into() },
            ),
            (api(500, "InternalError", "etcd", ""), ClusterFailure::Unavailable { cause: "HTTP status 500".into() }),
        ] {
            assert_eq!(classify(&error, "create", TargetKind::Secret), failure);
        }
        let error = api(403, "Forbidden", "User \"u\" cannot update resource \"configmaps\"", "");
        let forbidden = ClusterFailure::Forbidden { verb: "update", resource: "configmaps" };
        assert_eq!(classify(&error, "update", TargetKind::ConfigMap), forbidden);
    }
}
