//! What a run makes in the account, and deletes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use aws_config::BehaviorVersion;
use aws_sdk_acm::types::Tag;
use aws_sdk_apigateway::Client;
use aws_sdk_apigateway::config::retry::RetryConfig;
use aws_sdk_apigateway::config::timeout::TimeoutConfig;
use aws_sdk_apigateway::operation::update_stage::UpdateStageOutput;
use aws_sdk_apigateway::primitives::{Blob, DateTime};
use aws_sdk_apigateway::types::{Op, PatchOperation, PutMode};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use client_certificate_operator::aws::client::AwsGateway;
use client_certificate_operator::aws::gateway::{ClientCertificate, Gateway, Place, Source};
use jiff::Timestamp;

use super::TAG;
use super::budget::{Budget, Paced};
use super::calls::{Refused, call};
use crate::certificates::NewCertificate;
use crate::contract::World;

/// An API whose only method answers by itself.
const MOCK: &str = r#"{
  "openapi": "3.0.1",
  "info": { "title": "contract", "version": "1" },
  "paths": { "/": { "get": {
    "responses": { "200": { "description": "OK" } },
    "x-amazon-apigateway-integration": {
      "type": "mock",
      "requestTemplates": { "application/json": "{\"statusCode\": 200}" },
      "responses": { "default": { "statusCode": "200" } }
    }
  } } }
}"#;

/// The account of the AWS environment.
pub(super) struct AccountWorld {
    pub(super) run: String,
    pub(super) gateway: Paced,
    pub(super) client: Client,
    pub(super) acm: aws_sdk_acm::Client,
    pub(super) budget: Arc<Budget>,
    region: String,
    pub(super) made: Mutex<Made>,
}

#[derive(Default)]
pub(super) struct Made {
    /// The ids of the client certificates that existed before the run.
    before: BTreeSet<String>,
    certificates: BTreeSet<String>,
    api: Option<Api>,
    /// The ARNs of the certificates that the run has imported into ACM.
    pub(super) imported: BTreeSet<String>,
    /// The ARNs of the certificates that ACM had before the run.
    pub(super) imported_before: BTreeSet<String>,
}

/// An API with its deployment, and whether its stages present something.
#[derive(Clone)]
struct Api {
    id: String,
    deployment: Option<String>,
    stages: BTreeMap<String, bool>,
}

