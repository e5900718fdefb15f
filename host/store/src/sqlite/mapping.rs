//! Mappings. `pin` moves what they are pinned to and keeps the history.

use async_trait::async_trait;
use portolan_domain::{MappingId, Scope, SourceId, Timestamp};
use rusqlite::{Connection, params};
use serde_json::{Value, json};

use super::{
    SqliteStore, decision, replay,
    row::{Columns, all, change, first, json, json_of, millis, slice},
};
use crate::{
    Page, StoreError,
    audit::Change,
    mapping::{Life, Mapping, MappingChange, Mappings, Pin, Shadow},
    run::Decision,
};

mod canary;
mod pin;

pub(super) use canary::ran as canary_ran;

/// What claims execute here: see the test of S13.
#[cfg(test)]
pub(super) const CLAIM_STATEMENTS: &[&str] = &[PAUSED];

/// A mapping is paused itself, or the module that it is pinned to is (S22).
const PAUSED: &str = "
    SELECT m.paused_at IS NOT NULL OR o.paused_at IS NOT NULL
    FROM mappings m CROSS JOIN modules o ON o.tenant = m.tenant AND o.digest = m.module WHERE m.id = ?1";

/// Whether the mapping's runs are not to be claimed.
pub(super) fn is_paused(conn: &Connection, id: &str) -> Result<bool, StoreError> {
    Ok(first(conn, PAUSED, [id], |c| c.get())?.unwrap_or(false))
}

macro_rules! columns {
    () => {
        "id, tenant, environment, name, source, kinds, module, settings, connections, enabled, created_at,
         pin, grants, shadow, canary, canary_runs, canary_failures, paused_by, paused_why, paused_at"
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
        life: Life {
            pin: c.count()?,
            grants: c.json_option()?,
            shadow: c.json_option()?,
            canary: canary::read(c)?,
            paused: decision::read_option(c)?,
        },
    })
}

fn get(conn: &Connection, scope: &Scope, id: &MappingId) -> Result<Mapping, StoreError> {
    let sql =
        concat!("SELECT ", columns!(), " FROM mappings WHERE id = ?1 AND tenant = ?2 AND environment = ?3");
    first(conn, sql, [id.as_str(), scope.tenant.as_str(), scope.environment.as_str()], read)?
        .ok_or(StoreError::NotFound)
}

fn insert(conn: &Connection, mapping: &Mapping) -> Result<(), StoreError> {
    let sql = "INSERT INTO mappings (id, tenant, environment, name, source, kinds, module, settings, connections, enabled,
                   created_at, grants)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
    let params = params![
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
        millis(mapping.created_at),
        mapping.life.grants.as_ref().map(json_of).transpose()?
    ];
    change(conn, sql, params)?;
    Ok(())
}

fn update(
    conn: &Connection,
    scope: &Scope,
    id: &MappingId,
    changes: MappingChange,
    now: Timestamp,
) -> Result<Mapping, StoreError> {
    let before = get(conn, scope, id)?;
    if changes.instead_of.is_some_and(|number| number != before.life.pin) {
        return Err(StoreError::Conflict("the mapping was pinned anew meanwhile"));
    }
    if let Some(wanted) = changes.pin {
        pin::move_to(conn, &before, wanted, now)?;
    }
    let enabled = changes.enabled.unwrap_or(before.enabled);
    change(conn, "UPDATE mappings SET enabled = ?2 WHERE id = ?1", params![id.as_str(), enabled])?;
    if let Some(new) = changes.shadow {
        if let Some(before) = &before.life.shadow {
            replay::take_off(conn, &before.replay, now)?;
        }
        if let Some(new) = &new {
            replay::create(conn, scope, new, 0, now)?;
        }
        let shadow = new.map(|new| Shadow { module: new.module, replay: new.id });
        let shadow = shadow.as_ref().map(json_of).transpose()?;
        change(conn, "UPDATE mappings SET shadow = ?2 WHERE id = ?1", params![id.as_str(), shadow])?;
    }
    if let Some(wanted) = changes.canary {
        canary::put(conn, id.as_str(), wanted.as_ref())?;
    }
    get(conn, scope, id)
}

/// What the audit log is told of a change.
fn told(changes: &MappingChange) -> Value {
    let pin = changes.pin.as_ref();
    json!({
        "module": pin.and_then(|pin| pin.module.as_ref()),
        "settings": pin.is_some_and(|pin| pin.settings.is_some()),
        "connections": pin.and_then(|pin| pin.connections.as_ref()),
        "grants": pin.and_then(|pin| pin.grants.as_ref()),
        "replay": pin.and_then(|pin| pin.replay.as_ref()),
        "why": pin.and_then(|pin| pin.why.as_ref()),
        "enabled": changes.enabled,
        "shadow": changes.shadow.as_ref().map(|new| new.as_ref().map(|new| json!({ "module": new.module, "replay": new.id }))),
        "canary": changes.canary,
    })
}

