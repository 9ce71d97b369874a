//! The metrics, from a registry with a sample of each.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use client_certificate_operator::api::{CertificateRole, CertificateStatus, ClientCertificateRef, StageStatus};
use client_certificate_operator::metrics::{Format, Metrics};
use kube::core::DeserializeGuard;

use super::row;

/// The table of the metrics.
pub fn table() -> Result<String> {
    let text = Format::Prometheus.of_open_metrics(sampled().render());
    let mut table = String::from("| metric | type | labels | meaning |\n|---|---|---|---|\n");
    let mut blocks = text.split("# HELP ");
    ensure!(blocks.next() == Some(""), "the metrics do not begin with a description");
    for block in blocks {
        let mut lines = block.lines();
        let (name, meaning) = lines.next().and_then(|line| line.split_once(' ')).context("a metric has no name")?;
        let meaning = meaning.trim_end_matches('.');
        ensure!(!meaning.is_empty(), "the metric {name} has no description");
        let type_ =
            lines.next().and_then(|line| line.rsplit_once(' ')).with_context(|| format!("{name} has no type"))?;
        let sample =
            lines.next().with_context(|| format!("the metric {name} has no sample: add one to Metrics::sampled"))?;
        let labels = labels(sample).join(", ");
        table += &row(&[&format!("`{name}`"), type_.1, &labels, meaning])?;
    }
    Ok(table)
}

/// The names of the labels of a sample, without the bucket of a histogram.
fn labels(sample: &str) -> Vec<String> {
    let Some((_, rest)) = sample.split_once('{') else { return Vec::new() };
    let (labels, _) = rest.rsplit_once('}').unwrap_or((rest, ""));
    let names = labels.split("\",").filter_map(|label| label.split_once('=')).map(|(name, _)| name);
    names.filter(|name| *name != "le").map(|name| format!("`{name}`")).collect()
}

/// Metrics with a sample of each, including those of resources.
fn sampled() -> Metrics {
    let metrics = Metrics::sampled();
    metrics.follow(Box::new(|| {
        let held = |id: &str, role| CertificateStatus {
            id: id.into(),
            role: Some(role),
            expiration_date: Some(jiff::Timestamp::UNIX_EPOCH),
            safe_to_switch: Some(true),
            ..CertificateStatus::default()
        };
        let mut resource = ClientCertificateRef::default();
        let status = resource.status.get_or_insert_default();
        status.certificates = vec![held("9ao60f", CertificateRole::Main), held("k2c0qe", CertificateRole::Additional)];
        status.stage = Some(StageStatus::default());
        vec![Arc::new(DeserializeGuard(Ok(resource)))]
    }));
    metrics
}
