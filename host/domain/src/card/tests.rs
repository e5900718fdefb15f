//! What is found and what is left alone: known numbers, every way to write them, and the numbers of documents.

use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::json;

use super::*;

const VISA: &str = "4242424242424242";

fn masked_text(text: &str) -> String {
    mask(text).into_owned()
}

#[test]
fn the_networks_own_test_numbers_are_masked_to_six_and_four() {
    for number in [
        VISA,
        "4000056655665556",
        "5555555555554444",
        "2223003122003222",
        "5200828282828210",
        "5105105105105100",
        "378282246310005",
        "371449635398431",
        "6011111111111117",
        "6011000990139424",
        "6011981111111113",
        "3056930009020004",
        "36227206271667",
        "3566002020360505",
        "6200000000000005",
        "6200000000000047",
        "6205500000000000004",
        "4222222222222",
        "5019717010103742",
        "6304000000000000",
        "4000000000000000006",
    ] {
        let masked = masked_text(number);
        assert_eq!(masked.len(), number.len(), "{number}");
        assert_eq!((&masked[..6], &masked[masked.len() - 4..]), (&number[..6], &number[number.len() - 4..]));
        assert!(masked[6..masked.len() - 4].bytes().all(|byte| byte == b'*'), "{masked}");
        assert_eq!(masked_text(&masked), masked, "masking twice changes nothing");
    }
}

#[test]
fn a_number_is_found_however_it_is_written() {
    let hidden = "424242******4242";
    for (text, expected) in [
        ("4242 4242 4242 4242", hidden.to_owned()),
        ("4242-4242-4242-4242", hidden.to_owned()),
        ("4242.4242.4242.4242", hidden.to_owned()),
        ("42424242 42424242", hidden.to_owned()),
        ("4 2 4 2 4 2 4 2 4 2 4 2 4 2 4 2", hidden.to_owned()),
        ("4242\u{a0}4242\u{2009}4242\u{2013}4242", hidden.to_owned()),
        ("4242 - 4242 - 4242 - 4242", hidden.to_owned()),
        ("４２４２４２４２４２４２４２４２", hidden.to_owned()),
        ("card:4242424242424242!", format!("card:{hidden}!")),
        ("PAN4242424242424242", format!("PAN{hidden}")),
        ("4242424242424242USD", format!("{hidden}USD")),
        ("%B4242424242424242^ROSEN/JENNY^3012", format!("%B{hidden}^ROSEN/JENNY^3012")),
        (";4242424242424242=30121010000", format!(";{hidden}=30121010000")),
        ("4242 4242 4242 4242 12/30 123", format!("{hidden} 12/30 123")),
        ("ref 4711 4242424242424242 0815", format!("ref 4711 {hidden} 0815")),
        ("<a><![CDATA[4242424242424242]]></a>", format!("<a><![CDATA[{hidden}]]></a>")),
        ("<a>&#52;242&#x34;24242424242</a>", "<a>424242******4242</a>".to_owned()),
        ("a\\n4242424242424242\\n", format!("a\\n{hidden}\\n")),
        ("\\u0034242424242424242", hidden.to_owned()),
        ("4242424242424242.00", format!("{hidden}.00")),
        ("5555555555554444 and 4242424242424242", format!("555555******4444 and {hidden}")),
    ] {
        assert_eq!(masked_text(text), expected, "{text:?}");
    }
    assert_eq!(masked_text(&"4\u{0}2\u{0}".repeat(8)), format!("{hidden}\u{0}"), "UTF-16");
}

