//! Everything that is stored for a tenant, as one file.

use std::path::Path;

use async_trait::async_trait;
use portolan_domain::{TenantId, Timestamp};

use crate::StoreError;

/// What an export holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of the file.
    pub sha256: [u8; 32],
    /// Rows in it.
    pub rows: u64,
}

/// Exports.
#[async_trait]
pub trait Exports: Send + Sync {
    /// Writes everything of a tenant but secrets to a new file, as one state of the database: lines of JSON, the first
    /// says what it is, each of the others is a row of a noun, the last counts them. Its digest is remembered, so that a
    /// removal can be confirmed with it.
    async fn export_write(&self, tenant: &TenantId, to: &Path, now: Timestamp) -> Result<Export, StoreError>;
    /// Whether the latest export of this tenant has this digest.
    async fn export_known(&self, tenant: &TenantId, sha256: [u8; 32]) -> Result<bool, StoreError>;
}
