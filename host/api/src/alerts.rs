//! Alerts.

use aide::axum::{
    ApiRouter,
    routing::{get_with, post_with},
};
use axum::{extract::State, response::NoContent};
use portolan_domain::{
    AlertId, Environment, Scope, TenantId, Timestamp, contract::Severity, state::AlertState,
};
use portolan_store::alert::{Alert, AlertFilter};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Api,
    answer::{List, Time},
    auth::{Admin, AsOperator, InScope, Viewer},
    body::Json,
    desk::DecisionAnswer,
    openapi::op,
    page::{self, Paged},
    params::Id,
    problem::Problem,
    query::Query,
    runs::Why,
};

pub(crate) fn routes() -> ApiRouter<Api> {
    ApiRouter::new()
        .api_route(
            "/alerts",
            get_with(list_alerts, op("list_alerts", "The alerts of the environment that match")),
        )
        .api_route("/alerts/{id}", get_with(get_alert, op("get_alert", "An alert")))
        .api_route(
            "/alerts/{id}/acknowledge",
            post_with(
                acknowledge_alert,
                op("acknowledge_alert", "Somebody looks after it: it counts on and stays acknowledged"),
            ),
        )
        .api_route(
            "/alerts/{id}/resolve",
            post_with(resolve_alert, op("resolve_alert", "Somebody has dealt with it")),
        )
        .with_path_items(|path| path.tag("alerts"))
}

/// What concerns all tenants.
pub(crate) fn routes_of_host() -> ApiRouter<Api> {
    ApiRouter::new()
        .api_route(
            "/alerts",
            get_with(
                list_alerts_everywhere,
                op("list_alerts_everywhere", "The alerts of all tenants that are not resolved"),
            ),
        )
        .with_path_items(|path| path.tag("alerts"))
}

/// Which alerts.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct Filter {
    state: Option<AlertState>,
    /// Only those that are not resolved.
    open: Option<bool>,
    /// Those that matter at least so much.
    severity: Option<Severity>,
    /// `connection-down`; `delivery-dead.*` means all that begin so.
    code: Option<String>,
    /// That happened at or after this: milliseconds since 1970.
    since: Option<u64>,
}

/// Which alerts of those that are not resolved.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct FilterEverywhere {
    /// Only those that somebody looks after (`true`), or that nobody does (`false`).
    acknowledged: Option<bool>,
    /// Those that matter at least so much.
    severity: Option<Severity>,
    /// `connection-down`; `delivery-dead.*` means all that begin so.
    code: Option<String>,
    /// That happened at or after this: milliseconds since 1970.
    since: Option<u64>,
}

impl From<Filter> for AlertFilter {
    fn from(filter: Filter) -> Self {
        let states = match (filter.state, filter.open) {
            (Some(state), _) => vec![state],
            (None, Some(true)) => Self::unresolved().states,
            (None, Some(false) | None) => Vec::new(),
        };
        let since = filter.since.map(Timestamp::from_millis);
        Self { states, severity_least: filter.severity, code: filter.code, since }
    }
}

pub(crate) async fn list_alerts(
    State(api): State<Api>,
    caller: InScope<Viewer>,
    Query(filter): Query<Filter>,
    Paged(page): Paged,
) -> Result<axum::Json<List<Answer>>, Problem> {
    let alerts = api.shared.store.alert_list(&caller.scope, filter.into(), page.clone()).await?;
    Ok(page::answer(&page, &alerts, |alert| alert.id.to_string(), answer))
}

/// An operator's work list: newest first, each with whose it is.
pub(crate) async fn list_alerts_everywhere(
    State(api): State<Api>,
    _: AsOperator,
    Query(filter): Query<FilterEverywhere>,
    Paged(page): Paged,
) -> Result<axum::Json<List<AnswerEverywhere>>, Problem> {
    let filter = Filter {
        state: filter.acknowledged.map(|is| if is { AlertState::Acknowledged } else { AlertState::Open }),
        open: Some(true),
        severity: filter.severity,
        code: filter.code,
        since: filter.since,
    };
    let alerts = api.shared.store.alert_list_everywhere(filter.into(), page.clone()).await?;
    Ok(page::answer(&page, &alerts, |alert| alert.id.to_string(), answer_everywhere))
}

pub(crate) async fn get_alert(
    State(api): State<Api>,
    caller: InScope<Viewer>,
    Id(id): Id<AlertId>,
) -> Result<axum::Json<Answer>, Problem> {
    Ok(axum::Json(answer(&api.shared.store.alert_get(&caller.scope, &id).await?)))
}

pub(crate) async fn acknowledge_alert(
    State(api): State<Api>,
    caller: InScope<Admin>,
    Id(id): Id<AlertId>,
    Json(why): Json<Why>,
) -> Result<NoContent, Problem> {
    let decision = why.by(&caller, api.shared.clock.now())?;
    api.shared.store.alert_acknowledge(&caller.scope, &id, decision).await?;
    Ok(NoContent)
}

pub(crate) async fn resolve_alert(
    State(api): State<Api>,
    caller: InScope<Admin>,
    Id(id): Id<AlertId>,
    Json(why): Json<Why>,
) -> Result<NoContent, Problem> {
    let decision = why.by(&caller, api.shared.clock.now())?;
    api.shared.store.alert_resolve(&caller.scope, &id, decision).await?;
    Ok(NoContent)
}

/// An alert.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Alert")]
pub(crate) struct Answer {
    id: AlertId,
    /// The highest so far.
    severity: Severity,
    /// Stable and machine-readable: see the runbook.
    code: String,
    title: String,
    /// The facts that it rests on, of the latest occurrence.
    detail: Value,
    state: AlertState,
    /// Who looks after it; null when nobody said so.
    acknowledged: Option<DecisionAnswer>,
    /// Who resolved it; `host` when what it told of is over.
    resolved: Option<DecisionAnswer>,
    /// How often it happened.
    count: u64,
    first_at: Time,
    last_at: Time,
}

/// An alert, and whose it is.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TenantAlert")]
pub(crate) struct AnswerEverywhere {
    tenant: TenantId,
    environment: Environment,
    #[serde(flatten)]
    alert: Answer,
}

fn answer_everywhere(alert: &Alert) -> AnswerEverywhere {
    let Scope { tenant, environment } = alert.scope.clone();
    AnswerEverywhere { tenant, environment, alert: answer(alert) }
}

pub(crate) fn answer(alert: &Alert) -> Answer {
    Answer {
        id: alert.id.clone(),
        severity: alert.severity,
        code: alert.code.clone(),
        title: alert.title.clone(),
        detail: alert.detail.clone(),
        state: alert.state,
        acknowledged: alert.acknowledged.as_ref().map(DecisionAnswer::from),
        resolved: alert.resolved.as_ref().map(DecisionAnswer::from),
        count: alert.count,
        first_at: alert.first_at.into(),
        last_at: alert.last_at.into(),
    }
}
