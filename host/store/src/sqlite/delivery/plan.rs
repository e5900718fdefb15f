//! A run's deliveries as a whole: stored with the run's end, released on approval, cancelled on refusal; and the
//! run's own end when the last of them is final.

use std::collections::{BTreeMap, BTreeSet};

use portolan_domain::{Timestamp, state::RunState, usage::Usage};
use portolan_proof::{Bug, has};
use rusqlite::{Connection, params};
use serde_json::{Value, json};

use super::order;
use crate::{
    StoreError,
    run::NewDelivery,
    sqlite::{
        reconciliation,
        row::{all, change, first, json, json_list, json_of, millis},
        run::{self, Place},
        usage,
    },
};

const INSERT: &str = "
    INSERT INTO deliveries (id, tenant, environment, event_seq, run_seq, mapping, ordering_key, position, key,
        call_id, connection, operation, state, after_open, turn, due, due_at, created_at, updated_at, lost_from,
        doubt_since)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?17, ?17, ?18, ?19)";

const INSERT_CONTENTS: &str = "
    INSERT INTO delivery_contents (delivery_seq, after_keys, bindings, existence, captures, ledger, body, once)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";

const INSERT_AFTER: &str = "INSERT INTO delivery_after (first_seq, delivery_seq) VALUES (?1, ?2)";

/// What a planned delivery stores as JSON, in the order of [`INSERT_CONTENTS`]. Made before it is the writer's turn: to
/// write JSON and to look for card numbers in it costs more than to store it.
#[derive(Debug)]
pub(in crate::sqlite) struct Contents {
    after: Option<String>,
    bindings: Option<String>,
    existence: Option<String>,
    captures: Option<String>,
    ledger: Option<String>,
    body: Option<String>,
}

impl Contents {
    pub(in crate::sqlite) fn of(new: &NewDelivery) -> Result<Self, StoreError> {
        Ok(Self {
            after: json_list(&new.after)?,
            bindings: json_list(&new.bindings)?,
            existence: new.unless.as_ref().map(json_of).transpose()?,
            captures: json_list(&new.captures)?,
            ledger: json_list(&new.ledger)?,
            body: json(&new.body),
        })
    }

    /// How many are stored.
    pub(in crate::sqlite) fn bytes(&self) -> usize {
        let Self { after, bindings, existence, captures, ledger, body } = self;
        [after, bindings, existence, captures, ledger, body].into_iter().flatten().map(String::len).sum()
    }
}

/// What the deliveries of one plan share.
struct Shared<'a> {
    run: &'a Place,
    ordering_key: &'a str,
    held: bool,
    turn: bool,
    /// After a restore: see [`reconciliation::inherited`].
    lost: (Option<i64>, Option<i64>),
    now: Timestamp,
}

/// Stores a plan. Those that wait for nothing are due at once, unless the plan is held.
pub(in crate::sqlite) fn insert(
    conn: &Connection,
    run: &Place,
    (deliveries, contents): (&[NewDelivery], &[Contents]),
    (ordering_key, held): (&str, bool),
    now: Timestamp,
) -> Result<(), StoreError> {
    if deliveries.is_empty() {
        return Ok(());
    }
    let turn = order::enter(conn, &run.mapping, ordering_key, run.event_seq)?;
    let lost = reconciliation::inherited(conn, &run.scope, run.event_seq)?;
    let shared = Shared { run, ordering_key, held, turn, lost, now };
    let used = Usage { deliveries: deliveries.len() as u64, ..Usage::default() };
    usage::count(&run.scope, now, &used);
    let bodies = contents.iter().map(|contents| usage::length(contents.body.as_ref())).sum();
    usage::stores(&run.scope.tenant, Some(run.scope.environment), bodies);
    let mut seqs = BTreeMap::new();
    let first_position = if has(Bug::RunAgainAfterPlan) { positions_taken(conn, run.seq)? } else { 0 };
    for (position, (delivery, contents)) in (first_position..).zip(deliveries.iter().zip(contents)) {
        let seq = insert_one(conn, &shared, position, (delivery, contents))?;
        if seqs.insert(delivery.key.as_str(), seq).is_some() {
            return Err(StoreError::Conflict("two deliveries of the plan have one key"));
        }
    }
    for delivery in deliveries {
        for key in unique(&delivery.after) {
            let (Some(before), Some(seq)) = (seqs.get(key), seqs.get(delivery.key.as_str())) else {
                return Err(StoreError::Conflict("`after` names no delivery of the plan"));
            };
            change(conn, INSERT_AFTER, [before, seq])?;
        }
    }
    Ok(())
}

/// Where a second plan of the same run goes on, which only a planted bug makes.
fn positions_taken(conn: &Connection, run_seq: i64) -> Result<i64, StoreError> {
    let sql = "SELECT count(*) FROM deliveries WHERE run_seq = ?1";
    Ok(first(conn, sql, [run_seq], |c| c.get())?.unwrap_or_default())
}

