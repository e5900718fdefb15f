//! What Stripe is asked. Objects are handed on as Stripe sends them; what Stripe serves in pages is joined.

use portolan_domain::verdict::{CallFailure, CallProblem};
use serde_json::{Value, json};

use super::api::{Api, Query, has_more, id, id_of, is_id, last_id, own_id};
use crate::{
    call::Call,
    parameters::{invalid, object_of, text},
};

/// Reads that are `GET /v1/{path}/{id}` and nothing else.
const BY_ID: &[(&str, &[&str])] = &[
    ("balance-transaction.get", &["v1", "balance_transactions"]),
    ("charge.get", &["v1", "charges"]),
    ("customer.get", &["v1", "customers"]),
    ("dispute.get", &["v1", "disputes"]),
    ("early-fraud-warning.get", &["v1", "radar", "early_fraud_warnings"]),
    ("payment-intent.get", &["v1", "payment_intents"]),
    ("payout.get", &["v1", "payouts"]),
    ("product.get", &["v1", "products"]),
    ("refund.get", &["v1", "refunds"]),
    ("review.get", &["v1", "reviews"]),
];

/// Operation, path, filter, what else is said.
type Filtered = (&'static str, &'static [&'static str], &'static str, &'static Query<'static>);

/// Reads that are a list filtered by one id.
const BY_FILTER: &[Filtered] = &[
    (
        "balance-transactions.by-payout",
        &["v1", "balance_transactions"],
        "payout",
        &[("expand[0]", "data.source")],
    ),
    ("balance-transactions.by-source", &["v1", "balance_transactions"], "source", &[]),
    ("charges.by-payment-intent", &["v1", "charges"], "payment_intent", &[]),
    ("refunds.by-charge", &["v1", "refunds"], "charge", &[]),
    ("subscriptions.by-customer", &["v1", "subscriptions"], "customer", &[("status", "all")]),
];

/// The longest value of metadata, in characters.
const METADATA_VALUE_MAX: usize = 500;
/// The longest key of metadata, in characters.
const METADATA_KEY_MAX: usize = 40;

type Answered = Result<Option<Value>, CallFailure>;

/// Makes one of the reads.
pub(super) async fn read(api: &Api, operation: &str, parameters: &Value, call: &Call<'_>) -> Answered {
    if let Some((_, path)) = BY_ID.iter().find(|(name, _)| *name == operation) {
        let mut path = path.to_vec();
        path.push(id(parameters, "id")?);
        return api.get(&path, &[], call).await;
    }
    if let Some((_, path, filter, more)) = BY_FILTER.iter().find(|(name, ..)| *name == operation) {
        let mut query = vec![(*filter, id(parameters, filter)?)];
        query.extend_from_slice(more);
        return api.list(path, &query, None, call).await;
    }
    match operation {
        "checkout-session.by-payment-intent" => session(api, id(parameters, "payment_intent")?, call).await,
        "credit-note.get" => {
            let note = ["v1", "credit_notes", id(parameters, "id")?];
            with_part(api, &note, ("lines", &[]), call).await
        }
        "customers.by-email" => {
            let email = text(object_of(parameters, &["email"])?, "email")?;
            api.list(&["v1", "customers"], &[("email", email)], None, call).await
        }
        "customers.by-metadata" => {
            let query = metadata_query(parameters)?;
            api.search(&["v1", "customers", "search"], &query, call).await
        }
        "event.get" => event(api, id(parameters, "id")?, call).await,
        "invoice.get" => invoice(api, id(parameters, "id")?, call).await,
        "invoice.by-payment-intent" => invoice_of_intent(api, id(parameters, "payment_intent")?, call).await,
        "object.get" => {
            let path = path_of(text(object_of(parameters, &["url"])?, "url")?)?;
            api.get(&path, &[], call).await
        }
        "subscription.get" => subscription(api, id(parameters, "id")?, call).await,
        "webhook-endpoint.list" => {
            object_of(parameters, &[])?;
            api.list(&["v1", "webhook_endpoints"], &[], None, call).await
        }
        _ => Err(CallFailure::permanent("unknown-operation", format!("{operation} cannot be read"))),
    }
}

async fn session(api: &Api, intent: &str, call: &Call<'_>) -> Answered {
    let query = [("payment_intent", intent), ("limit", "1")];
    let page = api.get(&["v1", "checkout", "sessions"], &query, call).await?;
    // Newest first.
    let Some(mut session) = page.as_ref().and_then(|page| page.pointer("/data/0")).cloned() else {
        return Ok(None);
    };
    let session_id = own_id(&session)?;
    let path = ["v1", "checkout", "sessions", &session_id, "line_items"];
    let lines = api.list(&path, &[], None, call).await?;
    if let (Some(fields), Some(lines)) = (session.as_object_mut(), lines) {
        fields.insert("line_items".to_owned(), lines);
    }
    Ok(Some(session))
}

/// An object with a list inside, of which it brings the first page.
async fn with_part(
    api: &Api,
    path: &[&str; 3],
    (part, query): (&str, &Query<'_>),
    call: &Call<'_>,
) -> Answered {
    let Some(mut object) = api.get(path, query, call).await? else { return Ok(None) };
    let first = object.get_mut(part).map(Value::take).filter(|lines| last_id(lines).is_some());
    let [version, collection, own] = *path;
    let lines = api.list(&[version, collection, own, part], &[], first, call).await?;
    if let (Some(fields), Some(lines)) = (object.as_object_mut(), lines) {
        fields.insert(part.to_owned(), lines);
    }
    Ok(Some(object))
}

async fn invoice(api: &Api, invoice: &str, call: &Call<'_>) -> Answered {
    // Since 2025-03-31.basil this alone says what paid it.
    let payments = [("expand[]", "payments")];
    with_part(api, &["v1", "invoices", invoice], ("lines", &payments), call).await
}

async fn invoice_of_intent(api: &Api, intent: &str, call: &Call<'_>) -> Answered {
    let query = [("payment[type]", "payment_intent"), ("payment[payment_intent]", intent)];
    let payments = api.list(&["v1", "invoice_payments"], &query, None, call).await?.unwrap_or_default();
    let rows = payments.get("data").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let live = rows.iter().filter(|row| row.get("status").and_then(Value::as_str) != Some("canceled"));
    let mut invoices: Vec<&str> = live
        .filter_map(|row| row.get("invoice"))
        .filter_map(|of| of.as_str().or_else(|| id_of(of)))
        .collect();
    invoices.sort_unstable();
    invoices.dedup();
    match invoices.as_slice() {
        [] => Ok(None),
        [one] if is_id(one) => invoice(api, one, call).await,
        _ => Err(CallFailure::Permanent {
            problem: CallProblem::new("several-documents", "the payment pays several invoices")
                .with_detail(json!({"invoices": invoices})),
        }),
    }
}

/// A subscription brings its items along; only a long list of them has further pages, elsewhere.
async fn subscription(api: &Api, subscription: &str, call: &Call<'_>) -> Answered {
    let Some(mut object) = api.get(&["v1", "subscriptions", subscription], &[], call).await? else {
        return Ok(None);
    };
    if object.get("items").is_some_and(has_more) {
        let first = object.get_mut("items").map(Value::take).filter(|items| last_id(items).is_some());
        let query = [("subscription", subscription)];
        let items = api.list(&["v1", "subscription_items"], &query, first, call).await?;
        if let (Some(fields), Some(items)) = (object.as_object_mut(), items) {
            fields.insert("items".to_owned(), items);
        }
    }
    Ok(Some(object))
}

/// Ids do not tell events of v1 and v2 apart: v1 is asked first, and its word of absence leads to v2.
async fn event(api: &Api, event: &str, call: &Call<'_>) -> Answered {
    match api.get(&["v1", "events", event], &[], call).await? {
        Some(found) => Ok(Some(found)),
        None => api.get(&["v2", "core", "events", event], &[], call).await,
    }
}

/// Stripe's search language: texts in quotes, quotes inside them with a backslash.
fn metadata_query(parameters: &Value) -> Result<String, CallFailure> {
    let fields = object_of(parameters, &["key", "value"])?;
    let (key, value) = (text(fields, "key")?, text(fields, "value")?);
    for (name, text, max) in [("/key", key, METADATA_KEY_MAX), ("/value", value, METADATA_VALUE_MAX)] {
        if text.chars().count() > max {
            return Err(invalid(name, &format!("is longer than {max} characters")));
        }
    }
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    Ok(format!("metadata[\"{}\"]:\"{}\"", quoted(key), quoted(value)))
}

/// The segments of a path that Stripe names in a thin event. It may only lead into the API of the base URL.
fn path_of(url: &str) -> Result<Vec<&str>, CallFailure> {
    let wrong = || invalid("/url", "must be a path of the API: /v1/… or /v2/…, without a query");
    let segments: Vec<&str> = url.strip_prefix('/').ok_or_else(wrong)?.split('/').collect();
    let versioned = matches!(segments.as_slice(), ["v1" | "v2", _, ..]);
    if versioned && segments.iter().all(|segment| is_id(segment)) { Ok(segments) } else { Err(wrong()) }
}
