//! Where it was measured: without this no figure means anything.

use std::{fs, io::Write, path::Path, process::Command};

use portolan_domain::{Clock, SystemClock};
use serde::Serialize;

use crate::samples::{Samples, Spread};

/// Blocks that are written and synced to learn what the disk is like.
const SYNCS: usize = 100;
/// The size of such a block: a page of the database.
const PAGE_BYTES: usize = 4_096;

/// The machine and what was built.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    /// Processors that this process may use.
    pub(crate) processors: usize,
    /// What they are.
    pub(crate) processor: String,
    /// Memory in MiB.
    pub(crate) memory_mib: u64,
    /// The operating system's kernel.
    pub(crate) kernel: String,
    /// The compiler found on this machine.
    pub(crate) rustc: String,
    /// The commit of the checkout.
    pub(crate) commit: String,
    /// Whether the checkout held changes that are not committed.
    pub(crate) uncommitted: bool,
    /// How it was built: `release`, or a warning.
    pub(crate) build: String,
    /// Writing 4 KiB and syncing them, in the folder that holds the databases.
    pub(crate) sync: Spread,
    /// The load averages before: with nothing else on the machine near 0.
    pub(crate) load_before: String,
    /// The load averages after.
    pub(crate) load_after: String,
}

/// Looks around. `data` is where databases will lie.
pub(crate) fn survey(data: &Path) -> anyhow::Result<Machine> {
    Ok(Machine {
        processors: std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        processor: field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned()),
        memory_mib: field("/proc/meminfo", "MemTotal").map_or(0, |text| kib(&text) / 1_024),
        kernel: said("uname", &["-sr"]),
        rustc: said("rustc", &["--version"]),
        commit: said("git", &["-C", env!("CARGO_MANIFEST_DIR"), "rev-parse", "--short=12", "HEAD"]),
        uncommitted: !said("git", &["-C", env!("CARGO_MANIFEST_DIR"), "status", "--porcelain"]).is_empty(),
        build: build().to_owned(),
        sync: sync(data)?,
        load_before: load_average(),
        load_after: String::new(),
    })
}

/// The load averages of 1, 5 and 15 minutes.
pub(crate) fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// The memory of a process in MiB: resident now, and the most it ever was.
pub(crate) fn resident_mib(process: u32) -> (f64, f64) {
    let status = format!("/proc/{process}/status");
    let mib = |name| field(&status, name).map_or(0.0, |text| kib(&text) as f64 / 1_024.0);
    (mib("VmRSS"), mib("VmHWM"))
}

/// The processor time that a process has used, in microseconds. In steps of 10 ms, which is how the system tells it.
pub(crate) fn processor_us(process: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The name before it is in parentheses and may hold anything.
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2).filter_map(|text| text.parse::<u64>().ok());
    ticks.sum::<u64>().saturating_mul(10_000)
}

const fn build() -> &'static str {
    if cfg!(debug_assertions) { "NOT OPTIMISED: these figures mean nothing" } else { "optimised" }
}

fn sync(data: &Path) -> anyhow::Result<Spread> {
    let clock = SystemClock::new();
    let mut file = tempfile::tempfile_in(data)?;
    let mut samples = Samples::default();
    for _ in 0..SYNCS {
        let started = clock.monotonic();
        file.write_all(&[0x5a; PAGE_BYTES])?;
        file.sync_data()?;
        samples.add(clock.monotonic().saturating_sub(started));
    }
    Ok(samples.spread())
}

fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_once(':').map(|(_, value)| value.trim().to_owned())
}

fn kib(text: &str) -> u64 {
    text.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// What a program says in one line, or nothing: what cannot be found out is left out.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}
