//! The audit log: see [`crate::audit`]. Entries are appended within the transaction of what they tell.

use std::{collections::BTreeMap, path::Path};

use async_trait::async_trait;
use portolan_domain::{Environment, TenantId, Timestamp};
use rusqlite::{Connection, OpenFlags, params};

use super::{
    SqliteStore,
    row::{Columns, all, change, first, integer, json},
    sealed::host_key,
    writer::Tx,
};
use crate::{
    Page, StoreError,
    audit::{self, Actor, AuditKey, Audits, Chain, Change, Entry, HOST, Head},
};

const HEAD: &str = "SELECT chain, count, mac, removed, removed_mac, seal FROM audit_heads WHERE chain = ?1";
const HEAD_PUT: &str = "
    INSERT INTO audit_heads (chain, count, mac, removed, removed_mac, seal) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
    ON CONFLICT (chain) DO UPDATE SET count = excluded.count, mac = excluded.mac, removed = excluded.removed,
        removed_mac = excluded.removed_mac, seal = excluded.seal";
const NOW: &str = "SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER)";

macro_rules! columns {
    () => {
        "chain, number, at, environment, actor, role, action, subject, detail, previous, mac"
    };
}

/// Appends an entry to its chain, within somebody's transaction.
pub(super) fn append(
    conn: &Connection,
    key: &AuditKey,
    actor: &Actor,
    change: &Change,
) -> Result<(), StoreError> {
    let chain = change.chain();
    let last = first(conn, HEAD, [chain], read_head)?;
    let at = first(conn, NOW, [], |c| c.time())?.ok_or(StoreError::NotFound)?;
    let mut entry = Entry {
        chain: chain.to_owned(),
        number: last.as_ref().map_or(0, |head| head.count).saturating_add(1),
        at,
        environment: change.environment.map(|environment| environment.as_str().to_owned()),
        by: actor.by.clone(),
        role: actor.role.clone(),
        action: change.action.to_owned(),
        subject: change.subject.clone(),
        detail: json(&change.detail),
        previous: last.as_ref().map_or([0; 32], |head| head.mac),
        mac: [0; 32],
    };
    entry.mac = entry.mac_under(key);
    insert(conn, &entry)?;
    let (removed, removed_mac) = last.map_or((0, [0; 32]), |head| (head.removed, head.removed_mac));
    let head =
        Head { chain: entry.chain, count: entry.number, mac: entry.mac, removed, removed_mac, seal: [0; 32] };
    put_head(conn, key, head)
}

fn put_head(conn: &Connection, key: &AuditKey, mut head: Head) -> Result<(), StoreError> {
    head.seal = head.seal_under(key);
    let removed_mac = (head.removed > 0).then_some(head.removed_mac);
    let params =
        params![head.chain, integer(head.count), head.mac, integer(head.removed), removed_mac, head.seal];
    change(conn, HEAD_PUT, params)?;
    Ok(())
}

const OLDEST: &str = "SELECT number, at, mac FROM audit_entries WHERE chain = ?1 ORDER BY number LIMIT ?2";

/// Removes the oldest entries of a chain that were made before this time, at most `rows_max` and never the last one. Where
/// the chain begins then is sealed in its head.
pub(super) fn remove_oldest(
    conn: &Connection,
    key: &AuditKey,
    name: &str,
    (before, rows_max): (Timestamp, u32),
) -> Result<u64, StoreError> {
    let Some(head) = first(conn, HEAD, [name], read_head)? else { return Ok(0) };
    // A chain that was tampered with stays as it is: it is evidence.
    if head.seal != head.seal_under(key) {
        return Ok(0);
    }
    let oldest = all(conn, OLDEST, params![name, rows_max], |c| {
        Ok((c.count::<u64>()?, c.time()?, c.get::<[u8; 32]>()?))
    })?;
    let gone = oldest.into_iter().take_while(|(number, at, _)| *number < head.count && *at < before).last();
    let Some((removed, _, removed_mac)) = gone else { return Ok(0) };
    let count = removed - head.removed;
    put_head(conn, key, Head { removed, removed_mac, ..head })?;
    let sql = "DELETE FROM audit_entries WHERE chain = ?1 AND number <= ?2";
    change(conn, sql, params![name, integer(removed)])?;
    Ok(count)
}

fn insert(conn: &Connection, entry: &Entry) -> Result<(), StoreError> {
    let sql = concat!(
        "INSERT INTO audit_entries (",
        columns!(),
        ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
    );
    let params = params![
        entry.chain,
        integer(entry.number),
        integer(entry.at.as_millis()),
        entry.environment,
        entry.by,
        entry.role,
        entry.action,
        entry.subject,
        entry.detail,
        entry.previous,
        entry.mac
    ];
    change(conn, sql, params)?;
    Ok(())
}

fn read(c: &mut Columns<'_, '_>) -> Result<Entry, StoreError> {
    Ok(Entry {
        chain: c.get()?,
        number: c.count()?,
        at: c.time()?,
        environment: c.get()?,
        by: c.get()?,
        role: c.get()?,
        action: c.get()?,
        subject: c.get()?,
        detail: c.get()?,
        previous: c.get()?,
        mac: c.get()?,
    })
}

