//! The values of the chart, from values.yaml and its comments.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// The table of the values. In values.yaml, a value with a row follows a comment of one line that begins with `# -- `.
/// A value without a row, of its own or of its parent, is an error.
pub fn table(values_yaml: &str) -> Result<String> {
    let values: Value = serde_saphyr::from_str(values_yaml)?;
    let mut table = String::from("| value | default | meaning |\n|---|---|---|\n");
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
                table += &format!("| `{}` | `{default}` | {} |\n", keys.join("."), meaning.replace('|', "\\|"));
                documented.push(keys.join("."));
            }
        }
    }
    ensure!(comment.is_none(), "a comment at the end belongs to no value");
    let mut without = Vec::new();
    undocumented(&values, "", &documented, &mut without);
    ensure!(without.is_empty(), "values.yaml: no comment `# -- ` above {}", without.join(", "));
    Ok(table)
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
        let table = table("# -- One.\na: 1\nb:\n  # -- Two.\n  c: {d: 1}\n").unwrap();
        assert!(table.ends_with("| `a` | `1` | One. |\n| `b.c` | `{\"d\": 1}` | Two. |\n"), "{table}");
        let error = super::table("# -- One.\na: 1\nb:\n  c: 2\n").unwrap_err();
        assert_eq!(error.to_string(), "values.yaml: no comment `# -- ` above b.c");
    }
}
