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
mod faults;
mod harness;
mod restart;
mod sage;
mod sap;
mod sap_idoc;
mod stripe;
