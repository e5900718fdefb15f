//! JSON Pointers (RFC 6901), and the copying of values from earlier responses into a call.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::contract::Binding;

/// Whether a text is a JSON Pointer: empty, or `/`-separated with only `~0` and `~1` as escapes.
#[must_use]
pub fn is_pointer(text: &str) -> bool {
    let escapes_are_known =
        text.split('~').skip(1).all(|rest| rest.starts_with('0') || rest.starts_with('1'));
    (text.is_empty() || text.starts_with('/')) && escapes_are_known
}

/// Whether a value has values inside values, more than `levels` deep.
#[must_use]
pub fn is_deeper(value: &Value, levels: usize) -> bool {
    let within = |inner: &Value| levels == 0 || is_deeper(inner, levels - 1);
    match value {
        Value::Array(items) => items.iter().any(within),
        Value::Object(fields) => fields.values().any(within),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// A value could not be copied into a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unbound {
    /// The earlier delivery has no stored response.
    #[error("delivery {0} has no response to copy from")]
    NoResponse(String),
    /// There is nothing, or null, at the source.
    #[error("the response of delivery {delivery} has nothing at {pointer:?}")]
    NoValue {
        /// Whose response.
        delivery: String,
        /// Where.
        pointer: String,
    },
    /// The target's parent is not an object or array that could take the value.
    #[error("the call has no place at {0:?} to copy a value to")]
    NoPlace(String),
}

/// Copies the values that `bindings` name from `responses` (by delivery key) into `target`.
///
/// # Errors
/// The first binding that cannot be done; `target` may then hold the earlier ones.
pub fn bind(
    target: &mut Value,
    bindings: &[Binding],
    responses: &BTreeMap<String, Value>,
) -> Result<(), Unbound> {
    for binding in bindings {
        let response =
            responses.get(&binding.delivery).ok_or_else(|| Unbound::NoResponse(binding.delivery.clone()))?;
        let value = response.pointer(&binding.source).filter(|value| !value.is_null());
        let value = value.cloned().ok_or_else(|| Unbound::NoValue {
            delivery: binding.delivery.clone(),
            pointer: binding.source.clone(),
        })?;
        place(target, &binding.target, value).ok_or_else(|| Unbound::NoPlace(binding.target.clone()))?;
    }
    Ok(())
}

fn place(target: &mut Value, pointer: &str, value: Value) -> Option<()> {
    let Some((parent, last)) = pointer.rsplit_once('/') else {
        *target = value;
        return Some(());
    };
    let last = last.replace("~1", "/").replace("~0", "~");
    let parent = target.pointer_mut(parent)?;
    if let Some(object) = parent.as_object_mut() {
        object.insert(last, value);
    } else {
        *parent.as_array_mut()?.get_mut(last.parse::<usize>().ok()?)? = value;
    }
    Some(())
}

/// The id at `pointer` as text, when it is a non-empty string or a number: what a capture remembers and
/// an existence check takes for a hit.
#[must_use]
pub fn id_at(value: &Value, pointer: &str) -> Option<String> {
    match value.pointer(pointer)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn binding(source: &str, target: &str) -> Binding {
        Binding { delivery: "order".into(), source: source.into(), target: target.into() }
    }

    #[test]
    fn values_are_copied_with_every_digit() {
        let response = serde_json::from_str(r#"{"OrderNum":5400,"Total":12345678901234567.10}"#).unwrap();
        let responses = BTreeMap::from([("order".to_owned(), response)]);
        let mut body = json!({"CashHead": {}, "rows": [1, 2]});
        let bindings = [binding("/OrderNum", "/CashHead/OrderNum"), binding("/Total", "/rows/1")];
        bind(&mut body, &bindings, &responses).unwrap();
        assert_eq!(body.to_string(), r#"{"CashHead":{"OrderNum":5400},"rows":[1,12345678901234567.10]}"#);
    }

    #[test]
    fn a_missing_source_or_place_is_named() {
        let responses = BTreeMap::from([("order".to_owned(), json!({"a": null}))]);
        let mut body = json!({"x": 1});
        assert!(matches!(bind(&mut body, &[binding("/a", "/y")], &responses), Err(Unbound::NoValue { .. })));
        let responses = BTreeMap::from([("order".to_owned(), json!({"a": 1}))]);
        assert_eq!(
            bind(&mut body, &[binding("/a", "/no/y")], &responses),
            Err(Unbound::NoPlace("/no/y".into()))
        );
        assert!(matches!(
            bind(&mut body, &[binding("/a", "/y")], &BTreeMap::new()),
            Err(Unbound::NoResponse(_))
        ));
    }

    #[test]
    fn pointers_are_told_from_other_texts() {
        for good in ["", "/", "/a/0/b~1c~0"] {
            assert!(is_pointer(good), "{good:?}");
        }
        for bad in ["a", "a/b", "/~2", "/~"] {
            assert!(!is_pointer(bad), "{bad:?}");
        }
    }
}
