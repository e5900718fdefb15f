//! Bodies of API v1: nested JSON as `application/x-www-form-urlencoded` with brackets
//! (`metadata[erp_order]=16023`, `items[0][price]=price_1`). Source: Stripe's API reference, "Request bodies".

use portolan_domain::verdict::CallFailure;
use serde_json::{Map, Value};

use crate::parameters::invalid;

/// How deep a body may be nested; Stripe's own go to five.
const DEPTH_MAX: usize = 8;
/// Name and value pairs of one body.
const PAIRS_MAX: usize = 1_000;
/// The longest value, in bytes. Stripe's longest texts have 22 thousand characters.
const VALUE_BYTES_MAX: usize = 128 * 1024;

/// Encodes an object. `null` and an empty array unset (an empty text), an empty object changes nothing, numbers
/// keep their digits. Names that would change the structure are refused.
pub(super) fn encode(fields: &Map<String, Value>) -> Result<String, CallFailure> {
    let mut pairs = Pairs { text: String::new(), count: 0 };
    for (name, value) in fields {
        checked(name, "")?;
        pairs.add(escaped(name), &format!("/{name}"), value, DEPTH_MAX)?;
    }
    Ok(pairs.text)
}

struct Pairs {
    text: String,
    count: usize,
}

impl Pairs {
    fn add(&mut self, name: String, pointer: &str, value: &Value, depth: usize) -> Result<(), CallFailure> {
        if depth == 0 {
            return Err(invalid(pointer, "is nested too deeply"));
        }
        match value {
            Value::Null => self.pair(&name, pointer, ""),
            Value::Bool(true) => self.pair(&name, pointer, "true"),
            Value::Bool(false) => self.pair(&name, pointer, "false"),
            Value::Number(number) => self.pair(&name, pointer, &number.to_string()),
            Value::String(text) => self.pair(&name, pointer, text),
            Value::Array(items) if items.is_empty() => self.pair(&name, pointer, ""),
            Value::Array(items) => items.iter().enumerate().try_for_each(|(at, item)| {
                self.add(format!("{name}%5B{at}%5D"), &format!("{pointer}/{at}"), item, depth - 1)
            }),
            Value::Object(fields) => fields.iter().try_for_each(|(part, value)| {
                checked(part, pointer)?;
                let inner = format!("{name}%5B{}%5D", escaped(part));
                self.add(inner, &format!("{pointer}/{part}"), value, depth - 1)
            }),
        }
    }

    fn pair(&mut self, name: &str, pointer: &str, value: &str) -> Result<(), CallFailure> {
        self.count += 1;
        if self.count > PAIRS_MAX {
            return Err(invalid(pointer, "is one parameter too many: at most 1000 fit into a request"));
        }
        if value.len() > VALUE_BYTES_MAX {
            return Err(invalid(pointer, "is longer than 128 KiB"));
        }
        if !self.text.is_empty() {
            self.text.push('&');
        }
        self.text.push_str(name);
        self.text.push('=');
        self.text.push_str(&escaped(value));
        Ok(())
    }
}

fn escaped(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn checked(name: &str, pointer: &str) -> Result<(), CallFailure> {
    let wrong = |c: char| c == '[' || c == ']' || c.is_control();
    if name.is_empty() || name.contains(wrong) {
        let message = "has a name that is empty or holds brackets or control characters";
        return Err(invalid(&format!("{pointer}/{name}"), message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn encoded(value: &Value) -> Result<String, CallFailure> {
        encode(value.as_object().unwrap())
    }

    fn pairs(text: &str) -> Vec<(String, String)> {
        url::form_urlencoded::parse(text.as_bytes()).into_owned().collect()
    }

    #[test]
    fn nested_json_becomes_bracketed_pairs() {
        let body = json!({
            "amount": 4998, "expand": ["charge", "payment_intent"], "metadata": {"erp order": "16023", "old": null},
            "address": {"line1": "1 Main & Co = 100%", "line2": ""}, "items": [{"price": "price_1", "quantity": 2}],
            "active": true, "off": false, "default_tax_rates": [], "nothing": {},
        });
        let names_and_values = pairs(&encoded(&body).unwrap());
        let expected = [
            ("active", "true"),
            ("address[line1]", "1 Main & Co = 100%"),
            ("address[line2]", ""),
            ("amount", "4998"),
            ("default_tax_rates", ""),
            ("expand[0]", "charge"),
            ("expand[1]", "payment_intent"),
            ("items[0][price]", "price_1"),
            ("items[0][quantity]", "2"),
            ("metadata[erp order]", "16023"),
            ("metadata[old]", ""),
            ("off", "false"),
        ];
        let expected: Vec<_> = expected.map(|(n, v)| (n.to_owned(), v.to_owned())).into();
        assert_eq!(names_and_values, expected);
    }

    #[test]
    fn numbers_keep_their_digits() {
        let body: Value =
            serde_json::from_str(r#"{"a": 0.91234567890123456789, "b": 12345678901234567890123}"#).unwrap();
        assert_eq!(encoded(&body).unwrap(), "a=0.91234567890123456789&b=12345678901234567890123");
    }

    #[test]
    fn what_would_change_the_structure_is_refused() {
        for body in [json!({"a]b": 1}), json!({"m": {"x[y": 1}}), json!({"": 1}), json!({"m": {"a\n": 1}})] {
            assert_eq!(encoded(&body).unwrap_err().problem().code, "invalid-parameters", "{body}");
        }
        let deep = (0..10).fold(json!(1), |inner, _| json!({"a": inner}));
        assert!(encoded(&deep).unwrap_err().problem().message.contains("nested"));
        let many: Map<String, Value> = (0..1_001).map(|at| (format!("p{at}"), json!(1))).collect();
        assert!(encode(&many).is_err());
    }

    proptest! {
        #[test]
        fn every_text_comes_back_as_it_was(key in "[a-zA-Z0-9 _&=%+.é-]{1,40}", value in any::<String>()) {
            let body = json!({"metadata": {key.clone(): value.clone()}});
            prop_assert_eq!(pairs(&encoded(&body).unwrap()), vec![(format!("metadata[{key}]"), value)]);
        }
    }
}
