//! Events, and the runs that are stored with them.

use std::time::Duration;

use async_trait::async_trait;
use portolan_domain::{EventId, Scope, Timestamp, state::EventState, usage::Usage};
use rusqlite::{Connection, params};

use super::{
    SqliteStore,
    delivery::once,
    row::{Columns, all, change, first, integer, millis, slice},
    run, usage,
};
use crate::{
    Page, StoreError,
    event::{Accepted, Event, EventFilter, Events, NewRun},
};

const INSERT: &str = "
    INSERT INTO events (id, tenant, environment, source, source_name, system, kind, object_id,
        idempotency_key, occurred_at, received_at, media_type, state, reason, payload, cards_masked, traceparent)
    SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17
    WHERE NOT EXISTS (SELECT 1 FROM event_tombstones WHERE source = ?4 AND idempotency_key = ?9)
    ON CONFLICT (source, idempotency_key) DO NOTHING";

/// The event, or what is left of it when it was removed.
const FIRST_OF_KEY: &str = "
    SELECT id FROM events WHERE source = ?1 AND idempotency_key = ?2 AND tenant = ?3 AND environment = ?4
    UNION ALL SELECT event FROM event_tombstones
    WHERE source = ?1 AND idempotency_key = ?2 AND tenant = ?3 AND environment = ?4";

const GET: &str = "
    SELECT id, tenant, environment, source, source_name, system, kind, object_id, idempotency_key,
        occurred_at, received_at, media_type, state, reason, payload, cards_masked, traceparent
    FROM events WHERE id = ?1 AND tenant = ?2 AND environment = ?3";

/// The conditions of a filter are left out when they are null; each that an index serves has its own list of
/// candidates, so that a rare state or object is found without walking over all the others.
macro_rules! list {
    ($from:literal, $narrow:literal) => {
        concat!(
            "SELECT e.id, e.tenant, e.environment, e.source, e.source_name, e.system, e.kind, e.object_id, e.idempotency_key,
                e.occurred_at, e.received_at, e.media_type, e.state, e.reason, x'', e.cards_masked, e.traceparent
             FROM ",
            $from,
            " WHERE e.tenant = ?1 AND e.environment = ?2 AND e.seq < ?3
               AND (?4 IS NULL OR e.state = ?4) AND (?5 IS NULL OR e.kind = ?5)
               AND (?6 IS NULL OR e.object_id = ?6) AND (?7 IS NULL OR e.idempotency_key = ?7)
               AND (?9 IS NULL OR e.source = ?9)
               AND e.seq >= ?11 AND (?10 IS NULL OR e.received_at >= ?10)
               AND (?12 IS NULL OR e.received_at < ?12)",
            $narrow,
            " ORDER BY e.seq DESC LIMIT ?8"
        )
    };
}

const BY_SCOPE: &str = list!("events e INDEXED BY events_scope", "");
const BY_OBJECT: &str = list!("events e INDEXED BY events_object", " AND e.object_id = ?6");
const ASTRAY: &str = list!("events e INDEXED BY events_astray", " AND e.state = ?4 AND e.state <> 'routed'");
// Each source of the environment has one event with this key at most.
pub(super) const BY_KEY: &str = list!(
    "sources s CROSS JOIN events e ON e.source = s.id AND e.idempotency_key = ?7",
    " AND s.tenant = ?1 AND s.environment = ?2"
);

/// The places of the events that were received around a time: ids begin with it, and have an index.
const FIRST_FROM: &str = "SELECT seq FROM events WHERE id >= ?1 ORDER BY id LIMIT 1";
const LAST_BEFORE: &str = "SELECT seq FROM events WHERE id < ?1 ORDER BY id DESC LIMIT 1";
/// Events whose ids are so far apart stand in their order; nearer ones may have overtaken each other on their way to the
/// writer.
const SLACK: Duration = Duration::from_secs(600);

