//! Alerts.

use aide::axum::{
    ApiRouter,
    routing::{get_with, post_with},
};
use axum::{extract::State, response::NoContent};
use portolan_domain::{AlertId, contract::Severity};
use portolan_store::alert::Alert;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Api,
    answer::{List, Time},
    auth::{Admin, InScope, Viewer},
    openapi::op,
    page::{self, Paged},
    params::Id,
    problem::Problem,
    query::Query,
};

pub(crate) fn routes() -> ApiRouter<Api> {
    ApiRouter::new()
        .api_route("/alerts", get_with(list_alerts, op("list_alerts", "The alerts of the environment")))
        .api_route(
            "/alerts/{id}/resolve",
            post_with(resolve_alert, op("resolve_alert", "Somebody has dealt with it")),
        )
        .with_path_items(|path| path.tag("alerts"))
}

/// Which alerts.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct Filter {
    /// Only those that somebody still has to look at.
    open: Option<bool>,
}

pub(crate) async fn list_alerts(
    State(api): State<Api>,
    caller: InScope<Viewer>,
    Query(filter): Query<Filter>,
    Paged(page): Paged,
) -> Result<axum::Json<List<Answer>>, Problem> {
    let open_only = filter.open == Some(true);
    let alerts = api.shared.store.alert_list(&caller.scope, open_only, page.clone()).await?;
    Ok(page::answer(&page, &alerts, |alert| alert.id.to_string(), answer))
}

pub(crate) async fn resolve_alert(
    State(api): State<Api>,
    caller: InScope<Admin>,
    Id(id): Id<AlertId>,
) -> Result<NoContent, Problem> {
    api.shared.store.alert_resolve(&caller.scope, &id, api.shared.clock.now()).await?;
    Ok(NoContent)
}

/// An alert.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Alert")]
pub(crate) struct Answer {
    id: AlertId,
    /// The highest so far.
    severity: Severity,
    /// Stable and machine-readable.
    code: String,
    title: String,
    /// The facts that it rests on, of the latest occurrence.
    detail: Value,
    /// Whether somebody still has to look.
    open: bool,
    /// How often it happened.
    count: u64,
    first_at: Time,
    last_at: Time,
}

fn answer(alert: &Alert) -> Answer {
    Answer {
        id: alert.id.clone(),
        severity: alert.severity,
        code: alert.code.clone(),
        title: alert.title.clone(),
        detail: alert.detail.clone(),
        open: alert.open,
        count: alert.count,
        first_at: alert.first_at.into(),
        last_at: alert.last_at.into(),
    }
}
