//! Everything that is stored sealed, whatever it belongs to: for those who give the seals another master key. Who the
//! owner is that goes into a seal's associated data is said here, once.

use async_trait::async_trait;
use portolan_domain::{ConnectionId, NotificationRuleId, Scope, SourceId};

use crate::StoreError;

/// The owner of a connection's secrets.
#[must_use]
pub fn owner_of_connection(scope: &Scope, id: &ConnectionId) -> String {
    format!("{scope}/connection/{id}")
}

/// The owner of a source's secrets.
#[must_use]
pub fn owner_of_source(scope: &Scope, id: &SourceId) -> String {
    format!("{scope}/source/{id}")
}

/// The owner of a notification rule's secrets.
#[must_use]
pub fn owner_of_notification_rule(scope: &Scope, id: &NotificationRuleId) -> String {
    format!("{scope}/notification-rule/{id}")
}

/// The owner of a key of the host itself.
#[must_use]
pub fn owner_of_host_key(name: &str) -> String {
    format!("host/key/{name}")
}

/// A sealed record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedRecord {
    /// Whose: what the seal is associated with.
    pub owner: String,
    /// Where it is stored.
    pub place: SealedPlace,
    /// As it is stored.
    pub sealed: Vec<u8>,
}

/// Where a sealed record is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SealedPlace {
    /// A connection's secrets.
    Connection(ConnectionId),
    /// A source's secrets.
    Source(SourceId),
    /// A notification rule's secrets.
    NotificationRule(NotificationRuleId),
    /// A key of the host itself.
    HostKey(String),
}

/// Sealed records.
#[async_trait]
pub trait SealedRecords: Send + Sync {
    /// A key of the host itself, sealed.
    async fn host_key(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError>;
    /// Stores a key of the host itself, sealed, if it has none of this name.
    async fn host_key_put(&self, name: &str, sealed: Vec<u8>) -> Result<(), StoreError>;
    /// All sealed records, in no order.
    async fn sealed_list(&self) -> Result<Vec<SealedRecord>, StoreError>;
    /// Puts another seal in the place of one, if that one is still there; says whether it was. It changes nothing else:
    /// not the revision, and no entry of the audit log.
    async fn sealed_swap(&self, before: SealedRecord, after: Vec<u8>) -> Result<bool, StoreError>;
}
