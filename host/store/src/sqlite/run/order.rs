//! The order of runs (S9): of one mapping and one ordering key, only the first that blocks and what lies before
//! it may be claimed. Deferred runs do not block, so several may lie before it.
//!
//! `turn` is 1 for exactly those. Whatever makes a run block, or block no longer, calls one of the two functions
//! here in the same transaction; each changes only the rows whose turn changes.

use rusqlite::{Connection, params};

use crate::{
    StoreError,
    sqlite::row::{all, change, first},
};

/// While turns are right, the head has its turn; when it has just gone, the next one has not yet.
const HEAD: &str = "
    SELECT coalesce(
        (SELECT min(event_seq) FROM runs INDEXED BY runs_order
         WHERE open = 1 AND mapping = ?1 AND ordering_key = ?2 AND blocks = 1 AND turn = 1),
        (SELECT min(event_seq) FROM runs INDEXED BY runs_order
         WHERE open = 1 AND mapping = ?1 AND ordering_key = ?2 AND blocks = 1 AND turn = 0))";

const TO_GIVE: &str = "
    SELECT seq FROM runs INDEXED BY runs_order
    WHERE open = 1 AND mapping = ?1 AND ordering_key = ?2 AND blocks = 0 AND turn = 0 AND event_seq <= ?3
    UNION ALL SELECT seq FROM runs INDEXED BY runs_order
    WHERE open = 1 AND mapping = ?1 AND ordering_key = ?2 AND blocks = 1 AND turn = 0 AND event_seq <= ?3";

const TO_TAKE: &str = "
    SELECT seq FROM runs INDEXED BY runs_order
    WHERE open = 1 AND mapping = ?1 AND ordering_key = ?2 AND blocks = 0 AND turn = 1 AND event_seq > ?3
    UNION ALL SELECT seq FROM runs INDEXED BY runs_order
    WHERE open = 1 AND mapping = ?1 AND ordering_key = ?2 AND blocks = 1 AND turn = 1 AND event_seq > ?3";

// One row at a time: an UPDATE that walks the index it changes would first copy its rows to a temporary table, which
// costs more than everything else when there is nothing to change, as is usual.
const SET_TURN: &str = "UPDATE runs SET turn = ?2 WHERE seq = ?1";

#[cfg(test)]
pub(super) const CLAIM_STATEMENTS: &[&str] = &[TO_TAKE, SET_TURN];

/// The first run of an order that blocks, by its event's place.
pub(super) fn head(conn: &Connection, mapping: &str, ordering_key: &str) -> Result<Option<i64>, StoreError> {
    Ok(first(conn, HEAD, [mapping, ordering_key], |c| c.get::<Option<i64>>())?.flatten())
}

/// After a run stopped blocking.
pub(super) fn unblocked(conn: &Connection, mapping: &str, ordering_key: &str) -> Result<(), StoreError> {
    let until = head(conn, mapping, ordering_key)?.unwrap_or(i64::MAX);
    set_turns(conn, TO_GIVE, (mapping, ordering_key, until), true)
}

/// After a run began to block: a deferred one that was claimed, so that it is first of all that block.
pub(super) fn blocked(
    conn: &Connection,
    mapping: &str,
    ordering_key: &str,
    event_seq: i64,
) -> Result<(), StoreError> {
    set_turns(conn, TO_TAKE, (mapping, ordering_key, event_seq), false)
}

fn set_turns(conn: &Connection, which: &str, of: (&str, &str, i64), turn: bool) -> Result<(), StoreError> {
    for seq in all(conn, which, of, |c| c.get::<i64>())? {
        change(conn, SET_TURN, params![seq, turn])?;
    }
    Ok(())
}
