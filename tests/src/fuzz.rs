//! Everything that parses bytes from outside, held against bytes that nobody would send in good faith.
//!
//! A [`Target`] takes any bytes, checks what must hold of whatever it makes of them (by panicking where it does not), and
//! says in a few words what it saw. An input whose words are new is kept and changed further: guidance by what is
//! observed from outside, which needs no other compiler than the one that is there. `cargo xtask test` runs every
//! target for some thousand inputs; `cargo xtask fuzz [TARGET] --seconds N --seed S` for as long as is wanted.
//! An input that broke something lies under `tests/fuzz/regressions/<target>-…` and is tried first, for ever.

mod targets;

use std::{
    collections::{BTreeMap, HashSet},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    time::Duration,
};

use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::dice::Dice;
pub use targets::TARGETS;

/// Inputs are no longer than this, in bytes.
const BYTES_MAX: usize = 64 << 10;
/// Inputs that are kept because something new was seen.
const KEPT_MAX: usize = 2_000;
/// The longest that one input may take. Far more than any takes, so that a busy machine fails nothing.
const PATIENCE: Duration = Duration::from_secs(20);

/// Something that parses.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// What it takes in good faith.
    pub seeds: &'static [&'static str],
    /// Tries one input; says what it saw.
    pub run: fn(&[u8]) -> String,
}

/// What came of a while of trying.
#[derive(Debug, Default)]
pub struct Findings {
    /// Inputs that were tried.
    pub tried: u64,
    /// Different things that were seen.
    pub seen: usize,
    /// The longest that one input took.
    pub slowest: Duration,
    /// Inputs that broke something, and what they broke.
    pub broke: BTreeMap<Vec<u8>, String>,
}

/// When to stop.
#[derive(Debug, Clone, Copy)]
pub enum Until {
    /// After so many inputs.
    Tried(u64),
    /// After so long.
    Passed(Duration),
}

/// Where inputs lie that once broke something.
#[must_use]
pub fn regressions() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/regressions")
}

/// Tries a target, first with what once broke it and its seeds, then with changes of these.
///
/// # Errors
/// When the regressions cannot be read.
pub fn fuzz(target: &Target, seed: u64, until: Until) -> std::io::Result<Findings> {
    let mut corpus = Vec::new();
    for entry in std::fs::read_dir(regressions())? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.rsplit_once('-').is_some_and(|(of, _)| of == target.name) {
            corpus.push(std::fs::read(path)?);
        }
    }
    corpus.extend(target.seeds.iter().map(|seed| seed.as_bytes().to_vec()));
    let (mut dice, mut findings, mut seen) = (Dice::new(seed), Findings::default(), HashSet::new());
    for input in &corpus {
        attempt(target, input, &mut findings, &mut seen);
    }
    let began = Instant::now();
    while match until {
        Until::Tried(count) => findings.tried < count,
        Until::Passed(duration) => began.elapsed() < duration,
    } {
        let input = changed(&corpus, &mut dice);
        if attempt(target, &input, &mut findings, &mut seen) && corpus.len() < KEPT_MAX {
            corpus.push(input);
        }
    }
    findings.seen = seen.len();
    Ok(findings)
}

/// Whether something new was seen.
fn attempt(target: &Target, input: &[u8], findings: &mut Findings, seen: &mut HashSet<String>) -> bool {
    let began = Instant::now();
    let ran = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    let took = began.elapsed();
    findings.tried += 1;
    findings.slowest = findings.slowest.max(took);
    match ran {
        Ok(_) if took > PATIENCE => {
            findings.broke.insert(input.to_vec(), format!("took {took:?}"));
            false
        }
        // Numbers differ with every input; what is said besides does not.
        Ok(said) => seen.insert(said.chars().filter(|c| !c.is_ascii_digit()).take(120).collect()),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            findings.broke.insert(input.to_vec(), text.unwrap_or_default());
            false
        }
    }
}

/// Pieces that mean something to one parser or another.
const PIECES: [&str; 48] = [
    "{",
    "}",
    "[",
    "]",
    "\"",
    ":",
    ",",
    "null",
    "true",
    "1e400",
    "-0",
    "0.1",
    "18446744073709551616",
    "\\u0000",
    "\\ud800",
    "\u{feff}",
    "\0",
    "<a>",
    "</a>",
    "<![CDATA[",
    "]]>",
    "<!DOCTYPE a [<!ENTITY b \"c\">]>",
    "&b;",
    "&#52;",
    "&lt;",
    "<?xml?>",
    "<!--",
    "\r\n\r\n",
    "\r\n",
    "--ab",
    "--ab--",
    "t=",
    "v1=",
    "4242424242424242",
    "4242 4242 4242 4242",
    "../",
    "%2e",
    "//",
    "~0",
    "~1",
    "/",
    "\u{202e}",
    "é",
    "９",
    "id",
    "IDOC",
    "DOCNUM",
    "=",
];

/// A change of one of the inputs.
fn changed(corpus: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut input = corpus.get(dice.below(corpus.len())).cloned().unwrap_or_default();
    for _ in 0..=dice.below(5) {
        let at = dice.below(input.len() + 1);
        let to = at + dice.below((input.len() - at).min(64) + 1);
        match dice.below(9) {
            0 if at < input.len() => input[at] ^= 1 << dice.below(8),
            1 if at < input.len() => input[at] = dice.byte(),
            2 => drop(input.drain(at..to)),
            3 => drop(input.splice(at..at, PIECES[dice.below(PIECES.len())].bytes())),
            4 => {
                let part = input[at..to].to_vec();
                drop(input.splice(at..at, part));
            }
            5 => {
                // A bomb: one piece, many times.
                let piece = PIECES[dice.below(PIECES.len())].repeat(1 << dice.below(11));
                drop(input.splice(at..at, piece.into_bytes()));
            }
            6 => {
                let other = &corpus[dice.below(corpus.len())];
                let from = dice.below(other.len() + 1);
                drop(input.splice(at..to, other[from..].iter().copied()));
            }
            7 => input.truncate(at),
            _ => drop(input.splice(at..at, (0..dice.below(8)).map(|_| dice.byte()).collect::<Vec<_>>())),
        }
        input.truncate(BYTES_MAX);
    }
    input
}

/// Keeps an input that broke something beside the others. Its path.
///
/// # Errors
/// When it cannot be written.
pub fn keep(target: &Target, input: &[u8]) -> std::io::Result<PathBuf> {
    let digest = Sha256::digest(input);
    let name: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let path = regressions().join(format!("{}-{name}", target.name));
    std::fs::write(&path, input)?;
    Ok(path)
}
