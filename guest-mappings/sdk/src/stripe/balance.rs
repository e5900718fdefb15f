//! Balance transactions: every movement of what Stripe holds, with its fee, in the currency of settlement.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{Id, or_default};
use crate::money::{Currency, Decimal, Money};

/// A balance transaction.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct BalanceTransaction {
    /// `txn_…`
    pub id: String,
    /// Before the fee; below zero when money leaves.
    pub amount: i64,
    /// What Stripe keeps; below zero when it gives a fee back.
    #[serde(default, deserialize_with = "or_default")]
    pub fee: i64,
    /// `amount` less `fee`.
    pub net: i64,
    /// The currency of settlement.
    pub currency: Currency,
    /// Unix seconds.
    #[serde(default, deserialize_with = "or_default")]
    pub created: i64,
    /// The fee by kind.
    #[serde(default, deserialize_with = "or_default")]
    pub fee_details: Vec<FeeDetail>,
    /// Source amount times this is `amount`, where another currency was paid.
    pub exchange_rate: Option<Rate>,
    /// `charge`, `refund`, `dispute`, `fee`, … and what Stripe may add.
    #[serde(default, deserialize_with = "or_default")]
    pub reporting_category: String,
    /// The finer type: `charge`, `payment`, `adjustment`, …
    #[serde(default, deserialize_with = "or_default", rename = "type")]
    pub kind: String,
    /// What moved it.
    pub source: Option<Source>,
    /// For people.
    pub description: Option<String>,
}

/// A part of a fee.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct FeeDetail {
    /// How much.
    pub amount: i64,
    /// `stripe_fee`, `application_fee`, `tax`, … and what Stripe may add.
    #[serde(default, deserialize_with = "or_default", rename = "type")]
    pub kind: String,
}

/// What moved a balance: its id, and where it was expanded, what it says of the money before conversion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// `ch_…`, `re_…`, `dp_…`, `po_…`
    pub id: String,
    /// What was paid (captured), given back or disputed, in the currency of payment. Positive.
    pub paid: Option<Money>,
    /// The charge it belongs to.
    pub charge: Option<String>,
    /// Whether it has failed, or was canceled: money that moved for it has moved back, or will.
    pub failed: bool,
}

/// An exchange rate, digit for digit as Stripe wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rate(String);

impl Rate {
    /// The digits as they came.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// As a decimal, when it has no more than 28 digits.
    #[must_use]
    pub fn decimal(&self) -> Option<Decimal> {
        Decimal::from_str_exact(&self.0).or_else(|_| Decimal::from_scientific(&self.0)).ok()
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The raw text: a binary fraction would not keep it.
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let text = raw.get().trim_matches('"');
        if text.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
            return Ok(Self(text.to_owned()));
        }
        Err(serde::de::Error::custom("an exchange rate is a number"))
    }
}

impl<'de> Deserialize<'de> for Source {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Bare(String),
            Object(Object),
        }
        #[derive(Deserialize)]
        struct Object {
            id: String,
            amount: Option<i64>,
            amount_captured: Option<i64>,
            currency: Option<Currency>,
            charge: Option<Id>,
            status: Option<String>,
        }
        Ok(match Form::deserialize(deserializer)? {
            Form::Bare(id) => Self { id, paid: None, charge: None, failed: false },
            Form::Object(object) => Self {
                paid: object
                    .amount_captured
                    .or(object.amount)
                    .zip(object.currency)
                    .map(|(minor, currency)| Money::new(minor, currency)),
                charge: object.charge.map(|charge| charge.to_string()),
                failed: matches!(object.status.as_deref(), Some("failed" | "canceled")),
                id: object.id,
            },
        })
    }
}

impl BalanceTransaction {
    /// What moved, before the fee.
    #[must_use]
    pub fn moved(&self) -> Money {
        Money::new(self.amount, self.currency)
    }

    /// The fee by kind, each kind once; of a fee without details the kind is `default`.
    /// `None`, when the details do not add up to the fee.
    #[must_use]
    pub fn fees(&self) -> Option<BTreeMap<&str, i64>> {
        let mut fees = BTreeMap::new();
        if self.fee_details.is_empty() && self.fee != 0 {
            fees.insert("default", self.fee);
            return Some(fees);
        }
        let mut sum: i64 = 0;
        for detail in &self.fee_details {
            let fee: &mut i64 = fees.entry(detail.kind.as_str()).or_default();
            *fee = fee.checked_add(detail.amount)?;
            sum = sum.checked_add(detail.amount)?;
        }
        (sum == self.fee).then_some(fees)
    }

