//! Mappings: source + event kinds → module version + settings → connections.
//!
//! What a mapping is pinned to (module, settings, connections, grants) has a history: every change of it is a new pin
//! with a number, and a rollback makes the one before it the next. Beside the pin a mapping may have a *shadow* (a version
//! that is executed on every new event and delivers nothing) and a *canary* (a version that a share of the objects goes
//! to).

use std::collections::BTreeMap;

use async_trait::async_trait;
use portolan_domain::{
    ConnectionId, MappingId, ModuleDigest, ReplayId, Scope, SourceId, Timestamp, grant::Grants,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Page, StoreError, replay::NewReplay, run::Decision};

/// A stored mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// Its id.
    pub id: MappingId,
    /// Whose.
    pub scope: Scope,
    /// Unique in its scope.
    pub name: String,
    /// Where its events come from.
    pub source: SourceId,
    /// Which of them: `charge.succeeded`, `charge.*`.
    pub kinds: Vec<String>,
    /// The module version it is pinned to.
    pub module: ModuleDigest,
    /// Valid against the module's schema.
    pub settings: Value,
    /// The module's name for a connection → the tenant's connection.
    pub connections: BTreeMap<String, ConnectionId>,
    /// Whether events are routed to it.
    pub enabled: bool,
    /// What its versions went and go through.
    pub life: Life,
    /// Since when.
    pub created_at: Timestamp,
}

/// What the versions of a mapping go through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Life {
    /// The number of the pin in force, from 1. Given by the store.
    pub pin: u64,
    /// What its module may do; none: everything that it declares (mappings from before there were grants).
    pub grants: Option<Grants>,
    /// A version that is executed beside the pinned one.
    pub shadow: Option<Shadow>,
    /// A version that a share of the objects goes to.
    pub canary: Option<Canary>,
    /// Since when and why its runs are not claimed.
    pub paused: Option<Decision>,
}

/// A version that is executed on every new event and delivers nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shadow {
    /// Which.
    pub module: ModuleDigest,
    /// Where its differences are listed.
    pub replay: ReplayId,
}

/// A version that a share of a mapping's objects goes to: always the same objects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canary {
    /// Which.
    pub module: ModuleDigest,
    /// Its settings; none: those of the mapping.
    pub settings: Option<Value>,
    /// The share, in thousandths of the objects.
    pub per_mille: u16,
    /// When more than this many of `runs_max` runs fail, the share is 0 again and an alert is raised.
    pub failures_max: u32,
    /// After so many runs they are counted anew.
    pub runs_max: u32,
    /// Runs since they were counted anew. Given by the store.
    #[serde(default)]
    pub runs: u32,
    /// How many of them failed. Given by the store.
    #[serde(default)]
    pub failures: u32,
    /// Why and when its share was set to 0 by the host.
    #[serde(default)]
    pub returned_at: Option<Timestamp>,
}

/// What of a mapping is changed; `None` stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MappingChange {
    /// Another pin.
    pub pin: Option<PinChange>,
    /// Moves the pin only if this is the number of the one in force; else `Conflict`.
    pub instead_of: Option<u64>,
    /// On or off.
    pub enabled: Option<bool>,
    /// Another shadow, or none any more: its replay begins, that of the one before ends.
    pub shadow: Option<Option<NewReplay>>,
    /// Another canary, or none any more. Its runs are counted anew.
    pub canary: Option<Option<Canary>>,
}

/// What of a pin is changed; `None` stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinChange {
    /// Another module version.
    pub module: Option<ModuleDigest>,
    /// Other settings.
    pub settings: Option<Value>,
    /// Other connections.
    pub connections: Option<BTreeMap<String, ConnectionId>>,
    /// Other grants.
    pub grants: Option<Grants>,
    /// The replay that showed that it may be moved.
    pub replay: Option<ReplayId>,
    /// Who moves it, when it is not who acts now: a key's id.
    pub by: Option<String>,
    /// In their words.
    pub why: Option<String>,
}

/// What a mapping was or is pinned to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// From 1.
    pub number: u64,
    /// To which version.
    pub module: ModuleDigest,
    /// With which settings.
    pub settings: Value,
    /// With which connections.
    pub connections: BTreeMap<String, ConnectionId>,
    /// What was granted; none: everything declared.
    pub grants: Option<Grants>,
    /// The number of the pin that a rollback returns to; none for the first.
    pub before: Option<u64>,
    /// The replay that it was moved after.
    pub replay: Option<ReplayId>,
    /// Who moved it.
    pub by: String,
    /// In their words.
    pub why: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// Mappings.
#[async_trait]
pub trait Mappings: Send + Sync {
    /// Stores a mapping with its first pin. `Conflict` when its name is taken in its scope. The caller has checked that
    /// source, module and connections are of the same scope.
    async fn mapping_create(&self, mapping: Mapping) -> Result<(), StoreError>;
    /// One mapping of a scope.
    async fn mapping_get(&self, scope: &Scope, id: &MappingId) -> Result<Mapping, StoreError>;
    /// Changes a mapping; returns it as it is now (S20).
    async fn mapping_update(
        &self,
        scope: &Scope,
        id: &MappingId,
        change: MappingChange,
        now: Timestamp,
    ) -> Result<Mapping, StoreError>;
    /// Makes the pin before the one in force the next one. `Conflict` when there is none.
    async fn mapping_rollback(
        &self,
        scope: &Scope,
        id: &MappingId,
        decision: Decision,
    ) -> Result<Mapping, StoreError>;
    /// Its pins, newest first, at most 500.
    async fn mapping_pins(&self, scope: &Scope, id: &MappingId) -> Result<Vec<Pin>, StoreError>;
    /// Its runs are not claimed until it is resumed (S22). What arrives meanwhile waits.
    async fn mapping_pause(
        &self,
        scope: &Scope,
        id: &MappingId,
        decision: Decision,
    ) -> Result<(), StoreError>;
    /// Its runs are claimed again.
    async fn mapping_resume(
        &self,
        scope: &Scope,
        id: &MappingId,
        decision: Decision,
    ) -> Result<(), StoreError>;
    /// The mappings of a scope, newest first.
    async fn mapping_list(&self, scope: &Scope, page: Page) -> Result<Vec<Mapping>, StoreError>;
    /// Every mapping of a source, enabled or not: for intake.
    async fn mapping_of_source(&self, scope: &Scope, source: &SourceId) -> Result<Vec<Mapping>, StoreError>;
}
