//! What is changed at Stripe. Every write carries `Idempotency-Key: portolan-<call_id>`, the same in every attempt,
//! so that Stripe recognises a repeat (for at least a day) and so that the events that a write causes can be told
//! from those of people.

use http::Method;
use portolan_domain::verdict::{CallFailure, CallProblem};
use serde_json::{Map, Value, json};

use super::api::{Api, Change, id, id_in};
use crate::{
    call::{Call, Doing},
    parameters::{invalid, object, object_of, text},
};

/// Objects that have metadata, and where they are.
const WITH_METADATA: &[(&str, &[&str])] = &[
    ("charge", &["v1", "charges"]),
    ("checkout.session", &["v1", "checkout", "sessions"]),
    ("credit_note", &["v1", "credit_notes"]),
    ("customer", &["v1", "customers"]),
    ("dispute", &["v1", "disputes"]),
    ("invoice", &["v1", "invoices"]),
    ("payment_intent", &["v1", "payment_intents"]),
    ("payout", &["v1", "payouts"]),
    ("refund", &["v1", "refunds"]),
    ("subscription", &["v1", "subscriptions"]),
];

/// Our code for Stripe's `idempotency_error`.
const KEY_WITH_OTHER_BYTES: &str = "idempotency-error";

/// Makes one of the writes.
pub(super) async fn write(
    api: &Api,
    operation: &str,
    body: &Value,
    call: &Call<'_>,
) -> Result<Value, CallFailure> {
    match operation {
        "customer.create" => post(api, &["v1", "customers"], object(body)?, call).await,
        "customer.update" => update(api, "customers", object(body)?, call).await,
        "customer.delete" => delete_customer(api, id(body, "id")?, call).await,
        "metadata.update" => metadata(api, body, call).await,
        "refund.create" => post(api, &["v1", "refunds"], object(body)?, call).await,
        "webhook-endpoint.create" => post(api, &["v1", "webhook_endpoints"], object(body)?, call).await,
        "webhook-endpoint.update" => update(api, "webhook_endpoints", object(body)?, call).await,
        _ => Err(CallFailure::permanent("unknown-operation", format!("{operation} cannot be written"))),
    }
}

async fn post(
    api: &Api,
    path: &[&str],
    fields: &Map<String, Value>,
    call: &Call<'_>,
) -> Result<Value, CallFailure> {
    // The answer to the creation of a webhook_endpoint holds its secret.
    let quoted = !path.contains(&"webhook_endpoints");
    let change = Change { method: Method::POST, path, fields, quoted, key_of_bytes: false };
    api.change(&change, call).await?.ok_or_else(no_answer)
}

/// What is set to values that are given may be set once more. A call whose key Stripe knows with other bytes was made
/// before and planned anew since: so it is after a restore, when less is left to say, or more. Then it is made under a
/// key of these bytes.
async fn set(
    api: &Api,
    path: &[&str],
    fields: &Map<String, Value>,
    call: &Call<'_>,
) -> Result<Value, CallFailure> {
    let quoted = !path.contains(&"webhook_endpoints");
    let mut change = Change { method: Method::POST, path, fields, quoted, key_of_bytes: false };
    match api.change(&change, call).await {
        Err(CallFailure::Permanent { problem }) if problem.code == KEY_WITH_OTHER_BYTES => {
            change.key_of_bytes = true;
            api.change(&change, call).await?.ok_or_else(no_answer)
        }
        made => made?.ok_or_else(no_answer),
    }
}

fn no_answer() -> CallFailure {
    Doing::Changing.unclear(CallProblem::new("unreadable-answer", "the answer is no object of Stripe"))
}

/// `{"id", …parameters}`.
async fn update(
    api: &Api,
    collection: &str,
    fields: &Map<String, Value>,
    call: &Call<'_>,
) -> Result<Value, CallFailure> {
    let own = id_in(fields, "id")?;
    let mut changes = fields.clone();
    changes.remove("id");
    set(api, &["v1", collection, own], &changes, call).await
}

/// Stripe takes no idempotency key for DELETE: that the customer is deleted already is what was wanted. One that
/// never existed is not.
async fn delete_customer(api: &Api, customer: &str, call: &Call<'_>) -> Result<Value, CallFailure> {
    let path = ["v1", "customers", customer];
    let change = Change {
        method: Method::DELETE,
        path: &path,
        fields: &Map::new(),
        quoted: true,
        key_of_bytes: false,
    };
    if let Some(deleted) = api.change(&change, call).await? {
        return Ok(deleted);
    }
    let is_deleted = |customer: &Value| customer.get("deleted") == Some(&Value::Bool(true));
    let known = api.get(&path, &[], call).await?.filter(is_deleted);
    known.ok_or_else(|| CallFailure::permanent("resource-missing", format!("No such customer: '{customer}'")))
}

/// `{"object", "id", "metadata"}`: keys that are named are set, `null` unsets, the others stay.
async fn metadata(api: &Api, body: &Value, call: &Call<'_>) -> Result<Value, CallFailure> {
    let fields = object_of(body, &["object", "id", "metadata"])?;
    let kind = text(fields, "object")?;
    let Some((_, path)) = WITH_METADATA.iter().find(|(name, _)| *name == kind) else {
        let names: Vec<&str> = WITH_METADATA.iter().map(|(name, _)| *name).collect();
        return Err(invalid("/object", &format!("must be one of: {}", names.join(", "))));
    };
    let Some(metadata @ Value::Object(entries)) = fields.get("metadata") else {
        return Err(invalid("/metadata", "must be an object of texts"));
    };
    // Numbers too: an ERP's document numbers are copied here from its answers. They become texts, digit for digit.
    let is_entry = |value: &Value| value.is_string() || value.is_number() || value.is_null();
    if let Some((name, _)) = entries.iter().find(|(_, value)| !is_entry(value)) {
        return Err(invalid(&format!("/metadata/{name}"), "must be a text or a number, or null to unset it"));
    }
    let mut path = path.to_vec();
    path.push(id_in(fields, "id")?);
    let changes = Map::from_iter([("metadata".to_owned(), metadata.clone())]);
    let changed = set(api, &path, &changes, call).await?;
    let field = |name: &str| changed.get(name).cloned().unwrap_or_default();
    Ok(json!({"id": field("id"), "metadata": field("metadata")}))
}
