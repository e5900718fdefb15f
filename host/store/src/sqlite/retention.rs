//! Retention: see [`crate::retention`]. Every step is one short write.
//!
//! A sweep walks the events of a scope in their order, from where the last one came to (`sweeps`), as long as they are old
//! enough. What it passes over because something of it is not finished keeps its payload, facts and bodies until the
//! whole event is removed; the sweep of whole events begins anew when it has come to the end, so that it finds those again.

use async_trait::async_trait;
use portolan_domain::{EventId, Scope, TenantId, Timestamp};
use rusqlite::{Connection, params};
use sha2::{Digest, Sha256};

use super::{
    SqliteStore, audit, event, notification, replay,
    row::{all, change, first, integer, millis},
    usage::{self, HOUR_MS},
};
use crate::{
    StoreError,
    audit::{AuditKey, Audits, Change, HOST},
    retention::{Hidden, Noun, Retentions, Step, Swept, TenantNoun},
};

const CURSOR: &str = "SELECT event_seq FROM sweeps WHERE tenant = ?1 AND environment = ?2 AND noun = ?3";
const CURSOR_PUT: &str = "
    INSERT INTO sweeps (tenant, environment, noun, event_seq) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (tenant, environment, noun) DO UPDATE SET event_seq = excluded.event_seq";

/// Whether everything that followed from it is final: a run that is open, or an event that could not be used, waits.
const WALK: &str = "
    SELECT e.seq, e.received_at, e.state <> 'dead' AND NOT EXISTS (
        SELECT 1 FROM runs r WHERE r.event_seq = e.seq AND r.open = 1)
        AND NOT EXISTS (SELECT 1 FROM runs r JOIN deliveries d ON d.run_seq = r.seq
                        WHERE r.event_seq = e.seq AND d.open = 1)
    FROM events e INDEXED BY events_scope
    WHERE e.tenant = ?1 AND e.environment = ?2 AND e.seq > ?3 ORDER BY e.seq LIMIT ?4";

const PAYLOAD: &str = "SELECT payload FROM events WHERE seq = ?1";
const PAYLOAD_REMOVE: &str = "
    UPDATE events SET payload = x'', payload_sha256 = ?2, payload_removed_at = ?3 WHERE seq = ?1";

const RECORDS_BYTES: &str = concat!(
    "SELECT coalesce(sum(",
    usage::record_bytes!(),
    "), 0) FROM runs r JOIN run_records c ON c.run_seq = r.seq WHERE r.event_seq = ?1"
);
const RECORDS_REMOVE: &str = "
    UPDATE run_records SET outcome = NULL, facts = NULL, log = NULL, held_references = NULL
    WHERE run_seq IN (SELECT seq FROM runs WHERE event_seq = ?1)";

const BODIES_BYTES: &str = concat!(
    "SELECT coalesce(sum(",
    usage::body_bytes!(),
    "), 0)
    FROM runs r JOIN deliveries d ON d.run_seq = r.seq JOIN delivery_contents c ON c.delivery_seq = d.seq
    WHERE r.event_seq = ?1"
);
const RESPONSES_BYTES: &str = "
    SELECT coalesce(sum(coalesce(octet_length(c.response), 0)), 0)
    FROM runs r JOIN deliveries d ON d.run_seq = r.seq JOIN delivery_contents c ON c.delivery_seq = d.seq
    WHERE r.event_seq = ?1";
const BODIES_REMOVE: &str = "
    UPDATE delivery_contents SET body = NULL, sent = NULL, corrected = NULL, late_response = NULL, bindings = NULL,
        existence = NULL, captures = NULL
    WHERE delivery_seq IN (SELECT d.seq FROM runs r JOIN deliveries d ON d.run_seq = r.seq WHERE r.event_seq = ?1)";
const ATTEMPTS_REMOVE: &str = "
    DELETE FROM attempts
    WHERE delivery_seq IN (SELECT d.seq FROM runs r JOIN deliveries d ON d.run_seq = r.seq WHERE r.event_seq = ?1)";

const TOMBSTONE: &str = "
    INSERT INTO event_tombstones (source, idempotency_key, tenant, environment, event, payload_sha256, received_at,
        removed_at)
    SELECT source, idempotency_key, tenant, environment, id, coalesce(payload_sha256, ?2), received_at, ?3
    FROM events WHERE seq = ?1";

