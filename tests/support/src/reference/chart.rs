//! The values of the chart, from values.yaml and its comments.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// The first value of the page about the pods and the objects beside them.
const FIRST_OF_OBJECTS: &str = "resources";

/// The table of all values, the table of the values for the operator, and the table of those for the pods and the other
/// objects.
pub fn tables(values_yaml: &str) -> Result<[String; 3]> {
    let rows = rows(values_yaml)?;
    let first_of_objects = rows.iter().position(|(value, _)| value == FIRST_OF_OBJECTS);
    let (operator, objects) = rows.split_at(first_of_objects.with_context(|| format!("no value {FIRST_OF_OBJECTS}"))?);
    Ok([&rows, operator, objects].map(|rows| {
        let rows: String = rows.iter().map(|(_, row)| row.as_str()).collect();
        format!("| value | default | meaning |\n|---|---|---|\n{rows}")
    }))
}

/// The row of each value, with its name. In values.yaml, a value with a row follows a comment of one line that begins with
/// `# -- `. A value without a row, of its own or of its parent, is an error.
fn rows(values_yaml: &str) -> Result<Vec<(String, String)>> {
    let values: Value = serde_saphyr::from_str(values_yaml)?;
    let mut rows: Vec<(String, String)> = Vec::new();
    // The keys above the current line, each with its indentation.
    let mut path: Vec<(usize, &str)> = Vec::new();
    let mut comment = None;
    let mut documented = Vec::new();
    for line in values_yaml.lines() {
        let text = line.trim_start();
        let indent = line.len() - text.len();
        if let Some(meaning) = text.strip_prefix("# -- ") {
            comment = Some(meaning);
        } else if let Some((key, _)) = text.split_once(':').filter(|_| !text.starts_with(['#', '-'])) {
            path.retain(|(of, _)| *of < indent);
            path.push((indent, key));
            if let Some(meaning) = comment.take() {
                let keys: Vec<&str> = path.iter().map(|(_, key)| *key).collect();
                let default = values.pointer(&format!("/{}", keys.join("/")));
                let default = default.with_context(|| format!("{} is not in the values", keys.join(".")))?;
                // The spaces let a browser break the line.
                let default = default.to_string().replace(",\"", ", \"").replace("\":", "\": ");
                let name = keys.join(".");
                let row = format!("| `{name}` | `{default}` | {} |\n", meaning.replace('|', "\\|"));
                documented.push(name.clone());
                rows.push((name, row));
            }
        }
    }
    ensure!(comment.is_none(), "a comment at the end belongs to no value");
    let mut without = Vec::new();
    undocumented(&values, "", &documented, &mut without);
    ensure!(without.is_empty(), "values.yaml: no comment `# -- ` above {}", without.join(", "));
    Ok(rows)
}

fn undocumented(value: &Value, path: &str, documented: &[String], found: &mut Vec<String>) {
    if documented.iter().any(|documented| documented == path) {
        return;
    }
    match value.as_object() {
        Some(values) => {
            for (key, value) in values {
                let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                undocumented(value, &below, documented, found);
            }
        }
        None => found.push(path.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_without_a_comment_is_refused_and_one_comment_can_be_of_several() {
        let rows = rows("# -- One.\na: 1\nb:\n  # -- Two.\n  c: {d: 1}\n").unwrap();
        let expected = [("a", "| `a` | `1` | One. |\n"), ("b.c", "| `b.c` | `{\"d\": 1}` | Two. |\n")];
        assert_eq!(rows, expected.map(|(name, row)| (name.to_owned(), row.to_owned())));
        let error = super::rows("# -- One.\na: 1\nb:\n  c: 2\n").unwrap_err();
        assert_eq!(error.to_string(), "values.yaml: no comment `# -- ` above b.c");
    }
}
