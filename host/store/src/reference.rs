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

/// What leads from a number of some system to an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trail {
    /// The event.
    pub event: EventId,
    /// The system that calls something so.
    pub system: String,
    /// How it is known.
    pub by: KnownBy,
    /// The object at home, when it was remembered.
    pub key: Option<ReferenceKey>,
}

/// How a number is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KnownBy {
    /// It was remembered.
    Reference,
    /// Another system answered a delivery with it, lately.
    Response,
    /// An event is about the object with this id.
    Object,
}

impl KnownBy {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reference => "reference",
            Self::Response => "response",
            Self::Object => "object",
        }
    }
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
    /// Which events led to, or are about, what a system (any, if none is named) calls `document`: remembered references, the
    /// responses of the latest deliveries, objects of events. At most 100.
    async fn document_trails(
        &self,
        scope: &Scope,
        system: Option<&str>,
        document: &str,
    ) -> Result<Vec<Trail>, StoreError>;
}
