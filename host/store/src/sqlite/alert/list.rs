//! Lists of alerts.

use portolan_domain::{Scope, state::AlertState};
use rusqlite::{Connection, params};

use super::{rank, read};
use crate::{
    Page, StoreError,
    alert::{Alert, AlertFilter},
    sqlite::row::{all, millis, slice},
};

/// Those that are `open`, or that are not, newest first along the index.
const LIST: &str = concat!(
    "SELECT a.seq, ",
    columns!(),
    " FROM alerts a INDEXED BY alerts_scope WHERE a.tenant = ?1 AND a.environment = ?2 AND a.open = ?3 AND a.seq < ?4
      AND ((?5 AND a.acknowledged_at IS NULL) OR (?6 AND a.acknowledged_at IS NOT NULL))
      AND a.severity >= ?7 AND a.last_at >= ?8
      AND (?9 IS NULL OR (?10 IS NULL AND a.code = ?9) OR (a.code >= ?9 AND a.code < ?10))
     ORDER BY a.seq DESC LIMIT ?11"
);

/// What lists execute: see the test of what they cost.
#[cfg(test)]
pub(in crate::sqlite) const LIST_STATEMENTS: &[&str] = &[LIST];

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
    let (open, acknowledged) =
        (is_wanted(filter, AlertState::Open), is_wanted(filter, AlertState::Acknowledged));
    let resolved = is_wanted(filter, AlertState::Resolved);
    let (from, to) = codes(filter).unzip();
    let to = to.flatten();
    let mut found: Vec<(i64, Alert)> = Vec::new();
    for (is_open, unseen, seen) in [(true, open, acknowledged), (false, resolved, resolved)] {
        if !unseen && !seen {
            continue;
        }
        let params = params![
            tenant,
            environment,
            is_open,
            part.before_seq,
            unseen,
            seen,
            filter.severity_least.map_or(0, rank),
            filter.since.map_or(0, millis),
            from,
            to,
            part.rows
        ];
        found.extend(all(conn, LIST, params, |c| Ok((c.get()?, read(c)?)))?);
    }
    found.sort_unstable_by(|(a, _), (b, _)| b.cmp(a));
    found.truncate(part.rows as usize);
    Ok(found.into_iter().map(|(_, alert)| alert).collect())
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
