//! The cases of a folder, natively: the same files that `portolan module test` runs in the sandbox, as fast as a test
//! can be. What a case is, is told there; here is as much of it as mappings of Stripe's events need.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::{Value, json};

use super::rules;
use crate::{
    Mapping,
    contract::{Fact, Input, Need, Outcome},
    json,
};

/// When the events of cases are received, unless they say otherwise.
const RECEIVED_AT_MS: u64 = 1_795_217_401_000;
/// As many rounds as the host grants.
const ROUNDS_MAX: usize = 8;

#[derive(Deserialize)]
struct Case {
    event: Map,
    #[serde(default)]
    environment: Option<Value>,
    #[serde(default)]
    attempt: Option<u32>,
    #[serde(default)]
    settings: Map,
    #[serde(default)]
    facts: Vec<Value>,
    #[serde(default)]
    expect: Option<Value>,
}

type Map = serde_json::Map<String, Value>;

/// Runs every case of a folder (from the crate's own folder, where `cargo test` runs).
///
/// # Panics
/// When one of them does not end as it expects, with every difference of every case; when there are none.
#[expect(clippy::panic, reason = "a test fails by panicking")]
pub fn cases<M: Mapping>(folder: impl AsRef<Path>) {
    let files = files(folder.as_ref());
    assert!(!files.is_empty(), "{} holds no cases", folder.as_ref().display());
    let mut wrong = String::new();
    for file in files {
        if let Err(problem) = run::<M>(&file) {
            wrong.push_str(&format!("\n{}:\n{problem}\n", file.display()));
        }
    }
    if !wrong.is_empty() {
        panic!("{wrong}");
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<PathBuf> = entries
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    found.sort();
    found
}

fn run<M: Mapping>(file: &Path) -> Result<(), String> {
    let text = fs::read_to_string(file).map_err(|error| error.to_string())?;
    let case: Case = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let input = case.input(file)?;
    let got = compact(ended::<M>(input, &case.known()?)?);
    let Some(expected) = case.expect.map(compact) else {
        return Err(
            "the case expects nothing yet: `portolan module test --update` writes what comes out".into()
        );
    };
    let mut differences = Vec::new();
    compare("", Some(&expected), Some(&got), &mut differences);
    if differences.is_empty() { Ok(()) } else { Err(differences.join("\n")) }
}

/// The outcome in the contract's JSON form, after as many rounds as it takes.
fn ended<M: Mapping>(mut input: Input, known: &[Fact]) -> Result<Value, String> {
    let description = M::describe();
    for _ in 0..ROUNDS_MAX {
        let outcome = crate::run::transform::<M>(&input);
        let Outcome::Need(needs) = outcome else {
            rules::check_outcome(&outcome, &description)?;
            return Ok(json::outcome(&outcome));
        };
        rules::check_needs(&needs, &description)?;
        for need in needs {
            let fact = known.iter().find(|fact| same(&fact.need, &need));
            let fact = fact.ok_or_else(|| {
                format!(
                    "the case has no fact for this need: {}",
                    json!({"need": json::need(&need), "answer": "absent"})
                )
            })?;
            input.facts.push(Fact { need, answer: fact.answer.clone() });
        }
    }
    Err(format!("the mapping still asks after {ROUNDS_MAX} rounds"))
}

fn same(one: &Need, other: &Need) -> bool {
    json::need(one) == json::need(other)
}

impl Case {
    fn known(&self) -> Result<Vec<Fact>, String> {
        let input = json!({
            "event": {
                "id": "", "source": "", "system": "", "kind": "", "occurred-at": 0, "received-at": 0,
                "media-type": "", "payload": "",
            },
            "environment": "sandbox", "facts": self.facts,
        });
        json::input(&input.to_string()).map(|input| input.facts).map_err(|error| format!("facts: {error}"))
    }

    /// What the first round is given.
    fn input(&self, file: &Path) -> Result<Input, String> {
        let mut event = self.event.clone();
        let payload = payload(&mut event, file)?;
        let told = |pointer: &str| payload.1.pointer(pointer).cloned();
        let received = event.get("received-at").and_then(Value::as_u64).unwrap_or(RECEIVED_AT_MS);
        let created = told("/created").and_then(|seconds| seconds.as_u64()).map(|seconds| seconds * 1_000);
        for (field, value) in [
            ("id", json!("evt_00000000000000000000000000")),
            ("source", json!("case")),
            ("kind", told("/type").unwrap_or_default()),
            ("object-id", told("/data/object/id").unwrap_or_default()),
            ("received-at", json!(received)),
            ("occurred-at", json!(created.unwrap_or(received))),
            ("media-type", json!("application/json")),
        ] {
            event.entry(field).or_insert(value);
        }
        event.insert("payload".to_owned(), Value::String(payload.0));
        let environment = self.environment.clone().unwrap_or_else(|| json!("sandbox"));
        let input = json!({
            "event": event, "environment": environment, "attempt": self.attempt.unwrap_or(1),
            "settings": self.settings, "facts": [],
        });
        json::input(&input.to_string()).map_err(|error| format!("event: {error}"))
    }
}

/// The payload as text and as JSON (null, where it is none).
fn payload(event: &mut Map, file: &Path) -> Result<(String, Value), String> {
    let text = match (event.remove("payload"), event.remove("payload_file")) {
        (Some(Value::String(text)), None) => text,
        (Some(json), None) => json.to_string(),
        (None, Some(Value::String(name))) => {
            let file = file.parent().unwrap_or(Path::new(".")).join(name);
            fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?
        }
        _ => return Err("the event needs a `payload` or a `payload_file`".into()),
    };
    let json = serde_json::from_str(&text).unwrap_or_default();
    Ok((text, json))
}

/// An outcome without the fields of plans that say nothing.
fn compact(mut outcome: Value) -> Value {
    let plan = match outcome.get_mut("hold") {
        Some(held) => held.get_mut("plan"),
        None => outcome.get_mut("deliver"),
    };
    if let Some(plan) = plan {
        for delivery in plan.get_mut("deliveries").and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(check) = delivery.get_mut("unless") {
                drop_empty(check, &["bindings"]);
            }
            drop_empty(delivery, &["after", "bindings", "once", "unless", "captures", "ledger"]);
        }
        drop_empty(plan, &["ordering-key", "references", "alerts", "deliveries"]);
    }
    if let Some(deferral) = outcome.get_mut("defer") {
        drop_empty(deferral, &["not-before"]);
    }
    outcome
}

fn drop_empty(object: &mut Value, fields: &[&str]) {
    let Some(object) = object.as_object_mut() else { return };
    for field in fields {
        let empty = |value: &Value| value.is_null() || value.as_array().is_some_and(Vec::is_empty);
        if object.get(*field).is_some_and(empty) {
            object.remove(*field);
        }
    }
}

fn compare(pointer: &str, expected: Option<&Value>, got: Option<&Value>, found: &mut Vec<String>) {
    match (expected, got) {
        (Some(Value::Object(one)), Some(Value::Object(other))) => {
            let keys: BTreeMap<&String, ()> = one.keys().chain(other.keys()).map(|key| (key, ())).collect();
            for key in keys.keys() {
                compare(&format!("{pointer}/{key}"), one.get(*key), other.get(*key), found);
            }
        }
        (Some(Value::Array(one)), Some(Value::Array(other))) => {
            for place in 0..one.len().max(other.len()) {
                compare(&format!("{pointer}/{place}"), one.get(place), other.get(place), found);
            }
        }
        (one, other) if one == other => {}
        (one, other) => {
            let text = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), Value::to_string);
            found.push(format!("  {pointer}\n    expected {}\n    got      {}", text(one), text(other)));
        }
    }
}
