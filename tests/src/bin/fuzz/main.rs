//! `cargo xtask fuzz [TARGET]`: see `portolan_tests::fuzz`.

#![allow(clippy::print_stdout, reason = "a command's figures go to stdout")]

use std::time::Duration;

use anyhow::{bail, ensure};
use clap::Parser;
use portolan_tests::fuzz::{TARGETS, Until, fuzz, keep};

/// Holds bytes that nobody would send in good faith against everything that parses bytes from outside.
#[derive(Parser)]
struct Arguments {
    /// One target; all of them, one after another, when none is named.
    target: Option<String>,
    /// How long each is tried, in seconds.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Replays the same inputs (as far as they go in the same time).
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let wanted = |name: &str| arguments.target.as_deref().is_none_or(|target| target == name);
    if !TARGETS.iter().any(|target| wanted(target.name)) {
        bail!("the targets are {}", TARGETS.iter().map(|target| target.name).collect::<Vec<_>>().join(", "));
    }
    // A panic is caught and told below, with its input.
    std::panic::set_hook(Box::new(|_| {}));
    let mut broke = 0;
    for target in TARGETS.iter().filter(|target| wanted(target.name)) {
        let found = fuzz(target, arguments.seed, Until::Passed(Duration::from_secs(arguments.seconds)))?;
        println!(
            "{:<12} {:>9} inputs, {:>4} different answers, slowest {:.1?}, {} broke something (seed {})",
            target.name,
            found.tried,
            found.seen,
            found.slowest,
            found.broke.len(),
            arguments.seed
        );
        for (input, what) in found.broke.iter().take(10) {
            println!("             {what}: {}", keep(target, input)?.display());
        }
        broke += found.broke.len();
    }
    ensure!(broke == 0, "{broke} inputs broke something; they are kept, and tried first from now on");
    Ok(())
}
