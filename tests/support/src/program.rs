//! Child programs and folders that never outlive this process, even if it is killed.
//!
//! `Drop` is not enough: a static is never dropped, and no value is dropped when a test run is interrupted or killed.
//! So the first program starts a small shell, the *guard*. The guard receives the process id of each program and the
//! path of each folder over a pipe. When this process ends for any reason, the kernel closes the pipe, and the guard
//! kills the remaining programs and removes the remaining folders.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// Keeps a list of process ids and a list of folders (its positional parameters), until its input ends.
const GUARD: &str = r#"
pids=
while read -r what value; do
  case $what in
    program) pids="$pids $value" ;;
    ended) left=; for pid in $pids; do [ "$pid" = "$value" ] || left="$left $pid"; done; pids=$left ;;
    folder) set -- "$@" "$value" ;;
    keep) for folder; do shift; [ "$folder" = "$value" ] || set -- "$@" "$folder"; done ;;
  esac
done
for pid in $pids; do kill -s KILL -- "-$pid"; done
[ $# -eq 0 ] && exit
for attempt in 1 2 3 4 5; do rm -rf -- "$@" && exit; sleep 1; done
"#;

/// Waits for a line, which means that the guard has its process id, and then becomes the program. Thus the program is
/// guarded all the time, and the process id, the signals and the exit status are the program's own.
const LAUNCH: &str = r#"read -r _ && exec "$@" </dev/null"#;

fn send_to_guard(line: &str) -> Result<()> {
    static PIPE: OnceLock<Mutex<ChildStdin>> = OnceLock::new();
    static START: Mutex<()> = Mutex::new(());
    let pipe = {
        let _one_at_a_time = START.lock().unwrap_or_else(PoisonError::into_inner);
        match PIPE.get() {
            Some(pipe) => pipe,
            None => {
                let pipe = start_guard()?;
                PIPE.get_or_init(|| Mutex::new(pipe))
            }
        }
    };
    let mut pipe = pipe.lock().unwrap_or_else(PoisonError::into_inner);
    writeln!(pipe, "{line}").context("the guard of child programs is gone")
}

fn start_guard() -> Result<ChildStdin> {
    let mut guard = Command::new("/bin/sh")
        .args(["-c", GUARD, "guard-of-test-programs"])
        .current_dir("/")
        .stdin(Stdio::piped())
        // With an inherited output, `cargo test | less` would wait for the end of the guard.
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Ctrl-C signals the whole foreground group of the terminal. The guard must survive it.
        .process_group(0)
        .spawn()
        .context("cannot start /bin/sh, the guard of child programs")?;
    guard.stdin.take().context("the guard has no input")
}

/// A running child program. It is killed when it is dropped and when this process ends.
#[derive(Debug)]
pub struct Program {
    child: Child,
    pid: Pid,
    status: Option<ExitStatus>,
}

impl Program {
    /// A command for [`Program::spawn`]. The caller adds arguments, environment, working directory and outputs. The
    /// input is empty.
    pub fn command(program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", LAUNCH, "launch"]).arg(program.as_ref());
        command
    }

    /// Starts a command of [`Program::command`]. A missing program gives exit status 127 and a line on its standard
    /// error.
    pub fn spawn(mut command: Command) -> Result<Self> {
        let mut child = command.stdin(Stdio::piped()).process_group(0).spawn().context("cannot start /bin/sh")?;
        let mut launch = child.stdin.take().context("the program has no input")?;
        let program = Self { pid: Pid::from_child(&child), child, status: None };
        send_to_guard(&format!("program {}", program.child.id()))?;
        writeln!(launch, "go").context("the program ended before it was launched")?;
        Ok(program)
    }

    /// The program's process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The standard output and error, if the command piped them. Only the first call returns them.
    pub fn take_outputs(&mut self) -> (Option<ChildStdout>, Option<ChildStderr>) {
        (self.child.stdout.take(), self.child.stderr.take())
    }

    /// Sends a signal, unless the program is known to have ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        if self.status.is_some() {
            return Ok(());
        }
        kill_process(self.pid, signal).with_context(|| format!("cannot signal process {}", self.child.id()))
    }

    /// The exit status, if the program has ended.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        if self.status.is_none() {
            self.status = self.child.try_wait()?;
            if self.status.is_some() {
                send_to_guard(&format!("ended {}", self.child.id()))?;
            }
        }
        Ok(self.status)
    }

    /// Waits until the program has ended; `None` after the time limit. It polls, because a waker of one test's runtime
    /// does not work in the next runtime.
    pub async fn wait(&mut self, limit: Duration) -> Result<Option<ExitStatus>> {
        let deadline = Instant::now() + limit;
        loop {
            let status = self.try_wait()?;
            if status.is_some() || Instant::now() >= deadline {
                return Ok(status);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Kills the program and its process group, and waits for its end.
    pub fn kill(&mut self) -> Result<()> {
        if self.status.is_none() {
            // The workers of nginx outlive a killed master.
            kill_process_group(self.pid, Signal::KILL)
                .with_context(|| format!("cannot kill process {}", self.child.id()))?;
        }
        while self.try_wait()?.is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// A temporary folder. It is removed when it is dropped and when this process ends, unless the environment variable
/// `KEEP` is set.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    keep: bool,
}

impl Scratch {
    /// Makes an empty folder whose name begins with `prefix`.
    pub fn new(prefix: &str) -> Result<Self> {
        let path = tempfile::Builder::new().prefix(prefix).tempdir().context("cannot make a temporary folder")?.keep();
        let keep = std::env::var_os("KEEP").is_some_and(|value| !value.is_empty());
        if !keep {
            send_to_guard(&format!("folder {}", path.display()))?;
        }
        Ok(Self { path, keep })
    }

    /// The path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps the folder after the end, for inspection.
    pub fn keep(&mut self) {
        if !self.keep {
            self.keep = true;
            let _ = send_to_guard(&format!("keep {}", self.path.display()));
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.keep {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHILD: &str = "OPERATOR_TESTING_ABORTS";

    /// The test runs itself again as a process that starts a program and aborts, so that no destructor runs.
    #[test]
    fn programs_and_folders_do_not_outlive_a_process_that_aborts() {
        if std::env::var_os(CHILD).is_some() {
            let scratch = Scratch::new("aborted-").unwrap();
            let mut command = Program::command("sleep");
            command.arg("600").stdout(Stdio::null()).stderr(Stdio::null());
            let program = Program::spawn(command).unwrap();
            println!("\nstarted {} {}", program.id(), scratch.path().display());
            std::process::abort();
        }
        let name = "program::tests::programs_and_folders_do_not_outlive_a_process_that_aborts";
        let mut again = Command::new(std::env::current_exe().unwrap());
        let output = again.args(["--exact", name, "--nocapture"]).env(CHILD, "1").env_remove("KEEP").output().unwrap();
        let output = String::from_utf8(output.stdout).unwrap();
        let mut words = output.lines().find_map(|line| line.strip_prefix("started ")).expect(&output).split(' ');
        let (id, folder) = (words.next().unwrap(), Path::new(words.next().unwrap()));
        // A process that has ended and that init has not reaped yet still has a folder in /proc, but no command line.
        let runs = || std::fs::read(format!("/proc/{id}/cmdline")).is_ok_and(|line| !line.is_empty());
        let start = Instant::now();
        while runs() || folder.exists() {
            assert!(start.elapsed() < Duration::from_secs(10), "process {id} or {} is still there", folder.display());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn a_program_that_is_missing_ends_with_127() {
        let mut command = Program::command("/no/such/program");
        command.stderr(Stdio::null());
        let mut program = Program::spawn(command).unwrap();
        let start = Instant::now();
        while program.try_wait().unwrap().is_none() {
            assert!(start.elapsed() < Duration::from_secs(10));
        }
        assert_eq!(program.try_wait().unwrap().unwrap().code(), Some(127));
    }
}
