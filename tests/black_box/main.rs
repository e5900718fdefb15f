//! The whole from the outside: processes, HTTP, signals. One file per kind of promise.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "in a test every surprise is a panic"
)]

mod crashes;
mod customers_back;
mod demo;
mod faults;
mod hooks;
mod modules;
mod notify;
mod power;
mod senders;
mod stripe_account;
mod tenants;
