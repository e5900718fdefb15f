//! Alerts: raised by people's systems, runs and deliveries; open ones with one scope, code and title are one (S12).

use async_trait::async_trait;
use portolan_domain::{AlertId, Scope, Timestamp, contract::Severity};
use rusqlite::{Connection, params};

use super::{
    SqliteStore,
    row::{Columns, all, change, json, millis, slice},
};
use crate::{
    Page, StoreError,
    alert::{Alert, Alerts, NewAlert},
    audit::Change,
};

macro_rules! columns {
    () => {
        "id, tenant, environment, severity, code, title, detail, open, count, first_at, last_at"
    };
}

const fn rank(severity: Severity) -> i64 {
    match severity {
        Severity::Info => 0,
        Severity::Warning => 1,
        Severity::Critical => 2,
    }
}

fn read(c: &mut Columns<'_, '_>) -> Result<Alert, StoreError> {
    Ok(Alert {
        id: c.parsed()?,
        scope: c.scope()?,
        // The table's CHECK admits 0 to 2.
        severity: match c.get::<i64>()? {
            0 => Severity::Info,
            1 => Severity::Warning,
            _ => Severity::Critical,
        },
        code: c.get()?,
        title: c.get()?,
        detail: c.json()?,
        open: c.get()?,
        count: c.count()?,
        first_at: c.time()?,
        last_at: c.time()?,
    })
}

/// Raises alerts within somebody's transaction.
pub(super) fn raise(conn: &Connection, scope: &Scope, alerts: &[NewAlert]) -> Result<(), StoreError> {
    for alert in alerts {
        change(
            conn,
            "INSERT INTO alerts (id, tenant, environment, severity, code, title, detail, first_at, last_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8)
             ON CONFLICT (tenant, environment, code, title) WHERE open = 1 DO UPDATE SET
                 count = count + 1,
                 severity = max(severity, excluded.severity),
                 detail = excluded.detail,
                 last_at = max(last_at, excluded.last_at)",
            params![
                alert.id.as_str(),
                scope.tenant.as_str(),
                scope.environment.as_str(),
                rank(alert.severity),
                alert.code,
                alert.title,
                json(&alert.detail),
                millis(alert.at)
            ],
        )?;
    }
    Ok(())
}

#[async_trait]
impl Alerts for SqliteStore {
    async fn alert_raise(&self, scope: &Scope, alert: NewAlert) -> Result<(), StoreError> {
        let scope = scope.clone();
        self.write(move |tx| raise(tx.conn, &scope, &[alert])).await
    }

    async fn alert_list(&self, scope: &Scope, open_only: bool, page: Page) -> Result<Vec<Alert>, StoreError> {
        let scope = scope.clone();
        self.read(move |conn| {
            let (tenant, environment) = (scope.tenant.as_str(), scope.environment.as_str());
            let find = "SELECT seq FROM alerts WHERE id = ?1 AND tenant = ?2 AND environment = ?3";
            let part = slice(conn, &page, find, params![page.before, tenant, environment])?;
            let sql = concat!(
                "SELECT ",
                columns!(),
                " FROM alerts WHERE tenant = ?1 AND environment = ?2 AND open >= ?3 AND seq < ?4
                 ORDER BY seq DESC LIMIT ?5"
            );
            all(conn, sql, params![tenant, environment, open_only, part.before_seq, part.rows], read)
        })
        .await
    }

    async fn alert_resolve(&self, scope: &Scope, id: &AlertId, now: Timestamp) -> Result<(), StoreError> {
        let (scope, id) = (scope.clone(), id.clone());
        self.audited(Change::of(&scope, "alert.resolve", id.as_str()), move |tx| {
            let (tenant, environment) = (scope.tenant.as_str(), scope.environment.as_str());
            let sql = "UPDATE alerts SET open = 0, resolved_at = coalesce(resolved_at, ?4)
                       WHERE id = ?1 AND tenant = ?2 AND environment = ?3";
            match change(tx.conn, sql, params![id.as_str(), tenant, environment, millis(now)])? {
                0 => Err(StoreError::NotFound),
                _ => Ok(()),
            }
        })
        .await
    }
}

/// A row of this kind cannot be read back.
pub(super) fn unreadable(noun: &str, why: &str, now: Timestamp) -> NewAlert {
    NewAlert {
        id: AlertId::generate(now),
        severity: Severity::Critical,
        code: format!("{noun}-unreadable"),
        title: format!("a {noun} cannot be read back from the store"),
        detail: serde_json::json!({ "message": why }),
        at: now,
    }
}
