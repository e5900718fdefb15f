//! Keys of the admin API. Only the SHA-256 of a key's secret is stored.

use async_trait::async_trait;
use portolan_domain::{Environment, KeyId, TenantId, Timestamp};

use crate::{Page, StoreError};

/// What a key may do.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Runs the host: tenants and their keys.
    Operator,
    /// Everything of one tenant.
    TenantAdmin,
    /// Modules, mappings, lookup tables and looking at events, of one tenant.
    TenantDeveloper,
    /// Looking, at one tenant.
    TenantViewer,
}

impl Role {
    /// As it is written everywhere: `tenant-admin`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::TenantAdmin => "tenant-admin",
            Self::TenantDeveloper => "tenant-developer",
            Self::TenantViewer => "tenant-viewer",
        }
    }
}

/// A stored key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its id.
    pub id: KeyId,
    /// What it may do.
    pub role: Role,
    /// Whose data it opens; none for an operator.
    pub tenant: Option<TenantId>,
    /// Which environment; none for all of them.
    pub environment: Option<Environment>,
    /// What people call it.
    pub name: String,
    /// SHA-256 of the secret.
    pub secret_sha256: [u8; 32],
    /// Since when.
    pub created_at: Timestamp,
    /// Until when, if it ends.
    pub expires_at: Option<Timestamp>,
    /// When it was used last, to the minute; none when it never was.
    pub last_used_at: Option<Timestamp>,
}

/// Keys.
#[async_trait]
pub trait Keys: Send + Sync {
    /// Stores a key.
    async fn key_create(&self, key: Key) -> Result<(), StoreError>;
    /// The key with this secret, expired or not.
    async fn key_find(&self, secret_sha256: [u8; 32]) -> Result<Option<Key>, StoreError>;
    /// Remembers that a key was used.
    async fn key_used(&self, id: &KeyId, at: Timestamp) -> Result<(), StoreError>;
    /// Stores a key in the place of another, which opens nothing from `until` on (or from its own end, if that is
    /// earlier). `NotFound` when there is no such other key of the same tenant.
    async fn key_rotate(&self, old: &KeyId, key: Key, until: Timestamp) -> Result<(), StoreError>;
    /// Whether any operator key exists: if not, the first start makes one.
    async fn key_operator_exists(&self) -> Result<bool, StoreError>;
    /// The keys of a tenant (`None`: the operators'), newest first.
    async fn key_list(&self, tenant: Option<&TenantId>, page: Page) -> Result<Vec<Key>, StoreError>;
    /// Removes a key of this tenant (`None`: an operator's).
    async fn key_delete(&self, tenant: Option<&TenantId>, id: &KeyId) -> Result<(), StoreError>;
}
