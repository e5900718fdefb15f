//! Replays: a module executed again on stored events, delivering nothing; and shadows, which do the same on every new
//! event of a mapping. Their outcomes are compared with what was recorded: see `portolan_domain::replay`.

use async_trait::async_trait;
use portolan_domain::{
    EventId, MappingId, ModuleDigest, ReplayId, RunId, Scope, TenantId, Timestamp,
    contract::Fact,
    diff::Difference,
    replay::{Class, Tally},
    state::RunState,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Finish, Lease, Page, StoreError, event::Event, mapping::PinChange};

/// A text that is no kind or state of a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("neither a kind nor a state of a replay")]
pub struct UnknownWord;

/// What a replay is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReplayKind {
    /// On stored events, once.
    Replay,
    /// On every new event of its mapping, until it is taken off.
    Shadow,
}

impl ReplayKind {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::Shadow => "shadow",
        }
    }
}

impl std::str::FromStr for ReplayKind {
    type Err = UnknownWord;
    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        match text {
            "replay" => Ok(Self::Replay),
            "shadow" => Ok(Self::Shadow),
            _ => Err(UnknownWord),
        }
    }
}

/// Where a replay stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReplayState {
    /// Under way, or waiting for its turn.
    Running,
    /// Through.
    Done,
    /// It could not be carried out: see its reason.
    Failed,
    /// A person ended it.
    Cancelled,
}

impl ReplayState {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl std::str::FromStr for ReplayState {
    type Err = UnknownWord;
    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        match text {
            "running" => Ok(Self::Running),
            "done" => Ok(Self::Done),
            "failed" => Ok(Self::Failed),
            "cancelled" => Ok(Self::Cancelled),
            _ => Err(UnknownWord),
        }
    }
}

/// With which settings a module is executed again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReplaySettings {
    /// Those that each run had.
    #[default]
    Recorded,
    /// These.
    Given(Value),
}

/// Who answers what a run was not told then.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NewNeeds {
    /// Nobody: the event is told as `new-need`.
    #[default]
    Told,
    /// Lookup tables and references, as they are now. Queries are told.
    FromStore,
    /// Other systems, too.
    Asked,
}

/// What is asked of a replay.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Asked {
    /// Event kinds: `charge.succeeded`, `charge.*`; empty: all.
    pub kinds: Vec<String>,
    /// Events of this object only.
    pub object_id: Option<String>,
    /// Received at this time or later.
    pub from: Option<Timestamp>,
    /// Received before this time.
    pub until: Option<Timestamp>,
    /// Events of the mapping's source without a run of the mapping, too.
    pub without_runs: bool,
    /// With which settings.
    pub settings: ReplaySettings,
    /// Who answers what is new.
    pub new_needs: NewNeeds,
    /// The pin to be moved afterwards, if it is clean.
    pub promotion: Option<Promotion>,
}

/// A pin that is moved after a clean replay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promotion {
    /// To what.
    pub pin: PinChange,
    /// Which places may differ; none: no difference at all.
    pub allowed: Option<Vec<String>>,
    /// The number of the pin that is replaced: if another was made meanwhile, nothing is moved.
    pub instead_of: u64,
}

/// A stored replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// Its id.
    pub id: ReplayId,
    /// Whose.
    pub scope: Scope,
    /// Whose runs it is compared with.
    pub mapping: MappingId,
    /// What is executed.
    pub module: ModuleDigest,
    /// What it is.
    pub kind: ReplayKind,
    /// Where it stands.
    pub state: ReplayState,
    /// What was asked.
    pub asked: Asked,
    /// What it came to so far.
    pub tally: Tally,
    /// At most so many events, newest first.
    pub events_max: u64,
    /// Events executed.
    pub events_done: u64,
    /// `{"code","message"}` of a failed one; else null.
    pub reason: Value,
    /// `{"state": "pinned"|"refused", …}` when a pin was to be moved; else null.
    pub promotion: Value,
    /// Who asked: a key's id.
    pub by: String,
    /// Since when.
    pub created_at: Timestamp,
    /// When it last went on.
    pub updated_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// New events that a shadow was not executed on, because too many waited.
    pub passed_over: u64,
}

/// A replay to be begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewReplay {
    /// Its id.
    pub id: ReplayId,
    /// Whose runs it is compared with.
    pub mapping: MappingId,
    /// What is executed.
    pub module: ModuleDigest,
    /// What it is.
    pub kind: ReplayKind,
    /// What is asked.
    pub asked: Asked,
    /// At most so many events.
    pub events_max: u64,
    /// Who asks.
    pub by: String,
}

/// A replay that its claimer must now go on with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayClaim {
    /// Which, as it stands.
    pub replay: Replay,
    /// Proof of the lease.
    pub lease: Lease,
    /// How often a host died while it was leased.
    pub process_deaths: u32,
    /// How often in a row it rested without getting on.
    pub rests: u32,
}

