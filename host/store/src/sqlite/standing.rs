//! How tenants stand.

use async_trait::async_trait;
use portolan_domain::{
    TenantId, Timestamp, quota::QuotaChange, retention::RetentionChange, state::TenantState,
};
use rusqlite::{Connection, params};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    SqliteStore, decision, key, owned,
    row::{Columns, all, change, first, json_of, millis},
    tenant,
};
use crate::{
    StoreError,
    audit::Change,
    key::Key,
    run::Decision,
    standing::{Purged, Standing, Standings},
    tenant::Tenant,
};

const SERVED: &str = "SELECT state = 'active' FROM tenants WHERE id = ?1";

/// What a claim executes here: see the test of S13.
#[cfg(test)]
pub(super) const CLAIM_STATEMENTS: &[&str] = &[SERVED];

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, name, created_at, state, paused_at IS NOT NULL, state_by, state_why, state_at, ends_at, quotas, retention,
                 (SELECT coalesce(sum(bytes), 0) FROM stored_bytes s WHERE s.tenant = t.id),
                 (SELECT count(*) FROM modules m WHERE m.tenant = t.id),
                 (SELECT coalesce(sum(component_bytes), 0) FROM modules m WHERE m.tenant = t.id)
             FROM tenants t ",
            $rest
        )
    };
}

/// Whether the tenant's work is to be claimed (S25).
pub(super) fn is_served(conn: &Connection, tenant: &str) -> Result<bool, StoreError> {
    Ok(first(conn, SERVED, [tenant], |c| c.get())?.unwrap_or(false))
}

fn read(c: &mut Columns<'_, '_>) -> Result<Standing, StoreError> {
    Ok(Standing {
        tenant: tenant::read(c)?,
        decided: decision::read_option(c)?,
        ends_at: c.time_option()?,
        quotas: c.json_or_default::<QuotaChange>()?,
        retention: c.json_or_default::<RetentionChange>()?,
        stored_bytes: u64::try_from(c.get::<i64>()?).unwrap_or_default(),
        modules: c.count()?,
        module_bytes: c.count()?,
    })
}

fn state_of(conn: &Connection, id: &TenantId) -> Result<TenantState, StoreError> {
    let sql = "SELECT state FROM tenants WHERE id = ?1";
    first(conn, sql, [id.as_str()], |c| c.parsed())?.ok_or(StoreError::NotFound)
}

fn set_state(
    conn: &Connection,
    id: &TenantId,
    (state, ends_at): (TenantState, Option<Timestamp>),
    decision: &Decision,
) -> Result<(), StoreError> {
    let sql = "UPDATE tenants SET state = ?2, state_by = ?3, state_why = ?4, state_at = ?5, ends_at = ?6 WHERE id = ?1";
    let at = (millis(decision.at), ends_at.map(millis));
    change(conn, sql, params![id.as_str(), state.as_str(), decision.by, decision.why, at.0, at.1])?;
    Ok(())
}

/// The host's chain and the tenant's both tell of it.
fn told(id: &TenantId, action: &'static str, detail: &Value) -> Vec<Change> {
    let both = [Change::of_host(action, id.as_str()), Change::of_tenant(id, action, id.as_str())];
    both.map(|told| told.with(detail.clone())).into()
}

impl SqliteStore {
    /// Changes a tenant's state from one of `from`.
    async fn tenant_state(
        &self,
        id: &TenantId,
        (from, otherwise): (&'static [TenantState], &'static str),
        (to, ends_at): (TenantState, Option<Timestamp>),
        (action, decision): (&'static str, Decision),
    ) -> Result<(), StoreError> {
        let id = id.clone();
        self.audited_after(move |tx| {
            if !from.contains(&state_of(tx.conn, &id)?) {
                return Err(StoreError::Conflict(otherwise));
            }
            set_state(tx.conn, &id, (to, ends_at), &decision)?;
            if to == TenantState::Purging {
                change(tx.conn, "DELETE FROM keys WHERE tenant = ?1", [id.as_str()])?;
            }
            let detail = json!({ "why": decision.why, "ends_at": ends_at.map(|at| at.to_string()) });
            Ok(((), told(&id, action, &detail)))
        })
        .await
    }

    /// Sets a column of a tenant that holds JSON.
    async fn tenant_set<T: Serialize + Send + 'static>(
        &self,
        id: &TenantId,
        (sql, action): (&'static str, &'static str),
        value: T,
    ) -> Result<(), StoreError> {
        let id = id.clone();
        self.audited_after(move |tx| {
            let text = json_of(&value)?;
            // Nothing set is null, so that the tenant stands like everybody.
            let set = Some(&text).filter(|text| *text != "{}");
            match change(tx.conn, sql, params![id.as_str(), set])? {
                0 => Err(StoreError::NotFound),
                _ => Ok(((), told(&id, action, &json!(value)))),
            }
        })
        .await
    }
}

