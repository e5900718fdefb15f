//! Lookup tables: what a tenant maps to what (a Stripe product to a part number).

use async_trait::async_trait;
use portolan_domain::{Scope, Timestamp};
use serde_json::Value;

use crate::StoreError;

/// Rows that one write changes. A larger change is made in parts.
pub const ROWS_PER_WRITE_MAX: usize = 10_000;

/// Versions of a table that are kept; the oldest go.
pub const VERSIONS_MAX: u64 = 1_000;

/// A row of a lookup table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookupRow {
    /// Compared byte for byte.
    pub key: String,
    /// Any JSON.
    pub value: Value,
}

/// A change of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookupVersion {
    /// From 1.
    pub version: u64,
    /// When.
    pub at: Timestamp,
    /// A key's id, or `host`.
    pub by: String,
    /// How many rows it changed.
    pub changes: u64,
}

/// What a version changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookupChange {
    /// Which row.
    pub key: String,
    /// None: it was not there.
    pub before: Option<Value>,
    /// None: it is not there any more.
    pub after: Option<Value>,
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookupTable {
    /// Its name.
    pub name: String,
    /// How many rows it has.
    pub rows: u64,
    /// Its latest version.
    pub version: u64,
}

/// Lookup tables. A table exists when it has a row, or had one. Each change that changes something is a version (S19), of
/// which the latest [`VERSIONS_MAX`] are kept. A write that would change more than [`ROWS_PER_WRITE_MAX`] rows is a
/// `Conflict`, and changes none.
#[async_trait]
pub trait Lookups: Send + Sync {
    /// Writes these rows of a table; others stay. How many were changed.
    async fn lookup_put(&self, scope: &Scope, table: &str, rows: Vec<LookupRow>) -> Result<u64, StoreError>;
    /// Has the table hold these rows and no others. How many were changed.
    async fn lookup_replace(
        &self,
        scope: &Scope,
        table: &str,
        rows: Vec<LookupRow>,
    ) -> Result<u64, StoreError>;
    /// Has the table hold what it held in this version. How many were changed. `NotFound` when it had no such version, or has it no more.
    async fn lookup_restore(&self, scope: &Scope, table: &str, version: u64) -> Result<u64, StoreError>;
    /// Removes a row, if it is there.
    async fn lookup_delete(&self, scope: &Scope, table: &str, key: &str) -> Result<(), StoreError>;
    /// The value of a row.
    async fn lookup_get(&self, scope: &Scope, table: &str, key: &str) -> Result<Option<Value>, StoreError>;
    /// Rows of a table by key, after `after`, at most `rows_max`.
    async fn lookup_rows(
        &self,
        scope: &Scope,
        table: &str,
        after: Option<&str>,
        rows_max: u32,
    ) -> Result<Vec<LookupRow>, StoreError>;
    /// The other direction: keys whose value is this, by key, at most `rows_max`.
    async fn lookup_keys(
        &self,
        scope: &Scope,
        table: &str,
        value: &Value,
        rows_max: u32,
    ) -> Result<Vec<String>, StoreError>;
    /// The tables of a scope, by name.
    async fn lookup_tables(&self, scope: &Scope) -> Result<Vec<LookupTable>, StoreError>;
    /// The versions of a table, newest first, below `before`, at most `rows_max`.
    async fn lookup_versions(
        &self,
        scope: &Scope,
        table: &str,
        before: Option<u64>,
        rows_max: u32,
    ) -> Result<Vec<LookupVersion>, StoreError>;
    /// What a version changed, by key, at most 10,000.
    async fn lookup_changes(
        &self,
        scope: &Scope,
        table: &str,
        version: u64,
    ) -> Result<Vec<LookupChange>, StoreError>;
}
