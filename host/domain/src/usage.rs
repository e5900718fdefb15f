//! What a tenant used, as numbers that add up: over environments, hours and tenants.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! usage {
    ($($(#[doc = $doc:literal])+ $name:ident;)+) => {
        /// What was used.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        pub struct Usage {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl Usage {
            /// Every number by name, in the order of the fields.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name),)+];

            /// Every number, in the order of [`Self::NAMES`].
            #[must_use]
            pub const fn numbers(&self) -> [u64; Self::NAMES.len()] {
                [$(self.$name,)+]
            }

            /// From numbers in the order of [`Self::NAMES`].
            #[must_use]
            pub const fn of(numbers: [u64; Self::NAMES.len()]) -> Self {
                let [$($name,)+] = numbers;
                Self { $($name,)+ }
            }
        }
    };
}

usage! {
    /// Events that were stored.
    events;
    /// Events that had been stored before.
    repeats;
    /// Bytes of the payloads of events that were stored.
    bytes_in;
    /// Runs that were stored: one for each mapping that an event matched.
    runs;
    /// Executions of a module on a run: one, or more when it was deferred, tried again or redriven.
    executions;
    /// Fuel that executions used.
    fuel;
    /// Wall time of guests, in microseconds.
    guest_us;
    /// Reads of other systems that modules asked for.
    calls;
    /// Deliveries that were planned.
    deliveries;
    /// Attempts of deliveries.
    attempts;
    /// Modules that were uploaded.
    modules;
    /// Bytes of modules that were uploaded.
    module_bytes;
}

impl Usage {
    /// With another's numbers added.
    pub fn add(&mut self, other: &Self) {
        let (mut sum, other) = (self.numbers(), other.numbers());
        for (number, more) in sum.iter_mut().zip(other) {
            *number = number.saturating_add(more);
        }
        *self = Self::of(sum);
    }
}

/// By what usage is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Period {
    /// Hours.
    Hour,
    /// Days, in UTC.
    #[default]
    Day,
    /// Calendar months, in UTC.
    Month,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_go_together_and_add_up() {
        let mut sum = Usage { events: 1, module_bytes: 7, ..Usage::default() };
        sum.add(&Usage { events: 2, fuel: u64::MAX, ..Usage::default() });
        sum.add(&Usage { fuel: 1, ..Usage::default() });
        assert_eq!(sum, Usage { events: 3, fuel: u64::MAX, module_bytes: 7, ..Usage::default() });
        assert_eq!(Usage::of(sum.numbers()), sum);
        assert_eq!(Usage::NAMES.first(), Some(&"events"));
    }
}
