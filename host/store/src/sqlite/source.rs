//! Sources.

use std::time::Duration;

use async_trait::async_trait;
use portolan_domain::{Scope, SourceId, Timestamp};
use rusqlite::params;
use serde_json::json;

use super::{
    SqliteStore, poll,
    row::{Columns, all, change, first, json, millis, slice},
};
use crate::{
    Page, StoreError,
    audit::Change,
    source::{Source, SourceChange, Sources},
};

macro_rules! columns {
    () => {
        "id, tenant, environment, name, system, settings, sealed_secrets, created_at"
    };
}

fn read(c: &mut Columns<'_, '_>) -> Result<Source, StoreError> {
    Ok(Source {
        id: c.parsed()?,
        scope: c.scope()?,
        name: c.get()?,
        system: c.get()?,
        settings: c.json()?,
        sealed_secrets: c.get()?,
        created_at: c.time()?,
    })
}

#[async_trait]
impl Sources for SqliteStore {
    async fn source_create(&self, source: Source, every: Option<Duration>) -> Result<(), StoreError> {
        self.audited(
            Change::of(&source.scope, "source.create", source.id.as_str())
                .with(json!({ "name": source.name, "system": source.system })),
            move |tx| {
                let sql =
                    concat!("INSERT INTO sources (", columns!(), ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)");
                change(
                    tx.conn,
                    sql,
                    params![
                        source.id.as_str(),
                        source.scope.tenant.as_str(),
                        source.scope.environment.as_str(),
                        source.name,
                        source.system,
                        json(&source.settings),
                        source.sealed_secrets,
                        millis(source.created_at)
                    ],
                )?;
                poll::schedule(tx.conn, &source.id, every, source.created_at)
            },
        )
        .await
    }

    async fn source_at(&self, id: &SourceId) -> Result<Source, StoreError> {
        let id = id.clone();
        self.read(move |conn| {
            let sql = concat!("SELECT ", columns!(), " FROM sources WHERE id = ?1");
            first(conn, sql, [id.as_str()], read)?.ok_or(StoreError::NotFound)
        })
        .await
    }

    async fn source_get(&self, scope: &Scope, id: &SourceId) -> Result<Source, StoreError> {
        let (scope, id) = (scope.clone(), id.clone());
        self.read(move |conn| {
            let sql = concat!(
                "SELECT ",
                columns!(),
                " FROM sources WHERE id = ?1 AND tenant = ?2 AND environment = ?3"
            );
            first(conn, sql, [id.as_str(), scope.tenant.as_str(), scope.environment.as_str()], read)?
                .ok_or(StoreError::NotFound)
        })
        .await
    }

    async fn source_update(
        &self,
        scope: &Scope,
        id: &SourceId,
        wanted: SourceChange,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (scope, id) = (scope.clone(), id.clone());
        self.audited(Change::of(&scope, "source.update", id.as_str()), move |tx| {
            let changed = change(
                tx.conn,
                "UPDATE sources SET settings = coalesce(?4, settings), sealed_secrets = coalesce(?5, sealed_secrets)
                 WHERE id = ?1 AND tenant = ?2 AND environment = ?3",
                params![
                    id.as_str(),
                    scope.tenant.as_str(),
                    scope.environment.as_str(),
                    wanted.settings.as_ref().and_then(|new| json(&new.settings)),
                    wanted.sealed_secrets
                ],
            )?;
            match wanted.settings {
                _ if changed == 0 => Err(StoreError::NotFound),
                Some(new) => poll::schedule(tx.conn, &id, new.poll, now),
                None => Ok(()),
            }
        })
        .await
    }

    async fn source_list(&self, scope: &Scope, page: Page) -> Result<Vec<Source>, StoreError> {
        let scope = scope.clone();
        self.read(move |conn| {
            let (tenant, environment) = (scope.tenant.as_str(), scope.environment.as_str());
            let find = "SELECT seq FROM sources WHERE id = ?1 AND tenant = ?2 AND environment = ?3";
            let part = slice(conn, &page, find, params![page.before, tenant, environment])?;
            let sql = concat!(
                "SELECT ",
                columns!(),
                " FROM sources WHERE tenant = ?1 AND environment = ?2 AND seq < ?3
                 ORDER BY seq DESC LIMIT ?4"
            );
            all(conn, sql, params![tenant, environment, part.before_seq, part.rows], read)
        })
        .await
    }
}