const ALERTS_OLD: &str = "
    SELECT seq FROM alerts INDEXED BY alerts_old
    WHERE tenant = ?1 AND environment = ?2 AND open = 0 AND resolved_at < ?3 ORDER BY resolved_at LIMIT ?4";
/// With the events that it was about.
const ALERT_REMOVE: [&str; 2] =
    ["DELETE FROM alert_events WHERE alert_seq = ?1", "DELETE FROM alerts WHERE seq = ?1"];

/// What was told of alerts and successes.
const NOTICES_REMOVE: &str = "
    DELETE FROM notices WHERE seq IN (
        SELECT seq FROM notices INDEXED BY notices_old
        WHERE tenant = ?1 AND environment = ?2 AND (state = 'sent' OR state = 'failed') AND updated_at < ?3
        ORDER BY updated_at LIMIT ?4)";

/// What sweeps execute that could walk over what is kept: see the test of what they cost.
#[cfg(test)]
pub(super) fn statements() -> Vec<&'static str> {
    [ALERTS_OLD, NOTICES_REMOVE].into_iter().chain(ALERT_REMOVE).collect()
}

const TOMBSTONES_REMOVE: &str = "
    DELETE FROM event_tombstones WHERE (source, idempotency_key) IN (
        SELECT source, idempotency_key FROM event_tombstones INDEXED BY event_tombstones_age
        WHERE tenant = ?1 AND removed_at < ?2 LIMIT ?3)";

const USAGE_REMOVE: &str = "
    DELETE FROM usage WHERE (tenant, environment, hour) IN (
        SELECT tenant, environment, hour FROM usage WHERE tenant = ?1 AND hour < ?2 LIMIT ?3)";

const MODULES_OLD: &str = "
    SELECT seq, digest, component_bytes FROM modules m
    WHERE tenant = ?1 AND uploaded_at < ?2
      AND NOT EXISTS (SELECT 1 FROM mappings p WHERE p.tenant = m.tenant
                      AND (p.module = m.digest OR json_extract(p.canary, '$.module') = m.digest))
      AND NOT EXISTS (SELECT 1 FROM mappings p JOIN pins n ON n.mapping = p.id
                      WHERE p.tenant = m.tenant AND n.module = m.digest)
      AND NOT EXISTS (SELECT 1 FROM replays r WHERE r.tenant = m.tenant AND r.module = m.digest)
    ORDER BY seq LIMIT ?3";

/// Removes one row with what hangs on it, or nothing: false when something that this file does not know refers to it.
fn remove_unless_pinned(
    conn: &Connection,
    remove: impl FnOnce() -> Result<(), StoreError>,
) -> Result<bool, StoreError> {
    conn.prepare_cached("SAVEPOINT one_row")?.execute([])?;
    let removed = remove();
    if removed.is_err() {
        conn.prepare_cached("ROLLBACK TO one_row")?.execute([])?;
    }
    conn.prepare_cached("RELEASE one_row")?.execute([])?;
    match removed {
        Ok(()) => Ok(true),
        // What a foreign key says: see `error`.
        Err(StoreError::NotFound) => Ok(false),
        Err(error) => Err(error),
    }
}

fn bytes(conn: &Connection, sql: &str, event_seq: i64) -> Result<i64, StoreError> {
    Ok(first(conn, sql, [event_seq], |c| c.get())?.unwrap_or_default())
}

fn payload(conn: &Connection, seq: i64) -> Result<Vec<u8>, StoreError> {
    Ok(first(conn, PAYLOAD, [seq], |c| c.get())?.unwrap_or_default())
}

