//! Claims of deliveries: tenants take turns (S8), and within a tenant its connections. The intent of the attempt
//! is stored in the same transaction (S6).

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use portolan_domain::{Timestamp, contract::Binding, usage::Usage};
use portolan_proof::{Bug, has};
use rusqlite::{Connection, params};
use serde_json::Value;

use super::once::{self, Fact};
use crate::{
    ClaimRequest, Lease, StoreError,
    delivery::DeliveryClaim,
    sqlite::{
        connection, pause,
        row::{Columns, change, first, millis},
        standing,
        turn::{TenantLanes, circle, connections, room},
        usage, wake,
        writer::Tx,
    },
};

const NEXT_TENANT: &str = "
    SELECT tenant FROM deliveries INDEXED BY deliveries_claim
    WHERE turn = 1 AND due = 1 AND tenant > ?1 ORDER BY tenant LIMIT 1";

const NEXT_CONNECTION: &str = "
    SELECT connection FROM deliveries INDEXED BY deliveries_claim
    WHERE turn = 1 AND due = 1 AND tenant = ?1 AND connection > ?2 ORDER BY connection LIMIT 1";

const NEXT_DELIVERY: &str = "
    SELECT d.seq, d.run_seq, d.id, d.lease_epoch, d.tenant, d.environment, e.id, r.id, d.key, d.call_id,
        d.connection, d.operation, coalesce(c.corrected, c.body), c.corrected IS NOT NULL, c.bindings, c.existence, c.captures, d.attempts, d.attempts_before,
        d.doubt_since, d.absent_at, c.late_response, e.traceparent, c.once
    FROM deliveries d INDEXED BY deliveries_claim
    CROSS JOIN delivery_contents c ON c.delivery_seq = d.seq
    CROSS JOIN runs r ON r.seq = d.run_seq
    CROSS JOIN events e ON e.seq = d.event_seq
    WHERE d.turn = 1 AND d.due = 1 AND d.tenant = ?1 AND d.connection = ?2 ORDER BY d.seq LIMIT 1";

const RESPONSE: &str = "
    SELECT c.response FROM deliveries d CROSS JOIN delivery_contents c ON c.delivery_seq = d.seq
    WHERE d.run_seq = ?1 AND d.key = ?2 AND d.state = 'delivered'";

const LAST_SENT: &str = "
    SELECT sent_sha256 FROM attempts WHERE delivery_seq = ?1 AND sent_sha256 IS NOT NULL ORDER BY number DESC LIMIT 1";

const BEGUN: &str = "SELECT started_at FROM attempts WHERE delivery_seq = ?1 AND number = 1";

/// Attempts that a restore has forgotten may have begun earlier than any that is known.
const LOST: &str = "SELECT min(coalesce(lost_from, ?2), ?2) FROM deliveries WHERE seq = ?1";

const LEASE: &str = "
    UPDATE deliveries SET state = 'leased', due = 0, wake_at = ?3, lease_owner = ?2,
        lease_epoch = lease_epoch + 1, attempts = attempts + 1, updated_at = ?4
    WHERE seq = ?1";

const PARK: &str = "UPDATE deliveries SET due = 0, wake_at = ?2 WHERE seq = ?1";

/// How long a delivery is left alone when another is being made for its economic fact, in milliseconds.
const PARKED_MS: i64 = 250;

/// Deliveries of one connection that one claim passes over.
const PASSED_MAX: usize = 32;

const INTENT: &str = "INSERT INTO attempts (delivery_seq, number, owner, started_at) VALUES (?1, ?2, ?3, ?4)";

/// What a claim of deliveries executes: see the test of S13.
#[cfg(test)]
pub(in crate::sqlite) const CLAIM_STATEMENTS: &[&str] =
    &[NEXT_TENANT, NEXT_CONNECTION, NEXT_DELIVERY, RESPONSE, LAST_SENT, BEGUN, LOST, LEASE, PARK, INTENT];

pub(super) fn claim(tx: &mut Tx<'_>, request: &ClaimRequest) -> Result<Vec<DeliveryClaim>, StoreError> {
    wake::deliveries(tx.conn, request.now)?;
    let mut tenants = tenants(tx, request)?;
    let mut claims = Vec::new();
    while claims.len() < request.rows_max
        && let Some(mut turn) = tenants.pop_front()
    {
        let Some(claim) = next_of_tenant(tx, &mut turn, request)? else { continue };
        usage::count(&claim.scope, request.now, &Usage { attempts: 1, ..Usage::default() });
        claims.push(claim);
        tx.turns.deliveries.clone_from(&turn.tenant);
        turn.room -= 1;
        if turn.room > 0 {
            tenants.push_back(turn);
        }
    }
    Ok(claims)
}

