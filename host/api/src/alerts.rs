//! Alerts.

use axum::{extract::State, http::StatusCode};
use portolan_domain::AlertId;
use portolan_store::alert::Alert;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    Api,
    auth::{Admin, InScope, Viewer},
    page::{self, Paged},
    params::Id,
    problem::Problem,
    query::Query,
};

#[derive(Deserialize)]
pub(crate) struct Filter {
    #[serde(default)]
    open: Option<String>,
}

/// `GET …/alerts?open=true`
pub(crate) async fn list_alerts(
    State(api): State<Api>,
    caller: InScope<Viewer>,
    Query(filter): Query<Filter>,
    Paged(page): Paged,
) -> Result<axum::Json<Value>, Problem> {
    let open_only = filter.open.as_deref() == Some("true");
    let alerts = api.shared.store.alert_list(&caller.scope, open_only, page.clone()).await?;
    Ok(axum::Json(page::answer(&page, &alerts, |alert| alert.id.to_string(), render)))
}

/// `POST …/alerts/{id}/resolve`
pub(crate) async fn resolve_alert(
    State(api): State<Api>,
    caller: InScope<Admin>,
    Id(id): Id<AlertId>,
) -> Result<StatusCode, Problem> {
    api.shared.store.alert_resolve(&caller.scope, &id, api.shared.clock.now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn render(alert: &Alert) -> Value {
    json!({
        "id": alert.id,
        "severity": alert.severity,
        "code": alert.code,
        "title": alert.title,
        "detail": alert.detail,
        "open": alert.open,
        "count": alert.count,
        "first_at": alert.first_at.to_string(),
        "last_at": alert.last_at.to_string(),
    })
}
