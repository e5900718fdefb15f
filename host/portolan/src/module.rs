//! `portolan module`: what an author of a mapping does on their own machine, with the verdicts of production.
//!
//! | file | holds |
//! |---|---|
//! | [`new`] | a project that builds, tests and runs at once, from templates in this binary |
//! | [`build`] | the project's toolchain, from the package registries to `NAME.wasm` |
//! | [`check`] | what an upload would be told, and what the module says about itself |
//! | [`test`] | every case of a folder, in the sandbox |
//! | [`run`] | one event, from a file or from an environment |
//! | [`local`] | the sandbox of the host, on this machine |
//! | [`cache`] | what it compiled and found out, kept for the next time |
//! | [`rounds`] | a module called round after round, under the host's rules |
//! | [`case`] | an event, settings and facts in a file, and what is expected of them |

mod build;
mod cache;
mod case;
mod check;
mod diff;
mod lines;
mod local;
mod new;
mod profile;
mod project;
mod remote;
mod rounds;
mod run;
mod source_map;
mod test;

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Subcommand;

use crate::print::{Output, say};

#[derive(Subcommand)]
pub(crate) enum ModuleCommand {
    /// Makes a project for a new mapping: it builds, tests and runs at once.
    New(new::NewArgs),
    /// Builds the project of a folder with its own toolchain, and checks what comes out.
    Build(build::BuildArgs),
    /// Says what an upload of a component would be told, and what the module says about itself.
    Check(check::CheckArgs),
    /// Runs every case of a folder in the sandbox, and compares what comes out with what is expected.
    Test(test::TestArgs),
    /// Runs a module on one event: from a file, or a real one of an environment. Delivers nothing.
    Run(Box<run::RunArgs>),
}

pub(crate) fn main(command: ModuleCommand) -> anyhow::Result<()> {
    match command {
        ModuleCommand::New(args) => new::main(&args),
        ModuleCommand::Build(args) => build::main(&args),
        ModuleCommand::Check(args) => check::main(&args),
        ModuleCommand::Test(args) => test::main(&args),
        ModuleCommand::Run(args) => run::main(&args),
    }
}

/// Writes a file whole or not at all.
fn write_whole(file: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let mut unfinished = file.as_os_str().to_owned();
    unfinished.push(".unfinished");
    let unfinished = PathBuf::from(unfinished);
    std::fs::write(&unfinished, bytes).with_context(|| unfinished.display().to_string())?;
    std::fs::rename(&unfinished, file).with_context(|| file.display().to_string())
}

/// A count as people read it: `1,234,567`.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (place, digit) in digits.char_indices() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn counts_are_grouped_in_thousands() {
        let grouped = |count| super::grouped(count);
        assert_eq!(
            [grouped(7), grouped(1_000), grouped(123_456), grouped(1_234_567)],
            ["7", "1,000", "123,456", "1,234,567"]
        );
    }
}
