//! `cargo xtask power`: cuts the power at every write of the database, and looks at what was acknowledged.
//!
//! `kill -9` proves nothing about durability: the operating system still writes what the process had written. So here the
//! real store writes through a file system that keeps a log ([`shim`], [`disk`]) while callers make it do everything it
//! can ([`workload`]). From that one log many images are made ([`image`]): at any point, all that was synced, and of the
//! rest whatever a disk may have kept. The real store opens each, and [`judge`] looks. [`errors`] has the disk fail at
//! every operation of a shorter workload. [`order`] looks at the whole host's system calls from the outside.

#![allow(clippy::float_arithmetic, reason = "figures, not money")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "printing is what a proof does")]

mod disk;
mod errors;
mod facts;
mod image;
mod invariants;
mod judge;
mod loss;
mod order;
mod recording;
mod shim;
mod states;
mod workload;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, ValueEnum};

/// Cuts the power at every write of the database, has every write fail, and looks at what was acknowledged.
///
/// The status is 0 only when nothing that was acknowledged was lost, nothing was torn, and every image was sound; with
/// `--bug`, only when the bug was found.
#[derive(Parser)]
#[command(name = "power")]
struct Cli {
    /// How many crash images.
    #[arg(long, default_value_t = 20_000)]
    images: u64,
    /// What everything follows from, but for the order in which threads come.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Steps of each caller while the disk is watched.
    #[arg(long, default_value_t = 120)]
    steps: usize,
    /// What to look at. Default: everything.
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// Every operation of the disk fails once, in one way, rather than in every way, once and lastingly.
    #[arg(long)]
    brief: bool,
    /// Steps of each caller while the disk fails.
    #[arg(long, default_value_t = 8)]
    error_steps: usize,
    /// This failing case only, as a finding names it.
    #[arg(long)]
    case: Option<errors::Case>,
    /// So many times: threads come in another order each time.
    #[arg(long, default_value_t = 50, requires = "case")]
    times: usize,
    /// Events that the host takes in while its system calls are watched.
    #[arg(long, default_value_t = 300)]
    events: usize,
    /// Plants a bug: `no-sync`; `answer-before-commit` for `order`.
    #[arg(long)]
    bug: Option<String>,
    /// Makes one image again, from the recording that a failed run kept, and keeps its folder.
    #[arg(long, value_name = "SEED", requires = "recording")]
    image: Option<u64>,
    /// That recording.
    #[arg(long, value_name = "FILE")]
    recording: Option<PathBuf>,
    /// Where what failed is kept.
    #[arg(long, value_name = "FOLDER", default_value = "target/power")]
    keep: PathBuf,
    /// The host's program. Default: beside this one.
    #[arg(long, value_name = "FILE")]
    host: Option<PathBuf>,
    /// Where the components lie. Default: where `cargo xtask guests` puts them.
    #[arg(long, value_name = "FOLDER")]
    components: Option<PathBuf>,
}

/// What can be looked at alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Images of a loss of power.
    Loss,
    /// Every error of the disk.
    Errors,
    /// The order of the host's system calls.
    Order,
}

impl Cli {
    fn looks_at(&self, part: Part) -> bool {
        self.only.is_none_or(|only| only == part)
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let ended = match (&cli.bug, &cli.image, &cli.recording) {
        (Some(bug), _, _) if planted().as_ref() != Some(bug) => with_bug(bug),
        (_, Some(seed), Some(recording)) => loss::again(*seed, recording, &cli.keep),
        _ => prove(&cli),
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn prove(cli: &Cli) -> anyhow::Result<bool> {
    let scratch = loss::scratch()?;
    let mut good = true;
    if cli.looks_at(Part::Loss) {
        good &= loss::prove(&scratch.path().join("loss"), cli)?;
    }
    if cli.looks_at(Part::Errors) {
        let again = cli.case.map(|case| (case, cli.times));
        let effort = errors::Effort { steps: cli.error_steps, thorough: !cli.brief, seed: cli.seed, again };
        good &= errors::prove(&scratch.path().join("errors"), effort)?;
    }
    if cli.looks_at(Part::Order) {
        good &= order::prove(&scratch.path().join("order"), &look(cli)?)?;
    }
    Ok(good)
}

fn look(cli: &Cli) -> anyhow::Result<order::Look> {
    let standard = concat!(env!("CARGO_MANIFEST_DIR"), "/../guest-mappings/target/components");
    let beside = std::env::current_exe()?.with_file_name("portolan");
    Ok(order::Look {
        program: cli.host.clone().unwrap_or(beside),
        components: cli.components.clone().unwrap_or_else(|| PathBuf::from(standard)),
        events: cli.events,
        seed: cli.seed,
    })
}

const PLANTED: &str = "PORTOLAN_PROOF_BUG";

#[expect(clippy::disallowed_methods, reason = "how bugs are planted")]
fn planted() -> Option<String> {
    std::env::var(PLANTED).ok()
}

/// The same program with the bug in it. Good when the judge finds it.
fn with_bug(bug: &str) -> anyhow::Result<bool> {
    let known = portolan_proof::Bug::ALL.iter().any(|known| known.name() == bug);
    anyhow::ensure!(known, "there is no bug {bug}");
    let mut own = std::process::Command::new(std::env::current_exe()?);
    let found = !own.args(std::env::args_os().skip(1)).env(PLANTED, bug).status()?.success();
    println!("{bug}: {}", if found { "found" } else { "NOT FOUND" });
    Ok(found)
}
