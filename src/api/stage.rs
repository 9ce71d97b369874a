//! A stage of a REST API whose certificate a resource follows.

use jiff::Timestamp;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;

/// A stage of a REST API. Its client certificate is the main certificate.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Stage {
    /// Id of the REST API, as `aws apigateway get-rest-apis` lists it, for example a1b2c3d4e5.
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9]{1,64}$')").message("stage.restApiId must be the id of a REST API: 1 to 64 letters and digits, for example a1b2c3d4e5"))]
    pub rest_api_id: String,

    /// Name of the stage, for example prod.
    #[schemars(length(max = 128))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9_-]{1,128}$')").message("stage.stageName must be the name of a stage of a REST API: 1 to 128 letters, digits, '-' and '_', for example prod"))]
    pub stage_name: String,

    /// Whether to trust an ACM certificate that the stage presents. Refuse: the target keeps the last certificate. Trust: the target trusts the chain of the ACM certificate, and so every certificate that the same CA issues.
    #[serde(default)]
    pub acm: AcmTrust,
}

/// Whether the target trusts an ACM certificate that the stage presents.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum AcmTrust {
    /// The target keeps the last certificate.
    #[default]
    Refuse,
    /// The target trusts the certificate's chain.
    Trust,
}

/// The certificate that a stage presents to backends.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct StageStatus {
    /// Id of the REST API.
    #[schemars(length(max = 64))]
    pub rest_api_id: String,

    /// Name of the stage.
    #[schemars(length(max = 128))]
    pub stage_name: String,

    /// Id of the client certificate, or ARN of the ACM certificate, that the stage presents. Absent if the stage has no certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub client_certificate_id: Option<String>,

    /// When the operator first found this certificate, or no certificate, on the stage, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::timestamp")]
    pub since: Option<Timestamp>,
}

impl StageStatus {
    /// Whether the entry is about this stage.
    pub fn is_of(&self, stage: &Stage) -> bool {
        self.rest_api_id == stage.rest_api_id && self.stage_name == stage.stage_name
    }
}
