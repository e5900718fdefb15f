//! The whole story of an event, or of a document, as one page: from an ERP's number to the event, what was sent, the module
//! with its digest, what it was told and what it decided, every delivery with every attempt, every decision of a person,
//! every alert; and back.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use aide::axum::{ApiRouter, routing::get_with};
use axum::{extract::State, http::StatusCode};
use portolan_domain::{
    EventId, ModuleDigest, Scope,
    contract::ReferenceKey,
    state::{DeliveryState, RunState},
};
use portolan_pipeline::traces::trace_id;
use portolan_store::{
    Store, StoreError,
    delivery::Delivery,
    event::Event,
    reference::Trail,
    run::{Decision, Run},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    Api, alerts,
    auth::{InScope, Viewer},
    deliveries, desk,
    events::{self, Standing},
    openapi::op,
    problem::Problem,
    query::{Query, bad},
    runs,
};

/// Events of one page.
const EVENTS_MAX: usize = 20;
/// A longer payload is not told here: `GET …/events/{id}/payload` has it.
const PAYLOAD_BYTES_MAX: usize = 256 * 1024;
/// Events of one page, in bytes of JSON; the first is told however long it is.
const PAGE_BYTES_MAX: usize = 4 << 20;
/// How long a search waits for the one before it.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest number or id that is looked for, in bytes.
const DOCUMENT_BYTES_MAX: usize = 200;

pub(crate) fn routes() -> ApiRouter<Api> {
    ApiRouter::new()
        .api_route(
            "/story",
            get_with(get_story, op("get_story", "The whole story of an event or of a document, as one page")),
        )
        .with_path_items(|path| path.tag("events"))
}

/// Whose story.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct Wanted {
    /// An event; or `document`.
    event: Option<EventId>,
    /// A number or id in any system: of an ERP's document, a charge, a customer.
    document: Option<String>,
    /// In which system: `sap-ecc`, `epicor`, `sage-pro`, `stripe`. Without it: in any.
    system: Option<String>,
}

/// Documents are looked for in responses, too, which are many: one search at a time, so that the others who read do not
/// notice.
#[derive(Debug, Clone)]
pub(crate) struct Searches(Arc<Semaphore>);

impl Default for Searches {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

impl Searches {
    async fn turn(&self, patience: Duration) -> Result<OwnedSemaphorePermit, Problem> {
        let turn = tokio::time::timeout(patience, self.0.clone().acquire_owned()).await;
        turn.ok().and_then(Result::ok).ok_or_else(|| {
            let text = "Other searches for documents are under way: try again in a moment.";
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "searches-busy", text)
        })
    }
}

/// A page.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Story")]
pub(crate) struct Page {
    /// How the document led to these events; empty when an event was asked for.
    trails: Vec<TrailAnswer>,
    /// Newest first, at most twenty, and fewer when they are long.
    events: Vec<Whole>,
    /// Whether there are more events than these.
    more: bool,
}

/// How a document led to an event.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Trail")]
pub(crate) struct TrailAnswer {
    event: EventId,
    /// The system that calls it so.
    system: String,
    /// `reference` (it was remembered), `response` (another system answered with it) or `object` (an event is about it).
    by: &'static str,
    /// What was remembered: the object at home.
    key: Option<ReferenceKey>,
}

/// An event and everything about it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "WholeStory")]
pub(crate) struct Whole {
    #[serde(flatten)]
    event: events::Answer,
    standing: Standing,
    /// As it came, but for card numbers. Null when it is long or no text: `GET …/events/{id}/payload` has it.
    payload: Option<String>,
    /// Its length, in bytes.
    payload_bytes: usize,
    /// Of the trace that it belongs to, 32 hex digits; null when nobody traces it.
    trace_id: Option<String>,
    runs: Vec<RunOfStory>,
    /// The alerts that it raised, newest first.
    alerts: Vec<alerts::Answer>,
}

/// A pause that keeps something waiting.
#[derive(Serialize, JsonSchema)]
pub(crate) struct HeldUp {
    /// `tenant`, `mapping`, `module` or `connection`.
    what: &'static str,
    /// Its id.
    id: String,
    paused: desk::DecisionAnswer,
}

