//! Mappings: source + event kinds → module version + settings → connections.

use std::collections::BTreeMap;

use async_trait::async_trait;
use portolan_domain::{ConnectionId, MappingId, ModuleDigest, Scope, SourceId, Timestamp};
use serde_json::Value;

use crate::{Page, StoreError};

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
    /// Since when.
    pub created_at: Timestamp,
}

/// What of a mapping is changed; `None` stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MappingChange {
    /// Another pin.
    pub module: Option<ModuleDigest>,
    /// Other settings.
    pub settings: Option<Value>,
    /// Other connections.
    pub connections: Option<BTreeMap<String, ConnectionId>>,
    /// On or off.
    pub enabled: Option<bool>,
}

/// Mappings.
#[async_trait]
pub trait Mappings: Send + Sync {
    /// Stores a mapping. `Conflict` when its name is taken in its scope. The caller has checked that source,
    /// module and connections are of the same scope.
    async fn mapping_create(&self, mapping: Mapping) -> Result<(), StoreError>;
    /// One mapping of a scope.
    async fn mapping_get(&self, scope: &Scope, id: &MappingId) -> Result<Mapping, StoreError>;
    /// Changes a mapping; returns it as it is now.
    async fn mapping_update(
        &self,
        scope: &Scope,
        id: &MappingId,
        change: MappingChange,
    ) -> Result<Mapping, StoreError>;
    /// The mappings of a scope, newest first.
    async fn mapping_list(&self, scope: &Scope, page: Page) -> Result<Vec<Mapping>, StoreError>;
    /// Every mapping of a source, enabled or not: for intake.
    async fn mapping_of_source(&self, scope: &Scope, source: &SourceId) -> Result<Vec<Mapping>, StoreError>;
}
