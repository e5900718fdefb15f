//! How a run ended, with all that follows from it, in one transaction (S4).

use portolan_domain::{RunId, Scope, Timestamp, state::RunState, usage::Usage};
use portolan_proof::{Bug, has};
use rusqlite::{Connection, params};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{guard, order};
use crate::{
    Finish, Lease, StoreError,
    run::{RunEnd, RunRecord},
    sqlite::{
        alert,
        delivery::{self, plan::Contents},
        mapping, reference, replay,
        row::{Columns, change, first, integer, json, json_list, json_of, millis},
        usage,
    },
};

const LEASED: &str = "
    SELECT seq, event_seq, tenant, environment, mapping, ordering_key FROM runs
    WHERE id = ?1 AND state = 'leased' AND lease_owner = ?2 AND lease_epoch = ?3";

const RECORD: &str = "
    INSERT INTO run_records (run_seq, module, outcome, facts, log, cost, held_references, attempt, settings_sha256)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
    ON CONFLICT (run_seq) DO NOTHING";

/// Of a run that was executed before.
const RECORD_AGAIN: &str = "
    UPDATE run_records SET module = ?2, outcome = ?3, facts = ?4, log = ?5, cost = ?6, held_references = ?7,
        attempt = ?8, settings_sha256 = ?9
    WHERE run_seq = ?1";

const RECORDED_BYTES: &str =
    concat!("SELECT ", usage::record_bytes!(), " FROM run_records c WHERE c.run_seq = ?1");

const SETTINGS: &str = "
    INSERT INTO settings_texts (tenant, sha256, settings) VALUES (?1, ?2, ?3)
    ON CONFLICT (tenant, sha256) DO NOTHING";

// Whoever ends in any way but dead was executed and did not kill anybody.
const RESOLVE: &str = "
    UPDATE runs SET state = ?2, blocks = ?3, open = ?3, lease_owner = NULL, wake_at = NULL, reason = ?4,
        process_deaths = CASE ?2 WHEN 'dead' THEN process_deaths ELSE 0 END,
        suspect = CASE ?2 WHEN 'dead' THEN suspect ELSE 0 END, updated_at = ?5
    WHERE seq = ?1";

// What was deferred has been answered by its module; what is retried may not even have been called.
const POSTPONE: &str = "
    UPDATE runs SET state = 'pending', deferred = ?2, blocks = 1 - ?2,
        failures = CASE WHEN ?2 THEN 0 ELSE failures + ?6 END, lease_owner = NULL, due_at = ?3,
        due = ?3 <= ?5, wake_at = CASE WHEN ?3 <= ?5 THEN NULL ELSE ?3 END, reason = ?4,
        process_deaths = CASE ?2 WHEN 1 THEN 0 ELSE process_deaths END,
        suspect = CASE ?2 WHEN 1 THEN 0 ELSE suspect END, updated_at = ?5
    WHERE seq = ?1";

/// A run and its place in its order.
pub(in crate::sqlite) struct Place {
    pub(in crate::sqlite) seq: i64,
    pub(in crate::sqlite) event_seq: i64,
    pub(in crate::sqlite) scope: Scope,
    pub(in crate::sqlite) mapping: String,
    pub(in crate::sqlite) ordering_key: String,
}

/// Five columns and the scope's two, in this order.
pub(super) fn place(c: &mut Columns<'_, '_>) -> Result<Place, StoreError> {
    Ok(Place {
        seq: c.get()?,
        event_seq: c.get()?,
        scope: c.scope()?,
        mapping: c.get()?,
        ordering_key: c.get()?,
    })
}

/// What the end of a run stores as JSON. Made before it is the writer's turn: see [`Contents`].
#[derive(Debug)]
pub(super) struct Texts {
    outcome: Option<String>,
    facts: Option<String>,
    log: Option<String>,
    cost: Option<String>,
    /// What the execution used.
    used: Usage,
    settings: String,
    settings_sha256: [u8; 32],
    /// Of a plan; kept with it while it is held.
    references: Option<String>,
    /// Of its deliveries.
    contents: Vec<Contents>,
}

