//! `cargo xtask hostile`: hostile modules H1 to H28 with their variants against a real host process.
//!
//! Every module is uploaded, and run if it is admitted; in two halves, so that what the host's memory does in the second
//! is not what it needed to become warm. Judged: the exact code of every refusal and every failure, whether the process
//! lives, what reached the wire and the canary, how long a refusal took, and what the memory did.
//!
//! Status 0 only if everything was contained.

#![allow(clippy::print_stdout, reason = "printing is what a command does")]
#![allow(clippy::print_stderr, reason = "progress is for people")]

use std::{collections::BTreeMap, process::ExitCode};

use clap::Parser;
use portolan_tests::hostile::{
    Case, Expected, Heavy,
    arena::{Admitted, Arena, Seen},
    cases,
};

/// Milliseconds within which a bomb must be refused.
const REFUSAL_MS_MAX: u64 = 1_000;
/// How much more memory the host may have after the second half than before it, in percent.
const DRIFT_PERCENT_MAX: f64 = 10.0;

/// Lets hostile modules at a host, and says what became of both.
#[derive(Parser)]
#[command(name = "hostile")]
struct Options {
    /// Runs of each module that is admitted (a tenth of it for those that take long), and damaged uploads.
    #[arg(long, default_value_t = 40)]
    runs: usize,
    /// For damaged uploads.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only these: `H14,H25`.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Leave out what takes the compiler many seconds.
    #[arg(long)]
    quick: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match play(&Options::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What is known of a case by now.
struct Row {
    case: Case,
    seen: Seen,
    admitted: Option<Admitted>,
}

async fn play(options: &Options) -> anyhow::Result<bool> {
    let wanted = |case: &Case| {
        (options.only.is_empty() || options.only.contains(&format!("H{}", case.number)))
            && !(options.quick && case.heavy == Heavy::Upload)
    };
    let mut arena =
        Arena::start(&std::env::current_exe()?.with_file_name("portolan"), options.seed, &[]).await?;
    let mut rows = Vec::new();
    for case in cases().into_iter().filter(wanted) {
        eprint!("\rH{:<3}{:70.70}", case.number, case.what);
        let (mut seen, admitted) = arena.prove(&case, half(&case, options.runs)).await?;
        too_slow(&case, &mut seen);
        rows.push(Row { case, seen, admitted });
    }
    let warm_kib = arena.memory_kib();
    for row in &mut rows {
        if let Some(admitted) = &row.admitted {
            eprint!("\rH{:<3}{:70.70}", row.case.number, row.case.what);
            let again = arena.again(&row.case, admitted, half(&row.case, options.runs)).await?;
            row.seen.runs += again.runs;
            row.seen.worst_ms = row.seen.worst_ms.max(again.worst_ms);
            row.seen.memory_kib.1 = again.memory_kib.1;
            row.seen.problems.extend(again.problems);
        }
    }
    eprintln!("\r{:75}", "");
    print(&rows);
    Ok(sum_up(&rows, &arena, warm_kib, options))
}

/// Half of a case's runs, at least one.
fn half(case: &Case, runs: usize) -> usize {
    let all = if case.heavy == Heavy::No { runs } else { runs / 10 };
    (all / 2).max(1)
}

/// What is refused before a worker is started is refused at once.
fn too_slow(case: &Case, seen: &mut Seen) {
    let at_once = matches!(case.expected, Expected::Refused(codes) if codes == ["module-too-complex"]);
    if at_once && [1, 2, 3].contains(&case.number) && seen.worst_ms > REFUSAL_MS_MAX {
        seen.problems.push(format!("the refusal took {} ms", seen.worst_ms));
    }
}

fn print(rows: &[Row]) {
    println!("{:4}{:62}{:34}{:>6}{:>10}{:>18}  ok", "H", "what", "verdict", "runs", "worst ms", "host MiB");
    for Row { case, seen, .. } in rows {
        let what: String = case.what.chars().take(60).collect();
        let verdict: String = seen.verdict.chars().take(32).collect();
        let memory = format!("{} → {}", seen.memory_kib.0 >> 10, seen.memory_kib.1 >> 10);
        let ok = if seen.problems.is_empty() { "yes" } else { "NO" };
        println!(
            "H{:<3}{what:62}{verdict:34}{:>6}{:>10}{memory:>18}  {ok}",
            case.number, seen.runs, seen.worst_ms
        );
        for problem in seen.problems.iter().take(3) {
            println!("      {}", problem.chars().take(400).collect::<String>());
        }
    }
}

#[expect(clippy::float_arithmetic, reason = "a percentage for people")]
#[expect(clippy::cast_precision_loss, reason = "memory in KiB is far below 2^52")]
fn sum_up(rows: &[Row], arena: &Arena, warm_kib: u64, options: &Options) -> bool {
    let mut contained: BTreeMap<u8, bool> = BTreeMap::new();
    for row in rows {
        let so_far = contained.entry(row.case.number).or_insert(true);
        *so_far &= row.seen.problems.is_empty();
    }
    let good = contained.values().filter(|good| **good).count();
    let runs: usize = rows.iter().map(|row| row.seen.runs).sum();
    let now_kib = arena.memory_kib();
    let drift = (now_kib as f64 - warm_kib as f64) * 100.0 / (warm_kib.max(1) as f64);
    let bombs = rows.iter().filter(|row| [1, 2, 3].contains(&row.case.number) && row.case.heavy == Heavy::No);
    let slowest = bombs.map(|row| row.seen.worst_ms).max().unwrap_or_default();
    println!();
    println!(
        "{good}/{} contained in {} variants, {} host exits, {runs} runs and uploads, memory {} → {} MiB in the second \
         half ({drift:+.1} %), bombs refused within {slowest} ms, seed {}",
        contained.len(),
        rows.len(),
        arena.exits,
        warm_kib >> 10,
        now_kib >> 10,
        options.seed
    );
    good == contained.len() && arena.exits == 0 && drift <= DRIFT_PERCENT_MAX
}
