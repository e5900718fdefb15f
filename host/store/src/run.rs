//! Runs: executions of a module on an event.

use async_trait::async_trait;
use portolan_domain::{
    ConnectionId, DeliveryId, EventId, MappingId, ModuleDigest, ReplayId, RunId, Scope, TenantId, Timestamp,
    contract::{Binding, Capture, ExistenceCheck, LedgerLine, Reference},
    state::RunState,
};
use serde_json::Value;

use crate::{ClaimRequest, Finish, Lease, StoreError, alert::NewAlert, event::Event};

/// A stored run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// Whose.
    pub scope: Scope,
    /// On which event.
    pub event: EventId,
    /// For which mapping.
    pub mapping: MappingId,
    /// Of which module version; none before the first result.
    pub module: Option<ModuleDigest>,
    /// Where it stands.
    pub state: RunState,
    /// How often it was claimed.
    pub attempts: u32,
    /// How often a lease on it ended without a result since its module last answered.
    pub process_deaths: u32,
    /// When it is due, if it is pending.
    pub due_at: Timestamp,
    /// Why it stands where it stands: `{"code","message",…}`; null when there is nothing to say.
    pub reason: Value,
    /// What the module decided, as JSON of `contract::Outcome`; null before.
    pub outcome: Value,
    /// The facts it was told, as JSON of `Vec<contract::Fact>`.
    pub facts: Value,
    /// What it logged, as JSON of `Vec<contract::LogLine>`.
    pub log: Value,
    /// What it cost: `{"fuel", "wall_us", …}`.
    pub cost: Value,
    /// When it was stored.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// A run that its claimer must now finish, with all that it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunClaim {
    /// Which.
    pub id: RunId,
    /// Proof of the lease.
    pub lease: Lease,
    /// On which event, payload included.
    pub event: Event,
    /// For which mapping.
    pub mapping: MappingId,
    /// This claim is the how-manieth, from 1.
    pub attempt: u32,
    /// How often in a row it ended as [`RunEnd::Retried`] before this claim: what the retry policy counts.
    pub failures: u32,
    /// How often a lease on it ended without a result since its module last answered.
    pub process_deaths: u32,
    /// Whether a host died while its module was being executed on this run, and its module has not answered since. It
    /// must be executed alone, so that the next death has one suspect.
    pub suspect: bool,
}

/// A call of a module that has begun and not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executing {
    /// Of which run.
    pub run: RunId,
    /// Of which module.
    pub module: ModuleDigest,
}

/// How often a host died while it executed a module of a tenant and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleDeaths {
    /// Whose.
    pub tenant: TenantId,
    /// Which.
    pub module: ModuleDigest,
    /// How often.
    pub deaths: u32,
}

/// What is kept of a run's execution, whatever its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRecord {
    /// The module version that ran; none when it came to nothing before.
    pub module: Option<ModuleDigest>,
    /// The settings that it was told.
    pub settings: Value,
    /// The attempt that it was told.
    pub attempt: u32,
    /// Whether it was its mapping's canary.
    pub is_canary: bool,
    /// The shadow that is to be executed on the event, too, once this end is final.
    pub shadow: Option<ReplayId>,
    /// JSON of `contract::Outcome`, or null.
    pub outcome: Value,
    /// JSON of `Vec<contract::Fact>`.
    pub facts: Value,
    /// JSON of `Vec<contract::LogLine>`.
    pub log: Value,
    /// What it cost.
    pub cost: Value,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunEnd {
    /// A plan to carry out (held for approval when `held` says why).
    Planned {
        /// Its deliveries, in the plan's order; may be none.
        deliveries: Vec<NewDelivery>,
        /// Deliveries of one mapping with the same key are made in the order of their events.
        ordering_key: String,
        /// To be remembered now. When held: on approval.
        references: Vec<Reference>,
        /// To be raised now.
        alerts: Vec<NewAlert>,
        /// Why a person must approve first.
        held: Option<String>,
    },
    /// Call again later: what it waits for has not arrived. Does not block later events of its object.
    Deferred {
        /// When.
        due_at: Timestamp,
        /// `{"code","message"}`
        reason: Value,
    },
    /// Call again later: something of ours, or a system it asks, was not available.
    Retried {
        /// When.
        due_at: Timestamp,
        /// `{"code","message"}`
        reason: Value,
    },
    /// Call again later: it may not be asked for now what it needs, because a connection refuses our credentials. No failure;
    /// later events of its object wait.
    Postponed {
        /// When.
        due_at: Timestamp,
        /// `{"code","message"}`
        reason: Value,
    },
    /// Nothing to do.
    Skipped {
        /// `{"code","message"}`
        reason: Value,
    },
    /// Failed for good.
    Dead {
        /// `{"code","message",…}`
        reason: Value,
        /// To be raised now.
        alerts: Vec<NewAlert>,
    },
}

