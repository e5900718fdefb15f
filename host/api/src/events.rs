//! Events, each with its whole story: runs, deliveries, attempts.

use aide::axum::{ApiRouter, routing::get_with};
use axum::{extract::State, http::StatusCode};
use portolan_domain::{
    Environment, EventId, Scope, SourceId, Timestamp,
    contract::ReferenceKey,
    state::{DeliveryState, EventState, RunState},
};
use portolan_store::{
    Store,
    delivery::Delivery,
    event::{Event, EventFilter},
    run::Run,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Api,
    answer::{Download, List, Time},
    auth::{InScope, Viewer},
    deliveries,
    openapi::op,
    page::{self, Paged},
    params::Id,
    problem::Problem,
    query::Query,
    runs,
};

pub(crate) fn routes() -> ApiRouter<Api> {
    ApiRouter::new()
        .api_route(
            "/events",
            get_with(list_events, op("list_events", "The events of the environment that match")),
        )
        .api_route(
            "/events/{id}",
            get_with(
                get_event,
                op("get_event", "An event, what its mappings decided, every delivery and attempt"),
            ),
        )
        .api_route(
            "/events/{id}/payload",
            get_with(get_payload, op("get_event_payload", "The bytes as they came, but for card numbers")),
        )
        .api_route(
            "/references",
            get_with(
                find_references,
                op("find_references", "Which objects, and through which events, a system knows as an id"),
            ),
        )
        .with_path_items(|path| path.tag("events"))
}

/// Which events.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct Filter {
    state: Option<EventState>,
    kind: Option<String>,
    /// The object that it happened to.
    object_id: Option<String>,
    /// What the sender calls it: Stripe's `evt_…`.
    idempotency_key: Option<String>,
    /// Where it arrived.
    source: Option<SourceId>,
    /// Received at or after this: milliseconds since 1970.
    since: Option<u64>,
    /// Received before this: milliseconds since 1970.
    until: Option<u64>,
}

/// Newest first.
pub(crate) async fn list_events(
    State(api): State<Api>,
    caller: InScope<Viewer>,
    Query(filter): Query<Filter>,
    Paged(page): Paged,
) -> Result<axum::Json<List<Answer>>, Problem> {
    let filter = EventFilter {
        state: filter.state,
        kind: filter.kind,
        object_id: filter.object_id,
        idempotency_key: filter.idempotency_key,
        source: filter.source,
        since: filter.since.map(Timestamp::from_millis),
        until: filter.until.map(Timestamp::from_millis),
    };
    let events = api.shared.store.event_list(&caller.scope, filter, page.clone()).await?;
    Ok(page::answer(&page, &events, |event| event.id.to_string(), answer))
}

/// The event, what its mappings decided, every delivery and every attempt.
pub(crate) async fn get_event(
    State(api): State<Api>,
    caller: InScope<Viewer>,
    Id(id): Id<EventId>,
) -> Result<axum::Json<Story>, Problem> {
    let store = &api.shared.store;
    let event = store.event_get(&caller.scope, &id).await?;
    let mut runs = Vec::new();
    let mut standings = vec![standing_of_event(event.state)];
    for run in store.run_of_event(&caller.scope, &id).await? {
        let rows = store.delivery_of_run(&caller.scope, &run.id).await?;
        standings.push(standing_of_run(&run, &rows));
        runs.push(story(&**store, &caller.scope, &run, rows).await?);
    }
    // The standing that most wants a person's eye is the event's.
    let standing = standings.into_iter().flatten().max().unwrap_or(Standing::Delivered);
    Ok(axum::Json(Story { event: answer(&event), standing, runs }))
}

/// The bytes as they came, but for card numbers.
pub(crate) async fn get_payload(
    State(api): State<Api>,
    caller: InScope<Viewer>,
    Id(id): Id<EventId>,
) -> Result<Download, Problem> {
    let event = api.shared.store.event_get(&caller.scope, &id).await?;
    if event.payload.is_empty()
        && let Some(at) = api.shared.store.payload_removed(&caller.scope, &id).await?
    {
        let text = format!("The payload was kept long enough and removed at {at}.");
        return Err(Problem::new(StatusCode::GONE, "payload-removed", text));
    }
    Ok(Download(event.payload))
}

/// An object of a system.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct ById {
    /// `epicor`
    system: String,
    /// As the system calls it: an ERP document number, say.
    id: String,
}

