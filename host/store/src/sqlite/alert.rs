//! Alerts: raised by people's systems, runs and deliveries; those with one scope, code and title that are not resolved are
//! one (S12). Whoever changes one asks [`tell`] who is to be told (S24).

use async_trait::async_trait;
use portolan_domain::{
    AlertId, EventId, NotificationRuleId, Scope, Timestamp,
    contract::Severity,
    notification::{AlertNews, News, Rule},
    state::AlertState,
};
use rusqlite::{Connection, params};
use serde_json::{Value, json};

use super::{
    SqliteStore, decision,
    notification::tell,
    row::{Columns, all, change, first, json, millis},
};
use crate::{
    Page, StoreError,
    alert::{Alert, AlertFilter, Alerts, NewAlert, RESOLVED_BY_HOST},
    audit::Change,
    run::Decision,
};

#[cfg(test)]
pub(super) use list::LIST_STATEMENTS;

/// Events that one alert knows.
const EVENTS_MAX: u64 = 1_000;
/// The whole answer to `alert_of_event`.
const OF_EVENT_MAX: u32 = 100;

macro_rules! columns {
    () => {
        "a.id, a.tenant, a.environment, a.severity, a.code, a.title, a.detail, a.open, a.count, a.first_at, a.last_at,
         a.acknowledged_by, a.acknowledged_why, a.acknowledged_at, a.resolved_by, a.resolved_why, a.resolved_at"
    };
}

mod list;

const UNRESOLVED: &str = "
    SELECT seq, id, severity, count FROM alerts
    WHERE tenant = ?1 AND environment = ?2 AND code = ?3 AND title = ?4 AND open = 1";
const INSERT: &str = "
    INSERT INTO alerts (id, tenant, environment, severity, code, title, detail, first_at, last_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8)";
const COUNT: &str = "
    UPDATE alerts SET count = count + 1, severity = max(severity, ?2), detail = ?3, last_at = max(last_at, ?4)
    WHERE seq = ?1";
const ABOUT: &str = "INSERT INTO alert_events (event_seq, alert_seq) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
const EVENT_ID: &str = "SELECT id FROM events WHERE seq = ?1";

/// What an alert that is raised comes from.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct From<'a> {
    /// The event that it is about.
    pub(super) event_seq: Option<i64>,
    /// The rule that failed to tell something, and is not asked to tell that.
    pub(super) rule: Option<&'a NotificationRuleId>,
}

const fn rank(severity: Severity) -> i64 {
    match severity {
        Severity::Info => 0,
        Severity::Warning => 1,
        Severity::Critical => 2,
    }
}

/// The table's CHECK admits 0 to 2.
pub(super) const fn severity(rank: i64) -> Severity {
    match rank {
        0 => Severity::Info,
        1 => Severity::Warning,
        _ => Severity::Critical,
    }
}

fn read(c: &mut Columns<'_, '_>) -> Result<Alert, StoreError> {
    let (id, scope, severity) = (c.parsed()?, c.scope()?, severity(c.get()?));
    let (code, title, detail, open) = (c.get()?, c.get()?, c.json()?, c.get::<bool>()?);
    let (count, first_at, last_at) = (c.count()?, c.time()?, c.time()?);
    let acknowledged = decision::read_option(c)?;
    let (by, why, at) = (c.get::<Option<String>>()?, c.get::<Option<String>>()?, c.time_option()?);
    // One that was resolved before it was kept by whom has a time alone.
    let resolved = at.map(|at| Decision { by: by.unwrap_or_default(), why: why.unwrap_or_default(), at });
    let state = match (open, &acknowledged) {
        (false, _) => AlertState::Resolved,
        (true, Some(_)) => AlertState::Acknowledged,
        (true, None) => AlertState::Open,
    };
    Ok(Alert {
        id,
        scope,
        severity,
        code,
        title,
        detail,
        state,
        acknowledged,
        resolved,
        count,
        first_at,
        last_at,
    })
}

/// Raises alerts within somebody's transaction.
pub(super) fn raise(
    conn: &Connection,
    scope: &Scope,
    from: From<'_>,
    alerts: &[NewAlert],
) -> Result<(), StoreError> {
    for alert in alerts {
        raise_one(conn, scope, from, alert)?;
    }
    Ok(())
}

