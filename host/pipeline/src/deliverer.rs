//! Makes the outbound calls: step 4 of an event's life. The claim has stored the attempt's intent before
//! anything is sent; the finish stores the attempt's verdict and all that follows in one transaction.

use std::{collections::BTreeMap, panic::AssertUnwindSafe, time::Duration};

use futures::FutureExt;
use opentelemetry::trace::SpanKind;
use portolan_domain::{AlertId, ConnectionId, Timestamp, contract::Severity};
use portolan_proof::{Point, pass};
use portolan_store::{
    ClaimRequest, Finish, StoreError,
    alert::NewAlert,
    delivery::{DeliveryClaim, DeliveryEnd},
};
use serde_json::json;
use tokio::sync::watch;

use crate::{
    Nudge, Shared,
    attempt::{Attempted, attempt},
    gates::Turned,
    rooms::Rooms,
    traces::{self, Span},
    work::{self, Work},
};

/// Deliveries that a connection may be given at once before it was first opened and could say.
const CONCURRENCY_UNKNOWN: usize = 4;

/// The code of the alert that a connection's system is down.
pub const DOWN: &str = "connection-down";

/// Its title.
#[must_use]
pub fn down_title(connection: &ConnectionId) -> String {
    format!("the system behind {connection} is down or cannot be reached: nothing but probes is sent")
}

/// The loop that makes deliveries.
#[derive(Debug)]
pub struct Deliverer {
    shared: Shared,
    /// What each connection has under way.
    rooms: Rooms,
    /// What each tenant has under way.
    tenants: Rooms,
}

impl Deliverer {
    /// A deliverer that has not begun.
    #[must_use]
    pub fn new(shared: Shared) -> Self {
        Self { shared, rooms: Rooms::default(), tenants: Rooms::default() }
    }

    /// Works until `stopped` turns true, then waits for what is under way.
    pub async fn work(self, stopped: watch::Receiver<bool>) {
        work::work(self, stopped).await;
    }

    /// How many more each connection may take: what its system bears at once, and what its gate lets through.
    fn room(&self, now: Duration) -> BTreeMap<String, usize> {
        let connections = &self.shared.connections;
        let most = |lane: &str| connections.concurrency_max(lane).unwrap_or(CONCURRENCY_UNKNOWN);
        let mut rooms = self.rooms.left(most);
        for (lane, room) in self.shared.gates.room(now) {
            let free = rooms.get(&lane).copied().unwrap_or_else(|| most(&lane));
            rooms.insert(lane, free.min(room));
        }
        rooms
    }

    /// Tells the connection's gate what was heard.
    fn turned(&self, claim: &DeliveryClaim, attempted: &Attempted) -> Turned {
        let (lane, now) = (claim.connection.as_str(), self.shared.clock.monotonic());
        let turned = match attempted.traffic {
            Some(traffic) => {
                let traffic = self.shared.tenants.traffic(&claim.scope.tenant, traffic);
                self.shared.gates.heard(lane, traffic, attempted.heard, now)
            }
            None => self.shared.gates.heard_nothing(lane, now),
        };
        if turned != Turned::No {
            metrics::gauge!("portolan_breakers_open")
                .set(u32::try_from(self.shared.gates.open()).unwrap_or(u32::MAX));
        }
        if turned == Turned::Opened {
            metrics::counter!("portolan_breaker_openings_total", "connector" => attempted.connector)
                .increment(1);
        }
        turned
    }

    /// Tells people that a system is down, or up again.
    async fn tell(&self, claim: &DeliveryClaim, turned: Turned) {
        let at = self.shared.clock.now();
        let (scope, title) = (&claim.scope, down_title(&claim.connection));
        let told = match turned {
            Turned::No => return,
            Turned::Opened => {
                tracing::warn!(connection.id = %claim.connection, "the system is down: nothing but probes is sent");
                let detail = json!({ "connection": claim.connection, "delivery": claim.id });
                let (id, severity, code) = (AlertId::generate(at), Severity::Critical, DOWN.to_owned());
                let alert = NewAlert { id, severity, code, title, detail, at };
                self.shared.store.alert_raise(scope, alert).await
            }
            Turned::Closed => self.shared.store.alert_end(scope, DOWN, &title, at).await,
        };
        if let Err(error) = told {
            tracing::warn!(error = &error as &dyn std::error::Error, "an alert could not be stored");
        }
    }

    /// The attempt's span; its calls belong below it.
    fn begin(&self, claim: &mut DeliveryClaim) -> Span {
        let mut span = self.shared.traces.begin("attempt", SpanKind::Client, claim.traceparent.as_deref());
        span.set("portolan.tenant.id", claim.scope.tenant.to_string());
        span.set("portolan.environment", claim.scope.environment.as_str());
        span.set("portolan.event.id", claim.event.to_string());
        span.set("portolan.run.id", claim.run.to_string());
        span.set("portolan.delivery.id", claim.id.to_string());
        span.set("portolan.attempt.number", i64::from(claim.attempt));
        span.set("portolan.connection.id", claim.connection.to_string());
        span.set_text("portolan.operation", &claim.operation);
        span.set("portolan.attempt.in_doubt", claim.in_doubt);
        claim.traceparent = span.traceparent();
        span
    }

