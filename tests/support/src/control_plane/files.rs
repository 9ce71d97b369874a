//! The folder of one control plane, and the names of its files.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::program::Scratch;

/// The folder of the programs, and the folder of this control plane's files.
#[derive(Debug)]
pub(super) struct Files {
    bin: PathBuf,
    state: Scratch,
}

impl Files {
    pub(super) fn new(bin: PathBuf) -> Result<Self> {
        Ok(Self { bin, state: Scratch::new("control-plane-")? })
    }

    pub(super) fn folder(&self) -> &Path {
        self.state.path()
    }

    pub(super) fn keep(&mut self) {
        self.state.keep();
    }

    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    pub(super) fn kubeconfig(&self) -> PathBuf {
        self.path("admin.kubeconfig")
    }

    pub(super) fn audit_log(&self) -> PathBuf {
        self.path("audit.log")
    }

    pub(super) fn log(&self, program: &str) -> PathBuf {
        self.path(&format!("{program}.log"))
    }

    /// Opens a program's log for appending: a restarted program uses the same log.
    pub(super) fn open_log(&self, program: &str) -> Result<File> {
        let path = self.log(program);
        File::options().create(true).append(true).open(&path).with_context(|| format!("cannot open {}", path.display()))
    }

    pub(super) fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.path(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// The end of a program's log, for the text of an error.
    pub(super) fn log_tail(&self, program: &str) -> String {
        let path = self.log(program);
        let text = std::fs::read(&path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(20)..].join("\n");
        format!("the last lines of {}:\n{tail}", path.display())
    }
}
