//! `cargo xtask crash | power | hostile | isolation | door | fuzz`: the promises as experiments that anyone can repeat.
//!
//! Each is a program of `tests/src/bin/`, which says what it does and how it judges; here it is built, with the host
//! and the modules that it needs, and becomes the command. A short form of each runs in `cargo xtask test`.

use std::ffi::OsString;

use anyhow::Result;

use crate::demo::{become_program, built};
use crate::guests::{self, Which};
use crate::process::{self, Ended};
use crate::repository::Repository;

/// Arguments for a proof.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The cargo profile of host and proof: `dev`, the tests' own, so that what they built is used again; for
    /// `isolation`, which measures, the optimised `demo`.
    #[arg(long)]
    profile: Option<String>,
    /// Handed to the proof as they are; `-- --help` lists them.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    rest: Vec<OsString>,
}

/// Builds what a proof needs, then becomes it.
pub(crate) fn run(repository: &Repository, name: &str, arguments: &Arguments) -> Result<Ended> {
    guests::prepare(repository, Which::All)?;
    let by_default = if name == "isolation" { "demo" } else { "dev" };
    let profile = arguments.profile.as_deref().unwrap_or(by_default);
    let mut cargo = repository.cargo();
    // The whole workspace, so that the host has the hooks of the proof, as in the tests.
    cargo.args(["build", "--locked", "--workspace", "--bins", "--profile", profile]);
    process::run_to_success(&mut cargo)?;
    let folder = if profile == "dev" { "debug" } else { profile };
    let mut proof = built(repository, folder, name)?;
    proof.args(&arguments.rest);
    match become_program(proof)? {}
}
