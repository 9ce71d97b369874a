//! The output on the terminal: headings, explanations, commands and their output.

use std::cell::Cell;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio::process::Command;

/// The number of steps, which each heading contains.
const STEPS: u32 = 18;
/// A generous limit, for a busy machine.
pub const SOON: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

/// The terminal.
pub struct Stage {
    colour: bool,
    step: Cell<u32>,
}

impl Stage {
    /// Uses colours only on a terminal, and only if NO_COLOR is not set.
    pub fn new() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { colour: std::io::stdout().is_terminal() && !refused, step: Cell::new(0) }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Begins a step: prints its number, its title and its explanation.
    pub fn step(&self, title: &str, explanation: &str) {
        self.step.set(self.step.get() + 1);
        self.heading(&format!("{} of {STEPS}: {title}", self.step.get()), explanation);
    }

    /// Begins a part that is not a step.
    pub fn heading(&self, title: &str, explanation: &str) {
        println!("\n{}", self.paint("1;36", &format!("━━ {title}")));
        self.explain(explanation);
    }

    /// Whether the last step has begun.
    pub fn is_at_its_end(&self) -> bool {
        self.step.get() == STEPS
    }

    /// Prints an explanation.
    pub fn explain(&self, text: &str) {
        for line in text.lines() {
            println!("   {}", self.paint("3", line));
        }
        println!();
    }

    /// Prints a fact that was checked.
    pub fn seen(&self, text: &str) {
        println!("{}\n", self.paint("32", &format!("✓ {text}")));
    }

    /// Prints a request to API Gateway, or its response.
    pub fn exchange(&self, title: &str, text: &str) {
        println!("{}", self.paint("1", title));
        text.lines().for_each(|line| println!("  {line}"));
        println!();
    }

    /// Prints the lines of a log.
    pub fn log(&self, title: &str, lines: &[String]) {
        println!("\n{title}:");
        lines.iter().for_each(|line| println!("  {line}"));
    }

    /// Prints that the demo failed.
    pub fn failed(&self, error: &anyhow::Error) {
        eprintln!("\n{}", self.paint("1;31", &format!("✗ the demo failed: {error:#}")));
    }

    fn command(&self, command: &str) {
        println!("{}", self.paint("1;33", &format!("$ {command}")));
    }
}

/// A shell with an administrator's kubectl, in the folder of this repository.
pub struct Shell {
    kubeconfig: PathBuf,
    path: OsString,
    cache: PathBuf,
    folder: PathBuf,
    variables: Vec<(&'static str, PathBuf)>,
}

impl Shell {
    /// A shell with these programs first in its PATH.
    pub fn new(programs: [&Path; 2], kubeconfig: PathBuf, cache: PathBuf) -> Result<Self> {
        let mut folders = Vec::new();
        for program in programs {
            folders.push(program.parent().context("a program has no folder")?.to_owned());
        }
        folders.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
        Ok(Self { kubeconfig, path: std::env::join_paths(folders)?, cache, folder, variables: vec![] })
    }

    /// Sets a variable for all later commands.
    pub fn set(&mut self, name: &'static str, value: PathBuf) {
        self.variables.push((name, value));
    }

    /// Runs a command and returns its standard output.
    pub async fn quietly(&self, command: &str) -> Result<String> {
        let (printed, output) = self.execute(command).await?;
        ensure!(output.status.success(), "`{command}` ended with {}: {printed}", output.status);
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Prints a command, runs it, and prints and returns its output.
    pub async fn run(&self, stage: &Stage, command: &str) -> Result<String> {
        stage.command(command);
        let (printed, output) = self.execute(command).await?;
        println!("{}\n", printed.trim_end());
        ensure!(output.status.success(), "`{command}` ended with {}", output.status);
        Ok(printed)
    }

    /// Does the same as [`Self::run`] for a command that has to fail.
    pub async fn run_refused(&self, stage: &Stage, command: &str) -> Result<String> {
        stage.command(command);
        let (printed, output) = self.execute(command).await?;
        println!("{}\n", printed.trim_end());
        ensure!(!output.status.success(), "`{command}` did not fail");
        Ok(printed)
    }

    async fn execute(&self, command: &str) -> Result<(String, std::process::Output)> {
        let output = Command::new("/bin/sh")
            .args(["-c", command])
            .envs([("PATH", &self.path), ("KUBECONFIG", &self.kubeconfig.clone().into())])
            .env("KUBECACHEDIR", &self.cache)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .with_context(|| format!("cannot run `{command}`"))?;
        let mut printed = String::from_utf8_lossy(&output.stdout).into_owned();
        printed += &String::from_utf8_lossy(&output.stderr);
        Ok((printed, output))
    }
}

/// Waits until an attempt returns a value, and returns the value with the time that it took.
pub async fn until<T>(what: &str, mut attempt: impl AsyncFnMut() -> Result<Option<T>>) -> Result<(T, Duration)> {
    let start = Instant::now();
    loop {
        let found = attempt().await;
        let took = start.elapsed();
        match found {
            Ok(Some(value)) => return Ok((value, took)),
            Err(error) if took > SOON => return Err(error.context(format!("not within {SOON:?}: {what}"))),
            Ok(None) if took > SOON => bail!("not within {SOON:?}: {what}"),
            Ok(None) | Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
