//! Card numbers: found and masked before anything is stored.
//!
//! Portolan has no use for a primary account number, and PCI DSS allows none to be readable wherever it is stored
//! (3.5.1), at most its first six and last four digits (3.4.1). So what comes from outside passes through
//! [`mask_bytes`] before it is stored, shown to a module or logged, and `4242424242424242` becomes `424242******4242`.
//!
//! A number is taken for a card's when all of these hold:
//!
//! * 13 to 19 digits, beginning as an issuer's numbers do, with a length that this issuer uses (`issuer`);
//! * the Luhn check digit is right;
//! * it ends where its digits end: no digit stands before or after it, and letters touch it only when they are a word of
//!   their own (`PAN4242424242424242`). `_` never touches it, and no word that mixes letters with other digits: ids of
//!   Stripe and digests are such words;
//! * written in groups, no group is longer than eight digits and at most three separators stand between two of them
//!   (space, `-`, `.`, no-break and thin spaces, dashes, NUL). So two SAP numbers beside each other are not one card.
//!
//! Digits count however they are written: as JSON's `\u0034`, XML's `&#52;`, full-width. NUL between them is UTF-16. A run
//! of base64 is decoded once, and looked into. What is *not* covered: digits written as words, in pictures, in reverse, split over
//! several JSON texts, compressed or encrypted.
//!
//! 13 and 14 digits whose GS1 check digit is right are article numbers (GTIN), not cards.

mod glyph;
mod issuer;

use std::borrow::Cow;

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde_json::Value;

use glyph::{Glyph, Kind, next};

/// Digits of the shortest number.
const DIGITS_MIN: usize = 13;
/// Digits of the longest number.
const DIGITS_MAX: usize = 19;
/// The longest group of a number that is written in groups.
const GROUP_DIGITS_MAX: usize = 8;
/// Separators between two groups.
const SEPARATORS_MAX: usize = 3;
/// Letters that may touch a number are fewer.
const WORD_BYTES_MAX: usize = 64;
/// Base64 of 13 digits is no shorter.
const BASE64_BYTES_MIN: usize = 18;
/// Digits of a number that stay readable: the first six and the last four.
const SHOWN: (usize, usize) = (6, 4);

/// What a text is, as far as it matters for what may stand in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Anything.
    Text,
    /// JSON: a number that is masked becomes a text, so that the whole stays JSON.
    Json,
}

/// The text with every card number masked. Borrowed when there is none.
#[must_use]
pub fn mask(text: &str) -> Cow<'_, str> {
    match mask_bytes(text.as_bytes(), Form::Text) {
        // Only whole characters are replaced, and by ASCII.
        Some((masked, _)) => Cow::Owned(String::from_utf8_lossy(&masked).into_owned()),
        None => Cow::Borrowed(text),
    }
}

/// JSON text with every card number masked; numbers that are, become texts. Borrowed when there is none.
#[must_use]
pub fn mask_json_text(text: &str) -> Cow<'_, str> {
    match mask_bytes(text.as_bytes(), Form::Json) {
        Some((masked, _)) => Cow::Owned(String::from_utf8_lossy(&masked).into_owned()),
        None => Cow::Borrowed(text),
    }
}

/// Masks every card number in a value, names of fields included. Whether there was one.
pub fn mask_json(value: &mut Value) -> bool {
    let text = value.to_string();
    let Some((masked, _)) = mask_bytes(text.as_bytes(), Form::Json) else { return false };
    // What is masked in place stays JSON; if it ever did not, nothing of it may go on.
    *value = serde_json::from_slice(&masked).unwrap_or(Value::Null);
    true
}

