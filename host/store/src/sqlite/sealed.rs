//! Sealed records: see [`crate::sealed`].

use async_trait::async_trait;
use portolan_domain::{ConnectionId, NotificationRuleId, SourceId};
use rusqlite::{Connection, params};

use super::{
    SqliteStore,
    row::{all, change, first},
};
use crate::{
    StoreError,
    sealed::{
        SealedPlace, SealedRecord, SealedRecords, owner_of_connection, owner_of_host_key,
        owner_of_notification_rule, owner_of_source,
    },
};

pub(super) fn host_key(conn: &Connection, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
    first(conn, "SELECT sealed FROM host_keys WHERE name = ?1", [name], |c| c.get())
}

#[async_trait]
impl SealedRecords for SqliteStore {
    async fn host_key(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let name = name.to_owned();
        self.read(move |conn| host_key(conn, &name)).await
    }

    async fn host_key_put(&self, name: &str, sealed: Vec<u8>) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.write(move |tx| {
            let sql = "INSERT INTO host_keys (name, sealed) VALUES (?1, ?2) ON CONFLICT (name) DO NOTHING";
            change(tx.conn, sql, params![name, sealed])?;
            Ok(())
        })
        .await
    }

    async fn sealed_list(&self) -> Result<Vec<SealedRecord>, StoreError> {
        self.read(|conn| {
            let sql = "SELECT tenant, environment, id, sealed_secrets FROM connections";
            let mut found = all(conn, sql, [], |c| {
                let (scope, id): (_, ConnectionId) = (c.scope()?, c.parsed()?);
                let owner = owner_of_connection(&scope, &id);
                Ok(SealedRecord { owner, place: SealedPlace::Connection(id), sealed: c.get()? })
            })?;
            let sql = "SELECT tenant, environment, id, sealed_secrets FROM sources";
            found.extend(all(conn, sql, [], |c| {
                let (scope, id): (_, SourceId) = (c.scope()?, c.parsed()?);
                let owner = owner_of_source(&scope, &id);
                Ok(SealedRecord { owner, place: SealedPlace::Source(id), sealed: c.get()? })
            })?);
            let sql = "SELECT tenant, environment, id, sealed_secrets FROM notification_rules";
            found.extend(all(conn, sql, [], |c| {
                let (scope, id): (_, NotificationRuleId) = (c.scope()?, c.parsed()?);
                let owner = owner_of_notification_rule(&scope, &id);
                Ok(SealedRecord { owner, place: SealedPlace::NotificationRule(id), sealed: c.get()? })
            })?);
            found.extend(all(conn, "SELECT name, sealed FROM host_keys", [], |c| {
                let name: String = c.get()?;
                let owner = owner_of_host_key(&name);
                Ok(SealedRecord { owner, place: SealedPlace::HostKey(name), sealed: c.get()? })
            })?);
            Ok(found)
        })
        .await
    }

    async fn sealed_swap(&self, before: SealedRecord, after: Vec<u8>) -> Result<bool, StoreError> {
        self.write(move |tx| {
            let (sql, id) = match &before.place {
                SealedPlace::Connection(id) => (
                    "UPDATE connections SET sealed_secrets = ?3 WHERE id = ?1 AND sealed_secrets = ?2",
                    id.as_str(),
                ),
                SealedPlace::Source(id) => (
                    "UPDATE sources SET sealed_secrets = ?3 WHERE id = ?1 AND sealed_secrets = ?2",
                    id.as_str(),
                ),
                SealedPlace::NotificationRule(id) => (
                    "UPDATE notification_rules SET sealed_secrets = ?3 WHERE id = ?1 AND sealed_secrets = ?2",
                    id.as_str(),
                ),
                SealedPlace::HostKey(name) => {
                    ("UPDATE host_keys SET sealed = ?3 WHERE name = ?1 AND sealed = ?2", name.as_str())
                }
            };
            Ok(change(tx.conn, sql, params![id, before.sealed, after])? > 0)
        })
        .await
    }
}
