//! One attempt at a delivery: bind, ask, send, and say how it ended.
//!
//! What may be done when an earlier attempt may have been carried out follows from the operation's class
//! ([`WriteClass`](portolan_domain::class::WriteClass)), never from a guess. A delivery that must ask is asked about
//! twice, a settle time apart, before it is sent again: once could meet a call that is still under way, or a copy that
//! lags behind.
//!
//! A call begins only when it will end before the lease does; what was sent is the same, byte for byte, in every
//! attempt, unless a person corrected it.

use std::time::Duration;

use portolan_connectors::{CallContext, Effect, Found, Traffic};
use portolan_domain::{
    AlertId, Timestamp,
    class::{Doubt, Remedy},
    contract::{CheckTime, ExistenceCheck, Reference, Severity},
    pointer::{bind, id_at},
    verdict::{CallFailure, CallProblem},
};
use portolan_proof::{Bug, Point, has, pass};
use portolan_store::{
    alert::NewAlert,
    delivery::{DeliveryClaim, DeliveryEnd, Postponement, Sent},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    Shared,
    connections::{Opened, Unusable},
    gates::Heard,
    refused,
};

/// What an attempt came to.
#[derive(Debug)]
pub struct Attempted {
    /// How it ended.
    pub end: DeliveryEnd,
    /// What was sent, or would have been; none when it did not get that far.
    pub sent: Option<Sent>,
    /// The connector's name, for metrics.
    pub connector: &'static str,
    /// How the connection is paced, if it could be opened.
    pub traffic: Option<Traffic>,
    /// What was heard of the other system, if it was called.
    pub heard: Option<Heard>,
}

impl Attempted {
    /// Nothing was called.
    const fn without_call(end: DeliveryEnd) -> Self {
        Self { end, sent: None, connector: "none", traffic: None, heard: None }
    }

    /// The host panicked in this attempt: whatever it had done by then is in doubt, at once.
    #[must_use]
    pub fn panicked(shared: &Shared, claim: &DeliveryClaim) -> Self {
        let failure = CallFailure::ambiguous("host-panic", "the host panicked during this attempt");
        Self::without_call(retry(shared, claim, failure, Duration::ZERO))
    }
}

/// Makes an attempt.
pub async fn attempt(shared: &Shared, claim: &DeliveryClaim) -> Attempted {
    if let Some(response) = &claim.made {
        return Attempted::without_call(delivered(claim, response.clone(), true));
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
            return Attempted::without_call(unopened(shared, claim, failure));
        }
    };
    let with = |end, sent, heard| Attempted {
        end,
        sent,
        connector: opened.connector,
        traffic: Some(opened.connection.traffic()),
        heard,
    };
    let mut body = claim.body.clone();
    if let Err(unbound) = bind(&mut body, &claim.bindings, &claim.responses) {
        let failure = CallFailure::permanent("unbound", unbound.to_string());
        return with(dead(shared, claim, failure), None, None);
    }
    let sha256 = hex::encode(Sha256::digest(body.to_string()));
    let sent = Sent { body, sha256 };
    let (end, heard) = match step(shared, claim, &opened, &sent) {
        Ok(step) => carry_out(shared, claim, (&opened, step), &sent.body).await,
        Err(end) => (*end, None),
    };
    with(end, Some(sent), heard)
}

/// What is to be done now.
#[derive(Debug)]
enum Step<'a> {
    Send,
    /// Found: adopt. Absent: `then`.
    Ask {
        check: &'a ExistenceCheck,
        then: Then,
    },
}

#[derive(Debug, Clone, Copy)]
enum Then {
    Send,
    AskAgain { after: Duration },
}

/// Decides what is to be done. An end where nothing may be called now.
fn step<'a>(
    shared: &Shared,
    claim: &'a DeliveryClaim,
    opened: &Opened,
    sent: &Sent,
) -> Result<Step<'a>, Box<DeliveryEnd>> {
    let Some(Effect::Write(_)) = opened.effect(&claim.operation) else {
        let text = format!("{} has no write {:?}", opened.connector, claim.operation);
        return Err(Box::new(dead(shared, claim, CallFailure::permanent("operation-unknown", text))));
    };
    let asking = |then| match &claim.unless {
        Some(check) => Step::Ask { check, then },
        None => Step::Send,
    };
    let first_time = claim.unless.as_ref().filter(|check| check.when == CheckTime::Always);
    if !claim.in_doubt {
        return Ok(first_time.map_or(Step::Send, |_| asking(Then::Send)));
    }
    if has(Bug::CheckSkipped) {
        return Ok(Step::Send);
    }
    match remedy(shared, claim, opened, sent) {
        Remedy::SendAgain if is_changed(claim, sent) && !claim.is_corrected => {
            let text = "what would be sent is not what was sent before, and nobody corrected it";
            Err(Box::new(in_doubt(shared, claim, CallFailure::ambiguous("body-changed", text))))
        }
        // Where there is a check, a question costs less than a repeat.
        Remedy::SendAgain | Remedy::AskThenSend => Ok(asking(Then::Send)),
        Remedy::Ask { again_after } => Ok(asking(Then::AskAgain { after: again_after })),
        Remedy::Wait(pause) => {
            let text = "an earlier attempt may still be under way in the other system";
            let failure = CallFailure::retryable("settling", text);
            Err(Box::new(postponed(shared, Postponement::NotNow, pause, failure)))
        }
        Remedy::AskPerson => {
            let text = "an earlier attempt may have been carried out, and the system cannot be asked";
            Err(Box::new(in_doubt(shared, claim, CallFailure::ambiguous("outcome-unknown", text))))
        }
    }
}

