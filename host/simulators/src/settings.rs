//! What a simulator is told at start. The defaults are the standard world of `docs/simulators.md`; a file given
//! with `--world` holds only what differs.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::faults::RandomFaults;

mod epicor;
mod sage;
mod sap;

pub use epicor::{EpicorBaq, EpicorBpm, EpicorCustomer, EpicorOptions, EpicorPart};
pub use sage::{SageCustomer, SageOptions};
pub use sap::{CompanyCode, GlAccount, IdocsOut, SapCustomer, SapOptions, SapUser, UnitOfWork};

/// A system that can be stood in for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum System {
    /// Stripe's API.
    Stripe,
    /// SAP ECC over SOAP-RFC.
    SapEcc,
    /// Epicor ERP 10 and Kinetic over REST.
    Epicor,
    /// Sage Pro behind the gateway of `docs/sage-pro-gateway.md`.
    SagePro,
}

impl System {
    /// The name used on the command line, in the API and in the ledger.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stripe => "stripe",
            Self::SapEcc => "sap-ecc",
            Self::Epicor => "epicor",
            Self::SagePro => "sage-pro",
        }
    }
}

/// Settings of one simulator. Those of the other systems are ignored.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimulatorSettings {
    /// Where to listen. Loopback only; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The append-only ledger. Without it, documents live as long as the process.
    pub ledger_path: Option<PathBuf>,
    /// Where every call is noted, for a judge of what was sent. Without it, calls are only counted.
    pub calls_path: Option<PathBuf>,
    /// Milliseconds that every call takes.
    pub latency_ms: u64,
    /// Faults at random, from the first call on.
    pub random_faults: Option<RandomFaults>,
    /// Stripe's API.
    pub stripe: StripeOptions,
    /// SAP ECC.
    pub sap: SapOptions,
    /// Epicor.
    pub epicor: EpicorOptions,
    /// Sage Pro.
    pub sage: SageOptions,
}

impl Default for SimulatorSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            ledger_path: None,
            calls_path: None,
            latency_ms: 0,
            random_faults: None,
            stripe: StripeOptions::default(),
            sap: SapOptions::default(),
            epicor: EpicorOptions::default(),
            sage: SageOptions::default(),
        }
    }
}

/// Stripe's account.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StripeOptions {
    /// Secret keys, which may do everything.
    pub secret_keys: Vec<String>,
    /// Restricted keys, and what each may read (`charges`, `customers` …).
    pub restricted_keys: BTreeMap<String, Vec<String>>,
    /// The version of the account, for calls without `Stripe-Version`.
    pub api_version: String,
    /// How long the answer to an idempotency key is remembered.
    pub idempotency_ms: u64,
    /// Calls of one second beyond which the account is told that it is too fast; 0 for no limit.
    pub calls_per_second_max: u32,
}

impl Default for StripeOptions {
    fn default() -> Self {
        Self {
            secret_keys: vec!["sk_test_portolan".to_owned()],
            restricted_keys: BTreeMap::from([(
                "rk_test_charges_only".to_owned(),
                vec!["charges".to_owned()],
            )]),
            api_version: "2026-07-29.dahlia".to_owned(),
            idempotency_ms: 24 * 60 * 60 * 1_000,
            calls_per_second_max: 0,
        }
    }
}