impl AccountWorld {
    /// Nothing is called yet.
    pub(super) async fn new(rate: f64) -> Result<Self> {
        let gateway = AwsGateway::from_environment().await;
        let region = gateway.default_region().context("no region: set AWS_REGION")?;
        let http =
            aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc)).build_https();
        let config = aws_config::defaults(BehaviorVersion::latest()).http_client(http).load().await;
        let seconds = Duration::from_secs;
        let timeouts = TimeoutConfig::builder().connect_timeout(seconds(3)).operation_attempt_timeout(seconds(30));
        let config = config.into_builder();
        let config = config.retry_config(RetryConfig::disabled()).timeout_config(timeouts.build()).build();
        let budget = Arc::new(Budget::new(rate));
        Ok(Self {
            run: format!("{:08x}", fastrand::u32(..)),
            gateway: Paced { gateway, budget: budget.clone() },
            client: Client::new(&config),
            acm: aws_sdk_acm::Client::new(&config),
            budget,
            region,
            made: Mutex::default(),
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Made> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what there is, which is none of the run's.
    pub(super) async fn look_around(&self) -> Result<()> {
        let before = self.list().await?.into_iter().map(|certificate| certificate.id).collect();
        let imported_before = self.list_acm().await?;
        let mut made = self.lock();
        (made.before, made.imported_before) = (before, imported_before);
        Ok(())
    }

    pub(super) async fn list(&self) -> Result<Vec<ClientCertificate>> {
        let (place, mut position, mut all) = (Place::own(&self.region), None, Vec::new());
        loop {
            let page = self.gateway.list_client_certificates(&place, position.as_deref()).await?;
            all.extend(page.certificates);
            position = page.next;
            if position.is_none() {
                return Ok(all);
            }
        }
    }

    fn tags(&self) -> [(String, String); 1] {
        [(TAG.to_owned(), self.run.clone())]
    }

    /// The tag of the run, for ACM.
    pub(super) fn tag(&self) -> Tag {
        let tag = Tag::builder().key(TAG).value(&self.run).build();
        tag.unwrap_or_else(|error| unreachable!("a key is given: {error}"))
    }

    /// Makes a certificate. An answer that is lost is found by its tag in the end.
    pub(super) async fn make(&self, new: NewCertificate) -> Result<ClientCertificate, Refused> {
        let tags: std::collections::HashMap<_, _> = new.tags.into_iter().chain(self.tags()).collect();
        let request = self.client.generate_client_certificate().set_tags(Some(tags));
        let request = request.set_description(Some(new.description).filter(|text| !text.is_empty()));
        let made = call(&self.budget, "GenerateClientCertificate", async || request.clone().send().await).await?;
        let id = made.client_certificate_id.unwrap_or_default();
        self.lock().certificates.insert(id.clone());
        let timestamp = |date: DateTime| Timestamp::from_second(date.secs()).ok();
        Ok(ClientCertificate {
            id,
            description: made.description.unwrap_or_default(),
            created: made.created_date.and_then(timestamp),
            expires: made.expiration_date.and_then(timestamp),
            pem: made.pem_encoded_certificate.unwrap_or_default(),
            tags: made.tags.unwrap_or_default().into_iter().collect(),
        })
    }

    /// Deletes a certificate.
    pub(super) async fn unmake(&self, id: &str) -> Result<(), Refused> {
        let request = self.client.delete_client_certificate().client_certificate_id(id);
        call(&self.budget, "DeleteClientCertificate", async || request.clone().send().await).await?;
        self.lock().certificates.remove(id);
        Ok(())
    }

    /// The run's one API: making and deleting one is limited to one in 3 and one in 30 seconds.
    pub(super) async fn api(&self) -> Result<String, Refused> {
        let made = self.lock().api.clone();
        let id = match made {
            Some(Api { id, deployment: Some(_), .. }) => return Ok(id),
            Some(Api { id, .. }) => id,
            None => {
                let request = self.client.create_rest_api().name(self.api_name());
                let request = request.set_tags(Some(self.tags().into_iter().collect()));
                let made = call(&self.budget, "CreateRestApi", async || request.clone().send().await).await?;
                let id = made.id.unwrap_or_default();
                self.lock().api = Some(Api { id: id.clone(), deployment: None, stages: BTreeMap::new() });
                id
            }
        };
        let request = self.client.put_rest_api().rest_api_id(&id).mode(PutMode::Overwrite).body(Blob::new(MOCK));
        call(&self.budget, "PutRestApi", async || request.clone().send().await).await?;
        let request = self.client.create_deployment().rest_api_id(&id);
        let deployed = call(&self.budget, "CreateDeployment", async || request.clone().send().await).await?;
        if let Some(api) = &mut self.lock().api {
            api.deployment = deployed.id;
        }
        Ok(id)
    }

    fn api_name(&self) -> String {
        format!("client-certificate-operator-contract-{}", self.run)
    }

    /// Has a stage of the run's API present something, or nothing. Makes the stage where it is missing.
    pub(super) async fn switch(&self, stage: &str, certificate: Option<&str>) -> Result<(), Refused> {
        let id = self.api().await?;
        let api = self.lock().api.clone();
        let (deployment, presents) =
            api.map(|api| (api.deployment, api.stages.get(stage).copied())).unwrap_or_default();
        if presents.is_none() {
            let request = self.client.create_stage().rest_api_id(&id).stage_name(stage);
            let request = request.set_deployment_id(deployment).set_tags(Some(self.tags().into_iter().collect()));
            call(&self.budget, "CreateStage", async || request.clone().send().await).await?;
            self.note(stage, Some(false));
        }
        if certificate.is_some() || presents == Some(true) {
            self.update_stage(stage, certificate.unwrap_or_default()).await?;
        }
        Ok(())
    }

    /// UpdateStage with the one operation `replace /clientCertificateId`.
    pub(super) async fn update_stage(&self, stage: &str, certificate: &str) -> Result<UpdateStageOutput, Refused> {
        let id = self.api().await?;
        let patch = PatchOperation::builder().op(Op::Replace).path("/clientCertificateId").value(certificate).build();
        let request = self.client.update_stage().rest_api_id(id).stage_name(stage).patch_operations(patch);
        let updated = call(&self.budget, "UpdateStage", async || request.clone().send().await).await?;
        self.note(stage, Some(!certificate.is_empty()));
        Ok(updated)
    }

    async fn unmake_stage(&self, stage: &str) -> Result<(), Refused> {
        let id = self.api().await?;
        let request = self.client.delete_stage().rest_api_id(id).stage_name(stage);
        call(&self.budget, "DeleteStage", async || request.clone().send().await).await?;
        self.note(stage, None);
        Ok(())
    }

    fn note(&self, stage: &str, presents: Option<bool>) {
        if let Some(api) = &mut self.lock().api {
            match presents {
                Some(presents) => api.stages.insert(stage.to_owned(), presents),
                None => api.stages.remove(stage),
            };
        }
    }

    /// Deletes the run's certificates, from its stages first. What cannot be deleted is tried again in the end.
    pub(super) async fn delete_certificates(&self) {
        let stages = self.lock().api.as_ref().map(|api| api.stages.clone()).unwrap_or_default();
        for stage in stages.into_iter().filter(|(_, presents)| *presents).map(|(stage, _)| stage) {
            let _ = self.update_stage(&stage, "").await;
        }
        let (made, imported) = {
            let made = self.lock();
            (made.certificates.clone(), made.imported.clone())
        };
        for id in made {
            self.delete_one(&id).await.ok();
        }
        for arn in imported {
            self.delete_imported(&arn).await.ok();
        }
    }

    async fn delete_one(&self, id: &str) -> Result<(), Refused> {
        match self.unmake(id).await {
            Err(Refused { status: Some(404), .. }) => {
                self.lock().certificates.remove(id);
                Ok(())
            }
            outcome => outcome,
        }
    }

    /// Deletes all that the run made, also if the response to a creation was lost. Returns what is left.
    pub(super) async fn delete_all(&self) -> Vec<String> {
        let mut left = Vec::new();
        match self.api_ids().await {
            Ok(ids) => {
                for id in ids {
                    let request = self.client.delete_rest_api().rest_api_id(&id);
                    let deleted = call(&self.budget, "DeleteRestApi", async || request.clone().send().await).await;
                    left.extend(deleted.err().map(|error| format!("REST API {id}: {error}")));
                }
                self.lock().api = None;
            }
            Err(error) => left.push(format!("a REST API {}, perhaps: {error}", self.api_name())),
        }
        let mut ids = self.lock().certificates.clone();
        match self.tagged().await {
            Ok(tagged) => ids.extend(tagged),
            Err(error) => left.push(format!("a certificate with the tag {TAG}={}, perhaps: {error}", self.run)),
        }
        for id in ids {
            left.extend(self.delete_one(&id).await.err().map(|error| format!("client certificate {id}: {error}")));
        }
        left.extend(self.delete_all_imported().await);
        left
    }

    /// The APIs of the run's name.
    async fn api_ids(&self) -> Result<Vec<String>, Refused> {
        let (mut position, mut ids) = (None, Vec::new());
        loop {
            let request = self.client.get_rest_apis().limit(500).set_position(position);
            let page = call(&self.budget, "GetRestApis", async || request.clone().send().await).await?;
            let of_run = page.items.unwrap_or_default().into_iter().filter(|api| api.name == Some(self.api_name()));
            ids.extend(of_run.filter_map(|api| api.id));
            position = page.position.filter(|position| !position.is_empty());
            if position.is_none() {
                return Ok(ids);
            }
        }
    }

    /// The certificates with the run's tag. The list may have no tags, so that those are read that were not there before.
    async fn tagged(&self) -> Result<Vec<String>> {
        let mut ids = Vec::new();
        for listed in self.list().await? {
            if self.lock().before.contains(&listed.id) {
                continue;
            }
            let source = Source::own(&self.region, &listed.id);
            let Ok(certificate) = self.gateway.get_client_certificate(&source).await else { continue };
            if certificate.tags.get(TAG) == Some(&self.run) {
                ids.push(certificate.id);
            }
        }
        Ok(ids)
    }
}

impl World for AccountWorld {
    type Gateway = Paced;

    fn gateway(&self) -> &Paced {
        &self.gateway
    }

    fn region(&self) -> &str {
        &self.region
    }

    /// In the run's region, under an id of API Gateway's choice.
    async fn generate(&self, region: &str, new: NewCertificate) -> ClientCertificate {
        assert_eq!(region, self.region);
        self.make(new).await.unwrap_or_else(|error| panic!("{error}"))
    }

    async fn delete(&self, source: &Source) {
        self.unmake(&source.id).await.unwrap_or_else(|error| panic!("{error}"));
    }

    async fn create_api(&self) -> String {
        self.api().await.unwrap_or_else(|error| panic!("{error}"))
    }

    async fn present(&self, _: &str, stage: &str, certificate: Option<&str>) {
        self.switch(stage, certificate).await.unwrap_or_else(|error| panic!("{error}"));
    }

    async fn delete_stage(&self, _: &str, stage: &str) {
        self.unmake_stage(stage).await.unwrap_or_else(|error| panic!("{error}"));
    }

    async fn delete_api(&self, _: &str) {
        panic!("the run's one API stays to the end");
    }
}
