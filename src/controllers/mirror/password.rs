//! The password of a truststore: from the Secret that the spec names, or a new one. Takes one request in a reconcile,
//! and none for a resource without a truststore or with its password in the target.

use k8s_openapi::api::core::v1::Secret;
use kube::Api;

use super::{Context, classify};
use crate::api::{ClientCertificateRef, PASSWORD_LABEL, SecretKeyRef, TargetKind};
use crate::error::ClusterFailure;
use crate::target::{NoPassword, Password, PasswordWanted, password_wanted};
use crate::text::hex;

/// Reads the password of the resource's truststore; `None` if the resource has no truststore.
pub async fn look_for_password<G>(
    resource: &ClientCertificateRef,
    context: &Context<G>,
) -> Option<Result<Password, NoPassword>> {
    Some(match password_wanted(resource)? {
        PasswordWanted::Made(_) => new_password(),
        PasswordWanted::Given(place) => read(resource, place, context).await,
    })
}

/// A random password, because it protects the integrity of the truststore.
fn new_password() -> Result<Password, NoPassword> {
    let mut random = [0_u8; 16];
    let filled = getrandom::fill(&mut random).ok();
    filled
        .and_then(|()| Password::made(hex(&random).as_bytes()))
        .ok_or_else(|| NoPassword::Absent("the operating system returned no random numbers for a password".to_owned()))
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
            "Secret {name} is the target itself; set another Secret, or remove passwordSecretRef to use a password that the operator generates in the target"
        )));
    }
    if !context.settings.target_kinds.contains(TargetKind::Secret) {
        return Err(absent(
            "the operator does not read Secrets; remove passwordSecretRef to use a password that the operator generates in the target, or add Secret to the operator's --target-kinds and RBAC rules".to_owned(),
        ));
    }
    let secrets: Api<Secret> = Api::namespaced(context.client.clone(), resource.namespace());
    let secret = match secrets.get_opt(name).await.map_err(|error| classify(&error, "get", TargetKind::Secret)) {
        Ok(Some(secret)) => secret,
        Ok(None) => {
            return Err(absent(format!("Secret {name} does not exist; create it with the password in key {key}")));
        }
        Err(failure @ ClusterFailure::Forbidden { .. }) => return Err(absent(format!("Secret {name}: {failure}"))),
        Err(failure) => return Err(NoPassword::Unseen(failure)),
    };
    // A user who may create a resource must not test guesses against every Secret. The label is the consent of the
    // Secret's owner.
    let labels = secret.metadata.labels.as_ref();
    if labels.and_then(|labels| labels.get(PASSWORD_LABEL)).is_none_or(|value| value != "true") {
        return Err(absent(format!(
            "Secret {name} does not have the label {PASSWORD_LABEL}: \"true\", which allows its values as truststore passwords; add the label, or remove passwordSecretRef to use a password that the operator generates in the target"
        )));
    }
    match secret.data.as_ref().and_then(|data| data.get(key)) {
        None => Err(absent(format!("Secret {name} has no key {key}; add the key, or set another key"))),
        Some(value) => Password::given(without_line_end(&value.0)).ok_or_else(|| {
            absent(format!(
                "key {key} of Secret {name} holds no password that Java accepts; set it to 1 to 128 printable ASCII characters"
            ))
        }),
    }
}

/// Removes a final line end: a Secret that was created from a file often ends with a newline that is not part of the
/// password.
fn without_line_end(value: &[u8]) -> &[u8] {
    let value = value.strip_suffix(b"\n").unwrap_or(value);
    value.strip_suffix(b"\r").unwrap_or(value)
}
