//! Modules and their components.

use async_trait::async_trait;
use portolan_domain::{ModuleDigest, TenantId, contract::Description, usage::Usage};
use rusqlite::params;
use serde_json::json;

use super::{
    SqliteStore,
    row::{Columns, all, change, first, integer, json_of, millis, slice},
    usage,
};
use crate::{
    Page, StoreError,
    audit::Change,
    module::{Module, Modules},
};

fn read(c: &mut Columns<'_, '_>) -> Result<Module, StoreError> {
    Ok(Module {
        digest: c.parsed()?,
        tenant: c.parsed()?,
        description: c.json_option::<Description>()?.ok_or(StoreError::NotFound)?,
        component_bytes: c.count()?,
        uploaded_at: c.time()?,
    })
}

#[async_trait]
impl Modules for SqliteStore {
    async fn module_create(&self, module: Module, component: Vec<u8>) -> Result<bool, StoreError> {
        self.audited_after(move |tx| {
            let stored = change(
                tx.conn,
                "INSERT INTO modules (tenant, digest, description, component_bytes, uploaded_at)
                 VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (tenant, digest) DO NOTHING",
                params![
                    module.tenant.as_str(),
                    module.digest.as_str(),
                    json_of(&module.description)?,
                    integer(module.component_bytes),
                    millis(module.uploaded_at)
                ],
            )?;
            if stored == 0 {
                return Ok((false, Vec::new()));
            }
            let sql = "INSERT INTO module_components (module_seq, component) VALUES (?1, ?2)";
            change(tx.conn, sql, params![tx.conn.last_insert_rowid(), component])?;
            let bytes = module.component_bytes;
            let used = Usage { modules: 1, module_bytes: bytes, ..Usage::default() };
            usage::count_of_tenant(&module.tenant, module.uploaded_at, &used);
            usage::stores(&module.tenant, None, integer(bytes));
            let told = Change::of_tenant(&module.tenant, "module.upload", module.digest.as_str());
            let detail = json!({ "name": module.description.name, "version": module.description.version });
            Ok((true, vec![told.with(detail)]))
        })
        .await
    }

    async fn module_get(&self, tenant: &TenantId, digest: &ModuleDigest) -> Result<Module, StoreError> {
        let (tenant, digest) = (tenant.clone(), digest.clone());
        self.read(move |conn| {
            let sql = "SELECT digest, tenant, description, component_bytes, uploaded_at FROM modules
                       WHERE tenant = ?1 AND digest = ?2";
            first(conn, sql, [tenant.as_str(), digest.as_str()], read)?.ok_or(StoreError::NotFound)
        })
        .await
    }

    async fn module_component(
        &self,
        tenant: &TenantId,
        digest: &ModuleDigest,
    ) -> Result<Vec<u8>, StoreError> {
        let (tenant, digest) = (tenant.clone(), digest.clone());
        self.read(move |conn| {
            let sql = "SELECT c.component FROM modules m JOIN module_components c ON c.module_seq = m.seq
                       WHERE m.tenant = ?1 AND m.digest = ?2";
            first(conn, sql, [tenant.as_str(), digest.as_str()], |c| c.get())?.ok_or(StoreError::NotFound)
        })
        .await
    }

    async fn module_list(&self, tenant: &TenantId, page: Page) -> Result<Vec<Module>, StoreError> {
        let tenant = tenant.clone();
        self.read(move |conn| {
            let find = "SELECT seq FROM modules WHERE digest = ?1 AND tenant = ?2";
            let part = slice(conn, &page, find, params![page.before, tenant.as_str()])?;
            let sql = "SELECT digest, tenant, description, component_bytes, uploaded_at FROM modules
                       WHERE tenant = ?1 AND seq < ?2 ORDER BY seq DESC LIMIT ?3";
            all(conn, sql, params![tenant.as_str(), part.before_seq, part.rows], read)
        })
        .await
    }
}
