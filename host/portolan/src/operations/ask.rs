//! From a command line to a request.

use std::io::{Read, Stdin, stdin};

use anyhow::{Context, bail};
use clap::ArgMatches;
use portolan_domain::{Clock, SystemClock, Timestamp};
use reqwest::Method;
use serde_json::{Map, Value};

use super::document::{Body, Field, Kind, Operation, Place};
use crate::access::encoded;

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
    pub(super) path: String,
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Option<(&'static str, Vec<u8>)>,
}

impl Request {
    /// Path and query.
    pub(super) fn target(&self) -> String {
        if self.query.is_empty() {
            return self.path.clone();
        }
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.query).finish();
        format!("{}?{query}", self.path)
    }

    /// Gives a query parameter this value, in place of the one that it may have.
    pub(super) fn put_query(&mut self, name: &str, value: &str) {
        self.query.retain(|(known, _)| known != name);
        self.query.push((name.to_owned(), value.to_owned()));
    }
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
    let mut query = Vec::new();
    let mut headers = Vec::new();
    let mut inputs = Inputs { stdin: Some(stdin()) };
    for parameter in &operation.parameters {
        let field = &parameter.field;
        let id = if field.name == "portolan-tenant" { TENANT } else { field.name.as_str() };
        let Some(value) = matches.get_one::<String>(id) else { continue };
        match parameter.place {
            Place::Path => path = path.replace(&format!("{{{}}}", field.name), &encoded(value)),
            Place::Query => query.push((field.name.clone(), moment(field, value)?)),
            Place::Head => headers.push((field.name.clone(), inputs.contents(value)?)),
        }
    }
    let body = match &operation.body {
        Body::None => None,
        Body::Json(fields) => {
            let json = json(fields, matches, &mut inputs)?;
            Some(("application/json", json.to_string().into_bytes()))
        }
        Body::Bytes => Some(("application/octet-stream", file(matches)?)),
    };
    Ok(Request { method: operation.method.parse()?, path, query, headers, body })
}

fn file(matches: &ArgMatches) -> anyhow::Result<Vec<u8>> {
    let path = matches.get_one::<String>(FILE).context("name the file")?;
    std::fs::read(path).with_context(|| path.clone())
}

/// The whole body of `--json`, with what single flags say in it.
fn json(fields: &[Field], matches: &ArgMatches, inputs: &mut Inputs<Stdin>) -> anyhow::Result<Value> {
    let mut body = match matches.get_one::<String>(BODY) {
        None => Map::new(),
        Some(text) => {
            serde_json::from_str(&inputs.contents(text)?).context("--json: it must be a JSON object")?
        }
    };
    for field in fields {
        let Some(values) = matches.get_many::<String>(&field.name) else { continue };
        let values: Vec<&String> = values.collect();
        let value = value_of(field, &values, inputs).with_context(|| format!("--{}", flag(field)))?;
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

fn value_of<R: Read>(field: &Field, values: &[&String], inputs: &mut Inputs<R>) -> anyhow::Result<Value> {
    let single = || values.last().map_or("", |value| value.as_str());
    Ok(match &field.kind {
        Kind::Text | Kind::Choice(_) => Value::String(inputs.contents(single())?),
        Kind::Number | Kind::Flag => {
            serde_json::from_str(&moment(field, single())?).context("a number, true or false")?
        }
        Kind::List => Value::Array(
            values
                .iter()
                .map(|value| inputs.contents(value).map(Value::String))
                .collect::<anyhow::Result<_>>()?,
        ),
        Kind::Structure => structure(values, inputs)?,
    })
}

/// A time, which the API takes in milliseconds since 1970, may be given as answers tell it (RFC 3339), or as so long ago:
/// `90s`, `15m`, `2h`, `7d`. Anything else stays.
fn moment(field: &Field, text: &str) -> anyhow::Result<String> {
    if !field.about.contains("milliseconds since 1970") {
        return Ok(text.to_owned());
    }
    if text.contains('T') {
        let time: Timestamp = text.parse().with_context(|| format!("--{}", flag(field)))?;
        return Ok(time.as_millis().to_string());
    }
    let seconds = |unit: char| match unit {
        's' => Some(1),
        'm' => Some(60),
        'h' => Some(3_600),
        'd' => Some(86_400),
        _ => None,
    };
    let ago = text.chars().last().and_then(seconds).and_then(|unit: u64| {
        let number: u64 = text.get(..text.len() - 1)?.parse().ok()?;
        number.checked_mul(unit)?.checked_mul(1_000)
    });
    Ok(ago.map_or_else(
        || text.to_owned(),
        |ago| SystemClock::new().now().as_millis().saturating_sub(ago).to_string(),
    ))
}

/// JSON as a whole (`{…}`, `[…]`, `null`, `@file`), or once for each field `name=value`, which is a text, or `name:=json`:
/// a number of customer or a secret of digits is a text, and nobody guesses otherwise.
fn structure<R: Read>(values: &[&String], inputs: &mut Inputs<R>) -> anyhow::Result<Value> {
    if let [whole] = values
        && (whole.starts_with(['{', '[', '@', '"'])
            || ["null", "true", "false", "-"].contains(&whole.as_str()))
    {
        return serde_json::from_str(&inputs.contents(whole)?).context("no JSON");
    }
    let mut fields = Map::new();
    for pair in values {
        let (name, value) =
            pair.split_once('=').context("give JSON, @FILE, or for each field NAME=VALUE or NAME:=JSON")?;
        let text = inputs.contents(value)?;
        let (name, value) = match name.strip_suffix(':') {
            Some(name) => {
                let json = serde_json::from_str(&text);
                (name, json.with_context(|| format!("{name}: no JSON behind `:=`; a text is {name}=VALUE"))?)
            }
            None => (name, Value::String(text)),
        };
        fields.insert(name.to_owned(), value);
    }
    Ok(Value::Object(fields))
}

/// Where the values of a command line come from that do not stand there themselves.
struct Inputs<R> {
    /// None once it was read.
    stdin: Option<R>,
}

impl<R: Read> Inputs<R> {
    /// A text; `@file`: what is in the file; `-`: what comes on stdin, both without the end of the last line; `env:NAME`:
    /// what the variable holds, so that a secret stands in no list of processes.
    #[expect(
        clippy::disallowed_methods,
        reason = "the user names the variable; the program has no setting there"
    )]
    fn contents(&mut self, text: &str) -> anyhow::Result<String> {
        if let Some(path) = text.strip_prefix('@') {
            let read = std::fs::read_to_string(path).with_context(|| path.to_owned())?;
            return Ok(without_line_end(read));
        }
        if let Some(name) = text.strip_prefix("env:") {
            return std::env::var(name).with_context(|| format!("the variable {name}"));
        }
        if text == "-" {
            let mut stdin = self.stdin.take().context("`-` was given twice, and there is one stdin")?;
            let mut read = String::new();
            stdin.read_to_string(&mut read)?;
            return Ok(without_line_end(read));
        }
        Ok(text.to_owned())
    }
}

