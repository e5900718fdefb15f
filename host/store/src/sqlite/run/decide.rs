//! What people decide about runs.

use portolan_domain::{RunId, Scope, contract::Reference, state::RunState};
use rusqlite::{Connection, params};
use serde_json::Value;

use super::{
    finish::{Place, place, resolve},
    guilt,
};
use crate::{
    StoreError,
    run::{Decided, Decision},
    sqlite::{
        decision, delivery, reference,
        row::{change, first, json, millis},
    },
};

const IN_SCOPE: &str = "
    SELECT seq, event_seq, tenant, environment, mapping, ordering_key, state FROM runs
    WHERE id = ?1 AND tenant = ?2 AND environment = ?3";

/// Counting begins anew, so that old failures do not make the next one final. Once a suspect, it stays one.
const REDRIVE: &str = "
    UPDATE runs SET state = 'pending', due = 1, due_at = ?2, attempts = 0, failures = 0, process_deaths = 0,
        reason = ?3, updated_at = ?2
    WHERE seq = ?1";

/// The run, if it is in the state that the decision is about.
fn in_state(
    conn: &Connection,
    scope: &Scope,
    id: &RunId,
    wanted: (RunState, &'static str),
) -> Result<Place, StoreError> {
    let params = [id.as_str(), scope.tenant.as_str(), scope.environment.as_str()];
    let (run, state) = first(conn, IN_SCOPE, params, |c| Ok((place(c)?, c.parsed::<RunState>()?)))?
        .ok_or(StoreError::NotFound)?;
    if state == wanted.0 { Ok(run) } else { Err(StoreError::Conflict(wanted.1)) }
}

pub(super) fn approve(
    conn: &Connection,
    scope: &Scope,
    id: &RunId,
    decision: &Decision,
) -> Result<Decided, StoreError> {
    let run = in_state(conn, scope, id, (RunState::Held, "the run is not held"))?;
    let decided = decision::keep_or_propose(conn, scope, id.as_str(), ("approve", &Value::Null), decision)?;
    if decided == Decided::Proposed {
        return Ok(decided);
    }
    let sql = "SELECT held_references FROM run_records WHERE run_seq = ?1";
    let references: Vec<Reference> =
        first(conn, sql, [run.seq], |c| c.json_or_default())?.unwrap_or_default();
    reference::remember(conn, scope, run.event_seq, &references)?;
    let state =
        if delivery::plan::is_empty(conn, run.seq)? { RunState::Delivered } else { RunState::Planned };
    resolve(conn, &run, state, &decision::reason("approved", decision), decision.at)?;
    delivery::plan::release(conn, run.seq, decision.at)?;
    Ok(decided)
}

pub(super) fn refuse(
    conn: &Connection,
    scope: &Scope,
    id: &RunId,
    decision: &Decision,
) -> Result<(), StoreError> {
    let run = in_state(conn, scope, id, (RunState::Held, "the run is not held"))?;
    decision::keep(conn, scope, id.as_str(), "refuse", decision)?;
    let reason = decision::reason("refused", decision);
    resolve(conn, &run, RunState::Refused, &reason, decision.at)?;
    delivery::plan::cancel(conn, run.seq, &reason, decision.at)
}

pub(super) fn redrive(
    conn: &Connection,
    scope: &Scope,
    id: &RunId,
    decision: &Decision,
) -> Result<(), StoreError> {
    let run = in_state(conn, scope, id, (RunState::Dead, "the run is not dead"))?;
    decision::keep(conn, scope, id.as_str(), "redrive", decision)?;
    let reason = json(&decision::reason("redriven", decision));
    change(conn, REDRIVE, params![run.seq, millis(decision.at), reason])?;
    guilt::forgive(conn, run.seq)?;
    Ok(())
}
