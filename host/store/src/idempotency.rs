//! Idempotency keys of the API: a request that is made again is carried out once.

use async_trait::async_trait;
use portolan_domain::Timestamp;

use crate::StoreError;

/// A request that carries an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyedRequest {
    /// Digest of the API key and the idempotency key.
    pub id: [u8; 32],
    /// Digest of what is asked.
    pub request: [u8; 32],
    /// The process that would carry it out.
    pub owner: String,
    /// The present.
    pub now: Timestamp,
    /// What was begun before this is forgotten.
    pub since: Timestamp,
}

/// What is known of a keyed request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// Nothing: carry it out, then end or forget it.
    New,
    /// It was carried out: its status, and its answer as it was sealed.
    Ended {
        /// Of HTTP.
        status: u16,
        /// Only its API key can open it.
        answer: Vec<u8>,
    },
    /// This process is carrying it out.
    UnderWay,
    /// Another process was carrying it out when it died: nobody knows how far it came.
    Unknown,
    /// The same key came with another request.
    Different,
}

/// Idempotency keys.
#[async_trait]
pub trait IdempotencyKeys: Send + Sync {
    /// Begins a keyed request, or tells what became of it (S18).
    async fn idempotency_begin(&self, keyed: KeyedRequest) -> Result<Begun, StoreError>;
    /// Keeps the answer.
    async fn idempotency_end(&self, id: [u8; 32], status: u16, answer: Vec<u8>) -> Result<(), StoreError>;
    /// Nothing was changed: it may be asked again.
    async fn idempotency_forget(&self, id: [u8; 32]) -> Result<(), StoreError>;
}
