//! How an attempt ended, with all that follows from it, in one transaction.

use portolan_domain::{
    DeliveryId, Scope, Timestamp,
    contract::Reference,
    notification::{DeliveryNews, News},
    state::DeliveryState,
    verdict::CallFailure,
};
use portolan_proof::{Bug, has};
use rusqlite::{Connection, params};
use serde_json::{Value, json};

use super::{order, plan};
use crate::{
    Finish, Lease, StoreError,
    audit::Change,
    connection::PAUSED_BY_HOST,
    delivery::{DeliveryEnd, Postponement, Sent},
    run::Decision,
    sqlite::{
        alert, connection,
        notification::tell,
        reference,
        row::{Columns, all, change, first, integer, json, json_of, millis},
        usage,
    },
};

const LEASED: &str = "
    SELECT seq, run_seq, event_seq, tenant, environment, mapping, ordering_key, connection FROM deliveries
    WHERE id = ?1 AND state = 'leased' AND lease_owner = ?2 AND lease_epoch = ?3";

/// As [`LEASED`], for whoever comes: see [`Bug::NoEpoch`].
const LEASED_BY_ANYBODY: &str = "
    SELECT seq, run_seq, event_seq, tenant, environment, mapping, ordering_key, connection FROM deliveries
    WHERE id = ?1 AND state = 'leased' AND ?2 IS NOT NULL AND ?3 IS NOT NULL";

const ATTEMPT_END: &str = "
    UPDATE attempts SET finished_at = ?2, verdict = ?3, detail = ?4, sent_sha256 = ?5
    WHERE delivery_seq = ?1 AND number = (SELECT attempts FROM deliveries WHERE seq = ?1)";

/// As it was planned or corrected, it is kept once.
const SENT: &str = "UPDATE delivery_contents SET sent = ?2 WHERE delivery_seq = ?1";

const IS_KEPT: &str = "
    SELECT 1 FROM delivery_contents
    WHERE delivery_seq = ?1 AND sent IS NULL AND coalesce(corrected, body) = ?2";

const SENT_BYTES: &str =
    "SELECT coalesce(octet_length(sent), 0) FROM delivery_contents WHERE delivery_seq = ?1";

const DELIVERED: &str = "
    UPDATE deliveries SET state = 'delivered', open = 0, doubt_since = NULL, due = 0, wake_at = NULL,
        lease_owner = NULL, reason = ?2, updated_at = ?3
    WHERE seq = ?1";

const RESPONDED: &str = "UPDATE delivery_contents SET response = ?2 WHERE delivery_seq = ?1";

const LATER: &str = "SELECT delivery_seq FROM delivery_after WHERE first_seq = ?1";
const FREE_LATER: &str = "UPDATE deliveries SET after_open = after_open - 1 WHERE seq = ?1";

const RETRY: &str = "
    UPDATE deliveries SET state = 'pending', lease_owner = NULL, due_at = ?2, due = ?2 <= ?5,
        wake_at = CASE WHEN ?2 <= ?5 THEN NULL ELSE ?2 END, doubt_since = coalesce(?3, doubt_since), reason = ?4,
        updated_at = ?5
    WHERE seq = ?1";

/// As [`RETRY`], and the attempt does not count.
const POSTPONE: &str = "
    UPDATE deliveries SET state = 'pending', lease_owner = NULL, due_at = ?2, due = ?2 <= ?4,
        wake_at = CASE WHEN ?2 <= ?4 THEN NULL ELSE ?2 END, absent_at = coalesce(?5, absent_at),
        attempts_before = attempts_before + 1, reason = ?3, updated_at = ?4
    WHERE seq = ?1";

/// A lease's epoch is its attempt's number: both rise by one with every claim.
const LATE: &str = "
    UPDATE attempts SET late = ?3
    WHERE number = ?2 AND verdict = 'abandoned' AND owner = ?4
      AND delivery_seq = (SELECT seq FROM deliveries WHERE id = ?1)";

const LATE_RESPONSE: &str = "
    UPDATE delivery_contents SET late_response = ?2
    WHERE delivery_seq = (SELECT seq FROM deliveries WHERE id = ?1 AND open = 1)";

