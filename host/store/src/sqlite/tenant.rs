//! Tenants.

use async_trait::async_trait;
use portolan_domain::TenantId;
use rusqlite::{Connection, params};
use serde_json::json;

use super::{
    SqliteStore,
    row::{Columns, all, change, first, millis, slice},
};
use crate::{
    Page, StoreError,
    audit::{Change, TENANT_CREATED},
    tenant::{Tenant, Tenants},
};

pub(super) fn read(c: &mut Columns<'_, '_>) -> Result<Tenant, StoreError> {
    Ok(Tenant {
        id: c.parsed()?,
        name: c.get()?,
        created_at: c.time()?,
        state: c.parsed()?,
        paused: c.get()?,
    })
}

/// Stores a tenant; answers what the audit log tells of it.
pub(super) fn create(conn: &Connection, tenant: &Tenant) -> Result<Vec<Change>, StoreError> {
    let sql = "INSERT INTO tenants (id, name, created_at) VALUES (?1, ?2, ?3)";
    change(conn, sql, params![tenant.id.as_str(), tenant.name, millis(tenant.created_at)])?;
    let detail = json!({ "name": tenant.name });
    let told = [
        Change::of_host(TENANT_CREATED, tenant.id.as_str()),
        Change::of_tenant(&tenant.id, TENANT_CREATED, tenant.id.as_str()),
    ];
    Ok(told.map(|told| told.with(detail.clone())).into())
}

#[async_trait]
impl Tenants for SqliteStore {
    async fn tenant_create(&self, tenant: Tenant) -> Result<(), StoreError> {
        self.audited_after(move |tx| Ok(((), create(tx.conn, &tenant)?))).await
    }

    async fn tenant_get(&self, id: &TenantId) -> Result<Tenant, StoreError> {
        let id = id.clone();
        self.read(move |conn| {
            let sql = "SELECT id, name, created_at, state, paused_at IS NOT NULL FROM tenants WHERE id = ?1";
            first(conn, sql, [id.as_str()], read)?.ok_or(StoreError::NotFound)
        })
        .await
    }

    async fn tenant_list(&self, page: Page) -> Result<Vec<Tenant>, StoreError> {
        self.read(move |conn| {
            let part = slice(conn, &page, "SELECT seq FROM tenants WHERE id = ?1", [&page.before])?;
            let sql = "SELECT id, name, created_at, state, paused_at IS NOT NULL FROM tenants
                       WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2";
            all(conn, sql, params![part.before_seq, part.rows], read)
        })
        .await
    }
}
