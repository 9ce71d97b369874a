//! Writes the README of a chart anew: `chart-readme FOLDER`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use operator_testing::chart_readme;

fn main() -> Result<()> {
    let chart: PathBuf = std::env::args_os().nth(1).context("usage: chart-readme FOLDER-OF-THE-CHART")?.into();
    let read = |name: &str| std::fs::read_to_string(chart.join(name)).with_context(|| format!("cannot read {name}"));
    let readme = chart_readme::render(&read("README.md")?, &read("values.yaml")?)?;
    Ok(std::fs::write(chart.join("README.md"), readme)?)
}
