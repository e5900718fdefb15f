//! Which events come next, with what was recorded of them; and what came of those that are through.

use portolan_domain::{
    ModuleDigest, ReplayId, Scope, TenantId, Timestamp,
    contract::{Fact, kind_covers},
    replay::Class,
};
use rusqlite::{Connection, params};

use crate::{
    Page, StoreError,
    replay::{Asked, FuelProfile, Recorded, ReplayInput, ReplayItem, ReplayKind, ReplayPart},
    sqlite::{
        event,
        row::{Columns, all, change, first, millis},
    },
};

/// Events that are looked at for one part, whether they are meant or not.
const LOOKED_AT_MAX: u32 = 2_000;

const LOOK: &str = "
    SELECT e.seq, e.kind, e.object_id, e.received_at, r.seq
    FROM (SELECT seq, kind, object_id, received_at, source, payload_removed_at FROM events INDEXED BY events_scope
          WHERE tenant = ?1 AND environment = ?2 AND seq < ?3 ORDER BY seq DESC LIMIT ?5) e
    LEFT JOIN runs r ON r.event_seq = e.seq AND r.mapping = ?4
    WHERE e.source = (SELECT source FROM mappings WHERE id = ?4)
      -- What retention has removed cannot be executed again.
      AND e.payload_removed_at IS NULL
      -- A run without a record (not executed yet, or removed) is nothing to compare with.
      AND (r.seq IS NULL OR r.state = 'dead'
           OR EXISTS (SELECT 1 FROM run_records c WHERE c.run_seq = r.seq AND c.outcome IS NOT NULL))
    ORDER BY e.seq DESC";

const LOOKED_AT_LAST: &str = "
    SELECT min(seq), count(*) FROM (SELECT seq FROM events INDEXED BY events_scope
    WHERE tenant = ?1 AND environment = ?2 AND seq < ?3 ORDER BY seq DESC LIMIT ?4)";

const EVENT: &str = "
    SELECT id, tenant, environment, source, source_name, system, kind, object_id, idempotency_key,
        occurred_at, received_at, media_type, state, reason, payload, cards_masked, traceparent
    FROM events WHERE seq = ?1";

const RECORD: &str = "
    SELECT r.id, r.state, r.reason, c.outcome, c.module, coalesce(c.attempt, r.attempts), s.settings,
        c.settings_sha256 IS NOT NULL, c.facts, json_extract(c.cost, '$.fuel')
    FROM runs r LEFT JOIN run_records c ON c.run_seq = r.seq
    LEFT JOIN settings_texts s ON s.tenant = r.tenant AND s.sha256 = c.settings_sha256
    WHERE r.seq = ?1";

/// What a replay needs to find its events.
struct Place {
    seq: i64,
    tenant: String,
    environment: String,
    mapping: String,
    kind: ReplayKind,
    asked: Asked,
    cursor: i64,
    left: u64,
}

fn place(c: &mut Columns<'_, '_>) -> Result<Place, StoreError> {
    Ok(Place {
        seq: c.get()?,
        tenant: c.get()?,
        environment: c.get()?,
        mapping: c.get()?,
        kind: c.parsed()?,
        asked: c.json_option::<Asked>()?.unwrap_or_default(),
        cursor: c.get()?,
        left: c.count()?,
    })
}

/// The next events.
pub(super) fn next(conn: &Connection, id: &ReplayId, rows_max: usize) -> Result<ReplayPart, StoreError> {
    let sql =
        "SELECT seq, tenant, environment, mapping, kind, asked, cursor, max(events_max - events_done, 0)
               FROM replays WHERE id = ?1";
    let place = first(conn, sql, [id.as_str()], place)?.ok_or(StoreError::NotFound)?;
    // One state of the file, so that a run's record and its state belong together.
    let conn = &*conn.unchecked_transaction()?;
    match place.kind {
        ReplayKind::Shadow => waiting(conn, &place, rows_max),
        ReplayKind::Replay => stored(conn, &place, rows_max),
    }
}

/// The events that a shadow has still to be executed on, oldest first.
fn waiting(conn: &Connection, place: &Place, rows_max: usize) -> Result<ReplayPart, StoreError> {
    let sql = "SELECT i.event_seq, r.seq FROM replay_items i INDEXED BY replay_items_class
               LEFT JOIN runs r ON r.event_seq = i.event_seq AND r.mapping = ?2
               WHERE i.replay_seq = ?1 AND i.class IS NULL ORDER BY i.event_seq LIMIT ?3";
    let rows_max = i64::try_from(rows_max).unwrap_or(i64::MAX);
    let found = all(conn, sql, params![place.seq, place.mapping, rows_max], |c| {
        Ok((c.get::<i64>()?, c.get::<Option<i64>>()?))
    })?;
    let is_last = found.is_empty();
    let mut inputs = inputs(conn, found)?;
    inputs.iter_mut().for_each(|input| input.cursor = place.cursor);
    Ok(ReplayPart { inputs, cursor: place.cursor, is_last })
}

