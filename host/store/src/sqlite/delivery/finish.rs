//! How an attempt ended, with all that follows from it, in one transaction.

use portolan_domain::{
    DeliveryId, Scope, Timestamp, contract::Reference, state::DeliveryState, verdict::CallFailure,
};
use portolan_proof::{Bug, has};
use rusqlite::{Connection, params};
use serde_json::Value;

use super::{order, plan};
use crate::{
    Finish, Lease, StoreError,
    delivery::DeliveryEnd,
    sqlite::{
        alert, reference,
        row::{Columns, all, change, first, integer, json, json_of, millis},
    },
};

const LEASED: &str = "
    SELECT seq, run_seq, event_seq, tenant, environment, mapping, ordering_key FROM deliveries
    WHERE id = ?1 AND state = 'leased' AND lease_owner = ?2 AND lease_epoch = ?3";

/// As [`LEASED`], for whoever comes: see [`Bug::NoEpoch`].
const LEASED_BY_ANYBODY: &str = "
    SELECT seq, run_seq, event_seq, tenant, environment, mapping, ordering_key FROM deliveries
    WHERE id = ?1 AND state = 'leased' AND ?2 IS NOT NULL AND ?3 IS NOT NULL";

const ATTEMPT_END: &str = "
    UPDATE attempts SET finished_at = ?2, verdict = ?3, detail = ?4
    WHERE delivery_seq = ?1 AND number = (SELECT attempts FROM deliveries WHERE seq = ?1)";

const SENT: &str = "UPDATE delivery_contents SET sent = ?2 WHERE delivery_seq = ?1";

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

const STOP: &str = "
    UPDATE deliveries SET state = ?2, lease_owner = NULL, wake_at = NULL, doubt_since = coalesce(?3, doubt_since, CASE WHEN ?2 = 'in-doubt' THEN ?5 END),
        reason = ?4, updated_at = ?5
    WHERE seq = ?1";

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
}

/// Seven columns, in this order.
pub(super) fn place(c: &mut Columns<'_, '_>) -> Result<Place, StoreError> {
    Ok(Place {
        seq: c.get()?,
        run_seq: c.get()?,
        event_seq: c.get()?,
        scope: c.scope()?,
        mapping: c.get()?,
        ordering_key: c.get()?,
    })
}

pub(super) fn finish(
    conn: &Connection,
    (id, lease): (&DeliveryId, &Lease),
    sent: Option<&Value>,
    end: &DeliveryEnd,
    now: Timestamp,
) -> Result<Finish, StoreError> {
    let guard = params![id.as_str(), lease.owner, integer(lease.epoch)];
    let Some(delivery) =
        first(conn, if has(Bug::NoEpoch) { LEASED_BY_ANYBODY } else { LEASED }, guard, place)?
    else {
        return Ok(Finish::LeaseLost);
    };
    if let Some(sent) = sent {
        change(conn, SENT, params![delivery.seq, json_of(sent)?])?;
    }
    match end {
        DeliveryEnd::Delivered { response, adopted, references } => {
            let verdict = if *adopted { "adopted" } else { "delivered" };
            attempt_end(conn, &delivery, verdict, None, now)?;
            delivered(conn, &delivery, response, references, (&Value::Null, now))?;
        }
        DeliveryEnd::Retry { due_at, failure, alerts } => {
            failed(conn, &delivery, failure, now)?;
            alert::raise(conn, &delivery.scope, alerts)?;
            let (doubt, reason) = (doubt(failure, now), json_of(failure.problem())?);
            change(conn, RETRY, params![delivery.seq, millis(*due_at), doubt, reason, millis(now)])?;
        }
        DeliveryEnd::InDoubt { failure, alerts } => {
            failed(conn, &delivery, failure, now)?;
            alert::raise(conn, &delivery.scope, alerts)?;
            stop(conn, &delivery, DeliveryState::InDoubt, failure, now)?;
        }
        DeliveryEnd::Dead { failure, alerts } => {
            failed(conn, &delivery, failure, now)?;
            alert::raise(conn, &delivery.scope, alerts)?;
            stop(conn, &delivery, DeliveryState::Dead, failure, now)?;
        }
    }
    Ok(Finish::Done)
}

/// The document is there: what waits for it goes on, and the run ends if this was its last.
pub(super) fn delivered(
    conn: &Connection,
    delivery: &Place,
    response: &Value,
    references: &[Reference],
    (reason, now): (&Value, Timestamp),
) -> Result<(), StoreError> {
    change(conn, DELIVERED, params![delivery.seq, json(reason), millis(now)])?;
    change(conn, RESPONDED, params![delivery.seq, json(response)])?;
    reference::remember(conn, &delivery.scope, delivery.event_seq, references)?;
    for later in all(conn, LATER, [delivery.seq], |c| c.get::<i64>())? {
        change(conn, FREE_LATER, [later])?;
    }
    order::advance(conn, &delivery.mapping, &delivery.ordering_key, now)?;
    plan::end_run(conn, delivery.run_seq, now)
}

/// When the doubt arose that this failure leaves; none when it leaves none of its own.
fn doubt(failure: &CallFailure, now: Timestamp) -> Option<i64> {
    matches!(failure, CallFailure::Ambiguous { .. }).then(|| millis(now))
}

fn verdict(failure: &CallFailure) -> &'static str {
    match failure {
        CallFailure::Permanent { problem } if problem.code == UNBOUND => UNBOUND,
        CallFailure::Permanent { .. } => "permanent",
        CallFailure::Retryable { .. } => "retryable",
        CallFailure::Ambiguous { .. } => "ambiguous",
        CallFailure::Unauthorized { .. } => "unauthorized",
    }
}

fn failed(
    conn: &Connection,
    delivery: &Place,
    failure: &CallFailure,
    now: Timestamp,
) -> Result<(), StoreError> {
    attempt_end(conn, delivery, verdict(failure), Some(json_of(failure)?), now)
}

fn attempt_end(
    conn: &Connection,
    delivery: &Place,
    verdict: &str,
    detail: Option<String>,
    now: Timestamp,
) -> Result<(), StoreError> {
    change(conn, ATTEMPT_END, params![delivery.seq, millis(now), verdict, detail])?;
    Ok(())
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
