//! One attempt at a delivery: bind, ask, send, and say how it ended.
//!
//! What may be done when an earlier attempt may have been carried out is the operation's property
//! ([`InDoubt`]), never a guess:
//!
//! | the operation can | a doubtful delivery |
//! |---|---|
//! | recognise a repeat | is sent again, with the same key and the same bytes |
//! | be asked about | is asked about, once the system has had time to finish; found: adopted, absent: sent again |
//! | neither, or the delivery names no check | waits for a person |

use std::time::Duration;

use portolan_connectors::{CallContext, Effect, Found};
use portolan_domain::{
    AlertId, Timestamp,
    contract::{CheckTime, ExistenceCheck, Reference, Severity},
    pointer::{bind, id_at},
    verdict::{CallFailure, CallProblem, InDoubt},
};
use portolan_proof::{Bug, Point, has, pass};
use portolan_store::{
    alert::NewAlert,
    delivery::{DeliveryClaim, DeliveryEnd},
};
use serde_json::{Value, json};

use crate::{
    Shared,
    connections::{Opened, Unusable},
};

/// What an attempt came to.
#[derive(Debug)]
pub struct Attempted {
    /// How it ended.
    pub end: DeliveryEnd,
    /// The body with the copied values in; none when it did not get that far.
    pub sent: Option<Value>,
    /// The connector's name, for metrics.
    pub connector: &'static str,
}

/// Makes an attempt.
pub async fn attempt(shared: &Shared, claim: &DeliveryClaim) -> Attempted {
    if let Some(response) = &claim.made {
        return Attempted { end: delivered(claim, response.clone(), true), sent: None, connector: "none" };
    }
    let opened = match shared.connections.open(&claim.scope, &claim.connection).await {
        Ok(opened) => opened,
        Err(error) => {
            let failure = match error {
                Unusable::Store(portolan_store::StoreError::Unavailable(error)) => {
                    CallFailure::retryable("store-unavailable", error.to_string())
                }
                error @ (Unusable::Store(_)
                | Unusable::Sealed(_)
                | Unusable::Config(_)
                | Unusable::UnknownConnector(_)) => {
                    CallFailure::permanent("connection-unusable", error.to_string())
                }
            };
            return Attempted { end: failed(shared, claim, None, failure), sent: None, connector: "none" };
        }
    };
    let connector = opened.connector;
    let mut body = claim.body.clone();
    if let Err(unbound) = bind(&mut body, &claim.bindings, &claim.responses) {
        let failure = CallFailure::permanent("unbound", unbound.to_string());
        return Attempted { end: failed(shared, claim, Some(&opened), failure), sent: None, connector };
    }
    let end = ask_and_send(shared, claim, &opened, &body).await;
    Attempted { end, sent: Some(body), connector }
}

async fn ask_and_send(shared: &Shared, claim: &DeliveryClaim, opened: &Opened, body: &Value) -> DeliveryEnd {
    let Some(Effect::Write(_)) = opened.effect(&claim.operation) else {
        let text = format!("{} has no write {:?}", opened.connector, claim.operation);
        return failed(shared, claim, Some(opened), CallFailure::permanent("operation-unknown", text));
    };
    let rule = rule(shared, claim, opened);
    let doubtful = claim.in_doubt && !has(Bug::CheckSkipped);
    if doubtful && needs_person(rule, claim.unless.as_ref()) {
        let text = "an earlier attempt may have been carried out, and the system cannot be asked";
        return in_doubt(shared, claim, CallFailure::ambiguous("outcome-unknown", text));
    }
    let now = shared.clock.now();
    if let Some(settled_at) = settled_at(claim, rule, opened).filter(|settled_at| now < *settled_at) {
        let text = "an earlier attempt may still be under way in the other system";
        let failure = CallFailure::retryable("settling", text);
        return DeliveryEnd::Retry { due_at: settled_at, failure, alerts: Vec::new() };
    }
    let context = CallContext {
        call_id: match has(Bug::FreshKeyPerAttempt) {
            false => claim.call_id.clone(),
            true => format!("{}x{}", claim.call_id, claim.attempt),
        },
        attempt: claim.attempt,
        timeout: opened.connection.timeout(),
        now_seconds: now.as_seconds(),
    };
    if let Some(check) = claim.unless.as_ref().filter(|check| doubtful || check.when == CheckTime::Always) {
        match ask(claim, opened, check, &context).await {
            Ok(Some(answer)) => return delivered(claim, answer, true),
            Ok(None) => {}
            Err(failure) => return unasked(shared, claim, opened, failure),
        }
    }
    pass(Point::ExistenceChecked);
    match opened.connection.write(&claim.operation, body, &context).await {
        Ok(response) => delivered(claim, response, false),
        Err(failure) => failed(shared, claim, Some(opened), failure),
    }
}

