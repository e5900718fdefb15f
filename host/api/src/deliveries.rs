//! Deliveries, and the dead letters among them.

use aide::axum::{
    ApiRouter,
    routing::{get_with, post_with},
};
use axum::{extract::State, response::NoContent};
use portolan_domain::{
    ConnectionId, DeliveryId, EventId, MappingId, RunId, Timestamp, contract::LedgerLine,
    state::DeliveryState,
};
use portolan_store::{
    delivery::{Attempt, Delivery, DeliveryFilter},
    desk::Past,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    Api,
    answer::{List, Settled, Time},
    auth::{Admin, InScope, Viewer},
    body::Json,
    desk,
    openapi::op,
    page::{self, Paged},
    params::Id,
    problem::Problem,
    query::Query,
    runs::Why,
};

pub(crate) fn routes() -> ApiRouter<Api> {
    ApiRouter::new()
        .api_route(
            "/deliveries",
            get_with(list_deliveries, op("list_deliveries", "The deliveries of the environment that match")),
        )
        .api_route(
            "/deliveries/redrive",
            post_with(redrive_deliveries, op("redrive_deliveries", "Has dead letters that match made again")),
        )
        .api_route(
            "/deliveries/{id}",
            get_with(get_delivery, op("get_delivery", "A delivery with every attempt and every decision")),
        )
        .api_route(
            "/deliveries/{id}/redrive",
            post_with(redrive_delivery, op("redrive_delivery", "Has a dead or doubtful delivery made again")),
        )
        .api_route(
            "/deliveries/{id}/adopt",
            post_with(
                adopt_delivery,
                op("adopt_delivery", "A person has found the document in the other system"),
            ),
        )
        .api_route(
            "/deliveries/{id}/cancel",
            post_with(
                cancel_delivery,
                op("cancel_delivery", "A person gives up on it and on what comes after it"),
            ),
        )
        .api_route(
            "/deliveries/{id}/correct",
            post_with(correct_delivery, op("correct_delivery", "Has it made again with another body")),
        )
        .api_route(
            "/deliveries/{id}/assign",
            post_with(assign_delivery, op("assign_delivery", "Says who looks after it")),
        )
        .api_route(
            "/deliveries/{id}/resolve",
            post_with(resolve_delivery, op("resolve_delivery", "A person settled it elsewhere")),
        )
        .with_path_items(|path| path.tag("deliveries"))
}

/// Which deliveries.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct Filter {
    state: Option<DeliveryState>,
    connection: Option<ConnectionId>,
    /// The code of the reason why it is dead. This and those that follow: only with a state that is not final.
    code: Option<String>,
    /// The kind of its event.
    kind: Option<String>,
    assignee: Option<String>,
    /// Changed last at or after this: milliseconds since 1970.
    since: Option<u64>,
    /// Changed last before this: milliseconds since 1970.
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

/// Has it made again.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Redrive {
    why: String,
    /// Somebody has looked into the other system: a delivery in doubt is sent as if for the first time.
    #[serde(default)]
    not_carried_out: bool,
}

/// What was found.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Adoption {
    why: String,
    /// What the other system answered, or would have: later deliveries copy their values from it.
    response: Map<String, Value>,
}

/// What shall be sent instead.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Correction {
    why: String,
    /// Whole: it takes the place of the planned one. Values from earlier responses are copied into it as before.
    body: Map<String, Value>,
}

/// Who looks after it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Assignment {
    why: String,
    /// A key's id or a person's name; null: nobody.
    to: Option<String>,
}

/// How many were.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Redriven {
    redriven: u32,
    /// Dead letters that match and were passed over, because it is in doubt whether they were carried out: at most `limit` are
    /// counted. Look into the other system and redrive these one by one.
    passed_over: u32,
    /// Whether there are more: ask again with `until`.
    more: bool,
    /// Milliseconds since 1970.
    until: u64,
}

/// Which dead letters are made again.
#[derive(Deserialize, JsonSchema)]
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

pub(crate) async fn list_deliveries(
    State(api): State<Api>,
    caller: InScope<Viewer>,
    Query(filter): Query<Filter>,
    Paged(page): Paged,
) -> Result<axum::Json<List<Listed>>, Problem> {
    let filter = filter.checked()?;
    let rows = api.shared.store.delivery_list(&caller.scope, filter, page.clone()).await?;
    Ok(page::answer(
        &page,
        &rows,
        |row| row.id.to_string(),
        |row| Listed { delivery: answer(row), attempts: row.attempts },
    ))
}

/// Dead letters that match are made again. Answers how many; repeat it until `more` is
/// false.
pub(crate) async fn redrive_deliveries(
    State(api): State<Api>,
    caller: InScope<Admin>,
    Json(many): Json<ManyRedriven>,
) -> Result<axum::Json<Redriven>, Problem> {
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
    let counts = api.shared.store.delivery_redrive_matching(&caller.scope, filter, limit, decision).await?;
    let (redriven, passed_over) = counts;
    api.shared.deliveries_due.ring();
    Ok(axum::Json(Redriven { redriven, passed_over, more: redriven >= limit, until }))
}

