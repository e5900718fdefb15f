//! The one place with unsafe code: turning an artifact into executable memory.
#![expect(
    unsafe_code,
    reason = "loading compiled code cannot be checked by the compiler; the seal is what makes it sound"
)]

use wasmtime::{Engine, component::Component};

use super::Verified;

/// Loads an artifact. wasmtime itself refuses one of another version, target or configuration.
pub(super) fn component(engine: &Engine, artifact: &Verified<'_>) -> wasmtime::Result<Component> {
    // SAFETY: `deserialize` requires bytes that `precompile_component` of a compatible engine produced and nobody
    // changed. A `Verified` is made only from bytes whose MAC, under a key that is nowhere but in the host's
    // memory and settings, was computed by `Artifacts::store` over the answer of our own compile worker. The
    // bytes are in memory that only this call reads: the file cannot change between the check and this.
    unsafe { Component::deserialize(engine, artifact.bytes()) }
}
