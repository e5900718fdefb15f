//! Polls: sources that are asked regularly for what changed, because their systems do not tell, or may forget to.

use std::time::Duration;

use async_trait::async_trait;
use portolan_domain::{Scope, SourceId, Timestamp};
use serde_json::Value;

use crate::{Finish, Lease, StoreError, alert::NewAlert};

/// A source that its claimer must now ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollClaim {
    /// Which.
    pub source: SourceId,
    /// Proof of the lease.
    pub lease: Lease,
    /// Where to go on; null at first.
    pub cursor: Value,
    /// How often in a row it could not be asked.
    pub failures: u32,
}

/// How asking ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollEnd {
    /// Where to go on: everything before it is stored.
    pub cursor: Value,
    /// When to ask next, because it was not asked to the end; none: it was, and is asked again after its own pause.
    pub due_at: Option<Timestamp>,
    /// Why it could not be asked to the end; none when it could.
    pub failure: Option<Value>,
    /// To be raised.
    pub alerts: Vec<NewAlert>,
}

/// Where a poll stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollState {
    /// When it is asked next.
    pub due_at: Timestamp,
    /// When it was asked to the end last.
    pub asked_at: Option<Timestamp>,
    /// How often in a row it could not be asked since.
    pub failures: u32,
    /// Why not; null when it could.
    pub reason: Value,
}

/// What was seen of an object last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// Distinguishes its states.
    pub version: String,
    /// How many were seen, this one included.
    pub number: u64,
}

/// Polls.
#[async_trait]
pub trait Polls: Send + Sync {
    /// Has a source asked at once and then every so often; or no longer, with `None`. Its cursor stays.
    async fn poll_schedule(
        &self,
        scope: &Scope,
        source: &SourceId,
        every: Option<Duration>,
        now: Timestamp,
    ) -> Result<(), StoreError>;
    /// Leases sources that are due (S5).
    async fn poll_claim(
        &self,
        owner: &str,
        now: Timestamp,
        lease_ms: u64,
        rows_max: usize,
    ) -> Result<Vec<PollClaim>, StoreError>;
    /// Stores how asking ended.
    async fn poll_finish(
        &self,
        claim: &PollClaim,
        scope: &Scope,
        end: PollEnd,
        now: Timestamp,
    ) -> Result<Finish, StoreError>;
    /// When the next source is due.
    async fn poll_next_due(&self) -> Result<Option<Timestamp>, StoreError>;
    /// Where a source's poll stands; none when it is not asked.
    async fn poll_state(&self, scope: &Scope, source: &SourceId) -> Result<Option<PollState>, StoreError>;
    /// What was seen of an object last.
    async fn poll_sight(&self, source: &SourceId, object: &str) -> Result<Option<Sight>, StoreError>;
    /// Remembers what was seen of an object.
    async fn poll_saw(&self, source: &SourceId, object: &str, sight: Sight) -> Result<(), StoreError>;
}
