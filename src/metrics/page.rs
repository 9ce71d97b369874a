//! A scrape, in pieces: however many resources there are, no more than a piece of its text is in memory at a time.

use std::sync::Arc;

use super::resources::{CONDITIONS, Flags, NOT_AFTER, write_conditions, write_not_after};
use super::{Format, Metrics};
use crate::index::Cached;

/// Resources that make a piece: some milliseconds of work and some ten kilobytes.
const PIECE: usize = 256;

/// What is left of a scrape. All samples of one metric stand together, as both formats ask for, so the resources are gone
/// through twice; what the second round tells is kept from the first, because unfolding a resource is what costs.
pub struct Page {
    metrics: Arc<Metrics>,
    format: Format,
    resources: Vec<Arc<Cached>>,
    flags: Vec<Flags>,
    next: Next,
}

enum Next {
    Counters,
    NotAfter(usize),
    Conditions(usize),
    Nothing,
}

impl Page {
    /// A scrape of what is so now.
    pub fn new(metrics: Arc<Metrics>, format: Format) -> Self {
        let resources = metrics.resources();
        Page { metrics, format, flags: Vec::with_capacity(resources.len()), resources, next: Next::Counters }
    }

    /// The next piece of text; None after the last.
    pub fn piece(&mut self) -> Option<String> {
        let mut text = String::new();
        self.next = match self.next {
            Next::Counters => {
                text = self.format.of_open_metrics(&self.metrics.render());
                match self.resources.is_empty() {
                    true => self.end(&mut text),
                    false => Next::NotAfter(0),
                }
            }
            Next::NotAfter(from) => {
                if from == 0 {
                    text.push_str(NOT_AFTER.head(self.format).as_str());
                }
                let until = self.resources.len().min(from + PIECE);
                for resource in &self.resources[from..until] {
                    self.flags.push(write_not_after(&mut text, resource));
                }
                if until < self.resources.len() { Next::NotAfter(until) } else { Next::Conditions(0) }
            }
            Next::Conditions(from) => {
                if from == 0 {
                    text.push_str(CONDITIONS.head(self.format).as_str());
                }
                let until = self.resources.len().min(from + PIECE);
                for (resource, flags) in self.resources[from..until].iter().zip(&self.flags[from..until]) {
                    write_conditions(&mut text, resource, *flags);
                }
                match until < self.resources.len() {
                    true => Next::Conditions(until),
                    false => self.end(&mut text),
                }
            }
            Next::Nothing => return None,
        };
        Some(text)
    }

    fn end(&self, text: &mut String) -> Next {
        text.push_str(self.format.end());
        Next::Nothing
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::api::{CertificateStatus, ClientCertificateRefStatus};
    use crate::conditions::{ConditionType, Finding, Reason, set};
    use crate::fixtures::resource;

    /// A resource that is ready, with a certificate that ends in the second `not_after`.
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
        Arc::new(kube::core::DeserializeGuard(Ok(whole)))
    }

    fn leader(resources: Vec<Arc<Cached>>) -> Arc<Metrics> {
        let metrics = Metrics::default();
        metrics.follow(Box::new(move || resources.clone()));
        metrics.leads(true);
        Arc::new(metrics)
    }

    fn whole(metrics: &Arc<Metrics>, format: Format) -> String {
        let mut page = Page::new(Arc::clone(metrics), format);
        std::iter::from_fn(|| page.piece()).collect()
    }

    fn of_resources(text: &str) -> Vec<&str> {
        let own = ["ccr_certificate_not_after_timestamp_seconds{", "ccr_resource_condition{"];
        text.lines().filter(|line| own.iter().any(|name| line.starts_with(name))).collect()
    }

    #[test]
    fn the_end_of_each_certificate_and_three_conditions_are_told() {
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
    fn a_resource_without_a_status_is_not_ready_rather_than_not_there() {
        let metrics = leader(vec![Arc::new(kube::core::DeserializeGuard(Ok(resource("new"))))]);
        let text = whole(&metrics, Format::Prometheus);
        let told: Vec<_> = of_resources(&text).into_iter().map(|line| line.rsplit_once("type=").unwrap().1).collect();
        assert_eq!(told, ["\"Ready\"} 0", "\"Expiring\"} 0", "\"CertificateRead\"} 0"]);
    }

    #[test]
    fn the_readme_lists_every_metric_and_no_other() {
        let metrics = crate::metrics::tests::filled();
        metrics.follow(Box::new(|| vec![ready("payments", 7)]));
        let text = whole(&Arc::new(metrics), Format::Prometheus);
        let told: BTreeSet<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
            .map(|(name, _)| name)
            .collect();
        let readme = include_str!("../../README.md");
        let listed: BTreeSet<&str> = readme
            .lines()
            .filter_map(|line| line.strip_prefix("| `ccr_")?.split_once('`'))
            .map(|(name, _)| name)
            .collect();
        assert_eq!(told.iter().map(|name| name.trim_start_matches("ccr_")).collect::<BTreeSet<_>>(), listed);
    }

    #[test]
    fn pieces_make_one_page_with_each_metric_in_one_block() {
        let resources: Vec<_> = (0..2 * PIECE + 1).map(|number| ready(&format!("r{number}"), 7)).collect();
        let metrics = leader(resources);
        let mut page = Page::new(Arc::clone(&metrics), Format::OpenMetrics);
        let pieces: Vec<String> = std::iter::from_fn(|| page.piece()).collect();
        assert_eq!(pieces.len(), 1 + 3 + 3);
        let text: String = pieces.concat();
        let names: Vec<_> = of_resources(&text).iter().map(|line| line.split_once('{').unwrap().0).collect();
        assert_eq!(names.len(), 4 * (2 * PIECE + 1));
        assert_eq!(names.iter().filter(|name| **name == "ccr_resource_condition").count(), 3 * (2 * PIECE + 1));
        assert_eq!(names.chunk_by(|one, other| one == other).count(), 2);
        assert_eq!(text.matches("# TYPE ccr_resource_condition gauge").count(), 1);
    }

    #[test]
    fn only_who_leads_tells_of_resources_and_nobody_who_was_told_not_to() {
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
}
