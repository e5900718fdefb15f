//! Events: received, stored, unchanging requests.

use async_trait::async_trait;
use portolan_domain::{EventId, MappingId, RunId, Scope, SourceId, Timestamp, state::EventState};

use crate::{Page, StoreError};

/// A stored event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its id.
    pub id: EventId,
    /// Whose.
    pub scope: Scope,
    /// Where it arrived.
    pub source: SourceId,
    /// The source's name.
    pub source_name: String,
    /// The kind of system: `stripe`.
    pub system: String,
    /// What happened; empty when it could not be read.
    pub kind: String,
    /// The object it happened to.
    pub object_id: Option<String>,
    /// What the sender calls it (Stripe's event id): unique per source.
    pub idempotency_key: String,
    /// By the source's clock.
    pub occurred_at: Timestamp,
    /// By the host's clock.
    pub received_at: Timestamp,
    /// `application/json`
    pub media_type: String,
    /// The bytes as they came, but for card numbers.
    pub payload: Vec<u8>,
    /// How many card numbers of the request were masked before it was stored.
    pub cards_masked: u32,
    /// What became of it at intake.
    pub state: EventState,
    /// Why, when it is dead or unrouted.
    pub reason: Option<String>,
    /// The trace that it belongs to, as W3C `traceparent`; none when nobody traces it.
    pub traceparent: Option<String>,
}

/// A run to be stored with an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRun {
    /// Its id.
    pub id: RunId,
    /// For which mapping.
    pub mapping: MappingId,
}

/// What became of an offered event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accepted {
    /// It is new, and durable.
    New,
    /// An event with this source and idempotency key was stored before: this is its id. Nothing was changed.
    Repeat(EventId),
}

/// Which events to list. All conditions must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// In this state.
    pub state: Option<EventState>,
    /// Of this kind.
    pub kind: Option<String>,
    /// About this object.
    pub object_id: Option<String>,
    /// With this sender's id.
    pub idempotency_key: Option<String>,
    /// Arrived at this source.
    pub source: Option<SourceId>,
    /// Received at this time or later.
    pub since: Option<Timestamp>,
    /// Received before this time.
    pub until: Option<Timestamp>,
}

/// Events.
#[async_trait]
pub trait Events: Send + Sync {
    /// Stores an event and its runs, or finds that it is a repeat (S1, S3, S4).
    async fn event_accept(&self, event: Event, runs: Vec<NewRun>) -> Result<Accepted, StoreError>;
    /// One event of a scope.
    async fn event_get(&self, scope: &Scope, id: &EventId) -> Result<Event, StoreError>;
    /// The events of a scope, newest first. Payloads are left empty.
    async fn event_list(
        &self,
        scope: &Scope,
        filter: EventFilter,
        page: Page,
    ) -> Result<Vec<Event>, StoreError>;
}