/// A run and everything about it.
#[derive(Serialize, JsonSchema)]
pub(crate) struct RunOfStory {
    #[serde(flatten)]
    run: runs::Answer,
    /// The mapping's name.
    mapping_name: Option<String>,
    /// The module's name and version, as it says itself.
    module_name: Option<String>,
    module_version: Option<String>,
    /// What is paused and keeps it, or a delivery of it, waiting.
    held_up: Vec<HeldUp>,
    /// What people decided about it.
    decisions: Vec<desk::PastAnswer>,
    /// Each with every attempt and decision.
    deliveries: Vec<deliveries::Whole>,
}

pub(crate) async fn get_story(
    State(api): State<Api>,
    caller: InScope<Viewer>,
    Query(Wanted { event, document, system }): Query<Wanted>,
) -> Result<axum::Json<Page>, Problem> {
    let (store, scope) = (&*api.shared.store, &caller.scope);
    let (trails, mut ids) = match (event, document) {
        (Some(event), None) => (Vec::new(), vec![event]),
        (None, Some(document)) if !document.is_empty() && document.len() <= DOCUMENT_BYTES_MAX => {
            let trails = trails(&api, scope.clone(), (system, document)).await?;
            let mut ids: Vec<_> = trails.iter().map(|trail| trail.event.clone()).collect();
            // Ids sort by time.
            ids.sort_unstable_by(|a, b| b.cmp(a));
            ids.dedup();
            (trails, ids)
        }
        _ => return Err(bad("Name an `event`, or a `document` of at most 200 characters; not both.")),
    };
    let mut more = ids.len() > EVENTS_MAX;
    ids.truncate(EVENTS_MAX);
    let mut told = Vec::with_capacity(ids.len());
    let mut left = PAGE_BYTES_MAX;
    for id in &ids {
        let event = whole(store, scope, id).await?;
        let bytes = length(&event);
        if bytes > left && !told.is_empty() {
            more = true;
            break;
        }
        left = left.saturating_sub(bytes);
        told.push(event);
    }
    if told.is_empty() {
        return Err(Problem::not_found());
    }
    Ok(axum::Json(Page { trails: trails.iter().map(trail).collect(), events: told, more }))
}

/// How long it will be as it is told.
fn length(event: &Whole) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 = self.0.saturating_add(bytes.len());
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    match serde_json::to_writer(&mut count, event) {
        Ok(()) => count.0,
        // What cannot be told is refused when the page is.
        Err(_) => usize::MAX,
    }
}

/// A search goes on when whoever asked goes away, and has its turn for as long.
async fn trails(
    api: &Api,
    scope: Scope,
    (system, document): (Option<String>, String),
) -> Result<Vec<Trail>, Problem> {
    let turn = api.searches.turn(PATIENCE).await?;
    let store = api.shared.store.clone();
    let search = tokio::spawn(async move {
        let found = store.document_trails(&scope, system.as_deref(), &document).await;
        drop(turn);
        found
    });
    Ok(search.await.map_err(|_| Problem::fault())??)
}

fn trail(trail: &Trail) -> TrailAnswer {
    TrailAnswer {
        event: trail.event.clone(),
        system: trail.system.clone(),
        by: trail.by.as_str(),
        key: trail.key.clone(),
    }
}

async fn whole(store: &dyn Store, scope: &Scope, id: &EventId) -> Result<Whole, Problem> {
    let event = store.event_get(scope, id).await?;
    let mut standings = vec![events::standing_of_event(event.state)];
    let mut runs = Vec::new();
    for run in store.run_of_event(scope, id).await? {
        let rows = store.delivery_of_run(scope, &run.id).await?;
        let held_up = held_up(store, scope, (&run, &rows)).await?;
        standings.push(events::standing_of_run(&run, &rows));
        let mut told = Vec::with_capacity(rows.len());
        for row in rows {
            let attempts = store.delivery_attempts(scope, &row.id).await?;
            let decisions = store.decision_list(scope, row.id.as_str()).await?;
            told.push(deliveries::whole(&row, &attempts).with_decisions(&decisions));
        }
        let decisions = store.decision_list(scope, run.id.as_str()).await?;
        let (module_name, module_version) = module(store, scope, run.module.as_ref()).await?;
        runs.push(RunOfStory {
            mapping_name: store.mapping_get(scope, &run.mapping).await.ok().map(|mapping| mapping.name),
            module_name,
            module_version,
            held_up,
            decisions: decisions.iter().map(desk::PastAnswer::from).collect(),
            deliveries: told,
            run: runs::answer(&run),
        });
    }
    let alerts = store.alert_of_event(scope, id).await?;
    Ok(Whole {
        event: events::answer(&event),
        standing: standings.into_iter().flatten().max().unwrap_or(Standing::Delivered),
        payload_bytes: event.payload.len(),
        trace_id: trace_id(event.traceparent.as_deref()).map(str::to_owned),
        payload: payload(event),
        runs,
        alerts: alerts.iter().map(alerts::answer).collect(),
    })
}

