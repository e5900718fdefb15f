//! Claims of notices: tenants take turns (S8), and within a tenant its rules.

use std::collections::VecDeque;

use portolan_domain::{NoticeId, NotificationRuleId, Scope, Timestamp};
use rusqlite::{Connection, params};

use super::{get, read_news};
use crate::{
    ClaimRequest, Lease, StoreError,
    notification::NoticeClaim,
    sqlite::{
        row::{change, first, integer, millis},
        turn::{TenantLanes, circle, connections, room},
        writer::Tx,
    },
};

const IS_DUE: &str = "SELECT 1 FROM notices INDEXED BY notices_claim WHERE due = 1 LIMIT 1";
const IS_TO_WAKE: &str =
    "SELECT 1 FROM notices INDEXED BY notices_wake WHERE wake_at IS NOT NULL AND wake_at <= ?1 LIMIT 1";
/// When the next one wakes.
pub(super) const NEXT_WAKE: &str =
    "SELECT min(wake_at) FROM notices INDEXED BY notices_wake WHERE wake_at IS NOT NULL";

/// Rows woken by one claim. More stay for the next.
const WAKES_PER_CLAIM_MAX: i64 = 512;
const WAKE: &str = "
    UPDATE notices SET state = 'pending', due = 1, wake_at = NULL, lease_owner = NULL
    WHERE seq IN (SELECT seq FROM notices INDEXED BY notices_wake WHERE wake_at IS NOT NULL AND wake_at <= ?1
                  ORDER BY wake_at LIMIT ?2)";

const NEXT_TENANT: &str = "
    SELECT tenant FROM notices INDEXED BY notices_claim WHERE due = 1 AND tenant > ?1 ORDER BY tenant LIMIT 1";
const NEXT_RULE: &str = "
    SELECT rule FROM notices INDEXED BY notices_claim WHERE due = 1 AND tenant = ?1 AND rule > ?2 ORDER BY rule LIMIT 1";
const IS_DELETED: &str = "SELECT deleted FROM notification_rules WHERE id = ?1";
const NEXT_NOTICE: &str = "
    SELECT seq, id, tenant, environment, rule, lease_epoch, attempts, kind, content FROM notices INDEXED BY notices_claim
    WHERE due = 1 AND tenant = ?1 AND rule = ?2 ORDER BY seq LIMIT 1";
const LEASE: &str = "
    UPDATE notices SET state = 'leased', due = 0, wake_at = ?3, lease_owner = ?2, lease_epoch = lease_epoch + 1,
        attempts = attempts + 1, updated_at = ?4
    WHERE seq = ?1";
const UNREADABLE: &str = "
    UPDATE notices SET state = 'failed', due = 0, wake_at = NULL, lease_owner = NULL, updated_at = ?2,
        reason = '{\"code\":\"unreadable\",\"message\":\"it cannot be read back from the store\"}'
    WHERE seq = ?1";

/// What such a rule has not told is not told any more: it is removed with it.
fn is_deleted(conn: &Connection, rule: &str) -> Result<bool, StoreError> {
    Ok(first(conn, IS_DELETED, [rule], |c| c.get())?.unwrap_or_default())
}

/// Whether a claim would find anything.
pub(super) fn is_any_due(conn: &Connection, now: Timestamp) -> Result<bool, StoreError> {
    let due = first(conn, IS_DUE, [], |c| c.get::<i64>())?;
    Ok(due.is_some() || first(conn, IS_TO_WAKE, [millis(now)], |c| c.get::<i64>())?.is_some())
}

pub(super) fn claim(tx: &mut Tx<'_>, request: &ClaimRequest) -> Result<Vec<NoticeClaim>, StoreError> {
    change(tx.conn, WAKE, params![millis(request.now), WAKES_PER_CLAIM_MAX])?;
    let mut tenants = tenants(tx, request)?;
    let mut claims = Vec::new();
    while claims.len() < request.rows_max
        && let Some(mut turn) = tenants.pop_front()
    {
        let Some(claim) = next_of_tenant(tx.conn, &mut turn, request)? else { continue };
        claims.push(claim);
        tx.turns.notices.clone_from(&turn.tenant);
        turn.room -= 1;
        if turn.room > 0 {
            tenants.push_back(turn);
        }
    }
    Ok(claims)
}

/// The tenants with due notices of rules with room, whose turn it is first.
fn tenants(tx: &Tx<'_>, request: &ClaimRequest) -> Result<VecDeque<TenantLanes>, StoreError> {
    let mut found = VecDeque::new();
    let probe = |after: &str| first(tx.conn, NEXT_TENANT, [after], |c| c.get());
    circle(&tx.turns.notices, probe, |tenant| {
        if request.tenant_room.get(&tenant) == Some(&0) {
            return Ok(true);
        }
        let probe = |after: &str| first(tx.conn, NEXT_RULE, [tenant.as_str(), after], |c| c.get());
        let room_of = |rule: &str| Ok(if is_deleted(tx.conn, rule)? { 0 } else { room(request, rule) });
        let lanes = connections(request, "", probe, room_of)?;
        if !lanes.is_empty() {
            let room = request.tenant_room.get(&tenant).copied().unwrap_or(request.tenant_room_max);
            found.push_back(TenantLanes { tenant, lanes, room });
        }
        Ok(found.len() < request.rows_max)
    })?;
    Ok(found)
}

fn next_of_tenant(
    conn: &Connection,
    turn: &mut TenantLanes,
    request: &ClaimRequest,
) -> Result<Option<NoticeClaim>, StoreError> {
    while let Some(mut lane) = turn.lanes.pop_front() {
        let Some(claim) = claim_one(conn, (&turn.tenant, &lane.id), request)? else { continue };
        lane.room -= 1;
        if lane.room > 0 {
            turn.lanes.push_back(lane);
        }
        return Ok(Some(claim));
    }
    Ok(None)
}

fn claim_one(
    conn: &Connection,
    (tenant, rule): (&str, &str),
    request: &ClaimRequest,
) -> Result<Option<NoticeClaim>, StoreError> {
    loop {
        let next = first(conn, NEXT_NOTICE, [tenant, rule], |c| {
            let seq = c.get::<i64>()?;
            let read = (|| {
                let (id, scope): (NoticeId, Scope) = (c.parsed()?, c.scope()?);
                let (rule, epoch, attempts): (NotificationRuleId, u64, u32) =
                    (c.parsed()?, c.count()?, c.count()?);
                let news = read_news(c, &scope)?;
                let lease = Lease { owner: request.owner.clone(), epoch: epoch.saturating_add(1) };
                let rule = get(conn, &scope, &rule)?;
                Ok(NoticeClaim { id, lease, rule, news, attempt: attempts.saturating_add(1) })
            })();
            Ok((seq, read))
        })?;
        let Some((seq, read)) = next else { return Ok(None) };
        let until = millis(request.now).saturating_add(integer(request.lease_ms));
        change(conn, LEASE, params![seq, request.owner, until, millis(request.now)])?;
        match read {
            Ok(claim) => return Ok(Some(claim)),
            // One that cannot be read must not keep the others.
            Err(StoreError::Corrupt { what, source }) => {
                tracing::error!(what, error = &*source, "a notice cannot be read back");
                change(conn, UNREADABLE, params![seq, millis(request.now)])?;
            }
            Err(error) => return Err(error),
        }
    }
}