/// A delivery to be stored with its plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDelivery {
    /// Its id.
    pub id: DeliveryId,
    /// Unique in the plan.
    pub key: String,
    /// Identity of the call in every attempt: see `portolan_connectors::CallContext`.
    pub call_id: String,
    /// Through which connection.
    pub connection: ConnectionId,
    /// A write operation.
    pub operation: String,
    /// Before values are copied in.
    pub body: Value,
    /// Keys of deliveries of the plan that must be delivered first.
    pub after: Vec<String>,
    /// Values to copy into the body.
    pub bindings: Vec<Binding>,
    /// How to find out whether it was made already.
    pub unless: Option<ExistenceCheck>,
    /// The economic fact that it records, if it names one (S14).
    pub once: Option<String>,
    /// Ids to remember from the response.
    pub captures: Vec<Capture>,
    /// The accounting lines it stands for.
    pub ledger: Vec<LedgerLine>,
}

/// Who decided what, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The key's id or another name of a person.
    pub by: String,
    /// In their words.
    pub why: String,
    /// When.
    pub at: Timestamp,
}

/// Whether a decision took effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decided {
    /// It did.
    Done,
    /// The environment asks for four eyes: it is kept as a proposal until another key decides the same.
    Proposed,
}

/// Which runs of a state to list. All conditions must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// For this mapping.
    pub mapping: Option<MappingId>,
    /// With this code as the reason why they stand where they stand.
    pub code: Option<String>,
    /// Changed last at this time or later.
    pub since: Option<Timestamp>,
    /// Changed last before this time.
    pub until: Option<Timestamp>,
}

/// Runs.
#[async_trait]
pub trait Runs: Send + Sync {
    /// Leases due runs (S5, S6, S8, S9). A lane is a tenant.
    async fn run_claim(&self, request: ClaimRequest) -> Result<Vec<RunClaim>, StoreError>;
    /// Stores how a claimed run ended, with all that follows from it (S4).
    #[expect(
        clippy::too_many_arguments,
        reason = "a finish is one write: who, with which lease, what came of it, when"
    )]
    async fn run_finish(
        &self,
        id: &RunId,
        lease: &Lease,
        record: RunRecord,
        end: RunEnd,
        now: Timestamp,
    ) -> Result<Finish, StoreError>;
    /// A person approves a held run: its deliveries go out, its references are remembered. `Conflict` when it
    /// is not held, or when four eyes are asked for and this key made the proposal.
    async fn run_approve(&self, scope: &Scope, id: &RunId, decision: Decision)
    -> Result<Decided, StoreError>;
    /// A person refuses a held run: its deliveries are cancelled. `Conflict` when it is not held.
    async fn run_refuse(&self, scope: &Scope, id: &RunId, decision: Decision) -> Result<(), StoreError>;
    /// A person has a dead run executed again: its attempts and process deaths are counted anew, and its module's
    /// deaths are forgotten. One that was suspected is executed alone. `Conflict` when it is not dead.
    async fn run_redrive(&self, scope: &Scope, id: &RunId, decision: Decision) -> Result<(), StoreError>;
    /// One run of a scope.
    async fn run_get(&self, scope: &Scope, id: &RunId) -> Result<Run, StoreError>;
    /// The runs of an event.
    async fn run_of_event(&self, scope: &Scope, event: &EventId) -> Result<Vec<Run>, StoreError>;
    /// The runs of a scope in a state that match, newest first.
    async fn run_list(
        &self,
        scope: &Scope,
        state: RunState,
        filter: RunFilter,
        page: crate::Page,
    ) -> Result<Vec<Run>, StoreError>;
    /// Every module during whose execution, and nothing else's, a host died. Few, as a rule none.
    async fn run_module_deaths(&self) -> Result<Vec<ModuleDeaths>, StoreError>;
    /// When the next run that is not due yet becomes due, or a lease ends.
    async fn run_next_due(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError>;
}
