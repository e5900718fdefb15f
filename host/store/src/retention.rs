//! Removal of what is finished and has been kept long enough, in small steps.
//!
//! Money first (S28): nothing is removed that is not finished, or waits for a person (a dead event, run or delivery; a
//! hold; a doubt), or that exactly-once rests on: of an event that is removed a tombstone is left, by which a repeat is
//! known; the economic facts that were recorded (`once`, with the response) and references stay.

use async_trait::async_trait;
use portolan_domain::{Scope, TenantId, Timestamp};

use crate::StoreError;

/// What a sweep removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Noun {
    /// Payloads of events.
    Payloads,
    /// Outcomes, facts and logs of runs.
    Runs,
    /// Bodies and attempts of deliveries.
    Deliveries,
    /// Events with all that followed from them.
    Events,
    /// Alerts that are resolved.
    Alerts,
}

impl Noun {
    /// All, in the order in which they are swept.
    pub const ALL: [Self; 5] = [Self::Payloads, Self::Runs, Self::Deliveries, Self::Events, Self::Alerts];

    /// As it is written everywhere.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Payloads => "payloads",
            Self::Runs => "runs",
            Self::Deliveries => "deliveries",
            Self::Events => "events",
            Self::Alerts => "alerts",
        }
    }
}

/// What a sweep removes of a tenant as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TenantNoun {
    /// Tombstones of events.
    Tombstones,
    /// Usage.
    Usage,
    /// The oldest entries of the audit log.
    Audit,
    /// Modules that no mapping names.
    Modules,
}

impl TenantNoun {
    /// All.
    pub const ALL: [Self; 4] = [Self::Tombstones, Self::Usage, Self::Audit, Self::Modules];

    /// As it is written everywhere.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tombstones => "tombstones",
            Self::Usage => "usage",
            Self::Audit => "audit",
            Self::Modules => "modules",
        }
    }
}

/// What nobody sees any more and only takes room: it is removed as soon as there is time, whatever the periods say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hidden {
    /// Notification rules that were deleted, with their notices.
    Notices,
    /// Replays that gave way to newer ones, with their items.
    ReplayItems,
}

impl Hidden {
    /// All.
    pub const ALL: [Self; 2] = [Self::Notices, Self::ReplayItems];

    /// As it is written everywhere.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Notices => "notices",
            Self::ReplayItems => "replay-items",
        }
    }
}

/// One step of a sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Of what.
    pub noun: Noun,
    /// What is older than this.
    pub before: Timestamp,
    /// The present.
    pub now: Timestamp,
    /// At most so many are looked at.
    pub rows_max: u32,
}

/// What one step of a sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// So many were removed.
    pub removed: u64,
    /// There may be more: make another step.
    pub more: bool,
}

/// Retention.
#[async_trait]
pub trait Retentions: Send + Sync {
    /// Looks at some that are old enough, and removes those of them that may be.
    async fn sweep(&self, scope: &Scope, step: Step) -> Result<Swept, StoreError>;
    /// The same for what belongs to a tenant as a whole; none: to the host (its audit log, and the usage of tenants that
    /// are removed since).
    async fn sweep_tenant(
        &self,
        tenant: Option<&TenantId>,
        noun: TenantNoun,
        before: Timestamp,
        rows_max: u32,
    ) -> Result<Swept, StoreError>;
    /// Removes some of what is hidden, of any tenant. When there is none, as a rule, nothing is written.
    async fn sweep_hidden(&self, hidden: Hidden, rows_max: u32) -> Result<Swept, StoreError>;
    /// When a payload was removed; none while it is there.
    async fn payload_removed(
        &self,
        scope: &Scope,
        event: &portolan_domain::EventId,
    ) -> Result<Option<Timestamp>, StoreError>;
    /// Bytes of the file that hold something, and bytes in it that will be used again before it grows.
    async fn file_bytes(&self) -> Result<(u64, u64), StoreError>;
}
