//! Polls.

use std::time::Duration;

use async_trait::async_trait;
use portolan_domain::{Scope, SourceId, Timestamp};
use rusqlite::{Connection, params};

use super::{
    SqliteStore, alert,
    row::{Columns, all, change, first, integer, json, millis},
};
use crate::{
    Finish, Lease, StoreError,
    poll::{PollClaim, PollEnd, PollState, Polls, Sight},
};

const OWN: &str = "SELECT 1 FROM sources WHERE id = ?1 AND tenant = ?2 AND environment = ?3";

/// A suspended tenant's sources are not asked (S25).
const DUE: &str = "
    SELECT p.source, p.lease_epoch, p.cursor, p.failures FROM polls p
    JOIN sources s ON s.id = p.source JOIN tenants t ON t.id = s.tenant AND t.state = 'active'
    WHERE p.wake_at <= ?1 ORDER BY p.wake_at LIMIT ?2";

const NEXT_DUE: &str = "
    SELECT min(p.wake_at) FROM polls p
    JOIN sources s ON s.id = p.source JOIN tenants t ON t.id = s.tenant AND t.state = 'active'";

const LEASE: &str = "
    UPDATE polls SET wake_at = ?3, lease_owner = ?2, lease_epoch = lease_epoch + 1 WHERE source = ?1";

const FINISH: &str = "
    UPDATE polls SET wake_at = coalesce(?4, ?8 + every_ms), lease_owner = NULL, cursor = ?5, reason = ?6,
        failures = CASE WHEN ?7 THEN failures + 1 ELSE 0 END, asked_at = CASE WHEN ?4 IS NOT NULL OR ?7 THEN asked_at ELSE ?8 END
    WHERE source = ?1 AND lease_owner = ?2 AND lease_epoch = ?3";

fn claim(
    conn: &Connection,
    (owner, lease_ms): (&str, u64),
    now: Timestamp,
    rows_max: usize,
) -> Result<Vec<PollClaim>, StoreError> {
    let rows_max = i64::try_from(rows_max).unwrap_or(i64::MAX);
    let claims = all(conn, DUE, params![millis(now), rows_max], |c| read(c, owner))?;
    for claim in &claims {
        let until = millis(now).saturating_add(integer(lease_ms));
        change(conn, LEASE, params![claim.source.as_str(), owner, until])?;
    }
    Ok(claims)
}

fn read(c: &mut Columns<'_, '_>, owner: &str) -> Result<PollClaim, StoreError> {
    let source = c.parsed()?;
    let epoch: u64 = c.count()?;
    let lease = Lease { owner: owner.to_owned(), epoch: epoch.saturating_add(1) };
    Ok(PollClaim { source, lease, cursor: c.json()?, failures: c.count()? })
}

fn own(conn: &Connection, scope: &Scope, source: &SourceId) -> Result<(), StoreError> {
    let params = [source.as_str(), scope.tenant.as_str(), scope.environment.as_str()];
    first(conn, OWN, params, |c| c.get::<i64>())?.map(|_| ()).ok_or(StoreError::NotFound)
}

/// Has a source asked at once and then every so often; or no longer. Whose it is was looked at.
pub(super) fn schedule(
    conn: &Connection,
    source: &SourceId,
    every: Option<Duration>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let Some(every) = every else {
        change(conn, "DELETE FROM polls WHERE source = ?1", [source.as_str()])?;
        return Ok(());
    };
    let every_ms = i64::try_from(every.as_millis()).unwrap_or(i64::MAX);
    let sql = "INSERT INTO polls (source, every_ms, wake_at) VALUES (?1, ?2, ?3)
               ON CONFLICT (source) DO UPDATE SET every_ms = excluded.every_ms,
                   wake_at = CASE WHEN lease_owner IS NULL THEN excluded.wake_at ELSE wake_at END";
    change(conn, sql, params![source.as_str(), every_ms, millis(now)])?;
    Ok(())
}

