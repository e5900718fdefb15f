//! Connections: a tenant's configured connectors.

use async_trait::async_trait;
use portolan_domain::{ConnectionId, Scope, Timestamp};
use serde_json::Value;

use crate::{Page, StoreError};

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
    /// Replaces settings and secrets, and raises the revision.
    async fn connection_update(
        &self,
        scope: &Scope,
        id: &ConnectionId,
        settings: Value,
        sealed_secrets: Vec<u8>,
    ) -> Result<(), StoreError>;
    /// The connections of a scope, newest first.
    async fn connection_list(&self, scope: &Scope, page: Page) -> Result<Vec<ConnectionRow>, StoreError>;
}
