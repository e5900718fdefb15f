//! Deliveries: duties to make one outbound call, and the attempts made.

use std::collections::BTreeMap;

use async_trait::async_trait;
use portolan_domain::{
    ConnectionId, DeliveryId, EventId, MappingId, RunId, Scope, Timestamp,
    contract::{Binding, Capture, ExistenceCheck, LedgerLine, Reference},
    state::DeliveryState,
    verdict::CallFailure,
};
use serde_json::Value;

use crate::{ClaimRequest, Finish, Lease, Page, StoreError, alert::NewAlert, run::Decision};

/// A stored delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Its id.
    pub id: DeliveryId,
    /// Whose.
    pub scope: Scope,
    /// Of which event.
    pub event: EventId,
    /// Of which run's plan.
    pub run: RunId,
    /// Of which mapping.
    pub mapping: MappingId,
    /// Its place in the plan, from 0.
    pub position: u32,
    /// Unique in the plan.
    pub key: String,
    /// Identity of the call in every attempt.
    pub call_id: String,
    /// Through which connection.
    pub connection: ConnectionId,
    /// A write operation.
    pub operation: String,
    /// What is sent; after the first attempt with the copied values in.
    pub body: Value,
    /// Keys of deliveries that must be delivered first.
    pub after: Vec<String>,
    /// The accounting lines it stands for.
    pub ledger: Vec<LedgerLine>,
    /// The economic fact that it records, if it names one.
    pub once: Option<String>,
    /// Deliveries of one mapping with the same key are made in the order of their events.
    pub ordering_key: String,
    /// Where it stands.
    pub state: DeliveryState,
    /// Whether an earlier attempt may have been carried out.
    pub in_doubt: bool,
    /// How many attempts were begun.
    pub attempts: u32,
    /// When it is due, if it is pending.
    pub due_at: Timestamp,
    /// What the other system answered, once delivered; null before.
    pub response: Value,
    /// Why it stands where it stands: `{"code","message",…}`; null when there is nothing to say.
    pub reason: Value,
    /// When it was stored.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// A stored attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// From 1.
    pub number: u32,
    /// Who made it.
    pub owner: String,
    /// When its intent was stored.
    pub started_at: Timestamp,
    /// When its result was stored; none while it is under way, or when its host died.
    pub finished_at: Option<Timestamp>,
    /// `delivered`, `adopted` (found by the existence check), `retryable`, `ambiguous`, `permanent`,
    /// `unauthorized`, `unbound` (a value to copy was missing), `abandoned` (its lease ended without a result);
    /// none while it is under way.
    pub verdict: Option<String>,
    /// The response or the failure, as JSON.
    pub detail: Value,
}

/// A delivery that its claimer must now finish. Its attempt's intent is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryClaim {
    /// Which.
    pub id: DeliveryId,
    /// Proof of the lease.
    pub lease: Lease,
    /// Whose.
    pub scope: Scope,
    /// Of which event.
    pub event: EventId,
    /// Of which run.
    pub run: RunId,
    /// Unique in the plan.
    pub key: String,
    /// Identity of the call.
    pub call_id: String,
    /// Through which connection.
    pub connection: ConnectionId,
    /// A write operation.
    pub operation: String,
    /// Before values are copied in.
    pub body: Value,
    /// Values to copy into it.
    pub bindings: Vec<Binding>,
    /// How to find out whether it was made already.
    pub unless: Option<ExistenceCheck>,
    /// Ids to remember from the response.
    pub captures: Vec<Capture>,
    /// The responses of the plan's delivered deliveries that bindings name, by key.
    pub responses: BTreeMap<String, Value>,
    /// This attempt's number, from 1.
    pub attempt: u32,
    /// Attempts since it was planned or last redriven: what the retry policy counts.
    pub attempts_since_redrive: u32,
    /// Whether an earlier attempt may have been carried out (S6 included).
    pub in_doubt: bool,
    /// When the latest doubt arose: when an ambiguous attempt was finished, or when an attempt was found abandoned
    /// (then this claim's `now`). A retryable or permanent failure leaves it as it is.
    pub doubt_since: Option<Timestamp>,
    /// When its first attempt began: now, for the first. An idempotency key is as old as that.
    pub begun_at: Timestamp,
    /// The response of another delivery that recorded the same economic fact (S14): to be taken for this one's own,
    /// without a call.
    pub made: Option<Value>,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliveryEnd {
    /// The document is there.
    Delivered {
        /// What the other system answered.
        response: Value,
        /// Whether the existence check found it, so that nothing was sent now.
        adopted: bool,
        /// To be remembered.
        references: Vec<Reference>,
    },
    /// Try again. An ambiguous failure sets `in_doubt`.
    Retry {
        /// When.
        due_at: Timestamp,
        /// How the attempt failed.
        failure: CallFailure,
        /// To be raised.
        alerts: Vec<NewAlert>,
    },
    /// It may or may not have been carried out, and only a person can tell.
    InDoubt {
        /// How the attempt failed.
        failure: CallFailure,
        /// To be raised.
        alerts: Vec<NewAlert>,
    },
    /// Failed for good.
    Dead {
        /// How the attempt failed.
        failure: CallFailure,
        /// To be raised.
        alerts: Vec<NewAlert>,
    },
}

