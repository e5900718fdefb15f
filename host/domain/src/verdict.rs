//! How a call to another system ended, and what follows from it.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What went wrong, for people and for rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CallProblem {
    /// Stable and machine-readable: `timeout`, `record-locked`, `credentials-refused`.
    pub code: String,
    /// What the other system said, scrubbed of secrets, at most 4 KiB.
    pub message: String,
    /// The system's own rows or error object, where it sent any; at most 64 KiB as JSON.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub detail: Value,
}

impl CallProblem {
    /// A problem without the system's own detail.
    #[must_use]
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into(), detail: Value::Null }
    }

    /// Adds what the system itself said.
    #[must_use]
    pub fn with_detail(mut self, detail: Value) -> Self {
        self.detail = detail;
        self
    }
}

/// Why a call did not succeed. The cases differ in what may be done next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CallFailure {
    /// Nothing was carried out, and the same call may succeed later (locked record, 429, refused connection).
    Retryable {
        /// What went wrong.
        problem: CallProblem,
        /// How long the system asked to wait, if it did, in milliseconds.
        after_ms: Option<u64>,
    },
    /// Nothing was carried out, and repeating will not help: data or set-up must change first.
    Permanent {
        /// What went wrong.
        problem: CallProblem,
    },
    /// Nothing was carried out because our credentials or rights were refused: somebody must be told at once.
    Unauthorized {
        /// What went wrong.
        problem: CallProblem,
    },
    /// It may have been carried out: the answer was lost, cut short or not understood.
    Ambiguous {
        /// What went wrong.
        problem: CallProblem,
    },
}

impl CallFailure {
    /// What went wrong.
    #[must_use]
    pub const fn problem(&self) -> &CallProblem {
        match self {
            Self::Retryable { problem, .. }
            | Self::Permanent { problem }
            | Self::Unauthorized { problem }
            | Self::Ambiguous { problem } => problem,
        }
    }

    /// A retryable failure without advice on when.
    #[must_use]
    pub fn retryable(code: &str, message: impl Into<String>) -> Self {
        Self::Retryable { problem: CallProblem::new(code, message), after_ms: None }
    }

    /// A permanent failure.
    #[must_use]
    pub fn permanent(code: &str, message: impl Into<String>) -> Self {
        Self::Permanent { problem: CallProblem::new(code, message) }
    }

    /// An ambiguous failure.
    #[must_use]
    pub fn ambiguous(code: &str, message: impl Into<String>) -> Self {
        Self::Ambiguous { problem: CallProblem::new(code, message) }
    }

    /// Whether it says that the system as a whole is down or cannot be reached, and not that it has something
    /// against this call.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        const OUTAGES: [&str; 5] =
            ["not-connected", "timeout", "connection-lost", "server-error", "unavailable"];
        match self {
            Self::Retryable { problem, .. } | Self::Ambiguous { problem } => {
                OUTAGES.contains(&problem.code.as_str())
            }
            Self::Permanent { .. } | Self::Unauthorized { .. } => false,
        }
    }

    /// How long the system asked to wait.
    #[must_use]
    pub fn after(&self) -> Option<Duration> {
        match self {
            Self::Retryable { after_ms, .. } => after_ms.map(Duration::from_millis),
            Self::Permanent { .. } | Self::Unauthorized { .. } | Self::Ambiguous { .. } => None,
        }
    }
}
