//! The workers of a server that reloads by starting new ones.

use std::collections::BTreeSet;

use anyhow::{Context, Result};

/// The children of the process.
pub(super) fn of(master: u32) -> Result<BTreeSet<u32>> {
    let path = format!("/proc/{master}/task/{master}/children");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}: has the server ended?"))?;
    text.split_whitespace().map(|pid| pid.parse().context("a process id")).collect()
}
