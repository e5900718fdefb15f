//! What people decided: kept for ever, beside the reason that the row itself shows. And what waits for a second key
//! where the environment asks for four eyes (S16).

use async_trait::async_trait;
use portolan_domain::{Scope, Timestamp};
use rusqlite::{Connection, params};
use serde_json::{Value, json};

use super::{
    SqliteStore, alert,
    row::{Columns, all, change, first, integer, json, millis},
};
use crate::{
    StoreError,
    audit::Change,
    desk::{Desk, EnvironmentSettings, Past, Proposal},
    run::{Decided, Decision},
};

/// The whole answer to a list of this file.
const ROWS_MAX: u32 = 500;

const FOUR_EYES: &str = "SELECT four_eyes FROM environment_settings WHERE tenant = ?1 AND environment = ?2";

const PROPOSED: &str = "
    SELECT by, why, at, content FROM proposals
    WHERE tenant = ?1 AND environment = ?2 AND subject = ?3 AND action = ?4";

const PROPOSE: &str = "
    INSERT INTO proposals (tenant, environment, subject, action, content, by, why, at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
    ON CONFLICT (tenant, environment, subject, action) DO UPDATE SET
        content = excluded.content, by = excluded.by, why = excluded.why, at = excluded.at";

const KEEP: &str = "
    INSERT INTO decisions (tenant, environment, subject, action, by, why, at, proposed_by, proposed_why, proposed_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";

/// Keeps a decision about a run, a delivery or a connection that one person may make alone.
pub(super) fn keep(
    conn: &Connection,
    scope: &Scope,
    subject: &str,
    action: &'static str,
    decision: &Decision,
) -> Result<(), StoreError> {
    keep_with(conn, scope, (subject, action), decision, None)
}

/// Keeps a decision that takes two keys where the environment asks for four eyes. `content` is what else it says:
/// both must say the same. [`Decided::Proposed`]: this was the first, and nothing may happen yet.
pub(super) fn keep_or_propose(
    conn: &Connection,
    scope: &Scope,
    subject: &str,
    (action, content): (&'static str, &Value),
    decision: &Decision,
) -> Result<Decided, StoreError> {
    if !four_eyes(conn, scope)? {
        keep_with(conn, scope, (subject, action), decision, None)?;
        return Ok(Decided::Done);
    }
    let (tenant, environment) = (scope.tenant.as_str(), scope.environment.as_str());
    let key = params![tenant, environment, subject, action];
    let proposed = first(conn, PROPOSED, key, |c| Ok((read(c)?, c.json()?)))?;
    match proposed {
        Some((first, same)) if same == *content && first.by == decision.by => {
            Err(StoreError::Conflict("four eyes: another key than the one that proposed it must confirm it"))
        }
        Some((first, same)) if same == *content => {
            let sql = "DELETE FROM proposals WHERE tenant = ?1 AND environment = ?2 AND subject = ?3 AND action = ?4";
            change(conn, sql, key)?;
            keep_with(conn, scope, (subject, action), decision, Some(&first))?;
            Ok(Decided::Done)
        }
        Some(_) | None => {
            let row = params![
                tenant,
                environment,
                subject,
                action,
                json(content),
                decision.by,
                decision.why,
                millis(decision.at)
            ];
            change(conn, PROPOSE, row)?;
            Ok(Decided::Proposed)
        }
    }
}

/// Whether decisions that may double or forge a document take two keys here.
pub(super) fn four_eyes(conn: &Connection, scope: &Scope) -> Result<bool, StoreError> {
    let params = [scope.tenant.as_str(), scope.environment.as_str()];
    Ok(first(conn, FOUR_EYES, params, |c| c.get())?.unwrap_or(false))
}

fn keep_with(
    conn: &Connection,
    scope: &Scope,
    (subject, action): (&str, &'static str),
    decision: &Decision,
    proposed: Option<&Decision>,
) -> Result<(), StoreError> {
    let row = params![
        scope.tenant.as_str(),
        scope.environment.as_str(),
        subject,
        action,
        decision.by,
        decision.why,
        millis(decision.at),
        proposed.map(|first| &first.by),
        proposed.map(|first| &first.why),
        proposed.map(|first| millis(first.at))
    ];
    change(conn, KEEP, row)?;
    Ok(())
}

/// Three columns, in this order: who, why, when.
pub(super) fn read(c: &mut Columns<'_, '_>) -> Result<Decision, StoreError> {
    Ok(Decision { by: c.get()?, why: c.get()?, at: c.time()? })
}

/// Three columns that are all null or none.
pub(super) fn read_option(c: &mut Columns<'_, '_>) -> Result<Option<Decision>, StoreError> {
    let (by, why, at) = (c.get::<Option<String>>()?, c.get::<Option<String>>()?, c.time_option()?);
    Ok(by.zip(why).zip(at).map(|((by, why), at)| Decision { by, why, at }))
}

/// The reason that the row shows from now on.
pub(super) fn reason(code: &str, decision: &Decision) -> Value {
    json!({ "code": code, "message": decision.why, "by": decision.by })
}

fn put_settings(
    conn: &Connection,
    scope: &Scope,
    settings: EnvironmentSettings,
    decision: &Decision,
) -> Result<Decided, StoreError> {
    let content = json!({ "four_eyes": settings.four_eyes, "replay_events_min": settings.replay_events_min });
    let decided = keep_or_propose(conn, scope, "environment", ("four-eyes", &content), decision)?;
    if decided == Decided::Done {
        let sql = "INSERT INTO environment_settings (tenant, environment, four_eyes, replay_events_min)
                   VALUES (?1, ?2, ?3, ?4) ON CONFLICT (tenant, environment) DO UPDATE SET
                       four_eyes = excluded.four_eyes, replay_events_min = excluded.replay_events_min";
        let (tenant, environment) = (scope.tenant.as_str(), scope.environment.as_str());
        let events_min = integer(settings.replay_events_min);
        change(conn, sql, params![tenant, environment, settings.four_eyes, events_min])?;
    }
    Ok(decided)
}

impl SqliteStore {
    /// Stores what a person decides, and tells the audit log of it: also when it is only proposed.
    pub(super) async fn decided<F>(
        &self,
        told: Change,
        decision: Decision,
        make: F,
    ) -> Result<Decided, StoreError>
    where
        F: FnOnce(&Connection, &Decision) -> Result<Decided, StoreError> + Send + 'static,
    {
        self.audited_after(move |tx| {
            let decided = make(tx.conn, &decision)?;
            let detail = json!({ "why": decision.why, "only_proposed": decided == Decided::Proposed });
            Ok((decided, vec![told.with(detail)]))
        })
        .await
    }
}

#[async_trait]
impl Desk for SqliteStore {
    async fn environment_settings(&self, scope: &Scope) -> Result<EnvironmentSettings, StoreError> {
        let scope = scope.clone();
        self.read(move |conn| {
            let sql = "SELECT four_eyes, replay_events_min FROM environment_settings
                       WHERE tenant = ?1 AND environment = ?2";
            let read = |c: &mut Columns<'_, '_>| {
                Ok(EnvironmentSettings { four_eyes: c.get()?, replay_events_min: c.count()? })
            };
            let params = [scope.tenant.as_str(), scope.environment.as_str()];
            Ok(first(conn, sql, params, read)?.unwrap_or_default())
        })
        .await
    }

    async fn environment_settings_put(
        &self,
        scope: &Scope,
        settings: EnvironmentSettings,
        decision: Decision,
    ) -> Result<Decided, StoreError> {
        let scope = scope.clone();
        let told = Change::of(&scope, "environment.four-eyes", "environment");
        self.decided(told, decision, move |conn, decision| put_settings(conn, &scope, settings, decision))
            .await
    }

    async fn proposal_list(&self, scope: &Scope) -> Result<Vec<Proposal>, StoreError> {
        let scope = scope.clone();
        self.read(move |conn| {
            let sql = "SELECT subject, action, content, by, why, at FROM proposals
                       WHERE tenant = ?1 AND environment = ?2 ORDER BY seq DESC LIMIT ?3";
            let params = params![scope.tenant.as_str(), scope.environment.as_str(), ROWS_MAX];
            all(conn, sql, params, |c| {
                Ok(Proposal { subject: c.get()?, action: c.get()?, content: c.json()?, decision: read(c)? })
            })
        })
        .await
    }

    async fn decision_list(&self, scope: &Scope, subject: &str) -> Result<Vec<Past>, StoreError> {
        let (scope, subject) = (scope.clone(), subject.to_owned());
        self.read(move |conn| {
            let sql = "SELECT action, by, why, at, proposed_by, proposed_why, proposed_at FROM decisions
                       WHERE tenant = ?1 AND environment = ?2 AND subject = ?3 ORDER BY seq LIMIT ?4";
            let params = params![scope.tenant.as_str(), scope.environment.as_str(), subject, ROWS_MAX];
            all(conn, sql, params, |c| {
                Ok(Past { action: c.get()?, decision: read(c)?, proposed: read_option(c)? })
            })
        })
        .await
    }

    async fn alert_end(
        &self,
        scope: &Scope,
        code: &str,
        title: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (scope, code, title) = (scope.clone(), code.to_owned(), title.to_owned());
        self.write(move |tx| alert::end_one(tx.conn, &scope, (&code, &title), now)).await
    }
}
