//! What differs between two JSON values: field by field, by JSON Pointer.

use serde_json::Value;

/// One place at which two values differ.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(super) struct Difference {
    /// Where (RFC 6901).
    pub(super) pointer: String,
    /// What was to be there; absent when nothing was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expected: Option<Value>,
    /// What is there; absent when nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) got: Option<Value>,
}

/// All differences, in the order of the expected value.
pub(super) fn between(expected: &Value, got: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    compare("", Some(expected), Some(got), &mut found);
    found
}

fn compare(pointer: &str, expected: Option<&Value>, got: Option<&Value>, found: &mut Vec<Difference>) {
    match (expected, got) {
        (Some(Value::Object(one)), Some(Value::Object(other))) => {
            let added = other.keys().filter(|key| !one.contains_key(*key));
            for key in one.keys().chain(added) {
                compare(&format!("{pointer}/{}", escaped(key)), one.get(key), other.get(key), found);
            }
        }
        (Some(Value::Array(one)), Some(Value::Array(other))) => {
            for place in 0..one.len().max(other.len()) {
                compare(&format!("{pointer}/{place}"), one.get(place), other.get(place), found);
            }
        }
        (one, other) if one == other => {}
        (one, other) => found.push(Difference {
            pointer: pointer.to_owned(),
            expected: one.cloned(),
            got: other.cloned(),
        }),
    }
}

/// A key as a part of a pointer.
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn differences_are_named_by_their_place() {
        let expected = json!({"a": {"b/c": "49.98", "same": 1}, "list": [1, 2], "gone": null});
        let got = json!({"a": {"b/c": "49.99", "same": 1}, "list": [1, 3, 4], "new": true});
        let found = between(&expected, &got);
        let places: Vec<&str> = found.iter().map(|difference| difference.pointer.as_str()).collect();
        assert_eq!(places, ["/a/b~1c", "/gone", "/list/1", "/list/2", "/new"]);
        assert_eq!(found[0].expected, Some(json!("49.98")));
        assert_eq!(found[3].expected, None);
        assert!(between(&expected, &expected).is_empty());
    }

    #[test]
    fn an_amount_as_a_number_is_not_the_same_as_a_text() {
        assert_eq!(between(&json!("1"), &json!(1)).len(), 1);
    }
}
