//! What the gateway's answers say: documents, refusals.

use portolan_domain::verdict::{CallFailure, CallProblem};
use serde_json::{Value, json};

use crate::{
    call::{Call, Doing, quote, retry_after_ms, status_code},
    outbound::Answer,
};

/// A read's answer; with its `ETag` in it, where it has one, so that a change can name what it was read as.
pub(super) fn tagged(answer: &Answer) -> Option<Value> {
    let mut body: Value = serde_json::from_slice(&answer.body).ok()?;
    let tag = answer.headers.get(http::header::ETAG).and_then(|tag| tag.to_str().ok());
    if let (Some(tag), Some(fields)) = (tag, body.as_object_mut()) {
        fields.insert("ETag".to_owned(), json!(tag));
    }
    Some(body)
}

pub(super) fn has_number(record: &Value, number: &str) -> bool {
    match record.get(number) {
        Some(Value::String(text)) => !text.trim().is_empty(),
        Some(Value::Number(_)) => true,
        _ => false,
    }
}

/// The document of an answer, its number without the padding of FoxPro's fixed widths.
pub(super) fn document(body: &[u8], number: &str) -> Option<Value> {
    trimmed(serde_json::from_slice(body).ok()?, number)
}

fn trimmed(mut document: Value, number: &str) -> Option<Value> {
    if !has_number(&document, number) {
        return None;
    }
    if let Some(Value::String(text)) = document.get_mut(number) {
        *text = text.trim().to_owned();
    }
    Some(document)
}

/// The document that a `duplicate_reference` names: beside the error, inside it, or as its first detail.
pub(super) fn existing_document(answer: &Answer, number: &str) -> Option<Value> {
    let body: Value = serde_json::from_slice(&answer.body).ok()?;
    let places = ["/existing", "/document", "/error/existing", "/error/document", "/error/details/0", ""];
    places.iter().filter_map(|place| body.pointer(place)).find_map(|found| trimmed(found.clone(), number))
}

pub(super) fn error_code(answer: &Answer) -> Option<String> {
    let body: Value = serde_json::from_slice(&answer.body).ok()?;
    body.pointer("/error/code").and_then(Value::as_str).map(str::to_owned)
}

pub(super) fn problem(answer: &Answer) -> CallProblem {
    let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
    let error = body.as_ref().and_then(|body| body.get("error")).filter(|error| error.is_object());
    let Some(error) = error else {
        let message = format!("the gateway answered {}", answer.status);
        return CallProblem::new(status_code(answer.status), message).with_detail(quote(answer));
    };
    let field = |name| error.get(name).and_then(Value::as_str);
    let code = field("code").map_or_else(|| status_code(answer.status).to_owned(), |c| c.replace('_', "-"));
    let message = field("message").unwrap_or("the gateway gave no reason");
    CallProblem::new(&code, message).with_detail(json!({"status": answer.status.as_u16(), "error": error}))
}

pub(super) fn refusal(doing: Doing, answer: &Answer, call: &Call<'_>) -> CallFailure {
    let problem = problem(answer);
    let after_ms = retry_after_ms(answer, call.context().now_seconds);
    // With its own error code the gateway speaks for itself: it did not begin.
    match (answer.status.as_u16(), error_code(answer).as_deref()) {
        (503, Some("database_busy" | "maintenance")) => CallFailure::Retryable { problem, after_ms },
        _ => call.refusal(doing, answer, problem),
    }
}
