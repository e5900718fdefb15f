//! What is paused (S22): a tenant as a whole, or some of its mappings and modules.

use async_trait::async_trait;
use portolan_domain::TenantId;
use rusqlite::{Connection, params};
use serde_json::json;

use super::{
    SqliteStore, decision,
    row::{change, first, millis},
};
use crate::{StoreError, audit::Change, pause::Pauses, run::Decision};

/// Indexes that hold only what is paused: as a rule they are empty.
const PAUSES: &str = "
    SELECT paused_at IS NOT NULL,
        EXISTS (SELECT 1 FROM mappings INDEXED BY mappings_paused WHERE tenant = ?1 AND paused_at IS NOT NULL)
        OR EXISTS (SELECT 1 FROM modules INDEXED BY modules_paused WHERE tenant = ?1 AND paused_at IS NOT NULL)
    FROM tenants WHERE id = ?1";

/// What claims execute here: see the test of S13.
#[cfg(test)]
pub(super) const CLAIM_STATEMENTS: &[&str] = &[PAUSES];

/// What a claim must know of a tenant.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Paused {
    /// Nothing of it is claimed.
    pub(super) whole: bool,
    /// Some of its mappings or modules are paused.
    pub(super) in_part: bool,
}

/// What of a tenant is paused.
pub(super) fn of(conn: &Connection, tenant: &str) -> Result<Paused, StoreError> {
    let read = first(conn, PAUSES, [tenant], |c| Ok(Paused { whole: c.get()?, in_part: c.get()? }))?;
    Ok(read.unwrap_or_default())
}

impl SqliteStore {
    async fn tenant_turn(
        &self,
        tenant: &TenantId,
        (action, sql): (&'static str, &'static str),
        decision: Decision,
    ) -> Result<(), StoreError> {
        let tenant = tenant.clone();
        let told = Change::of_tenant(&tenant, action, tenant.as_str()).with(json!({ "why": decision.why }));
        self.audited_after(move |tx| {
            let at = millis(decision.at);
            let known = "SELECT 1 FROM tenants WHERE id = ?1";
            first(tx.conn, known, [tenant.as_str()], |c| c.get::<i64>())?.ok_or(StoreError::NotFound)?;
            let changed = change(tx.conn, sql, params![tenant.as_str(), decision.by, decision.why, at])? > 0;
            // What stands already is not told again, with a reason that is kept nowhere.
            Ok(((), changed.then_some(told).into_iter().collect()))
        })
        .await
    }
}

#[async_trait]
impl Pauses for SqliteStore {
    async fn tenant_pause(&self, tenant: &TenantId, decision: Decision) -> Result<(), StoreError> {
        let sql = "UPDATE tenants SET paused_by = ?2, paused_why = ?3, paused_at = ?4
                   WHERE id = ?1 AND paused_at IS NULL";
        self.tenant_turn(tenant, ("tenant.pause", sql), decision).await
    }

    async fn tenant_go_on(&self, tenant: &TenantId, decision: Decision) -> Result<(), StoreError> {
        let sql = "UPDATE tenants SET paused_by = NULL, paused_why = NULL, paused_at = NULL
                   WHERE id = ?1 AND paused_at IS NOT NULL
                     AND ?2 IS NOT NULL AND ?3 IS NOT NULL AND ?4 IS NOT NULL";
        self.tenant_turn(tenant, ("tenant.go-on", sql), decision).await
    }

    async fn tenant_paused(&self, tenant: &TenantId) -> Result<Option<Decision>, StoreError> {
        let tenant = tenant.clone();
        self.read(move |conn| {
            let sql = "SELECT paused_by, paused_why, paused_at FROM tenants WHERE id = ?1";
            first(conn, sql, [tenant.as_str()], decision::read_option)?.ok_or(StoreError::NotFound)
        })
        .await
    }
}
