//! Customers: changes that do not overwrite what a person changed meanwhile, and what changed since a cursor.

use http::{HeaderName, HeaderValue, Method};
use portolan_domain::verdict::CallFailure;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{Gateway, answers, idempotency_key};
use crate::{
    call::{Call, Doing, plain_header},
    parameters::{invalid, object_of, text, whole_number},
};

/// Customers of one page of changes at most.
const PAGE_MAX: u64 = 500;

impl Gateway {
    /// Changes a customer. `IfMatch` is the tag that it was read as, `Was` the values of the changed fields then.
    ///
    /// When somebody changed the customer since, what was read then decides field by field: a field that is still
    /// what it was, or is already what it shall be, is safe. Any other was changed on both sides: a person decides.
    pub(super) async fn customer_update(
        &self,
        fields: &Map<String, Value>,
        call: &Call<'_>,
    ) -> Result<Value, CallFailure> {
        let customer = text(fields, "CustNo")?;
        let mut changes = fields.clone();
        changes.remove("CustNo");
        let (seen, was) = (changes.remove("IfMatch"), changes.remove("Was"));
        let tag = |tag: &str| {
            plain_header(tag).ok_or_else(|| invalid("/IfMatch", "must be the ETag that was answered"))
        };
        let seen = seen.as_ref().and_then(Value::as_str).map(tag).transpose()?;
        let Some(answer) = self.put(customer, &changes, seen, call).await? else {
            let was = was.as_ref().and_then(Value::as_object);
            let was = was.ok_or_else(|| changed_meanwhile(customer, &[]))?;
            let now = self.get(&["Customer", customer], &[], call).await?;
            let now = now.ok_or_else(|| {
                CallFailure::permanent("not-found", format!("customer {customer} is there no more"))
            })?;
            let left = still_to_change(customer, &changes, was, &now)?;
            if left.is_empty() {
                return Ok(now);
            }
            let fresh = now.get("ETag").and_then(Value::as_str).map(tag).transpose()?;
            let answer = self.put(customer, &left, fresh, call).await?;
            // Changed once more within milliseconds: nothing was written, so it may simply be tried again.
            return answer.ok_or_else(|| {
                let problem = portolan_domain::verdict::CallProblem::new(
                    "record-locked",
                    format!("customer {customer} is being changed"),
                );
                CallFailure::Retryable { problem, after_ms: None }
            });
        };
        Ok(answer)
    }

    /// One change; `None` when the tag is not the customer's any more.
    async fn put(
        &self,
        customer: &str,
        changes: &Map<String, Value>,
        tag: Option<HeaderValue>,
        call: &Call<'_>,
    ) -> Result<Option<Value>, CallFailure> {
        let url = call.pool().url(&["Customer", customer], &[]);
        let url = url.ok_or_else(|| invalid("/CustNo", "is not a customer number"))?;
        // The same customer may be updated many times: the delivery tells the updates apart.
        let key = idempotency_key(&call.context().call_id, "customer.update")?;
        let request = self.request(Method::PUT, url, key);
        let guarded = tag.is_some();
        let request = match tag {
            Some(tag) => request.header(HeaderName::from_static("if-match"), tag),
            None => request,
        };
        let request = request.body("application/json", Value::Object(changes.clone()).to_string());
        let answer = call.send(Doing::Changing, request).await?;
        match answer.status.as_u16() {
            200 | 201 => answers::document(&answer.body, "CustNo")
                .map(Some)
                .ok_or_else(|| Doing::Changing.unreadable(&answer, "the answer has no CustNo")),
            409 => self.conflict("customer.update", changes, &answer, call).await.map(Some),
            412 if guarded => Ok(None),
            _ => Err(answers::refusal(Doing::Changing, &answer, call)),
        }
    }

    /// One page of customers that changed since a cursor, as a source polls them.
    pub(super) async fn changed(&self, parameters: &Value, call: &Call<'_>) -> Result<Value, CallFailure> {
        let fields = object_of(parameters, &["cursor", "limit"])?;
        let limit = match fields.get("limit") {
            None | Some(Value::Null) => PAGE_MAX,
            Some(_) => whole_number(fields, "limit")?.clamp(1, PAGE_MAX),
        }
        .to_string();
        let mut query = vec![("limit", limit.as_str())];
        if !matches!(fields.get("cursor"), None | Some(Value::Null)) {
            query.push(("cursor", text(fields, "cursor")?));
        }
        let page = self.get(&["Customer", "changes"], &query, call).await?;
        let unreadable = |what: &str| {
            let message = format!("the page of changed customers {what}");
            Doing::Asking.unclear(portolan_domain::verdict::CallProblem::new("unreadable-answer", message))
        };
        // 404 here is a gateway of an older contract, not an absent record.
        let page = page.ok_or_else(|| unreadable("is not served"))?;
        let rows =
            page.get("Customers").and_then(Value::as_array).ok_or_else(|| unreadable("has no Customers"))?;
        let cursor = page.get("Cursor").filter(|cursor| cursor.is_string());
        let cursor = cursor.ok_or_else(|| unreadable("has no Cursor"))?;
        let more = page.get("More").and_then(Value::as_bool).ok_or_else(|| unreadable("has no More"))?;
        let items = rows.iter().map(|row| item(row).ok_or_else(|| unreadable("has a row without CustNo")));
        let items = items.collect::<Result<Vec<_>, _>>()?;
        Ok(json!({"items": items, "cursor": cursor, "more": more}))
    }
}

/// A row as an event: known by its number and its hash.
fn item(row: &Value) -> Option<Value> {
    let mut payload = row.as_object()?.clone();
    let number = payload.get("CustNo")?.as_str()?.trim().to_owned();
    let hash = payload.remove("Hash");
    let noticed = payload.remove("NoticedAtMs").filter(Value::is_u64).unwrap_or(Value::Null);
    // A gateway that gives no hash: the row's own.
    let version = match hash {
        Some(Value::String(hash)) if !hash.is_empty() => hash,
        _ => {
            let text = Value::Object(payload.clone()).to_string();
            Sha256::digest(text).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
        }
    };
    Some(json!({
        "id": number, "kind": "customer.changed", "version": version, "occurred_at_ms": noticed, "payload": payload,
    }))
}

/// The changes that are not made yet.
fn still_to_change(
    customer: &str,
    changes: &Map<String, Value>,
    was: &Map<String, Value>,
    now: &Value,
) -> Result<Map<String, Value>, CallFailure> {
    // Absent, null and blank are one.
    let plain = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().trim().to_owned();
    let mut left = changes.clone();
    left.retain(|name, wanted| plain(now.get(name)) != plain(Some(wanted)));
    let other: Vec<&str> = left
        .keys()
        .filter(|name| !was.contains_key(*name) || plain(now.get(*name)) != plain(was.get(*name)))
        .map(String::as_str)
        .collect();
    if other.is_empty() { Ok(left) } else { Err(changed_meanwhile(customer, &other)) }
}

fn changed_meanwhile(customer: &str, fields: &[&str]) -> CallFailure {
    let what = if fields.is_empty() { "it".to_owned() } else { fields.join(", ") };
    let text = format!("customer {customer}: {what} changed in Sage Pro since it was read");
    CallFailure::permanent("changed-meanwhile", text)
}
