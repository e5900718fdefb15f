//! What keeps an operator informed.

use aide::axum::{ApiRouter, routing::get_with};
use axum::extract::State;
use metrics::gauge;
use portolan_domain::{
    contract::Severity,
    state::{DeliveryState, RunState},
};
use portolan_store::backlog::{Backlog, Whose};

use crate::{
    Api,
    answer::{Exposition, Plain, Text},
    openapi::{op, openapi},
    problem::{self, Problem},
};

pub(crate) fn routes() -> ApiRouter<Api> {
    ApiRouter::new()
        .api_route("/healthz", get_with(healthz, op("healthz", "The process is alive")))
        .api_route(
            "/readyz",
            get_with(readyz, op("readyz", "Events could be made durable now, and there is room for them")),
        )
        .api_route("/metrics", get_with(metrics, op("metrics", "Prometheus text")))
        .api_route("/openapi.json", get_with(openapi, op("openapi", "This document")))
        .api_route(
            "/errors/{code}",
            get_with(problem::page, op("error_page", "What a problem's code means, and what to do")),
        )
        .with_path_items(|path| path.tag("host"))
}

async fn healthz() -> Text<Plain> {
    Text::new("ok\n")
}

async fn readyz(State(api): State<Api>) -> Result<Text<Plain>, Problem> {
    if let Some(shortage) = api.shared.storage.shortage() {
        return Err(Problem::storage_low().saying(format!("Nothing new is taken in: {shortage}. Make room.")));
    }
    api.shared.store.ping().await?;
    Ok(Text::new("ready\n"))
}

/// The backlog is counted when it is asked for; where the store does not answer, what is known of it is
/// old, and everything else all the more worth knowing.
async fn metrics(State(api): State<Api>) -> Text<Exposition> {
    match api.shared.store.backlog(Whose::All).await {
        Ok(backlog) => tell(&backlog.into_values().collect::<Vec<_>>()),
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "the backlog cannot be counted");
        }
    }
    Text::new(api.metrics.render())
}

/// Every state that is not final, and every severity, also when there is none in it any more.
fn tell(backlog: &[Backlog]) {
    for state in RunState::ALL.iter().filter(|state| !state.is_final()) {
        let count = backlog.iter().filter_map(|one| one.runs.get(state)).sum();
        gauge!("portolan_runs", "state" => state.as_str()).set(as_gauge(count));
    }
    for state in DeliveryState::ALL.iter().filter(|state| !state.is_final()) {
        let count = backlog.iter().filter_map(|one| one.deliveries.get(state)).sum();
        gauge!("portolan_deliveries", "state" => state.as_str()).set(as_gauge(count));
    }
    for severity in Severity::ALL {
        let count = backlog.iter().filter_map(|one| one.alerts.get(&severity)).sum();
        gauge!("portolan_alerts", "severity" => severity.as_str()).set(as_gauge(count));
    }
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus gauges are floats; these count rows, not money")]
const fn as_gauge(count: u64) -> f64 {
    count as f64
}
