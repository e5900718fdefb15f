//! Stand-ins for Stripe's API, SAP ECC, Epicor and Sage Pro, for tests, the demo and a tenant's sandbox.
//!
//! They behave like the real systems, misbehave like them when told to, and judge: each keeps an append-only
//! ledger of what was really committed, so that a test counts documents without trusting the host. For that
//! reason this crate shares no code with the rest of the host, and knows the systems from their documentation
//! only. It is called by the binary (`portolan simulate`) and by tests; nothing of it runs in a host that serves.
//!
//! The cast:
//!
//! * [`settings`]: what a simulator is told at start; the defaults are the documented standard world.
//! * [`server`]: accept loop, one HTTP exchange per call, the closing of connections without an answer.
//! * `exchange`: the life of one call: count, choose a fault, carry out, write the ledger, answer.
//! * `journal`: every call that came, for a judge of what was sent.
//! * `background`: what a system does without being called.
//! * `stand_in`: what each system implements: answer a call, and apply what was committed.
//! * `stripe`, `sap`, `epicor`, `sage`: the systems.
//! * [`ledger`], [`faults`]: the judge's book and the script of misfortunes, both readable over `/_simulator/`.
//! * [`story`]: what happens at Stripe: charges for the demo, a whole month of business, and what its books must say.
//!
//! The life of a document: a call is answered by the system as a pure decision (`Outcome`: the reply and the
//! drafts to commit); each draft becomes a numbered line of the ledger, is applied to the system's state, and the
//! reply leaves only after the line is on disk. Starting again is applying the ledger's lines to an empty state.

// The objects of Stripe are written as one literal each.
#![recursion_limit = "256"]

mod admin;
mod background;
mod clock;
mod epicor;
mod exchange;
pub mod faults;
mod journal;
pub mod ledger;
mod money;
mod run;
mod sage;
mod sap;
pub mod server;
pub mod settings;
mod stand_in;
pub mod story;
mod streams;
mod stripe;

pub use run::{SimulateArgs, run};
pub use server::{Running, serve};
pub use settings::{SimulatorSettings, System};
