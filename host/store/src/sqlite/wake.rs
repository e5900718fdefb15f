//! What time brings: pending rows become due, leases end.
//!
//! Runs and deliveries keep in `wake_at` when something will happen to them without anybody's doing; an index
//! holds only those. Every claim looks there first. A lease that has run out ends there and then (S6): the run is
//! one process death richer (nobody knows better; what is known at a start, see `run::guilt`), the delivery is in doubt and its attempt abandoned, and both are pending again.

use portolan_domain::Timestamp;
use portolan_proof::{Bug, has};
use rusqlite::{Connection, params};

use super::{
    row::{all, change, first, millis},
    run::guilt,
};
use crate::{StoreError, run::Executing};

/// Rows woken by one claim. More stay for the next: `*_next_due` then lies in the past.
const WAKES_PER_CLAIM_MAX: i64 = 512;

const RUNS_TO_WAKE: &str = "
    SELECT seq, state = 'leased' FROM runs INDEXED BY runs_wake
    WHERE wake_at IS NOT NULL AND wake_at <= ?1 ORDER BY wake_at LIMIT ?2";
const RUN_DUE: &str = "UPDATE runs SET due = 1, wake_at = NULL WHERE seq = ?1";
const RUN_LEASE_END: &str = "
    UPDATE runs SET state = 'pending', due = 1, due_at = ?2, wake_at = NULL, lease_owner = NULL,
        process_deaths = process_deaths + 1, updated_at = ?2
    WHERE seq = ?1 AND state = 'leased'";

const DELIVERIES_TO_WAKE: &str = "
    SELECT seq, state = 'leased' FROM deliveries INDEXED BY deliveries_wake
    WHERE wake_at IS NOT NULL AND wake_at <= ?1 ORDER BY wake_at LIMIT ?2";
const DELIVERY_DUE: &str = "UPDATE deliveries SET due = 1, wake_at = NULL WHERE seq = ?1";
const ATTEMPT_ABANDON: &str = "
    UPDATE attempts SET verdict = 'abandoned', finished_at = ?2
    WHERE delivery_seq = ?1 AND verdict IS NULL
      AND number = (SELECT attempts FROM deliveries WHERE seq = ?1)";
const DELIVERY_LEASE_END: &str = "
    UPDATE deliveries SET state = 'pending', due = 1, due_at = ?2, wake_at = NULL, lease_owner = NULL,
        doubt_since = ?2, updated_at = ?2
    WHERE seq = ?1 AND state = 'leased'";

const DELIVERIES_FOREIGN: &str = "
    SELECT seq FROM deliveries INDEXED BY deliveries_wake
    WHERE wake_at IS NOT NULL AND state = 'leased' AND lease_owner <> ?1";

/// What [`Bug::FinalStateLeft`] does at a start: the latest documents are made once more.
const FINAL_LEFT: &str = "
    DROP TRIGGER IF EXISTS deliveries_transition;
    UPDATE deliveries SET state = 'pending', open = 1, due = 1, turn = 1
    WHERE seq IN (SELECT seq FROM deliveries WHERE state = 'delivered' ORDER BY seq DESC LIMIT 8);";

/// Every statement of this file that a claim makes.
#[cfg(test)]
pub(super) const CLAIM_STATEMENTS: &[&str] = &[
    RUNS_TO_WAKE,
    RUN_DUE,
    RUN_LEASE_END,
    DELIVERIES_TO_WAKE,
    DELIVERY_DUE,
    ATTEMPT_ABANDON,
    DELIVERY_LEASE_END,
];

/// Wakes the runs whose time has come.
pub(super) fn runs(conn: &Connection, now: Timestamp) -> Result<(), StoreError> {
    let woken = all(conn, RUNS_TO_WAKE, params![millis(now), WAKES_PER_CLAIM_MAX], |c| {
        Ok((c.get::<i64>()?, c.get::<bool>()?))
    })?;
    for (seq, leased) in woken {
        if leased {
            change(conn, RUN_LEASE_END, params![seq, millis(now)])?;
        } else {
            change(conn, RUN_DUE, [seq])?;
        }
    }
    Ok(())
}

/// Wakes the deliveries whose time has come.
pub(super) fn deliveries(conn: &Connection, now: Timestamp) -> Result<(), StoreError> {
    let woken = all(conn, DELIVERIES_TO_WAKE, params![millis(now), WAKES_PER_CLAIM_MAX], |c| {
        Ok((c.get::<i64>()?, c.get::<bool>()?))
    })?;
    for (seq, leased) in woken {
        if leased {
            delivery_lease_end(conn, seq, now)?;
        } else {
            change(conn, DELIVERY_DUE, [seq])?;
        }
    }
    Ok(())
}

/// Ends every lease that `owner` does not hold. `executing`: see [`crate::Upkeep::leases_end_foreign`].
pub(super) fn end_foreign(
    conn: &Connection,
    owner: &str,
    executing: &[Executing],
    now: Timestamp,
) -> Result<u64, StoreError> {
    let runs = guilt::end_foreign(conn, owner, executing, now)?;
    if has(Bug::RunAgainAfterPlan) {
        plans_forgotten(conn, now)?;
    }
    if has(Bug::FinalStateLeft) {
        conn.execute_batch(FINAL_LEFT)?;
    }
    let deliveries = all(conn, DELIVERIES_FOREIGN, [owner], |c| c.get::<i64>())?;
    for seq in &deliveries {
        delivery_lease_end(conn, *seq, now)?;
    }
    Ok(runs + deliveries.len() as u64)
}

/// What [`Bug::RunAgainAfterPlan`] makes of a start: whatever is not final is executed again, and its plan replaced. The
/// triggers that would refuse it go first.
fn plans_forgotten(conn: &Connection, now: Timestamp) -> Result<(), StoreError> {
    conn.execute_batch(
        "DROP TRIGGER IF EXISTS runs_transition; DROP TRIGGER IF EXISTS deliveries_transition;
         UPDATE deliveries SET state = 'cancelled', open = 0, due = 0, turn = 0, wake_at = NULL, lease_owner = NULL
         WHERE open = 1 AND run_seq IN (SELECT seq FROM runs WHERE state = 'planned');",
    )?;
    let sql = "UPDATE runs SET state = 'pending', due = 1, due_at = ?1 WHERE state = 'planned'";
    change(conn, sql, [millis(now)])?;
    Ok(())
}

fn delivery_lease_end(conn: &Connection, seq: i64, now: Timestamp) -> Result<(), StoreError> {
    change(conn, ATTEMPT_ABANDON, params![seq, millis(now)])?;
    change(conn, DELIVERY_LEASE_END, params![seq, millis(now)])?;
    if has(Bug::IntentAfterSend) {
        change(conn, "UPDATE deliveries SET doubt_since = NULL WHERE seq = ?1", [seq])?;
    }
    Ok(())
}

/// The earliest time in an index of times to wake.
pub(super) fn next(conn: &Connection, sql: &str) -> Result<Option<Timestamp>, StoreError> {
    Ok(first(conn, sql, [], |c| c.time_option())?.flatten())
}
