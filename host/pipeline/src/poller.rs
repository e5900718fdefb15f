//! Asks systems that do not tell: sources with a `poll` setting are asked regularly for what changed. Two uses, one
//! way: the scheduled sync of an ERP without webhooks, and the sweep that finds what a webhook should have
//! brought and did not.
//!
//! What is found becomes an event like any other, durable before the cursor moves on. Stripe's events have ids of
//! their own, so a sweep takes in only what is missing. A row of a table has none: it is an event when its
//! version differs from the one that was seen last, and its number among the versions seen makes the id. At a crash
//! between the two, the same row is found again and gets the same id.

use bytes::Bytes;
use portolan_connectors::{CallContext, Found};
use portolan_domain::{AlertId, SourceId, Timestamp, contract::Severity, verdict::CallFailure};
use portolan_store::{
    StoreError,
    alert::NewAlert,
    poll::{PollClaim, PollEnd, Sight},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    Nudge, Shared,
    intake::Intake,
    quotas::Slowed,
    reconcile, refused,
    routes::{PollSettings, Route},
    senders::{EventHead, Sender},
    work::{self, Work},
};

/// Sources asked at once.
const SLOTS_MAX: usize = 8;
/// Items asked for at once.
const ITEMS_MAX: usize = 500;
/// Answers of one source that one look takes in; the next goes on where it ended.
const PAGES_MAX: usize = 100;
/// Failures in a row before somebody is told.
const FAILURES_TOLD: u32 = 3;
/// Kinds of event that Stripe takes in one question.
const TYPES_MAX: usize = 20;

/// The loop that asks.
#[derive(Debug)]
pub struct Poller {
    shared: Shared,
    intake: Intake,
    nudge: Nudge,
}

/// What a read for polls answers.
#[derive(Debug, Deserialize)]
struct PollAnswer {
    items: Vec<Item>,
    cursor: Value,
    #[serde(default)]
    more: bool,
}

/// Something that may have changed.
#[derive(Debug, Deserialize)]
struct Item {
    /// The object's.
    id: String,
    kind: String,
    /// Distinguishes its states.
    version: String,
    occurred_at_ms: Option<u64>,
    payload: Value,
}

/// Why a look ended early.
enum Trouble {
    Call(CallFailure),
    /// Our credentials are refused, which was told when the connection was paused.
    Refused,
    /// The tenant may not use more now, which was told.
    Slowed(Slowed),
    Store(StoreError),
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Trouble {
    fn reason(&self) -> Value {
        match self {
            Self::Call(failure) => json!(failure.problem()),
            Self::Refused => {
                json!({ "code": refused::CODE, "message": "the connection refuses our credentials" })
            }
            Self::Slowed(slowed) => json!({ "code": slowed.code(), "message": slowed.to_string() }),
            Self::Store(error) => json!({ "code": "store-unavailable", "message": error.to_string() }),
        }
    }
}

impl Poller {
    /// A poller that has not begun.
    #[must_use]
    pub fn new(shared: Shared) -> Self {
        Self { intake: Intake::new(shared.clone()), shared, nudge: Nudge::default() }
    }

    /// Works until `stopped` turns true, then waits for what is under way.
    pub async fn work(self, stopped: watch::Receiver<bool>) {
        work::work(self, stopped).await;
    }

