//! The sandbox: the only code that knows wasmtime. It admits uploaded modules, keeps them compiled, and runs
//! them in isolation. It is called by `pipeline` (runs) and `api` (uploads); it knows neither the store nor the
//! connectors, opens no socket, and makes nothing durable but a cache that may be lost.
//!
//! A module is hostile until proven otherwise, and then still. The worst it can do is fail:
//!
//! | it tries to | and meets |
//! |---|---|
//! | cost more to compile than to send | [`ModuleLimits`], counted before compiling; a worker process under limits of the system |
//! | smuggle native code in | only WebAssembly is accepted; artifacts are sealed with a keyed MAC |
//! | reach a file, a socket, a clock, a secret | an allow-list of imports, linked to stand-ins that know nothing |
//! | run for ever | fuel, counted in instructions; a deadline in processor time under it |
//! | take all memory | a cap on the sum of its memories and tables, and on what crosses the boundary |
//! | flood the log or the host | budgets for lines, bytes and host calls |
//! | find what the last one left | a fresh instance for every call |
//! | starve its neighbours | its own queue, served in turn, on threads of lower priority than everything else |
//!
//! The life of a module: [`Sandbox::admit`] checks its structure, has a [worker process](compiler_main) compile
//! it, seals the artifact into the compiled cache and asks it to `describe` itself; the caller stores the component.
//! [`Sandbox::load`] brings it back from memory, from the cache, or by compiling it again.
//! [`Sandbox::transform`] makes one call; what comes of it is a [`RunReport`], also when the module fails.
//!
//! At a crash nothing is lost: runs are repeated by the pipeline, an artifact is either whole or absent, and
//! workers end with their input.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "the enums matched here are wasmparser's and wasmtime's, with hundreds of cases that mean nothing to us"
)]

mod artifact;
mod bindings;
mod compiler;
mod convert;
mod description;
mod engine;
mod interfaces;
mod limits;
mod linker;
mod loaded;
mod log;
mod module;
mod observe;
mod queue;
mod refusal;
mod report;
mod run;
mod sandbox;
mod settings;
mod state;
mod structure;
mod threads;
mod ticker;
mod uploads;

/// A door for the fuzz targets of `tests/`.
#[cfg(feature = "fuzz")]
pub mod fuzz {
    use crate::{ModuleLimits, structure};

    /// What the first look at an upload says.
    #[must_use]
    pub fn structure(upload: &[u8]) -> String {
        let checked = structure::check(upload, &ModuleLimits::default(), structure::Depth::Instructions);
        checked.map_or_else(|refusal| refusal.to_string(), |_| "admitted".to_owned())
    }
}

pub use compiler::worker::compiler_main;
pub use limits::{LogLimits, ModuleLimits, RunLimits};
pub use module::Module;
pub use refusal::{AdmitError, LoadError, Refusal, SandboxError};
pub use report::{Cost, Frame, GuestFailure, RunReport};
pub use sandbox::{Admitted, ModuleStats, Sandbox};
pub use settings::{
    CompileLimits, CompilerCommand, LoadedLimits, Metering, PoolLimits, QueueLimits, SandboxSettings,
};
pub use threads::Turn;
