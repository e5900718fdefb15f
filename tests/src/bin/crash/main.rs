//! The crash proof: real processes, real kills, judged by what the other systems wrote down themselves.
//!
//! The cast:
//!
//! * [`world`]: a host, the stand-ins of Stripe and of three ERPs, a tenant for each ERP; [`receiver`]: whom tenants tell
//!   blindly; [`load`]: senders that send until they are acknowledged.
//! * [`deeds`]: what happens at Stripe, and the model of what every ERP must hold because of it.
//! * [`records`]: the stand-ins' ledgers and journals of calls; [`judge`]: model against records.
//! * [`random`]: cycles at random; [`points`]: every point of an event's life with every fault, one by one;
//!   [`mod@stages`]: what chance seldom brings about; [`restores`]: a database that is put back from a backup; [`mod@planted`]: hosts with bugs, which the judge must find; [`mod@syscalls`]:
//!   every `fdatasync` of a run.
//! * [`report`]: what is printed.
//!
//! Nothing in the host knows that it is tested, but for the points and bugs of `portolan_proof`. Everything is on
//! loopback and below one temporary folder.

#![allow(clippy::indexing_slicing, reason = "a JSON value answers null for what it does not have")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "printing is what a proof does")]

mod deeds;
mod judge;
mod load;
mod planted;
mod points;
mod random;
mod receiver;
mod records;
mod report;
mod restores;
mod stages;
mod syscalls;
mod world;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, ValueEnum};
use portolan_proof::{Bug, Point};
use serde_json::json;

use crate::{
    points::{Choice, Target},
    world::{Make, Places},
};

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
    /// Every point of an event's life × every class × every fault, one by one.
    #[arg(long, conflicts_with = "cycles")]
    exhaustive: bool,
    /// With `--exhaustive`: this point only (`P12`).
    #[arg(long, value_parser = point, requires = "exhaustive")]
    point: Option<Point>,
    /// With `--exhaustive`: this system only (`sap-ecc`, `epicor`, `sage-pro`, `stripe`, `http`).
    #[arg(long, value_parser = target, requires = "exhaustive")]
    target: Option<Target>,
    /// With `--exhaustive`: every fault that the stand-ins offer, not only those that are due.
    #[arg(long, requires = "exhaustive")]
    all_faults: bool,
    /// With `--exhaustive` or `--syscalls`: every so many of the cases.
    #[arg(long, default_value_t = 1)]
    every: usize,
    /// Kills the host at every fdatasync of a short run, and fails the disk at every one, with strace.
    #[arg(long, conflicts_with_all = ["exhaustive", "planted"])]
    syscalls: bool,
    /// What chance seldom brings about: an event that kills every host, a host that sleeps beyond its leases, a day between
    /// two attempts.
    #[arg(long, conflicts_with_all = ["exhaustive", "planted", "syscalls"])]
    stages: bool,
    /// So many restores of the host's database from backups that are taken under load.
    #[arg(long, conflicts_with_all = ["exhaustive", "planted", "syscalls", "stages"])]
    restores: Option<u64>,
    /// Plants every bug in turn (or that of `--bug`), and hunts it.
    #[arg(long, conflicts_with = "exhaustive")]
    planted: bool,
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

fn point(text: &str) -> Result<Point, String> {
    Point::ALL.iter().copied().find(|point| point.number() == text).ok_or_else(|| "P1 to P21".to_owned())
}

fn target(text: &str) -> Result<Target, String> {
    let names = || Target::ALL.iter().map(|target| target.name()).collect::<Vec<_>>().join(", ");
    Target::ALL
        .iter()
        .copied()
        .find(|known| known.name() == text)
        .ok_or_else(|| format!("one of {}", names()))
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
    if cli.syscalls {
        return syscalls(cli, &places).await;
    }
    if cli.stages {
        return stages(cli, &places).await;
    }
    if let Some(restores) = cli.restores {
        return restored(cli, &places, restores).await;
    }
    if cli.planted {
        return planted(cli, &places).await;
    }
    if cli.exhaustive {
        return exhaustive(cli, &places).await;
    }
    cycles(cli, &places).await
}

async fn syscalls(cli: &Cli, places: &Places) -> anyhow::Result<bool> {
    let make = Make { bug: cli.bug.map(Bug::name), ..Make::default() };
    let Some(outcome) = syscalls::play(places, cli.every.max(1), &make, |text| eprintln!("{text}")).await?
    else {
        println!("skipped: strace is not installed, or may not trace");
        return Ok(true);
    };
    print!("{}{}", outcome.count, outcome.findings);
    let wrong = report::SORTS.iter().map(|sort| outcome.findings.of(sort)).sum::<usize>();
    println!("{} runs in {} s, {wrong} violations", outcome.runs, outcome.took.as_secs());
    Ok(outcome.findings.is_empty())
}

