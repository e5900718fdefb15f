//! The shape of files: a stranger reads them from the top, and not more than a few screens of one idea.

use super::{Offence, Source};

const LINES_MAX: usize = 600;
const LINES_WARN: usize = 400;
/// From this size a file says what it is for.
const LINES_WITH_OPENING: usize = 40;
const ARCHITECTURE_LINES_MAX: usize = 150;

/// What a stranger opens first.
const REQUIRED: [&str; 2] = ["README.md", "ARCHITECTURE.md"];

/// Checks all files.
pub(super) fn check(sources: &[Source]) -> Vec<Offence> {
    let mut offences: Vec<Offence> = sources.iter().flat_map(check_one).collect();
    for name in REQUIRED {
        if !sources.iter().any(|source| source.path == name) {
            offences.push(Offence::error(name, "is missing"));
        }
    }
    offences
}

fn check_one(source: &Source) -> Vec<Offence> {
    let mut offences = Vec::new();
    let lines = source.text.lines().count();
    if source.path == "ARCHITECTURE.md" && lines > ARCHITECTURE_LINES_MAX {
        let text =
            format!("{lines} lines; at most {ARCHITECTURE_LINES_MAX}: move detail into the crates' own docs");
        offences.push(Offence::error(&source.path, text));
    }
    if source.extension() != "rs" {
        return offences;
    }
    if source.path.ends_with("/mod.rs") {
        offences.push(Offence::error(&source.path, "name it after its folder: foo.rs beside foo/"));
    }
    if lines > LINES_MAX {
        let text = format!("{lines} lines; at most {LINES_MAX}: one idea per file, split it");
        offences.push(Offence::error(&source.path, text));
    } else if lines > LINES_WARN {
        let text = format!("{lines} lines; most files stay under {LINES_WARN}: is it still one idea?");
        offences.push(Offence::warning(&source.path, text));
    }
    if lines >= LINES_WITH_OPENING && !source.text.trim_start().starts_with("//!") {
        let text = "open it with `//!`: what it is for, who calls it, what it may not do";
        offences.push(Offence::error(&source.path, text));
    }
    offences
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remedies(path: &str, text: String) -> Vec<String> {
        let offences = check_one(&Source { path: path.into(), text });
        offences.into_iter().map(|offence| offence.remedy).collect()
    }

    #[test]
    fn a_long_file_says_what_it_is_for() {
        assert_eq!(remedies("a.rs", "fn a() {}\n".repeat(39)), Vec::<String>::new());
        assert_eq!(remedies("a.rs", "fn a() {}\n".repeat(40)).len(), 1);
        assert_eq!(remedies("a.rs", format!("//! A.\n{}", "fn a() {}\n".repeat(40))), Vec::<String>::new());
    }

    #[test]
    fn a_file_of_many_ideas_is_split() {
        let offences =
            check_one(&Source { path: "a.rs".into(), text: format!("//! A.\n{}", "a\n".repeat(600)) });
        assert_eq!(
            offences.iter().map(|offence| offence.weight).collect::<Vec<_>>(),
            [super::super::Weight::Error]
        );
        let offences =
            check_one(&Source { path: "a.rs".into(), text: format!("//! A.\n{}", "a\n".repeat(500)) });
        assert_eq!(
            offences.iter().map(|offence| offence.weight).collect::<Vec<_>>(),
            [super::super::Weight::Warning]
        );
    }
}
