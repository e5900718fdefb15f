//! The sweep: `events.changed` walks Stripe's list of events, so that a webhook that never came is found.
//!
//! A pass goes from the newest event to the oldest that it looks at, page by page, one page a call. What comes in
//! during a pass is newer than all of it and belongs to the next one, which begins one hour before the newest event
//! that the last pass saw: by Stripe's clock, and so early because an event's time is when the change happened, not
//! when it was listed. Whoever polls sees events again for that reason, and knows them by their id.
//! Stripe keeps events for 30 days. Source: Stripe's API reference, "List all events".

use portolan_domain::verdict::CallFailure;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::api::{Api, has_more, id_of, is_id};
use crate::{
    call::Call,
    parameters::{invalid, object_of},
};

/// How far back the events of a pass begin before the newest that the last pass saw.
const OVERLAP_S: u64 = 3_600;
/// How long Stripe lists events.
const KEPT_S: u64 = 30 * 86_400;
/// Events of one page: the most Stripe gives.
const PAGE_ROWS_MAX: u64 = 100;
/// Types that Stripe filters by; with more, all are asked for and sorted out here.
const TYPES_MAX: usize = 20;

/// Where a walk stands. Opaque to whoever keeps it.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cursor {
    /// The newest event that a finished pass saw, in Unix seconds; of a pass under way, what it will be.
    #[serde(skip_serializing_if = "Option::is_none")]
    newest: Option<u64>,
    /// The pass under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pass: Option<Pass>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pass {
    /// Events before are not looked at.
    from: u64,
    /// The last event seen, and its time.
    after: String,
    created: u64,
}

struct Poll {
    cursor: Cursor,
    limit: u64,
    types: Vec<String>,
}

fn poll_of(parameters: &Value) -> Result<Poll, CallFailure> {
    let fields = object_of(parameters, &["cursor", "limit", "types"])?;
    let cursor = match fields.get("cursor") {
        None | Some(Value::Null) => Cursor::default(),
        Some(cursor) => Cursor::deserialize(cursor)
            .map_err(|_| invalid("/cursor", "is not one that events.changed gave; begin with null"))?,
    };
    if cursor.pass.as_ref().is_some_and(|pass| !is_id(&pass.after)) {
        return Err(invalid("/cursor", "names no event"));
    }
    let limit = match fields.get("limit") {
        None | Some(Value::Null) => Some(PAGE_ROWS_MAX),
        Some(limit) => limit.as_u64().filter(|limit| *limit > 0),
    };
    let limit = limit.ok_or_else(|| invalid("/limit", "must be a whole number from 1"))?.min(PAGE_ROWS_MAX);
    let types = match fields.get("types") {
        None | Some(Value::Null) => Vec::new(),
        Some(types) => Vec::<String>::deserialize(types)
            .map_err(|_| invalid("/types", "must be an array of event types"))?,
    };
    let all = types.is_empty() || types.iter().any(|name| name == "*");
    Ok(Poll { cursor, limit, types: if all { Vec::new() } else { types } })
}

/// One page of the walk: `{"items", "cursor", "more"}`.
pub(super) async fn read(api: &Api, parameters: &Value, call: &Call<'_>) -> Result<Value, CallFailure> {
    let Poll { cursor, limit, types } = poll_of(parameters)?;
    let oldest = call.context().now_seconds.saturating_sub(KEPT_S);
    let from = match (&cursor.pass, cursor.newest) {
        (Some(pass), _) => pass.from,
        (None, Some(newest)) => newest.saturating_sub(OVERLAP_S).max(oldest),
        (None, None) => oldest,
    };
    let page = page(api, from, cursor.pass.as_ref(), (limit, &types), call).await?;
    let rows = page.get("data").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let created = |event: &Value| event.get("created").and_then(Value::as_u64);
    // The newest of a pass stands on its first page. Its end is not known before, so neither is it final.
    let newest =
        if cursor.pass.is_some() { cursor.newest } else { cursor.newest.max(rows.first().and_then(created)) };
    let pass = match rows.last().filter(|_| has_more(&page)) {
        None => None,
        Some(last) => {
            let (Some(id), Some(created)) = (id_of(last).filter(|id| is_id(id)), created(last)) else {
                return Err(CallFailure::retryable("unreadable-answer", "an event has no id or no time"));
            };
            Some(Pass { from, after: id.to_owned(), created })
        }
    };
    let wanted = |event: &&Value| {
        types.is_empty()
            || event.get("type").and_then(Value::as_str).is_some_and(|name| types.iter().any(|t| t == name))
    };
    let items: Vec<Value> = rows.iter().filter(wanted).map(item).collect();
    Ok(json!({"items": items, "more": pass.is_some(), "cursor": Cursor { newest, pass }.to_value()}))
}

impl Cursor {
    fn to_value(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

/// An event does not change: it has one version.
fn item(event: &Value) -> Value {
    let field = |name: &str| event.get(name).cloned().unwrap_or_default();
    let at_ms = event.get("created").and_then(Value::as_u64).map(|seconds| seconds.saturating_mul(1_000));
    json!({"id": field("id"), "kind": field("type"), "version": "1", "occurred_at_ms": at_ms, "payload": event})
}

async fn page(
    api: &Api,
    from: u64,
    pass: Option<&Pass>,
    (limit, types): (u64, &[String]),
    call: &Call<'_>,
) -> Result<Value, CallFailure> {
    let from = from.to_string();
    let mut query = vec![("created[gte]", from.as_str())];
    if types.len() <= TYPES_MAX {
        query.extend(types.iter().map(|name| ("types[]", name.as_str())));
    }
    let mut limit = limit;
    loop {
        let rows = limit.to_string();
        let mut query = query.clone();
        query.push(("limit", &rows));
        query.extend(pass.map(|pass| ("starting_after", pass.after.as_str())));
        match api.get(&["v1", "events"], &query, call).await {
            Ok(Some(page)) => return Ok(page),
            Ok(None) => break,
            // Large events: fewer at a time.
            Err(failure) if failure.problem().code == "answer-too-large" && limit > 1 => {
                limit = limit.div_ceil(10)
            }
            Err(failure) => return Err(failure),
        }
    }
    // The event that the walk had come to is no longer kept: it goes on by time.
    let (created, rows) = (pass.map_or(u64::MAX, |pass| pass.created).to_string(), limit.to_string());
    query.extend([("created[lte]", created.as_str()), ("limit", rows.as_str())]);
    let page = api.get(&["v1", "events"], &query, call).await?;
    page.ok_or_else(|| CallFailure::permanent("resource-missing", "Stripe does not list events"))
}
