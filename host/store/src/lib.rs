//! What Portolan remembers: the traits that the rest of the host is written against, the promises that
//! every implementation keeps, and the embedded SQLite implementation.
//!
//! One trait and one file per noun. A method on tenant data takes the [`Scope`](portolan_domain::Scope) (or the tenant's id)
//! first. A guarded change returns an outcome enum; errors are for what the caller cannot foresee.
//!
//! # Promises
//!
//! The conformance suite (`conformance`) tests each of these for every implementation, and its tests cite
//! the numbers.
//!
//! | # | promise |
//! |---|---|
//! | S1 | When a writing method returns `Ok`, its effect survives power loss. |
//! | S2 | A method's effect is whole or absent: a crash never leaves half of it. |
//! | S3 | Of events with one source and one idempotency key, only the first is stored; every repeat gets the first one's id. |
//! | S4 | An event and its runs are stored together; so are a run's outcome, facts, log, cost, references, alerts and deliveries. |
//! | S5 | A run or delivery is leased to one owner at a time; every lease has a higher epoch than the one before, and a finish with an older epoch, or after the lease was lost, changes no state and says so. What it reports is kept as evidence; a response is adopted by the next attempt in doubt. |
//! | S6 | An attempt's intent is stored before its claim is returned. A lease that ends without a result leaves the delivery in doubt, and the run one process death richer; but when a host's death is known, it counts for those runs only whose module was being executed, and the others' attempts do not count. |
//! | S7 | Final states never change again. |
//! | S8 | Claims are fair: while several tenants have due work, none is served twice before each was served once. |
//! | S9 | Runs with one mapping and one ordering key are claimed in the order of their events: a later one only when no earlier one is pending (unless deferred), leased, planned with a delivery still open, held or dead. So a run sees what earlier events of its object brought about. |
//! | S10 | A delivery is claimed only when every delivery it comes after is delivered, and no delivery of an earlier event with the same mapping and ordering key is unfinished. |
//! | S11 | Nothing of one scope is ever answered to another. |
//! | S12 | Alerts with one scope, code and title that are not resolved are one alert, counted. |
//! | S13 | A claim costs the same whether ten or ten million finished rows are stored. |
//! | S14 | Of deliveries through one connection that name the same economic fact (`once`), one at a time is leased. When one is delivered, every later claim of another brings its response; when one is in doubt, so is the next. |
//! | S15 | A paused connection's deliveries are not claimed, from the moment that the pause was stored until it is lifted. |
//! | S16 | Where an environment asks for four eyes, a decision that may double or forge a document takes effect only when two different keys said the same; both are kept. |
//! | S17 | A plan that exceeds the guard of a connection (an amount, documents within an hour) is held, not carried out, whoever plans at the same time; what was let through is counted. |
//! | S18 | Of requests with one idempotency key, one begins; what became of it is told to all others, and when its process died before that was stored, that nobody knows. |
//! | S19 | Each change of a lookup table is a version; a table can be put back to any of those that are kept, the latest 1,000, whatever came between. |
//! | S24 | What a notification rule tells is stored as a notice in the transaction in which it happens. Of one rule no more than its bound are stored in a minute, and one that counts all the others. |
//! | S25 | A suspended tenant's runs, deliveries and polls are not claimed, from the moment that the suspension was stored until it is lifted. |
//! | S26 | When a tenant is removed, no row of it is left, and no row of another tenant is touched. |
//! | S27 | What tenants used is counted in the transaction that makes it: the numbers are what counting the rows says, after any crash. |
//! | S28 | Retention removes nothing that is unfinished or waits for a person, and nothing that exactly-once rests on: after it a repeat is a repeat, a recorded fact is recorded, a reference is found. |
//! | S20 | Every change of what a mapping is pinned to is a pin with the next number, kept for ever, stored with the change; a rollback returns to the one before; a move that names the pin it replaces changes nothing when that is not the one in force. |
//! | S21 | A run keeps all that it was told: module, settings, attempt and facts read back as they were, whatever changed since. A canary's runs are counted in the transactions that end them; the one that exceeds the budget sets its share to 0. |
//! | S22 | Runs of a paused mapping, module or tenant are not claimed, from the moment that the pause was stored until it is lifted, nor are deliveries of a paused tenant; they are stored and wait, and others of the tenant are claimed at the same cost. |
//! | S23 | A replay is leased as a run is; what it came to is stored with how far it has come, so that it goes on after a crash where it was, and counts nothing twice. |

