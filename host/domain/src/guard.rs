//! What no plan may send through a connection without a person's approval: too large an amount, too many documents. The
//! last line of defence against a module, a setting or a route that is wrong in a way that nobody thought of.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde_json::Value;

use crate::{
    contract::{LedgerLine, Side},
    money::Amount,
};

/// A connection's settings that are its guard.
pub const SETTINGS: [&str; 2] = ["documents_per_hour_max", "amount_max"];

/// The guard of a connection. The default lets everything through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Guard {
    /// Deliveries that may be planned within any hour.
    pub documents_per_hour_max: Option<u64>,
    /// The most that one delivery may post, by currency (ISO 4217): the sum of its debits.
    pub amount_max: BTreeMap<String, Amount>,
}

/// A setting that is not one, and what it must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {remedy}")]
pub struct BadGuard {
    /// One of [`SETTINGS`].
    pub setting: &'static str,
    /// What it must be.
    pub remedy: &'static str,
}

impl Guard {
    /// Reads the guard among a connection's settings; null counts as absent.
    ///
    /// # Errors
    /// The setting that does not read.
    pub fn read(settings: &Value) -> Result<Self, BadGuard> {
        let setting = |name| settings.get(name).filter(|value| !value.is_null());
        let [documents, amounts] = SETTINGS;
        let refuse = |setting, remedy| BadGuard { setting, remedy };
        let documents_per_hour_max = setting(documents)
            .map(|value| value.as_u64().ok_or(refuse(documents, "must be a whole number")))
            .transpose()?;
        let mut amount_max = BTreeMap::new();
        if let Some(value) = setting(amounts) {
            let remedy = r#"must name the most of each currency as a text: {"USD": "100000.00"}"#;
            for (currency, most) in value.as_object().ok_or(refuse(amounts, remedy))? {
                let is_code = currency.len() == 3 && currency.bytes().all(|byte| byte.is_ascii_uppercase());
                let most = most.as_str().and_then(|text| text.parse::<Amount>().ok());
                match most.filter(|most| is_code && !most.is_negative()) {
                    Some(most) => amount_max.insert(currency.clone(), most),
                    None => return Err(refuse(amounts, remedy)),
                };
            }
        }
        Ok(Self { documents_per_hour_max, amount_max })
    }

    /// What a delivery with these ledger lines posts too much of; none when it may be sent.
    #[must_use]
    pub fn exceeded_by(&self, ledger: &[LedgerLine]) -> Option<String> {
        self.amount_max.iter().find_map(|(currency, most)| {
            let debits = ledger.iter().filter(|line| line.side == Side::Debit && line.currency == *currency);
            let sum = debits
                .map(|line| line.amount.decimal())
                .try_fold(Decimal::ZERO, |sum: Decimal, amount| sum.checked_add(amount));
            // What is too large to be added is too large.
            match sum {
                Some(sum) if sum <= most.decimal() => None,
                sum => {
                    let sum = sum.map_or("more than can be added".to_owned(), |sum| sum.to_string());
                    Some(format!("{sum} {currency} at once, at most {most} without approval"))
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn line(side: Side, amount: &str, currency: &str) -> LedgerLine {
        LedgerLine { account: "1".into(), side, amount: amount.parse().unwrap(), currency: currency.into() }
    }

    #[test]
    fn what_is_larger_than_the_most_of_its_currency_is_stopped_to_the_cent() {
        let guard = Guard::read(&json!({ "amount_max": { "USD": "100.00", "JPY": "0" } })).unwrap();
        let at_once = |first, second| {
            let lines = [line(Side::Debit, first, "USD"), line(Side::Debit, second, "USD")];
            guard.exceeded_by(&lines)
        };
        assert_eq!(at_once("60.00", "40.00"), None);
        let told = at_once("60.00", "40.01").unwrap();
        assert_eq!(told, "100.01 USD at once, at most 100.00 without approval");
        assert!(guard.exceeded_by(&[line(Side::Debit, "1", "JPY")]).is_some());
        assert_eq!(
            guard.exceeded_by(&[line(Side::Credit, "1000", "USD")]),
            None,
            "the other side of a debit"
        );
        assert_eq!(
            guard.exceeded_by(&[line(Side::Debit, "1000", "EUR")]),
            None,
            "a currency without a bound"
        );
        let huge = [(); 9].map(|()| line(Side::Debit, "9999999999999999999999999999", "USD"));
        assert!(guard.exceeded_by(&huge).is_some());
    }

    #[test]
    fn settings_that_are_no_guard_are_refused_by_name() {
        assert_eq!(Guard::read(&json!({ "documents_per_hour_max": null })).unwrap(), Guard::default());
        for (settings, name) in [
            (json!({ "documents_per_hour_max": "5" }), "documents_per_hour_max"),
            (json!({ "documents_per_hour_max": -5 }), "documents_per_hour_max"),
            (json!({ "amount_max": "5" }), "amount_max"),
            (json!({ "amount_max": { "usd": "5" } }), "amount_max"),
            (json!({ "amount_max": { "USD": 5 } }), "amount_max"),
            (json!({ "amount_max": { "USD": "-5" } }), "amount_max"),
            (json!({ "amount_max": { "USD": "1e3" } }), "amount_max"),
        ] {
            assert_eq!(Guard::read(&settings).unwrap_err().setting, name, "{settings}");
        }
    }
}