impl Texts {
    pub(super) fn of(record: &RunRecord, end: &RunEnd) -> Result<Self, StoreError> {
        let (references, contents) = match end {
            RunEnd::Planned { references, deliveries, .. } => {
                let contents = deliveries.iter().map(Contents::of).collect::<Result<_, _>>()?;
                (json_list(references)?, contents)
            }
            RunEnd::Deferred { .. }
            | RunEnd::Retried { .. }
            | RunEnd::Postponed { .. }
            | RunEnd::Skipped { .. }
            | RunEnd::Dead { .. } => (None, Vec::new()),
        };
        let settings = json_of(&record.settings)?;
        Ok(Self {
            settings_sha256: Sha256::digest(&settings).into(),
            settings,
            outcome: json(&record.outcome),
            facts: json(&record.facts),
            log: json(&record.log),
            cost: json(&record.cost),
            used: used(record),
            references,
            contents,
        })
    }

    /// About how many are stored.
    pub(super) fn bytes(&self) -> usize {
        let texts = [&self.outcome, &self.facts, &self.log].into_iter().flatten().map(String::len);
        texts.chain(self.contents.iter().map(Contents::bytes)).sum()
    }
}

/// As the mapper writes it: `cost` of `pipeline::engine::Cost`, `facts` of `contract::Fact`.
fn used(record: &RunRecord) -> Usage {
    let number = |name: &str| record.cost.get(name).and_then(Value::as_u64).unwrap_or_default();
    let is_call = |fact: &&Value| fact.pointer("/need/query").is_some();
    let calls = record.facts.as_array().map_or(0, |facts| facts.iter().filter(is_call).count() as u64);
    Usage { executions: 1, fuel: number("fuel"), guest_us: number("wall_us"), calls, ..Usage::default() }
}

pub(super) fn finish(
    conn: &Connection,
    (id, lease): (&RunId, &Lease),
    (record, end): (&RunRecord, &RunEnd),
    texts: &Texts,
    now: Timestamp,
) -> Result<Finish, StoreError> {
    let guard = params![id.as_str(), lease.owner, integer(lease.epoch)];
    let Some(run) = first(conn, LEASED, guard, place)? else {
        return Ok(Finish::LeaseLost);
    };
    let stopped = guard::stop(conn, end, now)?;
    let end = stopped.as_ref().unwrap_or(end);
    usage::count(&run.scope, now, &texts.used);
    keep(conn, &run, (record, end), texts)?;
    accompany(conn, &run, (record, end), now)?;
    if has(Bug::AttemptsCountedAfter) {
        change(conn, "UPDATE runs SET attempts = attempts + 1 WHERE seq = ?1", [run.seq])?;
    }
    match end {
        RunEnd::Planned { .. } => plan(conn, &run, end, texts, now)?,
        RunEnd::Deferred { due_at, reason } => {
            postpone(conn, &run, (true, false), (*due_at, reason), now)?;
            order::unblocked(conn, &run.mapping, &run.ordering_key)?;
        }
        RunEnd::Retried { due_at, reason } => {
            postpone(conn, &run, (false, true), (*due_at, reason), now)?;
        }
        RunEnd::Postponed { due_at, reason } => {
            postpone(conn, &run, (false, false), (*due_at, reason), now)?;
        }
        RunEnd::Skipped { reason } => resolve(conn, &run, RunState::Skipped, reason, now)?,
        RunEnd::Dead { reason, alerts } => {
            alert::raise(conn, &run.scope, about(&run), alerts)?;
            resolve(conn, &run, RunState::Dead, reason, now)?;
        }
    }
    Ok(Finish::Done)
}

/// Stores what is kept whatever the end.
fn keep(
    conn: &Connection,
    run: &Place,
    (record, end): (&RunRecord, &RunEnd),
    texts: &Texts,
) -> Result<(), StoreError> {
    let is_held = matches!(end, RunEnd::Planned { held: Some(_), .. });
    let params = params![
        run.seq,
        record.module.as_ref().map(|digest| digest.as_str()),
        texts.outcome,
        texts.facts,
        texts.log,
        texts.cost,
        texts.references.as_ref().filter(|_| is_held),
        record.attempt,
        texts.settings_sha256
    ];
    let mut before = 0;
    if change(conn, RECORD, params)? == 0 {
        before = first(conn, RECORDED_BYTES, [run.seq], |c| c.get())?.unwrap_or_default();
        change(conn, RECORD_AGAIN, params)?;
    }
    let bytes: i64 =
        [&texts.outcome, &texts.facts, &texts.log].map(|text| usage::length(text.as_ref())).iter().sum();
    usage::stores(&run.scope.tenant, Some(run.scope.environment), bytes - before);
    change(conn, SETTINGS, params![run.scope.tenant.as_str(), texts.settings_sha256, texts.settings])?;
    Ok(())
}

