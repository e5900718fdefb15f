//! What people decided: kept for ever, beside the reason that the row itself shows.

use portolan_domain::Scope;
use rusqlite::{Connection, params};
use serde_json::{Value, json};

use super::row::{change, millis};
use crate::{StoreError, run::Decision};

/// Keeps a decision about a run or a delivery.
pub(super) fn keep(
    conn: &Connection,
    scope: &Scope,
    subject: &str,
    action: &'static str,
    decision: &Decision,
) -> Result<(), StoreError> {
    change(
        conn,
        "INSERT INTO decisions (tenant, environment, subject, action, by, why, at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            scope.tenant.as_str(),
            scope.environment.as_str(),
            subject,
            action,
            decision.by,
            decision.why,
            millis(decision.at)
        ],
    )?;
    Ok(())
}

/// The reason that the row shows from now on.
pub(super) fn reason(code: &str, decision: &Decision) -> Value {
    json!({ "code": code, "message": decision.why, "by": decision.by })
}
