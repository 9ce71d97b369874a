//! The target is kept as the table of targets says, on a real API server and under the operator's own rights.

mod deleted;
mod foreign;
mod fought;
mod invalid;
mod kept;
mod renamed;
mod suspended;

use k8s_openapi::api::core::v1::Secret;

/// All of a Secret that the operator has a say in: not its version, nor when it was made.
fn essence(secret: &Secret) -> Secret {
    let mut secret = secret.clone();
    secret.metadata.resource_version = None;
    secret.metadata.creation_timestamp = None;
    secret.metadata.uid = None;
    secret.metadata.managed_fields = None;
    secret
}
