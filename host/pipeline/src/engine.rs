//! What executes modules, seen from the pipeline. In the host it is the sandbox ([`SandboxEngine`]); a bench
//! puts native code in its place, to tell what isolation costs.

use async_trait::async_trait;
use portolan_domain::{
    ModuleDigest, RunId, TenantId,
    contract::{Description, Input, LogLine, Outcome},
};
use serde_json::Value;

use crate::Witness;

mod sandboxed;

pub use sandboxed::SandboxEngine;

/// What one call of a module came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// What the module decided, or how it failed.
    pub verdict: Result<Outcome, Failure>,
    /// What it logged, even when it failed.
    pub log: Vec<LogLine>,
    /// Lines that were over the limits.
    pub log_dropped: u32,
    /// Units of deterministic work.
    pub fuel: u64,
    /// Wall time in microseconds, waiting for a guest thread not included.
    pub wall_us: u64,
    /// Highest memory of the instance, in bytes.
    pub memory_bytes: u64,
    /// Bytes handed to the module.
    pub input_bytes: u64,
    /// Bytes of its outcome.
    pub output_bytes: u64,
}

/// How a call of a module failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Stable and machine-readable: `guest-out-of-fuel`.
    pub code: String,
    /// For people.
    pub message: String,
    /// Whether the same call may succeed later, because it failed for a reason of the host's.
    pub retryable: bool,
}

/// Why a module cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ModuleError {
    /// The tenant has no such module.
    #[error("the tenant has no module {0}")]
    Unknown(ModuleDigest),
    /// It could not be read or compiled now.
    #[error("the module cannot be loaded")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Executes modules.
#[async_trait]
pub trait Engine: Send + Sync + std::fmt::Debug {
    /// What a module declared when it was uploaded.
    async fn description(
        &self,
        tenant: &TenantId,
        module: &ModuleDigest,
    ) -> Result<std::sync::Arc<Description>, ModuleError>;

    /// Calls `transform` in a fresh sandbox.
    async fn transform(&self, call: Call<'_>) -> Result<Report, ModuleError>;

    /// Who sees what is being executed. None: what kills the process is not found out.
    fn witness(&self) -> Option<&Witness> {
        None
    }
}

/// A call that is to be made.
#[derive(Debug)]
pub struct Call<'c> {
    /// Whose module.
    pub tenant: &'c TenantId,
    /// Which module.
    pub module: &'c ModuleDigest,
    /// For which run.
    pub run: &'c RunId,
    /// Whether it must be executed alone: see [`crate::witness`].
    pub suspect: bool,
    /// Whether nobody waits for it: then it is made when no live call waits.
    pub behind: bool,
    /// What it is given.
    pub input: Input,
}

/// Adds up what the rounds of one run cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    rounds: u64,
    fuel: u64,
    wall_us: u64,
    memory_bytes_max: u64,
    input_bytes: u64,
    output_bytes: u64,
    log_dropped: u64,
}

impl Cost {
    /// One more round.
    pub fn add(&mut self, report: &Report) {
        self.rounds += 1;
        self.fuel = self.fuel.saturating_add(report.fuel);
        self.wall_us = self.wall_us.saturating_add(report.wall_us);
        self.memory_bytes_max = self.memory_bytes_max.max(report.memory_bytes);
        self.input_bytes = self.input_bytes.saturating_add(report.input_bytes);
        self.output_bytes = self.output_bytes.saturating_add(report.output_bytes);
        self.log_dropped = self.log_dropped.saturating_add(u64::from(report.log_dropped));
    }

    /// Fuel of all rounds.
    #[must_use]
    pub const fn fuel(self) -> u64 {
        self.fuel
    }

    /// As it is stored with the run.
    #[must_use]
    pub fn to_json(self) -> Value {
        serde_json::json!({
            "rounds": self.rounds,
            "fuel": self.fuel,
            "wall_us": self.wall_us,
            "memory_bytes_max": self.memory_bytes_max,
            "input_bytes": self.input_bytes,
            "output_bytes": self.output_bytes,
            "log_dropped": self.log_dropped,
        })
    }
}
