//! The password of a truststore: read where the spec says, or a new one offered. One request a pass, and none for a
//! resource that has no truststore or keeps its password in the target.

use k8s_openapi::api::core::v1::Secret;
use kube::Api;

use super::{Context, classify};
use crate::api::{ClientCertificateRef, PASSWORD_LABEL, SecretKeyRef, TargetKind};
use crate::error::ClusterFailure;
use crate::target::{NoPassword, Password, PasswordWanted, password_wanted};
use crate::text::hex;

/// Looks for the password that a truststore of this resource is made with; none where it has no truststore.
pub async fn look_for_password<G>(
    resource: &ClientCertificateRef,
    context: &Context<G>,
) -> Option<Result<Password, NoPassword>> {
    Some(match password_wanted(resource)? {
        PasswordWanted::Made(_) => new_password(),
        PasswordWanted::Given(place) => read(resource, place, context).await,
    })
}

/// Whoever knows the password could make another truststore of the same looks, so it is made of what nobody can guess.
fn new_password() -> Result<Password, NoPassword> {
    let mut random = [0_u8; 16];
    let filled = getrandom::fill(&mut random).ok();
    filled
        .and_then(|()| Password::made(hex(&random).as_bytes()))
        .ok_or_else(|| NoPassword::Absent("the operating system gives no random numbers for a password".to_owned()))
}

async fn read<G>(
    resource: &ClientCertificateRef,
    place: &SecretKeyRef,
    context: &Context<G>,
) -> Result<Password, NoPassword> {
    let SecretKeyRef { name, key } = place;
    let absent = |what: String| NoPassword::Absent(format!("target.pkcs12.passwordSecretRef: {what}"));
    let target = resource.target_ref();
    if target.kind == TargetKind::Secret && target.name == *name {
        return Err(absent(format!(
            "the Secret {name} is the target itself, whose data is all the operator's: name another, or leave passwordSecretRef out for a password that is made and kept in the target"
        )));
    }
    if !context.settings.target_kinds.contains(TargetKind::Secret) {
        return Err(absent(
            "the operator is set to work without Secrets: leave passwordSecretRef out for a password that is made and kept in the target, or add Secret to the operator's --target-kinds and to its rights".to_owned(),
        ));
    }
    let secrets: Api<Secret> = Api::namespaced(context.client.clone(), resource.namespace());
    let secret = match secrets.get_opt(name).await.map_err(|error| classify(&error, "get", TargetKind::Secret)) {
        Ok(Some(secret)) => secret,
        Ok(None) => {
            return Err(absent(format!("there is no Secret {name}: create it, with the password under the key {key}")));
        }
        Err(failure @ ClusterFailure::Forbidden { .. }) => return Err(absent(format!("the Secret {name}: {failure}"))),
        Err(failure) => return Err(NoPassword::Unseen(failure)),
    };
    // Who may create a resource must not have guesses tried on whatever Secret there is: its owner agrees by the label.
    let labels = secret.metadata.labels.as_ref();
    if labels.and_then(|labels| labels.get(PASSWORD_LABEL)).is_none_or(|value| value != "true") {
        return Err(absent(format!(
            "the Secret {name} does not carry the label {PASSWORD_LABEL}: \"true\", by which its owner lets its values be passwords of truststores: set it there, or leave passwordSecretRef out for a password that is made and kept in the target"
        )));
    }
    match secret.data.as_ref().and_then(|data| data.get(key)) {
        None => Err(absent(format!("the Secret {name} has no key {key}: put the password there, or name another key"))),
        Some(value) => Password::given(without_line_end(&value.0)).ok_or_else(|| {
            absent(format!(
                "the key {key} of the Secret {name} holds no password that Java takes, which is 1 to 128 printable ASCII characters: put one there"
            ))
        }),
    }
}

/// What is made of a file often ends in one that nobody means.
fn without_line_end(value: &[u8]) -> &[u8] {
    let value = value.strip_suffix(b"\n").unwrap_or(value);
    value.strip_suffix(b"\r").unwrap_or(value)
}
