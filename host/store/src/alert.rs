//! Alerts: things that people should hear of.

use async_trait::async_trait;
use portolan_domain::{AlertId, EventId, Scope, Timestamp, contract::Severity, state::AlertState};
use serde_json::Value;

use crate::{Page, StoreError, run::Decision};

/// An alert to be raised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAlert {
    /// Used when there is no open alert with this code and title.
    pub id: AlertId,
    /// How much it matters.
    pub severity: Severity,
    /// Stable and machine-readable: `signature-mismatch`.
    pub code: String,
    /// One line.
    pub title: String,
    /// The facts it rests on, of the latest occurrence.
    pub detail: Value,
    /// When it happened.
    pub at: Timestamp,
}

/// A stored alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// Its id.
    pub id: AlertId,
    /// Whose.
    pub scope: Scope,
    /// How much it matters: the highest so far.
    pub severity: Severity,
    /// Stable and machine-readable.
    pub code: String,
    /// One line.
    pub title: String,
    /// Of the latest occurrence.
    pub detail: Value,
    /// Where it stands.
    pub state: AlertState,
    /// Who looks after it, since when and why; kept when it is resolved.
    pub acknowledged: Option<Decision>,
    /// Who resolved it, when and why. [`RESOLVED_BY_HOST`]: what it told of is over.
    pub resolved: Option<Decision>,
    /// How often it happened.
    pub count: u64,
    /// When it first happened.
    pub first_at: Timestamp,
    /// When it last happened.
    pub last_at: Timestamp,
}

/// Who resolves an alert when what it told of is over.
pub const RESOLVED_BY_HOST: &str = "host";

/// Which alerts to list. All conditions must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlertFilter {
    /// In one of these states; empty: in any.
    pub states: Vec<AlertState>,
    /// That matter at least so much.
    pub severity_least: Option<Severity>,
    /// With this code; `delivery-dead.*` means all that begin so.
    pub code: Option<String>,
    /// That happened at this time or later.
    pub since: Option<Timestamp>,
}

impl AlertFilter {
    /// Those that are not resolved.
    #[must_use]
    pub fn unresolved() -> Self {
        Self { states: vec![AlertState::Open, AlertState::Acknowledged], ..Self::default() }
    }
}

/// Alerts.
#[async_trait]
pub trait Alerts: Send + Sync {
    /// Raises an alert, or counts one more on the one that is not resolved (S12). Stores the notices of the rules that tell
    /// it: when it is new, and when it matters more than before (S24).
    async fn alert_raise(&self, scope: &Scope, alert: NewAlert) -> Result<(), StoreError>;
    /// One alert of a scope.
    async fn alert_get(&self, scope: &Scope, id: &AlertId) -> Result<Alert, StoreError>;
    /// The alerts of a scope that match, newest first.
    async fn alert_list(
        &self,
        scope: &Scope,
        filter: AlertFilter,
        page: Page,
    ) -> Result<Vec<Alert>, StoreError>;
    /// Those of all tenants that match and are not resolved, newest first.
    async fn alert_list_everywhere(&self, filter: AlertFilter, page: Page) -> Result<Vec<Alert>, StoreError>;
    /// The alerts that this event, its runs or its deliveries raised, newest first, at most 100. Of what happened more than a
    /// thousand times under one alert, only the first thousand events know it.
    async fn alert_of_event(&self, scope: &Scope, event: &EventId) -> Result<Vec<Alert>, StoreError>;
    /// Somebody looks after it. What happens again is counted, and it stays acknowledged. Done twice, the first stays.
    /// `Conflict` when it is resolved.
    async fn alert_acknowledge(
        &self,
        scope: &Scope,
        id: &AlertId,
        decision: Decision,
    ) -> Result<(), StoreError>;
    /// It is dealt with. What happens again opens a new one. Done twice, the first stays.
    async fn alert_resolve(&self, scope: &Scope, id: &AlertId, decision: Decision) -> Result<(), StoreError>;
    /// Resolves the alerts with this code in every scope but these: what they told of is over there. Answers how many.
    async fn alert_end_elsewhere(
        &self,
        code: &str,
        but: Vec<Scope>,
        now: Timestamp,
    ) -> Result<u64, StoreError>;
}