async fn stages(cli: &Cli, places: &Places) -> anyhow::Result<bool> {
    let make = Make { bug: cli.bug.map(Bug::name), ..Make::default() };
    let mut count = report::Count::default();
    let found = stages::play(places, &make, &mut count).await?;
    print!("{count}");
    match &found {
        None => println!("every stage ended well"),
        Some((stage, findings)) => print!("on the stage {stage}:\n{findings}"),
    }
    Ok(found.is_none())
}

async fn restored(cli: &Cli, places: &Places, restores: u64) -> anyhow::Result<bool> {
    let make = Make { bug: cli.bug.map(Bug::name), ..Make::default() };
    let mut count = report::Count::default();
    let findings = restores::play(places, (cli.seed, restores), &make, &mut count).await?;
    println!("{count}");
    print!("{findings}");
    println!("{restores} restores, seed {}", cli.seed);
    Ok(findings.is_empty())
}

async fn planted(cli: &Cli, places: &Places) -> anyhow::Result<bool> {
    let (mut found, mut hunted, mut told) = (0, 0, Vec::new());
    for bug in Bug::ALL.iter().copied().filter(|bug| cli.bug.is_none_or(|wanted| wanted == *bug)) {
        if let Some(why) = planted::elsewhere(bug) {
            eprintln!("{}: {why}", bug.name());
            told.push(json!({ "bug": bug.name(), "elsewhere": why }));
            continue;
        }
        let hunt = planted::hunt(places, bug, (cli.seed, cli.cycles)).await?;
        hunted += 1;
        found += usize::from(hunt.found.is_some());
        match &hunt.found {
            Some((cycles, finding)) => eprintln!("{}: found in {cycles} cycles: {finding}", hunt.bug.name()),
            None => eprintln!("{}: NOT found in {} cycles", hunt.bug.name(), cli.cycles),
        }
        told.push(json!({ "bug": bug.name(), "cycles": hunt.found.as_ref().map(|found| found.0),
            "finding": hunt.found.as_ref().map(|found| &found.1) }));
    }
    match cli.output {
        Output::Json => {
            println!("{}", json!({ "found": found, "hunted": hunted, "bugs": told, "seed": cli.seed }))
        }
        Output::Text => {
            let all = Bug::ALL.len();
            println!("{found} of {hunted} planted bugs found ({all} are known), seed {}", cli.seed);
        }
    }
    Ok(found == hunted)
}

async fn exhaustive(cli: &Cli, places: &Places) -> anyhow::Result<bool> {
    let make = Make { bug: cli.bug.map(Bug::name), ..Make::default() };
    let choice =
        Choice { point: cli.point, target: cli.target, all_faults: cli.all_faults, every: cli.every };
    let began = random::now();
    let outcome = points::play(places, &choice, &make, |text| eprintln!("{text}")).await?;
    let wrong = outcome.cases.iter().filter(|case| !case.findings.is_empty()).count();
    let died = outcome.cases.iter().filter(|case| case.died).count();
    let impossible: usize = outcome.impossible.values().sum();
    let (cases, seconds) = (outcome.cases.len(), began.elapsed().as_secs());
    if cli.output == Output::Json {
        let told = json!({
            "cases": cases, "wrong": wrong, "died_at_their_point": died, "impossible": impossible, "seconds": seconds,
            "why_impossible": outcome.impossible, "counts": outcome.count.to_json(),
        });
        println!("{told}");
        return Ok(wrong == 0);
    }
    println!("{}", outcome.count);
    for case in outcome.cases.iter().filter(|case| !case.findings.is_empty()) {
        print!("{}\n{}", case.name, case.findings);
    }
    for (why, cases) in &outcome.impossible {
        println!("{cases} cases are impossible: {why}");
    }
    for target in Target::ALL {
        let of = outcome.cases.iter().filter(|case| case.target == *target);
        let (mut all, mut unreached) = (0, Vec::new());
        for case in of {
            all += 1;
            unreached.extend((!case.died).then_some(case.name.as_str()));
        }
        println!(
            "{}: {all} cases, in {} the host did not reach the point {}",
            target.name(),
            unreached.len(),
            unreached.join(", ")
        );
    }
    println!("{cases} cases in {seconds} s, {wrong} violations, {died} deaths at the point itself");
    Ok(wrong == 0)
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
