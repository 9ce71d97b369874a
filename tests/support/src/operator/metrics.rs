//! Reads samples from the text of a `/metrics` page.

/// The sum of the samples with this name and these labels.
pub(super) fn sum(text: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let matching = text.lines().filter_map(|line| {
        let (series, rest) = match line.split_once('{') {
            // A label's value may hold spaces and braces, so the end is the last brace.
            Some((series, rest)) => (series, rest.rsplit_once('}')?),
            None => line.split_once(' ').map(|(series, value)| (series, ("", value)))?,
        };
        let (written, value) = rest;
        let written = format!(",{written},");
        let carries = |(label, value): &(&str, &str)| written.contains(&format!(",{label}=\"{value}\","));
        if series != name || !labels.iter().all(carries) {
            return None;
        }
        // A timestamp may follow.
        value.split_whitespace().next()?.parse::<f64>().ok()
    });
    matching.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\
# TYPE calls counter
calls_total{operation=\"get\",result=\"ok\"} 2
calls_total{operation=\"get\",result=\"throttled\"} 3 1700000000
calls_total{operation=\"list {all}\",result=\"ok\"} 5
calls_total_more{operation=\"get\"} 7
leader 1
";

    #[test]
    fn samples_are_summed_over_the_labels_that_are_not_requested() {
        for (name, labels, expected) in [
            ("calls_total", vec![("operation", "get"), ("result", "ok")], Some(2.0)),
            ("calls_total", vec![("operation", "get")], Some(5.0)),
            ("calls_total", vec![("operation", "list {all}")], Some(5.0)),
            ("calls_total", vec![], Some(10.0)),
            ("calls_total", vec![("operation", "ge")], None),
            ("leader", vec![], Some(1.0)),
            ("leader", vec![("operation", "get")], None),
            ("calls", vec![], None),
        ] {
            assert_eq!(sum(PAGE, name, &labels), expected, "{name} {labels:?}");
        }
    }
}
