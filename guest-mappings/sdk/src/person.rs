//! Names of people. An ERP wants first and last name apart; Stripe has one text. Names cannot be split right in
//! general: what is not sure to be a first name stays with the last name, and no word is ever lost.
//!
//! ```
//! use portolan_sdk::person::Name;
//!
//! let name = Name::split("Ludwig van Beethoven");
//! assert_eq!((name.first.as_str(), name.last.as_str()), ("Ludwig", "van Beethoven"));
//! assert_eq!(Name::split("Rosen, Jenny May").full(), "Jenny May Rosen");
//! ```

/// A name in two parts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Name {
    /// First and middle names; empty when there is one word only.
    pub first: String,
    /// The last name, with what belongs to it.
    pub last: String,
}

/// Words in lower case that begin a last name.
const PARTICLES: [&str; 21] = [
    "af", "al", "bin", "da", "dal", "de", "del", "della", "den", "der", "di", "dos", "du", "el", "la", "le",
    "ter", "van", "von", "zu", "zum",
];

/// What follows a last name and belongs to it.
const SUFFIXES: [&str; 7] = ["jr", "jr.", "sr", "sr.", "ii", "iii", "iv"];

impl Name {
    /// The parts of a full name: `First Last`, or `Last, First`.
    #[must_use]
    pub fn split(full: &str) -> Self {
        if let Some((last, first)) = full.split_once(',') {
            let (first, last) = (words(first).join(" "), words(last).join(" "));
            // "Rosen, Jr." has no first name before it.
            if !first.is_empty() && !last.is_empty() && !is_one_of(&first, &SUFFIXES) {
                return Self { first, last };
            }
        }
        let words = words(full);
        let suffixes = words.iter().rev().take_while(|word| is_one_of(word, &SUFFIXES)).count();
        let named = words.len().saturating_sub(suffixes);
        // From the second word on: a name may begin with a particle.
        let particle = words.iter().take(named).skip(1).position(|word| PARTICLES.contains(word));
        let last = particle.map_or(named.saturating_sub(1), |position| position + 1);
        let (first, last) = words.split_at_checked(last).unwrap_or((&[], &words));
        Self { first: first.join(" "), last: last.join(" ") }
    }

    /// The name as it is spoken.
    #[must_use]
    pub fn full(&self) -> String {
        crate::text::joined([self.first.as_str(), self.last.as_str()], " ")
    }
}

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

fn is_one_of(word: &str, list: &[&str]) -> bool {
    list.iter().any(|one| one.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_split_where_the_last_name_begins() {
        for (full, first, last) in [
            ("Jenny Rosen", "Jenny", "Rosen"),
            ("  Jenny   May Rosen ", "Jenny May", "Rosen"),
            ("Rosen, Jenny", "Jenny", "Rosen"),
            ("Vincent van Gogh", "Vincent", "van Gogh"),
            ("Maria de la Cruz", "Maria", "de la Cruz"),
            ("Martin Luther King Jr.", "Martin Luther", "King Jr."),
            ("King, Jr.", "", "King, Jr."),
            ("Van Morrison", "Van", "Morrison"),
            ("Cher", "", "Cher"),
            ("", "", ""),
        ] {
            let name = Name::split(full);
            assert_eq!((name.first.as_str(), name.last.as_str()), (first, last), "{full}");
        }
    }

    proptest! {
        #[test]
        fn no_word_is_lost(full in "([A-Za-zäöüß.'-]{1,8} {1,2}){0,6}") {
            let words: Vec<&str> = full.split_whitespace().collect();
            prop_assert_eq!(Name::split(&full).full(), words.join(" "));
        }

        #[test]
        fn any_text_is_split(full in ".*") {
            let name = Name::split(&full);
            let letters = |text: &str| text.chars().filter(|c| !c.is_whitespace() && *c != ',').count();
            prop_assert_eq!(letters(&name.first) + letters(&name.last), letters(&full));
        }
    }
}
