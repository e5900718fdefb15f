//! Fields with a length. What does not fit is refused with the field's name: a truncated id finds the wrong
//! document, a truncated name the wrong customer. Texts that identify nothing may be shortened, by name.
//!
//! ```
//! use portolan_sdk::text::Field;
//!
//! const CITY: Field = Field::new("CITY", 20);
//! assert_eq!(CITY.text("Springfield")?, "Springfield");
//! assert!(CITY.text("Llanfairpwllgwyngyllgogerychwyrndrobwll").is_err());
//! assert_eq!(CITY.shortened("Llanfairpwllgwyngyllgogerychwyrndrobwll"), "Llanfairpwllgwyngyl…");
//! # Ok::<(), portolan_sdk::text::Refused>(())
//! ```

mod ascii;

use crate::stop::Stop;

/// A field of an ERP by its name there, and how many characters it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    name: &'static str,
    chars_max: usize,
}

/// A value that a field does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {value:?} {why}")]
pub struct Refused {
    /// The field's name in the ERP.
    pub field: &'static str,
    /// The beginning of the value.
    pub value: String,
    /// What is wrong with it.
    pub why: String,
}

impl From<Refused> for Stop {
    fn from(refused: Refused) -> Self {
        Self::reject("", "does-not-fit", refused.to_string())
    }
}

impl Field {
    /// A field that holds `chars_max` characters.
    #[must_use]
    pub const fn new(name: &'static str, chars_max: usize) -> Self {
        Self { name, chars_max }
    }

    /// Its name in the ERP.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// How many characters it holds.
    #[must_use]
    pub const fn chars_max(self) -> usize {
        self.chars_max
    }

    /// The value, when it fits and has no control characters.
    ///
    /// # Errors
    /// [`Refused`], with the field's name.
    pub fn text(self, value: &str) -> Result<String, Refused> {
        let chars = value.chars().count();
        if chars > self.chars_max {
            return Err(
                self.refuse(value, format!("has {chars} characters, the field holds {}", self.chars_max))
            );
        }
        if value.chars().any(char::is_control) {
            return Err(self.refuse(value, "has control characters".to_owned()));
        }
        Ok(value.to_owned())
    }

    /// The value of a field that may not be empty.
    ///
    /// # Errors
    /// [`Refused`], with the field's name.
    pub fn required(self, value: &str) -> Result<String, Refused> {
        if value.is_empty() {
            Err(self.refuse(value, "must not be empty".to_owned()))
        } else {
            self.text(value)
        }
    }

    /// The value, cut to fit, with control characters as blanks: for descriptions, which identify nothing.
    #[must_use]
    pub fn shortened(self, value: &str) -> String {
        let clean = |c: char| if c.is_control() { ' ' } else { c };
        if value.chars().count() <= self.chars_max {
            return value.chars().map(clean).collect();
        }
        let kept = self.chars_max.saturating_sub(1);
        value.chars().map(clean).take(kept).chain(self.chars_max.checked_sub(1).map(|_| '…')).collect()
    }

    /// The value over several lines of the field, broken between words only.
    ///
    /// # Errors
    /// [`Refused`], when a word is longer than a line, or there are more than `lines_max`.
    pub fn lines(self, value: &str, lines_max: usize) -> Result<Vec<String>, Refused> {
        let mut lines: Vec<String> = Vec::new();
        let mut room = 0;
        for word in value.split_whitespace() {
            let word = self.text(word)?;
            let chars = word.chars().count();
            match lines.last_mut() {
                Some(line) if chars < room => {
                    line.push(' ');
                    line.push_str(&word);
                    room -= chars + 1;
                }
                _ => {
                    lines.push(word);
                    room = self.chars_max.saturating_sub(chars);
                }
            }
        }
        if lines.len() > lines_max {
            return Err(self.refuse(value, format!("needs {} lines, there are {lines_max}", lines.len())));
        }
        Ok(lines)
    }

    pub(crate) fn refuse(self, value: &str, why: String) -> Refused {
        Refused { field: self.name, value: value.chars().take(60).collect(), why }
    }
}

/// The parts that are not blank, trimmed, with `separator` between them.
#[must_use]
pub fn joined<'a>(parts: impl IntoIterator<Item = &'a str>, separator: &str) -> String {
    let parts = parts.into_iter().map(str::trim).filter(|part| !part.is_empty());
    parts.fold(String::new(), |mut all, part| {
        if !all.is_empty() {
            all.push_str(separator);
        }
        all.push_str(part);
        all
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FIELD: Field = Field::new("NAME", 5);

    #[test]
    fn what_is_too_long_is_refused_with_the_fields_name() {
        assert_eq!(FIELD.text("Zoëés").unwrap(), "Zoëés");
        let refused = FIELD.text("Jenny Rosen").unwrap_err();
        assert_eq!(refused.to_string(), "NAME: \"Jenny Rosen\" has 11 characters, the field holds 5");
        assert!(FIELD.text("a\nb").is_err());
        assert!(FIELD.required("").is_err());
    }

    #[test]
    fn only_what_is_asked_for_is_shortened() {
        assert_eq!(FIELD.shortened("Zoë"), "Zoë");
        assert_eq!(FIELD.shortened("Jenny\tRosen"), "Jenn…");
        assert_eq!(Field::new("NONE", 0).shortened("x"), "");
    }

    #[test]
    fn a_text_takes_as_many_lines_as_it_needs() {
        let field = Field::new("LINE", 10);
        assert_eq!(field.lines("Jenny Rosen und Söhne", 3).unwrap(), ["Jenny", "Rosen und", "Söhne"]);
        assert!(field.lines("Jenny Rosen und Söhne", 2).is_err());
        assert!(field.lines("Donaudampfschiff", 9).is_err());
        assert_eq!(field.lines("12345 6789", 1).unwrap(), ["12345 6789"]);
        assert!(field.lines(" ", 0).unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn lines_keep_every_word_and_fit(value in "([a-zäß]{1,9} {0,2}){0,20}", chars_max in 9usize..30) {
            let words: Vec<&str> = value.split_whitespace().collect();
            prop_assume!(words.iter().all(|word| word.chars().count() <= chars_max));
            let lines = Field::new("LINE", chars_max).lines(&value, usize::MAX).unwrap();
            prop_assert!(lines.iter().all(|line| line.chars().count() <= chars_max));
            prop_assert_eq!(lines.join(" "), words.join(" "));
            // No line could have taken the next one's first word.
            for pair in lines.windows(2) {
                let next = pair[1].split(' ').next().unwrap_or_default();
                prop_assert!(pair[0].chars().count() + 1 + next.chars().count() > chars_max);
            }
        }

        #[test]
        fn joined_parts_come_apart_again(parts in prop::collection::vec("[a-z]{1,5}", 0..6)) {
            let joined = joined(parts.iter().map(String::as_str), ", ");
            let apart: Vec<&str> = joined.split(", ").filter(|part| !part.is_empty()).collect();
            prop_assert_eq!(apart, parts);
        }
    }
}
