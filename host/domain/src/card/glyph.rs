//! One written sign at a time, however it is escaped: what counts as a digit, and what may stand between digits.

/// What a sign is to whoever looks for card numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A digit.
    Digit(u8),
    /// What may stand between the groups of a number.
    Separator,
    /// An ASCII letter.
    Letter,
    /// `"`, which begins or ends a JSON text.
    Quote,
    /// Anything else.
    Other,
}

/// A sign and how many bytes it takes.
pub(super) struct Glyph {
    pub(super) kind: Kind,
    pub(super) bytes: usize,
}

/// The sign at this place. `None` at the end.
pub(super) fn next(bytes: &[u8], at: usize) -> Option<Glyph> {
    let rest = bytes.get(at..)?;
    let one = |kind| Some(Glyph { kind, bytes: 1 });
    match rest.first()? {
        digit @ b'0'..=b'9' => one(Kind::Digit(digit - b'0')),
        b' ' | b'-' | b'.' | 0 => one(Kind::Separator),
        b'a'..=b'z' | b'A'..=b'Z' => one(Kind::Letter),
        b'"' => one(Kind::Quote),
        b'\\' => Some(backslash(rest)),
        b'&' => Some(reference(rest)),
        0xc2 if rest.get(1) == Some(&0xa0) => Some(Glyph { kind: Kind::Separator, bytes: 2 }),
        0xe2 | 0xef => Some(wide(rest)),
        _ => one(Kind::Other),
    }
}

/// JSON's `\u0034`, and each of its other escapes as one sign.
fn backslash(rest: &[u8]) -> Glyph {
    let code = rest.get(1).filter(|byte| **byte == b'u').and_then(|_| number(rest.get(2..6)?, 16));
    match code {
        Some(code) => Glyph { kind: kind_of(code), bytes: 6 },
        None => {
            let escape = rest.get(1).is_some_and(|byte| b"\"\\/bfnrt".contains(byte));
            Glyph { kind: Kind::Other, bytes: if escape { 2 } else { 1 } }
        }
    }
}

/// XML's `&#52;` and `&#x34;`.
fn reference(rest: &[u8]) -> Glyph {
    let other = Glyph { kind: Kind::Other, bytes: 1 };
    let Some(end) = rest.iter().take(12).position(|byte| *byte == b';') else { return other };
    let code = match rest.get(1..end) {
        Some([b'#', b'x' | b'X', hex @ ..]) => number(hex, 16),
        Some([b'#', decimal @ ..]) => number(decimal, 10),
        _ => None,
    };
    code.map_or(other, |code| Glyph { kind: kind_of(code), bytes: end + 1 })
}

/// Dashes, thin spaces, zero-width spaces, full-width digits: three bytes of UTF-8.
fn wide(rest: &[u8]) -> Glyph {
    let character =
        rest.get(..3).and_then(|bytes| std::str::from_utf8(bytes).ok()).and_then(|text| text.chars().next());
    match character {
        Some(character) => Glyph { kind: kind_of(u32::from(character)), bytes: 3 },
        None => Glyph { kind: Kind::Other, bytes: 1 },
    }
}

fn number(digits: &[u8], radix: u32) -> Option<u32> {
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, radix).ok()
}

fn kind_of(code: u32) -> Kind {
    let digit = |zero: u32| Kind::Digit(u8::try_from(code.saturating_sub(zero)).unwrap_or(0));
    match code {
        0x30..=0x39 => digit(0x30),
        0xff10..=0xff19 => digit(0xff10),
        0x41..=0x5a | 0x61..=0x7a => Kind::Letter,
        0
        | 0x20
        | 0x2d
        | 0x2e
        | 0xa0
        | 0x2000..=0x2015
        | 0x202f
        | 0x205f
        | 0x2060
        | 0x2212
        | 0xfe58
        | 0xfe63
        | 0xfeff
        | 0xff0d => Kind::Separator,
        _ => Kind::Other,
    }
}
