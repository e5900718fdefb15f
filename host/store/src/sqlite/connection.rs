//! Connections.

use async_trait::async_trait;
use portolan_domain::{ConnectionId, Scope};
use rusqlite::{Connection, params};
use serde_json::{Value, json};

use super::{
    SqliteStore, decision,
    row::{Columns, all, change, first, integer, json, millis, slice},
};
use crate::{
    Page, StoreError,
    audit::Change,
    connection::{ConnectionRow, Connections, PAUSED_BY_HOST},
    run::Decision,
};

macro_rules! columns {
    () => {
        "id, tenant, environment, name, connector, settings, sealed_secrets, revision, created_at,
         paused_by, paused_why, paused_at"
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
        paused: decision::read_option(c)?,
    })
}

const PAUSED: &str = "SELECT paused_at IS NOT NULL FROM connections WHERE id = ?1";

const PAUSE: &str = "
    UPDATE connections SET paused_by = ?2, paused_why = ?3, paused_at = ?4 WHERE id = ?1 AND paused_at IS NULL";

const RESUME: &str =
    "UPDATE connections SET paused_by = NULL, paused_why = NULL, paused_at = NULL WHERE id = ?1";

/// What a claim of deliveries executes here: see the test of S13.
#[cfg(test)]
pub(super) const CLAIM_STATEMENTS: &[&str] = &[PAUSED];

/// Whether the connection's deliveries are not to be claimed (S15).
pub(super) fn is_paused(conn: &Connection, id: &str) -> Result<bool, StoreError> {
    Ok(first(conn, PAUSED, [id], |c| c.get())?.unwrap_or(false))
}

/// Within somebody's transaction. A pause that is there already stays as it is.
pub(super) fn pause(conn: &Connection, id: &str, decision: &Decision) -> Result<(), StoreError> {
    change(conn, PAUSE, params![id, decision.by, decision.why, millis(decision.at)])?;
    Ok(())
}

fn exists(conn: &Connection, scope: &Scope, id: &ConnectionId) -> Result<(), StoreError> {
    let sql = "SELECT 1 FROM connections WHERE id = ?1 AND tenant = ?2 AND environment = ?3";
    let params = [id.as_str(), scope.tenant.as_str(), scope.environment.as_str()];
    first(conn, sql, params, |c| c.get::<i64>())?.map(|_| ()).ok_or(StoreError::NotFound)
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
                    ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, NULL, NULL, NULL)"
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
                "UPDATE connections SET settings = ?4, sealed_secrets = ?5, revision = revision + 1,
                     paused_at = CASE WHEN paused_by = ?6 THEN NULL ELSE paused_at END,
                     paused_why = CASE WHEN paused_by = ?6 THEN NULL ELSE paused_why END,
                     paused_by = nullif(paused_by, ?6)
                 WHERE id = ?1 AND tenant = ?2 AND environment = ?3",
                params![
                    id.as_str(),
                    scope.tenant.as_str(),
                    scope.environment.as_str(),
                    json(&settings),
                    sealed_secrets,
                    PAUSED_BY_HOST
                ],
            )?;
            if changed == 0 { Err(StoreError::NotFound) } else { Ok(()) }
        })
        .await
    }

    async fn connection_pause(
        &self,
        scope: &Scope,
        id: &ConnectionId,
        decision: Decision,
    ) -> Result<(), StoreError> {
        let (scope, id) = (scope.clone(), id.clone());
        let told = Change::of(&scope, "connection.pause", id.as_str()).with(json!({ "why": decision.why }));
        self.audited(told, move |tx| {
            exists(tx.conn, &scope, &id)?;
            decision::keep(tx.conn, &scope, id.as_str(), "pause", &decision)?;
            pause(tx.conn, id.as_str(), &decision)
        })
        .await
    }

    async fn connection_resume(
        &self,
        scope: &Scope,
        id: &ConnectionId,
        decision: Decision,
    ) -> Result<(), StoreError> {
        let (scope, id) = (scope.clone(), id.clone());
        let told = Change::of(&scope, "connection.resume", id.as_str()).with(json!({ "why": decision.why }));
        self.audited(told, move |tx| {
            exists(tx.conn, &scope, &id)?;
            decision::keep(tx.conn, &scope, id.as_str(), "resume", &decision)?;
            change(tx.conn, RESUME, [id.as_str()])?;
            Ok(())
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
