//! What keeps an operator informed.

use axum::{extract::State, http::header, response::IntoResponse};
use metrics::gauge;
use portolan_store::Backlog;

use crate::{Api, problem::Problem};

/// The process is alive.
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// Events could be made durable now, and there is room for them.
pub(crate) async fn readyz(State(api): State<Api>) -> Result<&'static str, Problem> {
    if let Some(shortage) = api.shared.storage.shortage() {
        return Err(Problem::storage_low().saying(format!("Nothing new is taken in: {shortage}. Make room.")));
    }
    api.shared.store.ping().await?;
    Ok("ready\n")
}

/// Prometheus text. The backlog is counted when it is asked for; where the store does not answer, what is known of it is
/// old, and everything else all the more worth knowing.
pub(crate) async fn metrics(State(api): State<Api>) -> impl IntoResponse {
    let backlog = api.shared.store.backlog().await.unwrap_or_else(|error| {
        tracing::warn!(error = &error as &dyn std::error::Error, "the backlog cannot be counted");
        Backlog::default()
    });
    for (state, count) in backlog.runs {
        gauge!("portolan_runs", "state" => state.as_str()).set(as_gauge(count));
    }
    for (state, count) in backlog.deliveries {
        gauge!("portolan_deliveries", "state" => state.as_str()).set(as_gauge(count));
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], api.metrics.render())
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus gauges are floats; these count rows, not money")]
const fn as_gauge(count: u64) -> f64 {
    count as f64
}
