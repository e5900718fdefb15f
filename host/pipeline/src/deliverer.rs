//! Makes the outbound calls: step 4 of an event's life. The claim has stored the attempt's intent before
//! anything is sent; the finish stores the attempt's verdict and all that follows in one transaction.

use std::time::Duration;

use portolan_domain::Timestamp;
use portolan_store::{
    ClaimRequest, Finish, StoreError,
    delivery::{DeliveryClaim, DeliveryEnd},
};
use tokio::sync::watch;

use crate::{
    Nudge, Shared,
    attempt::{Attempted, attempt},
    rooms::Rooms,
    work::{self, Work},
};

/// Deliveries that a connection may be given at once before it was first opened and could say.
const CONCURRENCY_UNKNOWN: usize = 4;

/// The loop that makes deliveries.
#[derive(Debug)]
pub struct Deliverer {
    shared: Shared,
    rooms: Rooms,
}

impl Deliverer {
    /// A deliverer that has not begun.
    #[must_use]
    pub fn new(shared: Shared) -> Self {
        Self { shared, rooms: Rooms::default() }
    }

    /// Works until `stopped` turns true, then waits for what is under way.
    pub async fn work(self, stopped: watch::Receiver<bool>) {
        work::work(self, stopped).await;
    }

    fn log(&self, claim: &DeliveryClaim, attempted: &Attempted, took: Duration) {
        let (verdict, failure) = match &attempted.end {
            DeliveryEnd::Delivered { adopted: false, .. } => ("delivered", None),
            DeliveryEnd::Delivered { adopted: true, .. } => ("adopted", None),
            DeliveryEnd::Retry { failure, .. } => ("retry", Some(failure)),
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
            connection.id = %claim.connection, run.id = %claim.run, event.id = %claim.event,
            tenant.id = %claim.scope.tenant, environment = %claim.scope.environment,
            duration_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            "attempt"
        );
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

    fn slots_max(&self) -> usize {
        self.shared.settings.deliveries_max
    }

    async fn claim(&self, slots: usize) -> Result<Vec<DeliveryClaim>, StoreError> {
        let connections = &self.shared.connections;
        let request = ClaimRequest {
            owner: self.shared.owner.to_string(),
            now: self.shared.steady(),
            lease_ms: self.shared.settings.lease_ms,
            rows_max: slots,
            room: self.rooms.left(|lane| connections.concurrency_max(lane).unwrap_or(CONCURRENCY_UNKNOWN)),
            lane_room: CONCURRENCY_UNKNOWN,
        };
        self.shared.store.delivery_claim(request).await
    }

    async fn next_due(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.shared.store.delivery_next_due(now).await
    }

    async fn carry_out(&self, claim: DeliveryClaim) {
        let _place = self.rooms.enter(claim.connection.as_str());
        let started = self.shared.clock.monotonic();
        let attempted = attempt(&self.shared, &claim).await;
        let took = self.shared.clock.monotonic().saturating_sub(started);
        self.log(&claim, &attempted, took);
        let Attempted { end, sent, .. } = attempted;
        let now = self.shared.steady();
        let finish =
            || self.shared.store.delivery_finish(&claim.id, &claim.lease, sent.clone(), end.clone(), now);
        match work::store_end(finish).await {
            Ok(Finish::Done) => {}
            Ok(Finish::LeaseLost) => {
                tracing::warn!(delivery.id = %claim.id, "another owner has the delivery by now; this result is dropped");
            }
            Err(error) => {
                tracing::error!(delivery.id = %claim.id, error = &error as &dyn std::error::Error, "an attempt's end could not be stored");
            }
        }
    }
}
