//! Sources: configured places where events arrive.

use std::time::Duration;

use async_trait::async_trait;
use portolan_domain::{Scope, SourceId, Timestamp};
use serde_json::Value;

use crate::{Page, StoreError};

/// A stored source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its id, part of its address.
    pub id: SourceId,
    /// Whose.
    pub scope: Scope,
    /// Unique in its scope.
    pub name: String,
    /// The kind of system: `stripe`.
    pub system: String,
    /// As the system's intake documents them; an object.
    pub settings: Value,
    /// Signing secrets, sealed.
    pub sealed_secrets: Vec<u8>,
    /// Since when.
    pub created_at: Timestamp,
}

/// Settings of a source, and what follows from them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolledSettings {
    /// As the system's intake documents them; an object.
    pub settings: Value,
    /// How often the source is asked; none: it is not.
    pub poll: Option<Duration>,
}

/// What changes of a source; what is not named stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceChange {
    /// All settings.
    pub settings: Option<PolledSettings>,
    /// All secrets, sealed.
    pub sealed_secrets: Option<Vec<u8>>,
}

/// Sources.
#[async_trait]
pub trait Sources: Send + Sync {
    /// Stores a source, and in the same transaction how often it is asked, at once for the first time. `Conflict` when
    /// its name is taken in its scope.
    async fn source_create(&self, source: Source, poll: Option<Duration>) -> Result<(), StoreError>;
    /// The source at an address: the only read without a scope, for intake, which learns the scope from it.
    async fn source_at(&self, id: &SourceId) -> Result<Source, StoreError>;
    /// One source of a scope.
    async fn source_get(&self, scope: &Scope, id: &SourceId) -> Result<Source, StoreError>;
    /// Changes a source, and in the same transaction how often it is asked. With new settings it is asked at once.
    async fn source_update(
        &self,
        scope: &Scope,
        id: &SourceId,
        wanted: SourceChange,
        now: Timestamp,
    ) -> Result<(), StoreError>;
    /// The sources of a scope, newest first.
    async fn source_list(&self, scope: &Scope, page: Page) -> Result<Vec<Source>, StoreError>;
}
