//! Reads what modules ask for. A wrong parameter is the module's mistake and permanent; the problem names it
//! by JSON Pointer. Nothing here has been sent yet.

use portolan_domain::verdict::CallFailure;
use serde_json::{Map, Value};

use crate::settings::has_control;

/// The longest text of a parameter, in bytes.
const TEXT_BYTES_MAX: usize = 1024;

/// The failure for a parameter or body that cannot be sent.
pub(crate) fn invalid(pointer: &str, message: &str) -> CallFailure {
    CallFailure::permanent("invalid-parameters", format!("{pointer}: {message}"))
}

/// The value as an object.
pub(crate) fn object(value: &Value) -> Result<&Map<String, Value>, CallFailure> {
    value.as_object().ok_or_else(|| invalid("", "must be a JSON object"))
}

/// The value as an object that has no other fields than these.
pub(crate) fn object_of<'a>(value: &'a Value, names: &[&str]) -> Result<&'a Map<String, Value>, CallFailure> {
    let fields = object(value)?;
    match fields.keys().find(|name| !names.contains(&name.as_str())) {
        None => Ok(fields),
        Some(name) => {
            Err(invalid(&format!("/{name}"), &format!("is not known; known: {}", names.join(", "))))
        }
    }
}

/// A text that must be there and not empty.
pub(crate) fn text<'a>(fields: &'a Map<String, Value>, name: &str) -> Result<&'a str, CallFailure> {
    match fields.get(name) {
        Some(Value::String(text))
            if !text.is_empty() && text.len() <= TEXT_BYTES_MAX && !has_control(text) =>
        {
            Ok(text)
        }
        _ => Err(invalid(&format!("/{name}"), "must be a text, neither empty nor with control characters")),
    }
}

/// A whole number that is not negative, written as a JSON number or as its digits.
pub(crate) fn whole_number(fields: &Map<String, Value>, name: &str) -> Result<u64, CallFailure> {
    let number = match fields.get(name) {
        Some(Value::Number(number)) => number.as_u64(),
        Some(Value::String(text)) if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().ok(),
        _ => None,
    };
    number.ok_or_else(|| invalid(&format!("/{name}"), "must be a whole number, not negative"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_wrong_parameter_is_named() {
        let value = json!({"id": "", "n": "12", "m": "-1", "o": 1.5, "p": "a\r\nb"});
        let fields = object(&value).unwrap();
        for name in ["id", "p", "missing"] {
            assert!(text(fields, name).unwrap_err().problem().message.starts_with(&format!("/{name}:")));
        }
        assert_eq!(whole_number(fields, "n").unwrap(), 12);
        assert!(whole_number(fields, "m").is_err());
        assert!(whole_number(fields, "o").is_err());
        assert!(object_of(&value, &["id", "n"]).unwrap_err().problem().message.contains("/m"));
        assert!(object(&json!([])).is_err());
    }
}