/// Whether other bytes were sent before.
fn is_changed(claim: &DeliveryClaim, sent: &Sent) -> bool {
    claim.sent_sha256.as_ref().is_some_and(|before| *before != sent.sha256)
}

fn remedy(shared: &Shared, claim: &DeliveryClaim, opened: &Opened, sent: &Sent) -> Remedy {
    let now = shared.steady();
    // Whichever clock says that the key is older: a machine that slept has a steady clock that is behind.
    let begun_at = claim.doubt_since.map_or(claim.begun_at, |doubt| doubt.min(claim.begun_at));
    let key_age = now.max(shared.clock.now()).since(begun_at);
    let doubt = Doubt {
        age: claim.doubt_since.map_or(Duration::MAX, |since| now.since(since)),
        key_age: if has(Bug::KeyTrustedTooLong) { Duration::ZERO } else { key_age },
        absent_for: claim.absent_at.map(|at| now.since(at)),
        can_ask: claim.unless.is_some(),
        is_corrected: claim.is_corrected && claim.sent_sha256.as_ref() != Some(&sent.sha256),
    };
    opened.connection.class(&claim.operation).remedy(&doubt, opened.connection.settle())
}

/// Calls the other system. Says what was heard of it, too.
async fn carry_out(
    shared: &Shared,
    claim: &DeliveryClaim,
    (opened, step): (&Opened, Step<'_>),
    body: &Value,
) -> (DeliveryEnd, Option<Heard>) {
    let context = CallContext {
        call_id: match has(Bug::FreshKeyPerAttempt) {
            false => claim.call_id.clone(),
            true => format!("{}x{}", claim.call_id, claim.attempt),
        },
        attempt: claim.attempt,
        timeout: opened.connection.timeout(),
        now_seconds: shared.clock.now().as_seconds(),
        traceparent: claim.traceparent.clone(),
    };
    if let Step::Ask { check, then } = step {
        if let Some(end) = too_late(shared, claim, opened) {
            return (end, None);
        }
        match (ask(shared, claim, opened, (check, &context)).await, then) {
            (Ok(Some(answer)), _) => return (delivered(claim, answer, true), Some(Heard::Up)),
            (Ok(None), Then::AskAgain { after }) => {
                let text = "the system does not have it; it is asked a second time, in case it was late";
                let failure = CallFailure::retryable("absent-once", text);
                return (postponed(shared, Postponement::Absent, after, failure), Some(Heard::Up));
            }
            (Ok(None), Then::Send) => {
                shared.gates.called_again(claim.connection.as_str(), shared.clock.monotonic())
            }
            (Err(failure), _) => {
                let heard = Heard::of(&failure);
                return (unasked(shared, claim, opened, failure), heard);
            }
        }
    }
    if let Some(end) = too_late(shared, claim, opened) {
        return (end, Some(Heard::Up));
    }
    pass(Point::ExistenceChecked);
    match opened.connection.write(&claim.operation, body, &context).await {
        Ok(response) => (delivered(claim, response, false), Some(Heard::Up)),
        Err(failure) => {
            let heard = Heard::of(&failure);
            (failed(shared, claim, opened, failure), heard)
        }
    }
}

/// A call that may outlast the lease is not begun: whoever held the next lease would not know of it.
fn too_late(shared: &Shared, claim: &DeliveryClaim, opened: &Opened) -> Option<DeliveryEnd> {
    let left = claim.until.since(shared.steady());
    (left < opened.connection.timeout()).then(|| {
        let failure = CallFailure::retryable("lease-ends", "too little of the lease was left for a call");
        postponed(shared, Postponement::NotNow, Duration::ZERO, failure)
    })
}

/// Whether a copy of the other system's records is older than the doubt: only [`Bug::CheckOnReplica`] asks one.
fn lags_behind(claim: &DeliveryClaim, now: Timestamp) -> bool {
    const LAG: Duration = Duration::from_secs(30);
    now.since(claim.doubt_since.unwrap_or(claim.begun_at)) < LAG
}

async fn ask(
    shared: &Shared,
    claim: &DeliveryClaim,
    opened: &Opened,
    (check, context): (&ExistenceCheck, &CallContext),
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
        // A copy that lags behind does not have the document yet.
        Found::Yes(_) if has(Bug::CheckOnReplica) && lags_behind(claim, shared.steady()) => None,
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
            failed(shared, claim, opened, CallFailure::Retryable { problem, after_ms: None })
        }
        failure @ (CallFailure::Permanent { .. }
        | CallFailure::Retryable { .. }
        | CallFailure::Unauthorized { .. }) => failed(shared, claim, opened, failure),
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

fn unopened(shared: &Shared, claim: &DeliveryClaim, failure: CallFailure) -> DeliveryEnd {
    match failure {
        CallFailure::Retryable { .. } => retry(shared, claim, failure, Duration::ZERO),
        CallFailure::Permanent { .. } | CallFailure::Unauthorized { .. } | CallFailure::Ambiguous { .. } => {
            dead(shared, claim, failure)
        }
    }
}

fn failed(shared: &Shared, claim: &DeliveryClaim, opened: &Opened, failure: CallFailure) -> DeliveryEnd {
    match &failure {
        CallFailure::Permanent { .. } => dead(shared, claim, failure),
        CallFailure::Unauthorized { problem } => {
            let alert = refused::alert(shared, &claim.connection, detail(claim, problem));
            let due_at = shared.steady();
            DeliveryEnd::Postponed {
                postponement: Postponement::Refused,
                due_at,
                failure,
                alerts: vec![alert],
            }
        }
        // Nothing was carried out because the system is down: no fault of this delivery, and the breaker sees to it
        // that it does not become a storm.
        CallFailure::Retryable { .. }
            if failure.is_outage() && opened.connection.traffic().breaker_failures > 0 =>
        {
            let policy = shared.settings.delivery_retry;
            let pause = policy.delay(1, rand::random()).unwrap_or_default();
            let pause = pause.max(failure.after().unwrap_or_default());
            postponed(shared, Postponement::NotNow, pause, failure)
        }
        CallFailure::Retryable { .. } => {
            let after = failure.after().unwrap_or_default();
            retry(shared, claim, failure, after)
        }
        CallFailure::Ambiguous { .. } => {
            let doubt = Doubt {
                age: Duration::ZERO,
                key_age: Duration::ZERO,
                absent_for: None,
                can_ask: claim.unless.is_some(),
                is_corrected: false,
            };
            let settle = opened.connection.settle();
            match opened.connection.class(&claim.operation).remedy(&doubt, settle) {
                Remedy::SendAgain | Remedy::AskThenSend | Remedy::Ask { .. } => {
                    retry(shared, claim, failure, Duration::ZERO)
                }
                Remedy::Wait(pause) => retry(shared, claim, failure, pause),
                Remedy::AskPerson => in_doubt(shared, claim, failure),
            }
        }
    }
}

/// Plans the next attempt, not before `least` from now, and when the connection's budget has room for a retry; a person
/// is asked when there is none.
fn retry(shared: &Shared, claim: &DeliveryClaim, failure: CallFailure, least: Duration) -> DeliveryEnd {
    let policy = shared.settings.delivery_retry;
    let Some(pause) = policy.delay(claim.attempts_since_redrive, rand::random()) else {
        let ambiguous = matches!(failure, CallFailure::Ambiguous { .. });
        return if ambiguous || claim.in_doubt {
            in_doubt(shared, claim, failure)
        } else {
            dead(shared, claim, failure)
        };
    };
    let budget = shared.gates.retry_pause(claim.connection.as_str(), shared.clock.monotonic());
    let due_at = shared.steady().plus(pause.max(least).max(budget));
    DeliveryEnd::Retry { due_at, failure, alerts: Vec::new() }
}

/// Later, without an attempt being used up.
fn postponed(
    shared: &Shared,
    postponement: Postponement,
    pause: Duration,
    failure: CallFailure,
) -> DeliveryEnd {
    let due_at = shared.steady().plus(pause);
    DeliveryEnd::Postponed { postponement, due_at, failure, alerts: Vec::new() }
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

fn alert(shared: &Shared, claim: &DeliveryClaim, problem: &CallProblem) -> NewAlert {
    let at = shared.clock.now();
    NewAlert {
        id: AlertId::generate(at),
        severity: Severity::Info,
        code: String::new(),
        title: String::new(),
        detail: detail(claim, problem),
        at,
    }
}

fn detail(claim: &DeliveryClaim, problem: &CallProblem) -> Value {
    json!({ "delivery": claim.id, "event": claim.event, "problem": problem })
}
