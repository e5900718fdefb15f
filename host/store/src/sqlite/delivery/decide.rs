//! What people decide about deliveries.

use portolan_domain::{
    DeliveryId, RunId, Scope,
    contract::{Capture, Reference},
    pointer,
    state::DeliveryState,
};
use rusqlite::{Connection, params};
use serde_json::Value;

use super::{
    finish::{Place, delivered, place, sent_bytes},
    matching::{IN_DOUBT, OLDEST_FIRST, matching},
    order, plan,
};
use crate::{
    StoreError,
    delivery::{DeliveryFilter, Remapped},
    run::{Decided, Decision},
    sqlite::{
        decision,
        row::{Columns, change, first, json, json_list, millis},
        usage,
    },
};

const IN_SCOPE: &str = "
    SELECT seq, run_seq, event_seq, tenant, environment, mapping, ordering_key, connection, state, doubt_since IS NOT NULL
    FROM deliveries
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

/// The delivery and whether it is in doubt, if it is in one of the states that the decision is about.
fn in_states(
    conn: &Connection,
    scope: &Scope,
    id: &DeliveryId,
    (states, otherwise): (&[DeliveryState], &'static str),
) -> Result<(Place, bool), StoreError> {
    let params = [id.as_str(), scope.tenant.as_str(), scope.environment.as_str()];
    let read = |c: &mut Columns<'_, '_>| Ok((place(c)?, c.parsed::<DeliveryState>()?, c.get()?));
    let (delivery, state, in_doubt) = first(conn, IN_SCOPE, params, read)?.ok_or(StoreError::NotFound)?;
    if states.contains(&state) { Ok((delivery, in_doubt)) } else { Err(StoreError::Conflict(otherwise)) }
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
) -> Result<Decided, StoreError> {
    let (delivery, in_doubt) = in_states(conn, scope, id, STUCK)?;
    // What is surely not there may be sent by one person; what is in doubt may double a document.
    if in_doubt {
        let decided = decision::keep_or_propose(conn, scope, id.as_str(), ("redrive", &Value::Null), made)?;
        if decided == Decided::Proposed {
            return Ok(decided);
        }
    } else {
        decision::keep(conn, scope, id.as_str(), "redrive", made)?;
    }
    again(conn, &delivery, "redriven", made)
}

pub(super) fn resend(
    conn: &Connection,
    scope: &Scope,
    id: &DeliveryId,
    made: &Decision,
) -> Result<Decided, StoreError> {
    let (delivery, in_doubt) = in_states(conn, scope, id, STUCK)?;
    if !in_doubt {
        return Err(StoreError::Conflict("there is no doubt whether it was carried out: redrive it"));
    }
    let decided = decision::keep_or_propose(conn, scope, id.as_str(), ("resend", &Value::Null), made)?;
    if decided == Decided::Proposed {
        return Ok(decided);
    }
    change(
        conn,
        "UPDATE deliveries SET doubt_since = NULL, absent_at = NULL WHERE seq = ?1",
        [delivery.seq],
    )?;
    again(conn, &delivery, "resent", made)
}

fn again(conn: &Connection, delivery: &Place, code: &str, made: &Decision) -> Result<Decided, StoreError> {
    let reason = json(&decision::reason(code, made));
    change(conn, REDRIVE, params![delivery.seq, millis(made.at), reason])?;
    Ok(Decided::Done)
}

/// Dead ones only: those in doubt are looked at one by one.
pub(super) fn redrive_matching(
    conn: &Connection,
    scope: &Scope,
    (filter, rows_max): (&DeliveryFilter, u32),
    made: &Decision,
) -> Result<(u32, u32), StoreError> {
    let doubtful = matching(conn, scope, (DeliveryState::Dead, filter), IN_DOUBT, (-1, rows_max))?;
    let mut redriven = 0;
    let found = matching(conn, scope, (DeliveryState::Dead, filter), OLDEST_FIRST, (-1, rows_max))?;
    for (_, id) in found {
        let (delivery, _) = in_states(conn, scope, &id, STUCK)?;
        decision::keep(conn, scope, id.as_str(), "redrive", made)?;
        again(conn, &delivery, "redriven", made)?;
        redriven += 1;
    }
    Ok((redriven, u32::try_from(doubtful.len()).unwrap_or(u32::MAX)))
}

pub(super) fn correct(
    conn: &Connection,
    (scope, id): (&Scope, &DeliveryId),
    body: &Value,
    made: &Decision,
) -> Result<Decided, StoreError> {
    let (delivery, _) = in_states(conn, scope, id, STUCK)?;
    let decided = decision::keep_or_propose(conn, scope, id.as_str(), ("correct", body), made)?;
    if decided == Decided::Proposed {
        return Ok(decided);
    }
    put(conn, scope, delivery.seq, body)?;
    again(conn, &delivery, "corrected", made)
}

/// Another body beside the planned one.
fn put(conn: &Connection, scope: &Scope, seq: i64, body: &Value) -> Result<(), StoreError> {
    usage::stores(&scope.tenant, Some(scope.environment), -sent_bytes(conn, seq)?);
    let sql = "UPDATE delivery_contents SET corrected = ?2, sent = NULL WHERE delivery_seq = ?1";
    change(conn, sql, params![seq, json(body)])?;
    Ok(())
}

const OF_RUN: &str = "
    SELECT d.id FROM runs r JOIN deliveries d ON d.run_seq = r.seq
    WHERE r.id = ?1 AND r.tenant = ?2 AND r.environment = ?3 AND d.key = ?4 AND d.state IN ('dead', 'waiting')";

pub(super) fn remap(
    conn: &Connection,
    (scope, run): (&Scope, &RunId),
    remapped: &[Remapped],
    made: &Decision,
) -> Result<Vec<(DeliveryId, Decided)>, StoreError> {
    let mut done = Vec::new();
    for new in remapped {
        let params = [run.as_str(), scope.tenant.as_str(), scope.environment.as_str(), &new.key];
        let Some(id) = first(conn, OF_RUN, params, |c| c.parsed::<DeliveryId>())? else { continue };
        let (delivery, _) = in_states(conn, scope, &id, UNDER_WAY)?;
        let decided = decision::keep_or_propose(conn, scope, id.as_str(), ("correct", &new.body), made)?;
        if decided == Decided::Done {
            put(conn, scope, delivery.seq, &new.body)?;
            let sql = "UPDATE delivery_contents SET ledger = ?2 WHERE delivery_seq = ?1";
            change(conn, sql, params![delivery.seq, json_list(&new.ledger)?])?;
            if in_states(conn, scope, &id, STUCK).is_ok() {
                again(conn, &delivery, "remapped", made)?;
            }
        }
        done.push((id, decided));
    }
    Ok(done)
}

pub(super) fn assign(
    conn: &Connection,
    (scope, id): (&Scope, &DeliveryId),
    assignee: Option<&str>,
    made: &Decision,
) -> Result<(), StoreError> {
    let (delivery, _) = in_states(conn, scope, id, STUCK)?;
    decision::keep(conn, scope, id.as_str(), "assign", made)?;
    let sql = "UPDATE deliveries SET assignee = ?2, updated_at = ?3 WHERE seq = ?1";
    change(conn, sql, params![delivery.seq, assignee, millis(made.at)])?;
    Ok(())
}

pub(super) fn adopt(
    conn: &Connection,
    (scope, id): (&Scope, &DeliveryId),
    response: &Value,
    made: &Decision,
) -> Result<Decided, StoreError> {
    let (delivery, _) = in_states(conn, scope, id, STUCK)?;
    let decided = decision::keep_or_propose(conn, scope, id.as_str(), ("adopt", response), made)?;
    if decided == Decided::Proposed {
        return Ok(decided);
    }
    let sql = "SELECT captures FROM delivery_contents WHERE delivery_seq = ?1";
    let captures: Vec<Capture> =
        first(conn, sql, [delivery.seq], |c| c.json_or_default())?.unwrap_or_default();
    let references: Vec<Reference> =
        captures.into_iter().filter_map(|capture| captured(capture, response)).collect();
    let reason = decision::reason("adopted", made);
    delivered(conn, &delivery, json(response).as_deref(), &references, (&reason, made.at))?;
    Ok(Decided::Done)
}

/// The pair of ids that a response gives; none when it does not hold a usable id.
fn captured(capture: Capture, response: &Value) -> Option<Reference> {
    let id = pointer::id_at(response, &capture.pointer)?;
    Some(Reference { key: capture.key, system: capture.system, id })
}

/// `action` and `code` say which: given up on, or settled elsewhere.
pub(super) fn cancel(
    conn: &Connection,
    (scope, id): (&Scope, &DeliveryId),
    (action, code): (&'static str, &str),
    made: &Decision,
) -> Result<Decided, StoreError> {
    let (delivery, _) = in_states(conn, scope, id, UNDER_WAY)?;
    decision::keep(conn, scope, id.as_str(), action, made)?;
    let reason = json(&decision::reason(code, made));
    change(conn, CANCEL, params![delivery.seq, reason, millis(made.at)])?;
    order::advance(conn, &delivery.mapping, &delivery.ordering_key, made.at)?;
    plan::end_run(conn, delivery.run_seq, made.at)?;
    Ok(Decided::Done)
}
