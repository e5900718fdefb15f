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
use futures::future::join_all;
use http::HeaderMap;
use opentelemetry::trace::SpanKind;
use portolan_domain::{
    AlertId, Environment, EventId, RunId, Secret, SourceId,
    card::{Form, mask_bytes},
    contract::Severity,
    state::EventState,
};
use portolan_proof::{Bug, Point, has, pass};
use portolan_store::{
    StoreError,
    alert::NewAlert,
    event::{Accepted, Event, NewRun},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    Shared,
    quotas::Slowed,
    routes::{LiveMode, Route, RouteError},
    senders::{EventHead, Proof, Sender, signature::SignatureProblem, told, verify_in_vain},
    traces::{self, Span},
    turns::Turns,
};

/// An alert of one kind about a source is stored at most this often; the metric counts each.
const ALERT_PAUSE: Duration = Duration::from_secs(1);

/// What the sender is told.
#[derive(Debug)]
pub enum Answer {
    /// Every event of the request is durable (or was, when it is a repeat).
    Accepted(Vec<Taken>),
    /// Not signed by anyone who knows the source's secret, or too long ago; or there is no such source. This is what the
    /// sender may be told of it.
    Refused(SignatureProblem),
    /// Too many requests of the tenant are there already: the sender must try again.
    Busy,
    /// The tenant may not use more now, or is not served: the sender must try again. Nothing is lost.
    Later(Slowed),
    /// It could not be made durable: the sender must try again.
    Unavailable(Box<dyn std::error::Error + Send + Sync>),
}

/// An event that was taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Its id; of the first one when it is a repeat.
    pub event: EventId,
    /// Whether it had been stored before.
    pub repeat: bool,
}

/// Takes events in.
#[derive(Debug)]
pub struct Intake {
    shared: Shared,
    turns: Turns,
    alerted: Mutex<HashMap<(SourceId, &'static str), Duration>>,
}

impl Intake {
    /// With what the pipeline shares.
    #[must_use]
    pub fn new(shared: Shared) -> Self {
        let settings = &shared.settings;
        let turns = Turns::new(settings.events_per_tenant_max, settings.hooks_per_tenant_max);
        Self { shared, turns, alerted: Mutex::default() }
    }

    /// Takes one request in. When this returns `Accepted`, its events survive power loss.
    ///
    /// The signature is that of the bytes as they came. Everything after it sees only what may be stored: card numbers
    /// are masked before anything else is read, so that no key, kind, id or reason holds one either.
    pub async fn accept(&self, source: &str, headers: &HeaderMap, body: &Bytes) -> Answer {
        let found = match source.parse::<SourceId>() {
            Ok(source) => self.shared.routes.find(&source).await,
            Err(_) => Err(RouteError::Store(StoreError::NotFound)),
        };
        let route = match found {
            Ok(route) => route,
            Err(RouteError::Store(StoreError::NotFound)) => return self.refuse_unknown(headers, body),
            Err(error) => return Answer::Unavailable(Box::new(error)),
        };
        if let Err(problem) = self.verify(&route, headers, body) {
            metrics::counter!("portolan_events_refused_total", "code" => problem.code()).increment(1);
            self.alert(&route, problem).await;
            return Answer::Refused(told(headers, problem));
        }
        pass(Point::SignatureChecked);
        // Not before: a stranger could use up somebody's turns.
        let Some(admitted) = self.turns.admit(&route.source.scope.tenant) else {
            metrics::counter!("portolan_events_refused_total", "code" => "too-many-events").increment(1);
            return Answer::Busy;
        };
        let media_type = headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let (body, masked) = without_cards(route.sender, body);
        let mut events = self.read(&route, media_type, &body);
        // Believed now: a stranger could make any trace longer.
        let trace = traces::of_request(headers);
        if let Err(slowed) = self.shared.tenants.admit(&route.source.scope, events.len(), body.len()).await {
            metrics::counter!("portolan_events_refused_total", "code" => slowed.code()).increment(1);
            return Answer::Later(slowed);
        }
        for (event, _) in &mut events {
            event.cards_masked = masked;
            event.traceparent = trace.map(str::to_owned);
        }
        if masked > 0 {
            self.alert_cards(&route, masked).await;
        }
        let stored = join_all(events.into_iter().map(async |(event, runs)| {
            let _turn = admitted.turn().await;
            self.store(&route, event, runs).await
        }));
        match stored.await.into_iter().collect::<Result<Vec<_>, _>>() {
            Ok(taken) => Answer::Accepted(taken),
            Err(error) => Answer::Unavailable(Box::new(error)),
        }
    }