fn raise_one(conn: &Connection, scope: &Scope, from: From<'_>, alert: &NewAlert) -> Result<(), StoreError> {
    let (tenant, environment) = (scope.tenant.as_str(), scope.environment.as_str());
    let (code, title) = (&alert.code, &alert.title);
    let before = first(conn, UNRESOLVED, params![tenant, environment, code, title], |c| {
        Ok((c.get::<i64>()?, c.parsed::<AlertId>()?, severity(c.get()?), c.count::<u64>()?))
    })?;
    let (rank, detail, at) = (rank(alert.severity), json(&alert.detail), millis(alert.at));
    let (seq, id, was, count) = match before {
        Some((seq, id, was, count)) => {
            change(conn, COUNT, params![seq, rank, detail, at])?;
            (seq, id, Some(was), count.saturating_add(1))
        }
        None => {
            change(
                conn,
                INSERT,
                params![alert.id.as_str(), tenant, environment, rank, code, title, detail, at],
            )?;
            (conn.last_insert_rowid(), alert.id.clone(), None, 1)
        }
    };
    if let Some(event_seq) = from.event_seq.filter(|_| count <= EVENTS_MAX) {
        change(conn, ABOUT, params![event_seq, seq])?;
    }
    if was.is_some_and(|was| was >= alert.severity) {
        return Ok(());
    }
    let tells = |severity, rule: &Rule| rule.tells_alert(code, severity, AlertState::Open);
    // Who was told when it mattered less is not told again.
    let wants = |rule: &Rule| tells(alert.severity, rule) && !was.is_some_and(|was| tells(was, rule));
    tell::tell(conn, scope, (tell::ALERTS, from.rule), wants, || {
        let event = event_of(conn, from.event_seq)?;
        let news = AlertNews {
            id: &id,
            state: AlertState::Open,
            severity: alert.severity,
            code,
            title,
            detail: &alert.detail,
            count,
            decision: Value::Null,
            event: event.as_ref(),
        };
        Ok(News::of_alert(scope, news, alert.at))
    })
}

fn event_of(conn: &Connection, event_seq: Option<i64>) -> Result<Option<EventId>, StoreError> {
    Ok(event_seq.map(|seq| first(conn, EVENT_ID, [seq], |c| c.parsed())).transpose()?.flatten())
}

/// A person, or the host, changes where an alert stands.
fn turn(
    conn: &Connection,
    scope: &Scope,
    (id, state): (&AlertId, AlertState),
    decision: &Decision,
) -> Result<(), StoreError> {
    let alert = get(conn, scope, id)?;
    let sql = match (state, alert.state) {
        // What was said first stays.
        (AlertState::Acknowledged, AlertState::Acknowledged)
        | (AlertState::Resolved, AlertState::Resolved) => {
            return Ok(());
        }
        (AlertState::Acknowledged, AlertState::Open) => {
            "UPDATE alerts SET acknowledged_by = ?2, acknowledged_why = ?3, acknowledged_at = ?4 WHERE id = ?1"
        }
        (AlertState::Resolved, AlertState::Open | AlertState::Acknowledged) => {
            "UPDATE alerts SET open = 0, resolved_by = ?2, resolved_why = ?3, resolved_at = ?4 WHERE id = ?1"
        }
        (AlertState::Open, _) | (AlertState::Acknowledged, AlertState::Resolved) => {
            return Err(StoreError::Conflict("the alert is resolved; what happens again opens a new one"));
        }
    };
    change(conn, sql, params![id.as_str(), decision.by, decision.why, millis(decision.at)])?;
    let wants = |rule: &Rule| rule.tells_alert(&alert.code, alert.severity, state);
    tell::tell(conn, scope, (tell::ALERTS, None), wants, || {
        let news = AlertNews {
            id,
            state,
            severity: alert.severity,
            code: &alert.code,
            title: &alert.title,
            detail: &alert.detail,
            count: alert.count,
            decision: json!({ "by": decision.by, "why": decision.why }),
            event: None,
        };
        Ok(News::of_alert(scope, news, decision.at))
    })
}

/// What alerts told of is over. `rows` gives tenant, environment and id of each.
fn end(conn: &Connection, rows: Vec<(Scope, AlertId)>, now: Timestamp) -> Result<u64, StoreError> {
    let why = "what it told of is over".to_owned();
    let decision = Decision { by: RESOLVED_BY_HOST.to_owned(), why, at: now };
    for (scope, id) in &rows {
        turn(conn, scope, (id, AlertState::Resolved), &decision)?;
    }
    Ok(rows.len() as u64)
}

