//! Modules: uploaded components. They belong to a tenant, not to an environment: a version is promoted from
//! one environment to the next by moving a mapping's pin.

use async_trait::async_trait;
use portolan_domain::{ModuleDigest, TenantId, Timestamp, contract::Description};
use serde_json::Value;

use crate::{Page, StoreError, run::Decision};

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
    /// What was found when it was uploaded: `{"imports", "exports", …}`; null in modules from before.
    pub sheet: Value,
    /// Who signed it; none: nobody that the tenant trusted then.
    pub signed: Option<Signed>,
    /// Since when and why it is not executed.
    pub paused: Option<Decision>,
    /// Since when.
    pub uploaded_at: Timestamp,
}

/// A signature that was checked when the module was uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The name of the tenant's key.
    pub by: String,
    /// Ed25519, 64 bytes.
    pub signature: Vec<u8>,
}

/// A public key (Ed25519) whose signatures a tenant trusts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKey {
    /// Unique in its tenant.
    pub name: String,
    /// 32 bytes.
    pub public_key: Vec<u8>,
}

/// What a tenant asks of its modules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SigningPolicy {
    /// Whether only signed modules are taken and pinned.
    pub required: bool,
    /// Whose signatures count, by name.
    pub keys: Vec<SigningKey>,
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
    /// Keeps the signature of a module that is stored already.
    async fn module_sign(
        &self,
        tenant: &TenantId,
        digest: &ModuleDigest,
        signed: Signed,
    ) -> Result<(), StoreError>;
    /// Runs of mappings that are pinned to it are not claimed until it is resumed (S22); a canary of it gets no objects.
    async fn module_pause(
        &self,
        tenant: &TenantId,
        digest: &ModuleDigest,
        decision: Decision,
    ) -> Result<(), StoreError>;
    /// It is executed again.
    async fn module_resume(
        &self,
        tenant: &TenantId,
        digest: &ModuleDigest,
        decision: Decision,
    ) -> Result<(), StoreError>;
    /// What the tenant asks of its modules.
    async fn signing_policy(&self, tenant: &TenantId) -> Result<SigningPolicy, StoreError>;
    /// Replaces it as a whole.
    async fn signing_policy_put(
        &self,
        tenant: &TenantId,
        policy: SigningPolicy,
        now: Timestamp,
    ) -> Result<(), StoreError>;
}
