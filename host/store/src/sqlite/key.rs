//! Keys of the admin API.

use async_trait::async_trait;
use portolan_domain::{KeyId, TenantId, Timestamp};
use rusqlite::{Connection, params};
use serde_json::json;

use super::{
    SqliteStore,
    row::{Columns, all, change, first, millis, slice},
};
use crate::{
    Page, StoreError,
    audit::Change,
    key::{Key, Keys, Role},
};

macro_rules! columns {
    () => {
        "id, role, tenant, environment, name, secret_sha256, created_at, expires_at, last_used_at"
    };
}

/// A role that no version of this program has written.
#[derive(Debug, thiserror::Error)]
#[error("an unknown role")]
struct UnknownRole;

/// A role as it is stored.
struct StoredRole(Role);

impl std::str::FromStr for StoredRole {
    type Err = UnknownRole;
    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        match text {
            "operator" => Ok(Self(Role::Operator)),
            "tenant-admin" => Ok(Self(Role::TenantAdmin)),
            "tenant-developer" => Ok(Self(Role::TenantDeveloper)),
            "tenant-viewer" => Ok(Self(Role::TenantViewer)),
            _ => Err(UnknownRole),
        }
    }
}

fn read(c: &mut Columns<'_, '_>) -> Result<Key, StoreError> {
    Ok(Key {
        id: c.parsed()?,
        role: c.parsed::<StoredRole>()?.0,
        tenant: c.parsed_option()?,
        environment: c.parsed_option()?,
        name: c.get()?,
        secret_sha256: c.get()?,
        created_at: c.time()?,
        expires_at: c.time_option()?,
        last_used_at: c.time_option()?,
    })
}

pub(super) fn insert(conn: &Connection, key: &Key) -> Result<(), StoreError> {
    let sql = concat!("INSERT INTO keys (", columns!(), ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)");
    let params = params![
        key.id.as_str(),
        key.role.as_str(),
        key.tenant.as_ref().map(TenantId::as_str),
        key.environment.map(|e| e.as_str()),
        key.name,
        key.secret_sha256,
        millis(key.created_at),
        key.expires_at.map(millis),
        key.last_used_at.map(millis)
    ];
    change(conn, sql, params)?;
    Ok(())
}

pub(super) fn told(key: &Key, action: &'static str) -> Change {
    let told = match &key.tenant {
        Some(tenant) => Change::of_tenant(tenant, action, key.id.as_str()),
        None => Change::of_host(action, key.id.as_str()),
    };
    let told = Change { environment: key.environment, ..told };
    told.with(json!({ "name": key.name, "role": key.role }))
}

#[async_trait]
impl Keys for SqliteStore {
    async fn key_create(&self, key: Key) -> Result<(), StoreError> {
        let told = told(&key, "key.create");
        self.audited(told, move |tx| insert(tx.conn, &key)).await
    }

    async fn key_find(&self, secret_sha256: [u8; 32]) -> Result<Option<Key>, StoreError> {
        self.read(move |conn| {
            let sql = concat!("SELECT ", columns!(), " FROM keys WHERE secret_sha256 = ?1");
            first(conn, sql, [secret_sha256], read)
        })
        .await
    }

    async fn key_used(&self, id: &KeyId, at: Timestamp) -> Result<(), StoreError> {
        let id = id.clone();
        self.write(move |tx| {
            change(
                tx.conn,
                "UPDATE keys SET last_used_at = ?2 WHERE id = ?1",
                params![id.as_str(), millis(at)],
            )?;
            Ok(())
        })
        .await
    }

    async fn key_rotate(&self, old: &KeyId, key: Key, until: Timestamp) -> Result<(), StoreError> {
        let old = old.clone();
        let told = told(&key, "key.rotate");
        let told = Change { detail: json!({ "instead_of": old }), ..told };
        self.audited(told, move |tx| {
            let sql = "UPDATE keys SET expires_at = min(coalesce(expires_at, ?3), ?3) WHERE id = ?1 AND tenant IS ?2";
            let params = params![old.as_str(), key.tenant.as_ref().map(TenantId::as_str), millis(until)];
            match change(tx.conn, sql, params)? {
                0 => Err(StoreError::NotFound),
                _ => insert(tx.conn, &key),
            }
        })
        .await
    }

    async fn key_operator_exists(&self) -> Result<bool, StoreError> {
        self.read(|conn| {
            let sql = "SELECT 1 FROM keys WHERE tenant IS NULL LIMIT 1";
            Ok(first(conn, sql, [], |c| c.get::<i64>())?.is_some())
        })
        .await
    }

    async fn key_list(&self, tenant: Option<&TenantId>, page: Page) -> Result<Vec<Key>, StoreError> {
        let tenant = tenant.cloned();
        self.read(move |conn| {
            let tenant = tenant.as_ref().map(TenantId::as_str);
            let find = "SELECT seq FROM keys WHERE id = ?1 AND tenant IS ?2";
            let part = slice(conn, &page, find, params![page.before, tenant])?;
            let sql = concat!(
                "SELECT ",
                columns!(),
                " FROM keys WHERE tenant IS ?1 AND seq < ?2 ORDER BY seq DESC LIMIT ?3"
            );
            all(conn, sql, params![tenant, part.before_seq, part.rows], read)
        })
        .await
    }

    async fn key_delete(&self, tenant: Option<&TenantId>, id: &KeyId) -> Result<(), StoreError> {
        let (tenant, id) = (tenant.cloned(), id.clone());
        let told = match &tenant {
            Some(tenant) => Change::of_tenant(tenant, "key.delete", id.as_str()),
            None => Change::of_host("key.delete", id.as_str()),
        };
        self.audited(told, move |tx| {
            let tenant = tenant.as_ref().map(TenantId::as_str);
            let sql = "DELETE FROM keys WHERE id = ?1 AND tenant IS ?2";
            match change(tx.conn, sql, params![id.as_str(), tenant])? {
                0 => Err(StoreError::NotFound),
                _ => Ok(()),
            }
        })
        .await
    }
}
