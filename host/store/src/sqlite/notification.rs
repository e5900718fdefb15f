//! Notification rules and notices: `tell` stores what is to be told within somebody's transaction, `claim` leases what is
//! due, `finish` stores how sending it ended; here stand the rules and the reads.

use async_trait::async_trait;
use portolan_domain::{
    NotificationRuleId, Scope, Timestamp,
    notification::{Digest, News, Rule},
};
use rusqlite::{Connection, params};
use serde_json::json;

use super::{
    SqliteStore,
    row::{Columns, all, change, first, json_of, millis, slice},
    wake,
};
use crate::{
    ClaimRequest, Finish, Page, StoreError,
    audit::Change,
    notification::{
        Notice, NoticeClaim, NoticeEnd, NoticeFilter, NotificationRule, Notifications, RULES_MAX, RuleChange,
    },
};

mod claim;
mod finish;
pub(super) mod tell;

pub(super) use finish::end_foreign;

const RULE: &str = "
    SELECT id, tenant, environment, name, enabled, rule, sealed_secrets, revision, created_at FROM notification_rules
    WHERE id = ?1 AND tenant = ?2 AND environment = ?3 AND deleted = 0";

/// Hidden and silent from here on; [`sweep`] removes it with its notices. Its name is free: no name that people give has a
/// control character.
const DELETE: &str = "
    UPDATE notification_rules SET deleted = 1, enabled = 0, name = char(1) || id
    WHERE id = ?1 AND tenant = ?2 AND environment = ?3 AND deleted = 0";
const DELETED: &str = "
    SELECT seq, tenant, environment, id FROM notification_rules INDEXED BY notification_rules_deleted
    WHERE deleted = 1 ORDER BY seq LIMIT 1";
const NOTICES_OF: &str = "
    DELETE FROM notices WHERE seq IN (
        SELECT seq FROM notices INDEXED BY notices_rule
        WHERE tenant = ?1 AND environment = ?2 AND rule = ?3 LIMIT ?4)";

const GIVE_UP: &str = "
    UPDATE notices SET state = 'failed', due = 0, wake_at = NULL, updated_at = ?2, reason = ?3
    WHERE seq IN (SELECT seq FROM notices WHERE rule = ?1 AND state IN ('gathering', 'pending')
                  AND tenant = ?4 AND environment = ?5)";

fn read_rule(c: &mut Columns<'_, '_>) -> Result<NotificationRule, StoreError> {
    Ok(NotificationRule {
        id: c.parsed()?,
        scope: c.scope()?,
        name: c.get()?,
        enabled: c.get()?,
        rule: read_spec(c)?,
        sealed_secrets: c.get()?,
        revision: c.count()?,
        created_at: c.time()?,
    })
}

fn read_spec(c: &mut Columns<'_, '_>) -> Result<Rule, StoreError> {
    c.json_option()?.ok_or_else(|| StoreError::Corrupt {
        what: "a notification rule that says nothing".to_owned(),
        source: "null".into(),
    })
}

fn get(conn: &Connection, scope: &Scope, id: &NotificationRuleId) -> Result<NotificationRule, StoreError> {
    let params = [id.as_str(), scope.tenant.as_str(), scope.environment.as_str()];
    first(conn, RULE, params, read_rule)?.ok_or(StoreError::NotFound)
}

/// Two columns: `kind` and `content`.
fn read_news(c: &mut Columns<'_, '_>, scope: &Scope) -> Result<News, StoreError> {
    let empty =
        || StoreError::Corrupt { what: "a notice that says nothing".to_owned(), source: "null".into() };
    if c.get::<String>()? == tell::DIGEST {
        let digest: Digest = c.json_option()?.ok_or_else(empty)?;
        return Ok(digest.into_news(scope));
    }
    c.json_option()?.ok_or_else(empty)
}

fn create(conn: &Connection, rule: &NotificationRule) -> Result<(), StoreError> {
    let (tenant, environment) = (rule.scope.tenant.as_str(), rule.scope.environment.as_str());
    let count =
        "SELECT count(*) FROM notification_rules WHERE tenant = ?1 AND environment = ?2 AND deleted = 0";
    let there: usize = first(conn, count, [tenant, environment], |c| c.count())?.unwrap_or(0);
    if there >= RULES_MAX {
        return Err(StoreError::Conflict("an environment has at most 50 notification rules"));
    }
    let sql = "INSERT INTO notification_rules (id, tenant, environment, name, enabled, rule, tells_alerts, tells_deliveries,
                   sealed_secrets, revision, created_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
    let params = params![
        rule.id.as_str(),
        tenant,
        environment,
        rule.name,
        rule.enabled,
        json_of(&rule.rule)?,
        rule.rule.alerts.is_some(),
        rule.rule.deliveries.is_some(),
        rule.sealed_secrets,
        super::row::integer(rule.revision),
        millis(rule.created_at)
    ];
    change(conn, sql, params)?;
    Ok(())
}

