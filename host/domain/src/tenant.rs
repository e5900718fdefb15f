//! Whose data it is. Every method on tenant data takes a [`Scope`] (or a tenant's id) first.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::TenantId;

/// One of a tenant's three worlds, each with its own sources, connections, mappings and keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// For trying things out, against stand-ins or test companies.
    Sandbox,
    /// For acceptance, against a copy of the real systems.
    Qa,
    /// The real thing.
    Production,
}

impl Environment {
    /// As it is written everywhere: `sandbox`, `qa`, `production`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sandbox => "sandbox",
            Self::Qa => "qa",
            Self::Production => "production",
        }
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is none of the three environments.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an environment is one of sandbox, qa, production")]
pub struct UnknownEnvironment;

impl FromStr for Environment {
    type Err = UnknownEnvironment;
    fn from_str(text: &str) -> Result<Self, UnknownEnvironment> {
        match text {
            "sandbox" => Ok(Self::Sandbox),
            "qa" => Ok(Self::Qa),
            "production" => Ok(Self::Production),
            _ => Err(UnknownEnvironment),
        }
    }
}

/// A tenant in one of its environments: the boundary that no row and no query crosses.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Scope {
    /// Whose.
    pub tenant: TenantId,
    /// In which of its worlds.
    pub environment: Environment,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tenant, self.environment)
    }
}
