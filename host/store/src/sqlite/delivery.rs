//! Deliveries and their attempts. `plan` stores a run's deliveries, `order` keeps S10, `claim` leases, `finish`
//! stores how an attempt ended, `decide` carries out what people decided, `matching` finds; here stand the reads.

use async_trait::async_trait;
use portolan_domain::{DeliveryId, RunId, Scope, Timestamp, state::DeliveryState};
use rusqlite::{Connection, params};
use serde_json::{Value, json};

use super::{
    SqliteStore,
    row::{Columns, all, first, slice},
    wake,
};
use crate::{
    ClaimRequest, Finish, Lease, Page, StoreError,
    audit::Change,
    delivery::{Attempt, Deliveries, Delivery, DeliveryClaim, DeliveryEnd, DeliveryFilter, Remapped, Sent},
    run::{Decided, Decision},
};

mod claim;
mod decide;
mod finish;
mod matching;
pub(super) mod once;
mod order;
pub(super) mod plan;

#[cfg(test)]
pub(super) use {claim::CLAIM_STATEMENTS, once::STATEMENTS as ONCE_STATEMENTS};

/// The whole answer to `delivery_attempts`; the retry policy ends long before.
const ATTEMPTS_MAX: u32 = 1_000;

macro_rules! select {
    ($($rest:literal),*) => {
        concat!(
            "SELECT d.id, d.tenant, d.environment, e.id, r.id, d.mapping, d.position, d.key, d.call_id,
                d.connection, d.operation, coalesce(c.sent, c.corrected, c.body), c.after_keys, c.ledger, c.once, d.ordering_key,
                d.state, d.doubt_since IS NOT NULL, d.attempts, d.due_at, c.response, d.reason, d.created_at, d.updated_at,
                CASE WHEN c.corrected IS NOT NULL THEN c.body END, c.late_response, d.assignee
             FROM deliveries d JOIN delivery_contents c ON c.delivery_seq = d.seq
             JOIN runs r ON r.seq = d.run_seq JOIN events e ON e.seq = d.event_seq ",
            $($rest),*
        )
    };
}

fn read(c: &mut Columns<'_, '_>) -> Result<Delivery, StoreError> {
    Ok(Delivery {
        id: c.parsed()?,
        scope: c.scope()?,
        event: c.parsed()?,
        run: c.parsed()?,
        mapping: c.parsed()?,
        position: c.count()?,
        key: c.get()?,
        call_id: c.get()?,
        connection: c.parsed()?,
        operation: c.get()?,
        body: c.json()?,
        after: c.json_or_default()?,
        ledger: c.json_or_default()?,
        once: c.get()?,
        ordering_key: c.get()?,
        state: c.parsed()?,
        in_doubt: c.get()?,
        attempts: c.count()?,
        due_at: c.time()?,
        response: c.json()?,
        reason: c.json()?,
        created_at: c.time()?,
        updated_at: c.time()?,
        planned_body: c.json_option()?,
        late_response: c.json()?,
        assignee: c.get()?,
    })
}

fn read_attempt(c: &mut Columns<'_, '_>) -> Result<Attempt, StoreError> {
    Ok(Attempt {
        number: c.count()?,
        owner: c.get()?,
        started_at: c.time()?,
        finished_at: c.time_option()?,
        verdict: c.get()?,
        detail: c.json()?,
        sent_sha256: c.get()?,
        late: c.json()?,
    })
}

/// The newest of each state, then the newest of those: every state's part comes from the index in order.
fn list(
    conn: &Connection,
    scope: &Scope,
    filter: &DeliveryFilter,
    page: &Page,
) -> Result<Vec<Delivery>, StoreError> {
    let (tenant, environment) = (scope.tenant.as_str(), scope.environment.as_str());
    let find = "SELECT seq FROM deliveries WHERE id = ?1 AND tenant = ?2 AND environment = ?3";
    let part = slice(conn, page, find, params![page.before, tenant, environment])?;
    let states = filter.state.as_ref().map_or(DeliveryState::ALL, std::slice::from_ref);
    let mut seqs: Vec<i64> = Vec::new();
    for state in states {
        let from = (part.before_seq, part.rows);
        let found = matching::matching(conn, scope, (*state, filter), matching::NEWEST_FIRST, from)?;
        seqs.extend(found.into_iter().map(|(seq, _)| seq));
    }
    seqs.sort_unstable_by(|a, b| b.cmp(a));
    seqs.truncate(part.rows as usize);
    let one = select!("WHERE d.seq = ?1 AND d.tenant = ?2 AND d.environment = ?3");
    let found = seqs.into_iter().map(|seq| first(conn, one, params![seq, tenant, environment], read));
    found.filter_map(Result::transpose).collect()
}

