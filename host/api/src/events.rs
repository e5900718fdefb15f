//! Events, each with its whole story: runs, deliveries, attempts.

use axum::{extract::State, http::header, response::IntoResponse};
use portolan_domain::{
    EventId, Scope,
    state::{DeliveryState, EventState, RunState},
};
use portolan_store::{
    Store,
    delivery::Delivery,
    event::{Event, EventFilter},
    run::Run,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    Api,
    auth::{InScope, Viewer},
    deliveries,
    page::{self, Paged},
    params::Id,
    problem::Problem,
    query::Query,
    runs,
};

#[derive(Deserialize)]
pub(crate) struct Filter {
    state: Option<EventState>,
    kind: Option<String>,
    object_id: Option<String>,
    idempotency_key: Option<String>,
}

/// `GET …/events?state=&kind=&object_id=&idempotency_key=`: newest first.
pub(crate) async fn list_events(
    State(api): State<Api>,
    caller: InScope<Viewer>,
    Query(filter): Query<Filter>,
    Paged(page): Paged,
) -> Result<axum::Json<Value>, Problem> {
    let Filter { state, kind, object_id, idempotency_key } = filter;
    let filter = EventFilter { state, kind, object_id, idempotency_key };
    let events = api.shared.store.event_list(&caller.scope, filter, page.clone()).await?;
    Ok(axum::Json(page::answer(&page, &events, |event| event.id.to_string(), render)))
}

/// `GET …/events/{id}`: the event, what its mappings decided, every delivery and every attempt.
pub(crate) async fn get_event(
    State(api): State<Api>,
    caller: InScope<Viewer>,
    Id(id): Id<EventId>,
) -> Result<axum::Json<Value>, Problem> {
    let store = &api.shared.store;
    let event = store.event_get(&caller.scope, &id).await?;
    let mut told = render(&event);
    let mut stories = Vec::new();
    let mut standings = vec![standing_of_event(event.state)];
    for run in store.run_of_event(&caller.scope, &id).await? {
        let rows = store.delivery_of_run(&caller.scope, &run.id).await?;
        standings.push(standing_of_run(&run, &rows));
        stories.push(story(&**store, &caller.scope, &run, rows).await?);
    }
    // The standing that most wants a person's eye is the event's.
    let standing = standings.into_iter().flatten().max().unwrap_or(Standing::Delivered);
    if let Some(told) = told.as_object_mut() {
        told.insert("standing".to_owned(), json!(standing));
        told.insert("runs".to_owned(), json!(stories));
    }
    Ok(axum::Json(told))
}

/// `GET …/events/{id}/payload`: the bytes as they came, but for card numbers.
pub(crate) async fn get_payload(
    State(api): State<Api>,
    caller: InScope<Viewer>,
    Id(id): Id<EventId>,
) -> Result<impl IntoResponse, Problem> {
    let event = api.shared.store.event_get(&caller.scope, &id).await?;
    // As a download of unknown kind: it is a stranger's text, and no browser should take it for a page.
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::CONTENT_DISPOSITION, "attachment"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((headers, event.payload))
}

#[derive(Deserialize)]
pub(crate) struct ById {
    system: String,
    id: String,
}

/// `GET …/references?system=&id=`: which objects, and through which events, a system knows as `id` (an ERP
/// document number, say).
pub(crate) async fn find_references(
    State(api): State<Api>,
    caller: InScope<Viewer>,
    Query(ById { system, id }): Query<ById>,
) -> Result<axum::Json<Value>, Problem> {
    let found = api.shared.store.reference_reverse(&caller.scope, &system, &id).await?;
    let items: Vec<Value> =
        found.into_iter().map(|found| json!({ "key": found.key, "event": found.event })).collect();
    Ok(axum::Json(json!({ "items": items, "next": null })))
}

/// Where an event stands as a whole, from what wants no eye to what wants one most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
enum Standing {
    Skipped,
    Delivered,
    Refused,
    Unrouted,
    UnderWay,
    Held,
    Dead,
    InDoubt,
}

const fn standing_of_event(state: EventState) -> Option<Standing> {
    match state {
        EventState::Routed => None,
        EventState::Unrouted => Some(Standing::Unrouted),
        EventState::Dead => Some(Standing::Dead),
    }
}

fn standing_of_run(run: &Run, deliveries: &[Delivery]) -> Option<Standing> {
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

async fn story(store: &dyn Store, scope: &Scope, run: &Run, rows: Vec<Delivery>) -> Result<Value, Problem> {
    let mut told = runs::render(run);
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        let attempts = store.delivery_attempts(scope, &row.id).await?;
        items.push(deliveries::render_with(&row, &attempts));
    }
    if let Some(told) = told.as_object_mut() {
        told.insert("deliveries".to_owned(), json!(items));
    }
    Ok(told)
}

fn render(event: &Event) -> Value {
    json!({
        "id": event.id,
        "environment": event.scope.environment,
        "source": event.source,
        "system": event.system,
        "kind": event.kind,
        "object_id": event.object_id,
        "idempotency_key": event.idempotency_key,
        "occurred_at": event.occurred_at.to_string(),
        "received_at": event.received_at.to_string(),
        "state": event.state,
        "reason": event.reason,
        "cards_masked": event.cards_masked,
    })
}
