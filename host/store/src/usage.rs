//! What tenants used, by hour, and what is stored for them now.
//!
//! Counted in the transaction that makes what is counted (S27), so that it adds up after any crash. Events that are
//! removed later stay counted.

use async_trait::async_trait;
use portolan_domain::{
    Environment, TenantId, Timestamp,
    usage::{Period, Usage},
};

use crate::StoreError;

/// What was used by one tenant in one environment within one period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageRow {
    /// When the period begins.
    pub from: Timestamp,
    /// By whom; none: by tenants that are removed since.
    pub tenant: Option<TenantId>,
    /// Where; none: what belongs to no environment (modules).
    pub environment: Option<Environment>,
    /// What.
    pub usage: Usage,
}

/// Which usage is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageQuery {
    /// Of this tenant; none: of all.
    pub tenant: Option<TenantId>,
    /// In this environment; none: in all.
    pub environment: Option<Environment>,
    /// Hours that begin at this time or later.
    pub from: Timestamp,
    /// Hours that begin before this time.
    pub to: Timestamp,
    /// Added up by this.
    pub by: Period,
    /// Rows to pass over: those of the pages before.
    pub skip: u32,
    /// At most this many rows.
    pub rows_max: u32,
}

/// What is stored for a tenant in one environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBytes {
    /// Whose.
    pub tenant: TenantId,
    /// Where; none: modules.
    pub environment: Option<Environment>,
    /// Bytes of payloads; outcomes, facts and logs; bodies and responses; components;
    /// history of lookup tables.
    pub bytes: u64,
}

/// Usage.
#[async_trait]
pub trait Usages: Send + Sync {
    /// Usage by period, tenant and environment, the earliest first.
    async fn usage_list(&self, query: UsageQuery) -> Result<Vec<UsageRow>, StoreError>;
    /// All that was ever used (and not removed by retention); of one tenant or of all.
    #[cfg(feature = "conformance")]
    async fn usage_total(&self, tenant: Option<&TenantId>) -> Result<Usage, StoreError>;
    /// What is stored now; of one tenant or of all.
    async fn stored_bytes(&self, tenant: Option<&TenantId>) -> Result<Vec<StoredBytes>, StoreError>;
    /// The same two as counting the rows says, which takes as long as there are rows: for proofs. What leaves no row
    /// (repeats, executions, fuel, time of guests, calls) is 0.
    #[cfg(feature = "conformance")]
    async fn usage_recount(&self, tenant: &TenantId) -> Result<(Usage, Vec<StoredBytes>), StoreError>;
}
