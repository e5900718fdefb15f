//! Replays and shadows. `part` finds the next events and what was recorded of them; here stand the rows, leases and
//! reads.

use async_trait::async_trait;
use portolan_domain::{ModuleDigest, ReplayId, Scope, TenantId, Timestamp, replay::Class, replay::Tally};
use rusqlite::{Connection, params};
use serde_json::{Value, json};

use super::{
    SqliteStore,
    row::{Columns, all, change, first, integer, json as text_of, json_of, millis, slice},
};
use crate::{
    Finish, Lease, Page, StoreError,
    audit::Change,
    replay::{
        Asked, FuelProfile, NewReplay, Progress, Replay, ReplayClaim, ReplayEnd, ReplayItem, ReplayKind,
        ReplayPart, ReplayState, Replays,
    },
};

mod part;

pub(super) use part::follow;

/// Ended replays of an environment that are kept; the oldest goes when one is made.
const KEPT_MAX: u32 = 50;
/// Events of a shadow that are kept.
const SHADOWED_MAX: i64 = 10_000;
/// Of a shadow's events that it was executed on, only the newest are kept.
const PRUNE: &str = "
    DELETE FROM replay_items WHERE replay_seq = ?1 AND class IS NOT NULL AND event_seq <
        (SELECT event_seq FROM replay_items INDEXED BY replay_items_done
         WHERE replay_seq = ?1 AND class IS NOT NULL ORDER BY event_seq DESC LIMIT 1 OFFSET ?2)";
/// Never, for a column that may not be null.
const NEVER: i64 = i64::MAX;

macro_rules! columns {
    () => {
        "id, tenant, environment, mapping, module, kind, state, asked, tally, events_max, events_done, reason,
         promotion, by, created_at, updated_at, ended_at, passed_over"
    };
}

fn read(c: &mut Columns<'_, '_>) -> Result<Replay, StoreError> {
    Ok(Replay {
        id: c.parsed()?,
        scope: c.scope()?,
        mapping: c.parsed()?,
        module: c.parsed()?,
        kind: c.parsed()?,
        state: c.parsed()?,
        asked: c.json_option::<Asked>()?.unwrap_or_default(),
        tally: c.json_or_default::<Tally>()?,
        events_max: c.count()?,
        events_done: c.count()?,
        reason: c.json()?,
        promotion: c.json()?,
        by: c.get()?,
        created_at: c.time()?,
        updated_at: c.time()?,
        ended_at: c.time_option()?,
        passed_over: c.count()?,
    })
}

/// Where a leased replay stands in the file.
const LEASED: &str = "SELECT seq, kind FROM replays WHERE id = ?1 AND state = 'running' AND lease_owner = ?2 AND lease_epoch = ?3";

fn leased(conn: &Connection, id: &ReplayId, lease: &Lease) -> Result<Option<(i64, ReplayKind)>, StoreError> {
    let params = params![id.as_str(), lease.owner, integer(lease.epoch)];
    first(conn, LEASED, params, |c| Ok((c.get()?, c.parsed()?)))
}

/// Begins a replay; a shadow's stands with the mapping that it follows.
pub(super) fn create(
    conn: &Connection,
    scope: &Scope,
    new: &NewReplay,
    running_max: u64,
    now: Timestamp,
) -> Result<(), StoreError> {
    let (tenant, environment) = (scope.tenant.as_str(), scope.environment.as_str());
    let sql = "SELECT count(*) FROM replays WHERE tenant = ?1 AND state = 'running' AND kind = 'replay'
               AND wake_at IS NOT NULL";
    let running: u64 = first(conn, sql, [tenant], |c| c.count())?.unwrap_or_default();
    if new.kind == ReplayKind::Replay && running >= running_max {
        return Err(StoreError::Conflict(
            "other replays of this tenant are running; wait for one or cancel it",
        ));
    }
    forget(conn, tenant, environment)?;
    let sql = "INSERT INTO replays (id, tenant, environment, mapping, module, kind, state, asked, events_max, cursor,
                   wake_at, by, created_at, updated_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'running', ?7, ?8,
                   (SELECT coalesce(max(seq), 0) + 1 FROM events), ?9, ?10, ?11, ?11)";
    // A shadow sleeps until there is something to do.
    let wake_at = if new.kind == ReplayKind::Shadow { NEVER } else { millis(now) };
    let params = params![
        new.id.as_str(),
        tenant,
        environment,
        new.mapping.as_str(),
        new.module.as_str(),
        new.kind.as_str(),
        json_of(&new.asked)?,
        integer(new.events_max),
        wake_at,
        new.by,
        millis(now)
    ];
    change(conn, sql, params)?;
    Ok(())
}

