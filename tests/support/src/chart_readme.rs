//! The README of a Helm chart: what somebody wrote of it, then a table of its values, made from the comments of values.yaml.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// What follows this line is made.
const MARK: &str = "<!-- What follows is made by `make generate` from the comments of values.yaml. -->";

/// The README with its table made anew. In values.yaml each value that is told of stands below a comment of one line that
/// begins with `# -- `.
pub fn render(readme: &str, values_yaml: &str) -> Result<String> {
    let (written, _) = readme.split_once(MARK).with_context(|| format!("the README has no line {MARK}"))?;
    let values: Value = serde_saphyr::from_str(values_yaml)?;
    let mut table = format!("{written}{MARK}\n\n| value | default | meaning |\n|---|---|---|\n");
    // The keys above the current line, each with its indentation.
    let mut path: Vec<(usize, &str)> = Vec::new();
    let mut comment = None;
    for line in values_yaml.lines() {
        let text = line.trim_start();
        let indent = line.len() - text.len();
        if let Some(told) = text.strip_prefix("# -- ") {
            comment = Some(told);
        } else if let Some((key, _)) = text.split_once(':').filter(|_| !text.starts_with(['#', '-'])) {
            path.retain(|(of, _)| *of < indent);
            path.push((indent, key));
            if let Some(told) = comment.take() {
                let keys: Vec<&str> = path.iter().map(|(_, key)| *key).collect();
                let default = values.pointer(&format!("/{}", keys.join("/")));
                let default = default.with_context(|| format!("{} is not in the values", keys.join(".")))?;
                table += &format!("| `{}` | `{default}` | {} |\n", keys.join("."), told.replace('|', "\\|"));
            }
        }
    }
    ensure!(comment.is_none(), "a comment at the end tells of no value");
    Ok(table)
}