const STOP: &str = "
    UPDATE deliveries SET state = ?2, lease_owner = NULL, wake_at = NULL, doubt_since = coalesce(?3, doubt_since, CASE WHEN ?2 = 'in-doubt' THEN ?5 END),
        reason = ?4, updated_at = ?5
    WHERE seq = ?1";

const DONE: &str = "
    SELECT d.id, e.id, r.id, d.key, d.operation FROM deliveries d
    JOIN events e ON e.seq = d.event_seq JOIN runs r ON r.seq = d.run_seq WHERE d.seq = ?1";

/// A problem with this code is a value to copy that was missing: nothing was sent.
const UNBOUND: &str = "unbound";

/// A delivery and its place in its order.
pub(super) struct Place {
    pub(super) seq: i64,
    pub(super) run_seq: i64,
    pub(super) event_seq: i64,
    pub(super) scope: Scope,
    pub(super) mapping: String,
    pub(super) ordering_key: String,
    pub(super) connection: String,
}

/// Eight columns, in this order.
pub(super) fn place(c: &mut Columns<'_, '_>) -> Result<Place, StoreError> {
    Ok(Place {
        seq: c.get()?,
        run_seq: c.get()?,
        event_seq: c.get()?,
        scope: c.scope()?,
        mapping: c.get()?,
        ordering_key: c.get()?,
        connection: c.get()?,
    })
}

/// What the end of an attempt stores as JSON. Made before it is the writer's turn: see [`plan::Contents`].
#[derive(Debug)]
pub(super) struct Texts {
    sent: Option<String>,
    /// The failure.
    detail: Option<String>,
    response: Option<String>,
}

impl Texts {
    pub(super) fn of(sent: Option<&Sent>, end: &DeliveryEnd) -> Result<Self, StoreError> {
        let (_, failure) = verdict(end);
        Ok(Self {
            sent: sent.map(|sent| json_of(&sent.body)).transpose()?,
            detail: failure.map(json_of).transpose()?,
            response: match end {
                DeliveryEnd::Delivered { response, .. } => json(response),
                DeliveryEnd::Retry { .. }
                | DeliveryEnd::Postponed { .. }
                | DeliveryEnd::InDoubt { .. }
                | DeliveryEnd::Dead { .. } => None,
            },
        })
    }

    /// About how many are stored.
    pub(super) fn bytes(&self) -> usize {
        [&self.sent, &self.detail, &self.response].into_iter().flatten().map(String::len).sum()
    }
}

pub(super) fn finish(
    conn: &Connection,
    (id, lease): (&DeliveryId, &Lease),
    (sent, end): (Option<&Sent>, &DeliveryEnd),
    texts: &Texts,
    now: Timestamp,
) -> Result<Finish, StoreError> {
    let guard = params![id.as_str(), lease.owner, integer(lease.epoch)];
    let leased = if has(Bug::NoEpoch) { LEASED_BY_ANYBODY } else { LEASED };
    let Some(delivery) = first(conn, leased, guard, place)? else {
        late(conn, (id, lease), end)?;
        return Ok(Finish::LeaseLost);
    };
    if let Some(body) = &texts.sent {
        keep_sent(conn, &delivery, body)?;
    }
    let (verdict, _) = verdict(end);
    let detail = &texts.detail;
    let sha256 = sent.map(|sent| &sent.sha256);
    change(conn, ATTEMPT_END, params![delivery.seq, millis(now), verdict, detail, sha256])?;
    match end {
        DeliveryEnd::Delivered { references, .. } => {
            delivered(conn, &delivery, texts.response.as_deref(), references, (&Value::Null, now))?;
        }
        DeliveryEnd::Retry { due_at, failure, alerts } => {
            alert::raise(conn, &delivery.scope, about(&delivery), alerts)?;
            let (doubt, reason) = (doubt(failure, now), json_of(failure.problem())?);
            change(conn, RETRY, params![delivery.seq, millis(*due_at), doubt, reason, millis(now)])?;
        }
        DeliveryEnd::Postponed { postponement, due_at, failure, alerts } => {
            alert::raise(conn, &delivery.scope, about(&delivery), alerts)?;
            postponed(conn, &delivery, (*postponement, *due_at), failure, now)?;
        }
        DeliveryEnd::InDoubt { failure, alerts } => {
            alert::raise(conn, &delivery.scope, about(&delivery), alerts)?;
            stop(conn, &delivery, DeliveryState::InDoubt, failure, now)?;
        }
        DeliveryEnd::Dead { failure, alerts } => {
            alert::raise(conn, &delivery.scope, about(&delivery), alerts)?;
            stop(conn, &delivery, DeliveryState::Dead, failure, now)?;
        }
    }
    portolan_proof::pass(portolan_proof::Point::ResultInserted);
    Ok(Finish::Done)
}

