//! The series of each resource. Each scrape makes them from the stores and keeps nothing, so the series of a resource
//! end with the resource.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, OnceLock};

use kube::Resource;
use kube::core::ObjectMeta;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::{Leader, Resources};
use crate::api::{Cached, CertificateRole, CertificateStatus, ClientCertificateRefStatus};
use crate::conditions::{ConditionType, Reason, find, is_true};

/// The conditions with a series. A condition without a status has the value 0: a resource that was never Ready must be
/// as visible as a resource that is no longer Ready.
const TYPES: [ConditionType; 3] = [ConditionType::Ready, ConditionType::Expiring, ConditionType::CertificateRead];

/// Collects the series of each resource while the process leads.
pub(super) struct ResourceCollector {
    pub(super) resources: Arc<OnceLock<Resources>>,
    pub(super) leader: Leader,
}

impl fmt::Debug for ResourceCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResourceCollector").finish_non_exhaustive()
    }
}

impl Collector for ResourceCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let Some(resources) = self.resources.get().filter(|_| self.leader.get() == 1) else { return Ok(()) };
        let followed = resources();
        let resources: Vec<_> = followed.iter().map(|resource| parts(resource)).collect();
        if resources.is_empty() {
            return Ok(());
        }
        let mut ends = encoder.encode_descriptor(
            "certificate_not_after_timestamp",
            "Expiry of a certificate in the resource's target, in seconds since 1970.",
            Some(&Unit::Seconds),
            MetricType::Gauge,
        )?;
        for (meta, status) in &resources {
            for certificate in first_of_each_id(*status) {
                if let Some(end) = certificate.expiration_date {
                    let labels = labels(meta, "certificate_id", &certificate.id);
                    ends.encode_family(&labels)?.encode_gauge(&end.as_second())?;
                }
            }
        }
        let mut safe = encoder.encode_descriptor(
            "certificate_safe_to_switch",
            "Whether a stage may be switched to a certificate other than the main certificate: 1, or 0 if not; the main certificate has no series.",
            None,
            MetricType::Gauge,
        )?;
        for (meta, status) in &resources {
            for held in first_of_each_id(*status).filter(|held| held.role != Some(CertificateRole::Main)) {
                if let Some(is_safe) = held.safe_to_switch {
                    let labels = labels(meta, "certificate_id", &held.id);
                    safe.encode_family(&labels)?.encode_gauge(&i64::from(is_safe))?;
                }
            }
        }
        let mut stages = encoder.encode_descriptor(
            "stage_info",
            "The certificate that the stage of spec.stage presents; always 1. certificate_id is empty for a stage without a certificate.",
            None,
            MetricType::Gauge,
        )?;
        for (meta, status) in &resources {
            if let Some(stage) = status.and_then(|status| status.stage.as_ref()) {
                let [namespace, name, id] =
                    labels(meta, "certificate_id", stage.client_certificate_id.as_deref().unwrap_or_default());
                let api = ("rest_api_id", stage.rest_api_id.clone());
                let labels = [namespace, name, api, ("stage", stage.stage_name.clone()), id];
                stages.encode_family(&labels)?.encode_gauge(&1_i64)?;
            }
        }
        let bare: HashSet<_> = followed.iter().filter_map(|resource| stage_without_certificate(resource)).collect();
        encoder
            .encode_descriptor(
                "stages_without_certificate",
                "Stages of spec.stage that have no client certificate; backends cannot distinguish the calls of these stages from those of other clients.",
                None,
                MetricType::Gauge,
            )?
            .encode_gauge(&i64::try_from(bare.len()).unwrap_or(i64::MAX))?;
        let mut conditions = encoder.encode_descriptor(
            "resource_condition",
            "Whether a condition of the resource (Ready, Expiring, CertificateRead) is True: 1, or 0 if it is False, Unknown or not set yet.",
            None,
            MetricType::Gauge,
        )?;
        for (meta, status) in &resources {
            for type_ in TYPES {
                let is_true = status.as_ref().is_some_and(|status| is_true(&status.conditions, type_));
                let labels = labels(meta, "type", &type_.to_string());
                conditions.encode_family(&labels)?.encode_gauge(&i64::from(is_true))?;
            }
        }
        Ok(())
    }
}

/// The metadata and status of a resource. A resource that does not parse has no status.
fn parts(resource: &Cached) -> (&ObjectMeta, Option<&ClientCertificateRefStatus>) {
    (resource.meta(), resource.0.as_ref().ok().and_then(|resource| resource.status.as_ref()))
}

/// The certificates of a status, the main one first. The former certificates of an ARN have its id, and a second series with
/// the same labels would be invalid.
fn first_of_each_id(status: Option<&ClientCertificateRefStatus>) -> impl Iterator<Item = &CertificateStatus> {
    let held = status.map(|status| status.certificates.as_slice()).unwrap_or_default();
    let is_first = |(place, one): &(usize, &CertificateStatus)| held[..*place].iter().all(|other| other.id != one.id);
    held.iter().enumerate().filter(is_first).map(|(_, one)| one)
}

