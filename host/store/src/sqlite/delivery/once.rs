//! One call for one economic fact (S14). `onces` names, for each fact, the delivery that was leased for it last.
//! Nothing here waits for another delivery's turn: only for a lease, which ends by itself. So no two deliveries can
//! wait for each other, whatever their plans say. When that delivery is removed, the fact keeps how it ended.

use portolan_domain::Timestamp;
use rusqlite::{Connection, params};
use serde_json::Value;

use crate::{
    StoreError,
    sqlite::row::{change, first, millis},
};

const LAST: &str = "
    SELECT coalesce(o.delivery_seq, -1), coalesce(o.state, d.state), coalesce(o.doubt_since, d.doubt_since),
        coalesce(o.response, c.response), o.begun_at
    FROM onces o
    LEFT JOIN deliveries d ON d.seq = o.delivery_seq
    LEFT JOIN delivery_contents c ON c.delivery_seq = d.seq
    WHERE o.connection = ?1 AND o.once = ?2";

const TAKE: &str = "
    INSERT INTO onces (connection, once, delivery_seq, begun_at) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (connection, once) DO UPDATE SET delivery_seq = excluded.delivery_seq, state = NULL,
        doubt_since = NULL, response = NULL";

/// The fact outlives the delivery that was leased for it last, which is final.
const SETTLE: &str = "
    UPDATE onces SET delivery_seq = NULL, state = d.state, doubt_since = d.doubt_since, response = c.response
    FROM deliveries d JOIN delivery_contents c ON c.delivery_seq = d.seq
    WHERE d.seq = ?1 AND onces.connection = d.connection AND onces.once = c.once AND onces.delivery_seq = ?1";

const DOUBT: &str = "UPDATE deliveries SET doubt_since = ?2 WHERE seq = ?1";

/// Every statement of this file.
#[cfg(test)]
pub(in crate::sqlite) const STATEMENTS: &[&str] = &[LAST, TAKE, DOUBT];

/// What is known of a fact when a delivery is about to be leased for it.
pub(super) enum Fact {
    /// Another delivery is being made for it just now.
    UnderWay,
    /// Another delivery recorded it: this was the response.
    Made(Value),
    /// It is this delivery's to record.
    Open {
        /// The latest doubt whether it was recorded already, if any.
        doubt_since: Option<Timestamp>,
        /// When a call was first made for it: now, for the first.
        begun_at: Timestamp,
    },
}

/// A delivery is about to be removed: what it recorded is not forgotten.
pub(in crate::sqlite) fn settle(conn: &Connection, seq: i64) -> Result<(), StoreError> {
    change(conn, SETTLE, [seq])?;
    Ok(())
}

/// Whether this delivery is the one to record the fact; if so, it is from now on. It inherits the doubt of the one
/// before it; `doubt_since` is its own.
pub(super) fn take(
    conn: &Connection,
    (connection, once): (&str, &str),
    (seq, doubt_since): (i64, Option<Timestamp>),
    now: Timestamp,
) -> Result<Fact, StoreError> {
    let last = first(conn, LAST, [connection, once], |c| {
        Ok((c.get::<i64>()?, c.get::<String>()?, c.time_option()?, c.json()?, c.time_option()?))
    })?;
    let (inherited, begun_at) = match last {
        Some((last, _, _, _, begun_at)) if last == seq => {
            return Ok(Fact::Open { doubt_since, begun_at: begun_at.unwrap_or(now) });
        }
        Some((_, state, _, response, _)) if state == "delivered" => return Ok(Fact::Made(response)),
        Some((_, state, ..)) if state == "leased" => return Ok(Fact::UnderWay),
        Some((_, _, doubt_since, _, begun_at)) => (doubt_since, begun_at.unwrap_or(now)),
        None => (None, now),
    };
    change(conn, TAKE, params![connection, once, seq, millis(begun_at)])?;
    let doubt_since = doubt_since.max(inherited);
    change(conn, DOUBT, params![seq, doubt_since.map(millis)])?;
    Ok(Fact::Open { doubt_since, begun_at })
}
