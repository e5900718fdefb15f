//! The whole from the outside: processes, HTTP, signals. One file per kind of promise.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "in a test every surprise is a panic"
)]

mod api;
mod audit;
mod cards;
mod commands;
mod crash;
mod crashes;
mod customers_back;
mod demo;
mod desk;
mod developer;
mod disk;
mod door;
mod faults;
mod forgeries;
mod fuzz;
mod hooks;
mod hostile;
mod isolation;
mod keeping;
mod life;
mod matrix;
mod modules;
mod notifications;
mod notify;
mod observability;
mod poison;
mod power;
mod restore;
mod secrets;
mod senders;
mod stripe_account;
mod tenants;
