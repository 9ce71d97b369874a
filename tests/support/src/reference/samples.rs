//! A page for each folder of `deploy/samples`, and one for the files beside the folders.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{MARK, versions};

const SAMPLES: &str = "deploy/samples";

/// The pages, by their files.
pub fn pages(root: &Path) -> Result<Vec<(PathBuf, String)>> {
    let version = versions::version(root)?;
    let (folders, files): (Vec<_>, Vec<_>) = entries(&root.join(SAMPLES))?.into_iter().partition(|path| path.is_dir());
    let mut pages = vec![(
        PathBuf::from("docs/guides/samples/README.md"),
        page(
            "Samples of the features of a resource",
            &format!("The files of `{SAMPLES}`. Each file can be applied by itself."),
            &files,
            &version,
        )?,
    )];
    for folder in folders {
        let name = name(&folder)?;
        let intro = format!(
            "The files of `{SAMPLES}/{name}`. Copy them, and change the names and the id. [Which backend, which target](../backends.md) describes each backend."
        );
        pages.push((
            format!("docs/guides/samples/{name}.md").into(),
            page(&format!("Sample: {name}"), &intro, &entries(&folder)?, &version)?,
        ));
    }
    Ok(pages)
}

fn page(title: &str, intro: &str, files: &[PathBuf], version: &str) -> Result<String> {
    let mut page = format!("# {title}\n\n{MARK}\n\n{intro}\n");
    for file in files {
        let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
        let text = versions::current(&text, version);
        let language = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        page += &format!("\n## {}\n\n```{language}\n{}\n```\n", name(file)?, text.trim_end());
    }
    Ok(page)
}

/// The entries of a folder, in the order of their names.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let read = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut entries = read.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    entries.sort();
    Ok(entries)
}

fn name(path: &Path) -> Result<String> {
    let name = path.file_name().and_then(|name| name.to_str()).context("a name is not UTF-8")?;
    Ok(name.to_owned())
}