/// The next stored events that are meant, newest first.
fn stored(conn: &Connection, place: &Place, rows_max: usize) -> Result<ReplayPart, StoreError> {
    let scope = (place.tenant.as_str(), place.environment.as_str());
    let params = params![scope.0, scope.1, place.cursor, LOOKED_AT_MAX];
    let looked = first(conn, LOOKED_AT_LAST, params, |c| Ok((c.get::<Option<i64>>()?, c.get::<u32>()?)))?;
    let (Some(last), count) = looked.unwrap_or((None, 0)) else {
        return Ok(ReplayPart { inputs: Vec::new(), cursor: 0, is_last: true });
    };
    let params = params![scope.0, scope.1, place.cursor, place.mapping, LOOKED_AT_MAX];
    let seen = all(conn, LOOK, params, |c| {
        let (seq, kind, object, received_at) = (c.get()?, c.get::<String>()?, c.get()?, c.time()?);
        let run: Option<i64> = c.get()?;
        Ok((seq, run, is_meant(&place.asked, (&kind, object, received_at), run.is_some())))
    })?;
    let wanted = rows_max.min(usize::try_from(place.left).unwrap_or(usize::MAX));
    let found: Vec<(i64, Option<i64>)> = seen
        .into_iter()
        .filter(|(_, _, meant)| *meant)
        .map(|(seq, run, _)| (seq, run))
        .take(wanted)
        .collect();
    let is_full = found.len() == wanted;
    let cursor = found.last().filter(|_| is_full).map_or(last, |(seq, _)| *seq);
    let is_last = if is_full {
        found.len() >= usize::try_from(place.left).unwrap_or(usize::MAX)
    } else {
        count < LOOKED_AT_MAX
    };
    Ok(ReplayPart { inputs: inputs(conn, found)?, cursor, is_last })
}

fn is_meant(
    asked: &Asked,
    (kind, object, received_at): (&str, Option<String>, Timestamp),
    has_run: bool,
) -> bool {
    (has_run || asked.without_runs)
        && (asked.kinds.is_empty() || asked.kinds.iter().any(|pattern| kind_covers(pattern, kind)))
        && (asked.object_id.is_none() || asked.object_id == object)
        && asked.from.is_none_or(|from| received_at >= from)
        && asked.until.is_none_or(|until| received_at < until)
}

fn inputs(conn: &Connection, found: Vec<(i64, Option<i64>)>) -> Result<Vec<ReplayInput>, StoreError> {
    let of = |(event_seq, run_seq): (i64, Option<i64>)| {
        let event = first(conn, EVENT, [event_seq], event::read)?.ok_or(StoreError::NotFound)?;
        let recorded = match run_seq {
            None => None,
            Some(seq) => match first(conn, RECORD, [seq], recorded) {
                Ok(recorded) => recorded,
                // What cannot be read any more is nothing to compare with.
                Err(StoreError::Corrupt { .. }) => None,
                Err(error) => return Err(error),
            },
        };
        Ok(ReplayInput { event, recorded, cursor: event_seq })
    };
    found.into_iter().map(of).collect()
}

fn recorded(c: &mut Columns<'_, '_>) -> Result<Recorded, StoreError> {
    let (run, state, reason, outcome) = (c.parsed()?, c.parsed()?, c.json()?, c.json()?);
    let (module, attempt) = (c.parsed_option()?, c.count()?);
    let (settings, is_kept) = (c.json()?, c.get::<bool>()?);
    Ok(Recorded {
        run,
        state,
        reason,
        outcome,
        module,
        attempt,
        settings: is_kept.then_some(settings),
        facts: c.json_or_default::<Vec<Fact>>()?,
        fuel: c.get::<Option<i64>>()?.and_then(|fuel| u64::try_from(fuel).ok()).unwrap_or_default(),
    })
}

/// Events that may wait for a shadow; further ones are passed over, and counted.
const WAITING_MAX: i64 = 2_000;

