//! How an operator lets a tenant be served: its state, its quotas, how long what is finished is kept, and its end.

use async_trait::async_trait;
use portolan_domain::{TenantId, Timestamp, quota::QuotaChange, retention::RetentionChange};

use crate::{StoreError, key::Key, run::Decision, tenant::Tenant};

/// How a tenant stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Who.
    pub tenant: Tenant,
    /// Who decided so, and why; none while nobody has.
    pub decided: Option<Decision>,
    /// When a tenant that is `deleting` is removed without anybody's word.
    pub ends_at: Option<Timestamp>,
    /// What an operator set for it.
    pub quotas: QuotaChange,
    /// What was set for it.
    pub retention: RetentionChange,
    /// What is stored for it, in bytes.
    pub stored_bytes: u64,
    /// Modules that are stored for it.
    pub modules: u64,
    /// Their bytes.
    pub module_bytes: u64,
}

/// What one step of a removal did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purged {
    /// So many rows are gone; there are more.
    More(u64),
    /// Nothing of the tenant is left, itself included.
    All,
}

/// How tenants stand.
#[async_trait]
pub trait Standings: Send + Sync {
    /// Stores a tenant and its first key together. `Conflict` when its name is taken.
    async fn tenant_create_with_key(&self, tenant: Tenant, key: Key) -> Result<(), StoreError>;
    /// How a tenant stands.
    async fn standing(&self, id: &TenantId) -> Result<Standing, StoreError>;
    /// Those that are not active, or have quotas of their own.
    async fn standings_apart(&self) -> Result<Vec<Standing>, StoreError>;
    /// Sets what a tenant may use.
    async fn quotas_put(&self, id: &TenantId, quotas: QuotaChange) -> Result<(), StoreError>;
    /// Sets how long what is finished is kept.
    async fn retention_put(&self, id: &TenantId, retention: RetentionChange) -> Result<(), StoreError>;
    /// Stops a tenant: none of its runs and deliveries is claimed from the moment that this is stored (S25). What is under
    /// way ends. Again: changes who and why. `Conflict` when it is being removed.
    async fn tenant_suspend(&self, id: &TenantId, decision: Decision) -> Result<(), StoreError>;
    /// Lets it be served again: everything goes on where it stood. `Conflict` when it is active or being removed.
    async fn tenant_resume(&self, id: &TenantId, decision: Decision) -> Result<(), StoreError>;
    /// Suspends a tenant, which is removed at `ends_at`, or when that is confirmed. `Conflict` when that was asked already.
    async fn tenant_delete(
        &self,
        id: &TenantId,
        ends_at: Timestamp,
        decision: Decision,
    ) -> Result<(), StoreError>;
    /// Has it removed: its keys open nothing from now on. `Conflict` when it is not `deleting`. There is no way back.
    async fn tenant_delete_confirm(&self, id: &TenantId, decision: Decision) -> Result<(), StoreError>;
    /// Has those removed whose time has come; answers which are to be removed now.
    async fn tenants_to_purge(&self, now: Timestamp) -> Result<Vec<TenantId>, StoreError>;
    /// Removes some rows of a tenant that is to be removed: about `rows_max`, and the last step the tenant itself, with
    /// its audit log. The host's tells of it. Other tenants' rows are not touched (S26).
    async fn tenant_purge(&self, id: &TenantId, rows_max: u32) -> Result<Purged, StoreError>;
}
