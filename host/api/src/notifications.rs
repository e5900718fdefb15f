//! Notification rules, and the notices that they send.

use std::time::Duration;

use aide::axum::{
    ApiRouter,
    routing::{get_with, post_with},
};
use axum::{extract::State, response::NoContent};
use base64::{Engine, engine::general_purpose::STANDARD};
use portolan_domain::{
    NoticeId, NotificationRuleId, Secret,
    contract::Severity,
    notification::{AlertsTold, DeliveriesTold, News, PER_MINUTE_DEFAULT, Receiver, Rule},
    state::NoticeState,
    verdict::CallProblem,
};
use portolan_pipeline::{notifier::SIGNING_SECRET, vault::Secrets};
use portolan_store::{
    notification::{Notice, NoticeFilter, NotificationRule, RuleChange},
    sealed::owner_of_notification_rule,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Api,
    answer::{Created, List, Tagged, Time},
    auth::{Admin, InScope, Viewer},
    body::Json,
    etag::{self, IfMatch, Seen},
    openapi::op,
    page::{self, Paged},
    params::Id,
    problem::Problem,
    query::Query,
    tenants::check_name,
};

/// A test takes no longer than this.
const TEST_TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) fn routes() -> ApiRouter<Api> {
    ApiRouter::new()
        .api_route(
            "/notification-rules",
            get_with(list_rules, op("list_notification_rules", "The notification rules of the environment"))
                .post_with(create_rule, op("create_notification_rule", "Makes a notification rule")),
        )
        .api_route(
            "/notification-rules/{id}",
            get_with(get_rule, op("get_notification_rule", "A notification rule, without its secret"))
                .put_with(update_rule, op("update_notification_rule", "Changes what it tells, and where to"))
                .delete_with(
                    delete_rule,
                    op("delete_notification_rule", "Removes it, with all that it has told"),
                ),
        )
        .api_route(
            "/notification-rules/{id}/test",
            post_with(test_rule, op("test_notification_rule", "Really sends a test, now")),
        )
        .api_route(
            "/notices",
            get_with(list_notices, op("list_notices", "What was told, is to be told, or could not be")),
        )
        .with_path_items(|path| path.tag("notifications"))
}

/// A rule to be made.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewRule {
    /// 1 to 100 characters; unique in the environment.
    name: String,
    /// Whether it tells anything; default true.
    enabled: Option<bool>,
    /// Which alerts; none when absent.
    alerts: Option<AlertsTold>,
    /// Which deliveries that were made; none when absent.
    deliveries: Option<DeliveriesTold>,
    to: Receiver,
    /// Notices in a minute; default 30. What comes beyond is summed into one.
    #[schemars(range(min = 1, max = 600))]
    per_minute_max: Option<u32>,
    /// Signs webhooks: `whsec_` and base64 of 16 to 128 bytes. Left out, one is made and shown once.
    secret: Option<Secret>,
}

/// A rule as it shall be.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangedRule {
    /// Whether it tells anything. When it is switched off, what it has not told yet is given up.
    enabled: bool,
    /// Which alerts; none when absent.
    alerts: Option<AlertsTold>,
    /// Which deliveries that were made; none when absent.
    deliveries: Option<DeliveriesTold>,
    to: Receiver,
    /// Notices in a minute; default 30. What comes beyond is summed into one.
    #[schemars(range(min = 1, max = 600))]
    per_minute_max: Option<u32>,
    /// Signs webhooks from now on. Left out, the rule keeps its own.
    secret: Option<Secret>,
}

/// A notification rule.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "NotificationRule")]
pub(crate) struct Answer {
    id: NotificationRuleId,
    name: String,
    enabled: bool,
    alerts: Option<AlertsTold>,
    deliveries: Option<DeliveriesTold>,
    to: Receiver,
    per_minute_max: u32,
    created_at: Time,
    /// Counts the changes; only for its tag.
    #[serde(skip)]
    revision: u64,
}

impl Seen for Answer {
    /// With the revision, as a secret that was changed is not told.
    fn tag(&self) -> String {
        etag::of(&(self, self.revision))
    }
}

/// A rule that was made.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "NewNotificationRule")]
pub(crate) struct Made {
    #[serde(flatten)]
    rule: Answer,
    /// The secret that its webhooks are signed with, where none was given. It is never shown again.
    secret: Option<String>,
}