fn update(
    conn: &Connection,
    scope: &Scope,
    id: &NotificationRuleId,
    wanted: &RuleChange,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut rule = get(conn, scope, id)?;
    rule.enabled = wanted.enabled.unwrap_or(rule.enabled);
    rule.rule = wanted.rule.clone().unwrap_or(rule.rule);
    rule.sealed_secrets = wanted.sealed_secrets.clone().unwrap_or(rule.sealed_secrets);
    let sql =
        "UPDATE notification_rules SET enabled = ?2, rule = ?3, tells_alerts = ?4, tells_deliveries = ?5,
                   sealed_secrets = ?6, revision = revision + 1
               WHERE id = ?1";
    let params = params![
        id.as_str(),
        rule.enabled,
        json_of(&rule.rule)?,
        rule.rule.alerts.is_some(),
        rule.rule.deliveries.is_some(),
        rule.sealed_secrets
    ];
    change(conn, sql, params)?;
    if !rule.enabled {
        let reason = json!({ "code": "rule-disabled", "message": "the notification rule was switched off" });
        let (tenant, environment) = (scope.tenant.as_str(), scope.environment.as_str());
        change(conn, GIVE_UP, params![id.as_str(), millis(now), reason.to_string(), tenant, environment])?;
    }
    Ok(())
}

macro_rules! list {
    ($index:literal, $narrow:literal) => {
        concat!(
            "SELECT n.id, n.rule, n.kind, n.content, n.state, n.attempts, n.due_at, n.reason, n.created_at, n.updated_at
             FROM notices n INDEXED BY ",
            $index,
            " WHERE n.tenant = ?1 AND n.environment = ?2 AND n.seq < ?3 ",
            $narrow,
            " AND (?4 IS NULL OR n.state = ?4) AND (?5 IS NULL OR n.rule = ?5)
               AND NOT EXISTS (SELECT 1 FROM notification_rules r WHERE r.id = n.rule AND r.deleted = 1)
             ORDER BY n.seq DESC LIMIT ?6"
        )
    };
}

const LIST: &str = list!("notices_list", "");
const LIST_BY_STATE: &str = list!("notices_scope", "AND n.state = ?4");
const LIST_BY_RULE: &str = list!("notices_rule", "AND n.rule = ?5");

/// Along the index that has what is asked for in order.
const fn list_statement(filter: &NoticeFilter) -> &'static str {
    match filter {
        NoticeFilter { rule: Some(_), .. } => LIST_BY_RULE,
        NoticeFilter { state: Some(_), .. } => LIST_BY_STATE,
        NoticeFilter { .. } => LIST,
    }
}

/// What lists execute: see the test of what they cost.
#[cfg(test)]
pub(super) const LIST_STATEMENTS: &[&str] = &[LIST, LIST_BY_STATE, LIST_BY_RULE];

/// Whether a rule was deleted that is not removed yet.
pub(super) fn is_any_deleted(conn: &Connection) -> Result<bool, StoreError> {
    Ok(first(conn, DELETED, [], |c| c.get::<i64>())?.is_some())
}

/// Removes some notices of a rule that was deleted, or the rule, when it has none; how many rows.
pub(super) fn sweep(conn: &Connection, rows_max: u32) -> Result<u64, StoreError> {
    let deleted = first(conn, DELETED, [], |c| {
        Ok((c.get::<i64>()?, c.get::<String>()?, c.get::<String>()?, c.get::<String>()?))
    })?;
    let Some((seq, tenant, environment, id)) = deleted else { return Ok(0) };
    let removed = change(conn, NOTICES_OF, params![tenant, environment, id, rows_max])?;
    if removed > 0 {
        return Ok(removed as u64);
    }
    Ok(change(conn, "DELETE FROM notification_rules WHERE seq = ?1", [seq])? as u64)
}

#[async_trait]
impl Notifications for SqliteStore {
    async fn notification_rule_create(&self, rule: NotificationRule) -> Result<(), StoreError> {
        let told = Change::of(&rule.scope, "notification-rule.create", rule.id.as_str())
            .with(json!({ "name": rule.name, "rule": rule.rule }));
        self.audited(told, move |tx| create(tx.conn, &rule)).await
    }

