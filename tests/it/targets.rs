//! The operator keeps the target as the table of targets documents, with a real API server and the operator's
//! permissions.

/// Makes tests of functions that are generic over the kind of target: each for Secrets and for ConfigMaps.
macro_rules! for_both_kinds {
    ($($name:ident),* $(,)?) => {
        mod of_secrets {
            $(#[tokio::test]
            async fn $name() {
                super::$name::<k8s_openapi::api::core::v1::Secret>().await;
            })*
        }
        mod of_config_maps {
            $(#[tokio::test]
            async fn $name() {
                super::$name::<k8s_openapi::api::core::v1::ConfigMap>().await;
            })*
        }
    };
}

mod contents;
mod copied;
mod deleted;
mod foreign;
mod fought;
mod invalid;
mod kept;
mod kinds;
mod moved;
mod mutated;
mod neighbours;
mod renamed;
mod suspended;
mod truststore;

use crate::fixture::TestedKind;

/// The parts of a target that the operator controls: without its version and its creation time.
fn essence<K: TestedKind>(object: &K) -> K {
    let mut object = object.clone();
    let metadata = object.metadata_mut();
    metadata.resource_version = None;
    metadata.creation_timestamp = None;
    metadata.uid = None;
    metadata.managed_fields = None;
    object
}
