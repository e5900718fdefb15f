//! Modules: uploaded components. They belong to a tenant, not to an environment: a version is promoted from
//! one environment to the next by moving a mapping's pin.

use async_trait::async_trait;
use portolan_domain::{ModuleDigest, TenantId, Timestamp, contract::Description};

use crate::{Page, StoreError};

/// A stored module, without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// SHA-256 of the uploaded bytes.
    pub digest: ModuleDigest,
    /// Whose.
    pub tenant: TenantId,
    /// What it said of itself when it was uploaded.
    pub description: Description,
    /// Size of the component, in bytes.
    pub component_bytes: u64,
    /// Since when.
    pub uploaded_at: Timestamp,
}

/// Modules.
#[async_trait]
pub trait Modules: Send + Sync {
    /// Stores a module and its component. False when the tenant has it already (then nothing is changed).
    async fn module_create(&self, module: Module, component: Vec<u8>) -> Result<bool, StoreError>;
    /// One module of a tenant.
    async fn module_get(&self, tenant: &TenantId, digest: &ModuleDigest) -> Result<Module, StoreError>;
    /// Its component.
    async fn module_component(&self, tenant: &TenantId, digest: &ModuleDigest)
    -> Result<Vec<u8>, StoreError>;
    /// The modules of a tenant, newest first. `Page::before` is a digest.
    async fn module_list(&self, tenant: &TenantId, page: Page) -> Result<Vec<Module>, StoreError>;
}
