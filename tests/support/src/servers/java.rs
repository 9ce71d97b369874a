//! The server of `tests/servers/java`. At every handshake it checks whether its file was replaced, and then reads it again.

use std::process::Command;

use anyhow::Result;

use super::site::{Site, installed};
use crate::go_programs::folder;

/// What the truststore is made of.
pub(super) enum Store {
    /// `ca.crt`.
    Pem,
    /// `truststore.p12` and `truststore.password`.
    Pkcs12,
}

pub(super) fn launch(site: &Site, store: Store) -> Result<Command> {
    for entry in std::fs::read_dir(folder("servers/build", "java")?)? {
        let entry = entry?;
        std::fs::copy(entry.path(), site.path("").join(entry.file_name()))?;
    }
    let mut command = site.command(&installed("java")?)?;
    // A small heap, and no time for the best of compilers: it runs for seconds.
    command.args(["-Xmx64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"]);
    command.arg("-cp").arg(site.path("")).arg("Server").arg(site.address().port().to_string());
    command.arg(site.path("server.crt")).arg(site.path("server.key"));
    match store {
        Store::Pem => command.arg("pem").arg(site.mounted("ca.crt")),
        Store::Pkcs12 => {
            command.arg("pkcs12").arg(site.mounted("truststore.p12")).arg(site.mounted("truststore.password"))
        }
    };
    Ok(command)
}
