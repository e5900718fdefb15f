//! Lookup tables.

use async_trait::async_trait;
use portolan_domain::Scope;
use rusqlite::params;
use serde_json::{Value, json};

use super::{
    SqliteStore,
    row::{Columns, all, change, first, json_of},
};
use crate::{
    StoreError,
    audit::Change,
    lookup::{LookupRow, Lookups},
};

/// No answer holds more rows, whatever was asked for.
const ROWS_MAX: u32 = 10_000;

fn read(c: &mut Columns<'_, '_>) -> Result<LookupRow, StoreError> {
    Ok(LookupRow { key: c.get()?, value: c.json()? })
}

#[async_trait]
impl Lookups for SqliteStore {
    async fn lookup_put(&self, scope: &Scope, table: &str, rows: Vec<LookupRow>) -> Result<(), StoreError> {
        let (scope, table) = (scope.clone(), table.to_owned());
        self.audited(
            Change::of(&scope, "lookup.put", table.as_str()).with(json!({ "rows": rows.len() })),
            move |tx| {
                for row in rows {
                    change(
                        tx.conn,
                        "INSERT INTO lookup_rows (tenant, environment, lookup, key, value)
                     VALUES (?1, ?2, ?3, ?4, ?5)
                     ON CONFLICT (tenant, environment, lookup, key) DO UPDATE SET value = excluded.value",
                        params![
                            scope.tenant.as_str(),
                            scope.environment.as_str(),
                            table,
                            row.key,
                            json_of(&row.value)?
                        ],
                    )?;
                }
                Ok(())
            },
        )
        .await
    }

    async fn lookup_delete(&self, scope: &Scope, table: &str, key: &str) -> Result<(), StoreError> {
        let (scope, table, key) = (scope.clone(), table.to_owned(), key.to_owned());
        self.audited(
            Change::of(&scope, "lookup.delete", table.as_str()).with(json!({ "key": key })),
            move |tx| {
                let sql = "DELETE FROM lookup_rows
                       WHERE tenant = ?1 AND environment = ?2 AND lookup = ?3 AND key = ?4";
                change(tx.conn, sql, params![scope.tenant.as_str(), scope.environment.as_str(), table, key])?;
                Ok(())
            },
        )
        .await
    }

    async fn lookup_get(&self, scope: &Scope, table: &str, key: &str) -> Result<Option<Value>, StoreError> {
        let (scope, table, key) = (scope.clone(), table.to_owned(), key.to_owned());
        self.read(move |conn| {
            let sql = "SELECT value FROM lookup_rows
                       WHERE tenant = ?1 AND environment = ?2 AND lookup = ?3 AND key = ?4";
            let params = params![scope.tenant.as_str(), scope.environment.as_str(), table, key];
            first(conn, sql, params, |c| c.json())
        })
        .await
    }

    async fn lookup_rows(
        &self,
        scope: &Scope,
        table: &str,
        after: Option<&str>,
        rows_max: u32,
    ) -> Result<Vec<LookupRow>, StoreError> {
        let (scope, table, after) = (scope.clone(), table.to_owned(), after.map(str::to_owned));
        self.read(move |conn| {
            // The empty text is a key too: without `after`, it must not be skipped.
            let sql = "SELECT key, value FROM lookup_rows
                       WHERE tenant = ?1 AND environment = ?2 AND lookup = ?3 AND key >= ?4 AND key IS NOT ?5
                       ORDER BY key LIMIT ?6";
            let (tenant, environment) = (scope.tenant.as_str(), scope.environment.as_str());
            let from = after.as_deref().unwrap_or("");
            let rows = rows_max.clamp(1, ROWS_MAX);
            all(conn, sql, params![tenant, environment, table, from, after, rows], read)
        })
        .await
    }

    async fn lookup_tables(&self, scope: &Scope) -> Result<Vec<(String, u64)>, StoreError> {
        let scope = scope.clone();
        self.read(move |conn| {
            let sql = "SELECT lookup, count(*) FROM lookup_rows
                       WHERE tenant = ?1 AND environment = ?2 GROUP BY lookup ORDER BY lookup";
            all(conn, sql, [scope.tenant.as_str(), scope.environment.as_str()], |c| {
                Ok((c.get()?, c.count()?))
            })
        })
        .await
    }
}
