//! From the contract's two functions to a [`Mapping`]. Called by what [`mapping!`](crate::mapping) exports, and
//! natively by tests and benches.

use crate::{
    Cx, Mapping,
    contract::{Input, Outcome},
};

/// One call of a mapping: the plan, or why there is none.
#[must_use]
pub fn transform<M: Mapping>(input: &Input) -> Outcome {
    match M::map(&Cx::new(input)) {
        Ok(plan) => Outcome::Deliver(plan),
        Err(stop) => stop.into(),
    }
}

/// Logs a panic with its file and line before the sandbox traps: a trap itself tells nothing.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("no text");
        match panic.location() {
            Some(place) => crate::error!("panic at {}:{}: {message}", place.file(), place.line()),
            None => crate::error!("panic: {message}"),
        }
    }));
}