/// What may be done about a doubt. A system that forgets its keys does not recognise a repeat for ever.
fn rule(shared: &Shared, claim: &DeliveryClaim, opened: &Opened) -> InDoubt {
    let rule = opened.connection.in_doubt(&claim.operation);
    let since = claim.doubt_since.map_or(claim.begun_at, |doubt| doubt.min(claim.begun_at));
    let age = shared.clock.now().since(since);
    match (rule, opened.connection.key_window()) {
        (InDoubt::SameKeyAgain, Some(window)) if age >= window => InDoubt::Ask,
        (rule, _) => rule,
    }
}

/// Whether nothing but a person can settle a doubt about this operation.
fn needs_person(rule: InDoubt, check: Option<&ExistenceCheck>) -> bool {
    match rule {
        InDoubt::SameKeyAgain => false,
        InDoubt::Ask => check.is_none(),
        InDoubt::AskPerson => true,
    }
}

/// When an attempt in doubt has surely come to its end in the other system. A system that recognises repeats
/// needs no such time.
fn settled_at(claim: &DeliveryClaim, rule: InDoubt, opened: &Opened) -> Option<Timestamp> {
    match rule {
        InDoubt::SameKeyAgain => None,
        InDoubt::Ask | InDoubt::AskPerson => {
            claim.doubt_since.map(|since| since.plus(opened.connection.settle()))
        }
    }
}

async fn ask(
    claim: &DeliveryClaim,
    opened: &Opened,
    check: &ExistenceCheck,
    context: &CallContext,
) -> Result<Option<Value>, CallFailure> {
    if opened.effect(&check.operation) != Some(Effect::Read) {
        let text = format!("{} has no read {:?}", opened.connector, check.operation);
        return Err(CallFailure::permanent("operation-unknown", text));
    }
    let mut parameters = check.parameters.clone();
    bind(&mut parameters, &check.bindings, &claim.responses)
        .map_err(|unbound| CallFailure::permanent("unbound", unbound.to_string()))?;
    let found = opened.connection.read(&check.operation, &parameters, context).await?;
    Ok(match found {
        Found::Yes(answer) if id_at(&answer, &check.hit).is_some() => Some(answer),
        Found::Yes(_) | Found::No => None,
    })
}

/// The existence check itself failed: nothing was sent now, and an earlier doubt stays what it was.
fn unasked(shared: &Shared, claim: &DeliveryClaim, opened: &Opened, failure: CallFailure) -> DeliveryEnd {
    match failure {
        CallFailure::Permanent { problem } if claim.in_doubt => {
            in_doubt(shared, claim, CallFailure::Ambiguous { problem })
        }
        // A read has no outcome to doubt: whatever became of it, it may be made again.
        CallFailure::Ambiguous { problem } => {
            failed(shared, claim, Some(opened), CallFailure::Retryable { problem, after_ms: None })
        }
        failure @ (CallFailure::Permanent { .. }
        | CallFailure::Retryable { .. }
        | CallFailure::Unauthorized { .. }) => failed(shared, claim, Some(opened), failure),
    }
}

