//! Modules and their components.

use async_trait::async_trait;
use portolan_domain::{ModuleDigest, TenantId, Timestamp, contract::Description, usage::Usage};
use rusqlite::{Connection, params};
use serde_json::{Value, json};

use super::{
    SqliteStore, decision,
    row::{Columns, all, change, first, integer, json, json_of, millis, slice},
    usage,
};
use crate::{
    Page, StoreError,
    audit::Change,
    module::{Module, Modules, Signed, SigningKey, SigningPolicy},
    run::Decision,
};

macro_rules! columns {
    () => {
        "digest, tenant, description, component_bytes, uploaded_at, sheet, signed_by, signature,
         paused_by, paused_why, paused_at"
    };
}

fn read(c: &mut Columns<'_, '_>) -> Result<Module, StoreError> {
    Ok(Module {
        digest: c.parsed()?,
        tenant: c.parsed()?,
        description: c.json_option::<Description>()?.ok_or(StoreError::NotFound)?,
        component_bytes: c.count()?,
        uploaded_at: c.time()?,
        sheet: c.json()?,
        signed: c
            .get::<Option<String>>()?
            .zip(c.get::<Option<Vec<u8>>>()?)
            .map(|(by, signature)| Signed { by, signature }),
        paused: decision::read_option(c)?,
    })
}

fn sign(
    conn: &Connection,
    tenant: &TenantId,
    digest: &ModuleDigest,
    signed: &Signed,
) -> Result<(), StoreError> {
    let sql = "UPDATE modules SET signed_by = ?3, signature = ?4 WHERE tenant = ?1 AND digest = ?2";
    change(conn, sql, params![tenant.as_str(), digest.as_str(), signed.by, signed.signature])?;
    Ok(())
}

fn exists(conn: &Connection, tenant: &TenantId, digest: &ModuleDigest) -> Result<(), StoreError> {
    let sql = "SELECT 1 FROM modules WHERE tenant = ?1 AND digest = ?2";
    let found = first(conn, sql, [tenant.as_str(), digest.as_str()], |c| c.get::<i64>())?;
    found.map(|_| ()).ok_or(StoreError::NotFound)
}

impl SqliteStore {
    /// Changes a module that is there, and tells the audit log when `work` says that it changed a row.
    async fn module_change<F>(
        &self,
        (tenant, digest): (&TenantId, &ModuleDigest),
        action: &'static str,
        detail: Value,
        work: F,
    ) -> Result<(), StoreError>
    where
        F: FnOnce(&Connection, &TenantId, &ModuleDigest) -> Result<usize, StoreError> + Send + 'static,
    {
        let (tenant, digest) = (tenant.clone(), digest.clone());
        let told = Change::of_tenant(&tenant, action, digest.as_str()).with(detail);
        self.audited_after(move |tx| {
            exists(tx.conn, &tenant, &digest)?;
            let changed = work(tx.conn, &tenant, &digest)? > 0;
            Ok(((), changed.then_some(told).into_iter().collect()))
        })
        .await
    }
}

#[async_trait]
impl Modules for SqliteStore {
    async fn module_create(&self, module: Module, component: Vec<u8>) -> Result<bool, StoreError> {
        self.audited_bytes(component.len(), move |tx| {
            let stored = change(
                tx.conn,
                "INSERT INTO modules (tenant, digest, description, component_bytes, uploaded_at, sheet)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (tenant, digest) DO NOTHING",
                params![
                    module.tenant.as_str(),
                    module.digest.as_str(),
                    json_of(&module.description)?,
                    integer(module.component_bytes),
                    millis(module.uploaded_at),
                    json(&module.sheet)
                ],
            )?;
            // An UPDATE leaves the number of the row that was inserted last as it is.
            if let Some(signed) = &module.signed {
                sign(tx.conn, &module.tenant, &module.digest, signed)?;
            }
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
            let sql = concat!("SELECT ", columns!(), " FROM modules WHERE tenant = ?1 AND digest = ?2");
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
            let sql = concat!(
                "SELECT ",
                columns!(),
                " FROM modules WHERE tenant = ?1 AND seq < ?2 ORDER BY seq DESC LIMIT ?3"
            );
            all(conn, sql, params![tenant.as_str(), part.before_seq, part.rows], read)
        })
        .await
    }