fn answer(row: &NotificationRule) -> Answer {
    Answer {
        id: row.id.clone(),
        name: row.name.clone(),
        enabled: row.enabled,
        alerts: row.rule.alerts.clone(),
        deliveries: row.rule.deliveries.clone(),
        to: row.rule.to.clone(),
        per_minute_max: row.rule.per_minute_max,
        created_at: row.created_at.into(),
        revision: row.revision,
    }
}

/// Checks a rule with its secret, and seals that.
fn seal(api: &Api, row: &mut NotificationRule, secret: Option<&Secret>) -> Result<(), Problem> {
    let refuse = |text: String| Problem::unprocessable("invalid-notification-rule", text);
    let is_webhook = matches!(row.rule.to, Receiver::Webhook { .. });
    if !is_webhook && secret.is_some() {
        return Err(refuse("secret: e-mail is not signed; leave it out".to_owned()));
    }
    api.shared.mailroom.check(&row.rule, secret).map_err(refuse)?;
    let secrets: Secrets =
        secret.map(|secret| (SIGNING_SECRET.to_owned(), secret.clone())).into_iter().collect();
    let owner = owner_of_notification_rule(&row.scope, &row.id);
    row.sealed_secrets = api.vault.seal(&owner, &secrets).map_err(|error| Problem::unavailable(&error))?;
    Ok(())
}

fn new_secret() -> Result<Secret, Problem> {
    let mut bits = [0u8; 32];
    getrandom::fill(&mut bits).map_err(|error| Problem::unavailable(&error))?;
    Ok(Secret::new(format!("whsec_{}", STANDARD.encode(bits))))
}

pub(crate) async fn create_rule(
    State(api): State<Api>,
    caller: InScope<Admin>,
    Json(new): Json<NewRule>,
) -> Result<Created<Made>, Problem> {
    check_name(&new.name)?;
    let per_minute_max = new.per_minute_max.unwrap_or(PER_MINUTE_DEFAULT);
    let rule = Rule { alerts: new.alerts, deliveries: new.deliveries, to: new.to, per_minute_max };
    let given = new.secret;
    let now = api.shared.clock.now();
    let is_webhook = matches!(rule.to, Receiver::Webhook { .. });
    let made = if is_webhook && given.is_none() { Some(new_secret()?) } else { None };
    let secret = given.or_else(|| made.clone());
    let mut row = NotificationRule {
        id: NotificationRuleId::generate(now),
        scope: caller.scope,
        name: new.name,
        enabled: new.enabled.unwrap_or(true),
        rule,
        sealed_secrets: Vec::new(),
        revision: 1,
        created_at: now,
    };
    seal(&api, &mut row, secret.as_ref())?;
    let rule = answer(&row);
    api.shared.store.notification_rule_create(row).await?;
    Ok(Created(Made { rule, secret: made.map(|secret| secret.expose().to_owned()) }))
}

pub(crate) async fn update_rule(
    State(api): State<Api>,
    caller: InScope<Admin>,
    Id(id): Id<NotificationRuleId>,
    seen: IfMatch,
    Json(wanted): Json<ChangedRule>,
) -> Result<Tagged<Answer>, Problem> {
    let _alone = etag::alone(&api, &caller.scope.tenant).await;
    let mut row = api.shared.store.notification_rule_get(&caller.scope, &id).await?;
    seen.check(&answer(&row))?;
    let per_minute_max = wanted.per_minute_max.unwrap_or(PER_MINUTE_DEFAULT);
    row.rule = Rule { alerts: wanted.alerts, deliveries: wanted.deliveries, to: wanted.to, per_minute_max };
    row.enabled = wanted.enabled;
    let owner = owner_of_notification_rule(&row.scope, &row.id);
    let mut kept =
        api.vault.open(&owner, &row.sealed_secrets).map_err(|error| Problem::unavailable(&error))?;
    let is_webhook = matches!(row.rule.to, Receiver::Webhook { .. });
    let secret = wanted.secret.or_else(|| kept.remove(SIGNING_SECRET).filter(|_| is_webhook));
    seal(&api, &mut row, secret.as_ref())?;
    let change = RuleChange {
        enabled: Some(row.enabled),
        rule: Some(row.rule.clone()),
        sealed_secrets: Some(row.sealed_secrets.clone()),
    };
    let now = api.shared.clock.now();
    let store = &api.shared.store;
    store.notification_rule_update(&caller.scope, &id, change, now).await?;
    Ok(Tagged(answer(&store.notification_rule_get(&caller.scope, &id).await?)))
}

