//! The operator's own access key in a file, and its rotation while the operator runs.

use std::path::Path;

use operator_testing::emulator::{AccessKey, DEFAULT_REGION, NewRole};
use operator_testing::wait::eventually;
use serde_json::{Value, json};

use super::{AFTER_A_DENIAL, ALLOWED, ROLE, Ruled, by, message};
use crate::fixture::{ID, condition};
use crate::ground::started;

/// Writes a profile and renames it into place, like a rotation.
fn write_key(folder: &Path, key: &AccessKey) {
    let text = format!("[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n", key.id, key.secret);
    std::fs::write(folder.join("next"), text).unwrap();
    std::fs::rename(folder.join("next"), folder.join("credentials")).unwrap();
}

async fn rotates(prefix: &str, spec: Value) {
    let mut ruled = Ruled::without_operator(prefix, ALLOWED).await;
    ruled.emulator.add_role(NewRole::new(ROLE));
    ruled.generate_there(DEFAULT_REGION, ID);
    let folder = tempfile::tempdir().unwrap();
    let old = ruled.emulator.access_key().clone();
    write_key(folder.path(), &old);
    let builder = ruled.builder().env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
    let builder = builder.env("AWS_SHARED_CREDENTIALS_FILE", folder.path().join("credentials"));
    ruled.operator = Some(started(&builder.arg("--rules-file").arg(ruled.file.path())).await);
    ruled.create_ready("one", spec).await;

    // The old key ends first, so that AWS refuses it, and the file gets the new key afterwards.
    let new = ruled.emulator.rotate_access_key();
    ruled.emulator.expire_sessions(ROLE);
    ruled.ask_and_hear("one", "look").await;
    let resource = eventually(AFTER_A_DENIAL, "the refusal of the key is reported", async || {
        let resource = ruled.resource("one").await;
        let read = condition(&resource, "CertificateRead").unwrap();
        if read.status == "False" && read.message.contains("InvalidClientToken")
            || read.message.contains("UnrecognizedClient")
        {
            Ok(resource)
        } else {
            Err(format!("{read:?}"))
        }
    })
    .await;
    let reported = message(&resource, "CertificateRead");
    assert!(reported.contains("AWS refused the operator's credentials"), "{reported}");
    ruled.until("one", "TargetWritten", "True", "Written").await;
    write_key(folder.path(), &new);
    eventually(AFTER_A_DENIAL, "the new key is picked up", async || {
        let resource = ruled.resource("one").await;
        let is = |type_| condition(&resource, type_).is_some_and(|condition| condition.status == "True");
        if is("Ready") && is("CertificateRead") {
            Ok(())
        } else {
            Err(message(&resource, "CertificateRead").to_owned())
        }
    })
    .await;
    let log = ruled.operator.as_ref().unwrap().logs().join("\n");
    assert!(!log.contains(&old.secret) && !log.contains(&new.secret), "a secret is in the log");
}

#[tokio::test]
async fn a_rotated_key_is_loaded() {
    rotates("own-key", json!({})).await;
}

#[tokio::test]
async fn a_rotated_key_that_only_assumes_roles_is_loaded() {
    rotates("own-key-role", by(ROLE)).await;
}
