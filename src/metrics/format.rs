//! The text format of a scrape: OpenMetrics or Prometheus.

use std::collections::HashSet;

/// A text format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The older format of Prometheus, which every scraper and promtool read.
    Prometheus,
}

impl Format {
    /// The format that a request's Accept header prefers. OpenMetrics only if the header names it.
    pub fn accepted(accept: Option<&str>) -> Self {
        let quality = |wanted: &str| {
            let ranges = accept.unwrap_or_default().split(',').filter_map(|range| {
                let mut parts = range.split(';').map(str::trim);
                let is_wanted = parts.next().is_some_and(|media| media.eq_ignore_ascii_case(wanted));
                let quality = parts.find_map(|parameter| parameter.strip_prefix("q=")).unwrap_or("1");
                is_wanted.then(|| quality.parse().unwrap_or(0.0))
            });
            ranges.fold(0.0_f64, f64::max)
        };
        let open = quality("application/openmetrics-text");
        match open > 0.0 && open >= quality("text/plain") {
            true => Format::OpenMetrics,
            false => Format::Prometheus,
        }
    }

    /// The Content-Type header.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// Converts a page of OpenMetrics to this format. In the Prometheus format, the name of a counter is that of its
    /// samples, and units and the end mark do not exist. The library writes only OpenMetrics, which promtool does not
    /// check.
    pub fn of_open_metrics(self, text: String) -> String {
        if self == Format::OpenMetrics {
            return text;
        }
        let counters: HashSet<&str> =
            text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
        let mut converted = String::with_capacity(text.len());
        for line in text.lines().filter(|line| *line != "# EOF" && !line.starts_with("# UNIT ")) {
            let mut words = line.splitn(4, ' ');
            match (words.next(), words.next(), words.next(), words.next()) {
                (Some("#"), Some(word), Some(name), Some(rest)) if counters.contains(name) => {
                    converted.extend(["# ", word, " ", name, "_total ", rest, "\n"]);
                }
                _ => converted.extend([line, "\n"]),
            }
        }
        converted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_metrics_is_only_for_clients_that_request_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        for (accept, format) in [
            (None, Format::Prometheus),
            (Some("*/*"), Format::Prometheus),
            (Some("text/plain"), Format::Prometheus),
            (Some("application/openmetrics-text"), Format::OpenMetrics),
            (Some(prometheus), Format::OpenMetrics),
            (Some("application/openmetrics-text;q=0.2, text/plain;q=0.3"), Format::Prometheus),
            (Some("application/openmetrics-text;q=0"), Format::Prometheus),
            (Some("text/html, application/xhtml+xml, */*;q=0.8"), Format::Prometheus),
        ] {
            assert_eq!(Format::accepted(accept), format, "{accept:?}");
        }
    }

    #[test]
    fn the_older_format_names_a_counter_by_its_samples() {
        let open = "\
# HELP calls How many # calls.
# TYPE calls counter
calls_total 1
# HELP calls_seconds Time.
# TYPE calls_seconds gauge
# UNIT calls_seconds seconds
calls_seconds 2
# EOF
";
        let older = "\
# HELP calls_total How many # calls.
# TYPE calls_total counter
calls_total 1
# HELP calls_seconds Time.
# TYPE calls_seconds gauge
calls_seconds 2
";
        assert_eq!(Format::Prometheus.of_open_metrics(open.to_owned()), older);
        assert_eq!(Format::OpenMetrics.of_open_metrics(open.to_owned()), open);
    }
}
