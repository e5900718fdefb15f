//! Claims of runs: tenants take turns (S8), one run at a time.

use std::collections::{BTreeMap, VecDeque};

use portolan_proof::{Bug, has};
use rusqlite::{Connection, params};

use super::order;
use crate::{
    ClaimRequest, Lease, StoreError,
    run::RunClaim,
    sqlite::{
        event, mapping, pause,
        row::{Columns, change, first, integer, millis},
        standing,
        turn::{LaneRoom, circle, room},
        wake,
        writer::Tx,
    },
};

const NEXT_TENANT: &str = "
    SELECT tenant FROM runs INDEXED BY runs_claim
    WHERE turn = 1 AND due = 1 AND tenant > ?1 ORDER BY tenant LIMIT 1";

macro_rules! next_run {
    ($from:literal) => {
        concat!(
            "SELECT r.seq, r.event_seq, r.deferred, r.ordering_key, r.id, r.mapping, r.attempts, r.failures,
        r.process_deaths, r.suspect, r.lease_epoch,
        e.id, e.tenant, e.environment, e.source, e.source_name, e.system, e.kind, e.object_id,
        e.idempotency_key, e.occurred_at, e.received_at, e.media_type, e.state, e.reason, e.payload,
        e.cards_masked, e.traceparent ",
            $from
        )
    };
}

const NEXT_RUN: &str = next_run!(
    "FROM runs r INDEXED BY runs_claim CROSS JOIN events e ON e.seq = r.event_seq
     WHERE r.turn = 1 AND r.due = 1 AND r.tenant = ?1 ORDER BY r.seq LIMIT 1"
);

// Where something of a tenant is paused, its mappings are gone through, so that no paused run is walked over.
const RUN_AT: &str = next_run!("FROM runs r CROSS JOIN events e ON e.seq = r.event_seq WHERE r.seq = ?1");

const NEXT_MAPPING: &str = "
    SELECT mapping FROM runs INDEXED BY runs_claim_mapping
    WHERE turn = 1 AND due = 1 AND tenant = ?1 AND mapping > ?2 ORDER BY mapping LIMIT 1";

const FIRST_OF_MAPPING: &str = "
    SELECT seq FROM runs INDEXED BY runs_claim_mapping
    WHERE turn = 1 AND due = 1 AND tenant = ?1 AND mapping = ?2 ORDER BY seq LIMIT 1";

const LEASE: &str = "
    UPDATE runs SET state = 'leased', due = 0, wake_at = ?3, lease_owner = ?2, lease_epoch = lease_epoch + 1,
        attempts = attempts + 1, updated_at = ?4
    WHERE seq = ?1";

/// A planted bug: the attempt is counted by the finish.
const LEASE_UNCOUNTED: &str = "
    UPDATE runs SET state = 'leased', due = 0, wake_at = ?3, lease_owner = ?2, lease_epoch = lease_epoch + 1,
        updated_at = ?4
    WHERE seq = ?1";

const STOP_DEFERRING: &str = "UPDATE runs SET deferred = 0, blocks = 1 WHERE seq = ?1";

/// What a claim of runs executes: see the test of S13.
#[cfg(test)]
pub(in crate::sqlite) fn claim_statements() -> Vec<&'static str> {
    let own = [NEXT_TENANT, NEXT_RUN, RUN_AT, NEXT_MAPPING, FIRST_OF_MAPPING, LEASE, STOP_DEFERRING];
    own.iter().chain(order::CLAIM_STATEMENTS).copied().collect()
}

/// The claimed run and its place.
struct Found {
    seq: i64,
    event_seq: i64,
    deferred: bool,
    ordering_key: String,
    claim: RunClaim,
}

pub(super) fn claim(tx: &mut Tx<'_>, request: &ClaimRequest) -> Result<Vec<RunClaim>, StoreError> {
    wake::runs(tx.conn, request.now)?;
    let mut lanes = lanes(tx.conn, &tx.turns.runs, request)?;
    let mut claims = Vec::new();
    while claims.len() < request.rows_max
        && let Some((mut lane, mut unpaused)) = lanes.pop_front()
    {
        let Some(found) = next_readable(tx.conn, (&lane.id, unpaused.as_mut()), request)? else { continue };
        lease(tx.conn, &found, request)?;
        claims.push(found.claim);
        lane.room -= 1;
        tx.turns.runs.clone_from(&lane.id);
        if lane.room > 0 {
            lanes.push_back((lane, unpaused));
        }
    }
    Ok(claims)
}

/// A tenant's lane, and what of it can be claimed when some of its mappings are paused.
type Lane = (LaneRoom, Option<Unpaused>);

/// The first runs of those mappings of a tenant that are not paused. Looked up once for a claim, not anew for every run: a
/// claim changes what comes next in the mapping alone whose run it takes.
#[derive(Debug, Default)]
struct Unpaused {
    firsts: BTreeMap<i64, String>,
    /// The mapping whose first run was taken last: the one after it is not looked up yet.
    taken: Option<String>,
}

