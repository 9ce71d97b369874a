//! The certificates that a run imports into ACM, and deletes.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_acm::types::{Filters, KeyAlgorithm};
use tokio::time::{Instant, sleep};

use super::PATIENCE;
use super::calls::{Refused, call};
use super::world::AccountWorld;
use crate::contract::{ImportingWorld, worlds};
use crate::private_ca::Leaf;

const NOT_FOUND: Option<&str> = Some("ResourceNotFoundException");
const IN_USE: Option<&str> = Some("ResourceInUseException");

impl AccountWorld {
    /// Imports a new certificate with the tag of the run, or re-imports under this ARN without a tag, because ACM
    /// accepts no tags in a re-import. If an answer is lost, the run finds the certificate by its tag at the end.
    pub(super) async fn import_leaf(&self, arn: Option<&str>, leaf: &Leaf) -> Result<String, Refused> {
        let tags = arn.is_none().then(|| vec![self.tag()]);
        let request = worlds::request(&self.acm, arn, leaf).set_tags(tags);
        let imported = call(&self.budget, "ImportCertificate", async || request.clone().send().await).await?;
        let arn = imported.certificate_arn.unwrap_or_default();
        self.lock().imported.insert(arn.clone());
        Ok(arn)
    }

    /// Deletes an imported certificate.
    pub(super) async fn unimport(&self, arn: &str) -> Result<(), Refused> {
        let request = self.acm.delete_certificate().certificate_arn(arn);
        call(&self.budget, "DeleteCertificate", async || request.clone().send().await).await?;
        self.lock().imported.remove(arn);
        Ok(())
    }

    /// Deletes an imported certificate that may already be deleted.
    pub(super) async fn delete_imported(&self, arn: &str) -> Result<(), Refused> {
        match self.unimport(arn).await {
            Err(Refused { code, .. }) if code.as_deref() == NOT_FOUND => {
                self.lock().imported.remove(arn);
                Ok(())
            }
            outcome => outcome,
        }
    }

    /// Deletes all certificates that the run imported, including those whose answer was lost, and returns the ones that
    /// are left.
    pub(super) async fn delete_all_imported(&self) -> Vec<String> {
        let mut left = Vec::new();
        let mut arns = self.lock().imported.clone();
        match self.tagged_imports().await {
            Ok(tagged) => arns.extend(tagged),
            Err(error) => {
                left.push(format!("an ACM certificate with the tag of the run, {}, perhaps: {error}", self.run))
            }
        }
        for arn in arns {
            let begun = Instant::now();
            // ACM may refuse the deletion for a while after no stage presents the certificate any more.
            let deleted = loop {
                match self.delete_imported(&arn).await {
                    Err(Refused { code, .. }) if code.as_deref() == IN_USE && begun.elapsed() < PATIENCE => {
                        sleep(Duration::from_secs(5)).await;
                    }
                    outcome => break outcome,
                }
            };
            left.extend(deleted.err().map(|error| format!("ACM certificate {arn}: {error}")));
        }
        left
    }

    /// The ARNs of all ACM certificates in the region, of every key type.
    pub(super) async fn list_acm(&self) -> Result<BTreeSet<String>, Refused> {
        let key_types = KeyAlgorithm::values().iter().map(|name| KeyAlgorithm::from(*name)).collect();
        let filters = Filters::builder().set_key_types(Some(key_types)).build();
        let (mut token, mut arns) = (None, BTreeSet::new());
        loop {
            let request = self.acm.list_certificates().includes(filters.clone()).set_next_token(token);
            let page = call(&self.budget, "ListCertificates", async || request.clone().send().await).await?;
            let summaries = page.certificate_summary_list.unwrap_or_default();
            arns.extend(summaries.into_iter().filter_map(|summary| summary.certificate_arn));
            token = page.next_token.filter(|token| !token.is_empty());
            if token.is_none() {
                return Ok(arns);
            }
        }
    }

    /// The ARNs of the run's certificates, by their tag.
    async fn tagged_imports(&self) -> Result<Vec<String>, Refused> {
        let mut arns = Vec::new();
        for arn in self.list_acm().await? {
            if self.lock().imported_before.contains(&arn) {
                continue;
            }
            let request = self.acm.list_tags_for_certificate().certificate_arn(&arn);
            let listed = call(&self.budget, "ListTagsForCertificate", async || request.clone().send().await).await;
            // The certificate belongs to another user. It may be deleted by now, or the run may not read its tags.
            let Ok(listed) = listed else { continue };
            if listed.tags.unwrap_or_default().contains(&self.tag()) {
                arns.push(arn);
            }
        }
        Ok(arns)
    }
}

impl ImportingWorld for AccountWorld {
    async fn import(&self, arn: Option<&str>, leaf: &Leaf) -> Result<String, String> {
        self.import_leaf(arn, leaf).await.map_err(|refused| refused.code.clone().unwrap_or_else(|| refused.to_string()))
    }
}
