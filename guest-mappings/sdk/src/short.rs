//! Short references: a Stripe id does not fit the 16 characters of an accounting reference, so 80 bits of its
//! SHA-256 stand for it. The full id is kept in a longer field beside it.
//!
//! ```
//! assert_eq!(portolan_sdk::short::reference("ch_3QabcDEF0123456789abcdef"), "R144WJGG6ZXJ677C");
//! ```

use sha2::{Digest, Sha256};

/// Crockford's base 32: no I, L, O, U.
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// 16 characters that stand for an id. The same id always gives the same ones; among 10^8 documents the odds
/// that two share theirs are about 4 in 10^9.
#[must_use]
pub fn reference(id: &str) -> String {
    let digest = Sha256::digest(id.as_bytes());
    let bits = digest.iter().take(10).fold(0_u128, |bits, &byte| (bits << 8) | u128::from(byte));
    let digit = |place: u32| DIGITS.get((bits >> (75 - 5 * place)) as usize & 31).copied().unwrap_or(b'0');
    (0..16).map(|place| char::from(digit(place))).collect()
}

/// The first `chars` characters of the short reference: fewer bits, for fields that hold no more.
/// With 9 characters (45 bits) two of 100,000 ids collide once in 7,000 such sets.
#[must_use]
pub fn prefix(id: &str, chars: usize) -> String {
    reference(id).chars().take(chars).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_of_an_id_is_known() {
        assert_eq!(reference("ch_3QabcDEF0123456789abcdef"), "R144WJGG6ZXJ677C");
        assert_eq!(prefix("ch_3QabcDEF0123456789abcdef", 8), "R144WJGG");
    }

    #[test]
    fn references_are_sixteen_digits_of_crockford() {
        for id in ["", "ch_1", "é", "cus_Q"] {
            let reference = reference(id);
            assert_eq!(reference.len(), 16);
            assert!(reference.bytes().all(|digit| DIGITS.contains(&digit)));
        }
    }
}
