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

/// The id that a short reference, or a prefix of one, stands for, among those that it may be: the way back from an
/// ERP's open items. `None`, when it is none of them, or more than one.
#[must_use]
pub fn id_of<'a>(short: &str, ids: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let mut found = ids.into_iter().filter(|id| !short.is_empty() && reference(id).starts_with(short));
    let first = found.next()?;
    found.all(|other| other == first).then_some(first)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ids_come_back_from_their_references(ids in prop::collection::btree_set("ch_[A-Za-z0-9]{24}", 1..40), which in any::<prop::sample::Index>()) {
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            let id = ids[which.index(ids.len())];
            prop_assert_eq!(id_of(&reference(id), ids.iter().copied()), Some(id));
            prop_assert_eq!(id_of(&prefix(id, 9), ids.iter().copied()), Some(id));
            prop_assert_eq!(id_of(&reference(id), ids.iter().copied().filter(|other| *other != id)), None);
        }
    }

    #[test]
    fn an_ambiguous_prefix_stands_for_nothing() {
        let ids: Vec<String> = (0..100).map(|number| format!("ch_{number}")).collect();
        let first = prefix("ch_0", 1);
        assert!(ids.iter().filter(|id| prefix(id, 1) == first).count() > 1);
        assert_eq!(id_of(&first, ids.iter().map(String::as_str)), None);
        assert_eq!(id_of("", ["ch_1"]), None);
        assert_eq!(id_of(&reference("ch_1"), ["ch_1", "ch_1"]), Some("ch_1"));
    }

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
