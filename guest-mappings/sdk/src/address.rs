//! Streets. An ERP may want the house number apart; Stripe has one line. The number stands before the street or
//! after it, by the country's habit, which the line itself shows; where it shows none, the line stays whole.
//!
//! ```
//! use portolan_sdk::address::Street;
//!
//! let street = Street::split("Hauptstraße 12a");
//! assert_eq!((street.name.as_str(), street.number.as_str()), ("Hauptstraße", "12a"));
//! assert_eq!(Street::split("1 Main St").number, "1");
//! ```

use crate::{stripe::Address, text::joined};

/// A street in two parts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Street {
    /// Its name.
    pub name: String,
    /// The house number; empty when there is none.
    pub number: String,
    /// Whether the number stands before the name.
    pub is_number_first: bool,
}

impl Street {
    /// The parts of an address line.
    #[must_use]
    pub fn split(line: &str) -> Self {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [number, name @ ..] if !name.is_empty() && is_number(number.trim_end_matches(',')) => {
                Self { name: name.join(" "), number: (*number).to_owned(), is_number_first: true }
            }
            // "12 a" and "12 - 14" are numbers in several words.
            [name @ .., number, more] if !name.is_empty() && is_number(number) && is_tail(more) => {
                Self { name: name.join(" "), number: format!("{number} {more}"), is_number_first: false }
            }
            [name @ .., number] if !name.is_empty() && is_number(number) => {
                Self { name: name.join(" "), number: (*number).to_owned(), is_number_first: false }
            }
            _ => Self { name: words.join(" "), ..Self::default() },
        }
    }

    /// The line again.
    #[must_use]
    pub fn line(&self) -> String {
        match self.is_number_first {
            true => joined([self.number.as_str(), self.name.as_str()], " "),
            false => joined([self.name.as_str(), self.number.as_str()], " "),
        }
    }
}

/// `12`, `12a`, `12-14`, `12/3`: digits first, then little else.
fn is_number(word: &str) -> bool {
    let rest = word.trim_start_matches(|c: char| c.is_ascii_digit());
    let digits = word.len().saturating_sub(rest.len());
    // "1st" and "42nd" are names.
    let is_ordinal = ["st", "nd", "rd", "th"].iter().any(|end| rest.eq_ignore_ascii_case(end));
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '/');
    (1..=6).contains(&digits) && rest.len() <= 6 && rest.chars().all(is_part) && !is_ordinal
}

/// A single letter after a number.
fn is_tail(word: &str) -> bool {
    word.len() == 1 && word.bytes().all(|byte| byte.is_ascii_alphabetic())
}

impl Address {
    /// Both lines as one, for ERPs with one field.
    #[must_use]
    pub fn street(&self) -> String {
        joined([self.line1.as_deref().unwrap_or_default(), self.line2.as_deref().unwrap_or_default()], ", ")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_number_stands_where_the_country_has_it() {
        for (line, name, number) in [
            ("1 Main St", "Main St", "1"),
            ("221B Baker Street", "Baker Street", "221B"),
            ("12, rue de la Paix", "rue de la Paix", "12,"),
            ("Hauptstraße 12a", "Hauptstraße", "12a"),
            ("Hauptstr. 12 a", "Hauptstr.", "12 a"),
            ("Calle Mayor 12-14", "Calle Mayor", "12-14"),
            ("42nd Street", "42nd Street", ""),
            ("Straße des 17. Juni 135", "Straße des 17. Juni", "135"),
            ("PO Box", "PO Box", ""),
            ("17", "17", ""),
            ("", "", ""),
        ] {
            let street = Street::split(line);
            assert_eq!((street.name.as_str(), street.number.as_str()), (name, number), "{line}");
        }
    }

    #[test]
    fn two_lines_become_one() {
        let address = |line2: Option<&str>| Address {
            line1: Some("1 Main St ".into()),
            line2: line2.map(str::to_owned),
            ..Address::default()
        };
        assert_eq!(address(Some("Suite 2")).street(), "1 Main St, Suite 2");
        assert_eq!(address(Some(" ")).street(), "1 Main St");
    }

    proptest! {
        #[test]
        fn the_line_comes_back(line in "([0-9]{1,4}[a-c]? )?([A-Zß][a-z]{1,9} ){0,3}([0-9]{1,4}[a-c]?)?") {
            let words: Vec<&str> = line.split_whitespace().collect();
            prop_assert_eq!(Street::split(&line).line(), words.join(" "));
        }

        #[test]
        fn any_text_is_split(line in ".*") {
            let words: Vec<&str> = line.split_whitespace().collect();
            prop_assert_eq!(Street::split(&line).line(), words.join(" "));
        }
    }
}