/// The role, region, API and name of the stage that a resource follows, if the stage has no certificate according to
/// the status.
fn stage_without_certificate(resource: &Cached) -> Option<(Option<&str>, Option<&str>, &str, &str)> {
    let resource = resource.0.as_ref().ok()?;
    let stage = resource.spec.stage.as_ref()?;
    let read = find(&resource.status.as_ref()?.conditions, ConditionType::CertificateRead)?;
    let role = resource.spec.assume_role.as_ref().map(|role| role.role_arn.as_str());
    (Reason::parse(&read.reason) == Some(Reason::StageHasNoCertificate)).then_some((
        role,
        resource.spec.region.as_deref(),
        stage.rest_api_id.as_str(),
        stage.stage_name.as_str(),
    ))
}

fn labels(meta: &ObjectMeta, label: &'static str, value: &str) -> [(&'static str, String); 3] {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    [("namespace", text(&meta.namespace)), ("name", text(&meta.name)), (label, value.to_owned())]
}

#[cfg(test)]
mod tests {
    use kube::core::DeserializeGuard;

    use super::*;
    use crate::api::{Stage, StageStatus};
    use crate::conditions::{ConditionType, Finding, Reason, set};
    use crate::fixtures::resource;
    use crate::metrics::{Format, Metrics};

    /// A Ready resource, with a certificate that expires at `not_after`.
    fn ready(name: &str, not_after: i64) -> Arc<Cached> {
        let at = jiff::Timestamp::from_second(not_after).unwrap();
        let mut status = ClientCertificateRefStatus::default();
        set(&mut status.conditions, ConditionType::Ready, Finding::yes(Reason::Mirrored, "\"text\""), Some(1), at);
        set(&mut status.conditions, ConditionType::CertificateRead, Finding::yes(Reason::Read, "text"), Some(1), at);
        set(&mut status.conditions, ConditionType::Expiring, Finding::no(Reason::EndsLater, "text"), Some(1), at);
        status.certificates =
            vec![CertificateStatus { id: "9ao60f".into(), expiration_date: Some(at), ..CertificateStatus::default() }];
        let mut whole = resource(name);
        whole.status = Some(status);
        Arc::new(DeserializeGuard(Ok(whole)))
    }

    fn leader(resources: Vec<Arc<Cached>>) -> Arc<Metrics> {
        let metrics = Metrics::default();
        metrics.follow(Box::new(move || resources.clone()));
        metrics.leads(true);
        Arc::new(metrics)
    }

    fn whole(metrics: &Arc<Metrics>, format: Format) -> String {
        format.of_open_metrics(metrics.render())
    }

    fn of_resources(text: &str) -> Vec<&str> {
        let own = [
            "ccr_certificate_not_after_timestamp_seconds{",
            "ccr_certificate_safe_to_switch{",
            "ccr_stage_info{",
            "ccr_resource_condition{",
        ];
        text.lines().filter(|line| own.iter().any(|name| line.starts_with(name))).collect()
    }

    #[test]
    fn the_expiry_of_each_certificate_and_three_conditions_are_exported() {
        let metrics = leader(vec![ready("payments", 1_800_000_000)]);
        let text = whole(&metrics, Format::OpenMetrics);
        let namespace = resource("payments").metadata.namespace.unwrap();
        let labels = format!("namespace=\"{namespace}\",name=\"payments\"");
        assert_eq!(
            of_resources(&text),
            [
                format!("ccr_certificate_not_after_timestamp_seconds{{{labels},certificate_id=\"9ao60f\"}} 1800000000"),
                format!("ccr_resource_condition{{{labels},type=\"Ready\"}} 1"),
                format!("ccr_resource_condition{{{labels},type=\"Expiring\"}} 0"),
                format!("ccr_resource_condition{{{labels},type=\"CertificateRead\"}} 1"),
            ]
        );
        assert!(text.contains("# TYPE ccr_certificate_not_after_timestamp_seconds gauge\n"), "{text}");
        assert!(text.contains("# UNIT ccr_certificate_not_after_timestamp_seconds seconds\n"), "{text}");
        assert!(text.ends_with("# EOF\n") && text.matches("# EOF").count() == 1, "{text}");
        let older = whole(&metrics, Format::Prometheus);
        assert_eq!(of_resources(&older), of_resources(&text));
        assert!(!older.contains("# EOF") && !older.contains("# UNIT"), "{older}");
    }

    #[test]
    fn other_certificates_have_a_series_for_safe_to_switch() {
        let mut whole = ready("payments", 7).as_ref().0.as_ref().unwrap().clone();
        let status = whole.status.as_mut().unwrap();
        let held = |id: &str, role, safe| CertificateStatus {
            id: id.into(),
            role: Some(role),
            safe_to_switch: safe,
            ..CertificateStatus::default()
        };
        status.certificates = vec![
            held("main00", CertificateRole::Main, Some(true)),
            held("former", CertificateRole::Former, Some(false)),
            held("tagged", CertificateRole::Tagged, Some(true)),
            held("byid00", CertificateRole::Additional, None),
        ];
        let text = whole_text(whole);
        let safe: Vec<_> =
            of_resources(&text).into_iter().filter_map(|line| line.split_once("certificate_id=")).collect();
        assert_eq!(safe.iter().map(|(_, rest)| *rest).collect::<Vec<_>>(), ["\"former\"} 0", "\"tagged\"} 1"]);
    }