pub mod alert;
pub mod audit;
pub mod backlog;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod connection;
pub mod delivery;
pub mod desk;
pub mod event;
pub mod export;
pub mod idempotency;
pub mod key;
pub mod lookup;
pub mod mapping;
pub mod module;
pub mod notification;
pub mod pause;
pub mod poll;
pub mod reconciliation;
pub mod reference;
pub mod replay;
pub mod retention;
pub mod run;
pub mod sealed;
pub mod source;
pub mod sqlite;
pub mod standing;
pub mod tenant;
pub mod usage;

use portolan_domain::Timestamp;

/// Everything a host needs. `Arc<dyn Store>` is what is passed around.
pub trait Store:
    alert::Alerts
    + audit::Audits
    + backlog::Backlogs
    + connection::Connections
    + delivery::Deliveries
    + desk::Desk
    + event::Events
    + export::Exports
    + idempotency::IdempotencyKeys
    + key::Keys
    + lookup::Lookups
    + mapping::Mappings
    + module::Modules
    + notification::Notifications
    + pause::Pauses
    + poll::Polls
    + reconciliation::Reconciliations
    + reference::References
    + replay::Replays
    + retention::Retentions
    + run::Runs
    + sealed::SealedRecords
    + source::Sources
    + standing::Standings
    + tenant::Tenants
    + usage::Usages
    + Upkeep
    + std::fmt::Debug
{
}

/// What keeps a store going.
#[async_trait::async_trait]
pub trait Upkeep: Send + Sync {
    /// Ends the leases of every owner but this one, when the store can be sure that no other host is alive
    /// (the embedded store is locked by one process). Called once at start; returns how many ended.
    /// `executing`: the calls of modules that had begun and not ended when the host before this one died. Such a run is
    /// one process death richer and a suspect; every other run gets its attempt back (S6).
    async fn leases_end_foreign(
        &self,
        owner: &str,
        executing: &[run::Executing],
        now: Timestamp,
    ) -> Result<u64, StoreError>;

    /// Answers only when a write would be made durable now. For `/readyz`.
    async fn ping(&self) -> Result<(), StoreError>;

    /// How many bytes can still be written where the store keeps its files. None when that is not this machine's concern.
    async fn free_bytes(&self) -> Result<Option<u64>, StoreError>;
}

/// What a caller of the store can act on.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No such row in this scope. Another scope's row is none.
    #[error("not found")]
    NotFound,
    /// The row exists, or is in another state than the change needs. Read it again.
    #[error("conflict: {0}")]
    Conflict(&'static str),
    /// The store cannot answer or make anything durable now (disk full, locked, shutting down). Try later;
    /// nothing was changed.
    #[error("the store is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What is stored cannot be read back. Stop and look.
    #[error("the store holds what cannot be read: {what}")]
    Corrupt {
        /// Which table and column.
        what: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Part of a long list, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Only rows older than the one with this id (the last of the page before).
    pub before: Option<String>,
    /// At most this many rows, 1 to 500.
    pub rows_max: u32,
}

impl Default for Page {
    fn default() -> Self {
        Self { before: None, rows_max: 100 }
    }
}

/// What a claim may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimRequest {
    /// Who claims: this process's incarnation, new at every start.
    pub owner: String,
    /// The present.
    pub now: Timestamp,
    /// How long the lease lasts, in milliseconds.
    pub lease_ms: u64,
    /// At most this many.
    pub rows_max: usize,
    /// How many more each busy lane may take (a tenant for runs, a connection for deliveries), by id. A lane
    /// that is not named may take `lane_room`.
    pub room: std::collections::BTreeMap<String, usize>,
    /// See `room`.
    pub lane_room: usize,
    /// How many more deliveries each busy tenant may take, whatever the connection. A tenant that is not named may take
    /// `tenant_room_max`.
    pub tenant_room: std::collections::BTreeMap<String, usize>,
    /// See `tenant_room`.
    pub tenant_room_max: usize,
}

/// Proof of a lease: goes into every write that its owner makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Who holds it.
    pub owner: String,
    /// Higher than that of every lease before it on the same row.
    pub epoch: u64,
}

/// Whether a finish took effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Finish {
    /// It did.
    Done,
    /// The lease had been lost: nothing was changed.
    LeaseLost,
}
