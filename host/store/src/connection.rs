//! Connections: a tenant's configured connectors.

use async_trait::async_trait;
use portolan_domain::{ConnectionId, Scope, Timestamp};
use serde_json::Value;

use crate::{Page, StoreError, run::Decision};

/// Who pauses a connection whose credentials the other system refused.
pub const PAUSED_BY_HOST: &str = "host";

/// A stored connection. (Named so that it is not mistaken for `portolan_connectors::Connection`.)
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionRow {
    /// Its id.
    pub id: ConnectionId,
    /// Whose.
    pub scope: Scope,
    /// Unique in its scope.
    pub name: String,
    /// The connector's name: `sap-ecc`.
    pub connector: String,
    /// As the connector documents them; an object.
    pub settings: Value,
    /// Secrets, sealed.
    pub sealed_secrets: Vec<u8>,
    /// Rises with every change: whoever holds an older one builds the connection anew.
    pub revision: u64,
    /// Why its deliveries are not made, if they are not.
    pub paused: Option<Decision>,
    /// Since when.
    pub created_at: Timestamp,
}

/// Connections.
#[async_trait]
pub trait Connections: Send + Sync {
    /// Stores a connection. `Conflict` when its name is taken in its scope.
    async fn connection_create(&self, connection: ConnectionRow) -> Result<(), StoreError>;
    /// One connection of a scope.
    async fn connection_get(&self, scope: &Scope, id: &ConnectionId) -> Result<ConnectionRow, StoreError>;
    /// Replaces settings and secrets, and raises the revision. Lifts a pause that [`PAUSED_BY_HOST`] made.
    async fn connection_update(
        &self,
        scope: &Scope,
        id: &ConnectionId,
        settings: Value,
        sealed_secrets: Vec<u8>,
    ) -> Result<(), StoreError>;
    /// Its deliveries are not made until it is resumed (S15). Paused twice, the first reason stays.
    async fn connection_pause(
        &self,
        scope: &Scope,
        id: &ConnectionId,
        decision: Decision,
    ) -> Result<(), StoreError>;
    /// Its deliveries are made again.
    async fn connection_resume(
        &self,
        scope: &Scope,
        id: &ConnectionId,
        decision: Decision,
    ) -> Result<(), StoreError>;
    /// The connections of a scope, newest first.
    async fn connection_list(&self, scope: &Scope, page: Page) -> Result<Vec<ConnectionRow>, StoreError>;
}
