//! The start of an operator: its arguments, and an environment without the developer's variables.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context, Result};

use super::Operator;
use crate::program::{Program, Scratch};

/// An operator before its start.
#[derive(Debug, Clone)]
pub struct Builder {
    binary: PathBuf,
    args: Vec<OsString>,
    env: BTreeMap<OsString, OsString>,
    quiet: bool,
}

impl Operator {
    /// Prepares `BINARY run`, with fake AWS credentials and an AWS endpoint on which no server listens, so that no test
    /// calls the real AWS by mistake.
    pub fn builder(binary: impl Into<PathBuf>) -> Builder {
        let env = [
            ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
            ("AWS_REGION", "eu-central-1"),
            ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
            ("CCR_LISTEN", "127.0.0.1:0"),
        ];
        let env = env.map(|(name, value)| (name.into(), value.into())).into();
        Builder { binary: binary.into(), args: vec!["run".into()], env, quiet: false }
    }
}

impl Builder {
    /// Sets the kubeconfig: the user of the operator, and the API server's address.
    pub fn kubeconfig(self, path: impl AsRef<Path>) -> Self {
        self.env("KUBECONFIG", path.as_ref())
    }

    /// Sets the endpoint of AWS.
    pub fn aws_endpoint(self, url: &str) -> Self {
        self.env("AWS_ENDPOINT_URL", url)
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.insert(name.as_ref().into(), value.as_ref().into());
        self
    }

    /// Removes a default environment variable.
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Self {
        self.env.remove(name.as_ref());
        self
    }

    /// Adds an argument after `run`.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().into());
        self
    }

    /// Disables the log at the end, for programs that are not tests.
    pub fn quiet(mut self) -> Self {
        self.quiet = true;
        self
    }

    /// Starts an operator. Two calls start two operators.
    pub fn spawn(&self) -> Result<Operator> {
        let home = Scratch::new("operator-home-")?;
        let mut command = Program::command(&self.binary);
        command.env_clear().env("HOME", home.path()).env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs(&self.env).args(&self.args).current_dir(home.path());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut program = Program::spawn(command).with_context(|| format!("cannot start {}", self.binary.display()))?;
        let lines = Arc::default();
        let (stdout, stderr) = program.take_outputs();
        let readers = [
            collect(stdout.context("no standard output")?, &lines),
            collect(stderr.context("no standard error")?, &lines),
        ];
        Ok(Operator { program, lines, readers, address: None, quiet: self.quiet, _home: home })
    }
}

/// Reads an output in a thread, because a full pipe would block the operator while the test does other work.
fn collect(output: impl Read + Send + 'static, lines: &Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    let lines = Arc::clone(lines);
    std::thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            lines.lock().unwrap_or_else(PoisonError::into_inner).push(String::from_utf8_lossy(&line).into_owned());
        }
    })
}
