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

use crate::{
    ClaimRequest, Finish, Lease, Page, StoreError,
    alert::NewAlert,
    run::{Decided, Decision},
};

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
    /// As its module planned it, where a person corrected it.
    pub planned_body: Option<Value>,
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
    /// What the other system answered to an attempt whose lease was lost by then; null when nothing came.
    pub late_response: Value,
    /// Why it stands where it stands: `{"code","message",…}`; null when there is nothing to say.
    pub reason: Value,
    /// Who looks after it: a key's id or a person's name.
    pub assignee: Option<String>,
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
    /// SHA-256 of the body's bytes as they were sent, in hex; none when nothing was.
    pub sent_sha256: Option<String>,
    /// What its owner reported after the lease was lost: `{"verdict","detail"}`; null when nothing.
    pub late: Value,
}

/// What an attempt sent, or was about to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// With the copied values in.
    pub body: Value,
    /// SHA-256 of its bytes, in hex.
    pub sha256: String,
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
    /// The trace that its event belongs to: see [`Event`](crate::event::Event).
    pub traceparent: Option<String>,
    /// Through which connection.
    pub connection: ConnectionId,
    /// A write operation.
    pub operation: String,
    /// Before values are copied in; a person's correction where there is one.
    pub body: Value,
    /// Whether it is a person's correction.
    pub is_corrected: bool,
    /// SHA-256 of what the latest attempt sent, in hex.
    pub sent_sha256: Option<String>,
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
    /// When the system was asked since the doubt arose, and did not have the document.
    pub absent_at: Option<Timestamp>,
    /// When the lease ends.
    pub until: Timestamp,
    /// When its first attempt began: now, for the first. An idempotency key is as old as that.
    pub begun_at: Timestamp,
    /// The response of another delivery that recorded the same economic fact (S14), or of an attempt in doubt that came
    /// too late: to be taken for this one's own, without a call.
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
    /// Nothing was tried that counts against it.
    Postponed {
        /// Why.
        postponement: Postponement,
        /// When to try again.
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

/// Why an attempt does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Postponement {
    /// The other system is down, or there was no time: nothing was sent.
    NotNow,
    /// It was asked about a doubt and did not have the document: it is asked a second time.
    Absent,
    /// The other system refused our credentials: the connection is paused (S15).
    Refused,
}

/// Which deliveries to list. All conditions must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// In this state.
    pub state: Option<DeliveryState>,
    /// Through this connection.
    pub connection: Option<ConnectionId>,
    /// With this problem: the `code` of its reason.
    pub code: Option<String>,
    /// Of events of this kind.
    pub kind: Option<String>,
    /// Looked after by this key or person.
    pub assignee: Option<String>,
    /// Changed at this time or later.
    pub since: Option<Timestamp>,
    /// Changed before this time.
    pub until: Option<Timestamp>,
}

/// What a delivery is given when its event is mapped again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remapped {
    /// Which of the plan's.
    pub key: String,
    /// What is to be sent.
    pub body: Value,
    /// The accounting lines it stands for.
    pub ledger: Vec<LedgerLine>,
}

/// Deliveries.
#[async_trait]
pub trait Deliveries: Send + Sync {
    /// Leases due deliveries and stores the intent of their next attempts (S5, S6, S8, S10). A lane is a
    /// connection; tenants take turns.
    async fn delivery_claim(&self, request: ClaimRequest) -> Result<Vec<DeliveryClaim>, StoreError>;
    /// Stores how an attempt ended with all that follows from it: the attempt's verdict, the state, references,
    /// what becomes free to go, and the run's end when this was its last delivery. When the lease was lost,
    /// the report is kept as evidence (S5).
    #[expect(
        clippy::too_many_arguments,
        reason = "a finish is one write: who, with which lease, what came of it, when"
    )]
    async fn delivery_finish(
        &self,
        id: &DeliveryId,
        lease: &Lease,
        sent: Option<Sent>,
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
    ) -> Result<Decided, StoreError>;
    /// A person has looked and says that a delivery in doubt was *not* carried out: it is made again as if for the first
    /// time. The only way on for an operation that can neither be asked about nor recognises a repeat. `Conflict` when
    /// there is no doubt.
    async fn delivery_resend(
        &self,
        scope: &Scope,
        id: &DeliveryId,
        decision: Decision,
    ) -> Result<Decided, StoreError>;
    /// A person says that a doubtful or dead delivery was carried out, with this response. Its captures are
    /// remembered, and what waits for it goes on.
    async fn delivery_adopt(
        &self,
        scope: &Scope,
        id: &DeliveryId,
        response: Value,
        decision: Decision,
    ) -> Result<Decided, StoreError>;
    /// A person gives up on a delivery that is neither leased nor final, and on those that come after it. When this
    /// was the last open one, the run ends as `refused` with the reason `deliveries-cancelled`.
    async fn delivery_cancel(
        &self,
        scope: &Scope,
        id: &DeliveryId,
        decision: Decision,
    ) -> Result<Decided, StoreError>;
    /// A person settled it elsewhere: as cancelling, with the reason `resolved`.
    async fn delivery_resolve(
        &self,
        scope: &Scope,
        id: &DeliveryId,
        decision: Decision,
    ) -> Result<Decided, StoreError>;
    /// A person puts another body in the place of the planned one, and has a dead or doubtful delivery made again with
    /// it. The planned body, the ledger lines, the fact (S14) and the call's identity stay. `in_doubt` stays, too: what is
    /// in doubt is asked about before a corrected body is sent.
    async fn delivery_correct(
        &self,
        scope: &Scope,
        id: &DeliveryId,
        body: Value,
        decision: Decision,
    ) -> Result<Decided, StoreError>;
    /// Its run's event was mapped again with what is right now: its dead deliveries are made again with these bodies, those
    /// that still wait for them get theirs, and all others stay. Answers which, and whether that takes a second key.
    async fn delivery_remap(
        &self,
        scope: &Scope,
        run: &RunId,
        remapped: Vec<Remapped>,
        decision: Decision,
    ) -> Result<Vec<(DeliveryId, Decided)>, StoreError>;
    /// Says who looks after a dead or doubtful delivery; nobody, if none.
    async fn delivery_assign(
        &self,
        scope: &Scope,
        id: &DeliveryId,
        assignee: Option<String>,
        decision: Decision,
    ) -> Result<(), StoreError>;
    /// Redrives dead deliveries that match, oldest first, at most `rows_max`. Answers how many; fewer than `rows_max`
    /// means that none is left. Those in doubt are redriven one by one only: the second number says how many of these match,
    /// `rows_max` at most.
    async fn delivery_redrive_matching(
        &self,
        scope: &Scope,
        filter: DeliveryFilter,
        rows_max: u32,
        decision: Decision,
    ) -> Result<(u32, u32), StoreError>;
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