/// What `echo` and editors end a text with is no part of it: a secret with a line break opens nothing.
fn without_line_end(mut text: String) -> String {
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(pairs: &[&str]) -> anyhow::Result<Value> {
        let pairs: Vec<String> = pairs.iter().map(|pair| (*pair).to_owned()).collect();
        structure(&pairs.iter().collect::<Vec<_>>(), &mut Inputs { stdin: Some(&b"from stdin\r\n"[..]) })
    }

    #[test]
    fn a_value_is_a_text_unless_it_is_said_to_be_json() {
        assert_eq!(
            of(&["cus_1=4711", "a=true", "b="]).unwrap(),
            json!({"cus_1": "4711", "a": "true", "b": ""})
        );
        assert_eq!(
            of(&["a:=4711", "b:=[true]", "c=x:=y"]).unwrap(),
            json!({"a": 4711, "b": [true], "c": "x:=y"})
        );
        assert_eq!(of(&["{\"a\": 1}"]).unwrap(), json!({"a": 1}));
        assert!(format!("{:#}", of(&["a:=x"]).unwrap_err()).contains("a=VALUE"));
        of(&["a"]).unwrap_err();
    }

    #[test]
    fn the_end_of_the_last_line_is_no_part_of_what_is_read() {
        assert_eq!(of(&["a=-"]).unwrap(), json!({"a": "from stdin"}));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        for (kept, read) in [("s\n", "s"), ("s\r\n", "s"), ("s\n\n", "s\n"), ("s\r", "s\r"), ("s", "s")] {
            std::fs::write(&file, kept).unwrap();
            assert_eq!(of(&[&format!("a=@{}", file.display())]).unwrap(), json!({ "a": read }), "{kept:?}");
        }
    }

    #[test]
    fn a_time_is_given_as_it_is_told_or_as_so_long_ago() {
        let field = |about: &str| Field {
            name: "since".to_owned(),
            about: about.to_owned(),
            required: false,
            kind: Kind::Number,
        };
        let time = field("Changed last at or after this: milliseconds since 1970.");
        assert_eq!(moment(&time, "1970-01-01T00:00:01.5Z").unwrap(), "1500");
        assert_eq!(moment(&time, "1500").unwrap(), "1500");
        assert!(moment(&time, "no Time").unwrap_err().to_string().contains("--since"));
        let now = SystemClock::new().now().as_millis();
        let ago = |text: &str| now - moment(&time, text).unwrap().parse::<u64>().unwrap();
        assert!(
            ago("90s") <= 90_000 && ago("90s") > 30_000 && ago("2h") > 7_000_000 && ago("7d") > 600_000_000
        );
        assert_eq!(moment(&field("How many."), "7d").unwrap(), "7d");
    }

    #[test]
    fn there_is_one_stdin() {
        assert!(of(&["a=-", "b=-"]).unwrap_err().to_string().contains("twice"));
    }

    #[test]
    fn the_next_page_is_asked_for_in_place_of_this_one() {
        let query = vec![("before".to_owned(), "1".to_owned()), ("state".to_owned(), "a b".to_owned())];
        let (headers, body) = (Vec::new(), None);
        let mut request = Request { method: Method::GET, path: "/p".to_owned(), query, headers, body };
        request.put_query("before", "2&3");
        assert_eq!(request.target(), "/p?state=a+b&before=2%263");
    }
}