/// The tenants with due deliveries on connections with room, whose turn it is first. More than `rows_max` are
/// not needed.
fn tenants(tx: &Tx<'_>, request: &ClaimRequest) -> Result<VecDeque<TenantLanes>, StoreError> {
    let mut found = VecDeque::new();
    let probe = |after: &str| first(tx.conn, NEXT_TENANT, [after], |c| c.get());
    circle(&tx.turns.deliveries, probe, |tenant| {
        let is_full = request.tenant_room.get(&tenant) == Some(&0);
        if is_full || !standing::is_served(tx.conn, &tenant)? || pause::of(tx.conn, &tenant)?.whole {
            return Ok(true);
        }
        let probe = |after: &str| first(tx.conn, NEXT_CONNECTION, [tenant.as_str(), after], |c| c.get());
        let room = |id: &str| Ok(if connection::is_paused(tx.conn, id)? { 0 } else { room(request, id) });
        let lanes = connections(request, &tx.turns.connection(&tenant), probe, room)?;
        if !lanes.is_empty() {
            let room = request.tenant_room.get(&tenant).copied().unwrap_or(request.tenant_room_max);
            found.push_back(TenantLanes { tenant, lanes, room });
        }
        Ok(found.len() < request.rows_max)
    })?;
    Ok(found)
}

/// The tenant's next delivery, through the connection whose turn it is.
fn next_of_tenant(
    tx: &mut Tx<'_>,
    turn: &mut TenantLanes,
    request: &ClaimRequest,
) -> Result<Option<DeliveryClaim>, StoreError> {
    while let Some(mut lane) = turn.lanes.pop_front() {
        let Some(claim) = claim_one(tx.conn, &turn.tenant, &lane.id, request)? else { continue };
        tx.turns.served(&turn.tenant, &lane.id);
        lane.room -= 1;
        if lane.room > 0 {
            turn.lanes.push_back(lane);
        }
        return Ok(Some(claim));
    }
    Ok(None)
}

/// What became of the delivery that was first in line.
enum Taken {
    Claimed(Box<DeliveryClaim>),
    /// Another one is being made for its economic fact.
    Parked,
}

