//! Lookup tables: what a tenant maps to what (a Stripe product to a part number).

use async_trait::async_trait;
use portolan_domain::Scope;
use serde_json::Value;

use crate::StoreError;

/// A row of a lookup table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookupRow {
    /// Compared byte for byte.
    pub key: String,
    /// Any JSON.
    pub value: Value,
}

/// Lookup tables. A table exists when it has a row.
#[async_trait]
pub trait Lookups: Send + Sync {
    /// Writes these rows of a table; others stay.
    async fn lookup_put(&self, scope: &Scope, table: &str, rows: Vec<LookupRow>) -> Result<(), StoreError>;
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
    /// The names of the tables of a scope, with how many rows each has.
    async fn lookup_tables(&self, scope: &Scope) -> Result<Vec<(String, u64)>, StoreError>;
}
