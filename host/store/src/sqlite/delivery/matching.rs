//! Which deliveries a filter means: one state at a time, along its index.

use portolan_domain::{DeliveryId, Scope, state::DeliveryState};
use rusqlite::{Connection, params};

use crate::{
    StoreError,
    delivery::DeliveryFilter,
    sqlite::row::{all, millis},
};

macro_rules! find {
    ($bound:literal) => {
        concat!(
            "SELECT d.seq, d.id FROM deliveries d INDEXED BY deliveries_state
             WHERE d.tenant = ?1 AND d.environment = ?2 AND d.state = ?3
               AND (?4 IS NULL OR d.connection = ?4)
               AND (?5 IS NULL OR json_extract(d.reason, '$.code') = ?5)
               AND (?6 IS NULL OR (SELECT e.kind FROM events e WHERE e.seq = d.event_seq) = ?6)
               AND (?7 IS NULL OR d.assignee = ?7)
               AND (?8 IS NULL OR d.updated_at >= ?8)
               AND (?9 IS NULL OR d.updated_at < ?9) ",
            $bound
        )
    };
}

/// A list goes back from a place.
pub(super) const NEWEST_FIRST: &str = find!("AND d.seq < ?10 ORDER BY d.seq DESC LIMIT ?11");
/// Work goes on from a place. What is in doubt is not for many at once.
pub(super) const OLDEST_FIRST: &str =
    find!("AND d.doubt_since IS NULL AND d.seq > ?10 ORDER BY d.seq LIMIT ?11");

/// What work for many at once passes over.
pub(super) const IN_DOUBT: &str =
    find!("AND d.doubt_since IS NOT NULL AND d.seq > ?10 ORDER BY d.seq LIMIT ?11");

/// The places and ids of at most so many deliveries of a state that match, on from a place, in the order of `sql`.
/// The filter's own state is not looked at.
pub(super) fn matching(
    conn: &Connection,
    scope: &Scope,
    (state, filter): (DeliveryState, &DeliveryFilter),
    sql: &'static str,
    (from, rows_max): (i64, u32),
) -> Result<Vec<(i64, DeliveryId)>, StoreError> {
    let params = params![
        scope.tenant.as_str(),
        scope.environment.as_str(),
        state.as_str(),
        filter.connection.as_ref().map(|id| id.as_str()),
        filter.code,
        filter.kind,
        filter.assignee,
        filter.since.map(millis),
        filter.until.map(millis),
        from,
        rows_max
    ];
    all(conn, sql, params, |c| Ok((c.get()?, c.parsed()?)))
}