    /// Asks from the cursor on, which moves with every answer that is stored. Says whether it came to the end.
    async fn ask(&self, claim: &PollClaim, route: &Route, cursor: &mut Value) -> Result<bool, Trouble> {
        let poll = match &route.settings.poll {
            Some(poll) => poll.clone(),
            // Asked only because its environment reconciles.
            None => match reconcile::sweep_of(&self.shared, route).await? {
                Some(sweep) => sweep,
                None => return Ok(true),
            },
        };
        let scope = &route.source.scope;
        let opened = self.shared.connections.open(scope, &poll.connection).await.map_err(|error| {
            Trouble::Call(CallFailure::retryable("connection-unusable", error.to_string()))
        })?;
        if opened.is_refused {
            return Err(Trouble::Refused);
        }
        for page in 0..PAGES_MAX {
            if let Err(slowed) = self.shared.tenants.admit(scope, 0, 0).await {
                return Err(Trouble::Slowed(slowed));
            }
            let context = CallContext {
                call_id: claim.source.as_str().replace('_', ""),
                attempt: u32::try_from(page).unwrap_or(u32::MAX).saturating_add(1),
                timeout: opened.connection.timeout(),
                now_seconds: self.shared.clock.now().as_seconds(),
                traceparent: None,
            };
            let parameters = parameters(route, &poll, cursor);
            let found = opened.connection.read(&poll.operation, &parameters, &context).await;
            let answer = match found {
                Ok(Found::Yes(answer)) => answer,
                Ok(Found::No) => return Ok(true),
                Err(CallFailure::Unauthorized { problem }) => {
                    refused::pause(&self.shared, (scope, &poll.connection), &opened, &problem).await?;
                    return Err(Trouble::Refused);
                }
                Err(failure) => return Err(Trouble::Call(failure)),
            };
            let answer: PollAnswer = serde_json::from_value(answer).map_err(|error| {
                Trouble::Call(CallFailure::permanent("unreadable-answer", error.to_string()))
            })?;
            for item in answer.items {
                self.take(route, item).await?;
            }
            *cursor = answer.cursor;
            if !answer.more {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn take(&self, route: &Route, item: Item) -> Result<(), Trouble> {
        let payload = Bytes::from(item.payload.to_string());
        if route.sender == Sender::Stripe {
            match route.sender.read(&payload) {
                Ok(heads) => {
                    for head in heads {
                        self.found(route, self.intake.take(route, head).await?.repeat);
                    }
                }
                Err(problem) => {
                    tracing::warn!(source.id = %route.source.id, %problem, "a polled event does not read")
                }
            }
            return Ok(());
        }
        let source = &route.source.id;
        let seen = self.shared.store.poll_sight(source, &item.id).await?;
        if seen.as_ref().is_some_and(|seen| seen.version == item.version) {
            return Ok(());
        }
        let number = seen.map_or(0, |seen| seen.number).saturating_add(1);
        let head = EventHead {
            idempotency_key: format!("poll:{}:{number}", item.id),
            kind: item.kind,
            occurred_at: item.occurred_at_ms.map(Timestamp::from_millis),
            object_id: Some(item.id.clone()),
            livemode: None,
            account: None,
            payload,
        };
        self.found(route, self.intake.take(route, head).await?.repeat);
        let sight = Sight { version: item.version, number };
        Ok(self.shared.store.poll_saw(source, &item.id, sight).await?)
    }

    fn found(&self, route: &Route, repeat: bool) {
        if !repeat {
            let system = route.source.system.clone();
            metrics::counter!("portolan_events_polled_total", "system" => system).increment(1);
        }
    }

    fn end(&self, claim: &PollClaim, cursor: Value, asked: Result<bool, &Trouble>) -> PollEnd {
        let at = self.shared.clock.now();
        let trouble = match asked {
            Ok(to_the_end) => {
                let due_at = (!to_the_end).then_some(at);
                return PollEnd { cursor, due_at, failure: None, alerts: Vec::new() };
            }
            Err(trouble) => trouble,
        };
        let failures = claim.failures.saturating_add(1);
        let policy =
            portolan_domain::retry::RetryPolicy { attempts_max: u32::MAX, ..self.shared.settings.run_retry };
        let pause = policy.delay(failures, rand::random()).unwrap_or_default();
        let reason = trouble.reason();
        let is_told = matches!(trouble, Trouble::Refused | Trouble::Slowed(_));
        let alert = NewAlert {
            id: AlertId::generate(at),
            severity: Severity::Warning,
            code: "poll-failing".to_owned(),
            title: format!("source {} cannot be asked for what changed", claim.source),
            detail: json!({ "source": claim.source, "failures": failures, "problem": reason }),
            at,
        };
        let alerts = (!is_told && failures >= FAILURES_TOLD).then_some(alert).into_iter().collect();
        PollEnd { cursor, due_at: Some(at.plus(pause)), failure: Some(reason), alerts }
    }
}

/// The question, with the kinds that the source's mappings serve where nobody said otherwise.
fn parameters(route: &Route, poll: &PollSettings, cursor: &Value) -> Value {
    let mut parameters = poll.parameters.clone();
    if route.sender == Sender::Stripe && !parameters.contains_key("types") {
        let mut types: Vec<&str> =
            route.mappings.iter().flat_map(|mapping| &mapping.kinds).map(String::as_str).collect();
        types.sort_unstable();
        types.dedup();
        if types.len() <= TYPES_MAX && !types.iter().any(|kind| kind.ends_with('*')) && !types.is_empty() {
            parameters.insert("types".to_owned(), json!(types));
        }
    }
    parameters.insert("cursor".to_owned(), cursor.clone());
    parameters.insert("limit".to_owned(), json!(ITEMS_MAX));
    Value::Object(parameters)
}

async fn route_of(shared: &Shared, source: &SourceId) -> Option<std::sync::Arc<Route>> {
    match shared.routes.find(source).await {
        Ok(route) => Some(route),
        Err(error) => {
            tracing::error!(source.id = %source, error = &error as &dyn std::error::Error, "a polled source cannot be read");
            None
        }
    }
}

impl Work for Poller {
    type Claim = PollClaim;
    const NAME: &'static str = "the poller";

    fn shared(&self) -> &Shared {
        &self.shared
    }

    fn nudge(&self) -> &Nudge {
        &self.nudge
    }

    fn lane(claim: &PollClaim) -> &str {
        claim.source.as_str()
    }

    fn slots_max(&self) -> usize {
        SLOTS_MAX
    }

    async fn claim(&self, slots: usize) -> Result<Vec<PollClaim>, StoreError> {
        let (shared, now) = (&self.shared, self.shared.clock.now());
        if shared.storage.shortage().is_some() {
            return Ok(Vec::new());
        }
        shared.store.poll_claim(&shared.owner, now, shared.settings.lease_ms, slots).await
    }

    async fn next_due(&self, _now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        // What is due now would have the loop look again at once.
        if self.shared.storage.shortage().is_some() {
            return Ok(None);
        }
        self.shared.store.poll_next_due().await
    }

    async fn carry_out(&self, claim: PollClaim) {
        // Without a route there is nobody to tell; the lease ends by itself, and the next look tries again.
        let Some(route) = route_of(&self.shared, &claim.source).await else { return };
        let mut cursor = claim.cursor.clone();
        let asked = self.ask(&claim, &route, &mut cursor).await;
        if let Err(trouble) = &asked {
            tracing::warn!(source.id = %claim.source, reason = %trouble.reason(), "a source could not be asked to the end");
        }
        let end = self.end(&claim, cursor, asked.as_ref().copied());
        let now = self.shared.clock.now();
        let finish = || self.shared.store.poll_finish(&claim, &route.source.scope, end.clone(), now);
        if let Err(error) = work::store_end(finish).await {
            tracing::error!(source.id = %claim.source, error = &error as &dyn std::error::Error, "a poll's end could not be stored");
        }
    }
}
