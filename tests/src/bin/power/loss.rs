//! The loss of power: a recording, many images of it, and what the judge found.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::Context;
use portolan_domain::{Clock, SystemClock};
use portolan_tests::dice::Dice;

use crate::{
    Cli,
    disk::{Entry, FILES},
    image::{self, Files},
    judge::{Expected, Finding, States, judge},
    recording::Recording,
    states::{self, State},
};

/// Findings that are told in full.
const TOLD_MAX: usize = 5;

/// Where images are made: in memory where there is such a place, because the disk under them proves nothing.
pub(crate) fn scratch() -> anyhow::Result<tempfile::TempDir> {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.context("a folder for images")
}

/// What all images are judged by.
struct Proof {
    recording: Recording,
    states: Vec<State>,
    /// For every place in the log, how many facts were acknowledged before it.
    acknowledged: Vec<usize>,
    /// For every place in the log, the last state that was synced before it.
    synced: Vec<usize>,
}

impl Proof {
    fn new(recording: Recording, folder: &Path) -> anyhow::Result<Self> {
        let states = states::of(&recording.log, folder)?;
        let wal = FILES.iter().position(|name| name.ends_with("-wal"));
        let (mut facts, mut written, mut durable) = (0, 0, 0);
        let (mut acknowledged, mut synced) = (Vec::new(), Vec::new());
        for (at, entry) in recording.log.iter().enumerate() {
            acknowledged.push(facts);
            synced.push(durable);
            while states.get(written + 1).is_some_and(|state| state.at <= at) {
                written += 1;
            }
            match entry {
                Entry::Acknowledged(_) => facts += 1,
                Entry::Sync { file, .. } if wal == Some(usize::from(*file)) => durable = written,
                Entry::Sync { .. }
                | Entry::Create(_)
                | Entry::Write { .. }
                | Entry::Truncate { .. }
                | Entry::SyncFailed(_)
                | Entry::Delete { .. } => {}
            }
        }
        acknowledged.push(facts);
        synced.push(durable);
        Ok(Self { recording, states, acknowledged, synced })
    }

    /// The facts that must be known when the power is cut before entry `cut`, and the states that may be found.
    fn expected(&self, cut: usize) -> Expected<'_> {
        let facts = self.acknowledged.get(cut).copied().unwrap_or(0);
        let oldest = self.synced.get(cut).copied().unwrap_or(0);
        // The newest is one that was written before the cut, be it synced or not.
        let written = self.states.partition_point(|state| state.at < cut || state.at == 0);
        Expected {
            facts: self.recording.facts.get(..facts).unwrap_or_default(),
            states: Some(States { all: &self.states, allowed: oldest..written }),
        }
    }

    fn cut(&self, dice: &mut Dice) -> usize {
        dice.below(self.recording.log.len() + 1)
    }
}

/// Makes the image of a seed in `folder` and judges it. `files` are as of its cut.
fn examine(proof: &Proof, files: &Files, seed: u64, folder: &Path) -> anyhow::Result<Result<(), Finding>> {
    let mut dice = Dice::new(seed);
    let cut = proof.cut(&mut dice);
    image::write(&files.after_loss(&mut dice), folder, &mut dice)?;
    let expected = proof.expected(cut);
    let judged = catch_unwind(AssertUnwindSafe(|| judge(folder, &expected)));
    Ok(judged.unwrap_or_else(|_| Err(Finding::Stuck("something panicked".to_owned()))))
}

/// Counts and keeps findings.
#[derive(Default)]
struct Book {
    tested: AtomicU64,
    findings: Mutex<Vec<(u64, usize, Finding)>>,
}

/// Records, makes images, judges. True when all is as it should be.
pub(crate) fn prove(scratch: &Path, cli: &Cli) -> anyhow::Result<bool> {
    let clock = SystemClock::new();
    let started = clock.monotonic();
    let recording = crate::recording::record(&scratch.join("recorded"), cli.steps, cli.seed)?;
    let counts = counts(&recording.log);
    let proof = Proof::new(recording, &scratch.join("states"))?;
    println!(
        "recorded with seed {}: {counts}; {} states, {} facts acknowledged ({:.1} s)",
        cli.seed,
        proof.states.len(),
        proof.recording.facts.len(),
        (clock.monotonic() - started).as_secs_f64()
    );
    let started = clock.monotonic();
    let book = examine_all(&proof, cli, scratch)?;
    let tested = book.tested.load(Ordering::Relaxed);
    let seconds = (clock.monotonic() - started).as_secs_f64();
    let mut findings = book.findings.into_inner().unwrap_or_else(PoisonError::into_inner);
    findings.sort_by_key(|(seed, ..)| *seed);
    let number = |kind: fn(&Finding) -> bool| findings.iter().filter(|(.., found)| kind(found)).count();
    println!(
        "images {tested} ({:.0}/s)  acked lost {}  torn {}  unsound {}  stuck {}",
        tested as f64 / seconds,
        number(|found| matches!(found, Finding::Lost(_))),
        number(|found| matches!(found, Finding::Torn(_))),
        number(|found| matches!(found, Finding::Unsound(_))),
        number(|found| matches!(found, Finding::Stuck(_))),
    );
    if findings.is_empty() {
        println!(
            "0 of {tested}: with 95 % confidence fewer than 3 in {tested} losses of power break a promise"
        );
        return Ok(true);
    }
    tell(&proof, &findings, &cli.keep)?;
    Ok(false)
}

