//! Mappings.

use async_trait::async_trait;
use portolan_domain::{MappingId, Scope, SourceId};
use rusqlite::{Connection, params};
use serde_json::json;

use super::{
    SqliteStore,
    row::{Columns, all, change, first, json, json_of, millis, slice},
};
use crate::{
    Page, StoreError,
    audit::Change,
    mapping::{Mapping, MappingChange, Mappings},
};

macro_rules! columns {
    () => {
        "id, tenant, environment, name, source, kinds, module, settings, connections, enabled, created_at"
    };
}

fn read(c: &mut Columns<'_, '_>) -> Result<Mapping, StoreError> {
    Ok(Mapping {
        id: c.parsed()?,
        scope: c.scope()?,
        name: c.get()?,
        source: c.parsed()?,
        kinds: c.json_or_default()?,
        module: c.parsed()?,
        settings: c.json()?,
        connections: c.json_or_default()?,
        enabled: c.get()?,
        created_at: c.time()?,
    })
}

fn get(conn: &Connection, scope: &Scope, id: &MappingId) -> Result<Mapping, StoreError> {
    let sql =
        concat!("SELECT ", columns!(), " FROM mappings WHERE id = ?1 AND tenant = ?2 AND environment = ?3");
    first(conn, sql, [id.as_str(), scope.tenant.as_str(), scope.environment.as_str()], read)?
        .ok_or(StoreError::NotFound)
}

#[async_trait]
impl Mappings for SqliteStore {
    async fn mapping_create(&self, mapping: Mapping) -> Result<(), StoreError> {
        self.audited(
            Change::of(&mapping.scope, "mapping.create", mapping.id.as_str())
                .with(json!({ "name": mapping.name, "module": mapping.module, "source": mapping.source })),
            move |tx| {
                let sql = concat!(
                    "INSERT INTO mappings (",
                    columns!(),
                    ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
                );
                change(
                    tx.conn,
                    sql,
                    params![
                        mapping.id.as_str(),
                        mapping.scope.tenant.as_str(),
                        mapping.scope.environment.as_str(),
                        mapping.name,
                        mapping.source.as_str(),
                        json_of(&mapping.kinds)?,
                        mapping.module.as_str(),
                        json(&mapping.settings),
                        json_of(&mapping.connections)?,
                        mapping.enabled,
                        millis(mapping.created_at)
                    ],
                )?;
                Ok(())
            },
        )
        .await
    }

    async fn mapping_get(&self, scope: &Scope, id: &MappingId) -> Result<Mapping, StoreError> {
        let (scope, id) = (scope.clone(), id.clone());
        self.read(move |conn| get(conn, &scope, &id)).await
    }

    async fn mapping_update(
        &self,
        scope: &Scope,
        id: &MappingId,
        changes: MappingChange,
    ) -> Result<Mapping, StoreError> {
        let (scope, id) = (scope.clone(), id.clone());
        let detail = json!({
            "module": changes.module,
            "settings": changes.settings.is_some(),
            "connections": changes.connections,
            "enabled": changes.enabled,
        });
        let told = Change::of(&scope, "mapping.update", id.as_str()).with(detail);
        self.audited(told, move |tx| {
            let mut mapping = get(tx.conn, &scope, &id)?;
            mapping.module = changes.module.unwrap_or(mapping.module);
            mapping.settings = changes.settings.unwrap_or(mapping.settings);
            mapping.connections = changes.connections.unwrap_or(mapping.connections);
            mapping.enabled = changes.enabled.unwrap_or(mapping.enabled);
            change(
                tx.conn,
                "UPDATE mappings SET module = ?4, settings = ?5, connections = ?6, enabled = ?7
                 WHERE id = ?1 AND tenant = ?2 AND environment = ?3",
                params![
                    id.as_str(),
                    scope.tenant.as_str(),
                    scope.environment.as_str(),
                    mapping.module.as_str(),
                    json(&mapping.settings),
                    json_of(&mapping.connections)?,
                    mapping.enabled
                ],
            )?;
            Ok(mapping)
        })
        .await
    }

    async fn mapping_list(&self, scope: &Scope, page: Page) -> Result<Vec<Mapping>, StoreError> {
        let scope = scope.clone();
        self.read(move |conn| {
            let (tenant, environment) = (scope.tenant.as_str(), scope.environment.as_str());
            let find = "SELECT seq FROM mappings WHERE id = ?1 AND tenant = ?2 AND environment = ?3";
            let part = slice(conn, &page, find, params![page.before, tenant, environment])?;
            let sql = concat!(
                "SELECT ",
                columns!(),
                " FROM mappings WHERE tenant = ?1 AND environment = ?2 AND seq < ?3
                 ORDER BY seq DESC LIMIT ?4"
            );
            all(conn, sql, params![tenant, environment, part.before_seq, part.rows], read)
        })
        .await
    }

    async fn mapping_of_source(&self, scope: &Scope, source: &SourceId) -> Result<Vec<Mapping>, StoreError> {
        let (scope, source) = (scope.clone(), source.clone());
        self.read(move |conn| {
            let sql = concat!(
                "SELECT ",
                columns!(),
                " FROM mappings WHERE tenant = ?1 AND environment = ?2 AND source = ?3 ORDER BY seq"
            );
            all(conn, sql, [scope.tenant.as_str(), scope.environment.as_str(), source.as_str()], read)
        })
        .await
    }
}
