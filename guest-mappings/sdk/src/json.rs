//! The contract's data as JSON, in the form that the service writes: a variant is an object with its case as the
//! only key, names are in kebab-case, bodies and settings are JSON themselves. For tests, snapshots and benches;
//! a module in the sandbox never meets it.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    Mapping,
    contract::{
        Alert, Answer, Binding, Capture, CheckTime, Delivery, Environment, Event, ExistenceCheck, Fact,
        Input, Lookup, Need, Outcome, Plan, Problem, Query, Reference, ReferenceKey, Severity, Side,
        Violation,
    },
};

/// Runs a mapping natively, JSON in and JSON out: the text of an input, the text of its outcome.
///
/// # Errors
/// When the text is no input.
pub fn transform<M: Mapping>(input_text: &str) -> Result<String, serde_json::Error> {
    let form: InputForm = serde_json::from_str(input_text)?;
    Ok(outcome(&crate::run::transform::<M>(&form.into())).to_string())
}

/// An input, from the text of its JSON form.
///
/// # Errors
/// When the text is no input.
pub fn input(text: &str) -> Result<Input, serde_json::Error> {
    serde_json::from_str::<InputForm>(text).map(Input::from)
}

/// An outcome in its JSON form.
#[must_use]
pub fn outcome(outcome: &Outcome) -> Value {
    match outcome {
        Outcome::Deliver(done) => json!({"deliver": plan(done)}),
        Outcome::Need(needs) => json!({"need": needs.iter().map(need).collect::<Vec<_>>()}),
        Outcome::Hold(held) => json!({"hold": {"reason": held.reason, "plan": plan(&held.plan)}}),
        Outcome::Defer(deferral) => {
            json!({"defer": {"reason": deferral.reason, "not-before": deferral.not_before}})
        }
        Outcome::Skip(reason) => json!({"skip": reason}),
        Outcome::Reject(violations) => {
            json!({"reject": violations.iter().map(violation).collect::<Vec<_>>()})
        }
    }
}

/// A need in its JSON form.
#[must_use]
pub fn need(need: &Need) -> Value {
    match need {
        Need::Lookup(Lookup { table, key }) => json!({"lookup": {"table": table, "key": key}}),
        Need::Reference(key) => json!({"reference": reference_key(key)}),
        Need::Query(Query { connection, operation, parameters }) => json!({"query": {
            "connection": connection, "operation": operation, "parameters": parsed(parameters),
        }}),
    }
}

/// A plan in its JSON form.
#[must_use]
pub fn plan(plan: &Plan) -> Value {
    json!({
        "ordering-key": plan.ordering_key,
        "deliveries": plan.deliveries.iter().map(delivery).collect::<Vec<_>>(),
        "references": plan.references.iter().map(reference).collect::<Vec<_>>(),
        "alerts": plan.alerts.iter().map(alert).collect::<Vec<_>>(),
    })
}

fn delivery(delivery: &Delivery) -> Value {
    json!({
        "key": delivery.key,
        "connection": delivery.connection,
        "operation": delivery.operation,
        "body": parsed(&delivery.body),
        "after": delivery.after,
        "bindings": delivery.bindings.iter().map(binding).collect::<Vec<_>>(),
        "once": delivery.once,
        "unless": delivery.unless.as_ref().map(check),
        "captures": delivery.captures.iter().map(capture).collect::<Vec<_>>(),
        "ledger": delivery.ledger.iter().map(|line| json!({
            "account": line.account,
            "side": match line.side { Side::Debit => "debit", Side::Credit => "credit" },
            "amount": line.amount,
            "currency": line.currency,
        })).collect::<Vec<_>>(),
    })
}

fn check(check: &ExistenceCheck) -> Value {
    json!({
        "when": match check.when { CheckTime::Always => "always", CheckTime::InDoubt => "in-doubt" },
        "operation": check.operation,
        "parameters": parsed(&check.parameters),
        "bindings": check.bindings.iter().map(binding).collect::<Vec<_>>(),
        "hit": check.hit,
    })
}

fn binding(binding: &Binding) -> Value {
    json!({"delivery": binding.delivery, "source": binding.source, "target": binding.target})
}

fn capture(capture: &Capture) -> Value {
    json!({"key": reference_key(&capture.key), "system": capture.system, "pointer": capture.pointer})
}

