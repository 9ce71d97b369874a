//! The table of results.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

/// The figures in the order of their measurement.
#[derive(Default)]
pub struct Report {
    rows: Vec<[String; 4]>,
    limited: Vec<Limited>,
}

/// A figure with a limit.
pub struct Limited {
    pub what: String,
    pub value: f64,
    pub limit: f64,
    pub value_text: String,
    pub limit_text: String,
    pub is_kept: bool,
}

/// The number at the start of a figure.
fn number(text: &str) -> f64 {
    text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or_default()
}

impl Report {
    /// Adds a figure without a limit.
    pub fn figure(&mut self, what: &str, value: impl Display) {
        self.row(what, value.to_string(), String::new(), "");
    }

    /// Adds a figure with a limit.
    pub fn limited(&mut self, what: &str, value: impl Display, limit: impl Display, is_kept: bool) {
        let (value_text, limit_text) = (value.to_string(), limit.to_string());
        self.row(what, value_text.clone(), limit_text.clone(), if is_kept { "kept" } else { "MISSED" });
        let (value, limit) = (number(&value_text), number(&limit_text));
        self.limited.push(Limited { what: what.to_owned(), value, limit, value_text, limit_text, is_kept });
    }

    /// The figures with a limit.
    pub fn all_limited(&self) -> &[Limited] {
        &self.limited
    }

    fn row(&mut self, what: &str, value: String, limit: String, verdict: &str) {
        eprintln!("  {what}: {value}");
        self.rows.push([what.to_owned(), value, limit, verdict.to_owned()]);
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let head = ["figure", "value", "limit", ""].map(str::to_owned);
        let width = |column: usize| {
            self.rows.iter().chain([&head]).map(|row| row[column].chars().count()).max().unwrap_or_default()
        };
        let [what, value, limit] = [0, 1, 2].map(width);
        for row in [&head].into_iter().chain(&self.rows) {
            let line = format!("{:<what$}  {:>value$}  {:>limit$}  {}", row[0], row[1], row[2], row[3]);
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Milliseconds with one decimal.
pub fn milliseconds(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1e3)
}

/// Mebibytes with one decimal.
pub fn mebibytes(bytes: f64) -> String {
    format!("{:.1} MiB", bytes / f64::from(1 << 20))
}

/// The value below which a share of the values lies. The share 0.5 gives the median.
pub fn quantile<T: PartialOrd + Copy>(values: &[T], share: f64) -> T {
    let mut sorted = values.to_vec();
    sorted.sort_by(|a, b| a.partial_cmp(b).expect("figures can be compared"));
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}