#[async_trait]
impl Deliveries for SqliteStore {
    async fn delivery_claim(&self, request: ClaimRequest) -> Result<Vec<DeliveryClaim>, StoreError> {
        self.write(move |tx| claim::claim(tx, &request)).await
    }

    async fn delivery_finish(
        &self,
        id: &DeliveryId,
        lease: &Lease,
        sent: Option<Sent>,
        end: DeliveryEnd,
        now: Timestamp,
    ) -> Result<Finish, StoreError> {
        let (id, lease) = (id.clone(), lease.clone());
        let texts = finish::Texts::of(sent.as_ref(), &end)?;
        self.audited_bytes(texts.bytes(), move |tx| {
            let done = finish::finish(tx.conn, (&id, &lease), (sent.as_ref(), &end), &texts, now)?;
            let paused = if done == Finish::Done { finish::paused(tx.conn, &id, &end, now)? } else { None };
            Ok((done, paused.into_iter().collect()))
        })
        .await
    }

    async fn delivery_redrive(
        &self,
        scope: &Scope,
        id: &DeliveryId,
        decision: Decision,
    ) -> Result<Decided, StoreError> {
        let (scope, id) = (scope.clone(), id.clone());
        let told = Change::of(&scope, "delivery.redrive", id.as_str());
        self.decided(told, decision, move |conn, decision| decide::redrive(conn, &scope, &id, decision)).await
    }

    async fn delivery_resend(
        &self,
        scope: &Scope,
        id: &DeliveryId,
        decision: Decision,
    ) -> Result<Decided, StoreError> {
        let (scope, id) = (scope.clone(), id.clone());
        let told = Change::of(&scope, "delivery.resend", id.as_str());
        self.decided(told, decision, move |conn, decision| decide::resend(conn, &scope, &id, decision)).await
    }

    async fn delivery_adopt(
        &self,
        scope: &Scope,
        id: &DeliveryId,
        response: Value,
        decision: Decision,
    ) -> Result<Decided, StoreError> {
        let (scope, id) = (scope.clone(), id.clone());
        let told = Change::of(&scope, "delivery.adopt", id.as_str());
        self.decided(told, decision, move |conn, decision| {
            decide::adopt(conn, (&scope, &id), &response, decision)
        })
        .await
    }

    async fn delivery_cancel(
        &self,
        scope: &Scope,
        id: &DeliveryId,
        decision: Decision,
    ) -> Result<Decided, StoreError> {
        let (scope, id) = (scope.clone(), id.clone());
        let told = Change::of(&scope, "delivery.cancel", id.as_str());
        self.decided(told, decision, move |conn, decision| {
            decide::cancel(conn, (&scope, &id), ("cancel", "cancelled"), decision)
        })
        .await
    }

    async fn delivery_resolve(
        &self,
        scope: &Scope,
        id: &DeliveryId,
        decision: Decision,
    ) -> Result<Decided, StoreError> {
        let (scope, id) = (scope.clone(), id.clone());
        let told = Change::of(&scope, "delivery.resolve", id.as_str());
        self.decided(told, decision, move |conn, decision| {
            decide::cancel(conn, (&scope, &id), ("resolve", "resolved"), decision)
        })
        .await
    }

    async fn delivery_correct(
        &self,
        scope: &Scope,
        id: &DeliveryId,
        body: Value,
        decision: Decision,
    ) -> Result<Decided, StoreError> {
        let (scope, id) = (scope.clone(), id.clone());
        let told = Change::of(&scope, "delivery.correct", id.as_str());
        self.decided(told, decision, move |conn, decision| {
            decide::correct(conn, (&scope, &id), &body, decision)
        })
        .await
    }

