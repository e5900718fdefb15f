//! The sandbox from the outside: what is admitted, what is refused and in which words, and what a hostile module
//! can do. Guests are either written here, instruction by instruction ([`guests`]), or real ones built by
//! `cargo xtask guests`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

mod cache;
mod guests;
mod hostile;
mod real;
mod runs;
mod setup;
mod stand_ins;
mod uploads;