/// A shadow is to be executed on an event whose run has just ended.
pub(in crate::sqlite) fn follow(
    conn: &Connection,
    shadow: &ReplayId,
    event_seq: i64,
    now: Timestamp,
) -> Result<(), StoreError> {
    let sql = "SELECT seq, EXISTS (SELECT 1 FROM replay_items i INDEXED BY replay_items_class
                   WHERE i.replay_seq = r.seq AND i.class IS NULL LIMIT 1 OFFSET ?2)
               FROM replays r WHERE id = ?1 AND state = 'running' AND kind = 'shadow'";
    let found = first(conn, sql, params![shadow.as_str(), WAITING_MAX - 1], |c| {
        Ok((c.get::<i64>()?, c.get::<bool>()?))
    })?;
    let Some((seq, is_full)) = found else { return Ok(()) };
    if is_full {
        change(conn, "UPDATE replays SET passed_over = passed_over + 1 WHERE seq = ?1", [seq])?;
        return Ok(());
    }
    let sql = "INSERT INTO replay_items (replay_seq, event_seq) VALUES (?1, ?2)
               ON CONFLICT (replay_seq, event_seq) DO UPDATE SET class = NULL, content = NULL";
    if change(conn, sql, params![seq, event_seq])? > 0 {
        let sql = "UPDATE replays SET wake_at = ?2 WHERE id = ?1 AND lease_owner IS NULL AND wake_at > ?2";
        change(conn, sql, params![shadow.as_str(), millis(now)])?;
    }
    Ok(())
}

/// What a module cost in its latest replay.
pub(super) fn fuel(
    conn: &Connection,
    tenant: &TenantId,
    module: &ModuleDigest,
) -> Result<Option<FuelProfile>, StoreError> {
    let sql =
        "SELECT seq, id FROM replays WHERE tenant = ?1 AND module = ?2 AND events_done > 0 AND forgotten = 0
               ORDER BY seq DESC LIMIT 1";
    let latest =
        first(conn, sql, [tenant.as_str(), module.as_str()], |c| Ok((c.get::<i64>()?, c.parsed()?)))?;
    let Some((seq, replay)) = latest else { return Ok(None) };
    let sql = "SELECT json_extract(content, '$.after.fuel') FROM replay_items
               WHERE replay_seq = ?1 AND class IS NOT NULL ORDER BY event_seq DESC LIMIT 1000";
    let mut fuel: Vec<u64> = all(conn, sql, [seq], |c| c.count())?;
    fuel.sort_unstable();
    // The first that as many as this share are not above.
    let at = |per_cent: usize| fuel.get((fuel.len() * per_cent).div_ceil(100).saturating_sub(1)).copied();
    let (Some(least), Some(median), Some(p99), Some(most)) = (at(0), at(50), at(99), at(100)) else {
        return Ok(None);
    };
    let events = u64::try_from(fuel.len()).unwrap_or(u64::MAX);
    Ok(Some(FuelProfile { replay, events, least, median, p99, most }))
}

/// What came of a replay's events, newest event first.
pub(super) fn items(
    conn: &Connection,
    (scope, id): (&Scope, &ReplayId),
    class: Option<Class>,
    page: &Page,
) -> Result<Vec<ReplayItem>, StoreError> {
    let sql = "SELECT seq FROM replays WHERE id = ?1 AND tenant = ?2 AND environment = ?3";
    let of = [id.as_str(), scope.tenant.as_str(), scope.environment.as_str()];
    let seq = first(conn, sql, of, |c| c.get::<i64>())?.ok_or(StoreError::NotFound)?;
    let find =
        "SELECT i.event_seq FROM events e JOIN replay_items i ON i.replay_seq = ?2 AND i.event_seq = e.seq
                WHERE e.id = ?1";
    let part = crate::sqlite::row::slice(conn, page, find, params![page.before, seq])?;
    let read = |c: &mut Columns<'_, '_>| c.json_option::<ReplayItem>();
    let rows = match class {
        Some(class) => {
            let sql = "SELECT content FROM replay_items INDEXED BY replay_items_class
                       WHERE replay_seq = ?1 AND class = ?2 AND event_seq < ?3 ORDER BY event_seq DESC LIMIT ?4";
            all(conn, sql, params![seq, class.as_str(), part.before_seq, part.rows], read)?
        }
        None => {
            let sql = "SELECT content FROM replay_items WHERE replay_seq = ?1 AND event_seq < ?2
                       AND class IS NOT NULL ORDER BY event_seq DESC LIMIT ?3";
            all(conn, sql, params![seq, part.before_seq, part.rows], read)?
        }
    };
    Ok(rows.into_iter().flatten().collect())
}
