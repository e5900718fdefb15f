//! `cargo xtask test`: the whole suite, with nothing but cargo.
//!
//! Every part runs even when an earlier one failed, the counts of cargo's own `test result` lines are added up,
//! and the status is 0 only if every part is in order.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::guests::{self, Which};
use crate::process::{self, Ended, say};
use crate::repository::Repository;
use crate::tidy;

/// Which part of the suite to run.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only the host's tests (the components are built first: the host's tests run them).
    #[arg(long, conflicts_with = "guests_only")]
    host_only: bool,
    /// Only the guests: build the components and run their native tests.
    #[arg(long)]
    guests_only: bool,
    /// Handed to `cargo test`: a part of a test's name, `-- --nocapture`, or with `--host-only` `--package …`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "CARGO TEST ARGUMENTS")]
    rest: Vec<OsString>,
}

impl Arguments {
    fn names_a_package(&self) -> bool {
        self.rest.iter().take_while(|argument| *argument != "--").any(|argument| {
            let argument = argument.to_string_lossy();
            argument.starts_with("-p") || argument.starts_with("--package")
        })
    }
}

/// The SDKs of other languages: the part's name, the program that it needs (and no registry), its folder among the
/// guests, and how its tests are run. Left out, and said so, where the program is not installed.
const OTHER_SDKS: [(&str, &str, &str, &[&str]); 2] = [
    ("sdk-js", "node", "sdk-js", &["--test", "test/"]),
    ("sdk-py", "python3", "sdk-python", &["-m", "unittest", "discover", "tests"]),
];

/// Runs the parts in order, then prints what came of each.
pub(crate) fn run(repository: &Repository, arguments: &Arguments) -> Result<Ended> {
    let (host, guests) = (!arguments.guests_only, !arguments.host_only);
    if arguments.names_a_package() && host && guests {
        bail!("host and guests have different packages: add --host-only or --guests-only");
    }
    guests::prepare(repository, Which::All)?;
    let mut parts = Vec::new();
    if host {
        parts.push(Part::timed("tidy", || Ok((tidy::run(repository)?, Counts::default())))?);
        parts.push(Part::timed("host", || test(host_tests(repository, arguments)?))?);
    }
    if guests {
        parts.push(Part::timed("guests", || test(guest_tests(repository, arguments)))?);
        for (name, program, folder, rest) in OTHER_SDKS {
            if process::output(Command::new(program).arg("--version")).is_err() {
                say(format!("{name} is left out: {program} is not installed"));
                continue;
            }
            let mut tests = Command::new(program);
            tests
                .current_dir(repository.guests().join(folder))
                .args(rest)
                .env("PYTHONDONTWRITEBYTECODE", "1");
            parts.push(Part::timed(name, || Ok((process::run(&mut tests)?.into(), Counts::default())))?);
        }
    }
    println!("summary");
    for part in &parts {
        part.print();
    }
    Ok(Ended { success: parts.iter().all(|part| part.ended.success) })
}

/// Builds every program first: tests of one package start the programs of another, and cargo only builds those
/// of the package that it tests.
fn host_tests(repository: &Repository, arguments: &Arguments) -> Result<Command> {
    if !arguments.names_a_package() {
        let mut build = repository.cargo();
        build.args(["build", "--workspace", "--all-targets", "--locked"]);
        process::run_to_success(&mut build)?;
    }
    let mut cargo = repository.cargo();
    cargo_test(&mut cargo, arguments);
    Ok(cargo)
}

fn guest_tests(repository: &Repository, arguments: &Arguments) -> Command {
    let mut cargo = repository.cargo();
    cargo.current_dir(repository.guests());
    cargo_test(&mut cargo, arguments);
    cargo
}

fn cargo_test(cargo: &mut Command, arguments: &Arguments) {
    cargo.args(["test", "--locked", "--no-fail-fast"]);
    if !arguments.names_a_package() {
        cargo.arg("--workspace");
    }
    cargo.args(&arguments.rest);
}

/// What cargo's `test result` lines add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Counts {
    /// Adds a line such as `test result: ok. 12 passed; 0 failed; 0 ignored; …`; any other adds nothing.
    fn add(&mut self, line: &str) {
        let Some(counts) = line.strip_prefix("test result: ") else { return };
        for part in counts.split([';', '.']) {
            let mut words = part.split_whitespace();
            let (Some(number), Some(kind)) = (words.next(), words.next()) else { continue };
            let number = number.parse().unwrap_or(0);
            match kind {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }
}

/// One part of the suite, ended.
struct Part {
    name: &'static str,
    ended: Ended,
    counts: Counts,
    seconds: u64,
}

impl Part {
    fn timed(name: &'static str, run: impl FnOnce() -> Result<(Ended, Counts)>) -> Result<Self> {
        let started = process::now();
        let (ended, counts) = run().unwrap_or_else(|error| {
            say(format!("{name}: {error:#}"));
            (Ended { success: false }, Counts::default())
        });
        Ok(Part { name, ended, counts, seconds: started.elapsed().as_secs() })
    }

    fn print(&self) {
        let Counts { passed, failed, ignored } = self.counts;
        let word = if self.ended.success { "ok" } else { "FAILED" };
        let name = self.name;
        let tests = if self.counts == Counts::default() {
            String::new()
        } else {
            format!("{passed} passed, {failed} failed, {ignored} ignored, ")
        };
        println!("  {name:<7} {word:<7} {tests}{} s", self.seconds);
    }
}

/// Runs `cargo test`, passing its output on line by line while counting.
fn test(mut cargo: Command) -> Result<(Ended, Counts)> {
    process::show(&cargo);
    let mut child =
        cargo.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot start `cargo test`")?;
    let mut counts = Counts::default();
    if let Some(stdout) = child.stdout.take() {
        let mut reader = BufReader::new(stdout);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line)? > 0 {
            std::io::stdout().write_all(&line)?;
            counts.add(&String::from_utf8_lossy(&line));
            line.clear();
        }
    }
    Ok((child.wait()?.into(), counts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_lines_of_cargo_add_up() {
        let mut counts = Counts::default();
        counts.add("running 3 tests");
        counts.add(
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.01s\n",
        );
        counts.add("test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s\n");
        assert_eq!(counts, Counts { passed: 7, failed: 2, ignored: 1 });
    }

    #[test]
    fn an_argument_after_two_dashes_names_no_package() {
        let arguments = |rest: &[&str]| Arguments {
            host_only: false,
            guests_only: false,
            rest: rest.iter().map(OsString::from).collect(),
        };
        assert!(arguments(&["--package=portolan-store", "lease"]).names_a_package());
        assert!(!arguments(&["lease", "--", "--package"]).names_a_package());
    }
}