/// Bytes in any encoding that has ASCII's digits, with every card number masked, and how many there were. `None`: none.
#[must_use]
pub fn mask_bytes(bytes: &[u8], form: Form) -> Option<(Vec<u8>, usize)> {
    let mut cuts = Vec::new();
    if may_hold_one(bytes) {
        Scan::new(bytes, form).run(&mut cuts);
    }
    encoded(bytes, &mut cuts);
    if cuts.is_empty() {
        return None;
    }
    cuts.sort_by_key(|cut| cut.from);
    let mut masked = Vec::with_capacity(bytes.len());
    let (mut at, mut count) = (0, 0);
    for cut in cuts {
        // What overlaps was found twice.
        let Some(between) = bytes.get(at..cut.from) else { continue };
        masked.extend_from_slice(between);
        masked.extend_from_slice(&cut.instead);
        (at, count) = (cut.to, count + 1);
    }
    masked.extend_from_slice(bytes.get(at..).unwrap_or_default());
    Some((masked, count))
}

/// Nearly every text ends here: too few digits stand close enough to each other.
fn may_hold_one(bytes: &[u8]) -> bool {
    // Digits of other alphabets and escapes are rare enough to be looked at slowly.
    let (mut digits, mut between) = (0usize, 0usize);
    for byte in bytes {
        match byte {
            b'0'..=b'9' => (digits, between) = (digits + 1, 0),
            // Of full-width digits, at least two bytes of three.
            0xbc | 0xef => (digits, between) = (digits + 1, 0),
            // What may belong to a separator or an escape: `&#x34;`, `\u0034`, three bytes of a dash.
            b' '
            | b'-'
            | b'.'
            | 0
            | b'&'
            | b'#'
            | b'x'
            | b'X'
            | b';'
            | b'\\'
            | b'u'
            | b'+'
            | b'e'
            | b'E'
            | 0x80.. => between += 1,
            _ => between = usize::MAX / 2,
        }
        if between > 12 {
            (digits, between) = (0, 0);
        }
        if digits >= DIGITS_MIN {
            return true;
        }
        // `4.2e15`: few digits that stand for many.
        if matches!(byte, b'e' | b'E') && digits >= 2 {
            return true;
        }
    }
    false
}

/// What is to be replaced.
struct Cut {
    from: usize,
    to: usize,
    instead: Vec<u8>,
}

/// A group of digits without anything between them.
#[derive(Default)]
struct Group {
    from: usize,
    to: usize,
    digits: Vec<u8>,
    /// Whether something touches it at its beginning or end that makes it a part of a longer word.
    touched: (bool, bool),
}

struct Scan<'a> {
    bytes: &'a [u8],
    form: Form,
    in_text: bool,
    groups: Vec<Group>,
}

impl<'a> Scan<'a> {
    const fn new(bytes: &'a [u8], form: Form) -> Self {
        Self { bytes, form, in_text: false, groups: Vec::new() }
    }

    fn run(mut self, cuts: &mut Vec<Cut>) {
        let (mut at, mut gap) = (0, 0);
        let mut open: Option<Group> = None;
        while let Some(Glyph { kind, bytes }) = next(self.bytes, at) {
            if self.form == Form::Json && !self.in_text && self.number(&mut at, cuts) {
                self.flush(cuts);
                (open, gap) = (None, 0);
                continue;
            }
            match kind {
                Kind::Digit(digit) => {
                    let group = open.get_or_insert_with(|| Group {
                        from: at,
                        touched: (self.touched_before(at), false),
                        ..Group::default()
                    });
                    group.digits.push(digit);
                    group.to = at + bytes;
                    gap = 0;
                }
                Kind::Separator | Kind::Other | Kind::Quote | Kind::Letter => {
                    if let Some(mut group) = open.take() {
                        group.touched.1 = self.touched_after(group.to);
                        self.groups.push(group);
                    }
                    gap += 1;
                    if kind != Kind::Separator || gap > SEPARATORS_MAX {
                        self.flush(cuts);
                    }
                    if kind == Kind::Quote {
                        self.in_text = !self.in_text;
                    }
                }
            }
            at += bytes;
        }
        self.groups.extend(open);
        self.flush(cuts);
    }