/// Which deliveries to list. All conditions must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// In this state.
    pub state: Option<DeliveryState>,
    /// Through this connection.
    pub connection: Option<ConnectionId>,
}

/// Deliveries.
#[async_trait]
pub trait Deliveries: Send + Sync {
    /// Leases due deliveries and stores the intent of their next attempts (S5, S6, S8, S10). A lane is a
    /// connection; tenants take turns.
    async fn delivery_claim(&self, request: ClaimRequest) -> Result<Vec<DeliveryClaim>, StoreError>;
    /// Stores how an attempt ended with all that follows from it: the attempt's verdict, the state, references,
    /// what becomes free to go, and the run's end when this was its last delivery. `sent` is the body with the
    /// copied values in.
    #[expect(
        clippy::too_many_arguments,
        reason = "a finish is one write: who, with which lease, what came of it, when"
    )]
    async fn delivery_finish(
        &self,
        id: &DeliveryId,
        lease: &Lease,
        sent: Option<Value>,
        end: DeliveryEnd,
        now: Timestamp,
    ) -> Result<Finish, StoreError>;
    /// A person has a dead or doubtful delivery made again. `in_doubt` stays as it is, so that the existence
    /// check is made first. `Conflict` when it is neither.
    async fn delivery_redrive(
        &self,
        scope: &Scope,
        id: &DeliveryId,
        decision: Decision,
    ) -> Result<(), StoreError>;
    /// A person says that a doubtful or dead delivery was carried out, with this response. Its captures are
    /// remembered, and what waits for it goes on.
    async fn delivery_adopt(
        &self,
        scope: &Scope,
        id: &DeliveryId,
        response: Value,
        decision: Decision,
    ) -> Result<(), StoreError>;
    /// A person gives up on a delivery that is neither leased nor final, and on those that come after it. When this
    /// was the last open one, the run ends as `refused` with the reason `deliveries-cancelled`.
    async fn delivery_cancel(
        &self,
        scope: &Scope,
        id: &DeliveryId,
        decision: Decision,
    ) -> Result<(), StoreError>;
    /// One delivery of a scope.
    async fn delivery_get(&self, scope: &Scope, id: &DeliveryId) -> Result<Delivery, StoreError>;
    /// The attempts of a delivery, oldest first.
    async fn delivery_attempts(&self, scope: &Scope, id: &DeliveryId) -> Result<Vec<Attempt>, StoreError>;
    /// The deliveries of a run, in the plan's order.
    async fn delivery_of_run(&self, scope: &Scope, run: &RunId) -> Result<Vec<Delivery>, StoreError>;
    /// The deliveries of a scope, newest first.
    async fn delivery_list(
        &self,
        scope: &Scope,
        filter: DeliveryFilter,
        page: Page,
    ) -> Result<Vec<Delivery>, StoreError>;
    /// When the next delivery that is not due yet becomes due, or a lease ends.
    async fn delivery_next_due(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError>;
}
