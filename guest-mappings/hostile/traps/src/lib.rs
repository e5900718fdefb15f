//! Panics with a text. The host must make a value of the trap, and keep the line that the SDK's panic hook logs.

use portolan_sdk::prelude::*;

/// A mapping that panics.
#[derive(Debug)]
pub struct Traps;

impl Mapping for Traps {
    fn describe() -> Description {
        Description::new("hostile-traps", env!("CARGO_PKG_VERSION"), "Panics.")
            .serves("stripe", "charge.succeeded")
    }

    #[expect(clippy::panic, reason = "that is what this module is for")]
    fn map(cx: &Cx<'_>) -> Result<Plan, Stop> {
        portolan_sdk::info!("about to panic on {}", cx.event().id);
        panic!("this mapping panics on purpose")
    }
}

portolan_sdk::mapping!(Traps);
