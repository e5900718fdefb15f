//! What is not finished, and what people should look at.

use std::collections::BTreeMap;

use async_trait::async_trait;
use portolan_domain::{
    EventId, Scope, TenantId, Timestamp,
    contract::Severity,
    state::{DeliveryState, RunState},
};

use crate::StoreError;

/// Whose unfinished work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// Every tenant's.
    All,
    /// These tenants'.
    These(Vec<TenantId>),
}

/// What is not finished in one environment: how many are in each state that is not final. A state without any is not named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Runs.
    pub runs: BTreeMap<RunState, u64>,
    /// Deliveries.
    pub deliveries: BTreeMap<DeliveryState, u64>,
    /// Alerts that are not resolved, by severity.
    pub alerts: BTreeMap<Severity, u64>,
}

/// The oldest unfinished run or delivery of an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Oldest {
    /// Whose.
    pub scope: Scope,
    /// The id of the run or delivery.
    pub subject: String,
    /// Of which event.
    pub event: EventId,
    /// When it was stored.
    pub since: Timestamp,
}

/// What is not finished.
#[async_trait]
pub trait Backlogs: Send + Sync {
    /// In every environment of theirs that has any: what is not finished.
    async fn backlog(&self, whose: Whose) -> Result<BTreeMap<Scope, Backlog>, StoreError>;

    /// In every environment of theirs that has any: the oldest run and the oldest delivery that are not finished and wait
    /// for no person, nor for what their module said has yet to arrive.
    async fn oldest_work(&self, whose: Whose) -> Result<Vec<Oldest>, StoreError>;
}