/// What was sent, unless it is what is kept already: most bodies are sent as they were planned.
fn keep_sent(conn: &Connection, delivery: &Place, body: &str) -> Result<(), StoreError> {
    if first(conn, IS_KEPT, params![delivery.seq, body], |c| c.get::<i64>())?.is_none() {
        let before = sent_bytes(conn, delivery.seq)?;
        change(conn, SENT, params![delivery.seq, body])?;
        stores(&delivery.scope, usage::length(Some(body)) - before);
    }
    Ok(())
}

/// How long the body is that was sent last, where it is not the planned one.
pub(super) fn sent_bytes(conn: &Connection, seq: i64) -> Result<i64, StoreError> {
    Ok(first(conn, SENT_BYTES, [seq], |c| c.get())?.unwrap_or_default())
}

fn stores(scope: &Scope, bytes: i64) {
    usage::stores(&scope.tenant, Some(scope.environment), bytes);
}

/// What a former owner reports changes no state. A response it has is worth keeping: the delivery is in doubt about
/// just that.
fn late(conn: &Connection, (id, lease): (&DeliveryId, &Lease), end: &DeliveryEnd) -> Result<(), StoreError> {
    let (verdict, failure) = verdict(end);
    let detail = match end {
        DeliveryEnd::Delivered { response, .. } => response.clone(),
        DeliveryEnd::Retry { .. }
        | DeliveryEnd::Postponed { .. }
        | DeliveryEnd::InDoubt { .. }
        | DeliveryEnd::Dead { .. } => json!(failure),
    };
    let report = json!({ "verdict": verdict, "detail": detail }).to_string();
    let known = change(conn, LATE, params![id.as_str(), integer(lease.epoch), report, lease.owner])?;
    if known > 0 && matches!(end, DeliveryEnd::Delivered { .. }) {
        change(conn, LATE_RESPONSE, params![id.as_str(), json(&detail)])?;
    }
    Ok(())
}

fn postponed(
    conn: &Connection,
    delivery: &Place,
    (postponement, due_at): (Postponement, Timestamp),
    failure: &CallFailure,
    now: Timestamp,
) -> Result<(), StoreError> {
    let problem = failure.problem();
    if postponement == Postponement::Refused {
        let why = format!("{}: {}", problem.code, problem.message);
        let pause = Decision { by: PAUSED_BY_HOST.to_owned(), why, at: now };
        connection::pause(conn, &delivery.connection, &pause)?;
    }
    let absent_at = (postponement == Postponement::Absent).then(|| millis(now));
    let reason = json_of(problem)?;
    change(conn, POSTPONE, params![delivery.seq, millis(due_at), reason, millis(now), absent_at])?;
    Ok(())
}

/// The document is there: what waits for it goes on, and the run ends if this was its last.
pub(super) fn delivered(
    conn: &Connection,
    delivery: &Place,
    response: Option<&str>,
    references: &[Reference],
    (reason, now): (&Value, Timestamp),
) -> Result<(), StoreError> {
    change(conn, DELIVERED, params![delivery.seq, json(reason), millis(now)])?;
    change(conn, RESPONDED, params![delivery.seq, response])?;
    stores(&delivery.scope, usage::length(response));
    reference::remember(conn, &delivery.scope, delivery.event_seq, references)?;
    for later in all(conn, LATER, [delivery.seq], |c| c.get::<i64>())? {
        change(conn, FREE_LATER, [later])?;
    }
    order::advance(conn, &delivery.mapping, &delivery.ordering_key, now)?;
    plan::end_run(conn, delivery.run_seq, now)?;
    tell_delivered(conn, delivery, references, now)
}

