//! What an answer other than success means. Sources: Stripe's API reference ("Errors", "Idempotent requests",
//! "Rate limits") and the order in which Stripe's own SDKs decide whether to repeat.
//!
//! `Stripe-Should-Retry` goes before the status, with two exceptions: no advice makes a refused key worth repeating,
//! and none makes the outcome of a write known that a server error left open. Such a write is ambiguous, and the
//! same key may be sent again; where Stripe advises against that it gives the same answer again, until a person is asked.

use http::StatusCode;
use portolan_domain::verdict::{CallFailure, CallProblem};
use serde_json::{Map, Value, json};

use crate::{
    call::{Call, Doing, quote, retry_after_ms, status_code},
    outbound::Answer,
};

/// How long to wait after being told that requests come too fast, when Stripe does not say it.
const RATE_LIMITED_MS: u64 = 10_000;
/// How long to wait for another request to let go of the object.
const LOCKED_MS: u64 = 5_000;
/// How long to wait for the first request with the same key.
const KEY_IN_USE_MS: u64 = 5_000;

/// A refusal, read once.
pub(super) struct Refused {
    /// Stripe's `error.code`.
    pub(super) code: Option<String>,
    problem: CallProblem,
    kind: Option<String>,
}

impl Refused {
    /// Reads it. `quoted`: whether an answer that is not Stripe's may be quoted in the problem.
    pub(super) fn read(answer: &Answer, quoted: bool) -> Self {
        let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
        let error = body.as_ref().and_then(|body| body.get("error")).and_then(Value::as_object);
        let text = |name: &str| error?.get(name).and_then(Value::as_str).map(str::to_owned);
        Self { code: text("code"), kind: text("type"), problem: problem(answer, error, quoted) }
    }

    /// Whether Stripe itself says that the object does not exist (v1 and v2 say it differently).
    pub(super) fn is_missing(&self, status: StatusCode) -> bool {
        match self.code.as_deref() {
            Some("resource_missing") => matches!(status.as_u16(), 400 | 404),
            Some("not_found") => status == StatusCode::NOT_FOUND,
            _ => false,
        }
    }

    /// The verdict.
    pub(super) fn failure(self, doing: Doing, answer: &Answer, call: &Call<'_>) -> CallFailure {
        let (advice, status) = (answer.header("stripe-should-retry"), answer.status.as_u16());
        let problem = self.problem;
        if matches!(status, 401 | 403) {
            return CallFailure::Unauthorized { problem };
        }
        let told_ms = retry_after_ms(answer, call.context().now_seconds);
        let is_theirs = self.kind.is_some() || self.code.is_some();
        let pause_ms = match (status, self.code.as_deref()) {
            (_, Some("lock_timeout")) => Some(LOCKED_MS),
            (_, Some("idempotency_key_in_use")) => Some(KEY_IN_USE_MS),
            (429, _) if is_theirs => Some(RATE_LIMITED_MS),
            _ => None,
        };
        let after_ms = told_ms.or(pause_ms);
        let again = |problem| CallFailure::Retryable { problem, after_ms };
        match (advice, status) {
            // A server that says when to come back has not begun; any other server error leaves a write open.
            (_, 500..) if doing == Doing::Changing && !(status == 503 && told_ms.is_some()) => {
                CallFailure::Ambiguous { problem }
            }
            (Some("true"), _) => again(problem),
            (Some("false"), _) => CallFailure::Permanent { problem },
            (None, 409 | 429 | 500..) => again(problem),
            (_, 400..=499) if self.code.as_deref() == Some("lock_timeout") => again(problem),
            _ => call.refusal(doing, answer, problem),
        }
    }
}

fn problem(answer: &Answer, error: Option<&Map<String, Value>>, quoted: bool) -> CallProblem {
    let status = answer.status;
    let mut detail = Map::from_iter([("status".to_owned(), json!(status.as_u16()))]);
    let headers = [
        ("request-id", "request_id"),
        ("stripe-rate-limited-reason", "rate_limited_reason"),
        ("stripe-should-retry", "should_retry"),
        ("idempotent-replayed", "idempotent_replayed"),
    ];
    for (header, name) in headers {
        detail.extend(answer.header(header).map(|value| (name.to_owned(), json!(value))));
    }
    let Some(error) = error else {
        if let (true, Value::Object(body)) = (quoted, quote(answer)) {
            detail.extend(body);
        }
        return CallProblem::new(status_code(status), format!("Stripe answered {status}"))
            .with_detail(Value::Object(detail));
    };
    let names = ["type", "code", "decline_code", "network_decline_code", "advice_code", "param", "message"];
    for name in names.into_iter().chain(["charge", "doc_url"]) {
        detail.extend(error.get(name).map(|value| (name.to_owned(), value.clone())));
    }
    let text = |name: &str| error.get(name).and_then(Value::as_str);
    let code = match (text("code"), text("type")) {
        (Some(code), _) => code.replace('_', "-"),
        (None, Some("idempotency_error")) => "idempotency-error".to_owned(),
        (None, Some("card_error")) => "card-error".to_owned(),
        (None, _) => status_code(status).to_owned(),
    };
    let message = text("message").unwrap_or("Stripe gave no reason");
    CallProblem::new(&code, message).with_detail(Value::Object(detail))
}
