//! What the simulators do, seen from the outside: over HTTP, and in what their ledgers say.
//!
//! The client is a few lines over a socket, so that a connection that is closed without an answer looks different
//! from every answer.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

mod epicor;
mod epicor_flows;
mod faults;
mod harness;
mod openapi;
mod restart;
mod sage;
mod sage_contract;
mod sap;
mod sap_idoc;
mod stripe;
mod stripe_api;
mod stripe_month;
mod stripe_sending;
