//! The order of deliveries (S10): of one mapping and one ordering key, only those of the first event that still
//! has an open one may be made.
//!
//! `turn` is 1 for exactly those. A plan can come late (its run was deferred or held) and stand before others:
//! then theirs is taken back, unless they are leased already. Every change happens in the transaction that
//! caused it and touches only the rows whose turn changes.

use portolan_domain::Timestamp;
use rusqlite::{Connection, params};

use crate::{
    StoreError,
    sqlite::row::{all, change, first, millis},
};

const HEAD: &str = "
    SELECT min(event_seq) FROM deliveries INDEXED BY deliveries_order
    WHERE open = 1 AND mapping = ?1 AND ordering_key = ?2";

const TAKE_TURNS: &str = "
    UPDATE deliveries INDEXED BY deliveries_order SET turn = 0
    WHERE open = 1 AND mapping = ?1 AND ordering_key = ?2 AND event_seq = ?3 AND turn = 1";

const TO_GIVE: &str = "
    SELECT seq, state = 'waiting' AND after_open = 0 FROM deliveries INDEXED BY deliveries_order
    WHERE open = 1 AND mapping = ?1 AND ordering_key = ?2 AND event_seq = ?3
      AND (turn = 0 OR (state = 'waiting' AND after_open = 0))";

// One row at a time: an UPDATE of several rows of a table with triggers would first copy them to a temporary table,
// which costs more than everything else when there is nothing to change, as is usual.
const GIVE_TURN: &str = "UPDATE deliveries SET turn = 1 WHERE seq = ?1";
const SET_FREE: &str =
    "UPDATE deliveries SET turn = 1, state = 'pending', due = 1, due_at = ?2, updated_at = ?2 WHERE seq = ?1";

/// The first event of an order with an open delivery, by its place.
fn head(conn: &Connection, mapping: &str, ordering_key: &str) -> Result<Option<i64>, StoreError> {
    Ok(first(conn, HEAD, [mapping, ordering_key], |c| c.get::<Option<i64>>())?.flatten())
}

/// Before a plan is stored: whether its event is the first of its order now. If another was, it is no longer.
pub(super) fn enter(
    conn: &Connection,
    mapping: &str,
    ordering_key: &str,
    event_seq: i64,
) -> Result<bool, StoreError> {
    match head(conn, mapping, ordering_key)? {
        Some(first) if first < event_seq => Ok(false),
        Some(first) if first > event_seq => {
            change(conn, TAKE_TURNS, params![mapping, ordering_key, first])?;
            Ok(true)
        }
        Some(_) | None => Ok(true),
    }
}

/// After something became free or final: whoever is first now, and waits for nothing else, is due.
pub(super) fn advance(
    conn: &Connection,
    mapping: &str,
    ordering_key: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let Some(first) = head(conn, mapping, ordering_key)? else { return Ok(()) };
    let next = all(conn, TO_GIVE, params![mapping, ordering_key, first], |c| {
        Ok((c.get::<i64>()?, c.get::<bool>()?))
    })?;
    for (seq, free) in next {
        if free {
            change(conn, SET_FREE, params![seq, millis(now)])?;
        } else {
            change(conn, GIVE_TURN, [seq])?;
        }
    }
    Ok(())
}