/// Forgets the oldest ended replay of an environment that has too many: nobody sees it any more, and [`sweep`] removes it.
fn forget(conn: &Connection, tenant: &str, environment: &str) -> Result<(), StoreError> {
    let sql = "UPDATE replays SET forgotten = 1 WHERE seq = (
                   SELECT seq FROM replays WHERE tenant = ?1 AND environment = ?2 AND state <> 'running'
                       AND forgotten = 0 ORDER BY seq DESC LIMIT 1 OFFSET ?3)";
    change(conn, sql, params![tenant, environment, KEPT_MAX - 1])?;
    Ok(())
}

const FORGOTTEN: &str =
    "SELECT seq FROM replays INDEXED BY replays_forgotten WHERE forgotten = 1 ORDER BY seq LIMIT 1";

/// Whether a replay was forgotten that is not removed yet.
pub(super) fn is_any_forgotten(conn: &Connection) -> Result<bool, StoreError> {
    Ok(first(conn, FORGOTTEN, [], |c| c.get::<i64>())?.is_some())
}

/// Removes some items of a forgotten replay, or the replay, when it has none; how many rows.
pub(super) fn sweep(conn: &Connection, rows_max: u32) -> Result<u64, StoreError> {
    let Some(seq) = first(conn, FORGOTTEN, [], |c| c.get::<i64>())? else { return Ok(0) };
    let sql = "DELETE FROM replay_items WHERE (replay_seq, event_seq) IN (
                   SELECT replay_seq, event_seq FROM replay_items WHERE replay_seq = ?1 LIMIT ?2)";
    let removed = change(conn, sql, params![seq, rows_max])?;
    if removed > 0 {
        return Ok(removed as u64);
    }
    Ok(change(conn, "DELETE FROM replays WHERE seq = ?1", [seq])? as u64)
}

/// `NotFound` when a scope has no such replay, or has it no more.
fn exists(conn: &Connection, scope: &Scope, id: &ReplayId) -> Result<(), StoreError> {
    let sql = "SELECT 1 FROM replays WHERE id = ?1 AND tenant = ?2 AND environment = ?3 AND forgotten = 0";
    let params = [id.as_str(), scope.tenant.as_str(), scope.environment.as_str()];
    first(conn, sql, params, |c| c.get::<i64>())?.map(|_| ()).ok_or(StoreError::NotFound)
}

/// Those that may be executed now: `?1`.
const DUE: &str = "
    SELECT r.seq FROM replays r INDEXED BY replays_wake
    CROSS JOIN tenants t ON t.id = r.tenant AND t.state = 'active' AND t.paused_at IS NULL
    CROSS JOIN modules m ON m.tenant = r.tenant AND m.digest = r.module AND m.paused_at IS NULL
    WHERE r.wake_at IS NOT NULL AND r.wake_at <= ?1 ORDER BY r.wake_at LIMIT ?2";

fn claim(
    conn: &Connection,
    (owner, lease_ms): (&str, u64),
    now: Timestamp,
    rows_max: usize,
) -> Result<Vec<ReplayClaim>, StoreError> {
    let rows_max = i64::try_from(rows_max).unwrap_or(i64::MAX);
    let mut claims = Vec::new();
    for seq in all(conn, DUE, params![millis(now), rows_max], |c| c.get::<i64>())? {
        let sql = concat!(
            "SELECT lease_epoch, process_deaths, rests, ",
            columns!(),
            " FROM replays WHERE seq = ?1"
        );
        claims.extend(first(conn, sql, [seq], |c| {
            let epoch: u64 = c.count()?;
            let lease = Lease { owner: owner.to_owned(), epoch: epoch.saturating_add(1) };
            Ok(ReplayClaim { process_deaths: c.count()?, rests: c.count()?, replay: read(c)?, lease })
        })?);
    }
    for claim in &claims {
        let sql = "UPDATE replays SET lease_owner = ?2, lease_epoch = ?3, wake_at = ?4 WHERE id = ?1";
        let until = millis(now).saturating_add(integer(lease_ms));
        change(conn, sql, params![claim.replay.id.as_str(), owner, integer(claim.lease.epoch), until])?;
    }
    Ok(claims)
}

const CANCEL: &str = "
    UPDATE replays SET state = 'cancelled', lease_owner = NULL, wake_at = NULL, ended_at = ?2, updated_at = ?2
    WHERE id = ?1 AND state = 'running'";