#[test]
fn json_stays_json() {
    for (text, expected) in [
        (r#"{"n":4242424242424242}"#, json!({"n": "424242******4242"})),
        (r#"{"n":4242424242424242.0}"#, json!({"n": "424242******4242"})),
        (r#"{"n":4.242424242424242e15}"#, json!({"n": "424242******4242"})),
        (
            r#"{"n":42424242424242420e-1,"m":[4242424242424242,1]}"#,
            json!({"n": serde_json::from_str::<Value>("42424242424242420e-1").unwrap(), "m": ["424242******4242", 1]}),
        ),
        (r#"{"n":-4242424242424242}"#, json!({"n": "424242******4242"})),
        (
            r#"{"4242424242424242":"x \"4242 4242 4242 4242\" y"}"#,
            json!({"424242******4242": "x \"424242******4242\" y"}),
        ),
        (r#"[["4242","4242"],4242,4242]"#, json!([["4242", "4242"], 4242, 4242])),
    ] {
        let masked = mask_json_text(text);
        assert_eq!(serde_json::from_str::<Value>(&masked).unwrap(), expected, "{text}: {masked}");
    }
    let mut value = json!({"a": {"b": ["4242-4242-4242-4242", 5_555_555_555_554_444_u64]}});
    assert!(mask_json(&mut value));
    assert_eq!(value, json!({"a": {"b": ["424242******4242", "555555******4444"]}}));
    assert!(!mask_json(&mut value));
}

#[test]
fn base64_is_looked_into_once() {
    for plain in ["card 4242424242424242 exp 12/30", VISA, "{\"pan\":\"5555 5555 5555 4444\"}"] {
        let text = format!("data:text/plain;base64,{}", STANDARD.encode(plain));
        let masked = masked_text(&text);
        let inner = STANDARD.decode(masked.rsplit(',').next().unwrap()).unwrap();
        assert_eq!(String::from_utf8(inner).unwrap(), masked_text(plain));
        assert_ne!(masked, text);
    }
}

/// What must never be touched: ids, amounts, times, document numbers, account numbers of banks.
#[test]
fn what_is_no_card_number_stays() {
    for text in [
        "ch_4242424242424242",
        "pi_3MtwBwLkdIwHu7ix28a3tqPa",
        "evt_1NG8Du2eZvKYlo2CUI79vXWy",
        "in_4242424242424242",
        "cus_9s6XKzkNRiz8i3",
        "evt_01JD4242424242424242ABCDEF",
        "4242424242424241",
        "1424242424242424",
        "42424242424242420",
        "04242424242424242",
        "0000000000000002",
        "0000004500000123",
        "4500000123 000010",
        "4500000123-0001",
        "1700000000000",
        "1700000000000000",
        "20261120101500",
        "2026-11-20 2026-12-31",
        "2026-11-20T10:15:00.000Z",
        "4006381333931",
        "04006381333931",
        "+49 30 1234 5678 9",
        "DE89 3704 0044 0532 0130 00",
        "DE89370400440532013000",
        "GB29 NWBK 6016 1331 9268 19",
        "424242******4242",
        "9f86d081884c7d659a2feaa0c55ad015",
        "4242_4242_4242_4242",
        "123e4567-e89b-12d3-a456-426614174000",
        "192.168.100.100",
        "978-3-16-148410-0",
    ] {
        assert_eq!(mask(text), text);
        let quoted = json!({"id": text}).to_string();
        assert_eq!(mask_json_text(&quoted), quoted);
    }
    let event = json!({"id": "evt_1", "created": 1_700_000_000, "data": {"object": {"id": "ch_1", "amount": 4_242_424_242_i64,
        "payment_method_details": {"card": {"last4": "4242", "fingerprint": "Xt5EWLLDS7FJjR1c", "exp_year": 2030}}}}});
    assert_eq!(mask_json_text(&event.to_string()), event.to_string());
}

/// The digits of a random number of this issuer, with its check digit.
fn number_of((prefix, length): (&str, usize), random: &[u8]) -> String {
    let mut number: String = prefix.to_owned();
    number.extend(random.iter().map(|byte| char::from(b'0' + byte % 10)));
    number.truncate(length - 1);
    let check = (0..10).map(|digit| format!("{number}{digit}")).find(|whole| {
        let digits: Vec<u8> = whole.bytes().map(|byte| byte - b'0').collect();
        let sum: u32 = digits
            .iter()
            .rev()
            .enumerate()
            .map(|(i, d)| {
                let d = u32::from(*d) << (i % 2);
                d / 10 + d % 10
            })
            .sum();
        sum.is_multiple_of(10)
    });
    check.unwrap()
}

const ISSUERS: &[(&str, usize)] = &[
    ("4", 16),
    ("4", 19),
    ("51", 16),
    ("55", 16),
    ("2221", 16),
    ("2720", 16),
    ("34", 15),
    ("37", 15),
    ("6011", 16),
    ("65", 16),
    ("3528", 16),
    ("3589", 16),
    ("62", 16),
    ("62", 19),
    ("2200", 16),
    ("6759", 16),
    ("5018", 16),
];

/// What costs more than its length would be a bomb: this many of these must not be noticed.
#[test]
fn a_long_text_costs_no_more_than_its_length() {
    for piece in
        ["e1", "1e", "e_1", "1 ", "1-e", "4.", "A1 ", "\\u003", "&#5", "&#52;", "MTIz", "４", "\"1", "1e1,"]
    {
        let text = piece.repeat((1 << 17) / piece.len());
        for form in [Form::Text, Form::Json] {
            assert!(
                mask_bytes(text.as_bytes(), form).is_none_or(|(masked, _)| masked.len() <= 2 * text.len())
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Recall: nothing of a number but its ends stays, wherever it stands and however it is grouped.
    #[test]
    fn every_issued_number_is_found(
        issuer in prop::sample::select(ISSUERS), random in prop::collection::vec(any::<u8>(), 20),
        group in 1usize..8, separator in prop::sample::select(&["", " ", "-", ".", " - ", "\u{a0}"][..]),
        (before, after) in prop::sample::select(&[("", ""), ("a: ", "."), ("(", ")"), ("x ", " 12"), ("PAN=", ";"), ("<P>", "</P>"), ("\t", "\n")][..]),
    ) {
        let number = number_of(issuer, &random);
        let written = number.as_bytes().chunks(group).map(|part| std::str::from_utf8(part).unwrap()).collect::<Vec<_>>().join(separator);
        let text = format!("{before}{written}{after}");
        let masked = mask(&text);
        let hidden = format!("{}{}{}", &number[..6], "*".repeat(number.len() - 10), &number[number.len() - 4..]);
        prop_assert_eq!(&*masked, format!("{before}{hidden}{after}"));
        let json = json!({"x": text, "n": serde_json::from_str::<Value>(&number).unwrap()}).to_string();
        let masked = mask_json_text(&json);
        let value: Value = serde_json::from_str(&masked).unwrap();
        prop_assert_eq!(&value["n"], &json!(hidden));
        prop_assert!(!masked.contains(&number));
    }

    #[test]
    fn any_bytes_can_be_looked_at_and_masking_twice_changes_nothing(bytes in prop::collection::vec(prop_oneof![any::<u8>(), b'0'..=b'9', Just(b'4'), Just(b' ')], 0..80)) {
        for form in [Form::Text, Form::Json] {
            if let Some((once, count)) = mask_bytes(&bytes, form) {
                prop_assert!(count > 0);
                prop_assert!(once.len() <= bytes.len() + 2 * count);
                prop_assert!(mask_bytes(&once, form).is_none_or(|(_, again)| again < count + 1));
            }
        }
    }

    #[test]
    fn text_stays_utf_8(text in "[0-9 .é４-]{0,60}") {
        prop_assert!(mask_bytes(text.as_bytes(), Form::Text).is_none_or(|(masked, _)| String::from_utf8(masked).is_ok()));
    }
}

/// False positives: numbers of documents as the three ERPs and Stripe write them.
#[test]
fn document_numbers_are_left_alone() {
    let mut state = 7u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut hits = 0;
    let total = 100_000;
    for index in 0..total {
        let (a, b) = (random(), random());
        let text = match index % 12 {
            0 => format!("{:010}", 4_500_000_000 + a % 100_000_000),
            1 => format!("{:016}", a % 10_000_000_000),
            2 => format!("{:010} {:06}", 4_500_000_000 + a % 100_000_000, b % 100_000),
            3 => format!("{:010}{:04}{:04}", 1_800_000_000 + a % 100_000_000, 2026, 1000 + b % 9000),
            4 => format!("INV{:08}", a % 100_000_000),
            5 => format!(
                "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
                a as u32,
                b as u16,
                (a >> 48) & 0xfff,
                (b >> 48) & 0xfff,
                b & 0xffff_ffff_ffff
            ),
            6 => format!("{:064x}", u128::from(a) << 64 | u128::from(b)),
            7 => format!("{}", 1_600_000_000_000 + a % 400_000_000_000),
            8 => format!("ch_{:016}{:08x}", a % 10_000_000_000_000_000, b as u32),
            9 => format!("{}.{:02}", a % 1_000_000_000, b % 100),
            10 => format!("2026{:02}{:02}{:06}{:03}", 1 + a % 12, 1 + b % 28, a % 240_000, b % 1000),
            _ => format!("{:032x}", u128::from(a) << 64 | u128::from(b)),
        };
        hits += usize::from(matches!(mask(&text), Cow::Owned(_)));
    }
    assert!(hits * 1_000 <= total, "{hits} of {total} were taken for card numbers");
}
