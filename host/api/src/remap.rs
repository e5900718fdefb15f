//! Events that are mapped again, after a person has put right what their deliveries died of.

use std::sync::Arc;

use aide::axum::{ApiRouter, routing::post_with};
use axum::{extract::State, http::StatusCode};
use portolan_domain::{ConnectionId, DeliveryId, RunId, Timestamp, state::DeliveryState};
use portolan_pipeline::{engine::Engine, remap::NotRemapped};
use portolan_store::{Page, delivery::DeliveryFilter, run::Decided};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Api,
    auth::{Admin, InScope},
    body::Json,
    openapi::op,
    params::Id,
    problem::Problem,
    runs::Why,
};

/// Dead letters that one request looks at: each takes an execution.
const LIMIT_MAX: u32 = 100;

pub(crate) fn routes() -> ApiRouter<Api> {
    ApiRouter::new()
        .api_route(
            "/runs/{id}/remap",
            post_with(remap_run, op("remap_run", "Maps its event again, and sends the dead deliveries anew")),
        )
        .api_route(
            "/runs/remap",
            post_with(
                remap_runs,
                op("remap_matching_runs", "Maps the events of dead letters that match again"),
            ),
        )
        .with_path_items(|path| path.tag("runs"))
}

/// A delivery that was given what the event is mapped to now.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RemappedDelivery")]
pub(crate) struct RemappedDelivery {
    id: DeliveryId,
    /// Four eyes: another key must make the same request to confirm it.
    proposed: bool,
}

/// What came of mapping an event again.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Remapped")]
pub(crate) struct Answer {
    run: RunId,
    deliveries: Vec<RemappedDelivery>,
}

/// Which dead letters.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Many {
    /// 1 to 1,000 characters.
    #[schemars(length(min = 1, max = 1000))]
    why: String,
    connection: Option<ConnectionId>,
    /// The code of the reason why it is dead.
    code: Option<String>,
    /// The kind of its event.
    kind: Option<String>,
    /// Changed last at or after this: milliseconds since 1970.
    since: Option<u64>,
    /// Changed last before this: milliseconds since 1970. Default: now. Ask again with the answer's, so that what has died
    /// since is left alone.
    until: Option<u64>,
    /// The answer's `next`.
    before: Option<String>,
    /// At most so many, 1 to 100; default 100.
    #[schemars(range(min = 1, max = 100))]
    limit: Option<u32>,
}

/// Events that were not mapped again.
#[derive(Serialize, JsonSchema)]
pub(crate) struct NotAgain {
    run: RunId,
    code: &'static str,
    detail: String,
}

/// What came of mapping many events again.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ManyRemapped")]
pub(crate) struct ManyAnswer {
    remapped: Vec<Answer>,
    refused: Vec<NotAgain>,
    /// Send it as `before`, with `until`, for those that follow; null at the end.
    next: Option<String>,
    until: u64,
}

fn engine(api: &Api) -> Result<Arc<dyn Engine>, Problem> {
    let none =
        || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "This host executes no modules now.");
    api.engine.clone().ok_or_else(none)
}

fn problem(error: NotRemapped) -> Problem {
    match error {
        NotRemapped::Store(error) => error.into(),
        error @ (NotRemapped::Differs(_) | NotRemapped::Fails { .. }) => {
            let text = format!("{error}. Nothing was changed; correct the deliveries by hand.");
            Problem::unprocessable("not-remapped", text)
        }
    }
}

/// The pinned version is executed on the event again, with settings, lookup tables, references and other systems as they are
/// now. Dead deliveries are made again with what it plans, those that wait for them get theirs; what is delivered stays.
/// A plan of other deliveries is refused.
pub(crate) async fn remap_run(
    State(api): State<Api>,
    caller: InScope<Admin>,
    Id(id): Id<RunId>,
    Json(why): Json<Why>,
) -> Result<axum::Json<Answer>, Problem> {
    let engine = engine(&api)?;
    let decision = why.by(&caller, api.shared.clock.now())?;
    let of = (&caller.scope, &id);
    let done = portolan_pipeline::remap::remap((&api.shared, &*engine), of, decision).await;
    let done = done.map_err(problem)?;
    api.shared.deliveries_due.ring();
    Ok(axum::Json(answer(id, done)))
}

fn answer(run: RunId, done: Vec<(DeliveryId, Decided)>) -> Answer {
    let deliveries =
        done.into_iter().map(|(id, decided)| RemappedDelivery { id, proposed: decided == Decided::Proposed });
    Answer { run, deliveries: deliveries.collect() }
}

/// One after the other, newest first. Those that cannot be are told with the reason, and stay as they are.
pub(crate) async fn remap_runs(
    State(api): State<Api>,
    caller: InScope<Admin>,
    Json(many): Json<Many>,
) -> Result<axum::Json<ManyAnswer>, Problem> {
    let engine = engine(&api)?;
    let now = api.shared.clock.now();
    let decision = Why::new(many.why).by(&caller, now)?;
    let until = many.until.unwrap_or_else(|| now.as_millis());
    let filter = DeliveryFilter {
        state: Some(DeliveryState::Dead),
        connection: many.connection,
        code: many.code,
        kind: many.kind,
        since: many.since.map(Timestamp::from_millis),
        until: Some(Timestamp::from_millis(until)),
        ..DeliveryFilter::default()
    };
    let rows_max = many.limit.unwrap_or(LIMIT_MAX).clamp(1, LIMIT_MAX);
    let page = Page { before: many.before, rows_max };
    let found = api.shared.store.delivery_list(&caller.scope, filter, page).await?;
    let is_full = found.len() >= usize::try_from(rows_max).unwrap_or(usize::MAX);
    let next = found.last().filter(|_| is_full).map(|delivery| delivery.id.to_string());
    let (mut remapped, mut refused, mut seen) = (Vec::new(), Vec::new(), Vec::new());
    for delivery in found {
        let run = delivery.run;
        if seen.contains(&run) {
            continue;
        }
        seen.push(run.clone());
        let of = (&caller.scope, &run);
        match portolan_pipeline::remap::remap((&api.shared, &*engine), of, decision.clone()).await {
            Ok(done) => remapped.push(answer(run, done)),
            Err(error) => {
                let problem = problem(error);
                refused.push(NotAgain { run, code: problem.code(), detail: problem.detail().to_owned() });
            }
        }
    }
    api.shared.deliveries_due.ring();
    Ok(axum::Json(ManyAnswer { remapped, refused, next, until }))
}
