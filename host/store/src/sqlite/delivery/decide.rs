//! What people decide about deliveries.

use portolan_domain::{
    DeliveryId, Scope,
    contract::{Capture, Reference},
    pointer,
    state::DeliveryState,
};
use rusqlite::{Connection, params};
use serde_json::Value;

use super::{
    finish::{Place, delivered, place},
    order, plan,
};
use crate::{
    StoreError,
    run::Decision,
    sqlite::{
        decision,
        row::{change, first, json, millis},
    },
};

const IN_SCOPE: &str = "
    SELECT seq, run_seq, event_seq, tenant, environment, mapping, ordering_key, state FROM deliveries
    WHERE id = ?1 AND tenant = ?2 AND environment = ?3";

const REDRIVE: &str = "
    UPDATE deliveries SET state = 'pending', due = 1, due_at = ?2, attempts_before = attempts, reason = ?3,
        updated_at = ?2
    WHERE seq = ?1";

const CANCEL: &str = "
    WITH RECURSIVE later (seq) AS (
        VALUES (?1)
        UNION SELECT a.delivery_seq FROM delivery_after a JOIN later l ON a.first_seq = l.seq)
    UPDATE deliveries SET state = 'cancelled', open = 0, due = 0, wake_at = NULL, reason = ?2, updated_at = ?3
    WHERE seq IN (SELECT seq FROM later) AND open = 1";

/// The delivery, if it is in one of the states that the decision is about.
fn in_states(
    conn: &Connection,
    scope: &Scope,
    id: &DeliveryId,
    (states, otherwise): (&[DeliveryState], &'static str),
) -> Result<Place, StoreError> {
    let params = [id.as_str(), scope.tenant.as_str(), scope.environment.as_str()];
    let (delivery, state) = first(conn, IN_SCOPE, params, |c| Ok((place(c)?, c.parsed::<DeliveryState>()?)))?
        .ok_or(StoreError::NotFound)?;
    if states.contains(&state) { Ok(delivery) } else { Err(StoreError::Conflict(otherwise)) }
}

const STUCK: (&[DeliveryState], &str) =
    (&[DeliveryState::Dead, DeliveryState::InDoubt], "the delivery is neither dead nor in doubt");

const UNDER_WAY: (&[DeliveryState], &str) = (
    &[
        DeliveryState::Waiting,
        DeliveryState::Pending,
        DeliveryState::Held,
        DeliveryState::InDoubt,
        DeliveryState::Dead,
    ],
    "the delivery is leased or final",
);

pub(super) fn redrive(
    conn: &Connection,
    scope: &Scope,
    id: &DeliveryId,
    made: &Decision,
) -> Result<(), StoreError> {
    let delivery = in_states(conn, scope, id, STUCK)?;
    decision::keep(conn, scope, id.as_str(), "redrive", made)?;
    let reason = json(&decision::reason("redriven", made));
    change(conn, REDRIVE, params![delivery.seq, millis(made.at), reason])?;
    Ok(())
}

pub(super) fn adopt(
    conn: &Connection,
    (scope, id): (&Scope, &DeliveryId),
    response: &Value,
    made: &Decision,
) -> Result<(), StoreError> {
    let delivery = in_states(conn, scope, id, STUCK)?;
    decision::keep(conn, scope, id.as_str(), "adopt", made)?;
    let sql = "SELECT captures FROM delivery_contents WHERE delivery_seq = ?1";
    let captures: Vec<Capture> =
        first(conn, sql, [delivery.seq], |c| c.json_or_default())?.unwrap_or_default();
    let references: Vec<Reference> =
        captures.into_iter().filter_map(|capture| captured(capture, response)).collect();
    let reason = decision::reason("adopted", made);
    delivered(conn, &delivery, response, &references, (&reason, made.at))
}

/// The pair of ids that a response gives; none when it does not hold a usable id.
fn captured(capture: Capture, response: &Value) -> Option<Reference> {
    let id = pointer::id_at(response, &capture.pointer)?;
    Some(Reference { key: capture.key, system: capture.system, id })
}

pub(super) fn cancel(
    conn: &Connection,
    scope: &Scope,
    id: &DeliveryId,
    made: &Decision,
) -> Result<(), StoreError> {
    let delivery = in_states(conn, scope, id, UNDER_WAY)?;
    decision::keep(conn, scope, id.as_str(), "cancel", made)?;
    let reason = json(&decision::reason("cancelled", made));
    change(conn, CANCEL, params![delivery.seq, reason, millis(made.at)])?;
    order::advance(conn, &delivery.mapping, &delivery.ordering_key, made.at)?;
    plan::end_run(conn, delivery.run_seq, made.at)
}
