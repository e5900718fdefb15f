//! The crash proof: real processes, real kills, judged by what the other systems wrote down themselves.
//!
//! The cast:
//!
//! * [`world`]: a host, the stand-ins of Stripe and of three ERPs, a tenant for each ERP; [`receiver`]: whom tenants tell
//!   blindly; [`load`]: senders that send until they are acknowledged.
//! * [`deeds`]: what happens at Stripe, and the model of what every ERP must hold because of it.
//! * [`records`]: the stand-ins' ledgers and journals of calls; [`judge`]: model against records.
//! * [`random`]: cycles at random; [`points`]: every point of an event's life with every fault, one by one;
//!   [`planted`]: hosts with bugs, which the judge must find; [`syscalls`]: every `fdatasync` of a run.
//! * [`dice`], [`report`]: chance, and what is printed.
//!
//! Nothing in the host knows that it is tested, but for the points and bugs of `portolan_proof`. Everything is on
//! loopback and below one temporary folder.

#![allow(clippy::indexing_slicing, reason = "a JSON value answers null for what it does not have")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "printing is what a proof does")]

mod deeds;
mod dice;
mod judge;
mod load;
mod random;
mod receiver;
mod records;
mod report;
mod world;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::{Parser, ValueEnum};
use portolan_proof::{Bug, Point};
use serde_json::json;

use crate::world::{Make, Places};

/// Kills hosts and stand-ins under load with faults on, and has the stand-ins' own ledgers judge. Ends with status 0
/// only when nothing was lost, doubled, made up, mistaken or unsafely sent again.
#[derive(Parser)]
#[command(name = "cargo xtask crash --")]
pub(crate) struct Cli {
    /// Cycles at random (with `--planted`: at most so many for each bug).
    #[arg(long, default_value_t = 200)]
    cycles: u64,
    /// The seed of the first round; every round of 25 cycles has the next one.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Plants this bug: the proof must then fail.
    #[arg(long, value_parser = bug)]
    bug: Option<Bug>,
    /// How to print the result.
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
    /// The host's program. Default: beside this one.
    #[arg(long, value_name = "FILE")]
    host: Option<PathBuf>,
    /// Where the components lie. Default: where `cargo xtask guests` puts them.
    #[arg(long, value_name = "FOLDER")]
    components: Option<PathBuf>,
    /// Keeps databases, ledgers and logs in this folder.
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

fn bug(text: &str) -> Result<Bug, String> {
    let names = || Bug::ALL.iter().map(|bug| bug.name()).collect::<Vec<_>>().join(", ");
    Bug::ALL.iter().copied().find(|bug| bug.name() == text).ok_or_else(|| format!("one of {}", names()))
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Cli::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("crash: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: &Cli) -> anyhow::Result<bool> {
    let own = std::env::current_exe()?;
    let standard = concat!(env!("CARGO_MANIFEST_DIR"), "/../guest-mappings/target/components");
    let places = Places {
        program: cli.host.clone().unwrap_or_else(|| own.with_file_name("portolan")),
        components: cli.components.clone().unwrap_or_else(|| PathBuf::from(standard)),
        keep: cli.keep.clone(),
    };
    anyhow::ensure!(places.program.exists(), "{} is not built", places.program.display());
    cycles(cli, &places).await
}

async fn cycles(cli: &Cli, places: &Places) -> anyhow::Result<bool> {
    let make = Make { bug: cli.bug.map(Bug::name), ..Make::default() };
    let outcome = random::play(places, (cli.seed, cli.cycles), &make, |text| eprintln!("{text}")).await?;
    let is_good = outcome.findings.is_empty();
    if cli.output == Output::Json {
        let told = json!({
            "cycles": outcome.cycles, "seed": cli.seed, "good": is_good, "seconds": outcome.took.as_secs(),
            "findings": outcome.findings.to_json(), "wrong_seed": outcome.seed, "counts": outcome.count.to_json(),
        });
        println!("{told}");
        return Ok(is_good);
    }
    println!("{}", outcome.count);
    print!("{}", outcome.findings);
    let rate = report::rate(outcome.cycles, outcome.took);
    println!(
        "{} cycles in {} s ({rate} in a minute), seed {}",
        outcome.cycles,
        outcome.took.as_secs(),
        cli.seed
    );
    match outcome.seed {
        None => println!(
            "nothing lost, doubled, made up, mistaken or unsafely sent again. {}",
            report::bound(outcome.cycles)
        ),
        Some(seed) => println!("replay: cargo xtask crash --seed {seed} --cycles {}", random::ROUND),
    }
    Ok(is_good)
}
