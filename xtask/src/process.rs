//! Starting other programs, and saying so. Every program that xtask runs goes through here.
//!
//! A program's stdout is joined to our stderr unless the caller says otherwise, so that `cargo xtask demo
//! --output json` prints nothing but the demo's own JSON.

use std::ffi::OsStr;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How a command of xtask ended when nothing went wrong with xtask itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Whether what was checked or started is in order.
    pub(crate) success: bool,
}

impl From<ExitStatus> for Ended {
    fn from(status: ExitStatus) -> Self {
        Ended { success: status.success() }
    }
}

/// How often a program with a time limit is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Prints one line of progress.
pub(crate) fn say(text: impl std::fmt::Display) {
    eprintln!("xtask: {text}");
}

/// Runs a program and shows it; its stdout goes to our stderr.
pub(crate) fn run(command: &mut Command) -> Result<ExitStatus> {
    show(command);
    start(command).status().with_context(|| cannot_start(command))
}

/// No stdin: nothing may ask the person a question that a machine cannot answer.
fn start(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).stdout(std::io::stderr())
}

/// Like [`run`], and a status other than 0 is an error.
pub(crate) fn run_to_success(command: &mut Command) -> Result<()> {
    let status = run(command)?;
    if !status.success() {
        bail!("`{}` failed ({status})", line(command));
    }
    Ok(())
}

/// Like [`run_to_success`] without showing the command line, for a step that repeats; an error shows it.
pub(crate) fn run_quietly(command: &mut Command) -> Result<()> {
    let status = start(command).status().with_context(|| cannot_start(command))?;
    if !status.success() {
        bail!("`{}` failed ({status})", line(command));
    }
    Ok(())
}

/// Like [`run`], but the program is ended when it takes longer than `limit`. `false`: failed or ended.
pub(crate) fn run_within(command: &mut Command, limit: Duration) -> Result<bool> {
    show(command);
    let mut child = start(command).spawn().with_context(|| cannot_start(command))?;
    let started = now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.success());
        }
        if started.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            say(format!("`{}` took longer than {} s and was ended", line(command), limit.as_secs()));
            return Ok(false);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Runs a program quietly and returns what it wrote to stdout; its stderr is shown only in the error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| cannot_start(command))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` failed ({}): {}", line(command), output.status, stderr.trim());
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("`{}` wrote bytes that are no UTF-8", line(command)))
}

/// Prints the command line that is about to run.
pub(crate) fn show(command: &Command) {
    say(format!("$ {}", line(command)));
}

/// The moment, for durations that are shown to a person.
#[expect(clippy::disallowed_methods, reason = "xtask times its own steps; it has no domain clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// An environment variable that is set and not empty.
pub(crate) fn variable(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

fn cannot_start(command: &Command) -> String {
    format!("cannot start `{}`", command.get_program().to_string_lossy())
}

fn line(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let program = program.file_name().unwrap_or(command.get_program());
    std::iter::once(program).chain(command.get_args()).map(quoted).collect::<Vec<_>>().join(" ")
}

fn quoted(argument: &OsStr) -> String {
    let text = argument.to_string_lossy();
    if text.is_empty() || text.contains([' ', '"', '\'', '$']) {
        format!("'{}'", text.replace('\'', r"'\''"))
    } else {
        text.into_owned()
    }
}