    async fn notification_rule_get(
        &self,
        scope: &Scope,
        id: &NotificationRuleId,
    ) -> Result<NotificationRule, StoreError> {
        let (scope, id) = (scope.clone(), id.clone());
        self.read(move |conn| get(conn, &scope, &id)).await
    }

    async fn notification_rule_list(
        &self,
        scope: &Scope,
        page: Page,
    ) -> Result<Vec<NotificationRule>, StoreError> {
        let scope = scope.clone();
        self.read(move |conn| {
            let (tenant, environment) = (scope.tenant.as_str(), scope.environment.as_str());
            let find =
                "SELECT seq FROM notification_rules WHERE id = ?1 AND tenant = ?2 AND environment = ?3";
            let part = slice(conn, &page, find, params![page.before, tenant, environment])?;
            let sql =
                "SELECT id, tenant, environment, name, enabled, rule, sealed_secrets, revision, created_at
                       FROM notification_rules WHERE tenant = ?1 AND environment = ?2 AND seq < ?3 AND deleted = 0
                       ORDER BY seq DESC LIMIT ?4";
            all(conn, sql, params![tenant, environment, part.before_seq, part.rows], read_rule)
        })
        .await
    }

    async fn notification_rule_update(
        &self,
        scope: &Scope,
        id: &NotificationRuleId,
        wanted: RuleChange,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (scope, id) = (scope.clone(), id.clone());
        let detail = json!({ "enabled": wanted.enabled, "rule": wanted.rule, "secret": wanted.sealed_secrets.is_some() });
        let told = Change::of(&scope, "notification-rule.update", id.as_str()).with(detail);
        self.audited(told, move |tx| update(tx.conn, &scope, &id, &wanted, now)).await
    }

    async fn notification_rule_delete(
        &self,
        scope: &Scope,
        id: &NotificationRuleId,
    ) -> Result<(), StoreError> {
        let (scope, id) = (scope.clone(), id.clone());
        let told = Change::of(&scope, "notification-rule.delete", id.as_str());
        self.audited(told, move |tx| {
            let params = [id.as_str(), scope.tenant.as_str(), scope.environment.as_str()];
            if change(tx.conn, DELETE, params)? == 0 { Err(StoreError::NotFound) } else { Ok(()) }
        })
        .await
    }

    async fn notice_claim(&self, request: ClaimRequest) -> Result<Vec<NoticeClaim>, StoreError> {
        // As a rule nothing is due: only whoever finds something needs the writer.
        let now = request.now;
        if !self.read(move |conn| claim::is_any_due(conn, now)).await? {
            return Ok(Vec::new());
        }
        self.write(move |tx| claim::claim(tx, &request)).await
    }

    async fn notice_finish(
        &self,
        claim: &NoticeClaim,
        end: NoticeEnd,
        now: Timestamp,
    ) -> Result<Finish, StoreError> {
        let claim = claim.clone();
        self.write(move |tx| finish::finish(tx.conn, &claim, &end, now)).await
    }

    async fn notice_list(
        &self,
        scope: &Scope,
        filter: NoticeFilter,
        page: Page,
    ) -> Result<Vec<Notice>, StoreError> {
        let scope = scope.clone();
        // Notices of one rule are not in the order of their states.
        let is_search = filter.rule.is_some() && filter.state.is_some();
        self.look(is_search, move |conn| {
            let (tenant, environment) = (scope.tenant.as_str(), scope.environment.as_str());
            let find = "SELECT seq FROM notices WHERE id = ?1 AND tenant = ?2 AND environment = ?3";
            let part = slice(conn, &page, find, params![page.before, tenant, environment])?;
            let sql = list_statement(&filter);
            let state = filter.state.map(|state| state.as_str());
            let rule = filter.rule.as_ref().map(NotificationRuleId::as_str);
            let params = params![tenant, environment, part.before_seq, state, rule, part.rows];
            all(conn, sql, params, |c| {
                Ok(Notice {
                    id: c.parsed()?,
                    scope: scope.clone(),
                    rule: c.parsed()?,
                    news: read_news(c, &scope)?,
                    state: c.parsed()?,
                    attempts: c.count()?,
                    due_at: c.time()?,
                    reason: c.json()?,
                    created_at: c.time()?,
                    updated_at: c.time()?,
                })
            })
        })
        .await
    }

    async fn notice_next_due(&self) -> Result<Option<Timestamp>, StoreError> {
        self.read(|conn| wake::next(conn, claim::NEXT_WAKE)).await
    }
}
