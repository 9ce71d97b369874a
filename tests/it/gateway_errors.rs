//! The operator's reaction to every error of API Gateway, on a real API server: the table "Reads and the last good
//! answer".

mod backoff;
mod certificates;
mod table;

use operator_testing::emulator::Fault;
use std::time::Duration;

/// A failure of API Gateway, and the expected report of it.
#[derive(Clone, Debug)]
struct GatewayFailure {
    /// The name, which is also the id of the certificate with the failure.
    name: &'static str,
    fault: Fault,
    /// The reason of the condition about the failed read.
    reason: &'static str,
    /// The required parts of the message; `{action}` and `{arn}` are replaced.
    says: &'static [&'static str],
    /// Whether Ready stays True with a last good target.
    passes: bool,
    /// Whether the resource is Stalled.
    is_final: bool,
}

const DENIED: &[&str] = &["IAM does not allow {action} on {arn}", "policy"];

/// Every documented error of both pages, and the other failures of a call.
fn all() -> Vec<GatewayFailure> {
    let error = |name, status, error_type, reason, says| GatewayFailure {
        name,
        fault: Fault::error(status, error_type, "Refused by a test"),
        reason,
        says,
        passes: matches!(reason, "Throttled" | "Unavailable"),
        is_final: reason == "BadRequest",
    };
    let other =
        |name, fault, says| GatewayFailure { name, fault, reason: "Unavailable", says, passes: true, is_final: false };
    vec![
        error("bad-request", 400, "BadRequestException", "BadRequest", &["invalid: Refused by a test"]),
        error("unauthorized", 401, "UnauthorizedException", "AccessDenied", DENIED),
        error("access-denied", 403, "AccessDeniedException", "AccessDenied", DENIED),
        error("bad-key", 403, "InvalidSignatureException", "AccessDenied", &["credentials"]),
        error("not-found", 404, "NotFoundException", "NotFound", &["not-found in xx-", "check the id"]),
        error("too-many", 429, "TooManyRequestsException", "Throttled", &["throttling"]),
        error("limit", 429, "LimitExceededException", "Throttled", &["throttling"]),
        error("internal", 500, "InternalFailure", "Unavailable", &["HTTP status 500"]),
        error("unavailable", 503, "ServiceUnavailableException", "Unavailable", &["HTTP status 503"]),
        other("not-json", Fault::page(200, "text/html", "<html>a proxy's page</html>"), &["not the JSON"]),
        other("dropped", Fault::drop_connection(), &["the connection to 127.0.0.1:", "failed: "]),
        other("stalled", Fault::stall(Duration::from_secs(60)), &["timed out"]),
        other("large", Fault::large(false), &["larger than 5 MiB"]),
        other("large-chunked", Fault::large(true), &["larger than 5 MiB"]),
    ]
}

/// Checks the rules for every message.
fn check_message(failure: &GatewayFailure, id: &str, action: &str, message: &str) {
    let name = failure.name;
    assert!(is_message_of(failure, id, action, message), "{name} of {id}: {:?} is not in {message:?}", failure.says);
    assert!(!message.to_lowercase().contains("request id"), "{message}");
}

/// Whether a message reports this failure.
fn is_message_of(failure: &GatewayFailure, id: &str, action: &str, message: &str) -> bool {
    let arn = format!("arn:aws:apigateway:xx-{id}-1::/clientcertificates/{id}");
    // The id is that of the resource with the failure, which is not always the name of the failure.
    let filled = |says: &&str| {
        says.replace("{action}", action).replace("{arn}", &arn).replace("not-found in", &format!("{id} in"))
    };
    failure.says.iter().map(filled).all(|says| message.contains(&says))
}
