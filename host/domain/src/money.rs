//! Exact money. Amounts are decimals that came from text or integers; nothing here is a binary float.

use std::{borrow::Cow, collections::BTreeMap, fmt, str::FromStr};

use rust_decimal::Decimal;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::contract::{LedgerLine, Side};

/// Most significant digits of an [`Amount`]: what `rust_decimal` holds without rounding.
pub const SIGNIFICANT_DIGITS_MAX: usize = 28;

/// A decimal number that was written as `-?digits(.digits)?` with at most 28 significant digits.
/// Parsing refuses instead of rounding; printing gives back the digits that were parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Amount(Decimal);

/// Why a text is not an amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a decimal of the form -?digits(.digits)? with at most 28 significant digits: {0:?}")]
pub struct InvalidAmount(String);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(Decimal::ZERO);

    /// The number.
    #[must_use]
    pub const fn decimal(self) -> Decimal {
        self.0
    }

    /// Whether it is below zero.
    #[must_use]
    pub fn is_negative(self) -> bool {
        self.0.is_sign_negative() && !self.0.is_zero()
    }
}

impl JsonSchema for Amount {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Amount".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$" })
    }
}

impl FromStr for Amount {
    type Err = InvalidAmount;

    fn from_str(text: &str) -> Result<Self, InvalidAmount> {
        let refuse = || InvalidAmount(text.chars().take(64).collect());
        let digits = text.strip_prefix('-').unwrap_or(text);
        let (whole, fraction) = match digits.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (digits, None),
        };
        let all_digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        if !all_digits(whole) || !fraction.is_none_or(all_digits) || text.len() > 64 {
            return Err(refuse());
        }
        let fraction = fraction.unwrap_or_default();
        let significant = format!("{whole}{fraction}").trim_start_matches('0').len();
        if significant > SIGNIFICANT_DIGITS_MAX || fraction.len() > SIGNIFICANT_DIGITS_MAX {
            return Err(refuse());
        }
        Decimal::from_str_exact(text).map(Self).map_err(|_| refuse())
    }
}

impl TryFrom<String> for Amount {
    type Error = InvalidAmount;
    fn try_from(text: String) -> Result<Self, InvalidAmount> {
        text.parse()
    }
}

impl From<Amount> for String {
    fn from(amount: Amount) -> String {
        amount.0.to_string()
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The ledger lines of a plan do not add up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unbalanced {
    /// Debits and credits of a currency differ.
    #[error("debits minus credits in {currency} are {difference}, not 0")]
    Currency {
        /// ISO 4217.
        currency: String,
        /// Debits minus credits.
        difference: Amount,
    },
    /// A line's amount is below zero: the side carries the sign.
    #[error("the ledger line on account {account} has the negative amount {amount}; use the other side")]
    NegativeLine {
        /// Its account.
        account: String,
        /// Its amount.
        amount: Amount,
    },
    /// Not the code of a currency.
    #[error("a ledger line is in {0:?}, which is no currency of ISO 4217")]
    BadCurrency(String),
    /// A fraction of the smallest unit of the currency: nobody can post it, and whoever rounds is off by a cent.
    #[error(
        "the ledger line on account {account} has {amount} {currency}; {currency} has {decimals} decimals"
    )]
    TooFine {
        /// Its account.
        account: String,
        /// Its amount.
        amount: Amount,
        /// ISO 4217.
        currency: String,
        /// How many decimals the currency has.
        decimals: u16,
    },
    /// The sum is too large to be exact.
    #[error("the ledger lines in {currency} exceed what can be added exactly")]
    TooLarge {
        /// ISO 4217.
        currency: String,
    },
}

/// How many decimals a currency has, by ISO 4217; none where the standard says nothing: metals, codes that are newer
/// than the table.
fn decimals(currency: &str) -> Option<u16> {
    iso_currency::Currency::from_code(currency)?.exponent()
}

/// How many decimals an amount needs: zeros at the end are none.
fn finest(amount: Amount) -> u32 {
    amount.0.normalize().scale()
}