fn unique(keys: &[String]) -> BTreeSet<&str> {
    keys.iter().map(String::as_str).collect()
}

fn insert_one(
    conn: &Connection,
    shared: &Shared<'_>,
    position: i64,
    (new, contents): (&NewDelivery, &Contents),
) -> Result<i64, StoreError> {
    let run = shared.run;
    let free = shared.turn && new.after.is_empty() && !shared.held;
    let state = match (shared.held, free) {
        (true, _) => "held",
        (false, true) => "pending",
        (false, false) => "waiting",
    };
    let after_open = i64::try_from(unique(&new.after).len()).unwrap_or(i64::MAX);
    let params = params![
        new.id.as_str(),
        run.scope.tenant.as_str(),
        run.scope.environment.as_str(),
        run.event_seq,
        run.seq,
        run.mapping,
        shared.ordering_key,
        position,
        new.key,
        new.call_id,
        new.connection.as_str(),
        new.operation,
        state,
        after_open,
        shared.turn,
        free,
        millis(shared.now),
        shared.lost.0,
        shared.lost.1
    ];
    change(conn, INSERT, params)?;
    let seq = conn.last_insert_rowid();
    let contents = params![
        seq,
        contents.after,
        contents.bindings,
        contents.existence,
        contents.captures,
        contents.ledger,
        contents.body,
        new.once
    ];
    change(conn, INSERT_CONTENTS, contents)?;
    Ok(seq)
}

/// Whether the run's plan has no delivery.
pub(in crate::sqlite) fn is_empty(conn: &Connection, run_seq: i64) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM deliveries WHERE run_seq = ?1 LIMIT 1";
    Ok(first(conn, sql, [run_seq], |c| c.get::<i64>())?.is_none())
}

/// The order that the run's plan is in. A plan is in one, or empty.
fn order_of(conn: &Connection, run_seq: i64) -> Result<Option<(String, String)>, StoreError> {
    let sql = "SELECT mapping, ordering_key FROM deliveries WHERE run_seq = ?1 LIMIT 1";
    first(conn, sql, [run_seq], |c| Ok((c.get()?, c.get()?)))
}

/// The run was approved: its deliveries go out as soon as it is their turn.
pub(in crate::sqlite) fn release(conn: &Connection, run_seq: i64, now: Timestamp) -> Result<(), StoreError> {
    let sql =
        "UPDATE deliveries SET state = 'waiting', updated_at = ?2 WHERE run_seq = ?1 AND state = 'held'";
    change(conn, sql, params![run_seq, millis(now)])?;
    if let Some((mapping, ordering_key)) = order_of(conn, run_seq)? {
        order::advance(conn, &mapping, &ordering_key, now)?;
    }
    end_run(conn, run_seq, now)
}

/// The run was refused: none of its deliveries goes out.
pub(in crate::sqlite) fn cancel(
    conn: &Connection,
    run_seq: i64,
    reason: &Value,
    now: Timestamp,
) -> Result<(), StoreError> {
    let sql = "UPDATE deliveries SET state = 'cancelled', open = 0, reason = ?2, updated_at = ?3
               WHERE run_seq = ?1 AND state = 'held'";
    change(conn, sql, params![run_seq, json(reason), millis(now)])?;
    match order_of(conn, run_seq)? {
        Some((mapping, ordering_key)) => order::advance(conn, &mapping, &ordering_key, now),
        None => Ok(()),
    }
}

/// Ends the run when no delivery of it is open: delivered when all were made; refused when a person gave up on
/// any, because "delivered" would promise a document that nobody has.
pub(super) fn end_run(conn: &Connection, run_seq: i64, now: Timestamp) -> Result<(), StoreError> {
    let states =
        all(conn, "SELECT open, state = 'cancelled' FROM deliveries WHERE run_seq = ?1", [run_seq], |c| {
            Ok((c.get::<bool>()?, c.get::<bool>()?))
        })?;
    if states.iter().any(|(open, _)| *open) {
        return Ok(());
    }
    let cancelled = states.iter().filter(|(_, cancelled)| *cancelled).count();
    let (state, reason) = if cancelled == 0 {
        (RunState::Delivered, None)
    } else {
        let message = format!("{cancelled} of {} deliveries were cancelled", states.len());
        (RunState::Refused, json(&json!({ "code": "deliveries-cancelled", "message": message })))
    };
    let sql =
        "UPDATE runs SET state = ?2, blocks = 0, open = 0, reason = coalesce(?3, reason), updated_at = ?4
               WHERE seq = ?1 AND state = 'planned'";
    if change(conn, sql, params![run_seq, state.as_str(), reason, millis(now)])? > 0 {
        run::ended(conn, run_seq)?;
    }
    Ok(())
}
