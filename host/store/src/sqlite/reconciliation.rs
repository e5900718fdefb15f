//! Reconciliations: see [`crate::reconciliation`].

use std::path::Path;

use async_trait::async_trait;
use portolan_domain::{Scope, Timestamp};
use rusqlite::{Connection, params};

use super::{
    SqliteStore, backup,
    row::{all, change, first, integer, millis},
};
use crate::{
    StoreError,
    audit::Change,
    export::Wanted,
    reconciliation::{Backup, Incarnation, Reconciliation, Reconciliations, Unasked, Waiting},
    run::Decision,
};

/// An event's time is its sender's, whose clock may differ from ours: this many milliseconds.
const CLOCKS_DIFFER_MS: i64 = 300_000;

const GET: &str = "
    SELECT lost_from, restored_at, ended_at, ended_by, why FROM reconciliations
    WHERE tenant = ?1 AND environment = ?2";

const END: &str = "
    UPDATE reconciliations SET ended_at = ?3, ended_by = ?4, why = ?5
    WHERE tenant = ?1 AND environment = ?2 AND ended_at IS NULL";

const RUNS: &str = "
    SELECT count(*) FROM runs r INDEXED BY runs_state JOIN events e ON e.seq = r.event_seq
    WHERE r.tenant = ?1 AND r.environment = ?2 AND r.state IN ('pending', 'leased') AND e.occurred_at <= ?3";

const DELIVERIES: &str = "
    SELECT count(*) FROM deliveries d INDEXED BY deliveries_lost JOIN events e ON e.seq = d.event_seq
    WHERE d.tenant = ?1 AND d.environment = ?2 AND d.state IN ('pending', 'leased')
      AND d.lost_from IS NOT NULL AND d.open = 1 AND e.occurred_at <= ?3";

const PERSONS: &str = "
    SELECT count(*) FROM deliveries INDEXED BY deliveries_lost
    WHERE tenant = ?1 AND environment = ?2 AND state IN ('in-doubt', 'dead', 'held')
      AND lost_from IS NOT NULL AND open = 1";

const UNASKED: &str = "
    SELECT s.id, s.name, p.source IS NOT NULL FROM sources s LEFT JOIN polls p ON p.source = s.id
    WHERE s.tenant = ?1 AND s.environment = ?2 AND coalesce(p.asked_at, 0) < ?3 ORDER BY s.seq";

const PLANNED: &str = "
    SELECT r.lost_from, r.restored_at FROM reconciliations r CROSS JOIN events e
    WHERE r.tenant = ?1 AND r.environment = ?2 AND e.seq = ?3
      AND (r.ended_at IS NULL OR e.occurred_at <= r.restored_at + ?4)";

/// What a delivery of this event inherits when it is planned: since when attempts of it may be forgotten, and since when
/// it is in doubt. Nulls where nothing was restored.
pub(super) fn inherited(
    conn: &Connection,
    scope: &Scope,
    event_seq: i64,
) -> Result<(Option<i64>, Option<i64>), StoreError> {
    let (tenant, environment) = (scope.tenant.as_str(), scope.environment.as_str());
    let params = params![tenant, environment, event_seq, CLOCKS_DIFFER_MS];
    let found = first(conn, PLANNED, params, |c| Ok((Some(c.get()?), Some(c.get()?))))?;
    Ok(found.unwrap_or_default())
}

