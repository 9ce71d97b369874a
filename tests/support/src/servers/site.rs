//! What one server has to itself: a port, a folder, a certificate, and an identity without privileges.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};

use anyhow::{Context, Result, bail, ensure};

use super::authority;
use super::mount::open_to_all;
use crate::program::{Program, Scratch};

/// The kernel takes ports of outgoing connections from above these.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
/// The default host name of requests.
const HOST: &str = "localhost";
/// `nobody` and its group, where tests run as root.
const NOBODY: u32 = 65_534;

#[derive(Debug)]
pub(crate) struct Site {
    scratch: Scratch,
    address: SocketAddr,
    mount: PathBuf,
    host: String,
    authority_pem: String,
}

impl Site {
    pub(crate) fn new(mount: &Path) -> Result<Self> {
        Self::of(HOST, mount)
    }

    /// One whose certificate is for this host.
    pub(crate) fn of(host: &str, mount: &Path) -> Result<Self> {
        let scratch = Scratch::new("server-")?;
        open_to_all(scratch.path(), 0o755)?;
        let issued = authority::issue(host)?;
        let address = free_address()?;
        let (host, mount) = (host.to_owned(), mount.to_owned());
        let site = Self { scratch, address, mount, host, authority_pem: issued.authority };
        site.write("server.crt", &issued.certificate)?;
        site.write("server.key", &issued.key)?;
        site.write("server.pem", &format!("{}{}", issued.certificate, issued.key))?;
        if is_root() {
            chown(site.scratch.path(), Some(NOBODY), Some(NOBODY))?;
        }
        Ok(site)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn authority_pem(&self) -> &str {
        &self.authority_pem
    }

    /// A file of its own folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// A file of the volume, for configurations: temporary folders have names that are text.
    pub(crate) fn mounted(&self, key: &str) -> PathBuf {
        self.mount.join(key)
    }

    /// Writes a file of its own folder in one step.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let (path, new) = (self.path(name), self.path(&format!("{name}.new")));
        fs::write(&new, text).with_context(|| format!("cannot write {}", new.display()))?;
        open_to_all(&new, 0o644)?;
        fs::rename(&new, &path)?;
        Ok(path)
    }

    /// Makes a folder within its own.
    pub(crate) fn folder(&self, name: &str) -> Result<()> {
        let mut path = self.path("");
        for part in Path::new(name) {
            path.push(part);
            if !path.is_dir() {
                fs::create_dir(&path)?;
                open_to_all(&path, 0o755)?;
                if is_root() {
                    chown(&path, Some(NOBODY), Some(NOBODY))?;
                }
            }
        }
        Ok(())
    }

    /// A command that runs the program without privileges, in its folder, with its outputs in its log.
    pub(crate) fn command(&self, program: &Path) -> Result<Command> {
        let mut command = if is_root() {
            let mut command = Program::command(reachable(program)?);
            command.uid(NOBODY).gid(NOBODY);
            command
        } else {
            Program::command(program)
        };
        let log = File::create(self.log())?;
        command.current_dir(self.scratch.path()).env("HOME", self.scratch.path());
        command.stderr(log.try_clone()?).stdout(log);
        Ok(command)
    }

    /// A command with its outputs in a log of this name.
    pub(crate) fn logged(&self, mut command: Command, name: &str) -> Result<Command> {
        let path = self.path(&format!("{name}.log"));
        let log = File::create(&path)?;
        if is_root() {
            // Or a program without privileges could not open /dev/stdout, as an Envoy does for its access log.
            chown(&path, Some(NOBODY), Some(NOBODY))?;
        }
        command.stderr(log.try_clone()?).stdout(log);
        Ok(command)
    }

    /// The end of what the server said.
    pub(crate) fn log_tail(&self) -> String {
        let text = fs::read(self.log()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        format!("the last lines of its log:\n{}", lines[lines.len().saturating_sub(20)..].join("\n"))
    }

    fn log(&self) -> PathBuf {
        self.path("log")
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A port that nobody listens at, and that no outgoing connection takes meanwhile.
pub(crate) fn free_address() -> Result<SocketAddr> {
    for _ in 0..100 {
        let address = SocketAddr::from(([127, 0, 0, 1], fastrand::u16(PORTS)));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    bail!("no free port among {PORTS:?}")
}

/// A program of Debian's, by name: these are where the PATH of others than root does not lead.
pub(crate) fn installed(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    let found = folders.map(|folder| folder.join(name)).find(|path| path.is_file());
    found.with_context(|| {
        format!("{name} is not installed: tests/prerequisites nginx haproxy java pip installs what is missing")
    })
}

/// The program where `nobody` can run it: the home of root is closed to others, and the cache is in it.
fn reachable(program: &Path) -> Result<PathBuf> {
    static COPIES: OnceLock<Scratch> = OnceLock::new();
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let program = fs::canonicalize(program).with_context(|| format!("cannot find {}", program.display()))?;
    if program.ancestors().all(is_open_to_all) {
        return Ok(program);
    }
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = match COPIES.get() {
        Some(folder) => folder.path(),
        None => {
            let folder = Scratch::new("programs-of-servers-")?;
            open_to_all(folder.path(), 0o755)?;
            COPIES.get_or_init(|| folder).path()
        }
    };
    let copy = folder.join(program.file_name().context("a program has a name")?);
    if !copy.exists() {
        let new = copy.with_extension("new");
        // Not by this process: what another test starts meanwhile would inherit the file, open for writing, and nobody could run it.
        let copied = Command::new("cp").arg(&program).arg(&new).status()?;
        ensure!(copied.success(), "cannot copy {}", program.display());
        fs::rename(&new, &copy)?;
    }
    Ok(copy)
}

/// Whether anybody may run the program, or pass through the folder.
fn is_open_to_all(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.mode() & 0o001 != 0)
}
