//! Hostile modules H1 to H28, with their variants: what each tries and what the host must make of it. Used by
//! `cargo xtask hostile` and, in short, by the black-box tests. Judged from the outside: by HTTP, by whether the
//! process lives, and by what its memory does.

#![allow(clippy::unwrap_used, reason = "in a test every surprise is a panic")]
#![allow(clippy::too_many_lines, reason = "tables of cases")]

pub mod arena;
mod binary;
mod image;
pub mod neighbours;
mod plans;
mod runs;
mod uploads;

#[path = "../../host/sandbox/tests/sandbox/guests.rs"]
mod guests;

use serde_json::Value;

/// One thing that a module tries.
pub struct Case {
    /// The number of the hostile module in the list, 1 to 28.
    pub number: u8,
    /// What it tries.
    pub what: String,
    /// Makes it.
    pub module: Box<dyn Fn() -> Vec<u8>>,
    /// What the host must make of it.
    pub expected: Expected,
    /// Takes long (a fraction of a second of the processor, or more): fewer runs, and none in the short form when it
    /// is `Some(true)`.
    pub heavy: Heavy,
}

/// How much a case costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heavy {
    /// Milliseconds.
    No,
    /// Up to a second for each run: a tenth of the runs.
    Runs,
    /// Many seconds: not in the short form.
    Upload,
}

/// A look at a run as the API tells it.
pub type Look = fn(&Value) -> Result<(), String>;

/// What the host must make of a module.
pub enum Expected {
    /// The upload is refused with one of these codes.
    Refused(&'static [&'static str]),
    /// The upload is admitted; every run ends with one of these codes (or, without a reason, in this state).
    Ends(&'static [&'static str], Look),
    /// Admitted; its runs alternate with those of another tenant's module, which must always be skipped.
    Alternates(Box<dyn Fn() -> Vec<u8>>),
    /// It and damaged copies of it: whatever the host says of them, it says it with a 2xx or 4xx.
    Answered,
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "H{} {}", self.number, self.what)
    }
}

/// Nothing more to see.
pub(crate) const fn fine(_: &Value) -> Result<(), String> {
    Ok(())
}

/// Every case, in the order of the list.
#[must_use]
pub fn cases() -> Vec<Case> {
    let mut cases = uploads::cases();
    cases.extend(runs::cases());
    cases.extend(plans::cases());
    cases.sort_by_key(|case| case.number);
    cases
}

fn case(number: u8, what: &str, module: impl Fn() -> Vec<u8> + 'static, expected: Expected) -> Case {
    Case { number, what: what.to_owned(), module: Box::new(module), expected, heavy: Heavy::No }
}

impl Case {
    fn heavy(mut self, heavy: Heavy) -> Self {
        self.heavy = heavy;
        self
    }
}