/// Ends every lease that `owner` does not hold: the host that held it is gone.
pub(super) fn end_foreign(conn: &Connection, owner: &str, now: Timestamp) -> Result<u64, StoreError> {
    let sql = "UPDATE replays SET wake_at = ?2, lease_owner = NULL, process_deaths = process_deaths + 1
               WHERE lease_owner IS NOT NULL AND lease_owner <> ?1";
    Ok(change(conn, sql, params![owner, millis(now)])? as u64)
}

fn progress(
    conn: &Connection,
    seq: i64,
    kind: ReplayKind,
    progress: &Progress,
    now: Timestamp,
) -> Result<(), StoreError> {
    for item in &progress.items {
        let sql = "INSERT INTO replay_items (replay_seq, event_seq, class, content)
                   SELECT ?1, seq, ?3, ?4 FROM events WHERE id = ?2
                   ON CONFLICT (replay_seq, event_seq) DO UPDATE SET class = excluded.class, content = excluded.content";
        let content = text_of(&json!(item));
        change(conn, sql, params![seq, item.event.as_str(), item.class.as_str(), content])?;
    }
    let sql = "UPDATE replays SET tally = ?2, events_done = events_done + ?3, cursor = ?4, rests = 0,
                   process_deaths = 0, updated_at = ?5 WHERE seq = ?1";
    let done = i64::try_from(progress.items.len()).unwrap_or(i64::MAX);
    let params = params![seq, json_of(&progress.tally)?, done, progress.cursor, millis(now)];
    change(conn, sql, params)?;
    if kind == ReplayKind::Shadow {
        change(conn, PRUNE, params![seq, SHADOWED_MAX])?;
    }
    Ok(())
}

/// Takes a shadow off: it has ended when it was still running.
pub(super) fn take_off(conn: &Connection, id: &ReplayId, now: Timestamp) -> Result<(), StoreError> {
    change(conn, CANCEL, params![id.as_str(), millis(now)])?;
    Ok(())
}

/// Ends it, or gives its lease back; `got_on`: with a part more.
fn end(
    conn: &Connection,
    seq: i64,
    (got_on, end): (bool, &ReplayEnd),
    now: Timestamp,
) -> Result<(), StoreError> {
    let (state, reason, promotion) = match end {
        ReplayEnd::Done { promotion } => (ReplayState::Done, &Value::Null, promotion),
        ReplayEnd::Failed { reason } => (ReplayState::Failed, reason, &Value::Null),
        ReplayEnd::Rests { until } => {
            let sql = "UPDATE replays SET lease_owner = NULL, rests = rests + ?4, wake_at = CASE
                           WHEN EXISTS (SELECT 1 FROM replay_items WHERE replay_seq = ?1 AND class IS NULL)
                           THEN min(?2, ?3) ELSE ?3 END WHERE seq = ?1";
            // A shadow goes on soon when something waits, which may have come while it gave up its lease.
            let soon = millis(now).saturating_add(50);
            change(conn, sql, params![seq, soon, millis(*until), i64::from(!got_on)])?;
            return Ok(());
        }
    };
    let sql =
        "UPDATE replays SET state = ?2, reason = ?3, promotion = ?4, lease_owner = NULL, wake_at = NULL,
                   ended_at = ?5, updated_at = ?5 WHERE seq = ?1";
    change(conn, sql, params![seq, state.as_str(), text_of(reason), text_of(promotion), millis(now)])?;
    Ok(())
}

#[async_trait]
impl Replays for SqliteStore {
    async fn replay_create(
        &self,
        scope: &Scope,
        new: NewReplay,
        running_max: u64,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let scope = scope.clone();
        let detail = json!({ "mapping": new.mapping, "module": new.module, "events_max": new.events_max });
        let told = Change::of(&scope, "replay.create", new.id.as_str()).with(detail);
        self.audited(told, move |tx| create(tx.conn, &scope, &new, running_max, now)).await
    }

    async fn replay_get(&self, scope: &Scope, id: &ReplayId) -> Result<Replay, StoreError> {
        let (scope, id) = (scope.clone(), id.clone());
        self.read(move |conn| {
            let sql = concat!(
                "SELECT ",
                columns!(),
                " FROM replays WHERE id = ?1 AND tenant = ?2 AND environment = ?3 AND forgotten = 0"
            );
            let params = [id.as_str(), scope.tenant.as_str(), scope.environment.as_str()];
            first(conn, sql, params, read)?.ok_or(StoreError::NotFound)
        })
        .await
    }

