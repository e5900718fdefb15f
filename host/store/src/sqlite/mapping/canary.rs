//! Canaries: how often their runs fail is counted in the transactions that end these, and the share is 0 again in the one
//! that exceeds the budget (S21).

use portolan_domain::{AlertId, Scope, Timestamp, contract::Severity};
use rusqlite::{Connection, params};
use serde_json::json;

use crate::{
    StoreError,
    alert::NewAlert,
    mapping::Canary,
    sqlite::{
        alert,
        row::{Columns, change, first, json_of},
    },
};

const GET: &str = "SELECT canary, canary_runs, canary_failures FROM mappings WHERE id = ?1";
const COUNT: &str = "UPDATE mappings SET canary_runs = ?2, canary_failures = ?3 WHERE id = ?1";

/// Three columns: the canary and its two counts.
pub(super) fn read(c: &mut Columns<'_, '_>) -> Result<Option<Canary>, StoreError> {
    let (canary, runs, failures) = (c.json_option::<Canary>()?, c.count()?, c.count()?);
    Ok(canary.map(|canary| Canary { runs, failures, ..canary }))
}

/// Another canary, whose runs are counted from 0.
pub(super) fn put(conn: &Connection, mapping: &str, canary: Option<&Canary>) -> Result<(), StoreError> {
    let canary = canary.map(json_of).transpose()?;
    change(conn, "UPDATE mappings SET canary = ?2 WHERE id = ?1", params![mapping, canary])?;
    change(conn, COUNT, params![mapping, 0, 0])?;
    Ok(())
}

/// A run of the canary has ended. `module`: which one it was, in case it is another by now.
pub(in crate::sqlite) fn ran(
    conn: &Connection,
    (scope, mapping): (&Scope, &str),
    module: &str,
    failed: bool,
    now: Timestamp,
) -> Result<(), StoreError> {
    let Some(canary) = first(conn, GET, [mapping], read)?.flatten() else { return Ok(()) };
    if canary.module.as_str() != module || canary.per_mille == 0 {
        return Ok(());
    }
    let failures = canary.failures.saturating_add(u32::from(failed));
    if failures > canary.failures_max {
        let returned = Canary { per_mille: 0, returned_at: Some(now), ..canary.clone() };
        change(conn, "UPDATE mappings SET canary = ?2 WHERE id = ?1", params![mapping, json_of(&returned)?])?;
        change(conn, COUNT, params![mapping, canary.runs.saturating_add(1), failures])?;
        return alert::raise(conn, scope, alert::From::default(), &[told(mapping, &canary, failures, now)]);
    }
    let runs = canary.runs.saturating_add(1);
    let (runs, failures) = if runs >= canary.runs_max { (0, 0) } else { (runs, failures) };
    change(conn, COUNT, params![mapping, runs, failures])?;
    Ok(())
}

fn told(mapping: &str, canary: &Canary, failures: u32, at: Timestamp) -> NewAlert {
    NewAlert {
        id: AlertId::generate(at),
        severity: Severity::Critical,
        code: "canary-returned".to_owned(),
        title: format!("the canary of {mapping} failed too often and gets no more objects"),
        detail: json!({
            "mapping": mapping,
            "module": canary.module,
            "runs": canary.runs.saturating_add(1),
            "failures": failures,
            "failures_max": canary.failures_max,
            "per_mille": canary.per_mille,
        }),
        at,
    }
}
