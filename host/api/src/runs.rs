//! Runs, and the holds among them.

use aide::axum::{
    ApiRouter,
    routing::{get_with, post_with},
};
use axum::{extract::State, response::NoContent};
use portolan_domain::{EventId, MappingId, ModuleDigest, RunId, Timestamp, state::RunState};
use portolan_store::run::{Decision, Run, RunFilter};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Api,
    answer::{List, Settled, Time},
    auth::{Admin, AtLeast, Developer, InScope, Viewer},
    body::Json,
    openapi::op,
    page::{self, Paged},
    params::Id,
    problem::Problem,
    query::Query,
};

pub(crate) fn routes() -> ApiRouter<Api> {
    ApiRouter::new()
        .api_route("/runs", get_with(list_runs, op("list_runs", "The runs of the environment in a state")))
        .api_route("/runs/{id}", get_with(get_run, op("get_run", "A run")))
        .api_route(
            "/runs/{id}/redrive",
            post_with(redrive_run, op("redrive_run", "Has a dead run executed again")),
        )
        .api_route(
            "/holds",
            get_with(list_holds, op("list_holds", "The runs that wait for a person's approval")),
        )
        .api_route(
            "/holds/{id}/approve",
            post_with(approve_hold, op("approve_hold", "Has its plan carried out")),
        )
        .api_route("/holds/{id}/refuse", post_with(refuse_hold, op("refuse_hold", "Drops its plan")))
        .with_path_items(|path| path.tag("runs"))
}

/// Which runs.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct Filter {
    state: RunState,
    /// For this mapping. This and those that follow: only with a state that is not final.
    mapping: Option<MappingId>,
    /// The code of the reason why it stands where it stands.
    code: Option<String>,
    /// Changed last at or after this: milliseconds since 1970.
    since: Option<u64>,
    /// Changed last before this: milliseconds since 1970.
    until: Option<u64>,
}

impl Filter {
    /// A rare problem among millions of delivered ones would be looked for through all of them.
    fn checked(self) -> Result<(RunState, RunFilter), Problem> {
        let filter = RunFilter {
            mapping: self.mapping,
            code: self.code,
            since: self.since.map(Timestamp::from_millis),
            until: self.until.map(Timestamp::from_millis),
        };
        if self.state.is_final() && filter != RunFilter::default() {
            let text = "With mapping, code, since or until, name a state that is not final: state=dead.";
            return Err(Problem::unprocessable("state-missing", text));
        }
        Ok((self.state, filter))
    }
}

/// What a person says to a decision.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Why {
    /// 1 to 1,000 characters.
    #[schemars(length(min = 1, max = 1_000))]
    why: String,
}

impl Why {
    pub(crate) const fn new(why: String) -> Self {
        Self { why }
    }

    /// A decision by the caller's key, now.
    pub(crate) fn by<R: AtLeast>(self, caller: &InScope<R>, at: Timestamp) -> Result<Decision, Problem> {
        self.by_key(caller.key.to_string(), at)
    }

    /// The same, by the key of this id.
    pub(crate) fn by_key(self, by: String, at: Timestamp) -> Result<Decision, Problem> {
        let fits = !self.why.trim().is_empty() && self.why.chars().count() <= 1_000;
        if !fits {
            return Err(Problem::unprocessable("invalid-decision", "Say why, in 1 to 1,000 characters."));
        }
        Ok(Decision { by, why: self.why, at })
    }
}

pub(crate) async fn list_runs(
    State(api): State<Api>,
    caller: InScope<Viewer>,
    Query(filter): Query<Filter>,
    Paged(page): Paged,
) -> Result<axum::Json<List<Answer>>, Problem> {
    let (state, filter) = filter.checked()?;
    let runs = api.shared.store.run_list(&caller.scope, state, filter, page.clone()).await?;
    Ok(page::answer(&page, &runs, |run| run.id.to_string(), answer))
}

pub(crate) async fn get_run(
    State(api): State<Api>,
    caller: InScope<Viewer>,
    Id(id): Id<RunId>,
) -> Result<axum::Json<Answer>, Problem> {
    Ok(axum::Json(answer(&api.shared.store.run_get(&caller.scope, &id).await?)))
}

/// Has a dead run executed again.
pub(crate) async fn redrive_run(
    State(api): State<Api>,
    caller: InScope<Developer>,
    Id(id): Id<RunId>,
    Json(why): Json<Why>,
) -> Result<NoContent, Problem> {
    let decision = why.by(&caller, api.shared.clock.now())?;
    api.shared.store.run_redrive(&caller.scope, &id, decision).await?;
    api.shared.runs_due.ring();
    Ok(NoContent)
}

/// The runs that wait for a person's approval.
pub(crate) async fn list_holds(
    State(api): State<Api>,
    caller: InScope<Viewer>,
    Paged(page): Paged,
) -> Result<axum::Json<List<Answer>>, Problem> {
    let runs =
        api.shared.store.run_list(&caller.scope, RunState::Held, RunFilter::default(), page.clone()).await?;
    Ok(page::answer(&page, &runs, |run| run.id.to_string(), answer))
}

/// Its plan is carried out.
pub(crate) async fn approve_hold(
    State(api): State<Api>,
    caller: InScope<Admin>,
    Id(id): Id<RunId>,
    Json(why): Json<Why>,
) -> Result<Settled, Problem> {
    let decision = why.by(&caller, api.shared.clock.now())?;
    let decided = api.shared.store.run_approve(&caller.scope, &id, decision).await?;
    api.shared.deliveries_due.ring();
    api.shared.runs_due.ring();
    Ok(Settled(decided))
}

/// Its plan is dropped.
pub(crate) async fn refuse_hold(
    State(api): State<Api>,
    caller: InScope<Admin>,
    Id(id): Id<RunId>,
    Json(why): Json<Why>,
) -> Result<NoContent, Problem> {
    let decision = why.by(&caller, api.shared.clock.now())?;
    api.shared.store.run_refuse(&caller.scope, &id, decision).await?;
    api.shared.runs_due.ring();
    Ok(NoContent)
}

/// A run.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Run")]
pub(crate) struct Answer {
    id: RunId,
    event: EventId,
    mapping: MappingId,
    /// Of which module version; null before the first result.
    module: Option<ModuleDigest>,
    state: RunState,
    /// How often it was claimed.
    attempts: u32,
    /// How often a host died while its module was being executed.
    process_deaths: u32,
    /// When it is due, if it is pending.
    due_at: Option<Time>,
    /// Why it stands where it stands; null when there is nothing to say.
    reason: Value,
    /// What the module decided, as in the contract; null before.
    outcome: Value,
    /// The facts that it was told.
    facts: Value,
    /// What it logged.
    log: Value,
    /// What it cost: `{"fuel", "wall_us", …}`.
    cost: Value,
    created_at: Time,
    updated_at: Time,
}

pub(crate) fn answer(run: &Run) -> Answer {
    Answer {
        id: run.id.clone(),
        event: run.event.clone(),
        mapping: run.mapping.clone(),
        module: run.module.clone(),
        state: run.state,
        attempts: run.attempts,
        process_deaths: run.process_deaths,
        due_at: (run.state == RunState::Pending).then(|| run.due_at.into()),
        reason: run.reason.clone(),
        outcome: run.outcome.clone(),
        facts: run.facts.clone(),
        log: run.log.clone(),
        cost: run.cost.clone(),
        created_at: run.created_at.into(),
        updated_at: run.updated_at.into(),
    }
}
