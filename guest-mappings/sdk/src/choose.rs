//! What depends on something: rules with conditions, and maps of values, both as a tenant writes them in settings.
//!
//! ```
//! use portolan_sdk::choose::{Rules, ValueMap};
//!
//! let types: Rules<String> = serde_json::from_str(r#"{
//!     "rules": [
//!         {"when": {"currency": "EUR", "country": ["DE", "AT"]}, "then": "ZDE"},
//!         {"when": {"amount": {"from": "1000.00"}}, "then": "ZBIG"}
//!     ],
//!     "default": "OR"
//! }"#)?;
//! let of = |currency: &str, amount: &str| {
//!     let facts = [("currency", currency), ("country", "DE"), ("amount", amount)];
//!     types.choose(&facts).map(String::as_str).map(str::to_owned)
//! };
//! assert_eq!(of("EUR", "5.00").as_deref(), Some("ZDE"));
//! assert_eq!(of("USD", "1000.00").as_deref(), Some("ZBIG"));
//! assert_eq!(of("USD", "999.99").as_deref(), Some("OR"));
//!
//! let terms: ValueMap = serde_json::from_str(r#"{"values": {"net_30": "0003"}, "default": "0001"}"#)?;
//! assert_eq!(terms.of("net_30"), Some("0003"));
//! assert_eq!(terms.of("net_90"), Some("0001"));
//! # Ok::<(), serde_json::Error>(())
//! ```

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::money::Decimal;

/// Rules: the first whose conditions all hold says what follows, else the default.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules<T> {
    #[serde(default = "Vec::new")]
    rules: Vec<Rule<T>>,
    #[serde(default = "none")]
    default: Option<T>,
}

fn none<T>() -> Option<T> {
    None
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule<T> {
    when: BTreeMap<String, Condition>,
    then: T,
}

/// A condition on one fact. A fact that is not known satisfies none but `{"known": false}`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Condition {
    Is(String),
    IsOneOf(Vec<String>),
    #[serde(rename_all = "snake_case")]
    Range(Range),
    IsNot(Not),
    Known(Known),
}

/// A decimal from (inclusive) to below (exclusive).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RangeForm")]
struct Range {
    from: Option<Decimal>,
    below: Option<Decimal>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RangeForm {
    from: Option<String>,
    below: Option<String>,
}

impl TryFrom<RangeForm> for Range {
    type Error = String;

    fn try_from(form: RangeForm) -> Result<Self, String> {
        let decimal = |text: Option<String>| {
            let decimal =
                text.map(|text| Decimal::from_str_exact(&text).map_err(|error| format!("{text}: {error}")));
            decimal.transpose()
        };
        let range = Self { from: decimal(form.from)?, below: decimal(form.below)? };
        if range.from.is_none() && range.below.is_none() {
            return Err("a range has from, below, or both".to_owned());
        }
        Ok(range)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Not {
    not: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    known: bool,
}

impl Condition {
    fn holds(&self, fact: Option<&str>) -> bool {
        match (self, fact) {
            (Self::Known(known), fact) => known.known == fact.is_some(),
            (_, None) => false,
            (Self::Is(value), Some(fact)) => value == fact,
            (Self::IsOneOf(values), Some(fact)) => values.iter().any(|value| value == fact),
            (Self::IsNot(not), Some(fact)) => not.not.iter().all(|value| value != fact),
            (Self::Range(range), Some(fact)) => Decimal::from_str_exact(fact).is_ok_and(|fact| {
                range.from.is_none_or(|from| fact >= from) && range.below.is_none_or(|below| fact < below)
            }),
        }
    }
}

impl<T> Rules<T> {
    /// What follows from facts, each a name and its value; a fact that is not listed is not known.
    #[must_use]
    pub fn choose(&self, facts: &[(&str, &str)]) -> Option<&T> {
        let fact = |name: &str| facts.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        let holds = |rule: &&Rule<T>| rule.when.iter().all(|(name, condition)| condition.holds(fact(name)));
        self.rules.iter().find(holds).map(|rule| &rule.then).or(self.default.as_ref())
    }
}

/// Values of one system to those of another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValueMap {
    #[serde(default)]
    values: BTreeMap<String, String>,
    default: Option<String>,
    /// Whether a value that is not mapped stays what it is.
    #[serde(default)]
    keep: bool,
}

impl ValueMap {
    /// The other system's value: the mapped one; else the same, where values are kept; else the default.
    #[must_use]
    pub fn of<'a>(&'a self, value: &'a str) -> Option<&'a str> {
        match self.values.get(value) {
            Some(mapped) => Some(mapped),
            None if self.keep => Some(value),
            None => self.default.as_deref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn holds(condition: &Value, fact: Option<&str>) -> bool {
        let rules: Rules<bool> =
            serde_json::from_value(json!({"rules": [{"when": {"x": condition}, "then": true}]})).unwrap();
        rules.choose(&fact.map(|fact| ("x", fact)).into_iter().collect::<Vec<_>>()).is_some()
    }

    #[test]
    fn each_condition_means_what_it_says() {
        assert!(holds(&json!("a"), Some("a")) && !holds(&json!("a"), Some("b")));
        assert!(holds(&json!(["a", "b"]), Some("b")) && !holds(&json!([]), Some("b")));
        assert!(holds(&json!({"not": ["a"]}), Some("b")) && !holds(&json!({"not": ["a"]}), None));
        assert!(holds(&json!({"known": false}), None) && !holds(&json!({"known": true}), None));
        assert!(holds(&json!({"from": "1", "below": "2"}), Some("1.99")));
        assert!(!holds(&json!({"below": "2"}), Some("2")) && !holds(&json!({"below": "2"}), Some("x")));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for when in
            [json!({"x": {"from": "a"}}), json!({"x": {}}), json!({"x": 5}), json!({"x": {"nott": []}})]
        {
            assert!(
                serde_json::from_value::<Rules<String>>(json!({"rules": [{"when": when, "then": ""}]}))
                    .is_err()
            );
        }
    }

    #[test]
    fn values_are_mapped_kept_or_defaulted() {
        let map = |json: Value| serde_json::from_value::<ValueMap>(json).unwrap();
        assert_eq!(map(json!({"values": {"a": "b"}, "keep": true})).of("c"), Some("c"));
        assert_eq!(map(json!({"values": {"a": "b"}})).of("c"), None);
        assert_eq!(map(json!({"values": {"a": "b"}, "default": "d"})).of("c"), Some("d"));
    }

    proptest! {
        #[test]
        fn the_first_rule_that_holds_decides(values in prop::collection::vec(0u8..4, 1..8), fact in 0u8..5) {
            let rules: Vec<Value> = values.iter().enumerate()
                .map(|(place, value)| json!({"when": {"x": value.to_string()}, "then": place})).collect();
            let rules: Rules<usize> = serde_json::from_value(json!({"rules": rules, "default": 99})).unwrap();
            let expected = values.iter().position(|value| *value == fact).unwrap_or(99);
            prop_assert_eq!(rules.choose(&[("x", &fact.to_string())]), Some(&expected));
        }

        #[test]
        fn ranges_beside_each_other_hold_once(bound in -1000i64..1000, fact in -2000i64..2000) {
            let text = |number: i64| Decimal::new(number, 2).to_string();
            let below = holds(&json!({"below": text(bound)}), Some(&text(fact)));
            let from = holds(&json!({"from": text(bound)}), Some(&text(fact)));
            prop_assert!(below != from);
        }
    }
}
