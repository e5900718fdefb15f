//! `cargo xtask languages`: what a mapping's author does, in every language, from an empty folder to a component that
//! an upload would take.
//!
//! For each language and ERP: `portolan module new`, `build`, `test`, and the same cases natively. Needs the toolchains
//! (cargo with the wasm target, Node.js, Python) and their registries, which is why it is no part of `cargo xtask test`;
//! a language whose toolchain is not there is said to be left out, and is a failure only when it was asked for by name, or
//! when no other is there either.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::demo::built;
use crate::process::{self, Ended, say};
use crate::repository::Repository;

/// Which projects to make.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only these languages: rust, js, ts, python. Default: all whose toolchain is there.
    #[arg(value_parser = ["rust", "js", "ts", "python"])]
    languages: Vec<String>,
    /// Only this ERP: epicor, sap-ecc or sage-pro. Default: all three.
    #[arg(long, value_parser = ["epicor", "sap-ecc", "sage-pro"])]
    to: Option<String>,
    /// The cargo profile of `portolan` itself.
    #[arg(long, default_value = "dev")]
    profile: String,
}

/// A language, the program that it cannot do without, and how its cases are run natively.
const LANGUAGES: [(&str, &str, &[&str]); 4] = [
    ("rust", "cargo", &["cargo", "test", "--quiet"]),
    ("js", "npm", &["npm", "test", "--silent"]),
    ("ts", "npm", &["npm", "test", "--silent"]),
    ("python", "python3", &["python3", "-m", "unittest", "discover", "test"]),
];

const ERPS: [&str; 3] = ["epicor", "sap-ecc", "sage-pro"];

/// What came of one project.
struct Made {
    name: String,
    built: Duration,
    tested: Duration,
    native: Duration,
    bytes: u64,
    fuel: String,
}

/// Makes the projects one after the other, and prints what each took.
pub(crate) fn run(repository: &Repository, arguments: &Arguments) -> Result<Ended> {
    let mut cargo = repository.cargo();
    cargo.args(["build", "--locked", "--workspace", "--bins", "--profile", &arguments.profile]);
    process::run_to_success(&mut cargo)?;
    let profile = if arguments.profile == "dev" { "debug" } else { &arguments.profile };
    let portolan = PathBuf::from(built(repository, profile, "portolan")?.get_program());
    let folder = std::env::temp_dir().join(format!("portolan-languages-{}", std::process::id()));
    let mut made = Vec::new();
    for (language, needs, native) in LANGUAGES {
        let asked = arguments.languages.iter().any(|one| one == language);
        if !asked && !arguments.languages.is_empty() {
            continue;
        }
        if process::output(Command::new(needs).arg("--version")).is_err() {
            if asked {
                bail!("{language} needs {needs}, which is not installed");
            }
            say(format!("{language} is left out: {needs} is not installed"));
            continue;
        }
        for erp in ERPS.into_iter().filter(|erp| arguments.to.as_deref().is_none_or(|to| to == *erp)) {
            let project = Project { portolan: &portolan, folder: &folder, language, erp };
            made.push(project.make(native).with_context(|| format!("{language} to {erp}"))?);
        }
    }
    if made.is_empty() {
        bail!("no project was made: the toolchain of no language is installed");
    }
    std::fs::remove_dir_all(&folder)?;
    println!("{:<18} {:>8} {:>8} {:>8} {:>12}  fuel", "project", "build s", "test s", "native s", "bytes");
    for Made { name, built, tested, native, bytes, fuel } in made {
        let seconds = |time: Duration| time.as_millis() / 100;
        let text = |time| format!("{}.{}", seconds(time) / 10, seconds(time) % 10);
        println!("{name:<18} {:>8} {:>8} {:>8} {bytes:>12}  {fuel}", text(built), text(tested), text(native));
    }
    Ok(Ended { success: true })
}

/// One project to make.
struct Project<'p> {
    portolan: &'p Path,
    folder: &'p Path,
    language: &'p str,
    erp: &'p str,
}

impl Project<'_> {
    fn make(&self, native: &[&str]) -> Result<Made> {
        let name = format!("{}-{}", self.language, self.erp);
        std::fs::create_dir_all(self.folder)?;
        let new = ["new", &name, "--lang", self.language, "--from", "stripe", "--to", self.erp];
        process::run_to_success(self.module(self.folder).args(new))?;
        let project = self.folder.join(&name);
        let built = timed(self.module(&project).arg("build"))?;
        let tested = timed(self.module(&project).arg("test"))?;
        let (program, rest) = native.split_first().context("a native test is a command")?;
        // A target folder of the repository's is not the project's.
        let native =
            timed(Command::new(program).args(rest).current_dir(&project).env_remove("CARGO_TARGET_DIR"))?;
        let told = process::output(self.module(&project).args(["test", "--output", "json"]))?;
        let told: serde_json::Value = serde_json::from_str(&told)?;
        let cases = told.get("cases").and_then(serde_json::Value::as_array).context("no cases were run")?;
        let fuel = cases.iter().filter_map(|case| {
            Some(format!("{} {}", case.get("case")?.as_str()?, case.pointer("/cost/fuel")?.as_u64()?))
        });
        let fuel = fuel.collect::<Vec<_>>().join(", ");
        let bytes = std::fs::metadata(project.join(format!("{name}.wasm")))?.len();
        Ok(Made { name, built, tested, native, bytes, fuel })
    }

    fn module(&self, folder: &Path) -> Command {
        let mut command = Command::new(self.portolan);
        command.arg("module").current_dir(folder);
        command
    }
}

/// Runs a program to success and says how long it took.
fn timed(command: &mut Command) -> Result<Duration> {
    let started = process::now();
    process::run_to_success(command)?;
    Ok(started.elapsed())
}
