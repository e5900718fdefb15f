//! Runs, and the holds among them.

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use portolan_domain::{RunId, Timestamp, state::RunState};
use portolan_store::run::{Decided, Decision, Run};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    Api,
    auth::{Admin, AtLeast, Developer, InScope, Viewer},
    body::Json,
    page::{self, Paged},
    params::Id,
    problem::Problem,
    query::Query,
};

#[derive(Deserialize)]
pub(crate) struct ByState {
    state: RunState,
}

/// What a person says to a decision.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Why {
    why: String,
}

impl Why {
    pub(crate) const fn new(why: String) -> Self {
        Self { why }
    }

    /// A decision by the caller's key, now.
    pub(crate) fn by<R: AtLeast>(self, caller: &InScope<R>, at: Timestamp) -> Result<Decision, Problem> {
        let fits = !self.why.trim().is_empty() && self.why.chars().count() <= 1_000;
        if !fits {
            return Err(Problem::unprocessable("invalid-decision", "Say why, in 1 to 1,000 characters."));
        }
        Ok(Decision { by: caller.key.to_string(), why: self.why, at })
    }
}

/// 204 when a decision took effect; 202 when it waits for a second key.
pub(crate) fn answer(decided: Decided) -> Response {
    match decided {
        Decided::Done => StatusCode::NO_CONTENT.into_response(),
        Decided::Proposed => {
            let text = "Four eyes: another key must make the same request to confirm it. See …/proposals.";
            (StatusCode::ACCEPTED, axum::Json(json!({ "state": "proposed", "detail": text }))).into_response()
        }
    }
}

/// `GET …/runs?state=dead`
pub(crate) async fn list_runs(
    State(api): State<Api>,
    caller: InScope<Viewer>,
    Query(ByState { state }): Query<ByState>,
    Paged(page): Paged,
) -> Result<axum::Json<Value>, Problem> {
    let runs = api.shared.store.run_list(&caller.scope, state, page.clone()).await?;
    Ok(axum::Json(page::answer(&page, &runs, |run| run.id.to_string(), render)))
}

/// `GET …/runs/{id}`
pub(crate) async fn get_run(
    State(api): State<Api>,
    caller: InScope<Viewer>,
    Id(id): Id<RunId>,
) -> Result<axum::Json<Value>, Problem> {
    Ok(axum::Json(render(&api.shared.store.run_get(&caller.scope, &id).await?)))
}

/// `POST …/runs/{id}/redrive`: has a dead run executed again.
pub(crate) async fn redrive_run(
    State(api): State<Api>,
    caller: InScope<Developer>,
    Id(id): Id<RunId>,
    Json(why): Json<Why>,
) -> Result<StatusCode, Problem> {
    let decision = why.by(&caller, api.shared.clock.now())?;
    api.shared.store.run_redrive(&caller.scope, &id, decision).await?;
    api.shared.runs_due.ring();
    Ok(StatusCode::NO_CONTENT)
}

/// `GET …/holds`: the runs that wait for a person's approval.
pub(crate) async fn list_holds(
    State(api): State<Api>,
    caller: InScope<Viewer>,
    Paged(page): Paged,
) -> Result<axum::Json<Value>, Problem> {
    let runs = api.shared.store.run_list(&caller.scope, RunState::Held, page.clone()).await?;
    Ok(axum::Json(page::answer(&page, &runs, |run| run.id.to_string(), render)))
}

/// `POST …/holds/{id}/approve`: its plan is carried out.
pub(crate) async fn approve_hold(
    State(api): State<Api>,
    caller: InScope<Admin>,
    Id(id): Id<RunId>,
    Json(why): Json<Why>,
) -> Result<Response, Problem> {
    let decision = why.by(&caller, api.shared.clock.now())?;
    let decided = api.shared.store.run_approve(&caller.scope, &id, decision).await?;
    api.shared.deliveries_due.ring();
    api.shared.runs_due.ring();
    Ok(answer(decided))
}

/// `POST …/holds/{id}/refuse`: its plan is dropped.
pub(crate) async fn refuse_hold(
    State(api): State<Api>,
    caller: InScope<Admin>,
    Id(id): Id<RunId>,
    Json(why): Json<Why>,
) -> Result<StatusCode, Problem> {
    let decision = why.by(&caller, api.shared.clock.now())?;
    api.shared.store.run_refuse(&caller.scope, &id, decision).await?;
    api.shared.runs_due.ring();
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) fn render(run: &Run) -> Value {
    json!({
        "id": run.id,
        "event": run.event,
        "mapping": run.mapping,
        "module": run.module,
        "state": run.state,
        "attempts": run.attempts,
        "process_deaths": run.process_deaths,
        "due_at": (run.state == RunState::Pending).then(|| run.due_at.to_string()),
        "reason": run.reason,
        "outcome": run.outcome,
        "facts": run.facts,
        "log": run.log,
        "cost": run.cost,
        "created_at": run.created_at.to_string(),
        "updated_at": run.updated_at.to_string(),
    })
}