/// What is known of an object.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Reference")]
pub(crate) struct ReferenceAnswer {
    /// The object at home.
    key: ReferenceKey,
    /// Through which event it was learnt.
    event: EventId,
}

/// Which objects, and through which events, a system knows as `id` (an ERP
/// document number, say).
pub(crate) async fn find_references(
    State(api): State<Api>,
    caller: InScope<Viewer>,
    Query(ById { system, id }): Query<ById>,
) -> Result<axum::Json<List<ReferenceAnswer>>, Problem> {
    let found = api.shared.store.reference_reverse(&caller.scope, &system, &id).await?;
    Ok(List::whole(found.into_iter().map(|found| ReferenceAnswer { key: found.key, event: found.event })))
}

/// Where an event stands as a whole, from what wants no eye to what wants one most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Standing {
    Skipped,
    Delivered,
    Refused,
    Unrouted,
    UnderWay,
    Held,
    Dead,
    InDoubt,
}

pub(crate) const fn standing_of_event(state: EventState) -> Option<Standing> {
    match state {
        EventState::Routed => None,
        EventState::Unrouted => Some(Standing::Unrouted),
        EventState::Dead => Some(Standing::Dead),
    }
}

pub(crate) fn standing_of_run(run: &Run, deliveries: &[Delivery]) -> Option<Standing> {
    let of_deliveries = deliveries.iter().filter_map(|delivery| match delivery.state {
        DeliveryState::InDoubt => Some(Standing::InDoubt),
        DeliveryState::Dead => Some(Standing::Dead),
        DeliveryState::Held => Some(Standing::Held),
        DeliveryState::Waiting | DeliveryState::Pending | DeliveryState::Leased => Some(Standing::UnderWay),
        DeliveryState::Delivered | DeliveryState::Cancelled => None,
    });
    let of_run = match run.state {
        RunState::Pending | RunState::Leased | RunState::Planned => Standing::UnderWay,
        RunState::Held => Standing::Held,
        RunState::Delivered => Standing::Delivered,
        RunState::Skipped => Standing::Skipped,
        RunState::Refused => Standing::Refused,
        RunState::Dead => Standing::Dead,
    };
    of_deliveries.chain([of_run]).max()
}

async fn story(
    store: &dyn Store,
    scope: &Scope,
    run: &Run,
    rows: Vec<Delivery>,
) -> Result<RunStory, Problem> {
    let mut told = Vec::with_capacity(rows.len());
    for row in rows {
        let attempts = store.delivery_attempts(scope, &row.id).await?;
        told.push(deliveries::whole(&row, &attempts));
    }
    Ok(RunStory { run: runs::answer(run), deliveries: told })
}

/// An event.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Event")]
pub(crate) struct Answer {
    id: EventId,
    environment: Environment,
    source: SourceId,
    system: String,
    /// What happened; empty when it could not be read.
    kind: String,
    /// The object that it happened to.
    object_id: Option<String>,
    /// What the sender calls it.
    idempotency_key: String,
    /// By the source's clock.
    occurred_at: Time,
    /// By the host's clock.
    received_at: Time,
    /// What became of it at intake.
    state: EventState,
    /// Why, when it is dead or unrouted.
    reason: Option<String>,
    /// How many card numbers were masked before it was stored.
    cards_masked: u32,
}

/// An event and all that followed.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "EventStory")]
pub(crate) struct Story {
    #[serde(flatten)]
    event: Answer,
    /// Where it stands as a whole.
    standing: Standing,
    runs: Vec<RunStory>,
}

/// A run and all that followed.
#[derive(Serialize, JsonSchema)]
pub(crate) struct RunStory {
    #[serde(flatten)]
    run: runs::Answer,
    deliveries: Vec<deliveries::Whole>,
}

pub(crate) fn answer(event: &Event) -> Answer {
    Answer {
        id: event.id.clone(),
        environment: event.scope.environment,
        source: event.source.clone(),
        system: event.system.clone(),
        kind: event.kind.clone(),
        object_id: event.object_id.clone(),
        idempotency_key: event.idempotency_key.clone(),
        occurred_at: event.occurred_at.into(),
        received_at: event.received_at.into(),
        state: event.state,
        reason: event.reason.clone(),
        cards_masked: event.cards_masked,
    }
}
