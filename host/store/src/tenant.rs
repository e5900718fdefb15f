//! Tenants: the operator's customers.

use async_trait::async_trait;
use portolan_domain::{TenantId, Timestamp, state::TenantState};

use crate::{Page, StoreError};

/// A stored tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Unique among tenants.
    pub name: String,
    /// Since when.
    pub created_at: Timestamp,
    /// Whether it is served.
    pub state: TenantState,
    /// Whether its work is paused.
    pub paused: bool,
}

impl Tenant {
    /// A new one, which is served.
    #[must_use]
    pub fn new(name: String, now: Timestamp) -> Self {
        Self { id: TenantId::generate(now), name, created_at: now, state: TenantState::Active, paused: false }
    }
}

/// Tenants.
#[async_trait]
pub trait Tenants: Send + Sync {
    /// Stores a tenant. `Conflict` when its name is taken.
    async fn tenant_create(&self, tenant: Tenant) -> Result<(), StoreError>;
    /// One tenant.
    async fn tenant_get(&self, id: &TenantId) -> Result<Tenant, StoreError>;
    /// All tenants, newest first.
    async fn tenant_list(&self, page: Page) -> Result<Vec<Tenant>, StoreError>;
}
