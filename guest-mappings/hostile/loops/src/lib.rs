//! Loops for ever in `transform`. The host must stop it, name the reason, and serve the others meanwhile.

use portolan_sdk::prelude::*;

/// A mapping that never ends.
#[derive(Debug)]
pub struct Loops;

impl Mapping for Loops {
    fn describe() -> Description {
        Description::new("hostile-loops", env!("CARGO_PKG_VERSION"), "Loops for ever.")
            .serves("stripe", "charge.succeeded")
    }

    fn map(_: &Cx<'_>) -> Result<Plan, Stop> {
        let mut rounds = 0_u64;
        loop {
            // Seen from outside, so that the compiler must keep the loop.
            rounds = std::hint::black_box(rounds).wrapping_add(1);
        }
    }
}

portolan_sdk::mapping!(Loops);
