//! Alerts: things that people should hear of.

use async_trait::async_trait;
use portolan_domain::{AlertId, Scope, Timestamp, contract::Severity};
use serde_json::Value;

use crate::{Page, StoreError};

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
    /// Whether somebody still has to look.
    pub open: bool,
    /// How often it happened.
    pub count: u64,
    /// When it first happened.
    pub first_at: Timestamp,
    /// When it last happened.
    pub last_at: Timestamp,
}

/// Alerts.
#[async_trait]
pub trait Alerts: Send + Sync {
    /// Raises an alert, or counts one more on the open one (S12).
    async fn alert_raise(&self, scope: &Scope, alert: NewAlert) -> Result<(), StoreError>;
    /// The alerts of a scope, newest first; only open ones when asked.
    async fn alert_list(&self, scope: &Scope, open_only: bool, page: Page) -> Result<Vec<Alert>, StoreError>;
    /// Somebody has dealt with it.
    async fn alert_resolve(&self, scope: &Scope, id: &AlertId, now: Timestamp) -> Result<(), StoreError>;
}
