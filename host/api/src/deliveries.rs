//! Deliveries, and the dead letters among them.

use axum::{
    extract::{Query, State},
    http::StatusCode,
};
use portolan_domain::{ConnectionId, DeliveryId, state::DeliveryState};
use portolan_store::delivery::{Attempt, Delivery, DeliveryFilter};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    Api,
    auth::{Admin, InScope, Viewer},
    body::Json,
    page::{self, Paged},
    params::Id,
    problem::Problem,
    runs::Why,
};

#[derive(Deserialize)]
pub(crate) struct Filter {
    state: Option<DeliveryState>,
    connection: Option<ConnectionId>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Adoption {
    why: String,
    /// What the other system answered, or would have: later deliveries copy their values from it.
    response: Map<String, Value>,
}

/// `GET …/deliveries?state=dead&connection=`
pub(crate) async fn list_deliveries(
    State(api): State<Api>,
    caller: InScope<Viewer>,
    Query(Filter { state, connection }): Query<Filter>,
    Paged(page): Paged,
) -> Result<axum::Json<Value>, Problem> {
    let filter = DeliveryFilter { state, connection };
    let rows = api.shared.store.delivery_list(&caller.scope, filter, page.clone()).await?;
    Ok(axum::Json(page::answer(&page, &rows, |row| row.id.to_string(), render)))
}

/// `GET …/deliveries/{id}`: with every attempt.
pub(crate) async fn get_delivery(
    State(api): State<Api>,
    caller: InScope<Viewer>,
    Id(id): Id<DeliveryId>,
) -> Result<axum::Json<Value>, Problem> {
    let row = api.shared.store.delivery_get(&caller.scope, &id).await?;
    let attempts = api.shared.store.delivery_attempts(&caller.scope, &id).await?;
    Ok(axum::Json(render_with(&row, &attempts)))
}

/// `POST …/deliveries/{id}/redrive`: a dead or doubtful delivery is made again; one in doubt is asked about
/// first.
pub(crate) async fn redrive_delivery(
    State(api): State<Api>,
    caller: InScope<Admin>,
    Id(id): Id<DeliveryId>,
    Json(why): Json<Why>,
) -> Result<StatusCode, Problem> {
    let decision = why.by(&caller, api.shared.clock.now())?;
    api.shared.store.delivery_redrive(&caller.scope, &id, decision).await?;
    api.shared.deliveries_due.ring();
    Ok(StatusCode::NO_CONTENT)
}

/// `POST …/deliveries/{id}/adopt`: a person has found the document in the other system.
pub(crate) async fn adopt_delivery(
    State(api): State<Api>,
    caller: InScope<Admin>,
    Id(id): Id<DeliveryId>,
    Json(Adoption { why, response }): Json<Adoption>,
) -> Result<StatusCode, Problem> {
    let decision = Why::new(why).by(&caller, api.shared.clock.now())?;
    api.shared.store.delivery_adopt(&caller.scope, &id, Value::Object(response), decision).await?;
    api.shared.deliveries_due.ring();
    Ok(StatusCode::NO_CONTENT)
}

/// `POST …/deliveries/{id}/cancel`: a person gives up on it and on what comes after it.
pub(crate) async fn cancel_delivery(
    State(api): State<Api>,
    caller: InScope<Admin>,
    Id(id): Id<DeliveryId>,
    Json(why): Json<Why>,
) -> Result<StatusCode, Problem> {
    let decision = why.by(&caller, api.shared.clock.now())?;
    api.shared.store.delivery_cancel(&caller.scope, &id, decision).await?;
    api.shared.deliveries_due.ring();
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) fn render(row: &Delivery) -> Value {
    json!({
        "id": row.id,
        "event": row.event,
        "run": row.run,
        "mapping": row.mapping,
        "key": row.key,
        "call_id": row.call_id,
        "connection": row.connection,
        "operation": row.operation,
        "body": row.body,
        "after": row.after,
        "ledger": row.ledger,
        "once": row.once,
        "ordering_key": row.ordering_key,
        "state": row.state,
        "in_doubt": row.in_doubt,
        "attempts": row.attempts,
        "due_at": (row.state == DeliveryState::Pending).then(|| row.due_at.to_string()),
        "response": row.response,
        "reason": row.reason,
        "created_at": row.created_at.to_string(),
        "updated_at": row.updated_at.to_string(),
    })
}

pub(crate) fn render_with(row: &Delivery, attempts: &[Attempt]) -> Value {
    let attempts: Vec<Value> = attempts
        .iter()
        .map(|attempt| {
            json!({
                "number": attempt.number,
                "owner": attempt.owner,
                "started_at": attempt.started_at.to_string(),
                "finished_at": attempt.finished_at.map(|at| at.to_string()),
                "verdict": attempt.verdict,
                "detail": attempt.detail,
            })
        })
        .collect();
    let mut told = render(row);
    if let Some(told) = told.as_object_mut() {
        told.insert("attempts".to_owned(), json!(attempts));
    }
    told
}