    /// A JSON number with a fraction or an exponent that stands for a card number. Whether there was one here.
    fn number(&self, at: &mut usize, cuts: &mut Vec<Cut>) -> bool {
        let begins = self.bytes.get(*at).is_some_and(u8::is_ascii_digit)
            && !at.checked_sub(1).and_then(|before| self.bytes.get(before)).is_some_and(is_of_number);
        if !begins {
            return false;
        }
        let rest = self.bytes.get(*at..).unwrap_or_default();
        let length = rest.iter().take_while(|byte| is_of_number(byte)).count();
        let text = rest.get(..length).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default();
        let Some(digits) = integer(text).filter(|digits| issuer::is_card(digits)) else { return false };
        let from = self.with_sign(*at);
        let mut instead = vec![b'"'];
        instead.extend(masked(&digits));
        instead.push(b'"');
        cuts.push(Cut { from, to: *at + length, instead });
        *at += length;
        true
    }

    /// Whether what stands before makes the digits a part of a word. A word of any length would cost its length for each of
    /// its digits: beyond some letters it is no word that a card number follows.
    fn touched_before(&self, at: usize) -> bool {
        let before = self.bytes.get(at.saturating_sub(WORD_BYTES_MAX)..at).unwrap_or_default();
        let word = before.iter().rev().take_while(|byte| is_of_word(byte)).count();
        let word = before.get(before.len() - word..).unwrap_or_default();
        // `\n4242…` in JSON: the letter belongs to the escape.
        let escape = word.len() == 1 && before.len() >= 2 && before.get(before.len() - 2) == Some(&b'\\');
        !escape && !is_letters(word)
    }

    fn touched_after(&self, at: usize) -> bool {
        let after = self.bytes.get(at..).unwrap_or_default();
        let word = after.iter().take(WORD_BYTES_MAX).take_while(|byte| is_of_word(byte)).count();
        !is_letters(after.get(..word).unwrap_or_default())
    }

    /// Looks at the groups that stand beside each other: every row of whole groups may be a number.
    fn flush(&mut self, cuts: &mut Vec<Cut>) {
        let groups = std::mem::take(&mut self.groups);
        if self.begins_as_iban(&groups) {
            return;
        }
        let mut first = 0;
        while let Some(begin) = groups.get(first) {
            let mut found = None;
            let mut digits: Vec<u8> = Vec::new();
            for (index, group) in groups.iter().enumerate().skip(first) {
                digits.extend_from_slice(&group.digits);
                if digits.len() > DIGITS_MAX {
                    break;
                }
                let several = index > first;
                let grouped =
                    group.digits.len() <= GROUP_DIGITS_MAX && begin.digits.len() <= GROUP_DIGITS_MAX;
                if several && !grouped {
                    break;
                }
                let whole = !begin.touched.0 && !group.touched.1;
                if whole
                    && digits.len() >= DIGITS_MIN
                    && issuer::is_card(&digits)
                    && !(several && digits.len() == 13)
                {
                    found = Some((index, group.to, digits.clone()));
                }
            }
            match found {
                Some((last, to, digits)) => {
                    // Groups end before the state of the text changes, so that it is still theirs.
                    let bare = self.form == Form::Json && !self.in_text;
                    let instead = masked(&digits);
                    let (from, instead) = if bare {
                        (self.with_sign(begin.from), [b"\"", instead.as_slice(), b"\""].concat())
                    } else {
                        (begin.from, instead)
                    };
                    cuts.push(Cut { from, to, instead });
                    first = last + 1;
                }
                None => first += 1,
            }
        }
    }

    /// Where a JSON number begins whose digits begin here.
    fn with_sign(&self, at: usize) -> usize {
        at.checked_sub(1).filter(|before| self.bytes.get(*before) == Some(&b'-')).unwrap_or(at)
    }

    /// `DE89 3704 0044 …`: account numbers of banks are no card numbers.
    fn begins_as_iban(&self, groups: &[Group]) -> bool {
        let Some(first) = groups.first().filter(|first| first.digits.len() == 2 && groups.len() > 2) else {
            return false;
        };
        let before = self.bytes.get(..first.from).unwrap_or_default();
        let letters = before.iter().rev().take_while(|byte| byte.is_ascii_uppercase()).count();
        letters == 2 && !before.iter().rev().nth(2).is_some_and(u8::is_ascii_alphanumeric)
    }
}

const fn is_of_word(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || *byte == b'_'
}

