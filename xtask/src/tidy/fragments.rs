//! Text that must not be in the repository at all.
//!
//! The fragments are written in two halves here, so that this file does not offend against itself.

use super::{Offence, Source};

/// A piece of text, the kind of file it is looked for in, and what to do instead.
struct Fragment {
    text: &'static str,
    /// `None`: every file.
    extension: Option<&'static str>,
    /// The fragment starts a path or a word: no letter, digit, `.`, `_`, `-` or `~` may stand before it.
    starts: bool,
    remedy: &'static str,
}

const UNFINISHED: &str = "finish it: nothing here is left for later";
const HOST: &str = "name no package host: say the package's name; cargo knows where it is";
const MACHINE: &str =
    "a path of somebody's machine: make it relative to the repository, or take it as an argument";

const FRAGMENTS: [Fragment; 16] = [
    rust(concat!("todo", "!("), UNFINISHED),
    rust(concat!("unimplemented", "!("), UNFINISHED),
    everywhere(concat!("TO", "DO"), UNFINISHED),
    everywhere(concat!("FIX", "ME"), UNFINISHED),
    rust(concat!("dbg", "!("), "use tracing, or delete it"),
    rust(concat!("#[ig", "nore"), "a test that does not run proves nothing: repair it or delete it"),
    everywhere(concat!("/wo", "rk/"), MACHINE),
    everywhere(concat!("/ro", "ot/"), MACHINE),
    everywhere(concat!("crates", ".io"), HOST),
    everywhere(concat!("docs", ".rs"), HOST),
    everywhere(concat!("static", ".rust-lang"), HOST),
    everywhere(concat!("npm", "js."), HOST),
    everywhere(concat!("pypi", ".org"), HOST),
    everywhere(concat!("rubygems", ".org"), HOST),
    everywhere(concat!("proxy.go", "lang"), HOST),
    everywhere(concat!("deb.deb", "ian.org"), HOST),
];

const fn rust(text: &'static str, remedy: &'static str) -> Fragment {
    Fragment { text, extension: Some("rs"), starts: false, remedy }
}

const fn everywhere(text: &'static str, remedy: &'static str) -> Fragment {
    Fragment { text, extension: None, starts: true, remedy }
}

/// Checks one file.
pub(super) fn check(source: &Source) -> Vec<Offence> {
    let fragments: Vec<&Fragment> = FRAGMENTS
        .iter()
        .filter(|fragment| fragment.extension.is_none_or(|extension| extension == source.extension()))
        .collect();
    let mut offences = Vec::new();
    for (number, line) in source.lines() {
        for fragment in &fragments {
            if found(fragment, line) {
                offences.push(Offence::error(
                    source.at(number),
                    format!("`{}`: {}", fragment.text, fragment.remedy),
                ));
            }
        }
    }
    offences
}

fn found(fragment: &Fragment, line: &str) -> bool {
    line.match_indices(fragment.text).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        !fragment.starts || !before.is_some_and(|c| c.is_alphanumeric() || ['.', '_', '-', '~'].contains(&c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(path: &str, text: &str) -> usize {
        check(&Source { path: path.into(), text: text.into() }).len()
    }

    #[test]
    fn a_path_of_this_machine_is_found_and_a_relative_one_is_not() {
        assert_eq!(count("a.md", concat!("see `/wo", "rk/x`")), 1);
        assert_eq!(count("a.md", "see `home/work/x` and ../work/x"), 0);
    }

    #[test]
    fn unfinished_code_is_found_in_code() {
        assert_eq!(count("a.rs", concat!("fn a() { to", "do!() }")), 1);
        assert_eq!(count("a.json", concat!("\"to", "do!()\"")), 0);
    }
}