/// Checks that debits equal credits in every currency, and that no line has a fraction of a cent.
///
/// # Errors
/// The first currency (in alphabetical order) or line that does not hold.
pub fn check_balance<'a>(lines: impl IntoIterator<Item = &'a LedgerLine>) -> Result<(), Unbalanced> {
    let mut differences: BTreeMap<&str, Decimal> = BTreeMap::new();
    for line in lines {
        if line.amount.is_negative() {
            let (account, amount) = (line.account.clone(), line.amount);
            return Err(Unbalanced::NegativeLine { account, amount });
        }
        if line.currency.len() != 3 || !line.currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return Err(Unbalanced::BadCurrency(line.currency.chars().take(10).collect()));
        }
        if let Some(decimals) = decimals(&line.currency).filter(|max| finest(line.amount) > u32::from(*max)) {
            let (account, currency) = (line.account.clone(), line.currency.clone());
            return Err(Unbalanced::TooFine { account, amount: line.amount, currency, decimals });
        }
        let difference = differences.entry(&line.currency).or_default();
        let sum = match line.side {
            Side::Debit => difference.checked_add(line.amount.0),
            Side::Credit => difference.checked_sub(line.amount.0),
        };
        // rust_decimal drops trailing digits when a sum has more than 28: then the scale shrinks.
        match sum {
            Some(sum) if sum.scale() >= line.amount.0.scale().max(difference.scale()) => *difference = sum,
            _ => return Err(Unbalanced::TooLarge { currency: line.currency.clone() }),
        }
    }
    match differences.into_iter().find(|(_, difference)| !difference.is_zero()) {
        Some((currency, difference)) => {
            Err(Unbalanced::Currency { currency: currency.to_owned(), difference: Amount(difference) })
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(side: Side, amount: &str, currency: &str) -> LedgerLine {
        LedgerLine { account: "1".into(), side, amount: amount.parse().unwrap(), currency: currency.into() }
    }

    #[test]
    fn only_plain_decimals_are_amounts() {
        for good in ["0", "12", "-12.50", "0.001", "9999999999999999999999999999"] {
            assert_eq!(good.parse::<Amount>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            ".5",
            "5.",
            "+1",
            "1e3",
            "NaN",
            "1,000",
            " 1",
            "--1",
            "-",
            "99999999999999999999999999999",
            "１",
        ] {
            assert!(bad.parse::<Amount>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn lines_balance_per_currency() {
        let balanced = [
            line(Side::Debit, "48.22", "USD"),
            line(Side::Debit, "1.76", "USD"),
            line(Side::Credit, "49.98", "USD"),
            line(Side::Debit, "100", "JPY"),
            line(Side::Credit, "100", "JPY"),
        ];
        assert_eq!(check_balance(&balanced), Ok(()));
        let crossed = [line(Side::Debit, "1", "USD"), line(Side::Credit, "1", "EUR")];
        assert!(matches!(check_balance(&crossed), Err(Unbalanced::Currency { .. })));
        let negative = [line(Side::Debit, "-1", "USD"), line(Side::Credit, "-1", "USD")];
        assert!(matches!(check_balance(&negative), Err(Unbalanced::NegativeLine { .. })));
        for currency in ["usd", "", "US", "USD\n"] {
            let none = [line(Side::Debit, "1", currency), line(Side::Credit, "1", currency)];
            assert!(matches!(check_balance(&none), Err(Unbalanced::BadCurrency(_))));
        }
    }

    #[test]
    fn a_line_has_no_fraction_of_its_currencys_smallest_unit() {
        let check = |amount: &str, currency: &str| {
            let lines = [line(Side::Debit, amount, currency), line(Side::Credit, amount, currency)];
            check_balance(&lines).map_err(|refused| refused.to_string())
        };
        for (amount, currency) in [
            ("0.01", "USD"),
            ("0.010", "USD"),
            ("100", "JPY"),
            ("100.00", "JPY"),
            ("1.234", "KWD"),
            ("5.0", "ISK"),
            // Of these the standard says nothing.
            ("0.00001", "XAU"),
            ("0.00001", "QQQ"),
        ] {
            assert_eq!(check(amount, currency), Ok(()), "{amount} {currency}");
        }
        for (amount, currency, decimals) in
            [("0.001", "USD", 2), ("100.5", "JPY", 0), ("1.2345", "KWD", 3), ("5.5", "UGX", 0)]
        {
            let refused = check(amount, currency).unwrap_err();
            let reason = format!("{amount} {currency}; {currency} has {decimals} decimals");
            assert!(refused.ends_with(&reason), "{refused}");
        }
    }

    #[test]
    fn a_sum_that_would_lose_a_digit_is_refused() {
        let lines =
            [line(Side::Debit, "9999999999999999999999999999", "USD"), line(Side::Debit, "0.01", "USD")];
        assert!(matches!(check_balance(&lines), Err(Unbalanced::TooLarge { .. })));
    }

    proptest! {
        #[test]
        fn any_split_of_an_amount_balances(parts in prop::collection::vec(0u64..1_000_000_000, 1..20)) {
            let total: u64 = parts.iter().sum();
            let text = |minor: u64| format!("{}.{:02}", minor / 100, minor % 100);
            let mut lines: Vec<_> = parts.iter().map(|p| line(Side::Debit, &text(*p), "EUR")).collect();
            lines.push(line(Side::Credit, &text(total), "EUR"));
            prop_assert_eq!(check_balance(&lines), Ok(()));
            lines.push(line(Side::Credit, "0.01", "EUR"));
            prop_assert!(check_balance(&lines).is_err());
        }
    }
}
