//! Whether the JSON Schema of a module's settings can be worked with. It is a program that somebody uploaded: what
//! refers to itself never ends (and takes the stack with it), what refers twice to what refers twice doubles with every
//! step, and what refers to an address would have us open it. So references go to places in the schema itself, in no
//! circle, and what they expand to is counted before anything follows them.

use std::collections::BTreeMap;

use serde_json::Value;

/// Bytes of the schema's text. The largest flow of the SDK has 30 KB.
const BYTES_MAX: usize = 256 << 10;
/// Levels of values inside values.
const DEPTH_MAX: usize = 48;
/// Subschemas when every reference is replaced by what it refers to.
const EXPANSION_MAX: u64 = 100_000;
/// Characters of a pattern.
const PATTERN_CHARS_MAX: usize = 1_000;

/// Checks a schema.
///
/// # Errors
/// What is wrong with it, as the end of a sentence.
pub(super) fn check(schema: &Value) -> Result<(), String> {
    if schema.to_string().len() > BYTES_MAX {
        return Err(format!("the settings schema is longer than {BYTES_MAX} bytes"));
    }
    let mut scan = Scan { root: schema, expansions: BTreeMap::new(), open: Vec::new() };
    if scan.expansion(schema, 0)? > EXPANSION_MAX {
        return Err("the settings schema is endless when its references are followed".to_owned());
    }
    Ok(())
}

struct Scan<'s> {
    root: &'s Value,
    /// What each reference expands to, once known.
    expansions: BTreeMap<&'s str, u64>,
    /// The references that are being followed.
    open: Vec<&'s str>,
}

impl<'s> Scan<'s> {
    fn expansion(&mut self, value: &'s Value, depth: usize) -> Result<u64, String> {
        if depth > DEPTH_MAX {
            return Err(format!("the settings schema has more than {DEPTH_MAX} levels"));
        }
        let mut sum = 1_u64;
        match value {
            Value::Object(fields) => {
                for (name, field) in fields {
                    self.field(name, field)?;
                    if let ("$ref", Value::String(reference)) = (name.as_str(), field) {
                        sum = sum.saturating_add(self.referred(reference, depth)?);
                    }
                    sum = sum.saturating_add(self.expansion(field, depth + 1)?);
                }
            }
            Value::Array(items) => {
                for item in items {
                    sum = sum.saturating_add(self.expansion(item, depth + 1)?);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
        Ok(sum)
    }

    fn field(&self, name: &str, field: &Value) -> Result<(), String> {
        match (name, field) {
            ("$dynamicRef" | "$recursiveRef" | "$dynamicAnchor" | "$anchor", Value::String(_)) => {
                Err(format!("the settings schema uses {name}; use $ref and a JSON Pointer"))
            }
            ("$id", Value::String(_)) if !self.root.get("$id").is_some_and(|id| std::ptr::eq(id, field)) => {
                Err("a part of the settings schema has an $id of its own".to_owned())
            }
            ("pattern", Value::String(text)) if text.chars().count() > PATTERN_CHARS_MAX => {
                Err(format!("a pattern in the settings schema is longer than {PATTERN_CHARS_MAX} characters"))
            }
            _ => Ok(()),
        }
    }

    fn referred(&mut self, reference: &'s str, depth: usize) -> Result<u64, String> {
        if let Some(known) = self.expansions.get(reference) {
            return Ok(*known);
        }
        let shown = || reference.chars().take(80).collect::<String>();
        let target = reference.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
        let target = target.ok_or_else(|| {
            format!("the settings schema refers to {:?}, which is not in it: only #/… is possible", shown())
        })?;
        if self.open.contains(&reference) {
            return Err(format!("the settings schema refers to {:?} in a circle", shown()));
        }
        self.open.push(reference);
        let expansion = self.expansion(target, depth + 1)?;
        self.open.pop();
        self.expansions.insert(reference, expansion);
        Ok(expansion)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn references_to_places_in_the_schema_are_fine() {
        let schema = json!({
            "type": "object",
            "properties": { "a": { "$ref": "#/$defs/account" }, "b": { "$ref": "#/$defs/account" },
                            "$ref": { "type": "string" } },
            "$defs": { "account": { "type": "string", "pattern": "^[0-9]+$" } },
        });
        assert_eq!(check(&schema), Ok(()));
    }

    #[test]
    fn schemas_that_never_end_are_refused() {
        let doubling: serde_json::Map<String, Value> = (0..10)
            .map(|n| {
                let next = json!({ "$ref": format!("#/$defs/l{}", n + 1) });
                let level =
                    if n == 9 { json!(true) } else { json!({ "allOf": [next, next, next, next, next] }) };
                (format!("l{n}"), level)
            })
            .collect();
        let deep = (0..100).fold(json!({}), |inner, _| json!({ "not": inner }));
        let cases = [
            (json!({ "$ref": "#" }), "circle"),
            (json!({ "properties": { "a": { "$ref": "#" } } }), "circle"),
            (
                json!({ "$ref": "#/$defs/a", "$defs": { "a": { "$ref": "#/$defs/b" }, "b": { "$ref": "#/$defs/a" } } }),
                "circle",
            ),
            (json!({ "$ref": "#/$defs/l0", "$defs": doubling }), "endless"),
            (json!({ "$ref": "http://169.254.169.254/latest" }), "not in it"),
            (json!({ "$ref": "file:///etc/passwd" }), "not in it"),
            (json!({ "$dynamicRef": "#a" }), "$dynamicRef"),
            (json!({ "properties": { "a": { "$id": "http://x/", "$ref": "#/b" } } }), "$id"),
            (json!({ "pattern": "a".repeat(2_000) }), "pattern"),
            (deep, "levels"),
            (json!({ "description": "x".repeat(300_000) }), "longer"),
        ];
        for (schema, word) in cases {
            let problem = check(&schema).unwrap_err();
            assert!(problem.contains(word), "{problem}");
        }
    }
}