fn get(conn: &Connection, scope: &Scope) -> Result<Option<Reconciliation>, StoreError> {
    let (tenant, environment) = (scope.tenant.as_str(), scope.environment.as_str());
    let found = first(conn, GET, [tenant, environment], |c| {
        let (lost_from, restored_at, at) = (c.time()?, c.time()?, c.time_option()?);
        let (by, why): (Option<String>, Option<String>) = (c.get()?, c.get()?);
        let ended = at.zip(by).map(|(at, by)| Decision { by, why: why.unwrap_or_default(), at });
        let waiting = Waiting::default();
        Ok(Reconciliation { scope: scope.clone(), lost_from, restored_at, ended, waiting })
    })?;
    let Some(mut found) = found else { return Ok(None) };
    let count = |sql: &str, until: i64| {
        first(conn, sql, params![tenant, environment, until], |c| c.count()).map(Option::unwrap_or_default)
    };
    let until = millis(found.restored_at).saturating_add(CLOCKS_DIFFER_MS);
    found.waiting.persons = first(conn, PERSONS, [tenant, environment], |c| c.count())?.unwrap_or_default();
    if found.ended.is_none() {
        found.waiting.runs = count(RUNS, until)?;
        found.waiting.deliveries = count(DELIVERIES, until)?;
        let params = params![tenant, environment, millis(found.restored_at)];
        found.waiting.sources = all(conn, UNASKED, params, |c| {
            Ok(Unasked { source: c.parsed()?, name: c.get()?, can_be_asked: c.get()? })
        })?;
    }
    Ok(Some(found))
}

fn end(conn: &Connection, scope: &Scope, made: &Decision) -> Result<(), StoreError> {
    let (tenant, environment) = (scope.tenant.as_str(), scope.environment.as_str());
    match change(conn, END, params![tenant, environment, millis(made.at), made.by, made.why])? {
        0 => Err(StoreError::Conflict("no reconciliation is under way here")),
        _ => Ok(()),
    }
}

/// What the audit log tells of an end.
fn told(scope: &Scope, why: &str) -> Change {
    let detail = serde_json::json!({ "why": why });
    Change::of(scope, "reconciliation.end", scope.environment.as_str()).with(detail)
}

#[async_trait]
impl Reconciliations for SqliteStore {
    async fn incarnation(&self) -> Result<Incarnation, StoreError> {
        self.read(|conn| {
            let sql = "SELECT number, restored_at FROM incarnations ORDER BY number DESC LIMIT 1";
            let read = first(conn, sql, [], |c| {
                Ok(Incarnation { number: c.count()?, restored_at: c.time_option()? })
            });
            read?.ok_or(StoreError::NotFound)
        })
        .await
    }

    async fn backup(&self, to: &Path, now: Timestamp, wanted: Wanted) -> Result<Backup, StoreError> {
        let bytes =
            self.copy(to, wanted, move |conn, to, wanted| backup::write(conn, to, now, wanted)).await?;
        let detail = serde_json::json!({ "bytes": integer(bytes) });
        let told = Change::of_host("backup.take", now.to_string()).with(detail);
        self.audited(told, |_| Ok(())).await?;
        Ok(Backup { taken_at: now, bytes })
    }

    async fn reconciliation_list(&self) -> Result<Vec<Reconciliation>, StoreError> {
        self.read(|conn| {
            let conn = &*conn.unchecked_transaction()?;
            let sql = "SELECT tenant, environment FROM reconciliations WHERE ended_at IS NULL";
            let scopes = all(conn, sql, [], |c| c.scope())?;
            scopes.iter().filter_map(|scope| get(conn, scope).transpose()).collect()
        })
        .await
    }

    async fn reconciliation_get(&self, scope: &Scope) -> Result<Option<Reconciliation>, StoreError> {
        let scope = scope.clone();
        self.read(move |conn| get(&*conn.unchecked_transaction()?, &scope)).await
    }

    async fn reconciliation_end(&self, scope: &Scope, decision: Decision) -> Result<(), StoreError> {
        let scope = scope.clone();
        self.audited(told(&scope, &decision.why), move |tx| end(tx.conn, &scope, &decision)).await
    }

    async fn reconciliation_settle(&self, scope: &Scope, now: Timestamp) -> Result<bool, StoreError> {
        let scope = scope.clone();
        self.audited_after(move |tx| {
            let found = get(tx.conn, &scope)?;
            if !found.is_some_and(|found| found.ended.is_none() && found.waiting.is_over()) {
                return Ok((false, Vec::new()));
            }
            let why = "every source was asked to the end, and nothing from before the restore is under way";
            let made = Decision { by: crate::audit::HOST.to_owned(), why: why.to_owned(), at: now };
            end(tx.conn, &scope, &made)?;
            Ok((true, vec![told(&scope, why)]))
        })
        .await
    }
}
