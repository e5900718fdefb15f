//! Money of the month: what things cost in five currencies, what they become in US dollars, what Stripe takes.
//! Integers only. Source of the identities: Stripe's API reference, "Balance transactions" (`amount` in the source's
//! currency times `exchange_rate` is `amount` in the balance's; `net` is `amount` minus `fee`).

use serde_json::Number;

/// The currency of the account's balance: everything is settled in it.
pub(crate) const SETTLEMENT: &str = "usd";

/// Presentment currencies, how often of a thousand, and US cents for a million of their smallest units.
const CURRENCIES: &[(&str, u64, i64)] = &[
    ("usd", 640, 1_000_000),
    ("eur", 160, 1_083_700),
    ("gbp", 90, 1_268_100),
    ("jpy", 70, 668_900),
    ("kwd", 40, 325_400),
];

/// A rate as Stripe tells it: at most six decimals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate(i64);

impl Rate {
    /// The rate of a day: it moves by up to one per cent.
    pub(crate) fn of(currency: &str, seed: u64, day: u64) -> Self {
        let base =
            CURRENCIES.iter().find(|(code, ..)| *code == currency).map_or(1_000_000, |(.., rate)| *rate);
        if currency == SETTLEMENT {
            return Self(base);
        }
        let swing = i64::try_from((seed.wrapping_mul(31).wrapping_add(day * 7)) % 201).unwrap_or(0) - 100;
        Self(base + base * swing / 10_000)
    }

    /// An amount in US cents, rounded half away from zero.
    pub(crate) fn convert(self, amount: i64) -> i64 {
        let product = i128::from(amount) * i128::from(self.0);
        let half = if product < 0 { -500_000 } else { 500_000 };
        i64::try_from((product + half) / 1_000_000).unwrap_or(i64::MAX)
    }

    /// As a JSON number with exactly its digits; nothing when nothing is converted.
    pub(crate) fn number(self, currency: &str) -> Option<Number> {
        if currency == SETTLEMENT {
            return None;
        }
        format!("{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000).parse().ok()
    }
}

/// A presentment currency by lot (0 to 999).
pub(crate) fn currency(lot: u64) -> &'static str {
    let mut passed = 0;
    for (code, weight, _) in CURRENCIES {
        passed += weight;
        if lot < passed {
            return code;
        }
    }
    SETTLEMENT
}

/// A price in US cents as a price in a currency's smallest unit. Dinars end in 0, as Stripe wants them.
pub(crate) fn price(cents: i64, currency: &str) -> i64 {
    match currency {
        "eur" => cents * 9 / 10,
        "gbp" => cents * 4 / 5,
        "jpy" => (cents * 3 / 2).max(1),
        "kwd" => (cents * 3 / 10).max(1) * 10,
        _ => cents,
    }
}

/// How a charge was paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Card,
    Sepa,
}

/// What Stripe takes of a settled amount, in US cents: kind, what for, how much.
pub(crate) fn fees(method: Method, settled: i64, currency: &str) -> Vec<(&'static str, &'static str, i64)> {
    let per_mille = |rate: i64| (settled * rate + 500) / 1_000;
    match method {
        Method::Card if currency == SETTLEMENT => {
            vec![("stripe_fee", "Stripe processing fees", per_mille(29) + 30)]
        }
        Method::Card => vec![("stripe_fee", "Stripe processing fees", per_mille(44) + 30)],
        Method::Sepa => {
            let fee = (per_mille(8) + 30).min(600);
            vec![("stripe_fee", "Stripe processing fees", fee), ("tax", "VAT", (fee * 19 + 50) / 100)]
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_rate_is_written_with_its_digits() {
        assert_eq!(Rate(1_083_700).number("eur").unwrap().to_string(), "1.083700");
        assert_eq!(Rate(325_400).convert(12_340), 4_015);
        assert_eq!(Rate(325_400).convert(-12_340), -4_015);
        assert_eq!(Rate::of("usd", 7, 3).number("usd"), None);
    }

    proptest! {
        #[test]
        fn dollars_are_not_converted(amount in -10_000_000_i64..10_000_000, day in 0_u64..30, seed in any::<u64>()) {
            prop_assert_eq!(Rate::of("usd", seed, day).convert(amount), amount);
        }

        #[test]
        fn dinars_end_in_zero(cents in 1_i64..1_000_000) {
            prop_assert_eq!(price(cents, "kwd") % 10, 0);
        }
    }
}
