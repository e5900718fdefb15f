//! Plans that a connection's guard stops (S17): they are held instead, with an alert.

use std::collections::BTreeMap;

use portolan_domain::{AlertId, ConnectionId, Timestamp, contract::Severity, guard::Guard};
use rusqlite::{Connection, params};
use serde_json::{Value, json};

use crate::{
    StoreError,
    alert::NewAlert,
    run::{NewDelivery, RunEnd},
    sqlite::row::{change, first, millis},
};

/// Only of connections that have one.
const SETTINGS: &str = "
    SELECT settings FROM connections WHERE id = ?1
      AND (json_extract(settings, '$.documents_per_hour_max') IS NOT NULL
           OR json_extract(settings, '$.amount_max') IS NOT NULL)";

const SLOT_MS: i64 = 5 * 60 * 1_000;
/// Slots that make an hour, whenever in its slot it begins.
const SLOTS: i64 = 13;

const PLANNED: &str =
    "SELECT coalesce(sum(documents), 0) FROM planned_documents WHERE connection = ?1 AND slot > ?2";
const PLAN: &str = "
    INSERT INTO planned_documents (connection, slot, documents) VALUES (?1, ?2, ?3)
    ON CONFLICT (connection, slot) DO UPDATE SET documents = documents + excluded.documents";
const FORGET: &str = "DELETE FROM planned_documents WHERE connection = ?1 AND slot <= ?2";

/// What becomes of a plan that a guard stops; none when it may go on, which is counted.
pub(super) fn stop(conn: &Connection, end: &RunEnd, now: Timestamp) -> Result<Option<RunEnd>, StoreError> {
    let RunEnd::Planned { deliveries, held: None, .. } = end else { return Ok(None) };
    let mut by_connection: BTreeMap<&ConnectionId, Vec<&NewDelivery>> = BTreeMap::new();
    for delivery in deliveries {
        by_connection.entry(&delivery.connection).or_default().push(delivery);
    }
    let mut counts = Vec::new();
    for (connection, deliveries) in by_connection {
        let Some(guard) = guard_of(conn, connection)? else { continue };
        let documents = deliveries.len() as u64;
        let why = match deliveries.iter().find_map(|delivery| guard.exceeded_by(&delivery.ledger)) {
            Some(too_much) => Some(too_much),
            None => too_many(conn, connection, (&guard, documents), now)?,
        };
        if let Some(why) = why {
            return Ok(Some(held(end, connection, &why, now)));
        }
        if guard.documents_per_hour_max.is_some() {
            counts.push((connection, documents));
        }
    }
    // Only now: what is held was not planned.
    for (connection, documents) in counts {
        let slot = slot(now);
        change(conn, FORGET, params![connection.as_str(), slot - SLOTS])?;
        change(conn, PLAN, params![connection.as_str(), slot, i64::try_from(documents).unwrap_or(i64::MAX)])?;
    }
    Ok(None)
}

fn held(end: &RunEnd, connection: &ConnectionId, why: &str, now: Timestamp) -> RunEnd {
    let mut end = end.clone();
    if let RunEnd::Planned { alerts, held, .. } = &mut end {
        alerts.push(alert(connection, why, now));
        *held = Some(format!("the guard of {connection}: {why}"));
    }
    end
}

fn guard_of(conn: &Connection, connection: &ConnectionId) -> Result<Option<Guard>, StoreError> {
    let settings: Option<Value> = first(conn, SETTINGS, [connection.as_str()], |c| c.json())?;
    // A guard that does not read was never stored. Should one be there, nothing goes past it.
    let guard = settings.map(|settings| Guard::read(&settings)).transpose();
    guard.map_err(|_| StoreError::Conflict("the connection's guard does not read"))
}

fn too_many(
    conn: &Connection,
    connection: &ConnectionId,
    (guard, documents): (&Guard, u64),
    now: Timestamp,
) -> Result<Option<String>, StoreError> {
    let Some(most) = guard.documents_per_hour_max else { return Ok(None) };
    let counted = params![connection.as_str(), slot(now) - SLOTS];
    let planned: u64 = first(conn, PLANNED, counted, |c| c.count())?.unwrap_or_default();
    Ok((planned.saturating_add(documents) > most).then(|| {
        format!("{planned} documents within an hour and {documents} more, at most {most} without approval")
    }))
}

fn slot(now: Timestamp) -> i64 {
    millis(now) / SLOT_MS
}

fn alert(connection: &ConnectionId, why: &str, at: Timestamp) -> NewAlert {
    NewAlert {
        id: AlertId::generate(at),
        severity: Severity::Critical,
        code: "guard".to_owned(),
        title: format!("the guard of {connection} holds plans"),
        detail: json!({ "connection": connection, "why": why }),
        at,
    }
}