    /// As for a source that does not believe the request: see [`told`].
    fn refuse_unknown(&self, headers: &HeaderMap, body: &[u8]) -> Answer {
        verify_in_vain(headers, body, self.shared.clock.now().as_seconds());
        metrics::counter!("portolan_events_refused_total", "code" => "unknown-source").increment(1);
        Answer::Refused(told(headers, SignatureProblem::Mismatch))
    }

    /// Takes in an event that was asked for rather than sent.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn take(&self, route: &Route, head: EventHead) -> Result<Taken, StoreError> {
        let (event, runs) = self.event(route, head, None);
        self.shared.tenants.took(&route.source.scope.tenant, event.payload.len());
        self.store(route, event, runs).await
    }

    async fn store(&self, route: &Route, mut event: Event, runs: Vec<NewRun>) -> Result<Taken, StoreError> {
        let span = self.begin(&mut event);
        let stored = self.store_traced(route, event, runs).await;
        told_of(span, &stored);
        stored
    }

    /// Begins the event's trace, or goes on with the sender's: what is done for the event belongs below this.
    fn begin(&self, event: &mut Event) -> Span {
        let given = event.traceparent.as_deref();
        let mut span = self.shared.traces.begin("intake", SpanKind::Server, given);
        span.set("portolan.tenant.id", event.scope.tenant.to_string());
        span.set("portolan.environment", event.scope.environment.as_str());
        span.set("portolan.source.id", event.source.to_string());
        span.set("portolan.event.id", event.id.to_string());
        span.set("portolan.event.state", event.state.as_str());
        span.set_text("portolan.event.kind", &event.kind);
        event.traceparent = span.traceparent();
        span
    }