/// No event that was received at or after a time stands before this place: that of one that is surely older.
fn from_place(conn: &Connection, time: Timestamp) -> Result<i64, StoreError> {
    let time = Timestamp::from_millis(time.as_millis().saturating_sub(millis_of(SLACK)));
    Ok(first(conn, LAST_BEFORE, [EventId::least(time).as_str()], |c| c.get())?.unwrap_or(0))
}

/// No event that was received before a time stands behind this place: that of one that is surely younger.
fn to_place(conn: &Connection, time: Timestamp) -> Result<i64, StoreError> {
    let time = time.plus(SLACK);
    Ok(first(conn, FIRST_FROM, [EventId::least(time).as_str()], |c| c.get())?.unwrap_or(i64::MAX))
}

fn millis_of(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The columns of an event, in the order of [`GET`].
pub(super) fn read(c: &mut Columns<'_, '_>) -> Result<Event, StoreError> {
    Ok(Event {
        id: c.parsed()?,
        scope: c.scope()?,
        source: c.parsed()?,
        source_name: c.get()?,
        system: c.get()?,
        kind: c.get()?,
        object_id: c.get()?,
        idempotency_key: c.get()?,
        occurred_at: c.time()?,
        received_at: c.time()?,
        media_type: c.get()?,
        state: c.parsed()?,
        reason: c.get()?,
        payload: c.get()?,
        cards_masked: c.count()?,
        traceparent: c.get()?,
    })
}

fn accept(conn: &Connection, event: &Event, runs: &[NewRun]) -> Result<Accepted, StoreError> {
    let (tenant, environment) = (event.scope.tenant.as_str(), event.scope.environment.as_str());
    let params = params![
        event.id.as_str(),
        tenant,
        environment,
        event.source.as_str(),
        event.source_name,
        event.system,
        event.kind,
        event.object_id,
        event.idempotency_key,
        millis(event.occurred_at),
        millis(event.received_at),
        event.media_type,
        event.state.as_str(),
        event.reason,
        event.payload,
        event.cards_masked,
        event.traceparent
    ];
    if change(conn, INSERT, params)? == 0 {
        let params = params![event.source.as_str(), event.idempotency_key, tenant, environment];
        let id = first(conn, FIRST_OF_KEY, params, |c| c.parsed())?.ok_or(StoreError::NotFound)?;
        usage::count(&event.scope, event.received_at, &Usage { repeats: 1, ..Usage::default() });
        return Ok(Accepted::Repeat(id));
    }
    let event_seq = conn.last_insert_rowid();
    for new in runs {
        run::insert(conn, event, event_seq, new)?;
    }
    let (bytes_in, runs) = (event.payload.len() as u64, runs.len() as u64);
    let used = Usage { events: 1, bytes_in, runs, ..Usage::default() };
    usage::count(&event.scope, event.received_at, &used);
    usage::stores(&event.scope.tenant, Some(event.scope.environment), integer(bytes_in));
    portolan_proof::pass(portolan_proof::Point::EventInserted);
    Ok(Accepted::New)
}

/// Removes an event with all that followed from it. What was recorded once is settled first, so that it is not forgotten.
pub(super) fn remove(conn: &Connection, seq: i64) -> Result<(), StoreError> {
    for run in all(conn, RUNS_OF, [seq], |c| c.get::<i64>())? {
        for delivery in all(conn, DELIVERIES_OF, [run], |c| c.get::<i64>())? {
            once::settle(conn, delivery)?;
            for sql in REMOVE_OF_DELIVERY {
                change(conn, sql, [delivery])?;
            }
        }
        for sql in REMOVE_OF_RUN {
            change(conn, sql, [run])?;
        }
    }
    for sql in REMOVE_OF_EVENT {
        change(conn, sql, [seq])?;
    }
    Ok(())
}

const RUNS_OF: &str = "SELECT seq FROM runs WHERE event_seq = ?1";
const DELIVERIES_OF: &str = "SELECT seq FROM deliveries WHERE run_seq = ?1";
const REMOVE_OF_DELIVERY: [&str; 3] = [
    "DELETE FROM attempts WHERE delivery_seq = ?1",
    "DELETE FROM delivery_after WHERE first_seq = ?1",
    "DELETE FROM delivery_contents WHERE delivery_seq = ?1",
];
/// When all its deliveries are through: an edge between two of them is found at the first.
const REMOVE_OF_RUN: [&str; 3] = [
    "DELETE FROM deliveries WHERE run_seq = ?1",
    "DELETE FROM run_records WHERE run_seq = ?1",
    "DELETE FROM runs WHERE seq = ?1",
];
const REMOVE_OF_EVENT: [&str; 3] = [
    "DELETE FROM alert_events WHERE event_seq = ?1",
    "DELETE FROM replay_items WHERE event_seq = ?1",
    "DELETE FROM events WHERE seq = ?1",
];

/// What removing an event executes, but for what settles facts.
#[cfg(test)]
pub(super) fn remove_statements() -> Vec<&'static str> {
    let own = [RUNS_OF, DELIVERIES_OF];
    own.into_iter().chain(REMOVE_OF_DELIVERY).chain(REMOVE_OF_RUN).chain(REMOVE_OF_EVENT).collect()
}