    async fn delivery_remap(
        &self,
        scope: &Scope,
        run: &RunId,
        remapped: Vec<Remapped>,
        decision: Decision,
    ) -> Result<Vec<(DeliveryId, Decided)>, StoreError> {
        let (scope, run) = (scope.clone(), run.clone());
        self.audited_after(move |tx| {
            let made = decide::remap(tx.conn, (&scope, &run), &remapped, &decision)?;
            let told = made.iter().map(|(id, decided)| {
                let detail = json!({ "why": decision.why, "only_proposed": *decided == Decided::Proposed });
                Change::of(&scope, "delivery.remap", id.as_str()).with(detail)
            });
            let told = told.collect();
            Ok((made, told))
        })
        .await
    }

    async fn delivery_assign(
        &self,
        scope: &Scope,
        id: &DeliveryId,
        assignee: Option<String>,
        decision: Decision,
    ) -> Result<(), StoreError> {
        let (scope, id) = (scope.clone(), id.clone());
        let told = Change::of(&scope, "delivery.assign", id.as_str())
            .with(json!({ "why": decision.why, "assignee": assignee }));
        self.audited(told, move |tx| decide::assign(tx.conn, (&scope, &id), assignee.as_deref(), &decision))
            .await
    }

    async fn delivery_redrive_matching(
        &self,
        scope: &Scope,
        filter: DeliveryFilter,
        rows_max: u32,
        decision: Decision,
    ) -> Result<(u32, u32), StoreError> {
        let scope = scope.clone();
        self.audited_after(move |tx| {
            let counts = decide::redrive_matching(tx.conn, &scope, (&filter, rows_max), &decision)?;
            let detail = json!({ "why": decision.why, "deliveries": counts.0 });
            Ok((counts, vec![Change::of(&scope, "delivery.redrive-matching", "deliveries").with(detail)]))
        })
        .await
    }

    async fn delivery_get(&self, scope: &Scope, id: &DeliveryId) -> Result<Delivery, StoreError> {
        let (scope, id) = (scope.clone(), id.clone());
        self.read(move |conn| {
            let sql = select!("WHERE d.id = ?1 AND d.tenant = ?2 AND d.environment = ?3");
            let params = [id.as_str(), scope.tenant.as_str(), scope.environment.as_str()];
            first(conn, sql, params, read)?.ok_or(StoreError::NotFound)
        })
        .await
    }

    async fn delivery_attempts(&self, scope: &Scope, id: &DeliveryId) -> Result<Vec<Attempt>, StoreError> {
        let (scope, id) = (scope.clone(), id.clone());
        self.read(move |conn| {
            let sql = "SELECT a.number, a.owner, a.started_at, a.finished_at, a.verdict,
                           CASE WHEN a.verdict IN ('delivered', 'adopted') THEN c.response ELSE a.detail END,
                           a.sent_sha256, a.late
                       FROM deliveries d JOIN attempts a ON a.delivery_seq = d.seq
                       JOIN delivery_contents c ON c.delivery_seq = d.seq
                       WHERE d.id = ?1 AND d.tenant = ?2 AND d.environment = ?3
                       ORDER BY a.number LIMIT ?4";
            let (tenant, environment) = (scope.tenant.as_str(), scope.environment.as_str());
            all(conn, sql, params![id.as_str(), tenant, environment, ATTEMPTS_MAX], read_attempt)
        })
        .await
    }

    async fn delivery_of_run(&self, scope: &Scope, run: &RunId) -> Result<Vec<Delivery>, StoreError> {
        let (scope, run) = (scope.clone(), run.clone());
        self.read(move |conn| {
            let sql = select!("WHERE r.id = ?1 AND d.tenant = ?2 AND d.environment = ?3 ORDER BY d.position");
            all(conn, sql, [run.as_str(), scope.tenant.as_str(), scope.environment.as_str()], read)
        })
        .await
    }

    async fn delivery_list(
        &self,
        scope: &Scope,
        filter: DeliveryFilter,
        page: Page,
    ) -> Result<Vec<Delivery>, StoreError> {
        let scope = scope.clone();
        // Along the index of states; what else the filter says is looked at row by row.
        let is_search = DeliveryFilter { state: None, ..filter.clone() } != DeliveryFilter::default();
        self.look(is_search, move |conn| list(conn, &scope, &filter, &page)).await
    }

    async fn delivery_next_due(&self, _now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.read(|conn| wake::next(conn, "SELECT min(wake_at) FROM deliveries WHERE wake_at IS NOT NULL"))
            .await
    }
}
