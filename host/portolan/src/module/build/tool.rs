//! Starting a toolchain's programs, and saying so.

use std::{
    ffi::OsString,
    process::{Command, Stdio},
};

use anyhow::{Context, bail};

use super::super::say;

/// Runs a program to success; what it prints goes to stderr.
pub(super) fn run(command: &mut Command) -> anyhow::Result<()> {
    say(format!("$ {}", line(command)));
    keep_ours(command);
    let status = command.stdin(Stdio::null()).stdout(std::io::stderr()).status();
    let status = status.with_context(|| missing(command))?;
    if !status.success() {
        bail!("`{}` failed ({status})", line(command));
    }
    Ok(())
}

/// What a program prints, or nothing when it fails or is not there.
pub(super) fn output(command: &mut Command) -> Option<String> {
    keep_ours(command);
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Keeps this program's own variables from another: a key of the API may be in one, and a toolchain executes what
/// strangers wrote.
fn keep_ours(command: &mut Command) {
    let ours = |name: &OsString| name.to_string_lossy().starts_with("PORTOLAN_");
    for name in std::env::vars_os().map(|(name, _)| name).filter(ours) {
        command.env_remove(name);
    }
}

fn missing(command: &Command) -> String {
    let program = command.get_program().to_string_lossy();
    let remedy = match program.as_ref() {
        "cargo" | "rustc" => "install Rust: https://rustup.rs",
        "npm" | "npx" => "install Node.js 20 or later, with npm",
        _ if program.contains("python") => "install Python 3.10 or later",
        _ => "is it installed?",
    };
    format!("cannot start `{program}`: {remedy}")
}

fn line(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}
