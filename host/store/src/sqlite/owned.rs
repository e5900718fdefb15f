//! What belongs to a tenant: every table of the database, and how its rows are found. Exports and removals follow this
//! list; a test compares it with the schema, so that no table is forgotten.

use rusqlite::{Connection, params};

use super::{
    event,
    row::{all, change},
};
use crate::StoreError;

/// A table with rows of tenants.
pub(super) struct Owned {
    pub(super) table: &'static str,
    /// Which rows are those of tenant `?1`.
    pub(super) rows: &'static str,
    /// What tells one row from another.
    pub(super) key: &'static str,
    /// Columns that no export holds: secrets, and what they could be guessed from.
    pub(super) secret: &'static [&'static str],
}

const fn of(table: &'static str, rows: &'static str, key: &'static str) -> Owned {
    Owned { table, rows, key, secret: &[] }
}

const TENANT: &str = "tenant = ?1";
const BY_CONNECTION: &str = "connection IN (SELECT id FROM connections WHERE tenant = ?1)";
const BY_SOURCE: &str = "source IN (SELECT id FROM sources WHERE tenant = ?1)";
const BY_EVENT: &str = "event_seq IN (SELECT seq FROM events WHERE tenant = ?1)";
const BY_DELIVERY: &str = "delivery_seq IN (SELECT seq FROM deliveries WHERE tenant = ?1)";

/// Removed with their event, in this order; see [`event::remove`].
pub(super) const WITH_EVENTS: &[Owned] = &[
    of("attempts", BY_DELIVERY, "delivery_seq, number"),
    of("delivery_after", BY_DELIVERY, "first_seq, delivery_seq"),
    of("delivery_contents", BY_DELIVERY, "rowid"),
    of("deliveries", TENANT, "rowid"),
    of("run_records", "run_seq IN (SELECT seq FROM runs WHERE tenant = ?1)", "rowid"),
    of("runs", TENANT, "rowid"),
    of("alert_events", BY_EVENT, "event_seq, alert_seq"),
    of("replay_items", BY_EVENT, "replay_seq, event_seq"),
    of("events", TENANT, "rowid"),
];

/// The others: what refers to something comes before it.
pub(super) const OTHERS: &[Owned] = &[
    of("alerts", TENANT, "rowid"),
    of("notices", TENANT, "rowid"),
    Owned { table: "notification_rules", rows: TENANT, key: "rowid", secret: &["sealed_secrets"] },
    of("settings_texts", TENANT, "tenant, sha256"),
    of("signing_keys", TENANT, "tenant, name"),
    of("replays", TENANT, "rowid"),
    of("pins", "mapping IN (SELECT id FROM mappings WHERE tenant = ?1)", "mapping, number"),
    of("decisions", TENANT, "rowid"),
    of("proposals", TENANT, "rowid"),
    of("environment_settings", TENANT, "tenant, environment"),
    of("module_deaths", TENANT, "tenant, module"),
    of("reconciliations", TENANT, "tenant, environment"),
    of("lookup_rows", TENANT, "tenant, environment, lookup, key"),
    of("lookup_changes", TENANT, "tenant, environment, lookup, key, version"),
    of("lookup_versions", TENANT, "tenant, environment, lookup, version"),
    of("object_references", TENANT, "tenant, environment, kind, object_id, system"),
    of("event_tombstones", TENANT, "source, idempotency_key"),
    of("sweeps", TENANT, "tenant, environment, noun"),
    of("onces", BY_CONNECTION, "connection, once"),
    of("planned_documents", BY_CONNECTION, "connection, slot"),
    of("poll_sights", BY_SOURCE, "source, object"),
    of("polls", BY_SOURCE, "source"),
    of("mappings", TENANT, "rowid"),
    of("module_components", "module_seq IN (SELECT seq FROM modules WHERE tenant = ?1)", "rowid"),
    of("modules", TENANT, "rowid"),
    Owned { table: "sources", rows: TENANT, key: "rowid", secret: &["sealed_secrets"] },
    Owned { table: "connections", rows: TENANT, key: "rowid", secret: &["sealed_secrets"] },
    Owned { table: "keys", rows: TENANT, key: "rowid", secret: &["secret_sha256"] },
    of("exports", TENANT, "tenant"),
    of("stored_bytes", TENANT, "tenant, environment"),
    of("usage", TENANT, "tenant, environment, hour"),
    of("audit_entries", "chain = ?1", "chain, number"),
    of("audit_heads", "chain = ?1", "chain"),
    of("tenants", "id = ?1", "rowid"),
];

/// Rows that belong to the host alone. Those of `idempotency` name nobody, open with an API key alone, and last a day.
#[cfg(test)]
pub(super) const HOSTS: &[&str] = &["pings", "host_keys", "incarnations", "idempotency"];

/// How many events a step removes for each row that it may remove: each has a few rows.
const ROWS_PER_EVENT: u32 = 8;