/// What was recorded of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Which.
    pub run: RunId,
    /// Where it stands.
    pub state: RunState,
    /// Why.
    pub reason: Value,
    /// JSON of `contract::Outcome`, or null.
    pub outcome: Value,
    /// The module that ran; none when nothing was executed yet.
    pub module: Option<ModuleDigest>,
    /// Which attempt it was told that it was.
    pub attempt: u32,
    /// Its settings; none when they were not kept (runs from before).
    pub settings: Option<Value>,
    /// What it was told.
    pub facts: Vec<Fact>,
    /// Fuel over all rounds.
    pub fuel: u64,
}

/// An event to be executed on, and what was recorded of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayInput {
    /// The event, payload included.
    pub event: Event,
    /// What was recorded; none when the mapping has no run on it, or the run's record cannot be read.
    pub recorded: Option<Recorded>,
    /// Where the next part begins when this one ends after it.
    pub cursor: i64,
}

/// The next events of a replay.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplayPart {
    /// May be none although more follow.
    pub inputs: Vec<ReplayInput>,
    /// Where the next part begins.
    pub cursor: i64,
    /// Whether nothing follows.
    pub is_last: bool,
}

/// What came of one event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReplayItem {
    /// Which.
    pub event: EventId,
    /// Its kind.
    pub kind: String,
    /// Its object.
    pub object_id: Option<String>,
    /// The run that it is compared with.
    pub run: Option<RunId>,
    /// What came of it.
    pub class: Class,
    /// How it ended then and ends now.
    pub before: Option<Side>,
    /// See `before`.
    pub after: Side,
    /// The first of its differences.
    pub differences: Vec<Difference>,
    /// How many there are.
    pub differences_total: u64,
}

/// How one execution ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Side {
    /// `deliver`, `hold`, `defer`, `skip`, `reject`, `failed`, `need`.
    pub outcome: String,
    /// Of a failure: `guest-trapped`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Of a failure, for people; of a need, what is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Fuel over all rounds.
    pub fuel: u64,
}

/// How far a replay has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// What came of the events of this part.
    pub items: Vec<ReplayItem>,
    /// What all came to, these included.
    pub tally: Tally,
    /// Where the next part begins.
    pub cursor: i64,
}

/// How a replay ends, or rests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplayEnd {
    /// Through. `promotion`: what became of its pin.
    Done {
        /// Null when none was to be moved.
        promotion: Value,
    },
    /// It cannot be carried out.
    Failed {
        /// `{"code","message"}`
        reason: Value,
    },
    /// It goes on later: with its next part, when there are events, or when something of ours is available again.
    Rests {
        /// When.
        until: Timestamp,
    },
}

/// Fuel of one event in the latest replay of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FuelProfile {
    /// Which.
    pub replay: ReplayId,
    /// Of so many events, at most the latest 1,000.
    pub events: u64,
    /// The cheapest.
    pub least: u64,
    /// Half of them cost at most this.
    pub median: u64,
    /// Of 100, 99 cost at most this.
    pub p99: u64,
    /// The dearest.
    pub most: u64,
}

/// Replays.
#[async_trait]
pub trait Replays: Send + Sync {
    /// Begins a replay. `Conflict` when `running_max` of its tenant are running already.
    async fn replay_create(
        &self,
        scope: &Scope,
        new: NewReplay,
        running_max: u64,
        now: Timestamp,
    ) -> Result<(), StoreError>;
    /// One replay of a scope.
    async fn replay_get(&self, scope: &Scope, id: &ReplayId) -> Result<Replay, StoreError>;
    /// The replays of a scope, newest first.
    async fn replay_list(&self, scope: &Scope, page: Page) -> Result<Vec<Replay>, StoreError>;
    /// Ends a running one. `Conflict` when it has ended.
    async fn replay_cancel(&self, scope: &Scope, id: &ReplayId, now: Timestamp) -> Result<(), StoreError>;
    /// What came of its events (of one class), newest event first. `Page::before` is an event's id.
    async fn replay_items(
        &self,
        scope: &Scope,
        id: &ReplayId,
        class: Option<Class>,
        page: Page,
    ) -> Result<Vec<ReplayItem>, StoreError>;
    /// What a module costs, by its latest replay; none before the first.
    async fn replay_fuel(
        &self,
        tenant: &TenantId,
        module: &ModuleDigest,
    ) -> Result<Option<FuelProfile>, StoreError>;
    /// Leases running replays that have something to do (S5), those that waited longest first. None of a paused module, nor
    /// of a tenant that is not served or is paused (S22, S25).
    async fn replay_claim(
        &self,
        owner: &str,
        now: Timestamp,
        lease_ms: u64,
        rows_max: usize,
    ) -> Result<Vec<ReplayClaim>, StoreError>;
    /// The next events of a claimed replay, at most `rows_max`; looks at a bounded number of rows.
    async fn replay_part(&self, replay: &ReplayId, rows_max: usize) -> Result<ReplayPart, StoreError>;
    /// Who executes a part is still at it: the lease ends later.
    async fn replay_renew(
        &self,
        id: &ReplayId,
        lease: &Lease,
        until: Timestamp,
    ) -> Result<Finish, StoreError>;
    /// Gives the lease back: what came of a part, if anything did, is stored together with how it ends or rests.
    async fn replay_end(
        &self,
        id: &ReplayId,
        lease: &Lease,
        (progress, end): (Option<Progress>, ReplayEnd),
        now: Timestamp,
    ) -> Result<Finish, StoreError>;
}
