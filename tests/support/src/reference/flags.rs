//! The commands, flags and environment variables, from the definition of the command line.

use anyhow::{Context, Result};
use clap::{Arg, CommandFactory};
use client_certificate_operator::config::Cli;

use super::row;

/// A section for each command.
pub fn tables() -> Result<String> {
    let cli = Cli::command();
    let mut text = String::new();
    for command in cli.get_subcommands() {
        let about = command.get_long_about().or(command.get_about()).context("a command has no description")?;
        text += &format!("## {}\n\n{about}\n\n", command.get_name());
        let flags: Vec<&Arg> = command.get_arguments().filter(|argument| argument.get_id() != "help").collect();
        if !flags.is_empty() {
            text += "| flag | variable | default | meaning |\n|---|---|---|---|\n";
            for flag in flags {
                text += &row_of(flag)?;
            }
            text += "\n";
        }
        if let Some(more) = command.get_after_help() {
            for paragraph in more.to_string().lines() {
                text += &format!("{}\n\n", paragraph.replace('<', "&lt;"));
            }
        }
    }
    Ok(text)
}

fn row_of(flag: &Arg) -> Result<String> {
    let name = flag.get_long().context("a flag has no name")?;
    let meaning = flag.get_long_help().or(flag.get_help()).with_context(|| format!("--{name} has no description"))?;
    let mut meaning = meaning.to_string().replace('\n', " ");
    let values: Vec<String> = flag
        .get_possible_values()
        .iter()
        .filter_map(|value| Some(format!("`{}`: {}", value.get_name(), value.get_help()?)))
        .collect();
    if !values.is_empty() {
        meaning += &format!(". {}", values.join("; "));
    }
    let variable = flag.get_env().map(|name| format!("`{}`", name.to_string_lossy())).unwrap_or_default();
    let default: Vec<_> = flag.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    let default = match (flag.is_required_set(), default.is_empty()) {
        (true, _) => "required".to_owned(),
        (_, true) => String::new(),
        _ => format!("`{}`", default.join(",")),
    };
    row(&[&format!("`--{name}`"), &variable, &default, &meaning])
}
