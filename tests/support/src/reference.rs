//! The pages of the reference that are generated from the code: `make generate` writes them, and a test compares them
//! byte for byte. A page has a written part before a mark, and a generated part after it.

mod chart;
mod conditions;
mod fields;
mod flags;
pub mod group;
mod iam;
mod metrics;
mod samples;
mod versions;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::backends;

/// The text after this line is generated.
const MARK: &str = "<!-- What follows is made by `make generate`: change its source. -->";

/// A page with a new generated part.
pub fn render(page: &str, made: &str) -> Result<String> {
    let (written, _) = page.split_once(MARK).with_context(|| format!("the page has no line {MARK}"))?;
    Ok(format!("{written}{MARK}\n\n{}\n", made.trim_end()))
}

/// Every page in its current form, by its file. `root` is the folder of the project.
pub fn pages(root: &Path) -> Result<Vec<(PathBuf, String)>> {
    let chart = Path::new("charts/client-certificate-operator");
    let values = fs::read_to_string(root.join(chart).join("values.yaml")).context("values.yaml")?;
    let [values, operator, objects] = chart::tables(&values)?;
    let reference = Path::new("docs/reference");
    let made = [
        (chart.join("README.md"), values),
        (reference.join("chart.md"), operator),
        (reference.join("chart-objects.md"), objects),
        (reference.join("conditions.md"), conditions::tables(false)?),
        (reference.join("conditions-of-writes.md"), conditions::tables(true)?),
        (reference.join("spec.md"), fields::tables("spec", |text| !text.starts_with("target"))?),
        (reference.join("target.md"), fields::tables("spec", |text| text.starts_with("target"))?),
        (reference.join("status.md"), fields::tables("status", |_| true)?),
        (reference.join("command-line.md"), flags::tables()?),
        (reference.join("metrics.md"), metrics::table()?),
        (reference.join("iam.md"), iam::policies()?),
    ];
    let page = |(path, made): (PathBuf, String)| {
        let file = root.join(&path);
        let now = fs::read_to_string(&file).with_context(|| format!("{} cannot be read", path.display()))?;
        let page = render(&now, &made).with_context(|| path.display().to_string())?;
        Ok((path, page))
    };
    let mut pages: Vec<(PathBuf, String)> = made.into_iter().map(page).collect::<Result<_>>()?;
    pages.extend(samples::pages(root)?);
    pages.extend(versions::files(root)?);
    pages.push(backends::page(root)?);
    Ok(pages)
}

/// A row of a table.
fn row(cells: &[&str]) -> Result<String> {
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|").replace('<', "&lt;")).collect();
    ensure!(cells.iter().all(|cell| !cell.contains('\n')), "a cell has several lines: {cells:?}");
    Ok(format!("| {} |\n", cells.join(" | ")))
}