fn reference(reference: &Reference) -> Value {
    json!({"key": reference_key(&reference.key), "system": reference.system, "id": reference.id})
}

fn reference_key(key: &ReferenceKey) -> Value {
    json!({"kind": key.kind, "id": key.id})
}

fn alert(alert: &Alert) -> Value {
    let severity = match alert.severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    };
    json!({"severity": severity, "code": alert.code, "title": alert.title, "detail": parsed(&alert.detail)})
}

fn violation(violation: &Violation) -> Value {
    json!({"pointer": violation.pointer, "code": violation.code, "message": violation.message})
}

/// JSON text as JSON; text that is none stays a text, so that a test sees it.
fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

const fn first() -> u32 {
    1
}

#[derive(Deserialize)]
struct InputForm {
    event: EventForm,
    environment: EnvironmentForm,
    #[serde(default = "first")]
    attempt: u32,
    #[serde(default)]
    settings: Map<String, Value>,
    #[serde(default)]
    facts: Vec<FactForm>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct EventForm {
    id: String,
    source: String,
    system: String,
    kind: String,
    object_id: Option<String>,
    occurred_at: u64,
    received_at: u64,
    media_type: String,
    payload: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum EnvironmentForm {
    Sandbox,
    Qa,
    Production,
}

#[derive(Deserialize)]
struct FactForm {
    need: NeedForm,
    answer: AnswerForm,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum NeedForm {
    Lookup { table: String, key: String },
    Reference { kind: String, id: String },
    Query { connection: String, operation: String, parameters: Value },
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum AnswerForm {
    Found(Value),
    Absent,
    Failed { code: String, message: String },
}

impl From<InputForm> for Input {
    fn from(form: InputForm) -> Self {
        Self {
            event: form.event.into(),
            attempt: form.attempt,
            environment: match form.environment {
                EnvironmentForm::Sandbox => Environment::Sandbox,
                EnvironmentForm::Qa => Environment::Qa,
                EnvironmentForm::Production => Environment::Production,
            },
            settings: Value::Object(form.settings).to_string(),
            facts: form.facts.into_iter().map(Fact::from).collect(),
        }
    }
}

impl From<EventForm> for Event {
    fn from(form: EventForm) -> Self {
        Self {
            id: form.id,
            source: form.source,
            system: form.system,
            kind: form.kind,
            object_id: form.object_id,
            occurred_at: form.occurred_at,
            received_at: form.received_at,
            media_type: form.media_type,
            payload: form.payload,
        }
    }
}

impl From<FactForm> for Fact {
    fn from(form: FactForm) -> Self {
        let need = match form.need {
            NeedForm::Lookup { table, key } => Need::Lookup(Lookup { table, key }),
            NeedForm::Reference { kind, id } => Need::Reference(ReferenceKey { kind, id }),
            NeedForm::Query { connection, operation, parameters } => {
                Need::Query(Query { connection, operation, parameters: parameters.to_string() })
            }
        };
        let answer = match form.answer {
            AnswerForm::Found(value) => Answer::Found(value.to_string()),
            AnswerForm::Absent => Answer::Absent,
            AnswerForm::Failed { code, message } => Answer::Failed(Problem { code, message }),
        };
        Self { need, answer }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_read_in_the_services_form() {
        let text = r#"{
            "event": {"id": "evt_1", "source": "shop", "system": "stripe", "kind": "charge.succeeded",
                "object-id": "ch_1", "occurred-at": 1, "received-at": 2, "media-type": "application/json",
                "payload": "{}"},
            "environment": "qa", "settings": {"a": 1},
            "facts": [
                {"need": {"reference": {"kind": "stripe.customer", "id": "cus_1"}}, "answer": {"found": {"epicor": "812"}}},
                {"need": {"query": {"connection": "c", "operation": "o", "parameters": {"b": 1}}}, "answer": "absent"},
                {"need": {"lookup": {"table": "t", "key": "k"}}, "answer": {"failed": {"code": "x", "message": "y"}}}
            ]
        }"#;
        let input = input(text).unwrap();
        assert_eq!(input.settings, r#"{"a":1}"#);
        assert_eq!(input.facts.len(), 3);
        assert_eq!(input.facts[1].answer, Answer::Absent);
        assert_eq!(need(&input.facts[1].need)["query"]["parameters"], json!({"b": 1}));
    }
}