/// How many bytes were removed; none when nothing could be.
fn remove(conn: &Connection, noun: Noun, seq: i64, now: Timestamp) -> Result<Option<i64>, StoreError> {
    match noun {
        Noun::Payloads => {
            let payload = payload(conn, seq)?;
            if payload.is_empty() {
                return Ok(None);
            }
            let sha256: [u8; 32] = Sha256::digest(&payload).into();
            change(conn, PAYLOAD_REMOVE, params![seq, sha256, millis(now)])?;
            Ok(Some(usage::length(Some(payload))))
        }
        Noun::Runs => {
            let removed = bytes(conn, RECORDS_BYTES, seq)?;
            change(conn, RECORDS_REMOVE, [seq])?;
            Ok(Some(removed))
        }
        Noun::Deliveries => {
            let removed = bytes(conn, BODIES_BYTES, seq)?;
            change(conn, ATTEMPTS_REMOVE, [seq])?;
            change(conn, BODIES_REMOVE, [seq])?;
            Ok(Some(removed))
        }
        Noun::Events => {
            let payload = payload(conn, seq)?;
            let mut removed = usage::length(Some(&payload));
            for sql in [RECORDS_BYTES, BODIES_BYTES, RESPONSES_BYTES] {
                removed += bytes(conn, sql, seq)?;
            }
            let sha256: [u8; 32] = Sha256::digest(&payload).into();
            let is_removed = remove_unless_pinned(conn, || {
                change(conn, TOMBSTONE, params![seq, sha256, millis(now)])?;
                event::remove(conn, seq)
            })?;
            Ok(is_removed.then_some(removed))
        }
        Noun::Alerts => Ok(None),
    }
}

/// One step along the events of a scope.
fn walk(conn: &Connection, scope: &Scope, step: &Step) -> Result<Swept, StoreError> {
    let (tenant, environment) = (scope.tenant.as_str(), scope.environment.as_str());
    let place = (tenant, environment, step.noun.as_str());
    let begun: i64 = first(conn, CURSOR, place, |c| c.get())?.unwrap_or_default();
    let events = all(conn, WALK, params![tenant, environment, begun, step.rows_max], |c| {
        Ok((c.get::<i64>()?, c.time()?, c.get::<bool>()?))
    })?;
    let full = events.len() >= usize::try_from(step.rows_max).unwrap_or(usize::MAX);
    let old: Vec<_> = events.iter().take_while(|(_, received_at, _)| *received_at < step.before).collect();
    let (mut removed, mut bytes) = (0, 0);
    for (seq, _, _) in old.iter().filter(|(_, _, is_final)| *is_final) {
        if let Some(of_event) = remove(conn, step.noun, *seq, step.now)? {
            removed += 1;
            bytes += of_event;
        }
    }
    usage::stores(&scope.tenant, Some(scope.environment), -bytes);
    let more = full && old.len() == events.len();
    let last = old.last().map_or(begun, |(seq, _, _)| *seq);
    // Whole events that were passed over are looked at again by the next sweep.
    let came_to = if step.noun == Noun::Events && !more { 0 } else { last };
    if came_to != begun {
        change(conn, CURSOR_PUT, params![tenant, environment, step.noun.as_str(), came_to])?;
    }
    Ok(Swept { removed, more })
}

fn alerts(conn: &Connection, scope: &Scope, step: &Step) -> Result<Swept, StoreError> {
    let params =
        params![scope.tenant.as_str(), scope.environment.as_str(), millis(step.before), step.rows_max];
    let old = all(conn, ALERTS_OLD, params, |c| c.get::<i64>())?;
    for (seq, sql) in old.iter().flat_map(|seq| ALERT_REMOVE.map(|sql| (seq, sql))) {
        change(conn, sql, [seq])?;
    }
    let notices = change(conn, NOTICES_REMOVE, params)?;
    let most = old.len().max(notices);
    Ok(Swept { removed: (old.len() + notices) as u64, ..swept(most, step.rows_max) })
}

fn swept(removed: usize, rows_max: u32) -> Swept {
    let removed = removed as u64;
    Swept { removed, more: removed >= u64::from(rows_max) }
}

/// Modules that nothing names: what a mapping is bound to, or something else refers to, stays. One at a time: a component
/// may have tens of MiB.
fn modules(
    conn: &Connection,
    tenant: &TenantId,
    (before, rows_max): (Timestamp, u32),
) -> Result<(Swept, Vec<Change>), StoreError> {
    let old = all(conn, MODULES_OLD, params![tenant.as_str(), millis(before), rows_max], |c| {
        Ok((c.get::<i64>()?, c.get::<String>()?, c.get::<i64>()?))
    })?;
    let mut told = Vec::new();
    for (seq, digest, bytes) in old {
        let is_removed = remove_unless_pinned(conn, || {
            change(conn, "DELETE FROM module_components WHERE module_seq = ?1", [seq])?;
            change(conn, "DELETE FROM modules WHERE seq = ?1", [seq])?;
            Ok(())
        })?;
        if is_removed {
            usage::stores(tenant, None, -bytes);
            told.push(Change::of_tenant(tenant, "module.remove", digest));
            break;
        }
    }
    // Those that something refers to are looked at by every step: more of them than `rows_max` end the sweep.
    Ok((Swept { removed: told.len() as u64, more: !told.is_empty() }, told))
}