fn is_letters(word: &[u8]) -> bool {
    word.len() < WORD_BYTES_MAX && word.iter().all(u8::is_ascii_alphabetic)
}

const fn is_of_number(byte: &u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+')
}

/// The digits of a JSON number with a fraction or an exponent, if it stands for an integer of fit size.
fn integer(text: &str) -> Option<Vec<u8>> {
    if !text.contains(['.', 'e', 'E']) {
        return None;
    }
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent: usize = exponent.trim_start_matches('+').parse().ok()?;
    let fraction = fraction.trim_end_matches('0');
    if exponent < fraction.len() || exponent > DIGITS_MAX || whole.len() > DIGITS_MAX {
        return None;
    }
    let zeros = exponent - fraction.len();
    let digits = whole.bytes().chain(fraction.bytes()).chain(std::iter::repeat_n(b'0', zeros));
    let digits: Option<Vec<u8>> = digits.map(|byte| byte.is_ascii_digit().then(|| byte - b'0')).collect();
    digits.filter(|digits| (DIGITS_MIN..=DIGITS_MAX).contains(&digits.len()))
}

/// `424242******4242`
fn masked(digits: &[u8]) -> Vec<u8> {
    let hidden = SHOWN.0..digits.len().saturating_sub(SHOWN.1);
    let show = |(index, digit): (usize, &u8)| if hidden.contains(&index) { b'*' } else { b'0' + digit };
    digits.iter().enumerate().map(show).collect()
}

/// Both alphabets at once are not needed: what mixes them is no base64.
fn decode(text: &[u8]) -> Option<(Vec<u8>, GeneralPurpose)> {
    let config = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true)
        .with_encode_padding(text.ends_with(b"="));
    let url_safe = text.iter().any(|byte| matches!(byte, b'-' | b'_'));
    let alphabet = if url_safe { &alphabet::URL_SAFE } else { &alphabet::STANDARD };
    let engine = GeneralPurpose::new(alphabet, config);
    engine.decode(text).ok().map(|bytes| (bytes, engine))
}

/// Runs of base64 that hold card numbers.
fn encoded(bytes: &[u8], cuts: &mut Vec<Cut>) {
    let of_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_');
    let mut at = 0;
    while at < bytes.len() {
        let rest = bytes.get(at..).unwrap_or_default();
        let length = rest.iter().take_while(|byte| of_base64(byte)).count();
        let padding = rest.iter().skip(length).take(2).take_while(|byte| **byte == b'=').count();
        if length >= BASE64_BYTES_MIN && holds_digits(rest.get(..length).unwrap_or_default()) {
            let run = rest.get(..length + padding).unwrap_or_default();
            if let Some((decoded, engine)) = decode(run)
                && may_hold_one(&decoded)
            {
                let mut inner = Vec::new();
                Scan::new(&decoded, Form::Text).run(&mut inner);
                if !inner.is_empty() {
                    let plain = apply(&decoded, inner);
                    cuts.push(Cut {
                        from: at,
                        to: at + run.len(),
                        instead: engine.encode(plain).into_bytes(),
                    });
                }
            }
        }
        at += (length + padding).max(1);
    }
}

/// Base64 of three digits is one of `MDA` to `OTk`: it begins with `M`, `N` or `O`, whatever they are, and a word without
/// enough of these letters holds no 13 digits.
fn holds_digits(run: &[u8]) -> bool {
    run.iter()
        .filter(|byte| {
            matches!(byte, b'M' | b'N' | b'O' | b'T' | b'U' | b'D' | b'Q' | b'y' | b'z' | b'x' | b'0'..=b'5')
        })
        .count()
        >= DIGITS_MIN
}

fn apply(bytes: &[u8], cuts: Vec<Cut>) -> Vec<u8> {
    let mut masked = Vec::with_capacity(bytes.len());
    let mut at = 0;
    for cut in cuts {
        masked.extend_from_slice(bytes.get(at..cut.from).unwrap_or_default());
        masked.extend_from_slice(&cut.instead);
        at = cut.to;
    }
    masked.extend_from_slice(bytes.get(at..).unwrap_or_default());
    masked
}

#[cfg(test)]
mod tests;
