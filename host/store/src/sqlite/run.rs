//! Runs. `order` keeps S9, `claim` leases, `finish` stores how a run ended, `guilt` knows who may have killed a host,
//! `decide` carries out what people decided; here stand the reads and the insert.

use async_trait::async_trait;
use portolan_domain::{EventId, RunId, Scope, Timestamp, state::RunState};
use rusqlite::{Connection, params};
use serde_json::json;

use super::{
    SqliteStore,
    row::{Columns, all, change, first, millis, slice},
    wake,
};
use crate::{
    ClaimRequest, Finish, Lease, Page, StoreError,
    audit::Change,
    event::{Event, NewRun},
    run::{Decided, Decision, ModuleDeaths, Run, RunClaim, RunEnd, RunFilter, RunRecord, Runs},
};

mod claim;
mod decide;
mod finish;
mod guard;
pub(super) mod guilt;
mod order;

pub(super) use finish::Place;

#[cfg(test)]
pub(super) use claim::claim_statements;

macro_rules! select {
    ($($rest:literal),*) => {
        concat!(
            "SELECT r.id, r.tenant, r.environment, e.id, r.mapping, c.module, r.state, r.attempts,
                r.process_deaths, r.due_at, r.reason, c.outcome, c.facts, c.log, c.cost,
                r.created_at, r.updated_at
             FROM runs r JOIN events e ON e.seq = r.event_seq LEFT JOIN run_records c ON c.run_seq = r.seq ",
            $($rest),*
        )
    };
}

fn read(c: &mut Columns<'_, '_>) -> Result<Run, StoreError> {
    Ok(Run {
        id: c.parsed()?,
        scope: c.scope()?,
        event: c.parsed()?,
        mapping: c.parsed()?,
        module: c.parsed_option()?,
        state: c.parsed()?,
        attempts: c.count()?,
        process_deaths: c.count()?,
        due_at: c.time()?,
        reason: c.json()?,
        outcome: c.json()?,
        facts: c.json()?,
        log: c.json()?,
        cost: c.json()?,
        created_at: c.time()?,
        updated_at: c.time()?,
    })
}

/// The last delivery of a run's plan is final: what waited for the run goes on.
pub(super) fn ended(conn: &Connection, run_seq: i64) -> Result<(), StoreError> {
    let sql = "SELECT mapping, ordering_key FROM runs WHERE seq = ?1";
    let order = first(conn, sql, [run_seq], |c| Ok((c.get::<String>()?, c.get::<String>()?)))?;
    order.map_or(Ok(()), |(mapping, ordering_key)| order::unblocked(conn, &mapping, &ordering_key))
}

/// Stores a run with its new event: it is due, and it is its turn unless an earlier one blocks it.
pub(super) fn insert(
    conn: &Connection,
    event: &Event,
    event_seq: i64,
    new: &NewRun,
) -> Result<(), StoreError> {
    // An event without an object is alone in its order.
    let turn = match &event.object_id {
        Some(object) => order::head(conn, new.mapping.as_str(), object)?.is_none(),
        None => true,
    };
    change(
        conn,
        "INSERT INTO runs (id, tenant, environment, event_seq, mapping, ordering_key, state, turn, due, due_at,
             created_at, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'pending', ?7, 1, ?8, ?8, ?8)",
        params![
            new.id.as_str(),
            event.scope.tenant.as_str(),
            event.scope.environment.as_str(),
            event_seq,
            new.mapping.as_str(),
            event.object_id.as_deref().unwrap_or(event.id.as_str()),
            turn,
            millis(event.received_at)
        ],
    )?;
    Ok(())
}

impl SqliteStore {
    /// What [`portolan_proof::Bug::OutboxOutsideTransaction`] makes of a finish: the plan is stored first, its
    /// deliveries a little later.
    #[expect(clippy::too_many_arguments, reason = "those of a finish")]
    async fn finish_in_two(
        &self,
        id: RunId,
        lease: Lease,
        record: RunRecord,
        end: RunEnd,
        now: Timestamp,
    ) -> Result<Finish, StoreError> {
        let (run, planned) = (id.clone(), end.clone());
        let texts = finish::Texts::of(&record, &end)?;
        let finished = self
            .write(move |tx| finish::finish(tx.conn, (&id, &lease), (&record, &end), &texts, now))
            .await?;
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
        if finished == Finish::Done {
            self.write(move |tx| finish::outbox(tx.conn, &run, &planned, now)).await?;
        }
        Ok(finished)
    }
}

/// The host keeps a run from being executed again: the audit log tells of it.
fn quarantined(conn: &Connection, id: &RunId, end: &RunEnd) -> Result<Option<Change>, StoreError> {
    let RunEnd::Dead { reason, .. } = end else { return Ok(None) };
    if reason.get("code").and_then(serde_json::Value::as_str) != Some("quarantined") {
        return Ok(None);
    }
    let scope =
        first(conn, "SELECT tenant, environment FROM runs WHERE id = ?1", [id.as_str()], |c| c.scope())?;
    Ok(scope.map(|scope| Change::of(&scope, "run.quarantine", id.as_str()).with(reason.clone())))
}