impl Unpaused {
    fn of(conn: &Connection, tenant: &str) -> Result<Self, StoreError> {
        let (mut unpaused, mut at) = (Self::default(), String::new());
        while let Some(mapping) = first(conn, NEXT_MAPPING, [tenant, &at], |c| c.get::<String>())? {
            if !mapping::is_paused(conn, &mapping)? {
                unpaused.add(conn, tenant, &mapping)?;
            }
            at = mapping;
        }
        Ok(unpaused)
    }

    fn add(&mut self, conn: &Connection, tenant: &str, mapping: &str) -> Result<(), StoreError> {
        let seq = first(conn, FIRST_OF_MAPPING, [tenant, mapping], |c| c.get::<i64>())?;
        self.firsts.extend(seq.map(|seq| (seq, mapping.to_owned())));
        Ok(())
    }

    /// Takes the earliest.
    fn next(
        &mut self,
        conn: &Connection,
        tenant: &str,
        request: &ClaimRequest,
    ) -> Result<Option<Read>, StoreError> {
        if let Some(mapping) = self.taken.take() {
            self.add(conn, tenant, &mapping)?;
        }
        let Some((seq, mapping)) = self.firsts.pop_first() else { return Ok(None) };
        self.taken = Some(mapping);
        first(conn, RUN_AT, [seq], |c| {
            let seq = c.get()?;
            Ok((seq, read(c, seq, request)))
        })
    }
}

/// The tenants with due runs and room, whose turn it is first. More than `rows_max` are not needed.
fn lanes(conn: &Connection, last: &str, request: &ClaimRequest) -> Result<VecDeque<Lane>, StoreError> {
    let mut lanes = VecDeque::new();
    let probe = |after: &str| first(conn, NEXT_TENANT, [after], |c| c.get());
    circle(last, probe, |id| {
        let room = room(request, &id);
        if room > 0 && standing::is_served(conn, &id)? {
            let paused = pause::of(conn, &id)?;
            if !paused.whole {
                let unpaused = paused.in_part.then(|| Unpaused::of(conn, &id)).transpose()?;
                lanes.push_back((LaneRoom { id, room }, unpaused));
            }
        }
        Ok(lanes.len() < request.rows_max)
    })?;
    Ok(lanes)
}

/// Runs of one tenant that one claim may find unreadable.
const UNREADABLE_MAX: usize = 32;

/// One row that cannot be read must not keep every tenant's others from being claimed: it waits for a person.
fn next_readable(
    conn: &Connection,
    (tenant, mut unpaused): (&str, Option<&mut Unpaused>),
    request: &ClaimRequest,
) -> Result<Option<Found>, StoreError> {
    for _ in 0..UNREADABLE_MAX {
        let next = match unpaused.as_deref_mut() {
            Some(unpaused) => unpaused.next(conn, tenant, request),
            None => next(conn, tenant, request),
        };
        match next? {
            None => return Ok(None),
            Some((_, Ok(found))) => return Ok(Some(found)),
            Some((seq, Err(StoreError::Corrupt { what, source }))) => {
                let until = millis(request.now).saturating_add(integer(request.lease_ms));
                change(conn, LEASE_UNCOUNTED, params![seq, request.owner, until, millis(request.now)])?;
                super::finish::unreadable(conn, seq, &format!("{what}: {source}"), request.now)?;
            }
            Some((_, Err(error))) => return Err(error),
        }
    }
    Ok(None)
}

type Read = (i64, Result<Found, StoreError>);

fn next(conn: &Connection, tenant: &str, request: &ClaimRequest) -> Result<Option<Read>, StoreError> {
    first(conn, NEXT_RUN, [tenant], |c| {
        let seq = c.get()?;
        Ok((seq, read(c, seq, request)))
    })
}

fn read(c: &mut Columns<'_, '_>, seq: i64, request: &ClaimRequest) -> Result<Found, StoreError> {
    let (event_seq, deferred, ordering_key) = (c.get()?, c.get()?, c.get()?);
    let (id, mapping) = (c.parsed()?, c.parsed()?);
    let attempts: u32 = c.count()?;
    let (failures, process_deaths) = (c.count()?, c.count()?);
    let suspect = c.get()?;
    let epoch: u64 = c.count()?;
    let lease = Lease { owner: request.owner.clone(), epoch: epoch.saturating_add(1) };
    let attempt = attempts.saturating_add(1);
    let event = event::read(c)?;
    let claim = RunClaim { id, lease, event, mapping, attempt, failures, process_deaths, suspect };
    Ok(Found { seq, event_seq, deferred, ordering_key, claim })
}

fn lease(conn: &Connection, found: &Found, request: &ClaimRequest) -> Result<(), StoreError> {
    if found.deferred {
        change(conn, STOP_DEFERRING, [found.seq])?;
        order::blocked(conn, found.claim.mapping.as_str(), &found.ordering_key, found.event_seq)?;
    }
    let until = millis(request.now).saturating_add(integer(request.lease_ms));
    let lease = if has(Bug::AttemptsCountedAfter) { LEASE_UNCOUNTED } else { LEASE };
    change(conn, lease, params![found.seq, request.owner, until, millis(request.now)])?;
    Ok(())
}
