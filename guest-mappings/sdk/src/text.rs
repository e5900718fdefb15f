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

    pub(crate) fn refuse(self, value: &str, why: String) -> Refused {
        Refused { field: self.name, value: value.chars().take(60).collect(), why }
    }
}

#[cfg(test)]
mod tests {
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
}
