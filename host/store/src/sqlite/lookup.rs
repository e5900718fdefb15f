//! Lookup tables.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use portolan_domain::Scope;
use rusqlite::{Connection, params};
use serde_json::{Value, json};

use super::{
    SqliteStore,
    row::{Columns, all, change, first, integer, json_of},
    usage,
    writer::Tx,
};
use crate::{
    StoreError,
    audit::{self, Change},
    lookup::{
        LookupChange, LookupRow, LookupTable, LookupVersion, Lookups, ROWS_PER_WRITE_MAX, VERSIONS_MAX,
    },
};

/// No answer holds more rows, whatever was asked for.
const ROWS_MAX: u32 = 10_000;

/// `before` stands in the row that has the least version.
const FIRST_CHANGES: &str = "
    SELECT key, before, min(version) FROM lookup_changes INDEXED BY lookup_changes_version
    WHERE tenant = ?1 AND environment = ?2 AND lookup = ?3 AND version > ?4 GROUP BY key";

const CHANGES_BYTES: &str = "
    SELECT coalesce(sum(coalesce(octet_length(before), 0) + coalesce(octet_length(after), 0)), 0)
    FROM lookup_changes INDEXED BY lookup_changes_version
    WHERE tenant = ?1 AND environment = ?2 AND lookup = ?3 AND version = ?4";
const VERSION_REMOVE: [&str; 2] = [
    "DELETE FROM lookup_changes WHERE (tenant, environment, lookup, key, version) IN (
         SELECT tenant, environment, lookup, key, version FROM lookup_changes INDEXED BY lookup_changes_version
         WHERE tenant = ?1 AND environment = ?2 AND lookup = ?3 AND version = ?4)",
    "DELETE FROM lookup_versions WHERE tenant = ?1 AND environment = ?2 AND lookup = ?3 AND version = ?4",
];

/// A key, what its row holds, and what it is to hold.
type Differing = (String, Option<String>, Option<String>);

/// A table of a scope.
#[derive(Debug, Clone)]
struct Place {
    scope: Scope,
    table: String,
}

impl Place {
    fn of(scope: &Scope, table: &str) -> Self {
        Self { scope: scope.clone(), table: table.to_owned() }
    }

    fn params(&self) -> [&str; 3] {
        [self.scope.tenant.as_str(), self.scope.environment.as_str(), &self.table]
    }

    fn latest(&self, conn: &Connection) -> Result<u64, StoreError> {
        let sql = "SELECT coalesce(max(version), 0) FROM lookup_versions
                   WHERE tenant = ?1 AND environment = ?2 AND lookup = ?3";
        Ok(first(conn, sql, self.params(), |c| c.count())?.unwrap_or_default())
    }

    /// The text of a row.
    fn stored(&self, conn: &Connection, key: &str) -> Result<Option<String>, StoreError> {
        let [tenant, environment, table] = self.params();
        let sql = "SELECT value FROM lookup_rows
                   WHERE tenant = ?1 AND environment = ?2 AND lookup = ?3 AND key = ?4";
        first(conn, sql, [tenant, environment, table, key], |c| c.get())
    }

