//! Source maps (ECMA-426, version 3), as much of them as it takes to say which line of which source a line of a bundle
//! came from.

use serde::Deserialize;

/// The parts of a map that tell lines.
pub(super) struct SourceMap {
    /// By line of the bundle, from 0: column there, source, line and column in it (from 0), in order of columns.
    lines: Vec<Vec<[i64; 4]>>,
    sources: Vec<String>,
}

#[derive(Deserialize)]
struct Form {
    sources: Vec<String>,
    mappings: String,
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

impl SourceMap {
    /// Reads a map; `None`, when it is none.
    pub(super) fn read(text: &str) -> Option<Self> {
        let form: Form = serde_json::from_str(text).ok()?;
        // Source, line and column go on from where the last one was, over the ends of lines.
        let mut at = [0; 4];
        let mut lines = Vec::new();
        for line in form.mappings.split(';') {
            at[0] = 0;
            let mut segments = Vec::new();
            for segment in line.split(',').filter(|segment| !segment.is_empty()) {
                let steps = numbers(segment)?;
                for (field, step) in at.iter_mut().zip(&steps) {
                    *field += step;
                }
                if steps.len() >= 4 {
                    segments.push(at);
                }
            }
            lines.push(segments);
        }
        Some(Self { lines, sources: form.sources })
    }

    /// Source and line (from 1) of a line and column of the bundle (from 1).
    pub(super) fn place(&self, line: usize, column: i64) -> Option<(&str, i64)> {
        let segments = self.lines.get(line.checked_sub(1)?)?;
        let before = segments.iter().rev().find(|segment| segment[0] < column);
        let [_, source, line, _] = before.or(segments.first())?;
        let source = self.sources.get(usize::try_from(*source).ok()?)?;
        Some((source.trim_start_matches("../"), line + 1))
    }

    /// A text in which places of the bundle (`mapping.js:12:5`) are those of its sources.
    pub(super) fn translate(&self, text: &str) -> String {
        let mut done = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once(".js:") {
            let digits =
                after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit() || c == ':').len();
            let (numbers, behind) = after.split_at(digits);
            let mut numbers = numbers.split(':');
            let line = numbers.next().and_then(|line| line.parse().ok());
            let column = numbers.next().and_then(|column| column.parse().ok()).unwrap_or(1);
            match line.and_then(|line| self.place(line, column)) {
                Some((source, line)) => {
                    // The bundle's own name goes.
                    let name = before.rfind(['(', ' ']).map_or(0, |at| at + 1);
                    done.push_str(before.get(..name).unwrap_or_default());
                    done.push_str(&format!("{source}:{line}"));
                }
                None => {
                    done.push_str(before);
                    done.push_str(".js:");
                    done.push_str(after.get(..digits).unwrap_or_default());
                }
            }
            rest = behind;
        }
        done.push_str(rest);
        done
    }
}

/// The numbers of a segment, in base 64 with the sign in the lowest bit.
fn numbers(segment: &str) -> Option<Vec<i64>> {
    let (mut numbers, mut value, mut shift) = (Vec::new(), 0_i64, 0_u32);
    for byte in segment.bytes() {
        let digit = i64::try_from(DIGITS.iter().position(|known| *known == byte)?).ok()?;
        value |= (digit & 31).checked_shl(shift)?;
        shift += 5;
        if digit & 32 == 0 {
            numbers.push(if value & 1 == 1 { -(value >> 1) } else { value >> 1 });
            (value, shift) = (0, 0);
        }
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two lines of a bundle: the first from line 3 of a.ts, the second from line 7 of b.ts at column 4.
    const MAP: &str =
        r#"{"version": 3, "sources": ["../src/a.ts", "../src/b.ts"], "mappings": "AAEA;ICIA,MAAM"}"#;

    #[test]
    fn places_of_a_bundle_are_those_of_its_sources() {
        let map = SourceMap::read(MAP).unwrap();
        assert_eq!(map.place(1, 1), Some(("src/a.ts", 3)));
        assert_eq!(map.place(2, 5), Some(("src/b.ts", 7)));
        assert_eq!(map.place(3, 1), None);
        assert_eq!(
            map.translate("at pay (mapping.js:2:11)\\n at map (mapping.js:1)"),
            "at pay (src/b.ts:7)\\n at map (src/a.ts:3)"
        );
        assert_eq!(map.translate("at x (other.js:99:1), 1.5 seconds"), "at x (other.js:99:1), 1.5 seconds");
    }

    #[test]
    fn what_is_no_map_is_none() {
        assert!(SourceMap::read("{}").is_none());
        assert!(SourceMap::read(r#"{"sources": [], "mappings": "é"}"#).is_none());
    }
}