fn tell(proof: &Proof, findings: &[(u64, usize, Finding)], keep: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(keep)?;
    let kept = keep.join("recording");
    proof.recording.save(&kept)?;
    for (seed, cut, finding) in findings.iter().take(TOLD_MAX) {
        println!("image {seed}, cut before entry {cut}: {finding:?}");
        println!("  again: power --image {seed} --recording {}", kept.display());
    }
    Ok(())
}

fn examine_all(proof: &Proof, cli: &Cli, scratch: &Path) -> anyhow::Result<Book> {
    let book = Book::default();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    // Sorted by their cuts, so that the log is gone through once; dealt out, so that all threads have as much to do.
    let mut all: Vec<(usize, u64)> = (0..cli.images)
        .map(|number| {
            let seed = Dice::seed_of(cli.seed, number);
            (proof.cut(&mut Dice::new(seed)), seed)
        })
        .collect();
    all.sort_unstable();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|thread| {
                let images = all.iter().skip(thread).step_by(threads).copied();
                let folder = scratch.join(format!("image-{thread}"));
                let book = &book;
                scope.spawn(move || examine_some(proof, images, &folder, book))
            })
            .collect();
        for worker in workers {
            worker.join().map_err(|_| anyhow::anyhow!("a worker panicked"))??;
        }
        anyhow::Ok(())
    })?;
    Ok(book)
}

fn examine_some(
    proof: &Proof,
    images: impl Iterator<Item = (usize, u64)>,
    folder: &Path,
    book: &Book,
) -> anyhow::Result<()> {
    let mut files = Files::default();
    let mut at = 0;
    for (cut, seed) in images {
        for entry in proof.recording.log.get(at..cut).unwrap_or_default() {
            files.go_on(entry);
        }
        at = cut;
        if let Err(finding) = examine(proof, &files, seed, folder)? {
            book.findings.lock().unwrap_or_else(PoisonError::into_inner).push((seed, cut, finding));
        }
        book.tested.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Makes one image again and keeps it.
pub(crate) fn again(seed: u64, recording: &Path, keep: &Path) -> anyhow::Result<bool> {
    let scratch = scratch()?;
    let proof = Proof::new(Recording::load(recording)?, scratch.path())?;
    let cut = proof.cut(&mut Dice::new(seed));
    let mut files = Files::default();
    proof.recording.log.iter().take(cut).for_each(|entry| files.go_on(entry));
    // Once to keep as it was found, once to be opened.
    let kept = keep.join(format!("image-{seed}"));
    let mut dice = Dice::new(seed);
    proof.cut(&mut dice);
    image::write(&files.after_loss(&mut dice), &kept, &mut dice)?;
    let judged = examine(&proof, &files, seed, scratch.path())?;
    println!("image {seed}, cut before entry {cut}, kept in {}: {judged:?}", kept.display());
    Ok(judged.is_ok())
}

/// How often each kind of operation was recorded.
fn counts(log: &[Entry]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut bytes_written = 0;
    for entry in log {
        let name = match entry {
            Entry::Create(_) => "files made",
            Entry::Write { bytes, .. } => {
                bytes_written += bytes.len();
                "writes"
            }
            Entry::Truncate { .. } => "truncations",
            Entry::Sync { .. } => "syncs",
            Entry::SyncFailed(_) => "failed syncs",
            Entry::Delete { .. } => "files removed",
            Entry::Acknowledged(_) => "acknowledgements",
        };
        *counts.entry(name).or_default() += 1;
    }
    let counts: Vec<String> = counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
    format!("{} ({} KiB)", counts.join(", "), bytes_written / 1024)
}
