//! The kill switch of a whole tenant: nothing of it is executed or sent, everything is kept, and what arrives is stored.
//! (Those of a connection, a mapping and a module are with their nouns.)

use async_trait::async_trait;
use portolan_domain::TenantId;

use crate::{StoreError, run::Decision};

/// Pauses.
#[async_trait]
pub trait Pauses: Send + Sync {
    /// The tenant's runs and deliveries are not claimed until it is resumed (S22). A pause that is there stays as it is.
    async fn tenant_pause(&self, tenant: &TenantId, decision: Decision) -> Result<(), StoreError>;
    /// They are claimed again.
    async fn tenant_go_on(&self, tenant: &TenantId, decision: Decision) -> Result<(), StoreError>;
    /// Since when and why it is paused.
    async fn tenant_paused(&self, tenant: &TenantId) -> Result<Option<Decision>, StoreError>;
}