    /// Whether net is amount less fee.
    #[must_use]
    pub fn adds_up(&self) -> bool {
        self.amount.checked_sub(self.fee) == Some(self.net)
    }

    /// What was paid, where that was in another currency than it was settled in.
    #[must_use]
    pub fn converted(&self) -> Option<Money> {
        let paid = self.source.as_ref()?.paid?;
        (paid.currency != self.currency).then_some(paid)
    }
}

/// Net sums by a key, in the key's order: aggregation of balance transactions. `None` on overflow.
pub fn net_by<'a, K: Ord>(
    transactions: impl IntoIterator<Item = &'a BalanceTransaction>,
    key: impl Fn(&'a BalanceTransaction) -> K,
) -> Option<BTreeMap<K, i64>> {
    let mut sums = BTreeMap::new();
    for transaction in transactions {
        let sum: &mut i64 = sums.entry(key(transaction)).or_default();
        *sum = sum.checked_add(transaction.net)?;
    }
    Some(sums)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_rate_keeps_its_digits() {
        let text =
            r#"{"id":"txn_1","amount":1,"net":1,"currency":"usd","exchange_rate":1.10523000000000000001}"#;
        let rate = serde_json::from_str::<BalanceTransaction>(text).unwrap().exchange_rate.unwrap();
        assert_eq!(rate.text(), "1.10523000000000000001");
        assert_eq!(rate.decimal().unwrap().to_string(), "1.10523000000000000001");
        let small = serde_json::from_str::<Rate>("5.7e-05").unwrap();
        assert_eq!(small.decimal().unwrap().to_string(), "0.000057");
        assert!(serde_json::from_str::<Rate>("true").is_err());
    }

    #[test]
    fn a_source_is_bare_or_expanded() {
        let bare: Source = serde_json::from_value(json!("ch_1")).unwrap();
        assert_eq!((bare.id.as_str(), bare.paid), ("ch_1", None));
        let refund: Source = serde_json::from_value(
            json!({"id": "re_1", "amount": 300, "currency": "eur", "charge": {"id": "ch_1", "amount": 9}}),
        )
        .unwrap();
        assert_eq!(refund.charge.as_deref(), Some("ch_1"));
        assert_eq!(refund.paid.unwrap().minor, 300);
    }

    proptest! {
        #[test]
        fn aggregation_conserves_the_net(rows in prop::collection::vec((0usize..5, -1_000_000i64..1_000_000, 0i64..1000), 0..60)) {
            let categories = ["charge", "refund", "fee", "dispute", "other"];
            let rows: Vec<BalanceTransaction> = rows.iter().map(|(category, amount, fee)| {
                serde_json::from_value(json!({"id": "txn", "amount": amount, "fee": fee, "net": amount - fee,
                    "currency": "usd", "reporting_category": categories[*category]})).unwrap()
            }).collect();
            let sums = net_by(&rows, |row| row.reporting_category.as_str()).unwrap();
            prop_assert_eq!(sums.values().sum::<i64>(), rows.iter().map(|row| row.net).sum::<i64>());
            prop_assert!(rows.iter().all(BalanceTransaction::adds_up));
        }

        #[test]
        fn fees_by_kind_are_the_fee(parts in prop::collection::vec((0usize..3, -500i64..500), 0..8), off in 0i64..2) {
            let kinds = ["stripe_fee", "tax", "application_fee"];
            let details: Vec<_> = parts.iter().map(|(kind, amount)| json!({"type": kinds[*kind], "amount": amount})).collect();
            let fee: i64 = parts.iter().map(|(_, amount)| amount).sum();
            let row: BalanceTransaction = serde_json::from_value(json!({"id": "txn", "amount": 0, "fee": fee + off,
                "net": 0, "currency": "usd", "fee_details": details})).unwrap();
            match row.fees() {
                Some(fees) => prop_assert_eq!(fees.values().sum::<i64>(), fee + off),
                None => prop_assert!(off != 0 && !details.is_empty()),
            }
        }
    }
}