/// What a person writes is no longer than what a module may.
fn bounded(api: &Api, written: Value) -> Result<Value, Problem> {
    let bytes_max = api.shared.settings.plan.body_bytes_max;
    if written.to_string().len() > bytes_max {
        let text = format!("A body or response has at most {bytes_max} bytes.");
        return Err(Problem::unprocessable("invalid-correction", text));
    }
    Ok(written)
}

/// A dead or doubtful delivery is made again with another body. The planned one is
/// kept beside it; what is in doubt is asked about first.
pub(crate) async fn correct_delivery(
    State(api): State<Api>,
    caller: InScope<Admin>,
    Id(id): Id<DeliveryId>,
    Json(Correction { why, body }): Json<Correction>,
) -> Result<Settled, Problem> {
    let decision = Why::new(why).by(&caller, api.shared.clock.now())?;
    let body = bounded(&api, Value::Object(body))?;
    let decided = api.shared.store.delivery_correct(&caller.scope, &id, body, decision).await?;
    api.shared.deliveries_due.ring();
    Ok(Settled(decided))
}

/// Who looks after a dead or doubtful delivery.
pub(crate) async fn assign_delivery(
    State(api): State<Api>,
    caller: InScope<Admin>,
    Id(id): Id<DeliveryId>,
    Json(Assignment { why, to }): Json<Assignment>,
) -> Result<NoContent, Problem> {
    let decision = Why::new(why).by(&caller, api.shared.clock.now())?;
    if to.as_ref().is_some_and(|to| to.trim().is_empty() || to.chars().count() > ASSIGNEE_CHARS_MAX) {
        let text = "`to` is a key's id or a name of 1 to 100 characters, or null for nobody.";
        return Err(Problem::unprocessable("invalid-assignee", text));
    }
    api.shared.store.delivery_assign(&caller.scope, &id, to, decision).await?;
    Ok(NoContent)
}

/// A person settled it elsewhere; it and what comes after it end.
pub(crate) async fn resolve_delivery(
    State(api): State<Api>,
    caller: InScope<Admin>,
    Id(id): Id<DeliveryId>,
    Json(why): Json<Why>,
) -> Result<Settled, Problem> {
    let decision = why.by(&caller, api.shared.clock.now())?;
    let decided = api.shared.store.delivery_resolve(&caller.scope, &id, decision).await?;
    api.shared.deliveries_due.ring();
    Ok(Settled(decided))
}

/// With every attempt and every decision.
pub(crate) async fn get_delivery(
    State(api): State<Api>,
    caller: InScope<Viewer>,
    Id(id): Id<DeliveryId>,
) -> Result<axum::Json<Whole>, Problem> {
    let row = api.shared.store.delivery_get(&caller.scope, &id).await?;
    let attempts = api.shared.store.delivery_attempts(&caller.scope, &id).await?;
    let decisions = api.shared.store.decision_list(&caller.scope, id.as_str()).await?;
    let told = whole(&row, &attempts);
    Ok(axum::Json(Whole { decisions: Some(decisions.iter().map(desk::PastAnswer::from).collect()), ..told }))
}

/// A dead or doubtful delivery is made again; one in doubt is asked about
/// first, unless somebody has looked and says that it was not carried out.
pub(crate) async fn redrive_delivery(
    State(api): State<Api>,
    caller: InScope<Admin>,
    Id(id): Id<DeliveryId>,
    Json(Redrive { why, not_carried_out }): Json<Redrive>,
) -> Result<Settled, Problem> {
    let decision = Why::new(why).by(&caller, api.shared.clock.now())?;
    let store = &api.shared.store;
    let decided = match not_carried_out {
        true => store.delivery_resend(&caller.scope, &id, decision).await?,
        false => store.delivery_redrive(&caller.scope, &id, decision).await?,
    };
    api.shared.deliveries_due.ring();
    Ok(Settled(decided))
}

/// A person has found the document in the other system.
pub(crate) async fn adopt_delivery(
    State(api): State<Api>,
    caller: InScope<Admin>,
    Id(id): Id<DeliveryId>,
    Json(Adoption { why, response }): Json<Adoption>,
) -> Result<Settled, Problem> {
    let decision = Why::new(why).by(&caller, api.shared.clock.now())?;
    let response = bounded(&api, Value::Object(response))?;
    let decided = api.shared.store.delivery_adopt(&caller.scope, &id, response, decision).await?;
    api.shared.deliveries_due.ring();
    Ok(Settled(decided))
}

/// A person gives up on it and on what comes after it.
pub(crate) async fn cancel_delivery(
    State(api): State<Api>,
    caller: InScope<Admin>,
    Id(id): Id<DeliveryId>,
    Json(why): Json<Why>,
) -> Result<Settled, Problem> {
    let decision = why.by(&caller, api.shared.clock.now())?;
    let decided = api.shared.store.delivery_cancel(&caller.scope, &id, decision).await?;
    api.shared.deliveries_due.ring();
    Ok(Settled(decided))
}

