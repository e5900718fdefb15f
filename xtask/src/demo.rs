//! `cargo xtask demo` and `cargo xtask bench`: build what they need, then become the program.
//!
//! The started program owns stdin, stdout, the terminal and its signals (it replaces xtask), so what it prints
//! for a program is all that stdout ever holds. What the demo does is written in `host/portolan`, what the bench
//! measures in `tests/src/bin/bench/`.

use std::convert::Infallible;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::guests::{self, Which};
use crate::process::{self, Ended};
use crate::repository::{Metadata, Repository};

/// What `cargo xtask demo --help` says at the end.
pub(crate) const AFTER_HELP: &str = "Of these arguments:
  --exit         ends when the events have ended; status 0 only if each reached its right end
  --output json  prints the same facts for a program, on stdout; progress stays on stderr
  --story month  plays a month of business for each ERP and compares the books of both sides (--charges 300)";

/// Arguments for `portolan demo`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Handed to `portolan demo` as they are.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "DEMO ARGUMENTS")]
    rest: Vec<OsString>,
}

/// Arguments for the bench.
#[derive(clap::Args)]
pub(crate) struct BenchArguments {
    /// Handed to the bench as they are.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "BENCH ARGUMENTS")]
    rest: Vec<OsString>,
}

/// Builds the mappings and the host, then becomes `portolan demo`.
pub(crate) fn run(repository: &Repository, arguments: &Arguments) -> Result<Ended> {
    guests::prepare(repository, Which::Mappings)?;
    // Not `release`: link-time optimisation would make the first demo wait for nothing that it shows.
    let mut cargo = repository.cargo();
    cargo.args(["build", "--locked", "--profile", "demo", "--package", "portolan"]);
    process::run_to_success(&mut cargo)?;
    let mut demo = built(repository, "demo", "portolan")?;
    demo.arg("demo").arg("--components").arg(repository.components()).args(&arguments.rest);
    match become_program(demo)? {}
}

/// Builds everything with full optimisation, then becomes the bench.
pub(crate) fn bench(repository: &Repository, arguments: &BenchArguments) -> Result<Ended> {
    guests::prepare(repository, Which::All)?;
    let mut cargo = repository.cargo();
    // The host as well: the bench starts it as a process, from the folder that it lies in itself.
    cargo.args([
        "build",
        "--locked",
        "--release",
        "--bins",
        "--package",
        "portolan",
        "--package",
        "portolan-tests",
    ]);
    process::run_to_success(&mut cargo)?;
    let mut bench = built(repository, "release", "bench")?;
    bench.args(&arguments.rest);
    match become_program(bench)? {}
}

/// A binary that cargo has built in the folder of a profile.
pub(crate) fn built(repository: &Repository, profile: &str, name: &str) -> Result<Command> {
    let target = Metadata::read(repository.cargo())?.target_directory;
    Ok(Command::new(target.join(profile).join(Path::new(name))))
}

pub(crate) fn become_program(mut command: Command) -> Result<Infallible> {
    process::show(&command);
    let error = command.exec();
    Err(error).with_context(|| format!("cannot start `{}`", command.get_program().to_string_lossy()))
}
