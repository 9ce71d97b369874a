//! The series of a resource, written as text from what the cache holds: nothing of them is kept between scrapes, so they
//! are gone with their resource.

use std::fmt::Write;

use kube::Resource;

use super::Format;
use crate::conditions::{ConditionType, is_true};
use crate::index::Cached;

/// The conditions that are told of each resource. One that has no status yet is told as 0: what never came to be Ready must
/// be as visible as what no longer is.
const TYPES: [ConditionType; 3] = [ConditionType::Ready, ConditionType::Expiring, ConditionType::CertificateRead];

/// Which of [`TYPES`] are True.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags([bool; TYPES.len()]);

/// What stands before the samples of a metric.
pub(super) struct Head {
    name: &'static str,
    unit: Option<&'static str>,
    help: &'static str,
}

pub(super) const NOT_AFTER: Head = Head {
    name: "ccr_certificate_not_after_timestamp_seconds",
    unit: Some("seconds"),
    help: "When a certificate that the resource's target holds ends, in seconds since 1970",
};

pub(super) const CONDITIONS: Head = Head {
    name: "ccr_resource_condition",
    unit: None,
    help: "Whether a condition of the resource is True: 1, or 0 where it is not or nobody knows yet",
};

impl Head {
    pub(super) fn head(&self, format: Format) -> String {
        let Head { name, unit, help } = self;
        let unit = unit.filter(|_| format == Format::OpenMetrics);
        let unit = unit.map(|unit| format!("# UNIT {name} {unit}\n")).unwrap_or_default();
        format!("# HELP {name} {help}.\n# TYPE {name} gauge\n{unit}")
    }
}

/// Writes when the resource's certificates end, and tells which conditions are True.
pub(super) fn write_not_after(text: &mut String, resource: &Cached) -> Flags {
    let Some(status) = resource.0.as_ref().ok().and_then(|resource| resource.status.as_ref()) else {
        return Flags::default();
    };
    for certificate in &status.certificates {
        if let Some(not_after) = certificate.expiration_date {
            begin(text, &NOT_AFTER, resource, "certificate_id", &certificate.id);
            // A String takes everything.
            let _ = writeln!(text, "{}", not_after.as_second());
        }
    }
    Flags(TYPES.map(|type_| is_true(&status.conditions, type_)))
}

/// Writes the conditions.
pub(super) fn write_conditions(text: &mut String, resource: &Cached, flags: Flags) {
    for (type_, is_true) in TYPES.iter().zip(flags.0) {
        begin(text, &CONDITIONS, resource, "type", &type_.to_string());
        text.push_str(if is_true { "1\n" } else { "0\n" });
    }
}

/// A sample up to its value.
fn begin(text: &mut String, head: &Head, resource: &Cached, label: &str, value: &str) {
    let meta = resource.meta();
    let labels = [
        ("namespace", meta.namespace.as_deref().unwrap_or_default()),
        ("name", meta.name.as_deref().unwrap_or_default()),
        (label, value),
    ];
    text.push_str(head.name);
    for (position, (label, value)) in labels.into_iter().enumerate() {
        text.push(if position == 0 { '{' } else { ',' });
        text.push_str(label);
        text.push_str("=\"");
        escape(text, value);
        text.push('"');
    }
    text.push_str("} ");
}

/// What a label's value cannot hold as it is. The schema keeps all of it out, but a status may be written by others.
fn escape(text: &mut String, value: &str) {
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_holds_whatever_stands_in_a_status() {
        let mut text = String::new();
        escape(&mut text, "a\\b\"c\nd");
        assert_eq!(text, "a\\\\b\\\"c\\nd");
    }
}
