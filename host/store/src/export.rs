//! Everything that is stored for a tenant, as one file.

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use portolan_domain::{TenantId, Timestamp};

use crate::StoreError;

/// Whether a copy (an export or a backup) is still wanted. Asked again and again while it is written, for that may take
/// minutes and the disk's room; when it is not, what was written is removed and `Unavailable` answered.
pub type Wanted = Arc<dyn Fn() -> bool + Send + Sync>;

/// A copy that is wanted whatever happens.
#[must_use]
pub fn always() -> Wanted {
    Arc::new(|| true)
}

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
    /// removal can be confirmed with it. No other read waits for it; another export or backup does.
    async fn export_write(
        &self,
        tenant: &TenantId,
        to: &Path,
        now: Timestamp,
        wanted: Wanted,
    ) -> Result<Export, StoreError>;
    /// Whether the latest export of this tenant has this digest.
    async fn export_known(&self, tenant: &TenantId, sha256: [u8; 32]) -> Result<bool, StoreError>;
}