/// What a removed tenant used stays in the host's totals, under no name.
const KEEP_USAGE: &str = "
    INSERT INTO usage (tenant, environment, hour, events, repeats, bytes_in, runs, executions, fuel, guest_us, calls,
        deliveries, attempts, modules, module_bytes)
    SELECT '', environment, hour, events, repeats, bytes_in, runs, executions, fuel, guest_us, calls,
        deliveries, attempts, modules, module_bytes
    FROM usage WHERE tenant = ?1 ORDER BY tenant, environment, hour LIMIT ?2
    ON CONFLICT (tenant, environment, hour) DO UPDATE SET events = events + excluded.events,
        repeats = repeats + excluded.repeats, bytes_in = bytes_in + excluded.bytes_in, runs = runs + excluded.runs,
        executions = executions + excluded.executions, fuel = fuel + excluded.fuel,
        guest_us = guest_us + excluded.guest_us, calls = calls + excluded.calls,
        deliveries = deliveries + excluded.deliveries, attempts = attempts + excluded.attempts,
        modules = modules + excluded.modules, module_bytes = module_bytes + excluded.module_bytes";

/// Removes about `rows_max` rows of a tenant; 0: nothing is left but its own row. What is removed is overwritten with
/// zeroes.
pub(super) fn remove_some(conn: &Connection, tenant: &str, rows_max: u32) -> Result<u64, StoreError> {
    overwriting(conn, || {
        let sql = "SELECT seq FROM events INDEXED BY events_scope WHERE tenant = ?1 LIMIT ?2";
        let events = all(conn, sql, params![tenant, (rows_max / ROWS_PER_EVENT).max(1)], |c| c.get::<i64>())?;
        for seq in &events {
            event::remove(conn, *seq)?;
        }
        if !events.is_empty() {
            return Ok(events.len() as u64);
        }
        for owned in OTHERS.iter().filter(|owned| owned.table != "tenants") {
            if owned.table == "usage" {
                change(conn, KEEP_USAGE, params![tenant, rows_max])?;
            }
            let Owned { table, rows, key, .. } = owned;
            let rows_max = rows_of_step(table, rows_max);
            let order = if *key == "rowid" { "" } else { key };
            let order = if order.is_empty() { String::new() } else { format!("ORDER BY {order}") };
            let sql = format!(
                "DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} WHERE {rows} {order} LIMIT ?2)"
            );
            let removed = change(conn, &sql, params![tenant, rows_max])?;
            if removed > 0 {
                return Ok(removed as u64);
            }
        }
        Ok(0)
    })
}

/// How many rows of a table a step removes: what is overwritten is in memory until it is committed, and one component may
/// have tens of MiB.
fn rows_of_step(table: &str, rows_max: u32) -> u32 {
    if table == "module_components" { 1 } else { rows_max }
}

/// Removes the tenant's own row, the last.
pub(super) fn remove_tenant(conn: &Connection, tenant: &str) -> Result<(), StoreError> {
    overwriting(conn, || {
        change(conn, "DELETE FROM tenants WHERE id = ?1", [tenant])?;
        Ok(())
    })
}

/// Meanwhile, what is removed is overwritten, and not only forgotten.
fn overwriting<T>(
    conn: &Connection,
    remove: impl FnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    conn.pragma_update(None, "secure_delete", true)?;
    let removed = remove();
    conn.pragma_update(None, "secure_delete", false)?;
    removed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::migrate;

    #[test]
    fn every_table_belongs_to_a_tenant_or_to_the_host() {
        let mut conn = Connection::open_in_memory().unwrap();
        migrate::migrate(&mut conn).unwrap();
        let sql =
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name";
        let tables = all(&conn, sql, [], |c| c.get::<String>()).unwrap();
        let owned = WITH_EVENTS.iter().chain(OTHERS).map(|owned| owned.table);
        let mut known: Vec<&str> = owned.chain(HOSTS.iter().copied()).collect();
        known.sort_unstable();
        assert_eq!(tables, known, "say in owned.rs whose the rows of a new table are");
    }

    #[test]
    fn a_step_removes_one_component() {
        let mut conn = Connection::open_in_memory().unwrap();
        migrate::migrate(&mut conn).unwrap();
        conn.execute_batch(
            "INSERT INTO tenants (id, name, created_at) VALUES ('t', 't', 0);
             INSERT INTO modules (seq, tenant, digest, description, component_bytes, uploaded_at)
                 VALUES (1, 't', 'a', '{}', 1, 0), (2, 't', 'b', '{}', 1, 0);
             INSERT INTO module_components (module_seq, component) VALUES (1, x'00'), (2, x'00');",
        )
        .unwrap();
        let removed: Vec<u64> = (0..4).map(|_| remove_some(&conn, "t", 100).unwrap()).collect();
        assert_eq!(removed, [1, 1, 2, 0]);
    }

    #[test]
    fn every_tables_rows_are_found_as_the_list_says() {
        let mut conn = Connection::open_in_memory().unwrap();
        migrate::migrate(&mut conn).unwrap();
        for Owned { table, rows, key, secret } in WITH_EVENTS.iter().chain(OTHERS) {
            conn.prepare(&format!("SELECT {key} FROM {table} WHERE {rows}")).unwrap();
            for column in *secret {
                conn.prepare(&format!("SELECT {column} FROM {table}")).unwrap();
            }
        }
    }
}