fn delivered(claim: &DeliveryClaim, response: Value, adopted: bool) -> DeliveryEnd {
    let references = claim.captures.iter().filter_map(|capture| {
        let Some(id) = id_at(&response, &capture.pointer) else {
            tracing::warn!(delivery.id = %claim.id, capture.pointer, "the response has no id to remember there");
            return None;
        };
        Some(Reference { key: capture.key.clone(), system: capture.system.clone(), id })
    });
    DeliveryEnd::Delivered { references: references.collect(), response, adopted }
}

fn failed(
    shared: &Shared,
    claim: &DeliveryClaim,
    opened: Option<&Opened>,
    failure: CallFailure,
) -> DeliveryEnd {
    match &failure {
        CallFailure::Permanent { .. } => dead(shared, claim, failure),
        CallFailure::Unauthorized { problem } => {
            let problem = problem.clone();
            retry(shared, claim, failure, Duration::ZERO, Some(&problem))
        }
        CallFailure::Retryable { .. } => {
            let after = failure.after().unwrap_or_default();
            retry(shared, claim, failure, after, None)
        }
        CallFailure::Ambiguous { .. } => match opened.map(|opened| rule(shared, claim, opened)) {
            Some(InDoubt::SameKeyAgain) => retry(shared, claim, failure, Duration::ZERO, None),
            Some(InDoubt::Ask) if claim.unless.is_some() => {
                let settle = opened.map(|opened| opened.connection.settle()).unwrap_or_default();
                retry(shared, claim, failure, settle, None)
            }
            _ => in_doubt(shared, claim, failure),
        },
    }
}

/// Plans the next attempt, not before `least` from now; a person is asked when there is none. Refused
/// credentials raise an alert at the first attempt, not at the last.
fn retry(
    shared: &Shared,
    claim: &DeliveryClaim,
    failure: CallFailure,
    least: Duration,
    refused: Option<&CallProblem>,
) -> DeliveryEnd {
    let policy = shared.settings.delivery_retry;
    let Some(pause) = policy.delay(claim.attempts_since_redrive, rand::random()) else {
        let ambiguous = matches!(failure, CallFailure::Ambiguous { .. });
        return if ambiguous || claim.in_doubt {
            in_doubt(shared, claim, failure)
        } else {
            dead(shared, claim, failure)
        };
    };
    let due_at = shared.clock.now().plus(pause.max(least));
    let alerts = refused.map(|problem| refused_alert(shared, claim, problem)).into_iter().collect();
    DeliveryEnd::Retry { due_at, failure, alerts }
}

fn dead(shared: &Shared, claim: &DeliveryClaim, failure: CallFailure) -> DeliveryEnd {
    let problem = failure.problem();
    let alert = NewAlert {
        severity: Severity::Warning,
        code: format!("delivery-dead.{}", problem.code),
        title: format!("{} through {} fails", claim.operation, claim.connection),
        ..alert(shared, claim, problem)
    };
    DeliveryEnd::Dead { failure, alerts: vec![alert] }
}

fn in_doubt(shared: &Shared, claim: &DeliveryClaim, failure: CallFailure) -> DeliveryEnd {
    let alert = NewAlert {
        severity: Severity::Critical,
        code: "delivery-in-doubt".to_owned(),
        title: format!(
            "it is not known whether {} through {} was carried out",
            claim.operation, claim.connection
        ),
        ..alert(shared, claim, failure.problem())
    };
    DeliveryEnd::InDoubt { failure, alerts: vec![alert] }
}

fn refused_alert(shared: &Shared, claim: &DeliveryClaim, problem: &CallProblem) -> NewAlert {
    NewAlert {
        severity: Severity::Critical,
        code: "credentials-refused".to_owned(),
        title: format!("{} refuses our credentials or rights", claim.connection),
        ..alert(shared, claim, problem)
    }
}

fn alert(shared: &Shared, claim: &DeliveryClaim, problem: &CallProblem) -> NewAlert {
    let at = shared.clock.now();
    NewAlert {
        id: AlertId::generate(at),
        severity: Severity::Info,
        code: String::new(),
        title: String::new(),
        detail: json!({ "delivery": claim.id, "event": claim.event, "problem": problem }),
        at,
    }
}