fn read_head(c: &mut Columns<'_, '_>) -> Result<Head, StoreError> {
    Ok(Head {
        chain: c.get()?,
        count: c.count()?,
        mac: c.get()?,
        removed: c.count()?,
        removed_mac: c.get::<Option<_>>()?.unwrap_or([0; 32]),
        seal: c.get()?,
    })
}

fn chain(conn: &Connection, name: &str) -> Result<Chain, StoreError> {
    let sql = concat!("SELECT ", columns!(), " FROM audit_entries WHERE chain = ?1 ORDER BY number");
    Ok(Chain { entries: all(conn, sql, [name], read)?, head: first(conn, HEAD, [name], read_head)? })
}

/// Every chain that is there, and an empty one for each tenant that has none.
fn chains(conn: &Connection) -> Result<BTreeMap<String, Chain>, StoreError> {
    let sql = "SELECT DISTINCT chain FROM audit_entries UNION SELECT chain FROM audit_heads
               UNION SELECT id FROM tenants UNION SELECT ?1";
    let names = all(conn, sql, [HOST], |c| c.get::<String>())?;
    names.into_iter().map(|name| Ok((name.clone(), chain(conn, &name)?))).collect()
}

/// What an offline look needs.
#[derive(Debug)]
pub struct AuditCopy {
    /// The sealed key of the chains.
    pub sealed_key: Option<Vec<u8>>,
    /// Every chain.
    pub chains: BTreeMap<String, Chain>,
}

/// Reads the audit log of a database that need not be served, without changing or locking it.
pub fn read_audit(path: &Path) -> Result<AuditCopy, StoreError> {
    let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    // One transaction: one state of the file, whoever writes meanwhile.
    let conn = conn.unchecked_transaction()?;
    Ok(AuditCopy { sealed_key: host_key(&conn, audit::KEY_NAME)?, chains: chains(&conn)? })
}

impl SqliteStore {
    /// As [`Self::write`], of a change that the audit log tells.
    pub(super) async fn audited<T, F>(&self, told: Change, make: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.audited_after(move |tx| Ok((make(tx)?, vec![told]))).await
    }

    /// The same, where only the change itself knows what is to be told.
    pub(super) async fn audited_after<T, F>(&self, make: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<(T, Vec<Change>), StoreError> + Send + 'static,
    {
        self.audited_bytes(0, make).await
    }

    /// The same, of what stores about so many bytes.
    pub(super) async fn audited_bytes<T, F>(&self, bytes: usize, make: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<(T, Vec<Change>), StoreError> + Send + 'static,
    {
        let (key, actor) = (Audits::audit_key(self), audit::actor());
        self.write_bytes(bytes, move |tx| {
            let (made, told) = make(tx)?;
            for told in &told {
                append(tx.conn, &key, &actor, told)?;
            }
            Ok(made)
        })
        .await
    }
}

#[async_trait]
impl Audits for SqliteStore {
    fn audit_unlock(&self, key: AuditKey) {
        // The first one stays.
        self.audit_key.get_or_init(|| key);
    }

    fn audit_key(&self) -> AuditKey {
        self.audit_key.get().copied().unwrap_or_default()
    }

    async fn audit_note(&self, told: Change) -> Result<(), StoreError> {
        self.audited(told, |_| Ok(())).await
    }

    async fn audit_list(
        &self,
        tenant: Option<&TenantId>,
        environment: Option<Environment>,
        page: Page,
    ) -> Result<Vec<Entry>, StoreError> {
        let chain = tenant.map_or(HOST, TenantId::as_str).to_owned();
        self.read(move |conn| {
            let before =
                page.before.map_or(Some(i64::MAX), |text| text.parse().ok()).ok_or(StoreError::NotFound)?;
            let sql = concat!(
                "SELECT ",
                columns!(),
                " FROM audit_entries WHERE chain = ?1 AND number < ?2 AND (?3 IS NULL OR environment = ?3)
                 ORDER BY number DESC LIMIT ?4"
            );
            let environment = environment.map(|environment| environment.as_str());
            all(conn, sql, params![chain, before, environment, page.rows_max.clamp(1, 500)], read)
        })
        .await
    }

    async fn audit_chains(&self, tenant: Option<&TenantId>) -> Result<BTreeMap<String, Chain>, StoreError> {
        let tenant = tenant.cloned();
        self.read(move |conn| {
            // One state of the chains and their heads.
            let conn = &*conn.unchecked_transaction()?;
            match tenant {
                Some(tenant) => {
                    Ok(BTreeMap::from([(tenant.as_str().to_owned(), chain(conn, tenant.as_str())?)]))
                }
                None => chains(conn),
            }
        })
        .await
    }

    async fn audit_heads(&self) -> Result<Vec<Head>, StoreError> {
        self.read(|conn| {
            let sql = "SELECT chain, count, mac, removed, removed_mac, seal FROM audit_heads ORDER BY chain";
            all(conn, sql, [], read_head)
        })
        .await
    }
}
