//! The server of `tests/servers/go`. It reads `ca.crt` again at every handshake.

use std::process::Command;

use anyhow::Result;

use super::site::Site;
use crate::go_programs::folder;

pub(super) fn launch(site: &Site) -> Result<Command> {
    let mut command = site.command(&folder("servers/build", "go")?.join("server"))?;
    command.arg(site.address().to_string());
    command.arg(site.path("server.crt")).arg(site.path("server.key")).arg(site.mounted("ca.crt"));
    Ok(command)
}
