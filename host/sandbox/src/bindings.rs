//! The types of `wit/mapping.wit` as wasmtime reads and writes them. Private to the sandbox: outside, the same
//! things are [`portolan_domain::contract`], with JSON text parsed and amounts checked.
//!
//! Inputs borrow from the host's own values, so that a call copies each byte once, into the guest.

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "mapping",
    ownership: Borrowing { duplicate_if_necessary: true },
});

pub(crate) use portolan::mapping::{log::Level, types};