/// The pauses that keep a run, or deliveries of it, waiting now.
async fn held_up(
    store: &dyn Store,
    scope: &Scope,
    (run, deliveries): (&Run, &[Delivery]),
) -> Result<Vec<HeldUp>, Problem> {
    let mut found = Vec::new();
    let mut tell = |what, id: String, paused: Option<&Decision>| {
        let paused = paused.map(desk::DecisionAnswer::from);
        found.extend(paused.map(|paused| HeldUp { what, id, paused }));
    };
    let waits =
        |delivery: &&Delivery| matches!(delivery.state, DeliveryState::Pending | DeliveryState::Waiting);
    let connections: BTreeSet<_> =
        deliveries.iter().filter(waits).map(|delivery| delivery.connection.clone()).collect();
    if run.state != RunState::Pending && connections.is_empty() {
        return Ok(found);
    }
    let tenant = store.tenant_paused(&scope.tenant).await?;
    tell("tenant", scope.tenant.to_string(), tenant.as_ref());
    if run.state == RunState::Pending {
        let mapping = store.mapping_get(scope, &run.mapping).await?;
        tell("mapping", run.mapping.to_string(), mapping.life.paused.as_ref());
        let module = store.module_get(&scope.tenant, &mapping.module).await?;
        tell("module", mapping.module.to_string(), module.paused.as_ref());
    }
    for id in connections {
        let connection = store.connection_get(scope, &id).await?;
        tell("connection", id.to_string(), connection.paused.as_ref());
    }
    Ok(found)
}

fn payload(event: Event) -> Option<String> {
    if event.payload.len() > PAYLOAD_BYTES_MAX {
        return None;
    }
    String::from_utf8(event.payload).ok()
}

async fn module(
    store: &dyn Store,
    scope: &Scope,
    digest: Option<&ModuleDigest>,
) -> Result<(Option<String>, Option<String>), Problem> {
    let Some(digest) = digest else { return Ok((None, None)) };
    match store.module_get(&scope.tenant, digest).await {
        Ok(module) => Ok((Some(module.description.name), Some(module.description.version))),
        Err(StoreError::NotFound) => Ok((None, None)),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;
    use serde_json::Value;

    use super::*;
    use crate::trial::Trial;

    #[tokio::test]
    async fn a_page_is_no_longer_than_it_may_be_but_for_its_first_event() {
        let trial = Trial::new().await;
        let source = trial.source("hooks").await;
        let text = format!("\"{}\"", "x".repeat(PAYLOAD_BYTES_MAX - 2)).into_bytes();
        for _ in 0..EVENTS_MAX {
            let now = trial.api.shared.clock.now();
            trial.event(&source, "ch_long", (now, text.clone())).await;
        }
        trial.event(&source, "ch_short", (trial.api.shared.clock.now(), b"{}".to_vec())).await;
        let page = trial.ask("GET", "/story?document=ch_long", &Value::Null).await;
        let (told, bytes) = (page.json(), page.bytes.len());
        let events = told["events"].as_array().unwrap().len();
        assert!(events > 1 && events < EVENTS_MAX && told["more"] == true, "{events} events");
        assert!(bytes < PAGE_BYTES_MAX + 64 * 1024, "{bytes} bytes");
        let short = trial.must("GET", "/story?document=ch_short", &Value::Null).await;
        assert_eq!((short["events"].as_array().unwrap().len(), &short["more"]), (1, &Value::Bool(false)));
    }

    #[tokio::test]
    async fn documents_are_looked_for_one_after_the_other() {
        let searches = Searches::default();
        let turn = searches.turn(PATIENCE).await.unwrap();
        let busy = searches.turn(Duration::from_millis(10)).await.unwrap_err().into_response();
        assert_eq!(busy.status(), StatusCode::TOO_MANY_REQUESTS);
        drop(turn);
        assert!(searches.turn(PATIENCE).await.is_ok());
    }
}
