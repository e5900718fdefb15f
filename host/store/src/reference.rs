//! References: the remembered pairs of ids of the same thing in two systems. Written by runs and deliveries.

use std::collections::BTreeMap;

use async_trait::async_trait;
use portolan_domain::{EventId, Scope, contract::ReferenceKey};

use crate::StoreError;

/// Where a counterpart was remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counterpart {
    /// The object at home.
    pub key: ReferenceKey,
    /// The event from which it was learnt.
    pub event: EventId,
}

/// References. A later pair with the same object and system replaces the earlier one.
#[async_trait]
pub trait References: Send + Sync {
    /// The counterparts of an object: system → id; empty when none is known.
    async fn reference_find(
        &self,
        scope: &Scope,
        key: &ReferenceKey,
    ) -> Result<BTreeMap<String, String>, StoreError>;
    /// The other way round: which objects are known as `id` in `system` (an ERP document number, say).
    async fn reference_reverse(
        &self,
        scope: &Scope,
        system: &str,
        id: &str,
    ) -> Result<Vec<Counterpart>, StoreError>;
}