    fn keys(&self, conn: &Connection) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT key FROM lookup_rows WHERE tenant = ?1 AND environment = ?2 AND lookup = ?3";
        all(conn, sql, self.params(), |c| c.get())
    }

    /// Those of the rows that do not hold these texts yet (none: are to be gone), with what they hold.
    fn differing(
        &self,
        conn: &Connection,
        rows: BTreeMap<String, Option<String>>,
    ) -> Result<Vec<Differing>, StoreError> {
        let mut differing = Vec::new();
        for (key, after) in rows {
            let before = self.stored(conn, &key)?;
            if before == after {
                continue;
            }
            if differing.len() >= ROWS_PER_WRITE_MAX {
                let text =
                    "one write changes at most 10,000 rows of a lookup table; make the change in parts";
                return Err(StoreError::Conflict(text));
            }
            differing.push((key, before, after));
        }
        Ok(differing)
    }

    /// Has a row hold this text, or be gone.
    fn set(&self, conn: &Connection, key: &str, after: Option<&str>) -> Result<(), StoreError> {
        let [tenant, environment, table] = self.params();
        match after {
            Some(text) => change(
                conn,
                "INSERT INTO lookup_rows (tenant, environment, lookup, key, value) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (tenant, environment, lookup, key) DO UPDATE SET value = excluded.value",
                params![tenant, environment, table, key, text],
            )?,
            None => change(
                conn,
                "DELETE FROM lookup_rows WHERE tenant = ?1 AND environment = ?2 AND lookup = ?3 AND key = ?4",
                params![tenant, environment, table, key],
            )?,
        };
        Ok(())
    }

    /// Has rows hold these texts (none: be gone), and keeps what that changed as a version. How many rows it changed.
    fn make(
        &self,
        conn: &Connection,
        rows: BTreeMap<String, Option<String>>,
        by: &str,
    ) -> Result<u64, StoreError> {
        let [tenant, environment, table] = self.params();
        let version = integer(self.latest(conn)? + 1);
        let changed = self.differing(conn, rows)?;
        if changed.is_empty() {
            return Ok(0);
        }
        let count = u64::try_from(changed.len()).unwrap_or(u64::MAX);
        change(
            conn,
            "INSERT INTO lookup_versions (tenant, environment, lookup, version, at, changed_by, changes)
             VALUES (?1, ?2, ?3, ?4, CAST(unixepoch('subsec') * 1000 AS INTEGER), ?5, ?6)",
            params![tenant, environment, table, version, by, integer(count)],
        )?;
        let mut bytes = 0;
        for (key, before, after) in changed {
            self.set(conn, &key, after.as_deref())?;
            bytes += usage::length(before.as_ref()) + usage::length(after.as_ref());
            change(
                conn,
                "INSERT INTO lookup_changes (tenant, environment, lookup, version, key, before, after)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                params![tenant, environment, table, version, key, before, after],
            )?;
        }
        usage::stores(&self.scope.tenant, Some(self.scope.environment), bytes);
        self.forget(conn, version)?;
        Ok(count)
    }

    /// The oldest version that is kept; without any, the one that would be made next.
    fn oldest(&self, conn: &Connection) -> Result<u64, StoreError> {
        let sql = "SELECT coalesce(min(version), 1) FROM lookup_versions
                   WHERE tenant = ?1 AND environment = ?2 AND lookup = ?3";
        Ok(first(conn, sql, self.params(), |c| c.count())?.unwrap_or(1))
    }

    /// Removes the oldest version when there are too many: one with every write, so that no write takes long.
    fn forget(&self, conn: &Connection, latest: i64) -> Result<(), StoreError> {
        let oldest = integer(self.oldest(conn)?);
        if latest.saturating_sub(oldest) < integer(VERSIONS_MAX) {
            return Ok(());
        }
        let [tenant, environment, table] = self.params();
        let params = params![tenant, environment, table, oldest];
        let bytes: i64 = first(conn, CHANGES_BYTES, params, |c| c.get())?.unwrap_or_default();
        usage::stores(&self.scope.tenant, Some(self.scope.environment), -bytes);
        for sql in VERSION_REMOVE {
            change(conn, sql, params)?;
        }
        Ok(())
    }

    /// What the rows held in a version that differ since: of each, what the first later change found.
    fn as_of(&self, conn: &Connection, version: u64) -> Result<BTreeMap<String, Option<String>>, StoreError> {
        let [tenant, environment, table] = self.params();
        let params = params![tenant, environment, table, integer(version)];
        Ok(all(conn, FIRST_CHANGES, params, |c| Ok((c.get()?, c.get()?)))?.into_iter().collect())
    }
}

/// Rows as they are stored.
fn texts(rows: Vec<LookupRow>) -> Result<BTreeMap<String, Option<String>>, StoreError> {
    rows.into_iter().map(|row| Ok((row.key, Some(json_of(&row.value)?)))).collect()
}

impl SqliteStore {
    /// Changes a table, and tells the audit log when that changed something.
    async fn lookup_change(
        &self,
        place: Place,
        action: &'static str,
        rows: impl FnOnce(&Connection, &Place) -> Result<BTreeMap<String, Option<String>>, StoreError>
        + Send
        + 'static,
    ) -> Result<u64, StoreError> {
        // Who asks is known here, not where it is written.
        let by = audit::actor().by;
        self.audited_after(move |tx: &mut Tx<'_>| {
            let rows = rows(tx.conn, &place)?;
            let changed = place.make(tx.conn, rows, &by)?;
            let told =
                Change::of(&place.scope, action, place.table.as_str()).with(json!({ "rows": changed }));
            Ok((changed, if changed == 0 { Vec::new() } else { vec![told] }))
        })
        .await
    }
}

fn read(c: &mut Columns<'_, '_>) -> Result<LookupRow, StoreError> {
    Ok(LookupRow { key: c.get()?, value: c.json()? })
}

#[async_trait]
impl Lookups for SqliteStore {
    async fn lookup_put(&self, scope: &Scope, table: &str, rows: Vec<LookupRow>) -> Result<u64, StoreError> {
        self.lookup_change(Place::of(scope, table), "lookup.put", move |_, _| texts(rows)).await
    }