pub(crate) async fn delete_rule(
    State(api): State<Api>,
    caller: InScope<Admin>,
    Id(id): Id<NotificationRuleId>,
) -> Result<NoContent, Problem> {
    api.shared.store.notification_rule_delete(&caller.scope, &id).await?;
    Ok(NoContent)
}

pub(crate) async fn list_rules(
    State(api): State<Api>,
    caller: InScope<Viewer>,
    Paged(page): Paged,
) -> Result<axum::Json<List<Answer>>, Problem> {
    let rows = api.shared.store.notification_rule_list(&caller.scope, page.clone()).await?;
    Ok(page::answer(&page, &rows, |row| row.id.to_string(), answer))
}

pub(crate) async fn get_rule(
    State(api): State<Api>,
    caller: InScope<Viewer>,
    Id(id): Id<NotificationRuleId>,
) -> Result<Tagged<Answer>, Problem> {
    Ok(Tagged(answer(&api.shared.store.notification_rule_get(&caller.scope, &id).await?)))
}

/// What became of a test.
#[derive(Serialize, JsonSchema)]
pub(crate) struct TestedRule {
    /// Whether its receiver took it.
    ok: bool,
    /// What was wrong.
    problem: Option<CallProblem>,
}

pub(crate) async fn test_rule(
    State(api): State<Api>,
    caller: InScope<Admin>,
    Id(id): Id<NotificationRuleId>,
) -> Result<axum::Json<TestedRule>, Problem> {
    let row = api.shared.store.notification_rule_get(&caller.scope, &id).await?;
    let now = api.shared.clock.now();
    let (notice, news) = (NoticeId::generate(now), News::of_test(&row.scope, &row.name, now));
    let sending = api.shared.mailroom.send(&row, (&notice, 1), &news, now);
    let problem = match tokio::time::timeout(TEST_TIMEOUT, sending).await {
        Ok(sent) => sent.err().map(|failure| failure.problem().clone()),
        Err(_) => Some(CallProblem::new("timeout", "no answer in time")),
    };
    Ok(axum::Json(TestedRule { ok: problem.is_none(), problem }))
}

/// Which notices.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct Filter {
    state: Option<NoticeState>,
    rule: Option<NotificationRuleId>,
}

pub(crate) async fn list_notices(
    State(api): State<Api>,
    caller: InScope<Viewer>,
    Query(Filter { state, rule }): Query<Filter>,
    Paged(page): Paged,
) -> Result<axum::Json<List<NoticeAnswer>>, Problem> {
    let filter = NoticeFilter { state, rule };
    let notices = api.shared.store.notice_list(&caller.scope, filter, page.clone()).await?;
    Ok(page::answer(&page, &notices, |notice| notice.id.to_string(), notice_answer))
}

/// One thing that a rule tells.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Notice")]
pub(crate) struct NoticeAnswer {
    /// Its receiver sees it as `webhook-id`, or in the mail's `Message-ID`.
    id: NoticeId,
    rule: NotificationRuleId,
    /// `alert.open`, `alert.acknowledged`, `alert.resolved`, `delivery.delivered`, `digest`.
    kind: String,
    title: String,
    severity: Severity,
    /// What its receiver reads.
    data: Value,
    state: NoticeState,
    /// How often it was tried to send it.
    attempts: u32,
    /// When it is sent next, if it is.
    due_at: Option<Time>,
    /// Why it was not sent: `{"code","message",…}`; null when there is nothing to say.
    reason: Value,
    created_at: Time,
    updated_at: Time,
}

fn notice_answer(notice: &Notice) -> NoticeAnswer {
    let waits = matches!(notice.state, NoticeState::Pending | NoticeState::Gathering);
    NoticeAnswer {
        id: notice.id.clone(),
        rule: notice.rule.clone(),
        kind: notice.news.kind.clone(),
        title: notice.news.title.clone(),
        severity: notice.news.severity,
        data: notice.news.data.clone(),
        state: notice.state,
        attempts: notice.attempts,
        due_at: waits.then(|| notice.due_at.into()),
        reason: notice.reason.clone(),
        created_at: notice.created_at.into(),
        updated_at: notice.updated_at.into(),
    }
}