    #[test]
    fn the_certificate_of_a_stage_has_a_series_and_stages_without_one_are_counted_once() {
        let following = |name: &str, id: Option<&str>| {
            let mut whole = ready(name, 7).as_ref().0.as_ref().unwrap().clone();
            let stage = Stage { rest_api_id: "a1b2c3".into(), stage_name: "prod".into(), ..Stage::default() };
            let status = whole.status.as_mut().unwrap();
            status.stage = Some(StageStatus {
                rest_api_id: stage.rest_api_id.clone(),
                stage_name: stage.stage_name.clone(),
                client_certificate_id: id.map(str::to_owned),
                since: None,
            });
            if id.is_none() {
                let finding = Finding::no(Reason::StageHasNoCertificate, "");
                set(
                    &mut status.conditions,
                    ConditionType::CertificateRead,
                    finding,
                    Some(1),
                    jiff::Timestamp::UNIX_EPOCH,
                );
            }
            whole.spec.stage = Some(stage);
            Arc::new(DeserializeGuard(Ok(whole)))
        };
        let text = |resources| whole(&leader(resources), Format::Prometheus);
        let some = text(vec![following("one", Some("9ao60f"))]);
        assert!(
            some.contains("name=\"one\",rest_api_id=\"a1b2c3\",stage=\"prod\",certificate_id=\"9ao60f\"} 1"),
            "{some}"
        );
        assert!(some.contains("\nccr_stages_without_certificate 0\n"), "{some}");
        let none = text(vec![following("one", None), following("two", None)]);
        assert!(
            none.contains("certificate_id=\"\"} 1") && none.contains("\nccr_stages_without_certificate 1\n"),
            "{none}"
        );
    }

    fn whole_text(resource: crate::api::ClientCertificateRef) -> String {
        whole(&leader(vec![Arc::new(DeserializeGuard(Ok(resource)))]), Format::Prometheus)
    }

    #[test]
    fn a_resource_without_a_status_counts_as_not_ready() {
        let metrics = leader(vec![Arc::new(DeserializeGuard(Ok(resource("new"))))]);
        let text = whole(&metrics, Format::Prometheus);
        let series: Vec<_> = of_resources(&text).into_iter().map(|line| line.rsplit_once("type=").unwrap().1).collect();
        assert_eq!(series, ["\"Ready\"} 0", "\"Expiring\"} 0", "\"CertificateRead\"} 0"]);
    }

    #[test]
    fn each_metric_is_one_block_for_any_number_of_resources() {
        let text = whole(&leader((0..10).map(|number| ready(&format!("r{number}"), 7)).collect()), Format::OpenMetrics);
        let names: Vec<_> = of_resources(&text).iter().map(|line| line.split_once('{').unwrap().0).collect();
        assert_eq!(names.len(), 4 * 10);
        assert_eq!(names.chunk_by(|one, other| one == other).count(), 2);
        assert_eq!(text.matches("# TYPE ccr_resource_condition gauge").count(), 1);
    }

    #[test]
    fn only_the_leader_exports_resources_unless_the_flag_disables_them() {
        let metrics = leader(vec![ready("payments", 7)]);
        assert_eq!(of_resources(&whole(&metrics, Format::Prometheus)).len(), 4);
        metrics.leads(false);
        let text = whole(&metrics, Format::Prometheus);
        assert!(of_resources(&text).is_empty() && text.contains("ccr_leader 0"), "{text}");
        let silent = Metrics::default().without_resources();
        silent.follow(Box::new(|| vec![ready("payments", 7)]));
        silent.leads(true);
        assert!(of_resources(&whole(&Arc::new(silent), Format::Prometheus)).is_empty());
    }

    #[test]
    fn the_former_certificates_of_an_arn_have_no_series() {
        let mut imported = resource("payments");
        imported.status = ready("payments", 2_000_000_000).0.as_ref().unwrap().status.clone();
        let held = &mut imported.status.as_mut().unwrap().certificates;
        held[0].role = Some(CertificateRole::Main);
        let former = CertificateStatus {
            role: Some(CertificateRole::Former),
            expiration_date: Some(jiff::Timestamp::from_second(1_900_000_000).unwrap()),
            safe_to_switch: Some(false),
            ..held[0].clone()
        };
        held.push(former);
        let text = whole(&leader(vec![Arc::new(DeserializeGuard(Ok(imported)))]), Format::Prometheus);
        let series: Vec<_> = text.lines().filter(|line| line.contains("certificate_id=\"9ao60f\"")).collect();
        assert_eq!(series.len(), 1, "{series:#?}");
        assert!(series[0].ends_with(" 2000000000"), "{series:#?}");
    }
}