/// Ends the alert with this code and title, within somebody's transaction.
pub(super) fn end_one(
    conn: &Connection,
    scope: &Scope,
    (code, title): (&str, &str),
    now: Timestamp,
) -> Result<(), StoreError> {
    let params = params![scope.tenant.as_str(), scope.environment.as_str(), code, title];
    let found = first(conn, UNRESOLVED, params, |c| {
        c.get::<i64>()?;
        c.parsed()
    })?;
    end(conn, found.map(|id| (scope.clone(), id)).into_iter().collect(), now)?;
    Ok(())
}

fn get(conn: &Connection, scope: &Scope, id: &AlertId) -> Result<Alert, StoreError> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM alerts a WHERE a.id = ?1 AND a.tenant = ?2 AND a.environment = ?3"
    );
    first(conn, sql, [id.as_str(), scope.tenant.as_str(), scope.environment.as_str()], read)?
        .ok_or(StoreError::NotFound)
}

#[async_trait]
impl Alerts for SqliteStore {
    async fn alert_raise(&self, scope: &Scope, alert: NewAlert) -> Result<(), StoreError> {
        let scope = scope.clone();
        self.write(move |tx| raise(tx.conn, &scope, From::default(), &[alert])).await
    }

    async fn alert_get(&self, scope: &Scope, id: &AlertId) -> Result<Alert, StoreError> {
        let (scope, id) = (scope.clone(), id.clone());
        self.read(move |conn| get(conn, &scope, &id)).await
    }

    async fn alert_list(
        &self,
        scope: &Scope,
        filter: AlertFilter,
        page: Page,
    ) -> Result<Vec<Alert>, StoreError> {
        let scope = scope.clone();
        self.look(list::is_search(&filter), move |conn| list::list(conn, &scope, &filter, &page)).await
    }

    async fn alert_list_everywhere(&self, filter: AlertFilter, page: Page) -> Result<Vec<Alert>, StoreError> {
        self.look(list::is_search(&filter), move |conn| list::everywhere(conn, &filter, &page)).await
    }

    async fn alert_of_event(&self, scope: &Scope, event: &EventId) -> Result<Vec<Alert>, StoreError> {
        let (scope, event) = (scope.clone(), event.clone());
        self.read(move |conn| {
            let sql = concat!(
                "SELECT ",
                columns!(),
                " FROM events e JOIN alert_events x ON x.event_seq = e.seq JOIN alerts a ON a.seq = x.alert_seq
                 WHERE e.id = ?1 AND e.tenant = ?2 AND e.environment = ?3 ORDER BY a.seq DESC LIMIT ?4"
            );
            let (tenant, environment) = (scope.tenant.as_str(), scope.environment.as_str());
            all(conn, sql, params![event.as_str(), tenant, environment, OF_EVENT_MAX], read)
        })
        .await
    }

    async fn alert_acknowledge(
        &self,
        scope: &Scope,
        id: &AlertId,
        decision: Decision,
    ) -> Result<(), StoreError> {
        let (scope, id) = (scope.clone(), id.clone());
        let told = Change::of(&scope, "alert.acknowledge", id.as_str()).with(json!({ "why": decision.why }));
        self.audited(told, move |tx| turn(tx.conn, &scope, (&id, AlertState::Acknowledged), &decision)).await
    }

    async fn alert_resolve(&self, scope: &Scope, id: &AlertId, decision: Decision) -> Result<(), StoreError> {
        let (scope, id) = (scope.clone(), id.clone());
        let told = Change::of(&scope, "alert.resolve", id.as_str()).with(json!({ "why": decision.why }));
        self.audited(told, move |tx| turn(tx.conn, &scope, (&id, AlertState::Resolved), &decision)).await
    }

    async fn alert_end_elsewhere(
        &self,
        code: &str,
        but: Vec<Scope>,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let code = code.to_owned();
        let sql = "SELECT tenant, environment, id FROM alerts WHERE open = 1 AND code = ?1";
        let find = move |conn: &Connection| {
            let mut found: Vec<(Scope, AlertId)> =
                all(conn, sql, [&code], |c| Ok((c.scope()?, c.parsed()?)))?;
            found.retain(|(scope, _)| !but.contains(scope));
            Ok(found)
        };
        // As a rule there is none, and then nothing is written.
        let looked = find.clone();
        if self.read(move |conn| looked(conn)).await?.is_empty() {
            return Ok(0);
        }
        self.write(move |tx| end(tx.conn, find(tx.conn)?, now)).await
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
