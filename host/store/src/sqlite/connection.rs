//! Connections.

use async_trait::async_trait;
use portolan_domain::{ConnectionId, Scope};
use rusqlite::params;
use serde_json::{Value, json};

use super::{
    SqliteStore,
    row::{Columns, all, change, first, integer, json, millis, slice},
};
use crate::{
    Page, StoreError,
    audit::Change,
    connection::{ConnectionRow, Connections},
};

macro_rules! columns {
    () => {
        "id, tenant, environment, name, connector, settings, sealed_secrets, revision, created_at"
    };
}

fn read(c: &mut Columns<'_, '_>) -> Result<ConnectionRow, StoreError> {
    Ok(ConnectionRow {
        id: c.parsed()?,
        scope: c.scope()?,
        name: c.get()?,
        connector: c.get()?,
        settings: c.json()?,
        sealed_secrets: c.get()?,
        revision: c.count()?,
        created_at: c.time()?,
    })
}

#[async_trait]
impl Connections for SqliteStore {
    async fn connection_create(&self, connection: ConnectionRow) -> Result<(), StoreError> {
        self.audited(
            Change::of(&connection.scope, "connection.create", connection.id.as_str())
                .with(json!({ "name": connection.name, "connector": connection.connector })),
            move |tx| {
                let sql = concat!(
                    "INSERT INTO connections (",
                    columns!(),
                    ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
                );
                change(
                    tx.conn,
                    sql,
                    params![
                        connection.id.as_str(),
                        connection.scope.tenant.as_str(),
                        connection.scope.environment.as_str(),
                        connection.name,
                        connection.connector,
                        json(&connection.settings),
                        connection.sealed_secrets,
                        integer(connection.revision),
                        millis(connection.created_at)
                    ],
                )?;
                Ok(())
            },
        )
        .await
    }

    async fn connection_get(&self, scope: &Scope, id: &ConnectionId) -> Result<ConnectionRow, StoreError> {
        let (scope, id) = (scope.clone(), id.clone());
        self.read(move |conn| {
            let sql = concat!(
                "SELECT ",
                columns!(),
                " FROM connections WHERE id = ?1 AND tenant = ?2 AND environment = ?3"
            );
            first(conn, sql, [id.as_str(), scope.tenant.as_str(), scope.environment.as_str()], read)?
                .ok_or(StoreError::NotFound)
        })
        .await
    }

    async fn connection_update(
        &self,
        scope: &Scope,
        id: &ConnectionId,
        settings: Value,
        sealed_secrets: Vec<u8>,
    ) -> Result<(), StoreError> {
        let (scope, id) = (scope.clone(), id.clone());
        self.audited(Change::of(&scope, "connection.update", id.as_str()), move |tx| {
            let changed = change(
                tx.conn,
                "UPDATE connections SET settings = ?4, sealed_secrets = ?5, revision = revision + 1
                 WHERE id = ?1 AND tenant = ?2 AND environment = ?3",
                params![
                    id.as_str(),
                    scope.tenant.as_str(),
                    scope.environment.as_str(),
                    json(&settings),
                    sealed_secrets
                ],
            )?;
            if changed == 0 { Err(StoreError::NotFound) } else { Ok(()) }
        })
        .await
    }

    async fn connection_list(&self, scope: &Scope, page: Page) -> Result<Vec<ConnectionRow>, StoreError> {
        let scope = scope.clone();
        self.read(move |conn| {
            let (tenant, environment) = (scope.tenant.as_str(), scope.environment.as_str());
            let find = "SELECT seq FROM connections WHERE id = ?1 AND tenant = ?2 AND environment = ?3";
            let part = slice(conn, &page, find, params![page.before, tenant, environment])?;
            let sql = concat!(
                "SELECT ",
                columns!(),
                " FROM connections WHERE tenant = ?1 AND environment = ?2 AND seq < ?3
                 ORDER BY seq DESC LIMIT ?4"
            );
            all(conn, sql, params![tenant, environment, part.before_seq, part.rows], read)
        })
        .await
    }
}
