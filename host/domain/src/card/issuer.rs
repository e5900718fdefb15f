//! Which numbers are cards': the first digits and lengths that issuers use (ISO/IEC 7812; the schemes' own published
//! ranges), and the check digit.
//!
//! UATP (beginning with 1, 15 digits) is left out: it would hit too many numbers that are none.

/// Whether these digits (0 to 9 each) are a card number.
pub(super) fn is_card(digits: &[u8]) -> bool {
    issued(digits) && luhn(digits) && !is_article(digits)
}

/// Whether an issuer has numbers that begin so and are so long.
fn issued(digits: &[u8]) -> bool {
    let [a, b, c, d, e, f, ..] = digits else { return false };
    let first = [a, b, c, d, e, f].iter().fold(0u32, |number, digit| number * 10 + u32::from(**digit));
    match (first, digits.len()) {
        // Visa
        (400_000..=499_999, 13 | 16 | 19)
        // Mastercard
        | (222_100..=272_099 | 510_000..=559_999, 16)
        // American Express
        | (340_000..=349_999 | 370_000..=379_999, 15)
        // Diners Club
        | (300_000..=305_999 | 309_500..=309_599 | 360_000..=369_999 | 380_000..=399_999, 14)
        | (300_000..=305_999 | 360_000..=369_999 | 380_000..=399_999, 16)
        // JCB
        | (352_800..=358_999, 16..=19)
        // Mir
        | (220_000..=220_499, 16..=19)
        // Discover, RuPay, Verve, InstaPayment, Hipercard, Troy
        | (601_100..=601_199 | 644_000..=659_999, 16..=19)
        | (508_000..=508_999 | 600_000..=608_999 | 636_000..=639_999 | 810_000..=829_999 | 979_200..=979_299, 16)
        | (506_000..=506_999, 16 | 18 | 19)
        // UnionPay
        | (620_000..=629_999, 16..=19)
        // Maestro
        | (500_000..=505_999 | 560_000..=589_999 | 630_400..=630_499 | 670_000..=677_999, 13..=19) => true,
        _ => false,
    }
}

/// ISO/IEC 7812-1, annex B.
fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits.iter().rev().enumerate().map(|(index, digit)| luhn_share(index, *digit)).sum();
    sum.is_multiple_of(10)
}

fn luhn_share(index: usize, digit: u8) -> u32 {
    let doubled = if index % 2 == 1 { u32::from(digit) * 2 } else { u32::from(digit) };
    if doubled > 9 { doubled - 9 } else { doubled }
}

/// GTIN-13 and GTIN-14: many begin as old Visa and Diners numbers do.
fn is_article(digits: &[u8]) -> bool {
    let weighted = |(index, digit): (usize, &u8)| u32::from(*digit) * if index % 2 == 1 { 3 } else { 1 };
    let sum: u32 = digits.iter().rev().enumerate().map(weighted).sum();
    matches!(digits.len(), 13 | 14) && sum.is_multiple_of(10)
}
