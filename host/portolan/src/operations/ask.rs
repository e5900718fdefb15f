//! From a command line to a request.

use std::io::Read;

use anyhow::{Context, bail};
use clap::ArgMatches;
use reqwest::Method;
use serde_json::{Map, Value};

use super::document::{Body, Field, Kind, Operation, Place};

/// What the command line says of everything: never the name of a field.
pub(super) const HOST: &str = "host-address";
pub(super) const KEY: &str = "api-key";
pub(super) const TENANT: &str = "for-tenant";
pub(super) const BODY: &str = "whole-body";
pub(super) const FILE: &str = "file-to-send";

/// A request that is ready to be sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) method: Method,
    /// Path and query.
    pub(super) target: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Option<(&'static str, Vec<u8>)>,
}

/// The name of a field's flag: `expires_in_s` → `expires-in-s`.
pub(super) fn flag(field: &Field) -> String {
    field.name.to_lowercase().replace('_', "-")
}

/// Puts a request together.
///
/// # Errors
/// When a file cannot be read, or a text is no JSON.
pub(super) fn request(operation: &Operation, matches: &ArgMatches) -> anyhow::Result<Request> {
    let mut path = operation.path.clone();
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    let mut headers = Vec::new();
    for parameter in &operation.parameters {
        let field = &parameter.field;
        let id = if field.name == "portolan-tenant" { TENANT } else { field.name.as_str() };
        let Some(value) = matches.get_one::<String>(id) else { continue };
        match parameter.place {
            Place::Path => path = path.replace(&format!("{{{}}}", field.name), &encoded(value)),
            Place::Query => drop(query.append_pair(&field.name, value)),
            Place::Head => headers.push((field.name.clone(), value.clone())),
        }
    }
    let query = query.finish();
    let target = if query.is_empty() { path } else { format!("{path}?{query}") };
    let body = match &operation.body {
        Body::None => None,
        Body::Json(fields) => Some(("application/json", json(fields, matches)?.to_string().into_bytes())),
        Body::Bytes => Some(("application/octet-stream", file(matches)?)),
    };
    Ok(Request { method: operation.method.parse()?, target, headers, body })
}

/// A text as one segment of a path.
fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

fn file(matches: &ArgMatches) -> anyhow::Result<Vec<u8>> {
    let path = matches.get_one::<String>(FILE).context("name the file")?;
    std::fs::read(path).with_context(|| path.clone())
}

/// The whole body of `--json`, with what single flags say in it.
fn json(fields: &[Field], matches: &ArgMatches) -> anyhow::Result<Value> {
    let mut body = match matches.get_one::<String>(BODY) {
        None => Map::new(),
        Some(text) => serde_json::from_str(&contents(text)?).context("--json: it must be a JSON object")?,
    };
    for field in fields {
        let Some(values) = matches.get_many::<String>(&field.name) else { continue };
        let values: Vec<&String> = values.collect();
        let value = value_of(field, &values).with_context(|| format!("--{}", flag(field)))?;
        body.insert(field.name.clone(), value);
    }
    let missing: Vec<String> = fields
        .iter()
        .filter(|field| field.required && !body.contains_key(&field.name))
        .map(|field| format!("--{}", flag(field)))
        .collect();
    if missing.is_empty() {
        return Ok(Value::Object(body));
    }
    bail!("give {} (or the whole with --json)", missing.join(", "))
}

fn value_of(field: &Field, values: &[&String]) -> anyhow::Result<Value> {
    let single = || values.last().map_or("", |value| value.as_str());
    Ok(match &field.kind {
        Kind::Text | Kind::Choice(_) => Value::String(contents(single())?),
        Kind::Number | Kind::Flag => serde_json::from_str(single()).context("a number, true or false")?,
        Kind::List => Value::Array(
            values.iter().map(|value| contents(value).map(Value::String)).collect::<anyhow::Result<_>>()?,
        ),
        Kind::Structure => structure(values)?,
    })
}

/// JSON as a whole (`{…}`, `[…]`, `null`, `@file`), or `name=value` once for each field; there, a value that is no JSON
/// is a text.
fn structure(values: &[&String]) -> anyhow::Result<Value> {
    if let [whole] = values
        && (whole.starts_with(['{', '[', '@', '"'])
            || ["null", "true", "false", "-"].contains(&whole.as_str()))
    {
        return serde_json::from_str(&contents(whole)?).context("no JSON");
    }
    let mut fields = Map::new();
    for pair in values {
        let (name, value) = pair.split_once('=').context("give JSON, @FILE, or NAME=VALUE for each field")?;
        let quoted = value.starts_with('@') || value.starts_with("env:");
        let text = contents(value)?;
        let parsed = if quoted { Err(()) } else { serde_json::from_str(&text).map_err(drop) };
        fields.insert(name.to_owned(), parsed.unwrap_or(Value::String(text)));
    }
    Ok(Value::Object(fields))
}

/// A text; `@file`: what is in the file (without the end of its last line); `-`: what comes on stdin; `env:NAME`: what the
/// variable holds, so that a secret stands in no list of processes.
#[expect(
    clippy::disallowed_methods,
    reason = "the user names the variable; the program has no setting there"
)]
fn contents(text: &str) -> anyhow::Result<String> {
    if let Some(path) = text.strip_prefix('@') {
        let read = std::fs::read_to_string(path).with_context(|| path.to_owned())?;
        return Ok(read.strip_suffix('\n').map(str::to_owned).unwrap_or(read));
    }
    if let Some(name) = text.strip_prefix("env:") {
        return std::env::var(name).with_context(|| format!("the variable {name}"));
    }
    if text == "-" {
        let mut read = String::new();
        std::io::stdin().read_to_string(&mut read)?;
        return Ok(read);
    }
    Ok(text.to_owned())
}
