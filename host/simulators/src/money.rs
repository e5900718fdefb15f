//! Exact amounts: decimals as the four systems write them, and how many of them a currency has.

use rust_decimal::Decimal;

/// Currencies without decimals (ISO 4217).
const ZERO: &[&str] = &[
    "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF",
    "XPF",
];
/// Currencies with three decimals.
const THREE: &[&str] = &["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"];
/// Currencies with two decimals that the standard worlds know.
const TWO: &[&str] = &[
    "AED", "AUD", "BRL", "CAD", "CHF", "CNY", "CZK", "DKK", "EUR", "GBP", "HKD", "HUF", "ILS", "INR", "MGA",
    "MXN", "MYR", "NOK", "NZD", "PHP", "PLN", "RON", "SAR", "SEK", "SGD", "THB", "TRY", "TWD", "USD", "ZAR",
];

/// Decimals of a currency, upper-case; `None` when the standard worlds do not know it.
pub(crate) fn decimals(currency: &str) -> Option<u32> {
    if ZERO.contains(&currency) {
        Some(0)
    } else if THREE.contains(&currency) {
        Some(3)
    } else if TWO.contains(&currency) {
        Some(2)
    } else {
        None
    }
}

/// Every currency whose decimals are not two: the rows of SAP's TCURX.
pub(crate) fn tcurx() -> impl Iterator<Item = (&'static str, u32)> {
    ZERO.iter().map(|code| (*code, 0)).chain(THREE.iter().map(|code| (*code, 3)))
}

/// A plain decimal: digits, a dot, an optional leading (or, as ABAP prints it, trailing) minus. No exponent.
pub(crate) fn parse(text: &str) -> Option<Decimal> {
    let text = text.trim();
    let (negative, digits) = match (text.strip_prefix('-'), text.strip_suffix('-')) {
        (Some(digits), None) | (None, Some(digits)) => (true, digits),
        (None, None) => (false, text),
        (Some(_), Some(_)) => return None,
    };
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let amount = Decimal::from_str_exact(digits).ok().filter(|_| plain)?;
    Some(if negative { -amount } else { amount })
}

/// Whether the currency can express the amount.
pub(crate) fn fits(amount: Decimal, currency: &str) -> bool {
    decimals(currency).is_none_or(|decimals| amount.normalize().scale() <= decimals)
}

/// The amount with the decimals of its currency, where nothing is lost by that.
pub(crate) fn text(amount: Decimal, currency: &str) -> String {
    let mut amount = amount.normalize();
    if let Some(decimals) = decimals(currency)
        && amount.scale() < decimals
    {
        amount.rescale(decimals);
    }
    amount.to_string()
}

/// What SAP's tables hold for a natural amount: every currency field has two decimals there.
pub(crate) fn stored(amount: Decimal, currency: &str) -> Decimal {
    let mut stored = match decimals(currency) {
        Some(0) => amount * Decimal::new(1, 2),
        Some(3) => amount * Decimal::TEN,
        _ => amount,
    };
    stored.rescale(2);
    stored
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tables_hold_two_decimals_whatever_the_currency() {
        let stored = |text: &str, currency| stored(parse(text).unwrap(), currency).to_string();
        assert_eq!(stored("12.34", "USD"), "12.34");
        assert_eq!(stored("100", "JPY"), "1.00");
        assert_eq!(stored("100.000", "KWD"), "1000.00");
    }

    #[test]
    fn only_plain_decimals_are_amounts() {
        assert_eq!(parse("49.98-").unwrap().to_string(), "-49.98");
        for text in ["", "-", "1e3", "--1", "1,5", "-1-", "+1", "NaN"] {
            assert!(parse(text).is_none(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn an_amount_survives_being_written_and_read(units in -10_000_000_i64..10_000_000, scale in 0_u32..4) {
            let amount = Decimal::new(units, scale);
            for currency in ["USD", "JPY", "KWD", "XXX"] {
                prop_assert_eq!(parse(&text(amount, currency)).unwrap(), amount);
            }
        }
    }
}