fn of_tenant(
    conn: &Connection,
    (tenant, key): (Option<&TenantId>, &AuditKey),
    noun: TenantNoun,
    (before, rows_max): (Timestamp, u32),
) -> Result<(Swept, Vec<Change>), StoreError> {
    let name = tenant.map_or("", TenantId::as_str);
    let swept = match noun {
        TenantNoun::Tombstones => {
            swept(change(conn, TOMBSTONES_REMOVE, params![name, millis(before), rows_max])?, rows_max)
        }
        TenantNoun::Usage => {
            let hour = millis(before) / integer(HOUR_MS);
            swept(change(conn, USAGE_REMOVE, params![name, hour, rows_max])?, rows_max)
        }
        TenantNoun::Audit => {
            let chain = tenant.map_or(HOST, TenantId::as_str);
            let removed = audit::remove_oldest(conn, key, chain, (before, rows_max))?;
            Swept { removed, more: removed >= u64::from(rows_max) }
        }
        TenantNoun::Modules => match tenant {
            Some(tenant) => return modules(conn, tenant, (before, rows_max)),
            None => Swept::default(),
        },
    };
    Ok((swept, Vec::new()))
}

#[async_trait]
impl Retentions for SqliteStore {
    async fn sweep(&self, scope: &Scope, step: Step) -> Result<Swept, StoreError> {
        let scope = scope.clone();
        self.write(move |tx| match step.noun {
            Noun::Payloads | Noun::Runs | Noun::Deliveries | Noun::Events => walk(tx.conn, &scope, &step),
            Noun::Alerts => alerts(tx.conn, &scope, &step),
        })
        .await
    }

    async fn sweep_tenant(
        &self,
        tenant: Option<&TenantId>,
        noun: TenantNoun,
        before: Timestamp,
        rows_max: u32,
    ) -> Result<Swept, StoreError> {
        let (tenant, key) = (tenant.cloned(), Audits::audit_key(self));
        self.audited_after(move |tx| of_tenant(tx.conn, (tenant.as_ref(), &key), noun, (before, rows_max)))
            .await
    }

    async fn sweep_hidden(&self, hidden: Hidden, rows_max: u32) -> Result<Swept, StoreError> {
        let (is_any, sweep): (fn(&Connection) -> _, fn(&Connection, u32) -> _) = match hidden {
            Hidden::Notices => (notification::is_any_deleted, notification::sweep),
            Hidden::ReplayItems => (replay::is_any_forgotten, replay::sweep),
        };
        if !self.read(is_any).await? {
            return Ok(Swept::default());
        }
        let removed: u64 = self.write(move |tx| sweep(tx.conn, rows_max)).await?;
        Ok(Swept { removed, more: removed > 0 })
    }

    async fn payload_removed(&self, scope: &Scope, event: &EventId) -> Result<Option<Timestamp>, StoreError> {
        let (scope, event) = (scope.clone(), event.clone());
        self.read(move |conn| {
            let sql =
                "SELECT payload_removed_at FROM events WHERE id = ?1 AND tenant = ?2 AND environment = ?3";
            let params = [event.as_str(), scope.tenant.as_str(), scope.environment.as_str()];
            first(conn, sql, params, |c| c.time_option())?.ok_or(StoreError::NotFound)
        })
        .await
    }

    async fn file_bytes(&self) -> Result<(u64, u64), StoreError> {
        self.read(|conn| {
            let number = |pragma: &str| -> Result<u64, StoreError> {
                let number: i64 = conn.pragma_query_value(None, pragma, |row| row.get(0))?;
                Ok(u64::try_from(number).unwrap_or_default())
            };
            let (page, pages, free) =
                (number("page_size")?, number("page_count")?, number("freelist_count")?);
            Ok((pages.saturating_sub(free).saturating_mul(page), free.saturating_mul(page)))
        })
        .await
    }
}