    async fn module_sign(
        &self,
        tenant: &TenantId,
        digest: &ModuleDigest,
        signed: Signed,
    ) -> Result<(), StoreError> {
        let detail = json!({ "by": signed.by });
        self.module_change((tenant, digest), "module.sign", detail, move |conn, tenant, digest| {
            sign(conn, tenant, digest, &signed)?;
            Ok(1)
        })
        .await
    }

    async fn module_pause(
        &self,
        tenant: &TenantId,
        digest: &ModuleDigest,
        decision: Decision,
    ) -> Result<(), StoreError> {
        let detail = json!({ "why": decision.why });
        self.module_change((tenant, digest), "module.pause", detail, move |conn, tenant, digest| {
            let sql = "UPDATE modules SET paused_by = ?3, paused_why = ?4, paused_at = ?5
                       WHERE tenant = ?1 AND digest = ?2 AND paused_at IS NULL";
            let at = millis(decision.at);
            change(conn, sql, params![tenant.as_str(), digest.as_str(), decision.by, decision.why, at])
        })
        .await
    }

    async fn module_resume(
        &self,
        tenant: &TenantId,
        digest: &ModuleDigest,
        decision: Decision,
    ) -> Result<(), StoreError> {
        let detail = json!({ "why": decision.why });
        self.module_change((tenant, digest), "module.resume", detail, |conn, tenant, digest| {
            let sql = "UPDATE modules SET paused_by = NULL, paused_why = NULL, paused_at = NULL
                       WHERE tenant = ?1 AND digest = ?2 AND paused_at IS NOT NULL";
            change(conn, sql, [tenant.as_str(), digest.as_str()])
        })
        .await
    }

    async fn signing_policy(&self, tenant: &TenantId) -> Result<SigningPolicy, StoreError> {
        let tenant = tenant.clone();
        self.read(move |conn| {
            let sql = "SELECT signatures_required FROM tenants WHERE id = ?1";
            let required = first(conn, sql, [tenant.as_str()], |c| c.get())?.ok_or(StoreError::NotFound)?;
            let sql = "SELECT name, public_key FROM signing_keys WHERE tenant = ?1 ORDER BY name";
            let keys = all(conn, sql, [tenant.as_str()], |c| {
                Ok(SigningKey { name: c.get()?, public_key: c.get()? })
            })?;
            Ok(SigningPolicy { required, keys })
        })
        .await
    }

    async fn signing_policy_put(
        &self,
        tenant: &TenantId,
        policy: SigningPolicy,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let tenant = tenant.clone();
        let names: Vec<&String> = policy.keys.iter().map(|key| &key.name).collect();
        let detail = json!({ "required": policy.required, "keys": names });
        let told = Change::of_tenant(&tenant, "signing-policy.update", tenant.as_str()).with(detail);
        self.audited(told, move |tx| {
            let sql = "UPDATE tenants SET signatures_required = ?2 WHERE id = ?1";
            if change(tx.conn, sql, params![tenant.as_str(), policy.required])? == 0 {
                return Err(StoreError::NotFound);
            }
            change(tx.conn, "DELETE FROM signing_keys WHERE tenant = ?1", [tenant.as_str()])?;
            for key in &policy.keys {
                let sql =
                    "INSERT INTO signing_keys (tenant, name, public_key, created_at) VALUES (?1, ?2, ?3, ?4)";
                change(tx.conn, sql, params![tenant.as_str(), key.name, key.public_key, millis(now)])?;
            }
            Ok(())
        })
        .await
    }
}