const fn list_statement(filter: &EventFilter) -> &'static str {
    match filter {
        EventFilter { idempotency_key: Some(_), .. } => BY_KEY,
        EventFilter { object_id: Some(_), .. } => BY_OBJECT,
        EventFilter { state: Some(EventState::Unrouted | EventState::Dead), .. } => ASTRAY,
        EventFilter { .. } => BY_SCOPE,
    }
}

/// Whether many events may have to be walked over to fill a page: no index has what is asked for.
const fn is_search(filter: &EventFilter) -> bool {
    let EventFilter { state, kind, object_id, idempotency_key, source, since: _, until: _ } = filter;
    (kind.is_some() || source.is_some() || matches!(state, Some(EventState::Routed)))
        && object_id.is_none()
        && idempotency_key.is_none()
}

#[async_trait]
impl Events for SqliteStore {
    async fn event_accept(&self, event: Event, runs: Vec<NewRun>) -> Result<Accepted, StoreError> {
        self.write_bytes(event.payload.len(), move |tx| accept(tx.conn, &event, &runs)).await
    }

    async fn event_get(&self, scope: &Scope, id: &EventId) -> Result<Event, StoreError> {
        let (scope, id) = (scope.clone(), id.clone());
        self.read(move |conn| {
            let params = [id.as_str(), scope.tenant.as_str(), scope.environment.as_str()];
            first(conn, GET, params, read)?.ok_or(StoreError::NotFound)
        })
        .await
    }

    async fn event_list(
        &self,
        scope: &Scope,
        filter: EventFilter,
        page: Page,
    ) -> Result<Vec<Event>, StoreError> {
        let scope = scope.clone();
        let is_search = is_search(&filter);
        self.look(is_search, move |conn| {
            let (tenant, environment) = (scope.tenant.as_str(), scope.environment.as_str());
            let find = "SELECT seq FROM events WHERE id = ?1 AND tenant = ?2 AND environment = ?3";
            let part = slice(conn, &page, find, params![page.before, tenant, environment])?;
            let until = filter.until.map(|until| to_place(conn, until)).transpose()?;
            let since = filter.since.map(|since| from_place(conn, since)).transpose()?;
            let params = params![
                tenant,
                environment,
                part.before_seq.min(until.map_or(i64::MAX, |last| last.saturating_add(1))),
                filter.state.map(|state| state.as_str()),
                filter.kind,
                filter.object_id,
                filter.idempotency_key,
                part.rows,
                filter.source.as_ref().map(|id| id.as_str()),
                filter.since.map(millis),
                since.unwrap_or_default(),
                filter.until.map(millis)
            ];
            all(conn, list_statement(&filter), params, read)
        })
        .await
    }
}