    async fn replay_list(&self, scope: &Scope, page: Page) -> Result<Vec<Replay>, StoreError> {
        let scope = scope.clone();
        self.read(move |conn| {
            let (tenant, environment) = (scope.tenant.as_str(), scope.environment.as_str());
            let find = "SELECT seq FROM replays WHERE id = ?1 AND tenant = ?2 AND environment = ?3";
            let part = slice(conn, &page, find, params![page.before, tenant, environment])?;
            let sql = concat!(
                "SELECT ",
                columns!(),
                " FROM replays WHERE tenant = ?1 AND environment = ?2 AND seq < ?3 AND forgotten = 0
                  ORDER BY seq DESC LIMIT ?4"
            );
            all(conn, sql, params![tenant, environment, part.before_seq, part.rows], read)
        })
        .await
    }

    async fn replay_cancel(&self, scope: &Scope, id: &ReplayId, now: Timestamp) -> Result<(), StoreError> {
        let (scope, id) = (scope.clone(), id.clone());
        let told = Change::of(&scope, "replay.cancel", id.as_str());
        self.audited(told, move |tx| {
            let sql =
                "SELECT state = 'running' FROM replays WHERE id = ?1 AND tenant = ?2 AND environment = ?3 AND forgotten = 0";
            let params = [id.as_str(), scope.tenant.as_str(), scope.environment.as_str()];
            if !first(tx.conn, sql, params, |c| c.get::<bool>())?.ok_or(StoreError::NotFound)? {
                return Err(StoreError::Conflict("the replay has ended"));
            }
            change(tx.conn, CANCEL, params![id.as_str(), millis(now)])?;
            Ok(())
        })
        .await
    }

    async fn replay_items(
        &self,
        scope: &Scope,
        id: &ReplayId,
        class: Option<Class>,
        page: Page,
    ) -> Result<Vec<ReplayItem>, StoreError> {
        let (scope, id) = (scope.clone(), id.clone());
        self.read(move |conn| {
            exists(conn, &scope, &id)?;
            part::items(conn, (&scope, &id), class, &page)
        })
        .await
    }

    async fn replay_fuel(
        &self,
        tenant: &TenantId,
        module: &ModuleDigest,
    ) -> Result<Option<FuelProfile>, StoreError> {
        let (tenant, module) = (tenant.clone(), module.clone());
        self.read(move |conn| part::fuel(conn, &tenant, &module)).await
    }

    async fn replay_claim(
        &self,
        owner: &str,
        now: Timestamp,
        lease_ms: u64,
        rows_max: usize,
    ) -> Result<Vec<ReplayClaim>, StoreError> {
        // Looked at by a reader first: as a rule there is nothing, and a write costs a flush.
        let due = self.read(move |conn| first(conn, DUE, params![millis(now), 1], |c| c.get::<i64>()));
        if due.await?.is_none() {
            return Ok(Vec::new());
        }
        let owner = owner.to_owned();
        self.write(move |tx| claim(tx.conn, (&owner, lease_ms), now, rows_max)).await
    }

    async fn replay_part(&self, replay: &ReplayId, rows_max: usize) -> Result<ReplayPart, StoreError> {
        let replay = replay.clone();
        self.read(move |conn| part::next(conn, &replay, rows_max)).await
    }

    async fn replay_renew(
        &self,
        id: &ReplayId,
        lease: &Lease,
        until: Timestamp,
    ) -> Result<Finish, StoreError> {
        let (id, lease) = (id.clone(), lease.clone());
        self.write(move |tx| {
            let Some((seq, _)) = leased(tx.conn, &id, &lease)? else { return Ok(Finish::LeaseLost) };
            change(tx.conn, "UPDATE replays SET wake_at = ?2 WHERE seq = ?1", params![seq, millis(until)])?;
            Ok(Finish::Done)
        })
        .await
    }

    async fn replay_end(
        &self,
        id: &ReplayId,
        lease: &Lease,
        (made, ended): (Option<Progress>, ReplayEnd),
        now: Timestamp,
    ) -> Result<Finish, StoreError> {
        let (id, lease) = (id.clone(), lease.clone());
        self.write(move |tx| {
            let Some((seq, kind)) = leased(tx.conn, &id, &lease)? else { return Ok(Finish::LeaseLost) };
            if let Some(made) = &made {
                progress(tx.conn, seq, kind, made, now)?;
            }
            end(tx.conn, seq, (made.is_some(), &ended), now)?;
            Ok(Finish::Done)
        })
        .await
    }
}
