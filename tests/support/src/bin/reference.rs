//! Writes generated text into the project: `reference FOLDER group` writes the API group into every file that contains
//! it, and `reference FOLDER` writes the generated pages of the reference, the README of the chart, and the version into the files that show
//! it.

use std::path::PathBuf;

use anyhow::{Context, Result};
use operator_testing::reference;

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let root: PathBuf = arguments.next().context("usage: reference FOLDER-OF-THE-PROJECT [group]")?.into();
    if arguments.next().is_some_and(|what| what == "group") {
        for path in reference::group::update(&root)? {
            println!("{}", path.display());
        }
        return Ok(());
    }
    for (path, page) in reference::pages(&root)? {
        let file = root.join(&path);
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&file, page).with_context(|| path.display().to_string())?;
    }
    Ok(())
}