/// Success notifications, where somebody asked for them (S24).
fn tell_delivered(
    conn: &Connection,
    delivery: &Place,
    references: &[Reference],
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut listeners = tell::listeners(conn, &delivery.scope, tell::DELIVERIES)?;
    if listeners.is_empty() {
        return Ok(());
    }
    let read = |c: &mut Columns<'_, '_>| {
        let (id, event, run) = (c.parsed()?, c.parsed()?, c.parsed()?);
        Ok((id, event, run, c.get::<String>()?, c.get::<String>()?))
    };
    let Some((id, event, run, key, operation)) = first(conn, DONE, [delivery.seq], read)? else {
        return Ok(());
    };
    let (id, event, run, key) = (&id, &event, &run, key.as_str());
    let (operation, connection) = (operation.as_str(), delivery.connection.as_str());
    let news = DeliveryNews { id, event, run, key, operation, connection, references };
    let news = News::of_delivery(&delivery.scope, news, now);
    listeners.retain(|listener| listener.rule.tells_delivery(operation, connection));
    listeners.iter().try_for_each(|listener| tell::store(conn, &delivery.scope, listener, &news))
}

/// When the doubt arose that this failure leaves; none when it leaves none of its own.
fn doubt(failure: &CallFailure, now: Timestamp) -> Option<i64> {
    matches!(failure, CallFailure::Ambiguous { .. }).then(|| millis(now))
}

/// As it is written beside the attempt, and the failure where there is one.
fn verdict(end: &DeliveryEnd) -> (&'static str, Option<&CallFailure>) {
    let failure = match end {
        DeliveryEnd::Delivered { adopted: true, .. } => return ("adopted", None),
        DeliveryEnd::Delivered { adopted: false, .. } => return ("delivered", None),
        DeliveryEnd::Retry { failure, .. }
        | DeliveryEnd::Postponed { failure, .. }
        | DeliveryEnd::InDoubt { failure, .. }
        | DeliveryEnd::Dead { failure, .. } => failure,
    };
    let verdict = match failure {
        CallFailure::Permanent { problem } if problem.code == UNBOUND => UNBOUND,
        CallFailure::Permanent { .. } => "permanent",
        CallFailure::Retryable { .. } => "retryable",
        CallFailure::Ambiguous { .. } => "ambiguous",
        CallFailure::Unauthorized { .. } => "unauthorized",
    };
    (verdict, Some(failure))
}

/// A person must decide.
fn stop(
    conn: &Connection,
    delivery: &Place,
    state: DeliveryState,
    failure: &CallFailure,
    now: Timestamp,
) -> Result<(), StoreError> {
    let doubt = doubt(failure, now);
    let reason = json_of(failure.problem())?;
    change(conn, STOP, params![delivery.seq, state.as_str(), doubt, reason, millis(now)])?;
    Ok(())
}

/// The host has just paused the connection because its credentials were refused: the audit log tells of it.
pub(super) fn paused(
    conn: &Connection,
    id: &DeliveryId,
    end: &DeliveryEnd,
    now: Timestamp,
) -> Result<Option<Change>, StoreError> {
    let DeliveryEnd::Postponed { postponement: Postponement::Refused, .. } = end else { return Ok(None) };
    let sql = "SELECT c.tenant, c.environment, c.id, c.paused_why FROM deliveries d JOIN connections c ON c.id = d.connection
               WHERE d.id = ?1 AND c.paused_by = ?2 AND c.paused_at = ?3";
    first(conn, sql, params![id.as_str(), PAUSED_BY_HOST, millis(now)], |c| {
        let (scope, connection, why) = (c.scope()?, c.get::<String>()?, c.get::<String>()?);
        Ok(Change::of(&scope, "connection.pause", connection).with(json!({ "why": why })))
    })
}

/// A leased delivery whose row cannot be read waits for a person.
pub(super) fn unreadable(conn: &Connection, seq: i64, why: &str, now: Timestamp) -> Result<(), StoreError> {
    let sql = "SELECT seq, run_seq, event_seq, tenant, environment, mapping, ordering_key, connection
               FROM deliveries WHERE seq = ?1";
    let Some(delivery) = first(conn, sql, [seq], place)? else { return Ok(()) };
    alert::raise(conn, &delivery.scope, about(&delivery), &[alert::unreadable("delivery", why, now)])?;
    stop(conn, &delivery, DeliveryState::Dead, &CallFailure::permanent("unreadable", why), now)
}

/// Alerts that it raises are about its event.
fn about(delivery: &Place) -> alert::From<'static> {
    alert::From { event_seq: Some(delivery.event_seq), rule: None }
}