    /// The canonical line of an attempt, its metrics and the end of its span.
    fn log(&self, claim: &DeliveryClaim, attempted: &Attempted, took: Duration, mut span: Span) {
        let (verdict, failure) = match &attempted.end {
            DeliveryEnd::Delivered { adopted: false, .. } => ("delivered", None),
            DeliveryEnd::Delivered { adopted: true, .. } => ("adopted", None),
            DeliveryEnd::Retry { failure, .. } => ("retry", Some(failure)),
            DeliveryEnd::Postponed { failure, .. } => ("postponed", Some(failure)),
            DeliveryEnd::InDoubt { failure, .. } => ("in-doubt", Some(failure)),
            DeliveryEnd::Dead { failure, .. } => ("dead", Some(failure)),
        };
        let problem = failure.map(|failure| failure.problem());
        metrics::counter!("portolan_attempts_total", "connector" => attempted.connector, "verdict" => verdict)
            .increment(1);
        metrics::histogram!("portolan_attempt_seconds", "connector" => attempted.connector).record(took);
        tracing::info!(
            delivery.id = %claim.id, delivery.key = claim.key, attempt.number = claim.attempt, attempt.verdict = verdict,
            attempt.in_doubt = claim.in_doubt, problem.code = problem.map(|p| p.code.as_str()),
            problem.message = problem.map(|p| p.message.as_str()), operation = claim.operation,
            connector = attempted.connector, connection.id = %claim.connection, run.id = %claim.run, event.id = %claim.event,
            trace.id = traces::trace_id(claim.traceparent.as_deref()),
            tenant.id = %claim.scope.tenant, environment = %claim.scope.environment,
            duration_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            "attempt"
        );
        span.set("portolan.connector", attempted.connector);
        span.set("portolan.attempt.verdict", verdict);
        if let Some(problem) = problem {
            span.fail(&problem.code);
        }
    }
}

impl Work for Deliverer {
    type Claim = DeliveryClaim;
    const NAME: &'static str = "the deliverer";

    fn shared(&self) -> &Shared {
        &self.shared
    }

    fn nudge(&self) -> &Nudge {
        &self.shared.deliveries_due
    }

    fn lane(claim: &DeliveryClaim) -> &str {
        claim.scope.tenant.as_str()
    }

    fn slots_max(&self) -> usize {
        self.shared.settings.deliveries_max
    }

    async fn claim(&self, slots: usize) -> Result<Vec<DeliveryClaim>, StoreError> {
        let now = self.shared.clock.monotonic();
        let of_quota = self.shared.tenants.defaults().deliveries_max;
        let of_tenant = self.shared.settings.deliveries_per_tenant_max.min(of_quota as usize);
        let request = ClaimRequest {
            owner: self.shared.owner.to_string(),
            now: self.shared.steady(),
            lease_ms: self.shared.settings.lease_ms,
            rows_max: slots,
            room: self.room(now),
            lane_room: CONCURRENCY_UNKNOWN,
            tenant_room: self.shared.tenants.rooms_of_deliveries(&self.tenants, of_tenant),
            tenant_room_max: of_tenant,
        };
        let claims = self.shared.store.delivery_claim(request).await?;
        for claim in &claims {
            self.shared.gates.claimed(claim.connection.as_str(), claim.attempt > 1, now);
        }
        Ok(claims)
    }

    async fn next_due(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.shared.store.delivery_next_due(now).await
    }

    async fn carry_out(&self, mut claim: DeliveryClaim) {
        pass(Point::IntentCommitted);
        let span = self.begin(&mut claim);
        let _place = self.rooms.enter(claim.connection.as_str());
        let _of_tenant = self.tenants.enter(claim.scope.tenant.as_str());
        let started = self.shared.clock.monotonic();
        let attempted = AssertUnwindSafe(attempt(&self.shared, &claim)).catch_unwind().await;
        let attempted = attempted.unwrap_or_else(|_| Attempted::panicked(&self.shared, &claim));
        let took = self.shared.clock.monotonic().saturating_sub(started);
        self.log(&claim, &attempted, took, span);
        let turned = self.turned(&claim, &attempted);
        let Attempted { end, sent, .. } = attempted;
        let now = self.shared.steady();
        let finish =
            || self.shared.store.delivery_finish(&claim.id, &claim.lease, sent.clone(), end.clone(), now);
        match work::store_end(finish).await {
            Ok(Finish::Done) => pass(Point::ResultCommitted),
            Ok(Finish::LeaseLost) => {
                tracing::warn!(delivery.id = %claim.id, "another owner has the delivery by now; this result is evidence, no more");
            }
            Err(error) => {
                tracing::error!(delivery.id = %claim.id, error = &error as &dyn std::error::Error, "an attempt's end could not be stored");
            }
        }
        self.tell(&claim, turned).await;
        pass(Point::Followed);
    }

    fn over(&self) {
        pass(Point::AttemptOver);
    }
}
