//! References: written by runs and deliveries within their own transactions, read here.

use std::collections::BTreeMap;

use async_trait::async_trait;
use portolan_domain::{
    Scope,
    contract::{Reference, ReferenceKey},
};
use rusqlite::{Connection, params};

use super::{
    SqliteStore,
    row::{all, change},
};
use crate::{
    StoreError,
    reference::{Counterpart, References, Trail},
};

mod trail;

/// No answer holds more counterparts.
const COUNTERPARTS_MAX: u32 = 1_000;

/// Remembers pairs; a later one replaces an earlier one.
pub(super) fn remember(
    conn: &Connection,
    scope: &Scope,
    event_seq: i64,
    references: &[Reference],
) -> Result<(), StoreError> {
    for reference in references {
        change(
            conn,
            "INSERT INTO object_references
                 (tenant, environment, kind, object_id, system, counterpart, event)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, (SELECT id FROM events WHERE seq = ?7))
             ON CONFLICT (tenant, environment, kind, object_id, system)
             DO UPDATE SET counterpart = excluded.counterpart, event = excluded.event",
            params![
                scope.tenant.as_str(),
                scope.environment.as_str(),
                reference.key.kind,
                reference.key.id,
                reference.system,
                reference.id,
                event_seq
            ],
        )?;
    }
    Ok(())
}

#[async_trait]
impl References for SqliteStore {
    async fn reference_find(
        &self,
        scope: &Scope,
        key: &ReferenceKey,
    ) -> Result<BTreeMap<String, String>, StoreError> {
        let (scope, key) = (scope.clone(), key.clone());
        self.read(move |conn| {
            let sql = "SELECT system, counterpart FROM object_references
                       WHERE tenant = ?1 AND environment = ?2 AND kind = ?3 AND object_id = ?4 LIMIT ?5";
            let (tenant, environment) = (scope.tenant.as_str(), scope.environment.as_str());
            let params = params![tenant, environment, key.kind, key.id, COUNTERPARTS_MAX];
            Ok(all(conn, sql, params, |c| Ok((c.get()?, c.get()?)))?.into_iter().collect())
        })
        .await
    }

    async fn reference_reverse(
        &self,
        scope: &Scope,
        system: &str,
        id: &str,
    ) -> Result<Vec<Counterpart>, StoreError> {
        let (scope, system, id) = (scope.clone(), system.to_owned(), id.to_owned());
        self.read(move |conn| {
            let sql = "SELECT kind, object_id, event FROM object_references
                       WHERE tenant = ?1 AND environment = ?2 AND counterpart = ?4
                         -- A system, or one of its kinds of documents: `sage-pro` has `sage-pro.invoice`.
                         AND (system = ?3 OR (system > ?3 || '.' AND system < ?3 || '/'))
                       ORDER BY kind, object_id LIMIT ?5";
            let (tenant, environment) = (scope.tenant.as_str(), scope.environment.as_str());
            all(conn, sql, params![tenant, environment, system, id, COUNTERPARTS_MAX], |c| {
                let key = ReferenceKey { kind: c.get()?, id: c.get()? };
                Ok(Counterpart { key, event: c.parsed()? })
            })
        })
        .await
    }

    async fn document_trails(
        &self,
        scope: &Scope,
        system: Option<&str>,
        document: &str,
    ) -> Result<Vec<Trail>, StoreError> {
        let (of, in_system, number) = (scope.clone(), system.map(str::to_owned), document.to_owned());
        let known = self.read(move |conn| trail::known(conn, &of, in_system.as_deref(), &number)).await?;
        if !known.is_empty() {
            return Ok(known);
        }
        // A look through many rows, so only when nothing better is known.
        let (of, in_system, number) = (scope.clone(), system.map(str::to_owned), document.to_owned());
        self.look(true, move |conn| trail::answered(conn, &of, in_system.as_deref(), &number)).await
    }
}
