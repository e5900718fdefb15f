//! What keeps an operator informed.

use axum::{extract::State, http::header, response::IntoResponse};
use metrics::gauge;

use crate::{Api, problem::Problem};

/// The process is alive.
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// Events could be made durable now.
pub(crate) async fn readyz(State(api): State<Api>) -> Result<&'static str, Problem> {
    api.shared.store.ping().await?;
    Ok("ready\n")
}

/// Prometheus text. The backlog is counted when it is asked for.
pub(crate) async fn metrics(State(api): State<Api>) -> Result<impl IntoResponse, Problem> {
    let backlog = api.shared.store.backlog().await?;
    for (state, count) in backlog.runs {
        gauge!("portolan_runs", "state" => state.as_str()).set(as_gauge(count));
    }
    for (state, count) in backlog.deliveries {
        gauge!("portolan_deliveries", "state" => state.as_str()).set(as_gauge(count));
    }
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], api.metrics.render()))
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus gauges are floats; these count rows, not money")]
const fn as_gauge(count: u64) -> f64 {
    count as f64
}
