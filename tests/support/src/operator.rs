//! The operator as a child process, which a test starts, watches, signals and measures from outside, like a kubelet.

mod builder;
mod metrics;
mod process;

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use serde_json::Value;

pub use self::builder::Builder;
use crate::program::{Program, Scratch};

const LIMIT: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(10);
/// The number of log lines that are printed at the end, because a test can log thousands.
const SHOWN: usize = 300;

/// The end of an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// The exit code; `None` if a signal ended the process.
    pub code: Option<i32>,
    /// The time from the signal to the end.
    pub took: Duration,
}

/// A running operator. It is killed when it is dropped and when this process ends.
///
/// The drop prints the log. The test harness shows the log of a failed test, and discards that of a passed one.
#[derive(Debug)]
pub struct Operator {
    program: Program,
    lines: Arc<Mutex<Vec<String>>>,
    readers: [JoinHandle<()>; 2],
    address: Option<String>,
    quiet: bool,
    _home: Scratch,
}

impl Operator {
    /// Waits until `/readyz` answers 200, for at most 30 s.
    pub async fn wait_ready(&mut self) -> Result<()> {
        let start = Instant::now();
        loop {
            let answer = match self.find_address() {
                Some(address) => match crate::one_request::get(&address, "/readyz").await {
                    Ok((200, _)) => return Ok(()),
                    Ok((code, text)) => format!("/readyz answers {code}: {text}"),
                    Err(error) => format!("{error:#}"),
                },
                None => "no log line tells the address".to_owned(),
            };
            self.check_alive(start, "readiness", &answer)?;
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The address of the operator's probes and metrics: `127.0.0.1:PORT`, from the first log line that contains it.
    pub fn address(&mut self) -> Result<String> {
        self.find_address().context("no log line of the operator tells its address")
    }

    /// GETs a path of the operator's server. Returns the status and the text.
    pub async fn get(&mut self, path: &str) -> Result<(u16, String)> {
        crate::one_request::get(&self.address()?, path).await
    }

    /// The text of `/metrics`.
    pub async fn metrics(&mut self) -> Result<String> {
        match self.get("/metrics").await? {
            (200, text) => Ok(text),
            (code, text) => bail!("/metrics answers {code}: {text}"),
        }
    }

    /// GETs `/metrics` with this Accept header. Returns the Content-Type and the text.
    pub async fn metrics_as(&mut self, accept: &str) -> Result<(String, String)> {
        let answer = crate::one_request::get_as(&self.address()?, "/metrics", accept).await?;
        let content_type = answer.headers().get("content-type").context("no Content-Type")?.to_str()?.to_owned();
        Ok((content_type, answer.into_body()))
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.program.id()
    }

    /// The sum of the samples with this exact name and these labels, and maybe others; `None` if there is no sample.
    pub async fn metric(&mut self, name: &str, labels: &[(&str, &str)]) -> Result<Option<f64>> {
        Ok(metrics::sum(&self.metrics().await?, name, labels))
    }

    /// The log lines so far, of both outputs.
    pub fn logs(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits, for at most 30 s, for a log line that contains the text, and returns the first.
    pub async fn wait_for_log(&mut self, text: &str) -> Result<String> {
        let start = Instant::now();
        loop {
            // This comes before the read of the log, because the last lines of an operator are read only after its end.
            let complete = self.log_is_complete();
            if let Some(line) = self.logs().into_iter().find(|line| line.contains(text)) {
                return Ok(line);
            }
            if complete || start.elapsed() > LIMIT {
                self.check_alive(start, "a log line", text)?;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Sends SIGTERM to the operator, and waits for its end, for at most `limit`.
    pub async fn terminate(&mut self, limit: Duration) -> Result<Exit> {
        let start = Instant::now();
        self.program.signal(Signal::TERM)?;
        match self.program.wait(limit).await? {
            Some(status) => Ok(Exit { code: status.code(), took: start.elapsed() }),
            None => bail!("the operator has not ended {limit:?} after SIGTERM"),
        }
    }

    /// Waits until the operator ends by itself, for at most `limit`.
    pub async fn wait(&mut self, limit: Duration) -> Result<Exit> {
        let start = Instant::now();
        match self.program.wait(limit).await? {
            Some(status) => Ok(Exit { code: status.code(), took: start.elapsed() }),
            None => bail!("the operator has not ended within {limit:?}"),
        }
    }

    /// Sends SIGKILL to the operator, like a node that loses power.
    pub fn kill(&mut self) -> Result<()> {
        self.program.kill()
    }

    /// Sends SIGSTOP to the operator, which then misses renewals and deadlines without noticing.
    pub fn pause(&self) -> Result<()> {
        self.program.signal(Signal::STOP)
    }

    /// Sends SIGCONT to a paused operator.
    pub fn resume(&self) -> Result<()> {
        self.program.signal(Signal::CONT)
    }

    /// The resident memory in bytes.
    pub fn resident_memory(&self) -> Result<u64> {
        process::resident_memory(self.program.id())
    }

    /// The peak of the resident memory, in bytes.
    pub fn peak_memory(&self) -> Result<u64> {
        process::peak_memory(self.program.id())
    }

    /// The processor time so far, in user and kernel mode.
    pub fn cpu_time(&self) -> Result<Duration> {
        process::cpu_time(self.program.id())
    }

    fn find_address(&mut self) -> Option<String> {
        if self.address.is_none() {
            self.address = self.logs().iter().find_map(|line| address_in(line));
        }
        self.address.clone()
    }

    /// Whether both outputs have been read to their end.
    fn log_is_complete(&self) -> bool {
        self.readers.iter().all(JoinHandle::is_finished)
    }

    fn check_alive(&mut self, start: Instant, awaited: &str, detail: &str) -> Result<()> {
        if let Some(status) = self.program.try_wait()? {
            bail!("the operator ended with {status} while {awaited} was awaited ({detail})");
        }
        if start.elapsed() > LIMIT {
            bail!("{awaited} was awaited for {LIMIT:?} in vain ({detail})");
        }
        Ok(())
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.program.kill();
        if self.quiet {
            return;
        }
        // The wait has a limit, because a child of the operator could keep its outputs open.
        let start = Instant::now();
        while !self.log_is_complete() && start.elapsed() < Duration::from_secs(1) {
            std::thread::sleep(Duration::from_millis(1));
        }
        let lines = self.logs();
        let hidden = lines.len().saturating_sub(SHOWN);
        println!("the operator's log ({hidden} earlier lines left out):\n{}", lines[hidden..].join("\n"));
    }
}

/// The address in a JSON log line, in `fields.address` or `address`.
fn address_in(line: &str) -> Option<String> {
    let line: Value = serde_json::from_str(line).ok()?;
    let address = line.pointer("/fields/address").or_else(|| line.get("address"))?.as_str()?;
    address.starts_with("127.0.0.1:").then(|| address.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found_in_a_json_log_line_only() {
        for (line, address) in [
            (r#"{"fields":{"message":"listening","address":"127.0.0.1:80"}}"#, Some("127.0.0.1:80")),
            (r#"{"message":"listening","address":"127.0.0.1:80"}"#, Some("127.0.0.1:80")),
            (r#"{"address":"0.0.0.0:80"}"#, None),
            (r#"listening address=127.0.0.1:80"#, None),
        ] {
            assert_eq!(address_in(line).as_deref(), address, "{line}");
        }
    }
}
