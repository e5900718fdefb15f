//! The published contract of the Sage Pro gateway, read for tests: as much of OpenAPI and JSON Schema as it uses.
//! Included by the tests of the simulator and by those of the connector, so that neither drifts from it.

use serde_json::{Value, json};

/// The document.
pub(crate) struct Contract(Value);

/// One call of it.
#[derive(Clone, Copy)]
pub(crate) struct Operation<'a> {
    pub(crate) path: &'a str,
    pub(crate) method: &'a str,
    pub(crate) said: &'a Value,
}

impl Contract {
    pub(crate) fn read() -> Self {
        let text = include_str!("../../../../docs/sage-pro-gateway.openapi.json");
        Self(serde_json::from_str(text).unwrap())
    }

    pub(crate) fn operations(&self) -> impl Iterator<Item = Operation<'_>> {
        let paths = self.0["paths"].as_object().unwrap().iter();
        paths.flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().iter();
            methods.map(move |(method, said)| Operation { path, method, said })
        })
    }

    /// The operation of a request's path; a template's part in braces stands for any one part. A path that is
    /// written out comes before one with braces.
    pub(crate) fn operation(&self, method: &str, path: &str) -> Option<Operation<'_>> {
        let fits = |template: &str| {
            let (template, path) = (template.split('/'), path.split('/'));
            template.clone().count() == path.clone().count()
                && template.zip(path).all(|(said, part)| said.starts_with('{') || said == part)
        };
        let mut found: Vec<_> = self
            .operations()
            .filter(|one| one.method.eq_ignore_ascii_case(method) && fits(one.path))
            .collect();
        found.sort_by_key(|one| one.path.matches('{').count());
        found.first().copied()
    }

    /// What a reference means; anything else is itself.
    pub(crate) fn resolved<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value.get("$ref").and_then(Value::as_str) {
            Some(reference) => self.resolved(self.0.pointer(reference.trim_start_matches('#')).unwrap()),
            None => value,
        }
    }

    /// Parameters of an operation, by where they are: `header`, `query`.
    pub(crate) fn parameters<'a>(&'a self, operation: &'a Value, place: &str) -> Vec<(&'a str, bool)> {
        let all = operation.get("parameters").and_then(Value::as_array).into_iter().flatten();
        let here = all.map(|parameter| self.resolved(parameter)).filter(|one| one["in"] == place);
        here.map(|one| (one["name"].as_str().unwrap(), one["required"] == json!(true))).collect()
    }

    /// The schema of a request's body.
    pub(crate) fn request<'a>(&'a self, operation: &'a Value) -> Option<&'a Value> {
        Some(self.resolved(operation.pointer("/requestBody/content/application~1json/schema")?))
    }

    /// The schema of an answer.
    pub(crate) fn answer<'a>(&'a self, operation: &'a Value, status: u16) -> Option<&'a Value> {
        let response = self.resolved(operation.get("responses")?.get(status.to_string())?);
        Some(self.resolved(response.pointer("/content/application~1json/schema")?))
    }

    /// What of a value is not as the schema says.
    pub(crate) fn check(&self, schema: &Value, value: &Value) -> Result<(), String> {
        self.check_at(schema, value, "")
    }

    fn check_at(&self, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
        let schema = self.resolved(schema);
        let wrong = |what: &str| Err(format!("{at}: {what}: {value}"));
        if let Some(choices) = schema.get("oneOf").and_then(Value::as_array) {
            let fitting = choices.iter().filter(|choice| self.check_at(choice, value, at).is_ok()).count();
            if fitting == 0 {
                return wrong("fits none of the choices");
            }
        }
        for part in schema.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            self.check_at(part, value, at)?;
        }
        if let Some(kinds) = schema.get("type") {
            let of = |kind: &Value| match kind.as_str().unwrap() {
                "string" => value.is_string(),
                "object" => value.is_object(),
                "array" => value.is_array(),
                "boolean" => value.is_boolean(),
                "integer" => value.is_i64() || value.is_u64(),
                "number" => value.is_number(),
                "null" => value.is_null(),
                other => panic!("the contract has a type {other}, which these tests do not know"),
            };
            let kinds = kinds.as_array().cloned().unwrap_or_else(|| vec![kinds.clone()]);
            if !kinds.iter().any(of) {
                return wrong("is of another type");
            }
        }
        if schema.get("enum").is_some_and(|known| !known.as_array().unwrap().contains(value)) {
            return wrong("is none of the values");
        }
        if schema.get("const").is_some_and(|only| only != value) {
            return wrong("is another value");
        }
        match value {
            Value::String(text) => self.check_text(schema, text).or_else(wrong),
            Value::Array(rows) => {
                let bound = |name: &str| schema.get(name).and_then(Value::as_u64);
                if bound("minItems").is_some_and(|min| (rows.len() as u64) < min)
                    || bound("maxItems").is_some_and(|max| rows.len() as u64 > max)
                {
                    return wrong("has too few or too many rows");
                }
                let Some(row) = schema.get("items") else { return Ok(()) };
                let mut each = rows.iter().enumerate();
                each.try_for_each(|(index, value)| self.check_at(row, value, &format!("{at}/{index}")))
            }
            Value::Object(fields) => {
                let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
                for name in required.filter_map(Value::as_str) {
                    if !fields.contains_key(name) {
                        return wrong(&format!("has no {name}"));
                    }
                }
                for (name, value) in fields {
                    match schema.get("properties").and_then(|properties| properties.get(name)) {
                        Some(property) => self.check_at(property, value, &format!("{at}/{name}"))?,
                        None if schema.get("additionalProperties") == Some(&json!(false)) => {
                            return wrong(&format!("has an unknown field {name}"));
                        }
                        None => {}
                    }
                }
                Ok(())
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
        }
    }

    fn check_text(&self, schema: &Value, text: &str) -> Result<(), &'static str> {
        let chars = text.chars().count() as u64;
        let bound = |name: &str| schema.get(name).and_then(Value::as_u64);
        if bound("maxLength").is_some_and(|max| chars > max)
            || bound("minLength").is_some_and(|min| chars < min)
        {
            return Err("is too long or too short");
        }
        let number = |text: &str| {
            let text = text.strip_prefix('-').unwrap_or(text);
            let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
            let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            digits(whole) && digits(decimals) && decimals.len() <= 4
        };
        let date = |text: &str| text.len() == 10 && text.bytes().filter(|byte| *byte == b'-').count() == 2;
        match schema.get("pattern").and_then(Value::as_str) {
            None => Ok(()),
            Some(pattern) if pattern.starts_with("^-?") => {
                number(text).then_some(()).ok_or("is no decimal text")
            }
            Some(pattern) if pattern.starts_with("^[0-9]{4}-") => {
                date(text).then_some(()).ok_or("is no date")
            }
            Some(other) => panic!("the contract has a pattern {other}, which these tests do not know"),
        }
    }
}
