//! Metadata are texts; what tenants mean by them is more. Read here by what is meant, and refused by key.

use serde::de::DeserializeOwned;

use super::Metadata;
use crate::{
    money::{Currency, Decimal, Money},
    stop::Stop,
};

fn malformed(key: &str, text: &str, what: &str) -> Stop {
    let value: String = text.chars().take(60).collect();
    Stop::reject(
        format!("/data/object/metadata/{}", key.replace('~', "~0").replace('/', "~1")),
        "malformed-metadata",
        format!("metadata {key}: {value:?} is not {what}"),
    )
}

/// A text, when it is there and not blank.
#[must_use]
pub fn text<'a>(metadata: &'a Metadata, key: &str) -> Option<&'a str> {
    metadata.get(key).map(|text| text.trim()).filter(|text| !text.is_empty())
}

/// A yes or no: `true`, `yes`, `1`, `false`, `no`, `0`, in any case.
///
/// # Errors
/// A refusal that names the key.
pub fn flag(metadata: &Metadata, key: &str) -> Result<Option<bool>, Stop> {
    let Some(text) = text(metadata, key) else { return Ok(None) };
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "1" => Ok(Some(true)),
        "false" | "no" | "0" => Ok(Some(false)),
        _ => Err(malformed(key, text, "true or false")),
    }
}

/// A whole number.
///
/// # Errors
/// A refusal that names the key.
pub fn integer(metadata: &Metadata, key: &str) -> Result<Option<i64>, Stop> {
    let text = text(metadata, key);
    text.map(|text| text.parse().map_err(|_| malformed(key, text, "a whole number"))).transpose()
}

/// An amount as people write it, with a point: `49.98`.
///
/// # Errors
/// A refusal that names the key: not a decimal, or one with more decimals than the currency has.
pub fn amount(metadata: &Metadata, key: &str, currency: Currency) -> Result<Option<Money>, Stop> {
    let Some(text) = text(metadata, key) else { return Ok(None) };
    let decimal = Decimal::from_str_exact(text).ok();
    let money = decimal.and_then(|decimal| Money::from_decimal(decimal, currency).ok());
    money.map(Some).ok_or_else(|| malformed(key, text, &format!("an amount in {currency}")))
}

/// Several texts with commas between them.
#[must_use]
pub fn list<'a>(metadata: &'a Metadata, key: &str) -> Vec<&'a str> {
    let texts = text(metadata, key).into_iter().flat_map(|text| text.split(','));
    texts.map(str::trim).filter(|text| !text.is_empty()).collect()
}

/// JSON within the text.
///
/// # Errors
/// A refusal that names the key.
pub fn json<T: DeserializeOwned>(metadata: &Metadata, key: &str) -> Result<Option<T>, Stop> {
    let text = text(metadata, key);
    text.map(|text| {
        serde_json::from_str(text)
            .map_err(|error| malformed(key, text, &format!("JSON as expected: {error}")))
    })
    .transpose()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn with(text: &str) -> Metadata {
        Metadata::from([("a/b".to_owned(), text.to_owned())])
    }

    #[test]
    fn what_is_meant_is_read_or_refused_by_key() {
        assert_eq!(text(&with(" SO-17 "), "a/b"), Some("SO-17"));
        assert_eq!((text(&with(" "), "a/b"), text(&with("x"), "c")), (None, None));
        assert_eq!(flag(&with("Yes"), "a/b").unwrap(), Some(true));
        assert_eq!(list(&with("a, b,,c "), "a/b"), ["a", "b", "c"]);
        assert_eq!(json::<Vec<u8>>(&with("[1,2]"), "a/b").unwrap(), Some(vec![1, 2]));
        assert!(json::<Vec<u8>>(&with("[1.5]"), "a/b").is_err());
        let usd = Currency::parse("usd").unwrap();
        assert_eq!(amount(&with("49.98"), "a/b", usd).unwrap().unwrap().minor, 4998);
        let Err(Stop::Reject(violations)) = amount(&with("49.985"), "a/b", usd) else {
            panic!("a refusal was expected")
        };
        assert_eq!(violations[0].pointer, "/data/object/metadata/a~1b");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(minor in any::<i32>().prop_map(i64::from), flagged in any::<bool>()) {
            let money = Money::new(minor, Currency::parse("kwd").unwrap());
            let written = with(&money.decimal().unwrap().to_string());
            prop_assert_eq!(amount(&written, "a/b", money.currency).unwrap(), Some(money));
            prop_assert_eq!(integer(&with(&minor.to_string()), "a/b").unwrap(), Some(minor));
            prop_assert_eq!(flag(&with(&flagged.to_string()), "a/b").unwrap(), Some(flagged));
        }

        #[test]
        fn any_text_is_read_or_refused(any in ".{0,40}") {
            let metadata = with(&any);
            let usd = Currency::parse("usd").unwrap();
            let outcomes = [
                flag(&metadata, "a/b").map(|read| read.is_some()),
                integer(&metadata, "a/b").map(|read| read.is_some()),
                amount(&metadata, "a/b", usd).map(|read| read.is_some()),
            ];
            // A blank is nothing; anything else is something, or is refused.
            prop_assert!(outcomes.iter().all(|read| *read.as_ref().unwrap_or(&!any.trim().is_empty()) != any.trim().is_empty()));
        }
    }
}