/// What else the end of a run is told to: the canary that it was, the shadow that comes after it.
fn accompany(
    conn: &Connection,
    run: &Place,
    (record, end): (&RunRecord, &RunEnd),
    now: Timestamp,
) -> Result<(), StoreError> {
    let (is_final, failed) = match end {
        RunEnd::Planned { .. } | RunEnd::Skipped { .. } => (true, false),
        RunEnd::Dead { .. } => (true, true),
        RunEnd::Deferred { .. } | RunEnd::Retried { .. } | RunEnd::Postponed { .. } => (false, false),
    };
    if !is_final {
        return Ok(());
    }
    if let (true, Some(module)) = (record.is_canary, &record.module) {
        mapping::canary_ran(conn, (&run.scope, &run.mapping), module.as_str(), failed, now)?;
    }
    match &record.shadow {
        Some(shadow) => replay::follow(conn, shadow, run.event_seq, now),
        None => Ok(()),
    }
}

fn plan(
    conn: &Connection,
    run: &Place,
    end: &RunEnd,
    texts: &Texts,
    now: Timestamp,
) -> Result<(), StoreError> {
    let RunEnd::Planned { deliveries, ordering_key, references, alerts, held } = end else {
        return Ok(());
    };
    alert::raise(conn, &run.scope, about(run), alerts)?;
    if !has(Bug::OutboxOutsideTransaction) {
        let order = (ordering_key.as_str(), held.is_some());
        delivery::plan::insert(conn, run, (deliveries, &texts.contents), order, now)?;
    }
    if let Some(why) = held {
        let reason = json!({ "code": "held", "message": why });
        return resolve(conn, run, RunState::Held, &reason, now);
    }
    reference::remember(conn, &run.scope, run.event_seq, references)?;
    portolan_proof::pass(portolan_proof::Point::PlanInserted);
    let state = if deliveries.is_empty() { RunState::Delivered } else { RunState::Planned };
    resolve(conn, run, state, &Value::Null, now)
}

/// The second half of a finish that has the bug [`Bug::OutboxOutsideTransaction`].
pub(super) fn outbox(conn: &Connection, id: &RunId, end: &RunEnd, now: Timestamp) -> Result<(), StoreError> {
    let RunEnd::Planned { deliveries, ordering_key, held, .. } = end else { return Ok(()) };
    let sql = "SELECT seq, event_seq, tenant, environment, mapping, ordering_key FROM runs WHERE id = ?1 AND open = 1";
    let Some(run) = first(conn, sql, [id.as_str()], place)? else { return Ok(()) };
    let contents = deliveries.iter().map(Contents::of).collect::<Result<Vec<_>, _>>()?;
    let order = (ordering_key.as_str(), held.is_some());
    delivery::plan::insert(conn, &run, (deliveries, &contents), order, now)
}

/// The run is leased no longer and nothing is due for it. Later ones go on unless it still blocks.
pub(super) fn resolve(
    conn: &Connection,
    run: &Place,
    state: RunState,
    reason: &Value,
    now: Timestamp,
) -> Result<(), StoreError> {
    let blocks = matches!(state, RunState::Planned | RunState::Held | RunState::Dead);
    change(conn, RESOLVE, params![run.seq, state.as_str(), blocks, json(reason), millis(now)])?;
    if blocks { Ok(()) } else { order::unblocked(conn, &run.mapping, &run.ordering_key) }
}

/// The run is pending again, from some time on.
fn postpone(
    conn: &Connection,
    run: &Place,
    (deferred, failed): (bool, bool),
    (due_at, reason): (Timestamp, &Value),
    now: Timestamp,
) -> Result<(), StoreError> {
    let params = params![run.seq, deferred, millis(due_at), json(reason), millis(now), failed];
    change(conn, POSTPONE, params)?;
    Ok(())
}

/// A leased run whose row or event cannot be read waits for a person.
pub(super) fn unreadable(conn: &Connection, seq: i64, why: &str, now: Timestamp) -> Result<(), StoreError> {
    let sql = "SELECT seq, event_seq, tenant, environment, mapping, ordering_key FROM runs WHERE seq = ?1";
    let Some(run) = first(conn, sql, [seq], place)? else { return Ok(()) };
    alert::raise(conn, &run.scope, about(&run), &[alert::unreadable("run", why, now)])?;
    resolve(conn, &run, RunState::Dead, &json!({ "code": "unreadable", "message": why }), now)
}

/// Alerts that it raises are about its event.
fn about(run: &Place) -> alert::From<'static> {
    alert::From { event_seq: Some(run.event_seq), rule: None }
}