#[async_trait]
impl Runs for SqliteStore {
    async fn run_claim(&self, request: ClaimRequest) -> Result<Vec<RunClaim>, StoreError> {
        self.write(move |tx| claim::claim(tx, &request)).await
    }

    async fn run_finish(
        &self,
        id: &RunId,
        lease: &Lease,
        record: RunRecord,
        end: RunEnd,
        now: Timestamp,
    ) -> Result<Finish, StoreError> {
        let (id, lease) = (id.clone(), lease.clone());
        if portolan_proof::has(portolan_proof::Bug::OutboxOutsideTransaction) {
            return self.finish_in_two(id, lease, record, end, now).await;
        }
        let texts = finish::Texts::of(&record, &end)?;
        self.audited_bytes(texts.bytes(), move |tx| {
            let done = finish::finish(tx.conn, (&id, &lease), (&record, &end), &texts, now)?;
            let told = if done == Finish::Done { quarantined(tx.conn, &id, &end)? } else { None };
            Ok((done, told.into_iter().collect()))
        })
        .await
    }

    async fn run_approve(
        &self,
        scope: &Scope,
        id: &RunId,
        decision: Decision,
    ) -> Result<Decided, StoreError> {
        let (scope, id) = (scope.clone(), id.clone());
        let told = Change::of(&scope, "run.approve", id.as_str());
        self.decided(told, decision, move |conn, decision| decide::approve(conn, &scope, &id, decision)).await
    }

    async fn run_refuse(&self, scope: &Scope, id: &RunId, decision: Decision) -> Result<(), StoreError> {
        let (scope, id) = (scope.clone(), id.clone());
        self.audited(
            Change::of(&scope, "run.refuse", id.as_str()).with(json!({ "why": decision.why })),
            move |tx| decide::refuse(tx.conn, &scope, &id, &decision),
        )
        .await
    }

    async fn run_redrive(&self, scope: &Scope, id: &RunId, decision: Decision) -> Result<(), StoreError> {
        let (scope, id) = (scope.clone(), id.clone());
        self.audited(
            Change::of(&scope, "run.redrive", id.as_str()).with(json!({ "why": decision.why })),
            move |tx| decide::redrive(tx.conn, &scope, &id, &decision),
        )
        .await
    }

    async fn run_get(&self, scope: &Scope, id: &RunId) -> Result<Run, StoreError> {
        let (scope, id) = (scope.clone(), id.clone());
        self.read(move |conn| {
            let sql = select!("WHERE r.id = ?1 AND r.tenant = ?2 AND r.environment = ?3");
            let params = [id.as_str(), scope.tenant.as_str(), scope.environment.as_str()];
            first(conn, sql, params, read)?.ok_or(StoreError::NotFound)
        })
        .await
    }

    async fn run_of_event(&self, scope: &Scope, event: &EventId) -> Result<Vec<Run>, StoreError> {
        let (scope, event) = (scope.clone(), event.clone());
        self.read(move |conn| {
            let sql = select!("WHERE e.id = ?1 AND r.tenant = ?2 AND r.environment = ?3 ORDER BY r.seq");
            all(conn, sql, [event.as_str(), scope.tenant.as_str(), scope.environment.as_str()], read)
        })
        .await
    }

    async fn run_list(
        &self,
        scope: &Scope,
        state: RunState,
        filter: RunFilter,
        page: Page,
    ) -> Result<Vec<Run>, StoreError> {
        let scope = scope.clone();
        // Along the index of states; the filter is looked at row by row.
        let is_search = filter != RunFilter::default();
        self.look(is_search, move |conn| {
            let (tenant, environment) = (scope.tenant.as_str(), scope.environment.as_str());
            let find = "SELECT seq FROM runs WHERE id = ?1 AND tenant = ?2 AND environment = ?3";
            let part = slice(conn, &page, find, params![page.before, tenant, environment])?;
            let sql = select!(
                "WHERE r.tenant = ?1 AND r.environment = ?2 AND r.state = ?3 AND r.seq < ?4
                   AND (?6 IS NULL OR r.mapping = ?6)
                   AND (?7 IS NULL OR json_extract(r.reason, '$.code') = ?7)
                   AND (?8 IS NULL OR r.updated_at >= ?8)
                   AND (?9 IS NULL OR r.updated_at < ?9)
                 ORDER BY r.seq DESC LIMIT ?5"
            );
            let params = params![
                tenant,
                environment,
                state.as_str(),
                part.before_seq,
                part.rows,
                filter.mapping.as_ref().map(|id| id.as_str()),
                filter.code,
                filter.since.map(millis),
                filter.until.map(millis)
            ];
            all(conn, sql, params, read)
        })
        .await
    }

    async fn run_module_deaths(&self) -> Result<Vec<ModuleDeaths>, StoreError> {
        self.read(guilt::modules).await
    }

    async fn run_next_due(&self, _now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.read(|conn| wake::next(conn, "SELECT min(wake_at) FROM runs WHERE wake_at IS NOT NULL")).await
    }
}