/// A delivery.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Delivery")]
pub(crate) struct Answer {
    id: DeliveryId,
    event: EventId,
    run: RunId,
    mapping: MappingId,
    /// Unique in the plan.
    key: String,
    /// Identity of the call in every attempt.
    call_id: String,
    connection: ConnectionId,
    operation: String,
    /// What is sent; after the first attempt with the copied values in.
    body: Value,
    /// As its module planned it, where a person corrected it; null otherwise.
    planned_body: Option<Value>,
    /// Keys of deliveries that must be delivered first.
    after: Vec<String>,
    /// The accounting lines that it stands for.
    ledger: Vec<LedgerLine>,
    /// The economic fact that it records, if it names one.
    once: Option<String>,
    ordering_key: String,
    state: DeliveryState,
    /// Whether an earlier attempt may have been carried out.
    in_doubt: bool,
    /// When it is due, if it is pending.
    due_at: Option<Time>,
    /// What the other system answered; null before.
    response: Value,
    /// What it answered to an attempt whose lease was lost by then; null when nothing came.
    late_response: Value,
    /// Why it stands where it stands; null when there is nothing to say.
    reason: Value,
    /// Who looks after it.
    assignee: Option<String>,
    created_at: Time,
    updated_at: Time,
}

/// A delivery in a list.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ListedDelivery")]
pub(crate) struct Listed {
    #[serde(flatten)]
    delivery: Answer,
    /// How many were begun.
    attempts: u32,
}

/// A delivery with all that was tried.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "WholeDelivery")]
pub(crate) struct Whole {
    #[serde(flatten)]
    delivery: Answer,
    attempts: Vec<AttemptAnswer>,
    /// What people decided about it; when one delivery is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    decisions: Option<Vec<desk::PastAnswer>>,
}

impl Whole {
    /// With what people decided about it.
    pub(crate) fn with_decisions(mut self, decisions: &[Past]) -> Self {
        self.decisions = Some(decisions.iter().map(desk::PastAnswer::from).collect());
        self
    }
}

/// One try.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Attempt")]
pub(crate) struct AttemptAnswer {
    /// From 1.
    number: u32,
    /// Which incarnation of a host made it.
    owner: String,
    started_at: Time,
    /// Null: its end is not known, or it is under way.
    finished_at: Option<Time>,
    verdict: Option<String>,
    /// What the other system said.
    detail: Value,
    /// SHA-256 of the bytes that were sent, in hex.
    sent_sha256: Option<String>,
    /// What its owner reported after the lease was lost: `{"verdict","detail"}`; null when nothing.
    late: Value,
}

fn answer(row: &Delivery) -> Answer {
    Answer {
        id: row.id.clone(),
        event: row.event.clone(),
        run: row.run.clone(),
        mapping: row.mapping.clone(),
        key: row.key.clone(),
        call_id: row.call_id.clone(),
        connection: row.connection.clone(),
        operation: row.operation.clone(),
        body: row.body.clone(),
        planned_body: row.planned_body.clone(),
        after: row.after.clone(),
        ledger: row.ledger.clone(),
        once: row.once.clone(),
        ordering_key: row.ordering_key.clone(),
        state: row.state,
        in_doubt: row.in_doubt,
        due_at: (row.state == DeliveryState::Pending).then(|| row.due_at.into()),
        response: row.response.clone(),
        late_response: row.late_response.clone(),
        reason: row.reason.clone(),
        assignee: row.assignee.clone(),
        created_at: row.created_at.into(),
        updated_at: row.updated_at.into(),
    }
}

/// A delivery with every attempt.
pub(crate) fn whole(row: &Delivery, attempts: &[Attempt]) -> Whole {
    let attempts = attempts.iter().map(|attempt| AttemptAnswer {
        number: attempt.number,
        owner: attempt.owner.clone(),
        started_at: attempt.started_at.into(),
        finished_at: attempt.finished_at.map(Time::from),
        verdict: attempt.verdict.clone(),
        detail: attempt.detail.clone(),
        sent_sha256: attempt.sent_sha256.clone(),
        late: attempt.late.clone(),
    });
    Whole { delivery: answer(row), attempts: attempts.collect(), decisions: None }
}

#[cfg(test)]
mod tests {
    use portolan_domain::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::trial::Trial;

    #[tokio::test]
    async fn what_is_adopted_is_bounded() {
        let trial = Trial::new().await;
        let path = format!("/deliveries/{}/adopt", DeliveryId::generate(Timestamp::from_millis(0)));
        let adoption =
            |bytes: usize| json!({ "why": "it is there", "response": { "id": "x".repeat(bytes) } });
        assert_eq!(trial.ask("POST", &path, &adoption(10)).await.status.as_u16(), 404);
        assert_eq!(trial.ask("POST", &path, &adoption(1 << 20)).await.code(), "invalid-correction");
    }
}
