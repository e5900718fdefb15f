//! What commands print: data on stdout, everything else on stderr. Much of it was written by strangers (payloads, names,
//! what a system answered), so nothing reaches a terminal that the terminal would obey.

use std::fmt::Display;

use clap::ValueEnum;

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Says something to the person who waits. Its lines stay lines.
#[expect(clippy::print_stderr, reason = "what a person should know beside the data")]
pub(crate) fn say(text: impl Display) {
    eprintln!("{}", printable_lines(&text.to_string()));
}

/// A text on one line: what a terminal would obey instead of showing it is escaped, line breaks too.
pub(crate) fn printable(text: &str) -> String {
    escaped(text, |_| false)
}

/// A text that is told whole: as [`printable`], but its line breaks stay.
pub(crate) fn printable_lines(text: &str) -> String {
    escaped(text, |character| character == '\n')
}

fn escaped(text: &str, stays: impl Fn(char) -> bool) -> String {
    let mut told = String::with_capacity(text.len());
    for character in text.chars() {
        if is_obeyed(character) && !stays(character) {
            told.extend(character.escape_default());
        } else {
            told.push(character);
        }
    }
    told
}

/// Control characters, and those that turn the direction of what follows.
fn is_obeyed(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown() {
        assert_eq!(printable("a\u{1b}[2Jb\r\n\u{9b}1m\u{202e}é"), "a\\u{1b}[2Jb\\r\\n\\u{9b}1m\\u{202e}é");
        assert_eq!(printable_lines("one\n\u{7}two"), "one\n\\u{7}two");
    }
}
