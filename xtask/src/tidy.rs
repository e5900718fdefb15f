//! `cargo xtask tidy`: the house rules that no compiler checks, each with its remedy in the message.
//!
//! | file | keeps |
//! |---|---|
//! | [`direction`] | which crate may know which, and who owns wasmtime, SQLite and the HTTP client |
//! | [`words`] | one word per thing |
//! | [`shape`] | sizes and openings of files |
//! | [`fragments`] | text that must not be in the repository at all |
//!
//! It reads the files that git tracks or would track and runs in a second. It is also a test of this crate, so
//! `cargo test` keeps the rules too. A rule that hits something rightful gets an exception with a reason, in its
//! own file.

mod direction;
mod fragments;
mod shape;
mod words;

use std::fs;

use anyhow::Result;

use crate::process::{Ended, say};
use crate::repository::Repository;

/// Something that breaks a rule.
#[derive(Debug, PartialEq, Eq)]
struct Offence {
    /// A file, a file and a line, or a crate.
    place: String,
    /// What is wrong and what to do instead.
    remedy: String,
    weight: Weight,
}

/// Whether an offence fails the check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weight {
    Warning,
    Error,
}

impl Offence {
    fn error(place: impl Into<String>, remedy: impl Into<String>) -> Self {
        Offence { place: place.into(), remedy: remedy.into(), weight: Weight::Error }
    }

    fn warning(place: impl Into<String>, remedy: impl Into<String>) -> Self {
        Offence { place: place.into(), remedy: remedy.into(), weight: Weight::Warning }
    }
}

/// A tracked text file.
struct Source {
    /// From the root, with `/`.
    path: String,
    text: String,
}

impl Source {
    fn extension(&self) -> &str {
        self.path.rsplit_once('.').map_or("", |(_, extension)| extension)
    }

    /// Lines with their numbers from 1.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    fn at(&self, line: usize) -> String {
        format!("{}:{line}", self.path)
    }
}

/// Prints every offence on stderr.
pub(crate) fn run(repository: &Repository) -> Result<Ended> {
    let (sources, offences) = check(repository)?;
    for Offence { place, remedy, weight } in &offences {
        let weight = match weight {
            Weight::Warning => "warning",
            Weight::Error => "error",
        };
        eprintln!("{weight}: {place}: {remedy}");
    }
    let errors = offences.iter().filter(|offence| offence.weight == Weight::Error).count();
    say(format!(
        "tidy: {sources} files, {errors} errors, {} warnings",
        offences.len().saturating_sub(errors)
    ));
    Ok(Ended { success: errors == 0 })
}

/// How many files were read, and what is wrong with them.
fn check(repository: &Repository) -> Result<(usize, Vec<Offence>)> {
    let sources = sources(repository)?;
    let mut offences = direction::check(repository)?;
    offences.extend(shape::check(&sources));
    for source in &sources {
        offences.extend(words::check(source));
        offences.extend(fragments::check(source));
    }
    Ok((sources.len(), offences))
}

/// The tracked files that hold text, without the lock files (generated).
fn sources(repository: &Repository) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for path in repository.files()? {
        if path.file_name().is_some_and(|name| name == "Cargo.lock") {
            continue;
        }
        // A file that is no UTF-8 is no text: pictures, recorded bytes.
        if let Ok(text) = String::from_utf8(fs::read(repository.root().join(&path))?) {
            sources.push(Source { path: with_slashes(&path), text });
        }
    }
    Ok(sources)
}

fn with_slashes(path: &std::path::Path) -> String {
    let parts: Vec<_> = path.components().map(|part| part.as_os_str().to_string_lossy()).collect();
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_keeps_the_house_rules() {
        let (_, offences) = check(&Repository::find().unwrap()).unwrap();
        let errors: Vec<String> = offences
            .into_iter()
            .filter(|offence| offence.weight == Weight::Error)
            .map(|offence| format!("{}: {}", offence.place, offence.remedy))
            .collect();
        assert!(errors.is_empty(), "{} offences:\n{}", errors.len(), errors.join("\n"));
    }
}