fn claim_one(
    conn: &Connection,
    tenant: &str,
    connection: &str,
    request: &ClaimRequest,
) -> Result<Option<DeliveryClaim>, StoreError> {
    for _ in 0..PASSED_MAX {
        let next = first(conn, NEXT_DELIVERY, [tenant, connection], |c| {
            let (seq, run_seq) = (c.get::<i64>()?, c.get::<i64>()?);
            let read = read(c, &request.owner, request.now);
            Ok((seq, run_seq, read.and_then(|claim| Ok((claim, c.get::<Option<String>>()?)))))
        })?;
        let Some((seq, run_seq, read)) = next else { return Ok(None) };
        let taken = read.and_then(|(claim, once)| take(conn, (seq, run_seq), claim, once, request));
        match taken {
            Ok(Taken::Claimed(claim)) => return Ok(Some(*claim)),
            Ok(Taken::Parked) => {}
            // One row that cannot be read must not keep every tenant's others from being claimed.
            Err(StoreError::Corrupt { what, source }) => {
                bury(conn, seq, &format!("{what}: {source}"), request)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn take(
    conn: &Connection,
    (seq, run_seq): (i64, i64),
    mut claim: DeliveryClaim,
    once: Option<String>,
    request: &ClaimRequest,
) -> Result<Taken, StoreError> {
    if let Some(once) = once {
        let (connection, doubt_since) = (claim.connection.as_str(), claim.doubt_since);
        match once::take(conn, (connection, &once), (seq, doubt_since), request.now)? {
            Fact::UnderWay => {
                change(conn, PARK, params![seq, millis(request.now).saturating_add(PARKED_MS)])?;
                return Ok(Taken::Parked);
            }
            Fact::Made(response) => claim.made = Some(response),
            Fact::Open { doubt_since, begun_at } => {
                claim.absent_at = claim.absent_at.filter(|at| Some(*at) >= doubt_since);
                claim.doubt_since = doubt_since;
                claim.in_doubt = doubt_since.is_some();
                claim.begun_at = begun_at;
            }
        }
    }
    claim.responses = responses(conn, run_seq, &claim)?;
    if claim.attempt > 1 {
        let begun_at = first(conn, BEGUN, [seq], |c| c.time())?;
        claim.begun_at = begun_at.unwrap_or(claim.begun_at).min(claim.begun_at);
        claim.sent_sha256 = first(conn, LAST_SENT, [seq], |c| c.get())?;
    }
    if claim.in_doubt {
        claim.begun_at =
            first(conn, LOST, params![seq, millis(claim.begun_at)], |c| c.time())?.unwrap_or(claim.begun_at);
    }
    claim.until = lease(conn, seq, request)?;
    if !has(Bug::IntentAfterSend) {
        change(conn, INTENT, params![seq, claim.attempt, request.owner, millis(request.now)])?;
    }
    Ok(Taken::Claimed(Box::new(claim)))
}

/// Until when.
fn lease(conn: &Connection, seq: i64, request: &ClaimRequest) -> Result<Timestamp, StoreError> {
    let until = request.now.plus(Duration::from_millis(request.lease_ms));
    change(conn, LEASE, params![seq, request.owner, millis(until), millis(request.now)])?;
    Ok(until)
}

/// A delivery whose row cannot be read is a dead letter, without an attempt. Nobody was given the lease that it passes
/// through, so its epoch, which is the number of an attempt, is none that was used.
fn bury(conn: &Connection, seq: i64, why: &str, request: &ClaimRequest) -> Result<(), StoreError> {
    lease(conn, seq, request)?;
    let unused =
        "UPDATE deliveries SET attempts = attempts - 1, lease_epoch = lease_epoch - 1 WHERE seq = ?1";
    change(conn, unused, [seq])?;
    super::finish::unreadable(conn, seq, why, request.now)
}

fn read(c: &mut Columns<'_, '_>, owner: &str, now: Timestamp) -> Result<DeliveryClaim, StoreError> {
    let id = c.parsed()?;
    let epoch: u64 = c.count()?;
    let mut claim = DeliveryClaim {
        id,
        lease: Lease { owner: owner.to_owned(), epoch: epoch.saturating_add(1) },
        scope: c.scope()?,
        event: c.parsed()?,
        run: c.parsed()?,
        key: c.get()?,
        call_id: c.get()?,
        traceparent: None,
        connection: c.parsed()?,
        operation: c.get()?,
        body: c.json()?,
        is_corrected: c.get()?,
        sent_sha256: None,
        bindings: c.json_or_default()?,
        unless: c.json_option()?,
        captures: c.json_or_default()?,
        responses: BTreeMap::new(),
        attempt: 0,
        attempts_since_redrive: 0,
        in_doubt: false,
        doubt_since: None,
        absent_at: None,
        until: now,
        begun_at: now,
        made: None,
    };
    let (attempts, before): (u32, u32) = (c.count()?, c.count()?);
    claim.attempt = attempts.saturating_add(1);
    claim.attempts_since_redrive = claim.attempt.saturating_sub(before);
    claim.doubt_since = c.time_option()?;
    claim.in_doubt = claim.doubt_since.is_some();
    // An absence that is older than the doubt says nothing about it.
    claim.absent_at = c.time_option()?.filter(|at| Some(*at) >= claim.doubt_since);
    claim.made = c.json_option()?.filter(|_| claim.in_doubt);
    claim.traceparent = c.get()?;
    Ok(claim)
}

/// The responses that the delivery's bindings, and those of its existence check, copy from.
fn responses(
    conn: &Connection,
    run_seq: i64,
    claim: &DeliveryClaim,
) -> Result<BTreeMap<String, Value>, StoreError> {
    let of_check: &[Binding] = claim.unless.as_ref().map_or(&[], |check| &check.bindings);
    let names: BTreeSet<&str> =
        claim.bindings.iter().chain(of_check).map(|binding| binding.delivery.as_str()).collect();
    let mut responses = BTreeMap::new();
    for name in names {
        if let Some(response) = first(conn, RESPONSE, params![run_seq, name], |c| c.json())? {
            responses.insert(name.to_owned(), response);
        }
    }
    Ok(responses)
}
