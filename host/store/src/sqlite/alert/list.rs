//! Lists of alerts.

use portolan_domain::{Scope, state::AlertState};
use rusqlite::{Connection, ToSql, params};

use super::{rank, read};
use crate::{
    Page, StoreError,
    alert::{Alert, AlertFilter},
    sqlite::row::{Slice, all, millis, slice},
};

macro_rules! matching {
    () => {
        " AND a.seq < ?1 AND ((?2 AND a.acknowledged_at IS NULL) OR (?3 AND a.acknowledged_at IS NOT NULL))
          AND a.severity >= ?4 AND a.last_at >= ?5
          AND (?6 IS NULL OR (?7 IS NULL AND a.code = ?6) OR (a.code >= ?6 AND a.code < ?7))
         ORDER BY a.seq DESC LIMIT ?8"
    };
}

/// Those of a scope that are `open`, or that are not, newest first along the index.
const LIST: &str = concat!(
    "SELECT a.seq, ",
    columns!(),
    " FROM alerts a INDEXED BY alerts_scope WHERE a.tenant = ?9 AND a.environment = ?10 AND a.open = ?11",
    matching!()
);
/// Those of all tenants that are `open`, newest first along the index.
const LIST_EVERYWHERE: &str = concat!(
    "SELECT a.seq, ",
    columns!(),
    " FROM alerts a INDEXED BY alerts_unresolved WHERE a.open = 1",
    matching!()
);

/// What lists execute: see the test of what they cost.
#[cfg(test)]
pub(in crate::sqlite) const LIST_STATEMENTS: &[&str] = &[LIST, LIST_EVERYWHERE];

fn is_wanted(filter: &AlertFilter, state: AlertState) -> bool {
    filter.states.is_empty() || filter.states.contains(&state)
}

/// Whether many alerts may have to be walked over to fill a page: no index has what is asked for.
pub(super) fn is_search(filter: &AlertFilter) -> bool {
    is_wanted(filter, AlertState::Open) != is_wanted(filter, AlertState::Acknowledged)
        || filter.severity_least.is_some()
        || filter.since.is_some()
        || filter.code.is_some()
}

/// The newest of either kind, then the newest of those.
pub(super) fn list(
    conn: &Connection,
    scope: &Scope,
    filter: &AlertFilter,
    page: &Page,
) -> Result<Vec<Alert>, StoreError> {
    let (tenant, environment) = (scope.tenant.as_str(), scope.environment.as_str());
    let find = "SELECT seq FROM alerts WHERE id = ?1 AND tenant = ?2 AND environment = ?3";
    let part = slice(conn, page, find, params![page.before, tenant, environment])?;
    let resolved = is_wanted(filter, AlertState::Resolved);
    let mut found: Vec<(i64, Alert)> = Vec::new();
    for (is_open, kinds) in [(true, unresolved(filter)), (false, (resolved, resolved))] {
        let place = params![tenant, environment, is_open];
        found.extend(matching(conn, LIST, (filter, kinds), &part, place)?);
    }
    found.sort_unstable_by(|(a, _), (b, _)| b.cmp(a));
    found.truncate(part.rows as usize);
    Ok(found.into_iter().map(|(_, alert)| alert).collect())
}

/// Of all tenants, those that are not resolved.
pub(super) fn everywhere(
    conn: &Connection,
    filter: &AlertFilter,
    page: &Page,
) -> Result<Vec<Alert>, StoreError> {
    let part = slice(conn, page, "SELECT seq FROM alerts WHERE id = ?1", [&page.before])?;
    let found = matching(conn, LIST_EVERYWHERE, (filter, unresolved(filter)), &part, &[])?;
    Ok(found.into_iter().map(|(_, alert)| alert).collect())
}

/// Whether those are wanted that nobody looks after, and those that somebody does.
fn unresolved(filter: &AlertFilter) -> (bool, bool) {
    (is_wanted(filter, AlertState::Open), is_wanted(filter, AlertState::Acknowledged))
}

/// What one of the statements finds. `place`: what it takes besides the filter.
fn matching(
    conn: &Connection,
    sql: &str,
    (filter, (unseen, seen)): (&AlertFilter, (bool, bool)),
    part: &Slice,
    place: &[&dyn ToSql],
) -> Result<Vec<(i64, Alert)>, StoreError> {
    if !unseen && !seen {
        return Ok(Vec::new());
    }
    let (from, to) = codes(filter).unzip();
    let to = to.flatten();
    let (severity, since) = (filter.severity_least.map_or(0, rank), filter.since.map_or(0, millis));
    let filters = params![part.before_seq, unseen, seen, severity, since, from, to, part.rows];
    let params: Vec<&dyn ToSql> = filters.iter().chain(place).copied().collect();
    all(conn, sql, params.as_slice(), |c| Ok((c.get()?, read(c)?)))
}

/// The bounds of a code or of all codes that begin with it, as SQLite compares texts.
fn codes(filter: &AlertFilter) -> Option<(&str, Option<String>)> {
    let code = filter.code.as_deref()?;
    Some(match code.strip_suffix(".*") {
        // `/` follows `.`
        Some(family) => (code.strip_suffix('*').unwrap_or(code), Some(format!("{family}/"))),
        None => (code, None),
    })
}