fn exists(conn: &Connection, scope: &Scope, id: &MappingId) -> Result<(), StoreError> {
    let sql = "SELECT 1 FROM mappings WHERE id = ?1 AND tenant = ?2 AND environment = ?3";
    let params = [id.as_str(), scope.tenant.as_str(), scope.environment.as_str()];
    first(conn, sql, params, |c| c.get::<i64>())?.map(|_| ()).ok_or(StoreError::NotFound)
}

#[async_trait]
impl Mappings for SqliteStore {
    async fn mapping_create(&self, mapping: Mapping) -> Result<(), StoreError> {
        self.audited(
            Change::of(&mapping.scope, "mapping.create", mapping.id.as_str())
                .with(json!({ "name": mapping.name, "module": mapping.module, "source": mapping.source })),
            {
                let by = crate::audit::actor().by;
                move |tx| {
                    insert(tx.conn, &mapping)?;
                    pin::begin(tx.conn, &mapping, &by)
                }
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
        mut changes: MappingChange,
        now: Timestamp,
    ) -> Result<Mapping, StoreError> {
        let (scope, id) = (scope.clone(), id.clone());
        let told = Change::of(&scope, "mapping.update", id.as_str()).with(told(&changes));
        if let Some(pin) = &mut changes.pin {
            pin.by.get_or_insert_with(|| crate::audit::actor().by);
        }
        self.audited(told, move |tx| update(tx.conn, &scope, &id, changes, now)).await
    }

    async fn mapping_rollback(
        &self,
        scope: &Scope,
        id: &MappingId,
        decision: Decision,
    ) -> Result<Mapping, StoreError> {
        let (scope, id) = (scope.clone(), id.clone());
        let told = Change::of(&scope, "mapping.rollback", id.as_str()).with(json!({ "why": decision.why }));
        self.audited(told, move |tx| {
            pin::roll_back(tx.conn, &get(tx.conn, &scope, &id)?, &decision)?;
            get(tx.conn, &scope, &id)
        })
        .await
    }

    async fn mapping_pins(&self, scope: &Scope, id: &MappingId) -> Result<Vec<Pin>, StoreError> {
        let (scope, id) = (scope.clone(), id.clone());
        self.read(move |conn| {
            exists(conn, &scope, &id)?;
            pin::list(conn, &id)
        })
        .await
    }

    async fn mapping_pause(
        &self,
        scope: &Scope,
        id: &MappingId,
        decision: Decision,
    ) -> Result<(), StoreError> {
        let (scope, id) = (scope.clone(), id.clone());
        let told = Change::of(&scope, "mapping.pause", id.as_str()).with(json!({ "why": decision.why }));
        self.audited_after(move |tx| {
            exists(tx.conn, &scope, &id)?;
            let sql = "UPDATE mappings SET paused_by = ?2, paused_why = ?3, paused_at = ?4
                       WHERE id = ?1 AND paused_at IS NULL";
            let params = params![id.as_str(), decision.by, decision.why, millis(decision.at)];
            // What stands already is not told again, with a reason that is kept nowhere.
            if change(tx.conn, sql, params)? == 0 {
                return Ok(((), Vec::new()));
            }
            decision::keep(tx.conn, &scope, id.as_str(), "pause", &decision)?;
            Ok(((), vec![told]))
        })
        .await
    }

    async fn mapping_resume(
        &self,
        scope: &Scope,
        id: &MappingId,
        decision: Decision,
    ) -> Result<(), StoreError> {
        let (scope, id) = (scope.clone(), id.clone());
        let told = Change::of(&scope, "mapping.resume", id.as_str()).with(json!({ "why": decision.why }));
        self.audited_after(move |tx| {
            exists(tx.conn, &scope, &id)?;
            let sql = "UPDATE mappings SET paused_by = NULL, paused_why = NULL, paused_at = NULL
                       WHERE id = ?1 AND paused_at IS NOT NULL";
            if change(tx.conn, sql, [id.as_str()])? == 0 {
                return Ok(((), Vec::new()));
            }
            decision::keep(tx.conn, &scope, id.as_str(), "resume", &decision)?;
            Ok(((), vec![told]))
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
