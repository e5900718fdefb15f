//! Writes: form-encoded parameters with brackets, and what they change.

use serde_json::{Map, Value, json};

use crate::stand_in::{Call, Moment};
use crate::stripe::errors::Error;

/// Parameters of one request.
const PARAMETERS_MAX: usize = 1_000;
/// Keys of metadata, their length, and that of their values.
const METADATA_MAX: (usize, usize, usize) = (50, 40, 500);

/// What may be changed, and whether it has parts.
pub(crate) type Changeable = &'static [(&'static str, bool)];

/// Of a customer.
pub(crate) const CUSTOMER: Changeable = &[
    ("address", true),
    ("description", false),
    ("email", false),
    ("metadata", true),
    ("name", false),
    ("phone", false),
    ("preferred_locales", true),
    ("shipping", true),
    ("tax_exempt", false),
];
/// Of a charge.
pub(crate) const CHARGE: Changeable = &[
    ("customer", false),
    ("description", false),
    ("metadata", true),
    ("receipt_email", false),
    ("shipping", true),
    ("transfer_group", false),
];

/// Of what only its metadata can be changed.
pub(crate) const METADATA: Changeable = &[("metadata", true), ("description", false)];

/// The body as nested text: `metadata[erp_order]=1` is `{"metadata":{"erp_order":"1"}}`.
pub(crate) fn parameters(call: &Call) -> Result<Value, Error> {
    let is_form =
        call.header("content-type").is_none_or(|kind| kind.starts_with("application/x-www-form-urlencoded"));
    if !is_form {
        return Err(Error::new(400, "invalid_request_error", "", "The request must be form-encoded."));
    }
    let mut all = Map::new();
    let pairs = url::form_urlencoded::parse(&call.body);
    for (count, (name, value)) in pairs.enumerate() {
        if count >= PARAMETERS_MAX {
            return Err(Error::invalid("", "Too many parameters."));
        }
        let mut segments = name.split('[').map(|part| part.trim_end_matches(']').to_owned());
        let (Some(first), rest) = (segments.next(), segments.collect::<Vec<String>>()) else { continue };
        if rest.len() > 4 {
            return Err(Error::unknown_parameter(&name));
        }
        place(&mut all, first, &rest, &value);
    }
    Ok(Value::Object(all))
}

fn place(into: &mut Map<String, Value>, name: String, rest: &[String], value: &str) {
    let Some((next, rest)) = rest.split_first() else {
        into.insert(name, json!(value));
        return;
    };
    let slot = into.entry(name).or_insert_with(|| json!({}));
    if !slot.is_object() {
        *slot = json!({});
    }
    if let Some(inner) = slot.as_object_mut() {
        place(inner, next.clone(), rest, value);
    }
}

/// A customer before anything is known about it.
pub(crate) fn new_customer(id: &str, moment: Moment) -> Value {
    json!({
        "id": id, "object": "customer", "address": null, "balance": 0, "created": moment.now_ms / 1_000,
        "currency": null, "default_source": null, "delinquent": false, "description": null, "discount": null,
        "email": null, "invoice_prefix": null, "livemode": false, "metadata": {}, "name": null, "phone": null,
        "preferred_locales": [], "shipping": null, "tax_exempt": "none", "test_clock": null,
    })
}

/// The object with the parameters applied: absent is unchanged, empty unsets, parts are merged.
pub(crate) fn change(mut object: Value, parameters: &Value, changeable: Changeable) -> Result<Value, Error> {
    let Some(fields) = object.as_object_mut() else { return Ok(object) };
    for (name, value) in parameters.as_object().into_iter().flatten() {
        let Some((_, has_parts)) = changeable.iter().find(|(known, _)| known == name) else {
            if name == "expand" {
                continue;
            }
            return Err(Error::unknown_parameter(name));
        };
        match value {
            Value::String(text) if text.is_empty() => {
                let unset = match name.as_str() {
                    "metadata" => json!({}),
                    "preferred_locales" => json!([]),
                    _ => Value::Null,
                };
                fields.insert(name.clone(), unset);
            }
            // `preferred_locales[0]=de`: an array, given as a whole.
            Value::Object(parts) if name == "preferred_locales" => {
                fields.insert(name.clone(), parts.values().cloned().collect());
            }
            Value::Object(parts) if *has_parts => {
                merge(fields.entry(name.clone()).or_insert(Value::Null), parts)
            }
            Value::String(text) if !has_parts => {
                if name == "email" && (!text.contains('@') || text.len() > 512) {
                    return Err(Error::invalid(name, format!("Invalid email address: {text}")));
                }
                fields.insert(name.clone(), json!(text));
            }
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_) => {
                return Err(Error::invalid(name, format!("Invalid value for {name}")));
            }
        }
    }
    check_metadata(object.get("metadata"))?;
    Ok(object)
}

fn merge(into: &mut Value, parts: &Map<String, Value>) {
    if !into.is_object() {
        *into = json!({});
    }
    let Some(fields) = into.as_object_mut() else { return };
    for (name, value) in parts {
        match value {
            Value::String(text) if text.is_empty() => {
                fields.remove(name);
            }
            Value::Object(inner) => merge(fields.entry(name.clone()).or_insert(Value::Null), inner),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                fields.insert(name.clone(), value.clone());
            }
        }
    }
}

fn check_metadata(metadata: Option<&Value>) -> Result<(), Error> {
    let fields = metadata.and_then(Value::as_object);
    let (keys_max, key_max, value_max) = METADATA_MAX;
    let Some(fields) = fields else { return Ok(()) };
    if fields.len() > keys_max {
        return Err(Error::invalid("metadata", "Metadata may have at most 50 keys."));
    }
    for (key, value) in fields {
        let long = value.as_str().is_none_or(|text| text.chars().count() > value_max);
        if key.chars().count() > key_max || long {
            return Err(Error::invalid(
                &format!("metadata[{key}]"),
                "Metadata keys have at most 40 characters, values 500.",
            ));
        }
    }
    Ok(())
}
