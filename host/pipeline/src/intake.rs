//! From a request's bytes to a stored event: steps 1 and 2 of an event's life.
//!
//! What is not signed is not stored. What is signed is stored whatever it is: a body that cannot be used is
//! kept as a dead event with the reason, because its sender will not send it again once it was answered.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use portolan_domain::{
    AlertId, Environment, EventId, RunId, SourceId, contract::Severity, state::EventState,
};
use portolan_store::{
    StoreError,
    alert::NewAlert,
    event::{Accepted, Event, NewRun},
};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::{
    Shared,
    routes::{LiveMode, Route, RouteError},
    signature::{SignatureProblem, verify_stripe},
    stripe::{EventHead, read_head},
};

/// An alert about a source's signatures is stored at most this often; the metric counts each.
const ALERT_PAUSE: Duration = Duration::from_secs(1);

/// What the sender is told.
#[derive(Debug)]
pub enum Answer {
    /// The event is durable (or was, when it is a repeat).
    Accepted {
        /// Its id; of the first one when it is a repeat.
        event: EventId,
        /// Whether it had been stored before.
        repeat: bool,
    },
    /// No source has this address.
    UnknownSource,
    /// Not signed by anyone who knows the source's secret, or too long ago.
    Refused(SignatureProblem),
    /// It could not be made durable: the sender must try again.
    Unavailable(Box<dyn std::error::Error + Send + Sync>),
}

/// Takes events in.
#[derive(Debug)]
pub struct Intake {
    shared: Shared,
    alerted: Mutex<HashMap<SourceId, Duration>>,
}

impl Intake {
    /// With what the pipeline shares.
    #[must_use]
    pub fn new(shared: Shared) -> Self {
        Self { shared, alerted: Mutex::default() }
    }

    /// Takes one request in. When this returns `Accepted`, the event survives power loss.
    pub async fn accept(&self, source: &SourceId, headers: &HeaderMap, body: Bytes) -> Answer {
        let route = match self.shared.routes.find(source).await {
            Ok(route) => route,
            Err(RouteError::Store(StoreError::NotFound)) => return Answer::UnknownSource,
            Err(error) => return Answer::Unavailable(Box::new(error)),
        };
        if let Err(problem) = self.verify(&route, headers, &body) {
            metrics::counter!("portolan_events_refused_total", "code" => problem.code()).increment(1);
            self.alert(&route, problem).await;
            return Answer::Refused(problem);
        }
        let (event, runs) = self.read(&route, headers, &body);
        let id = event.id.clone();
        let (kind, system, state) = (event.kind.clone(), event.system.clone(), event.state);
        let routed = !runs.is_empty();
        match self.shared.store.event_accept(event, runs).await {
            Ok(Accepted::New) => {
                metrics::counter!("portolan_events_accepted_total", "system" => system, "state" => state.as_str())
                    .increment(1);
                tracing::debug!(event.id = %id, event.kind = kind, tenant.id = %route.source.scope.tenant, "event accepted");
                if routed {
                    self.shared.runs_due.ring();
                }
                Answer::Accepted { event: id, repeat: false }
            }
            Ok(Accepted::Repeat(first)) => {
                metrics::counter!("portolan_events_repeated_total", "system" => system).increment(1);
                Answer::Accepted { event: first, repeat: true }
            }
            Err(error) => Answer::Unavailable(Box::new(error)),
        }
    }

    fn verify(&self, route: &Route, headers: &HeaderMap, body: &[u8]) -> Result<(), SignatureProblem> {
        // Two headers of one name would let a proxy and us look at different ones.
        let mut values = headers.get_all("stripe-signature").iter();
        let header = values.next().and_then(|value| value.to_str().ok());
        if values.next().is_some() {
            return Err(SignatureProblem::Unreadable);
        }
        let now_s = self.shared.clock.now().as_seconds();
        verify_stripe(header, body, &route.secrets, now_s, self.shared.settings.signature_tolerance_s)
    }

    fn read(&self, route: &Route, headers: &HeaderMap, body: &Bytes) -> (Event, Vec<NewRun>) {
        let now = self.shared.clock.now();
        let media_type = headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let mut event = Event {
            id: EventId::generate(now),
            scope: route.source.scope.clone(),
            source: route.source.id.clone(),
            source_name: route.source.name.clone(),
            system: route.source.system.clone(),
            kind: String::new(),
            object_id: None,
            idempotency_key: String::new(),
            occurred_at: now,
            received_at: now,
            media_type: media_type.unwrap_or("application/json").chars().take(100).collect(),
            payload: body.to_vec(),
            state: EventState::Routed,
            reason: None,
        };
        let head = match read_head(body) {
            Ok(head) => head,
            Err(problem) => {
                // It has no id of its own: the same bytes again are the same event.
                event.idempotency_key = format!("sha256:{}", hex::encode(Sha256::digest(body)));
                event.state = EventState::Dead;
                event.reason = Some(problem.to_string());
                return (event, Vec::new());
            }
        };
        if let Some(reason) = misdirected(route, &head) {
            event.state = EventState::Dead;
            event.reason = Some(reason);
        }
        event.occurred_at = head.created.unwrap_or(now);
        event.kind = head.kind;
        event.object_id = head.object_id;
        event.idempotency_key = head.id;
        if event.state == EventState::Dead {
            return (event, Vec::new());
        }
        let runs: Vec<NewRun> = route
            .mappings_for(&event.kind)
            .map(|mapping| NewRun { id: RunId::generate(now), mapping: mapping.id.clone() })
            .collect();
        if runs.is_empty() {
            event.state = EventState::Unrouted;
            event.reason = Some("no enabled mapping of this source serves this kind of event".to_owned());
        }
        (event, runs)
    }

    async fn alert(&self, route: &Route, problem: SignatureProblem) {
        let now = self.shared.clock.monotonic();
        {
            let mut alerted = self.alerted.lock().unwrap_or_else(PoisonError::into_inner);
            match alerted.get(&route.source.id) {
                Some(last) if now.saturating_sub(*last) < ALERT_PAUSE => return,
                _ => alerted.insert(route.source.id.clone(), now),
            };
        }
        let at = self.shared.clock.now();
        let alert = NewAlert {
            id: AlertId::generate(at),
            severity: Severity::Warning,
            code: problem.code().to_owned(),
            title: format!("requests to source {:?} are not signed with its secret", route.source.name),
            detail: json!({ "source": route.source.id, "problem": problem.to_string() }),
            at,
        };
        if let Err(error) = self.shared.store.alert_raise(&route.source.scope, alert).await {
            tracing::error!(error = &error as &dyn std::error::Error, "an alert could not be stored");
        }
    }
}

/// Why an event does not belong to this source, if it does not.
fn misdirected(route: &Route, head: &EventHead) -> Option<String> {
    let production = route.source.scope.environment == Environment::Production;
    if route.settings.livemode == LiveMode::Match && head.livemode != production {
        let mode = if head.livemode { "live-mode" } else { "test-mode" };
        return Some(format!(
            "a {mode} event in the {} environment; set the source's `livemode` to `any` to use it",
            route.source.scope.environment
        ));
    }
    match (&route.settings.account, &head.account) {
        (Some(wanted), got) if got.as_ref() != Some(wanted) => {
            Some(format!("an event of account {got:?}, this source takes {wanted} only"))
        }
        _ => None,
    }
}
