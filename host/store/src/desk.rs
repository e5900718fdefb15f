//! The desk where people put things right: what an environment asks of those who decide, and what waits for a second
//! pair of eyes.
//!
//! Where an environment asks for four eyes, approving a hold, correcting, adopting, and sending again what is in doubt
//! take two keys: the first call is kept as a proposal, the second, by another key and of the same content, carries it
//! out. Both stay with the decision for ever.

use async_trait::async_trait;
use portolan_domain::{Scope, Timestamp};
use serde_json::Value;

use crate::{
    StoreError,
    run::{Decided, Decision},
};

/// A decision that waits for a second key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The run's or delivery's id.
    pub subject: String,
    /// `approve`, `correct`, `adopt`, `redrive` or `four-eyes`.
    pub action: String,
    /// What else the decision says: a body, a response; null when nothing.
    pub content: Value,
    /// The first.
    pub decision: Decision,
}

/// What an environment asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EnvironmentSettings {
    /// Whether decisions that may double or forge a document take two keys.
    pub four_eyes: bool,
    /// A pin is moved only after a clean replay of at least so many events, or of all that there are; 0: without.
    pub replay_events_min: u64,
}

/// A decision that was made about something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// `redrive`, `adopt`, …
    pub action: String,
    /// Who carried it out.
    pub decision: Decision,
    /// Who had proposed it, where four eyes were asked for.
    pub proposed: Option<Decision>,
}

/// The desk.
#[async_trait]
pub trait Desk: Send + Sync {
    /// What the environment asks for.
    async fn environment_settings(&self, scope: &Scope) -> Result<EnvironmentSettings, StoreError>;
    /// Changes it. To give up four eyes, or to ask for fewer events, takes four eyes.
    async fn environment_settings_put(
        &self,
        scope: &Scope,
        settings: EnvironmentSettings,
        decision: Decision,
    ) -> Result<Decided, StoreError>;
    /// What waits for a second key, newest first, at most 500.
    async fn proposal_list(&self, scope: &Scope) -> Result<Vec<Proposal>, StoreError>;
    /// What was decided about a run, delivery or connection, oldest first, at most 500.
    async fn decision_list(&self, scope: &Scope, subject: &str) -> Result<Vec<Past>, StoreError>;
    /// Resolves the alert with this code and title: what they told of is over.
    async fn alert_end(
        &self,
        scope: &Scope,
        code: &str,
        title: &str,
        now: Timestamp,
    ) -> Result<(), StoreError>;
}