const ENDED: (&[TenantState], &str) =
    (&[TenantState::Active, TenantState::Suspended], "the tenant is to be removed");

#[async_trait]
impl Standings for SqliteStore {
    async fn tenant_create_with_key(&self, tenant: Tenant, key: Key) -> Result<(), StoreError> {
        self.audited_after(move |tx| {
            let mut told = tenant::create(tx.conn, &tenant)?;
            key::insert(tx.conn, &key)?;
            told.push(key::told(&key, "key.create"));
            Ok(((), told))
        })
        .await
    }

    async fn standing(&self, id: &TenantId) -> Result<Standing, StoreError> {
        let id = id.clone();
        self.read(move |conn| {
            first(conn, select!("WHERE id = ?1"), [id.as_str()], read)?.ok_or(StoreError::NotFound)
        })
        .await
    }

    async fn standings_apart(&self) -> Result<Vec<Standing>, StoreError> {
        let sql =
            select!("INDEXED BY tenants_apart WHERE state <> 'active' OR quotas IS NOT NULL ORDER BY id");
        self.read(|conn| all(conn, sql, [], read)).await
    }

    async fn quotas_put(&self, id: &TenantId, quotas: QuotaChange) -> Result<(), StoreError> {
        let sql = "UPDATE tenants SET quotas = ?2 WHERE id = ?1";
        self.tenant_set(id, (sql, "tenant.quotas"), quotas).await
    }

    async fn retention_put(&self, id: &TenantId, retention: RetentionChange) -> Result<(), StoreError> {
        let sql = "UPDATE tenants SET retention = ?2 WHERE id = ?1";
        self.tenant_set(id, (sql, "tenant.retention"), retention).await
    }

    async fn tenant_suspend(&self, id: &TenantId, decision: Decision) -> Result<(), StoreError> {
        let to = (TenantState::Suspended, None);
        self.tenant_state(id, ENDED, to, ("tenant.suspend", decision)).await
    }

    async fn tenant_resume(&self, id: &TenantId, decision: Decision) -> Result<(), StoreError> {
        let from = (
            [TenantState::Suspended, TenantState::Deleting].as_slice(),
            "the tenant is neither suspended nor to be removed",
        );
        self.tenant_state(id, from, (TenantState::Active, None), ("tenant.resume", decision)).await
    }

    async fn tenant_delete(
        &self,
        id: &TenantId,
        ends_at: Timestamp,
        decision: Decision,
    ) -> Result<(), StoreError> {
        let to = (TenantState::Deleting, Some(ends_at));
        self.tenant_state(id, ENDED, to, ("tenant.delete-ask", decision)).await
    }

    async fn tenant_delete_confirm(&self, id: &TenantId, decision: Decision) -> Result<(), StoreError> {
        let from = ([TenantState::Deleting].as_slice(), "nobody has asked to have the tenant removed");
        let to = (TenantState::Purging, None);
        self.tenant_state(id, from, to, ("tenant.delete-confirm", decision)).await
    }

    async fn tenants_to_purge(&self, now: Timestamp) -> Result<Vec<TenantId>, StoreError> {
        let apart = self.standings_apart().await?;
        let mut purging = Vec::new();
        for standing in apart {
            let id = standing.tenant.id;
            match standing.tenant.state {
                TenantState::Purging => purging.push(id),
                TenantState::Deleting if standing.ends_at.is_some_and(|end| end <= now) => {
                    let why = "the time that was given for it is over".to_owned();
                    self.tenant_delete_confirm(&id, Decision { by: "host".to_owned(), why, at: now }).await?;
                    purging.push(id);
                }
                TenantState::Active | TenantState::Suspended | TenantState::Deleting => {}
            }
        }
        Ok(purging)
    }

    async fn tenant_purge(&self, id: &TenantId, rows_max: u32) -> Result<Purged, StoreError> {
        let id = id.clone();
        self.audited_after(move |tx| {
            if state_of(tx.conn, &id)? != TenantState::Purging {
                return Err(StoreError::Conflict("nobody has confirmed that the tenant is to be removed"));
            }
            let removed = owned::remove_some(tx.conn, id.as_str(), rows_max)?;
            if removed > 0 {
                return Ok((Purged::More(removed), Vec::new()));
            }
            owned::remove_tenant(tx.conn, id.as_str())?;
            Ok((Purged::All, vec![Change::of_host(crate::audit::TENANT_DELETED, id.as_str())]))
        })
        .await
    }
}
