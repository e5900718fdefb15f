//! What all connections have in common, said once: [`Guarded`] stands between the host and a [`System`]
//! (one connector's own code). It knows the operations, keeps secrets out of problems and card numbers out of everything, bounds their size,
//! sees to it that no read ends ambiguous, and records each call.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD};
use portolan_domain::{
    Secret,
    card::{mask, mask_json},
    class::WriteClass,
    verdict::{CallFailure, CallProblem},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{CallContext, Connection, Effect, Found, Operation, Traffic, call::Call, outbound::Pool};

/// The longest message of a problem, in bytes.
const MESSAGE_BYTES_MAX: usize = 4096;
/// The largest detail of a problem, in bytes of JSON.
const DETAIL_BYTES_MAX: usize = 64 * 1024;
/// Shorter secrets are not looked for in texts: they would be found everywhere.
const SCRUBBED_BYTES_MIN: usize = 4;
/// In answers only longer ones are looked for: a short password may be a customer's number, and an answer is data.
const SCRUBBED_IN_ANSWERS_BYTES_MIN: usize = 12;

/// One connector's own code behind a configured connection.
#[async_trait]
pub(crate) trait System: Send + Sync + std::fmt::Debug {
    /// As [`Connection::read`]; `operation` is known to be one of the reads.
    async fn read(&self, operation: &str, parameters: &Value, call: &Call<'_>) -> Result<Found, CallFailure>;

    /// As [`Connection::write`]; `operation` is known to be one of the writes.
    async fn write(&self, operation: &str, body: &Value, call: &Call<'_>) -> Result<Value, CallFailure>;

    /// As [`Connection::probe`].
    async fn probe(&self, call: &Call<'_>) -> Result<(), CallFailure>;

    /// The class of a write, where the settings say something else than the connector's table.
    fn class(&self) -> Option<WriteClass> {
        None
    }
}

/// How a connection is used, whatever it connects to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// The longest a call may take.
    pub(crate) timeout: Duration,
    /// How long after an unknown outcome the system may still be working.
    pub(crate) settle: Duration,
    /// Calls at once.
    pub(crate) concurrency_max: usize,
    /// As [`Connection::traffic`].
    pub(crate) traffic: Traffic,
}

/// A [`System`] as a [`Connection`].
#[derive(Debug)]
pub(crate) struct Guarded<S> {
    pub(crate) connector: &'static str,
    pub(crate) operations: &'static [Operation],
    pub(crate) system: S,
    pub(crate) pool: Pool,
    pub(crate) limits: Limits,
    pub(crate) scrub: Scrub,
}

impl<S: System + 'static> Guarded<S> {
    /// Ready to be shared.
    pub(crate) fn shared(self) -> Arc<dyn Connection> {
        Arc::new(self)
    }

    fn effect(&self, operation: &str) -> Option<Effect> {
        self.operations.iter().find(|known| known.name == operation).map(|known| known.effect)
    }

    fn unknown(&self, operation: &str, kind: &str) -> CallFailure {
        let message = format!("the connector {} has no {kind} operation {operation:?}", self.connector);
        CallFailure::permanent("unknown-operation", message)
    }

    fn record<T>(&self, operation: &str, call: &Call<'_>, began: Instant, result: &Result<T, CallFailure>) {
        let outcome = result.as_ref().err().map_or("succeeded", |failure| match failure {
            CallFailure::Retryable { .. } => "retryable",
            CallFailure::Permanent { .. } => "permanent",
            CallFailure::Unauthorized { .. } => "unauthorized",
            CallFailure::Ambiguous { .. } => "ambiguous",
        });
        let duration = began.elapsed();
        tracing::debug!(
            connector.name = self.connector,
            operation.name = operation,
            call.id = call.context().call_id,
            attempt.number = call.context().attempt,
            call.outcome = outcome,
            http.status = call.last_status(),
            duration_ms = duration.as_millis(),
            problem.code = result.as_ref().err().map(|failure| failure.problem().code.as_str()),
            "called"
        );
        let labels = [("connector", self.connector), ("outcome", outcome)];
        metrics::histogram!("portolan_connector_call_seconds", &labels).record(duration.as_secs_f64());
    }
}

#[async_trait]
impl<S: System + 'static> Connection for Guarded<S> {
    async fn read(
        &self,
        operation: &str,
        parameters: &Value,
        context: &CallContext,
    ) -> Result<Found, CallFailure> {
        if self.effect(operation) != Some(Effect::Read) {
            return Err(self.unknown(operation, "read"));
        }
        let (call, began) = (Call::begin(&self.pool, context), Instant::now());
        let result = self.system.read(operation, parameters, &call).await;
        let result = result.map(found_without_cards);
        let result = result.map_err(|failure| self.scrub.failure(unambiguous(failure)));
        self.record(operation, &call, began, &result);
        result.map(|found| match found {
            Found::Yes(answer) => Found::Yes(self.scrub.answer(answer)),
            Found::No => Found::No,
        })
    }

    async fn write(
        &self,
        operation: &str,
        body: &Value,
        context: &CallContext,
    ) -> Result<Value, CallFailure> {
        if !matches!(self.effect(operation), Some(Effect::Write(_) | Effect::Setup)) {
            return Err(self.unknown(operation, "write"));
        }
        let (call, began) = (Call::begin(&self.pool, context), Instant::now());
        let result = self.system.write(operation, body, &call).await.map(without_cards);
        let result = result.map_err(|failure| self.scrub.failure(failure));
        self.record(operation, &call, began, &result);
        result.map(|response| self.scrub.answer(response))
    }

    async fn probe(&self, context: &CallContext) -> Result<(), CallFailure> {
        let (call, began) = (Call::begin(&self.pool, context), Instant::now());
        let result = self.system.probe(&call).await;
        let result = result.map_err(|failure| self.scrub.failure(unambiguous(failure)));
        self.record("probe", &call, began, &result);
        result
    }

    fn timeout(&self) -> Duration {
        self.limits.timeout
    }

    fn settle(&self) -> Duration {
        self.limits.settle
    }

    fn concurrency_max(&self) -> usize {
        self.limits.concurrency_max
    }

    fn class(&self, operation: &str) -> WriteClass {
        let table = match self.effect(operation) {
            Some(Effect::Write(class)) => class,
            // Nothing is known of it: the strictest.
            Some(Effect::Read | Effect::Setup) | None => return WriteClass::Blind,
        };
        match self.system.class().unwrap_or(table) {
            WriteClass::AskedByKey { .. } => WriteClass::AskedByKey { settle: self.limits.settle },
            class @ (WriteClass::NativeKey { .. }
            | WriteClass::TransferId { .. }
            | WriteClass::Repeatable
            | WriteClass::Blind) => class,
        }
    }

    fn traffic(&self) -> Traffic {
        self.limits.traffic
    }
}

/// What a system says goes to modules and into the store: no card number goes with it.
fn without_cards(mut said: Value) -> Value {
    mask_json(&mut said);
    said
}

fn found_without_cards(found: Found) -> Found {
    match found {
        Found::Yes(said) => Found::Yes(without_cards(said)),
        Found::No => Found::No,
    }
}

/// A read may simply be made again.
fn unambiguous(failure: CallFailure) -> CallFailure {
    match failure {
        CallFailure::Ambiguous { problem } => CallFailure::Retryable { problem, after_ms: None },
        CallFailure::Retryable { .. } | CallFailure::Permanent { .. } | CallFailure::Unauthorized { .. } => {
            failure
        }
    }
}

/// Takes a connection's secrets out of what other systems say.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scrub(Vec<Secret>);

impl Scrub {
    /// For these secrets, and the form they take in a Basic authorization.
    pub(crate) fn new<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
        let mut scrub = Self::default();
        secrets.into_iter().for_each(|secret| scrub.add(secret.clone()));
        scrub
    }

    /// Also for user and password together as Basic authorization writes them.
    pub(crate) fn with_basic(mut self, user: &Secret, password: &Secret) -> Self {
        self.add(Secret::new(STANDARD.encode(format!("{}:{}", user.expose(), password.expose()))));
        self
    }

    /// Also for this one.
    pub(crate) fn add(&mut self, secret: Secret) {
        if secret.expose().len() >= SCRUBBED_BYTES_MIN {
            self.0.push(secret);
            // Longest first: a secret that contains another is replaced whole.
            self.0.sort_by_key(|secret| std::cmp::Reverse(secret.expose().len()));
        }
    }

    /// The failure without secrets, and within the size limits of problems.
    fn failure(&self, mut failure: CallFailure) -> CallFailure {
        let (CallFailure::Retryable { problem, .. }
        | CallFailure::Permanent { problem }
        | CallFailure::Unauthorized { problem }
        | CallFailure::Ambiguous { problem }) = &mut failure;
        self.problem(problem);
        failure
    }

    /// An answer without secrets that we sent: a system that quotes its requests must not bring them into a run.
    fn answer(&self, mut answer: Value) -> Value {
        let long = self.0.iter().filter(|secret| secret.expose().len() >= SCRUBBED_IN_ANSWERS_BYTES_MIN);
        let long = Self(long.cloned().collect());
        if !long.0.is_empty() {
            long.value(&mut answer);
        }
        answer
    }

    fn problem(&self, problem: &mut CallProblem) {
        problem.message = cut(&mask(&self.text(&problem.message)), MESSAGE_BYTES_MAX);
        let mut detail = std::mem::take(&mut problem.detail);
        self.value(&mut detail);
        mask_json(&mut detail);
        let text = detail.to_string();
        if text.len() > DETAIL_BYTES_MAX {
            detail = json!({"cut": cut(&text, MESSAGE_BYTES_MAX)});
        }
        problem.detail = detail;
    }

    fn text(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| {
            if text.contains(secret.expose()) { text.replace(secret.expose(), "***") } else { text }
        })
    }

    fn value(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.text(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.value(item)),
            Value::Object(fields) => fields.values_mut().for_each(|field| self.value(field)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

fn cut(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let end = (0..=bytes_max.saturating_sub('…'.len_utf8())).rev().find(|end| text.is_char_boundary(*end));
    format!("{}…", text.get(..end.unwrap_or(0)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_leave_in_problems() {
        let (user, password) = (Secret::new("STRIPE_IF"), Secret::new("geheim\"1"));
        let scrub = Scrub::new([&user, &password]).with_basic(&user, &password);
        let basic = STANDARD.encode("STRIPE_IF:geheim\"1");
        let failure = CallFailure::Permanent {
            problem: CallProblem::new("x", format!("Basic {basic} of STRIPE_IF"))
                .with_detail(json!({"rows": [{"text": "pass geheim\"1!"}], "n": 1})),
        };
        let failure = scrub.failure(failure);
        assert_eq!(failure.problem().message, "Basic *** of ***");
        assert_eq!(failure.problem().detail, json!({"rows": [{"text": "pass ***!"}], "n": 1}));
        assert!(!format!("{scrub:?}").contains("geheim"));
    }

    #[test]
    fn secrets_do_not_come_back_in_answers() {
        let scrub = Scrub::new([&Secret::new("100042"), &Secret::new("sk_test_0123456789")]);
        let answer = scrub.answer(json!({"headers": ["Bearer sk_test_0123456789"], "customer": "100042"}));
        assert_eq!(answer, json!({"headers": ["Bearer ***"], "customer": "100042"}));
    }

    #[test]
    fn problems_are_cut_to_their_limits() {
        let failure = CallFailure::Permanent {
            problem: CallProblem::new("x", "ä".repeat(5000)).with_detail(json!("y".repeat(100_000))),
        };
        let failure = Scrub::default().failure(failure);
        assert!(failure.problem().message.len() <= MESSAGE_BYTES_MAX);
        assert!(failure.problem().message.ends_with('…'));
        assert!(failure.problem().detail.to_string().len() <= DETAIL_BYTES_MAX);
    }

    #[test]
    fn a_read_is_never_ambiguous() {
        assert_eq!(unambiguous(CallFailure::ambiguous("x", "y")), CallFailure::retryable("x", "y"));
    }
}
