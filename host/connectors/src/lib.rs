//! Connectors: the only code of the host that opens outbound sockets.
//!
//! The cast: a [`Connector`] is code for one kind of system and is found by its name in the
//! [`Registry`]; it turns a tenant's settings and secrets into a [`Connection`], which makes calls:
//! [`Connection::read`] for queries and existence checks, [`Connection::write`] for deliveries. Which
//! operations there are, their shapes and what may be done when an outcome is unknown stands in
//! `docs/connectors.md` and, for the host to enforce, in [`Connector::operations`].
//!
//! A connector knows nothing of tenants, plans, stores or retries: it makes one call and says how that
//! ended. It never repeats a write whose outcome it does not know; that is the deliverer's decision.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use portolan_domain::{Secret, class::WriteClass, verdict::CallFailure};
use serde_json::Value;

/// Something a connector can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// Its name: `sales-order.create`.
    pub name: &'static str,
    /// Whether it changes anything.
    pub effect: Effect,
}

/// Whether an operation changes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// No side effect: may be repeated at will.
    Read,
    /// Makes or changes a document. The class says what may be done when the outcome is unknown.
    Write(WriteClass),
    /// Changes how the system calls us. For the host's own use, never for modules: the answer may hold a secret.
    Setup,
}

/// Code for one kind of system.
pub trait Connector: Send + Sync + std::fmt::Debug {
    /// Its name in modules, the API and the database: `sap-ecc`.
    fn name(&self) -> &'static str;

    /// Everything it can do.
    fn operations(&self) -> &'static [Operation];

    /// Makes a connection from a tenant's settings. Opens no socket yet.
    ///
    /// # Errors
    /// The setting or secret that is wrong or missing, and what would be right. Unknown settings are refused.
    fn connect(
        &self,
        config: &ConnectionConfig,
        outbound: &outbound::Outbound,
    ) -> Result<Arc<dyn Connection>, ConfigError>;
}

/// A tenant's settings of a connection.
#[derive(Debug, Clone)]
pub struct ConnectionConfig {
    /// As the connector documents them; an object.
    pub settings: Value,
    /// By name: `password`. Never printed.
    pub secrets: std::collections::BTreeMap<String, Secret>,
}

/// A setting that a connector cannot work with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{pointer}: {message}")]
pub struct ConfigError {
    /// JSON Pointer to the setting: `/settings/base_url`, `/secrets/password`.
    pub pointer: String,
    /// What is wrong and what would be right.
    pub message: String,
}

/// What identifies a call and bounds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallContext {
    /// The same in every attempt of one delivery, different for every other: at most 64 characters of
    /// `[A-Za-z0-9]`. For a read it identifies the run or delivery that asks.
    pub call_id: String,
    /// Numbered from 1.
    pub attempt: u32,
    /// The call ends by then, whatever happens.
    pub timeout: Duration,
    /// Seconds since 1970, for signatures.
    pub now_seconds: u64,
    /// The trace that the call belongs to, as W3C `traceparent`: sent along with every request.
    pub traceparent: Option<String>,
}

/// A read's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The system has it.
    Yes(Value),
    /// The system was asked and does not have it.
    No,
}

/// A configured connector, ready to make calls. Cheap to share; keeps its own pool of sockets.
#[async_trait]
pub trait Connection: Send + Sync + std::fmt::Debug {
    /// Asks. `operation` is one of the connector's reads.
    ///
    /// # Errors
    /// How the call failed. Never [`CallFailure::Ambiguous`]: a read may simply be made again.
    async fn read(
        &self,
        operation: &str,
        parameters: &Value,
        context: &CallContext,
    ) -> Result<Found, CallFailure>;

    /// Makes one attempt. `operation` is one of the connector's writes.
    ///
    /// # Errors
    /// How the call failed; [`CallFailure::Ambiguous`] whenever the other system may have carried it out.
    async fn write(&self, operation: &str, body: &Value, context: &CallContext)
    -> Result<Value, CallFailure>;

    /// A cheap call that shows whether address, credentials and rights are right.
    ///
    /// # Errors
    /// How it failed.
    async fn probe(&self, context: &CallContext) -> Result<(), CallFailure>;

    /// The longest a call may take; the deliverer's lease is longer.
    fn timeout(&self) -> Duration;

    /// How long after an unknown outcome the system may still be working.
    fn settle(&self) -> Duration;

    /// How many calls it may be given at once.
    fn concurrency_max(&self) -> usize;

    /// What may be done when the outcome of this write is unknown: the connector's table with the connection's own
    /// numbers. [`WriteClass::Blind`] for what it does not know.
    fn class(&self, operation: &str) -> WriteClass;

    /// How calls are paced, and when they are held back.
    fn traffic(&self) -> Traffic;
}

/// How a connection's calls are paced, and when they are held back. Zero switches each off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traffic {
    /// Calls that deliveries may make in a second, with bursts of one second's worth.
    pub requests_per_second: u32,
    /// Outages in a row after which nothing but probes is sent.
    pub breaker_failures: u32,
    /// Retries among a hundred sends, beyond a minimum.
    pub retry_percent_max: u32,
}

mod call;
pub mod collector;
mod connection;
mod epicor;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod json_http;
pub mod mail;
pub mod outbound;
mod parameters;
mod registry;
mod sage_pro;
mod sap_ecc;
mod settings;
mod stripe;

pub use outbound::{Outbound, OutboundPolicy};
pub use registry::Registry;