    async fn lookup_replace(
        &self,
        scope: &Scope,
        table: &str,
        rows: Vec<LookupRow>,
    ) -> Result<u64, StoreError> {
        self.lookup_change(Place::of(scope, table), "lookup.replace", move |conn, place| {
            let mut wanted = texts(rows)?;
            let there: BTreeSet<String> = place.keys(conn)?.into_iter().collect();
            for key in there {
                wanted.entry(key).or_insert(None);
            }
            Ok(wanted)
        })
        .await
    }

    async fn lookup_restore(&self, scope: &Scope, table: &str, version: u64) -> Result<u64, StoreError> {
        self.lookup_change(Place::of(scope, table), "lookup.restore", move |conn, place| {
            // What was before the oldest version that is kept can be put back, too; nothing that was before that.
            if version > place.latest(conn)? || version.saturating_add(1) < place.oldest(conn)? {
                return Err(StoreError::NotFound);
            }
            place.as_of(conn, version)
        })
        .await
    }

    async fn lookup_delete(&self, scope: &Scope, table: &str, key: &str) -> Result<(), StoreError> {
        let gone = [(key.to_owned(), None)].into();
        self.lookup_change(Place::of(scope, table), "lookup.delete", move |_, _| Ok(gone)).await?;
        Ok(())
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

    async fn lookup_keys(
        &self,
        scope: &Scope,
        table: &str,
        value: &Value,
        rows_max: u32,
    ) -> Result<Vec<String>, StoreError> {
        let (place, value) = (Place::of(scope, table), json_of(value)?);
        self.read(move |conn| {
            let [tenant, environment, table] = place.params();
            let sql = "SELECT key FROM lookup_rows
                       WHERE tenant = ?1 AND environment = ?2 AND lookup = ?3 AND value = ?4
                       ORDER BY key LIMIT ?5";
            let rows = rows_max.clamp(1, ROWS_MAX);
            all(conn, sql, params![tenant, environment, table, value, rows], |c| c.get())
        })
        .await
    }

    async fn lookup_tables(&self, scope: &Scope) -> Result<Vec<LookupTable>, StoreError> {
        let scope = scope.clone();
        self.read(move |conn| {
            let sql = "SELECT v.lookup, max(v.version),
                         (SELECT count(*) FROM lookup_rows r WHERE r.tenant = v.tenant
                          AND r.environment = v.environment AND r.lookup = v.lookup)
                       FROM lookup_versions v WHERE v.tenant = ?1 AND v.environment = ?2
                       GROUP BY v.lookup ORDER BY v.lookup";
            all(conn, sql, [scope.tenant.as_str(), scope.environment.as_str()], |c| {
                let (name, version) = (c.get()?, c.count()?);
                Ok(LookupTable { name, version, rows: c.count()? })
            })
        })
        .await
    }

    async fn lookup_versions(
        &self,
        scope: &Scope,
        table: &str,
        before: Option<u64>,
        rows_max: u32,
    ) -> Result<Vec<LookupVersion>, StoreError> {
        let place = Place::of(scope, table);
        self.read(move |conn| {
            let [tenant, environment, table] = place.params();
            let sql = "SELECT version, at, changed_by, changes FROM lookup_versions
                       WHERE tenant = ?1 AND environment = ?2 AND lookup = ?3 AND version < ?4
                       ORDER BY version DESC LIMIT ?5";
            let before = integer(before.unwrap_or(u64::MAX));
            let params = params![tenant, environment, table, before, rows_max.clamp(1, ROWS_MAX)];
            all(conn, sql, params, |c| {
                let (version, at) = (c.count()?, c.time()?);
                Ok(LookupVersion { version, at, by: c.get()?, changes: c.count()? })
            })
        })
        .await
    }

    async fn lookup_changes(
        &self,
        scope: &Scope,
        table: &str,
        version: u64,
    ) -> Result<Vec<LookupChange>, StoreError> {
        let place = Place::of(scope, table);
        self.read(move |conn| {
            let [tenant, environment, table] = place.params();
            let sql = "SELECT key, before, after FROM lookup_changes
                       WHERE tenant = ?1 AND environment = ?2 AND lookup = ?3 AND version = ?4
                       ORDER BY key LIMIT ?5";
            let params = params![tenant, environment, table, integer(version), ROWS_MAX];
            all(conn, sql, params, |c| {
                Ok(LookupChange { key: c.get()?, before: c.json_option()?, after: c.json_option()? })
            })
        })
        .await
    }
}
