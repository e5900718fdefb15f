//! Deliveries, and the dead letters among them.

use axum::{extract::State, http::StatusCode, response::Response};
use portolan_domain::{ConnectionId, DeliveryId, Timestamp, state::DeliveryState};
use portolan_store::delivery::{Attempt, Delivery, DeliveryFilter};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    Api,
    auth::{Admin, InScope, Viewer},
    body::Json,
    desk,
    page::{self, Paged},
    params::Id,
    problem::Problem,
    query::Query,
    runs::{Why, answer},
};

/// Which deliveries. Times are milliseconds since 1970, of the last change.
#[derive(Deserialize)]
pub(crate) struct Filter {
    state: Option<DeliveryState>,
    connection: Option<ConnectionId>,
    code: Option<String>,
    kind: Option<String>,
    assignee: Option<String>,
    since: Option<u64>,
    until: Option<u64>,
}

impl Filter {
    /// A rare problem among millions of delivered ones would be looked for through all of them.
    fn checked(self) -> Result<DeliveryFilter, Problem> {
        let looks_closer = self.code.is_some()
            || self.kind.is_some()
            || self.assignee.is_some()
            || self.since.is_some()
            || self.until.is_some();
        let is_bounded = self.state.is_some_and(|state| !state.is_final());
        if looks_closer && !is_bounded {
            let text =
                "With code, kind, assignee, since or until, name a state that is not final: state=dead.";
            return Err(Problem::unprocessable("state-missing", text));
        }
        Ok(DeliveryFilter {
            state: self.state,
            connection: self.connection,
            code: self.code,
            kind: self.kind,
            assignee: self.assignee,
            since: self.since.map(Timestamp::from_millis),
            until: self.until.map(Timestamp::from_millis),
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Redrive {
    why: String,
    /// Somebody has looked into the other system: a delivery in doubt is sent as if for the first time.
    #[serde(default)]
    not_carried_out: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Adoption {
    why: String,
    /// What the other system answered, or would have: later deliveries copy their values from it.
    response: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Correction {
    why: String,
    /// Whole: it takes the place of the planned one. Values from earlier responses are copied into it as before.
    body: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Assignment {
    why: String,
    /// A key's id or a person's name; null: nobody.
    to: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ManyRedriven {
    why: String,
    connection: Option<ConnectionId>,
    code: Option<String>,
    kind: Option<String>,
    assignee: Option<String>,
    since: Option<u64>,
    /// Default: now. Ask again with the answer's `until`, so that what has died since is left alone.
    until: Option<u64>,
    /// At most so many, 1 to 500; default 500.
    limit: Option<u32>,
}

/// The most that one request redrives: it is one transaction.
const REDRIVEN_MAX: u32 = 500;

/// The longest name of an assignee, in characters.
const ASSIGNEE_CHARS_MAX: usize = 100;

/// `GET …/deliveries?state=dead&connection=&code=&kind=&assignee=&since=&until=`
pub(crate) async fn list_deliveries(
    State(api): State<Api>,
    caller: InScope<Viewer>,
    Query(filter): Query<Filter>,
    Paged(page): Paged,
) -> Result<axum::Json<Value>, Problem> {
    let filter = filter.checked()?;
    let rows = api.shared.store.delivery_list(&caller.scope, filter, page.clone()).await?;
    Ok(axum::Json(page::answer(&page, &rows, |row| row.id.to_string(), render)))
}

/// `POST …/deliveries/redrive`: dead letters that match are made again. Answers how many; repeat it until `more` is
/// false.
pub(crate) async fn redrive_deliveries(
    State(api): State<Api>,
    caller: InScope<Admin>,
    Json(many): Json<ManyRedriven>,
) -> Result<axum::Json<Value>, Problem> {
    let now = api.shared.clock.now();
    let until = many.until.unwrap_or_else(|| now.as_millis());
    let filter = DeliveryFilter {
        state: Some(DeliveryState::Dead),
        connection: many.connection,
        code: many.code,
        kind: many.kind,
        assignee: many.assignee,
        since: many.since.map(Timestamp::from_millis),
        until: Some(Timestamp::from_millis(until)),
    };
    let limit = many.limit.unwrap_or(REDRIVEN_MAX).clamp(1, REDRIVEN_MAX);
    let decision = Why::new(many.why).by(&caller, now)?;
    let redriven = api.shared.store.delivery_redrive_matching(&caller.scope, filter, limit, decision).await?;
    api.shared.deliveries_due.ring();
    Ok(axum::Json(json!({ "redriven": redriven, "more": redriven >= limit, "until": until })))
}

/// `POST …/deliveries/{id}/correct`: a dead or doubtful delivery is made again with another body. The planned one is
/// kept beside it; what is in doubt is asked about first.
pub(crate) async fn correct_delivery(
    State(api): State<Api>,
    caller: InScope<Admin>,
    Id(id): Id<DeliveryId>,
    Json(Correction { why, body }): Json<Correction>,
) -> Result<Response, Problem> {
    let decision = Why::new(why).by(&caller, api.shared.clock.now())?;
    let body = Value::Object(body);
    let bytes_max = api.shared.settings.plan.body_bytes_max;
    if body.to_string().len() > bytes_max {
        let text = format!("A body has at most {bytes_max} bytes.");
        return Err(Problem::unprocessable("invalid-correction", text));
    }
    let decided = api.shared.store.delivery_correct(&caller.scope, &id, body, decision).await?;
    api.shared.deliveries_due.ring();
    Ok(answer(decided))
}

/// `POST …/deliveries/{id}/assign`: who looks after a dead or doubtful delivery.
pub(crate) async fn assign_delivery(
    State(api): State<Api>,
    caller: InScope<Admin>,
    Id(id): Id<DeliveryId>,
    Json(Assignment { why, to }): Json<Assignment>,
) -> Result<StatusCode, Problem> {
    let decision = Why::new(why).by(&caller, api.shared.clock.now())?;
    if to.as_ref().is_some_and(|to| to.trim().is_empty() || to.chars().count() > ASSIGNEE_CHARS_MAX) {
        let text = "`to` is a key's id or a name of 1 to 100 characters, or null for nobody.";
        return Err(Problem::unprocessable("invalid-assignee", text));
    }
    api.shared.store.delivery_assign(&caller.scope, &id, to, decision).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST …/deliveries/{id}/resolve`: a person settled it elsewhere; it and what comes after it end.
pub(crate) async fn resolve_delivery(
    State(api): State<Api>,
    caller: InScope<Admin>,
    Id(id): Id<DeliveryId>,
    Json(why): Json<Why>,
) -> Result<Response, Problem> {
    let decision = why.by(&caller, api.shared.clock.now())?;
    let decided = api.shared.store.delivery_resolve(&caller.scope, &id, decision).await?;
    api.shared.deliveries_due.ring();
    Ok(answer(decided))
}

/// `GET …/deliveries/{id}`: with every attempt and every decision.
pub(crate) async fn get_delivery(
    State(api): State<Api>,
    caller: InScope<Viewer>,
    Id(id): Id<DeliveryId>,
) -> Result<axum::Json<Value>, Problem> {
    let row = api.shared.store.delivery_get(&caller.scope, &id).await?;
    let attempts = api.shared.store.delivery_attempts(&caller.scope, &id).await?;
    let decisions = api.shared.store.decision_list(&caller.scope, id.as_str()).await?;
    let mut told = render_with(&row, &attempts);
    if let Some(told) = told.as_object_mut() {
        told.insert("decisions".to_owned(), decisions.iter().map(desk::render_past).collect());
    }
    Ok(axum::Json(told))
}

/// `POST …/deliveries/{id}/redrive`: a dead or doubtful delivery is made again; one in doubt is asked about
/// first, unless somebody has looked and says that it was not carried out.
pub(crate) async fn redrive_delivery(
    State(api): State<Api>,
    caller: InScope<Admin>,
    Id(id): Id<DeliveryId>,
    Json(Redrive { why, not_carried_out }): Json<Redrive>,
) -> Result<Response, Problem> {
    let decision = Why::new(why).by(&caller, api.shared.clock.now())?;
    let store = &api.shared.store;
    let decided = match not_carried_out {
        true => store.delivery_resend(&caller.scope, &id, decision).await?,
        false => store.delivery_redrive(&caller.scope, &id, decision).await?,
    };
    api.shared.deliveries_due.ring();
    Ok(answer(decided))
}

/// `POST …/deliveries/{id}/adopt`: a person has found the document in the other system.
pub(crate) async fn adopt_delivery(
    State(api): State<Api>,
    caller: InScope<Admin>,
    Id(id): Id<DeliveryId>,
    Json(Adoption { why, response }): Json<Adoption>,
) -> Result<Response, Problem> {
    let decision = Why::new(why).by(&caller, api.shared.clock.now())?;
    let decided =
        api.shared.store.delivery_adopt(&caller.scope, &id, Value::Object(response), decision).await?;
    api.shared.deliveries_due.ring();
    Ok(answer(decided))
}

/// `POST …/deliveries/{id}/cancel`: a person gives up on it and on what comes after it.
pub(crate) async fn cancel_delivery(
    State(api): State<Api>,
    caller: InScope<Admin>,
    Id(id): Id<DeliveryId>,
    Json(why): Json<Why>,
) -> Result<Response, Problem> {
    let decision = why.by(&caller, api.shared.clock.now())?;
    let decided = api.shared.store.delivery_cancel(&caller.scope, &id, decision).await?;
    api.shared.deliveries_due.ring();
    Ok(answer(decided))
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
        "planned_body": row.planned_body,
        "after": row.after,
        "ledger": row.ledger,
        "once": row.once,
        "ordering_key": row.ordering_key,
        "state": row.state,
        "in_doubt": row.in_doubt,
        "attempts": row.attempts,
        "due_at": (row.state == DeliveryState::Pending).then(|| row.due_at.to_string()),
        "response": row.response,
        "late_response": row.late_response,
        "reason": row.reason,
        "assignee": row.assignee,
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
                "sent_sha256": attempt.sent_sha256,
                "late": attempt.late,
            })
        })
        .collect();
    let mut told = render(row);
    if let Some(told) = told.as_object_mut() {
        told.insert("attempts".to_owned(), json!(attempts));
    }
    told
}