    async fn store_traced(
        &self,
        route: &Route,
        event: Event,
        runs: Vec<NewRun>,
    ) -> Result<Taken, StoreError> {
        let id = event.id.clone();
        let (kind, system, state) = (event.kind.clone(), event.system.clone(), event.state);
        let (traceparent, object, bytes) =
            (event.traceparent.clone(), event.object_id.clone(), event.payload.len());
        let reason = event.reason.clone();
        let (routed, run_count) = (!runs.is_empty(), runs.len());
        if has(Bug::AnswerBeforeCommit) {
            let (store, runs_due) = (self.shared.store.clone(), self.shared.runs_due.clone());
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(200)).await;
                store.event_accept(event, runs).await.map(|_| runs_due.ring())
            });
            return Ok(Taken { event: id, repeat: false });
        }
        let accepted = self.shared.store.event_accept(event, runs).await?;
        pass(Point::EventCommitted);
        match accepted {
            Accepted::New => {
                metrics::counter!("portolan_events_accepted_total", "system" => system, "state" => state.as_str())
                    .increment(1);
                let scope = &route.source.scope;
                tracing::info!(
                    event.id = %id, event.kind = kind, event.state = %state, event.bytes = bytes, event.runs = run_count,
                    object.id = object, source.id = %route.source.id, tenant.id = %scope.tenant,
                    environment = %scope.environment, trace.id = traces::trace_id(traceparent.as_deref()),
                    "event"
                );
                if state == EventState::Dead {
                    self.alert_dead(route, &id, reason).await;
                }
                if routed {
                    self.shared.runs_due.ring();
                }
                Ok(Taken { event: id, repeat: false })
            }
            Accepted::Repeat(first) => {
                metrics::counter!("portolan_events_repeated_total", "system" => system).increment(1);
                Ok(Taken { event: first, repeat: true })
            }
        }
    }

    fn verify(&self, route: &Route, headers: &HeaderMap, body: &[u8]) -> Result<(), SignatureProblem> {
        let settings = &self.shared.settings;
        let now_s = self.shared.clock.now().as_seconds();
        let active = route.secrets.iter().filter(|secret| secret.is_active(now_s));
        let secrets: Vec<&Secret> = active.map(|active| &active.secret).collect();
        let proof = Proof {
            auth: route.settings.auth_of(route.sender),
            secrets: &secrets,
            certificates: &route.settings.certificates,
            certificate_header: settings.client_certificate_header.as_ref(),
            now_s,
            tolerance_s: settings.signature_tolerance_s,
        };
        route.sender.verify(&proof, headers, body)
    }

    /// The events of a request: those that it holds, or one dead event that says why it holds none.
    fn read(&self, route: &Route, media_type: Option<&str>, body: &Bytes) -> Vec<(Event, Vec<NewRun>)> {
        match route.sender.read(body) {
            Ok(heads) => heads.into_iter().map(|head| self.event(route, head, media_type)).collect(),
            Err(problem) => {
                let head = EventHead {
                    // It has no id of its own: the same bytes again are the same event.
                    idempotency_key: format!("sha256:{}", hex::encode(Sha256::digest(body))),
                    kind: String::new(),
                    occurred_at: None,
                    object_id: None,
                    livemode: None,
                    account: None,
                    payload: body.clone(),
                };
                let event = self.blank(route, head, media_type);
                vec![(
                    Event { state: EventState::Dead, reason: Some(problem.to_string()), ..event },
                    Vec::new(),
                )]
            }
        }
    }

    fn blank(&self, route: &Route, head: EventHead, media_type: Option<&str>) -> Event {
        let now = self.shared.clock.now();
        Event {
            id: EventId::generate(now),
            scope: route.source.scope.clone(),
            source: route.source.id.clone(),
            source_name: route.source.name.clone(),
            system: route.source.system.clone(),
            kind: head.kind,
            object_id: head.object_id,
            idempotency_key: head.idempotency_key,
            occurred_at: head.occurred_at.unwrap_or(now),
            received_at: now,
            media_type: media_type.unwrap_or(route.sender.media_type()).chars().take(100).collect(),
            payload: head.payload.into(),
            state: EventState::Routed,
            reason: None,
            cards_masked: 0,
            traceparent: None,
        }
    }

    fn event(&self, route: &Route, head: EventHead, media_type: Option<&str>) -> (Event, Vec<NewRun>) {
        let misdirected = misdirected(route, &head);
        let mut event = self.blank(route, head, media_type);
        if misdirected.is_some() {
            event.state = EventState::Dead;
            event.reason = misdirected;
            return (event, Vec::new());
        }
        let runs: Vec<NewRun> = route
            .mappings_for(&event.kind)
            .map(|mapping| NewRun { id: RunId::generate(event.received_at), mapping: mapping.id.clone() })
            .collect();
        if runs.is_empty() {
            event.state = EventState::Unrouted;
            event.reason = Some("no enabled mapping of this source serves this kind of event".to_owned());
        }
        (event, runs)
    }

    async fn alert(&self, route: &Route, problem: SignatureProblem) {
        let title = format!("requests to source {:?} do not prove who sends them", route.source.name);
        self.raise(route, problem.code(), title, json!({ "problem": problem.to_string() })).await;
    }

    /// A dead event was answered and will not come again: somebody must look.
    async fn alert_dead(&self, route: &Route, event: &EventId, reason: Option<String>) {
        let title = format!("source {:?} sends what cannot be used", route.source.name);
        self.raise(route, "event-dead", title, json!({ "event": event, "reason": reason })).await;
    }

    async fn alert_cards(&self, route: &Route, masked: u32) {
        let title = format!("source {:?} sends card numbers, which are masked", route.source.name);
        let remedy = "have the sender leave them out: Portolan has no use for them, and they put it in scope of PCI DSS";
        self.raise(route, "card-numbers-masked", title, json!({ "masked": masked, "remedy": remedy })).await;
    }

    async fn raise(&self, route: &Route, code: &'static str, title: String, mut detail: Value) {
        let now = self.shared.clock.monotonic();
        {
            let mut alerted = self.alerted.lock().unwrap_or_else(PoisonError::into_inner);
            let key = (route.source.id.clone(), code);
            match alerted.get(&key) {
                Some(last) if now.saturating_sub(*last) < ALERT_PAUSE => return,
                _ => alerted.insert(key, now),
            };
        }
        let at = self.shared.clock.now();
        if let Some(detail) = detail.as_object_mut() {
            detail.insert("source".to_owned(), json!(route.source.id));
        }
        let (id, code) = (AlertId::generate(at), code.to_owned());
        let alert = NewAlert { id, severity: Severity::Warning, code, title, detail, at };
        if let Err(error) = self.shared.store.alert_raise(&route.source.scope, alert).await {
            tracing::error!(error = &error as &dyn std::error::Error, "an alert could not be stored");
        }
    }
}

/// How taking an event in ended.
fn told_of(mut span: Span, stored: &Result<Taken, StoreError>) {
    match stored {
        Ok(taken) => {
            span.set("portolan.event.repeat", taken.repeat);
            if taken.repeat {
                span.set("portolan.event.first_id", taken.event.to_string());
            }
        }
        Err(_) => span.fail("store-unavailable"),
    }
}

/// The body with its card numbers masked, and how many there were.
fn without_cards(sender: Sender, body: &Bytes) -> (Bytes, u32) {
    let form = if sender == Sender::SapEcc { Form::Text } else { Form::Json };
    match mask_bytes(body, form) {
        None => (body.clone(), 0),
        Some((masked, count)) => (masked.into(), u32::try_from(count).unwrap_or(u32::MAX)),
    }
}

/// Why an event does not belong to this source, if it does not.
fn misdirected(route: &Route, head: &EventHead) -> Option<String> {
    let production = route.source.scope.environment == Environment::Production;
    if let Some(livemode) = head.livemode.filter(|live| *live != production)
        && route.settings.livemode == LiveMode::Match
    {
        let mode = if livemode { "live-mode" } else { "test-mode" };
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