/// Ends every lease that `owner` does not hold.
pub(super) fn end_foreign(conn: &Connection, owner: &str, now: Timestamp) -> Result<u64, StoreError> {
    let sql = "UPDATE polls SET wake_at = ?2, lease_owner = NULL WHERE lease_owner IS NOT NULL AND lease_owner <> ?1";
    Ok(change(conn, sql, params![owner, millis(now)])? as u64)
}

#[async_trait]
impl Polls for SqliteStore {
    async fn poll_schedule(
        &self,
        scope: &Scope,
        source: &SourceId,
        every: Option<Duration>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (scope, source) = (scope.clone(), source.clone());
        self.write(move |tx| {
            own(tx.conn, &scope, &source)?;
            schedule(tx.conn, &source, every, now)
        })
        .await
    }

    async fn poll_claim(
        &self,
        owner: &str,
        now: Timestamp,
        lease_ms: u64,
        rows_max: usize,
    ) -> Result<Vec<PollClaim>, StoreError> {
        let owner = owner.to_owned();
        self.write(move |tx| claim(tx.conn, (&owner, lease_ms), now, rows_max)).await
    }

    async fn poll_finish(
        &self,
        claim: &PollClaim,
        scope: &Scope,
        end: PollEnd,
        now: Timestamp,
    ) -> Result<Finish, StoreError> {
        let (claim, scope) = (claim.clone(), scope.clone());
        self.write(move |tx| {
            let params = params![
                claim.source.as_str(),
                claim.lease.owner,
                integer(claim.lease.epoch),
                end.due_at.map(millis),
                json(&end.cursor),
                end.failure.as_ref().and_then(json),
                end.failure.is_some(),
                millis(now)
            ];
            if change(tx.conn, FINISH, params)? == 0 {
                return Ok(Finish::LeaseLost);
            }
            alert::raise(tx.conn, &scope, alert::From::default(), &end.alerts)?;
            Ok(Finish::Done)
        })
        .await
    }

    async fn poll_next_due(&self) -> Result<Option<Timestamp>, StoreError> {
        self.read(|conn| Ok(first(conn, NEXT_DUE, [], |c| c.time_option())?.flatten())).await
    }

    async fn poll_state(&self, scope: &Scope, source: &SourceId) -> Result<Option<PollState>, StoreError> {
        let (scope, source) = (scope.clone(), source.clone());
        self.read(move |conn| {
            own(conn, &scope, &source)?;
            let sql = "SELECT wake_at, asked_at, failures, reason FROM polls WHERE source = ?1";
            first(conn, sql, [source.as_str()], |c| {
                Ok(PollState {
                    due_at: c.time()?,
                    asked_at: c.time_option()?,
                    failures: c.count()?,
                    reason: c.json()?,
                })
            })
        })
        .await
    }

    async fn poll_sight(&self, source: &SourceId, object: &str) -> Result<Option<Sight>, StoreError> {
        let (source, object) = (source.clone(), object.to_owned());
        self.read(move |conn| {
            let sql = "SELECT version, number FROM poll_sights WHERE source = ?1 AND object = ?2";
            first(conn, sql, [source.as_str(), &object], |c| {
                Ok(Sight { version: c.get()?, number: c.count()? })
            })
        })
        .await
    }

    async fn poll_saw(&self, source: &SourceId, object: &str, sight: Sight) -> Result<(), StoreError> {
        let (source, object) = (source.clone(), object.to_owned());
        self.write(move |tx| {
            let sql = "INSERT INTO poll_sights (source, object, version, number) VALUES (?1, ?2, ?3, ?4)
                       ON CONFLICT (source, object) DO UPDATE SET version = excluded.version, number = excluded.number";
            change(tx.conn, sql, params![source.as_str(), object, sight.version, integer(sight.number)])?;
            Ok(())
        })
        .await
    }
}
