//! Exports: every row of a tenant as a line of JSON, read in one transaction.

use std::{
    fs::{File, OpenOptions},
    io::{BufWriter, Write},
    path::Path,
};

use async_trait::async_trait;
use base64::Engine as _;
use portolan_domain::{TenantId, Timestamp};
use rusqlite::{Connection, params, types::ValueRef};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{
    SqliteStore,
    error::Hindrance,
    owned::{OTHERS, Owned, WITH_EVENTS},
    row::{change, first, millis},
};
use crate::{
    StoreError,
    audit::Change,
    export::{Export, Exports, Wanted},
};

/// What the first line says: raised when the form changes.
const FORM: u32 = 1;

/// Writes lines and adds up their digest.
struct Lines<'a> {
    to: BufWriter<File>,
    path: &'a Path,
    go_on: &'a dyn Fn() -> Result<(), StoreError>,
    digest: Sha256,
    bytes: u64,
    rows: u64,
}

impl Lines<'_> {
    fn write(&mut self, line: &Value) -> Result<(), StoreError> {
        (self.go_on)()?;
        let mut text = line.to_string();
        text.push('\n');
        self.digest.update(&text);
        self.bytes += text.len() as u64;
        self.to.write_all(text.as_bytes()).map_err(failed(self.path))
    }

    /// Durable on return.
    fn end(mut self) -> Result<Export, StoreError> {
        self.to.flush().map_err(failed(self.path))?;
        self.to.get_ref().sync_all().map_err(failed(self.path))?;
        Ok(Export { bytes: self.bytes, sha256: self.digest.finalize().into(), rows: self.rows })
    }
}

fn failed(path: &Path) -> impl Fn(std::io::Error) -> StoreError + '_ {
    |source| Hindrance::Open { path: path.to_owned(), source }.into()
}

/// A value of the database as JSON; bytes that are no text as base64.
fn value(found: ValueRef<'_>) -> Value {
    match found {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => json!(number),
        ValueRef::Real(number) => json!(number),
        ValueRef::Text(text) => json!(String::from_utf8_lossy(text)),
        ValueRef::Blob(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => json!(text),
            Err(_) => json!({ "base64": base64::engine::general_purpose::STANDARD.encode(bytes) }),
        },
    }
}

fn write_table(
    conn: &Connection,
    tenant: &str,
    owned: &Owned,
    lines: &mut Lines<'_>,
) -> Result<u64, StoreError> {
    let Owned { table, rows, key, secret } = owned;
    let mut statement = conn.prepare(&format!("SELECT * FROM {table} WHERE {rows} ORDER BY {key}"))?;
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let mut found = statement.query([tenant])?;
    let mut count = 0;
    while let Some(row) = found.next()? {
        let mut columns = Map::new();
        for (index, name) in names.iter().enumerate().filter(|(_, name)| !secret.contains(&name.as_str())) {
            columns.insert(name.clone(), value(row.get_ref(index)?));
        }
        lines.write(&json!({ "table": table, "row": columns }))?;
        count += 1;
    }
    Ok(count)
}

fn write(
    conn: &Connection,
    tenant: &TenantId,
    now: Timestamp,
    (to, go_on): (&Path, &dyn Fn() -> Result<(), StoreError>),
) -> Result<Export, StoreError> {
    // One state of the database, whatever is written meanwhile.
    let conn = &*conn.unchecked_transaction()?;
    let sql = "SELECT name FROM tenants WHERE id = ?1";
    let name: String = first(conn, sql, [tenant.as_str()], |c| c.get())?.ok_or(StoreError::NotFound)?;
    let file = OpenOptions::new().write(true).open(to).map_err(failed(to))?;
    let to_file = BufWriter::new(file);
    let mut lines = Lines { to: to_file, path: to, go_on, digest: Sha256::new(), bytes: 0, rows: 0 };
    let about = json!({
        "portolan_export": FORM, "tenant": tenant, "name": name, "taken_at": now.to_string(),
        "left_out": "secrets of connections, sources and notification rules, and digests of keys",
    });
    lines.write(&about)?;
    let mut counts = Map::new();
    for owned in OTHERS.iter().rev().chain(WITH_EVENTS.iter().rev()) {
        let rows = write_table(conn, tenant.as_str(), owned, &mut lines)?;
        lines.rows += rows;
        counts.insert(owned.table.to_owned(), json!(rows));
    }
    lines.write(&json!({ "end": true, "rows": counts }))?;
    lines.end()
}

#[async_trait]
impl Exports for SqliteStore {
    async fn export_write(
        &self,
        tenant: &TenantId,
        to: &Path,
        now: Timestamp,
        wanted: Wanted,
    ) -> Result<Export, StoreError> {
        let of = tenant.clone();
        let export = self.copy(to, wanted, move |conn, to, go_on| write(conn, &of, now, (to, go_on))).await?;
        let (of, sha256) = (tenant.clone(), export.sha256);
        let detail =
            json!({ "sha256": sha256.map(|byte| format!("{byte:02x}")).concat(), "bytes": export.bytes });
        let told = Change::of_tenant(tenant, "tenant.export", tenant.as_str()).with(detail);
        self.audited(told, move |tx| {
            let sql = "INSERT INTO exports (tenant, sha256, taken_at) VALUES (?1, ?2, ?3)
                       ON CONFLICT (tenant) DO UPDATE SET sha256 = excluded.sha256, taken_at = excluded.taken_at";
            change(tx.conn, sql, params![of.as_str(), sha256, millis(now)])?;
            Ok(())
        })
        .await?;
        Ok(export)
    }

    async fn export_known(&self, tenant: &TenantId, sha256: [u8; 32]) -> Result<bool, StoreError> {
        let tenant = tenant.clone();
        self.read(move |conn| {
            let sql = "SELECT 1 FROM exports WHERE tenant = ?1 AND sha256 = ?2";
            Ok(first(conn, sql, params![tenant.as_str(), sha256], |c| c.get::<i64>())?.is_some())
        })
        .await
    }
}
