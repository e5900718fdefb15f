//! A host, stand-ins and tenants on this machine, each a process of its own, spoken to as its users would: by
//! signals, HTTP and what it prints. The demo plays on this stage, and so do the black-box tests; a host that
//! serves uses nothing of it.

#![allow(clippy::indexing_slicing, reason = "a JSON value answers null for what it does not have")]

mod client;
mod host;
mod process;
mod setups;
mod stand_in;
mod tenant;
mod webhook;

pub use client::{Client, Refused};
pub use host::Host;
pub use process::Process;
pub use setups::component;
pub use stand_in::{LedgerEntry, StandIn, System};
pub use tenant::{Address, Tenant, TenantSetup};
pub use webhook::{sign, signed_headers};

/// A secret with which the stage's webhooks are signed.
pub const SIGNING_SECRET: &str = "whsec_stage_0123456789abcdef";
