//! `cargo xtask`: everything a person does with this repository, each as one command.
//!
//! A newcomer has cargo and nothing else, so this crate is the first thing that is ever compiled here: few
//! dependencies, no wasm engine, no async runtime. It prepares what a command needs by itself and says what it
//! does. It prints progress on stderr; stdout belongs to results (and to the program it starts).
//!
//! | file | holds |
//! |---|---|
//! | [`guests`] | `cargo xtask guests`: the mapping modules as components |
//! | [`toolchain`] | a compiler that can build for WebAssembly, found or made |
//! | [`suite`] | `cargo xtask test` |
//! | [`languages`] | `cargo xtask languages`: new projects in every language, from an empty folder to a component |
//! | [`demo`] | `cargo xtask demo` and `cargo xtask bench` |
//! | [`proof`] | `cargo xtask crash`, `power`, `hostile`, `isolation`, `door`, `fuzz` |
//! | [`tidy`] | the house rules that no compiler checks |
//! | [`repository`] | where things are, and what git tracks |
//! | [`process`] | starting programs and saying so |
//!
//! It knows no other crate of the workspace: it starts them as programs.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool of the repository: printing is its purpose"
)]

mod demo;
mod guests;
mod languages;
mod process;
mod proof;
mod repository;
mod suite;
mod tidy;
mod toolchain;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::process::Ended;
use crate::repository::Repository;

/// The commands of this repository. Each prepares what it needs and says what it does.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Builds everything and runs the whole main job on this machine, with simulated ERPs.
    #[command(after_help = demo::AFTER_HELP)]
    Demo(demo::Arguments),
    /// Runs the whole test suite: guests, host, the guests' native tests, tidy.
    Test(suite::Arguments),
    /// Builds the mapping modules as components, preparing the wasm toolchain where it is missing.
    Guests,
    /// Makes, builds and tests a new mapping in every language. Needs Node.js, Python and the registries.
    Languages(languages::Arguments),
    /// Measures: a fresh sandbox against native code, the whole host, acknowledgements.
    Bench(demo::BenchArguments),
    /// Kills hosts and stand-ins under load, and has the stand-ins' own ledgers judge.
    Crash(proof::Arguments),
    /// Cuts the power at every write of the database, and looks at what was acknowledged.
    Power(proof::Arguments),
    /// Runs the hostile modules against a host.
    Hostile(proof::Arguments),
    /// Measures what a tenant notices of an attack by another.
    Isolation(proof::Arguments),
    /// Holds forged requests and slow senders against a host.
    Door(proof::Arguments),
    /// Holds any bytes against everything that parses bytes from outside.
    Fuzz(proof::Arguments),
    /// Checks the house rules that no compiler checks.
    Tidy,
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(Ended { success: true }) => ExitCode::SUCCESS,
        Ok(Ended { success: false }) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<Ended> {
    let repository = Repository::find()?;
    match command {
        Command::Demo(arguments) => demo::run(&repository, &arguments),
        Command::Test(arguments) => suite::run(&repository, &arguments),
        Command::Guests => guests::run(&repository),
        Command::Languages(arguments) => languages::run(&repository, &arguments),
        Command::Bench(arguments) => demo::bench(&repository, &arguments),
        Command::Crash(arguments) => proof::run(&repository, "crash", &arguments),
        Command::Power(arguments) => proof::run(&repository, "power", &arguments),
        Command::Hostile(arguments) => proof::run(&repository, "hostile", &arguments),
        Command::Isolation(arguments) => proof::run(&repository, "isolation", &arguments),
        Command::Fuzz(arguments) => proof::run(&repository, "fuzz", &arguments),
        Command::Door(arguments) => proof::run(&repository, "door", &arguments),
        Command::Tidy => tidy::run(&repository),
    }
}
