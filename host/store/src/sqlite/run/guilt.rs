//! Who may have killed a host: what its witness says about the calls that had begun and not ended.
//!
//! A death counts for the runs whose module was being executed, before they are executed again (S6). Each is a suspect
//! and from then on executed alone, so that the next death has one suspect only. When all of them were of one module,
//! the module is guilty, too. All other runs get their attempt back: as if they had not been claimed.

use std::collections::BTreeSet;

use portolan_domain::{ModuleDigest, Timestamp};
use portolan_proof::{Bug, has};
use rusqlite::{Connection, params};

use crate::{
    StoreError,
    run::{Executing, ModuleDeaths},
    sqlite::row::{all, change, first, millis},
};

const FOREIGN: &str = "
    SELECT seq, id, tenant FROM runs INDEXED BY runs_wake
    WHERE wake_at IS NOT NULL AND state = 'leased' AND lease_owner <> ?1";

const LEASE_END: &str = "
    UPDATE runs SET state = 'pending', due = 1, due_at = ?2, wake_at = NULL, lease_owner = NULL,
        attempts = max(attempts - ?4, 0), process_deaths = process_deaths + ?3, suspect = max(suspect, ?3),
        updated_at = ?2
    WHERE seq = ?1 AND state = 'leased'";

const MODULE_DEATH: &str = "
    INSERT INTO module_deaths (tenant, module, deaths) VALUES (?1, ?2, 1)
    ON CONFLICT (tenant, module) DO UPDATE SET deaths = deaths + 1";

/// Ends every lease on a run that `owner` does not hold.
pub(in crate::sqlite) fn end_foreign(
    conn: &Connection,
    owner: &str,
    executing: &[Executing],
    now: Timestamp,
) -> Result<u64, StoreError> {
    let foreign =
        all(conn, FOREIGN, [owner], |c| Ok((c.get::<i64>()?, c.get::<String>()?, c.get::<String>()?)))?;
    let counted = !has(Bug::AttemptsCountedAfter);
    let mut suspects = BTreeSet::new();
    for (seq, id, tenant) in &foreign {
        let suspect = executing.iter().find(|call| call.run.as_str() == id);
        change(conn, LEASE_END, params![seq, millis(now), suspect.is_some(), counted])?;
        suspects.extend(suspect.map(|call| (call.module.as_str(), tenant.as_str())));
    }
    // What was executed beside them without a lease (a replay) may have killed the host as well.
    let modules: BTreeSet<_> = executing.iter().map(|call| call.module.as_str()).collect();
    for (module, tenant) in suspects.iter().filter(|_| modules.len() == 1) {
        change(conn, MODULE_DEATH, [*tenant, *module])?;
    }
    Ok(foreign.len() as u64)
}

/// Every module that was ever alone when a host died.
pub(super) fn modules(conn: &Connection) -> Result<Vec<ModuleDeaths>, StoreError> {
    all(conn, "SELECT tenant, module, deaths FROM module_deaths", [], |c| {
        Ok(ModuleDeaths { tenant: c.parsed()?, module: c.parsed()?, deaths: c.count()? })
    })
}

/// A person wants a run executed again: its module is given another chance, too.
pub(super) fn forgive(conn: &Connection, run_seq: i64) -> Result<(), StoreError> {
    let sql = "SELECT r.tenant, c.module FROM runs r JOIN run_records c ON c.run_seq = r.seq
        WHERE r.seq = ?1 AND c.module IS NOT NULL";
    let of = first(conn, sql, [run_seq], |c| Ok((c.get::<String>()?, c.parsed::<ModuleDigest>()?)))?;
    if let Some((tenant, module)) = of {
        let sql = "DELETE FROM module_deaths WHERE tenant = ?1 AND module = ?2";
        change(conn, sql, [tenant.as_str(), module.as_str()])?;
    }
    Ok(())
}
