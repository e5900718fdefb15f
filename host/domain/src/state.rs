//! The state machines of runs and deliveries, as data: an enum each and one transition function. The
//! store's guarded updates and CHECK constraints follow these, and a test compares them.
//!
//! ```text
//! run       pending ──> leased ──> planned ──> delivered | refused (a person gave up on a part)
//!              ^           │          │
//!              │ defer,    ├──> held ─┤ approve
//!              │ retry     │     └──> refused
//!              └───────────┤
//!                          ├──> skipped
//!                          └──> dead ──> pending (redrive)
//!
//! delivery  waiting ──> pending ──> leased ──> delivered
//!             ^            ^           │
//!  (held) ────┘ approve    ├── retry ──┤
//!                          │           ├──> in-doubt ──> pending (resend) | delivered (adopt)
//!                          │           └──> dead ──> pending (redrive) | delivered (adopt)
//!                          └─────────────────────────┘
//!  waiting, pending, held, in-doubt, dead ──> cancelled (a person gave up on it)
//! ```

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! states {
    ($($(#[$doc:meta])* $name:ident { $($(#[$case_doc:meta])* $case:ident = $text:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "kebab-case")]
        pub enum $name { $($(#[$case_doc])* $case,)* }

        impl $name {
            /// Every state.
            pub const ALL: &'static [Self] = &[$(Self::$case,)*];

            /// As it is written in the database, the API and the console.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$case => $text,)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(self.as_str()) }
        }

        impl FromStr for $name {
            type Err = UnknownState;
            fn from_str(text: &str) -> Result<Self, UnknownState> {
                match text {
                    $($text => Ok(Self::$case),)*
                    _ => Err(UnknownState(text.chars().take(32).collect())),
                }
            }
        }
    )*};
}

/// A text that names no state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown state {0:?}")]
pub struct UnknownState(String);

impl UnknownState {
    pub(crate) fn of(text: &str) -> Self {
        Self(text.chars().take(32).collect())
    }
}

states! {
    /// Whether a tenant is served.
    TenantState {
        /// It is.
        Active = "active",
        /// An operator has stopped it: nothing is taken in, no run and no delivery begins. Nothing is lost.
        Suspended = "suspended",
        /// As suspended, and removed when its time has come or an operator confirms it.
        Deleting = "deleting",
        /// It is being removed. There is no way back.
        Purging = "purging",
    }

    /// What became of an event at intake.
    EventState {
        /// At least one mapping matched: see its runs.
        Routed = "routed",
        /// No mapping matched. Kept, and visible.
        Unrouted = "unrouted",
        /// It cannot be used (not JSON, wrong mode): it waits for a person.
        Dead = "dead",
    }

    /// Where the execution of a module on an event stands.
    RunState {
        /// Due now or later.
        Pending = "pending",
        /// A host is working on it until its lease ends.
        Leased = "leased",
        /// Its plan is stored and being carried out.
        Planned = "planned",
        /// Its plan is stored and waits for a person's approval.
        Held = "held",
        /// Every delivery of its plan has been made.
        Delivered = "delivered",
        /// The module found nothing to do, on purpose.
        Skipped = "skipped",
        /// A person refused its plan, or gave up on some of its deliveries.
        Refused = "refused",
        /// It failed for good and waits for a person.
        Dead = "dead",
    }

    /// Where an alert stands. One that is open or acknowledged counts what happens again; after it is resolved, a new
    /// one is opened.
    AlertState {
        /// Somebody should look.
        Open = "open",
        /// Somebody looks after it.
        Acknowledged = "acknowledged",
        /// It is dealt with, or over.
        Resolved = "resolved",
    }

    /// Where a notice stands.
    NoticeState {
        /// Gathers what is too much to be told one by one, until its minute is over.
        Gathering = "gathering",
        /// Due now or later.
        Pending = "pending",
        /// A host is sending it until its lease ends.
        Leased = "leased",
        /// Its receiver has it. Absorbing.
        Sent = "sent",
        /// Given up. Absorbing.
        Failed = "failed",
    }

    /// Where the duty to make a call stands.
    DeliveryState {
        /// Something must happen first: an earlier delivery of the plan, or of the same object.
        Waiting = "waiting",
        /// Due now or later.
        Pending = "pending",
        /// A host is making the call until its lease ends.
        Leased = "leased",
        /// Made. Absorbing.
        Delivered = "delivered",
        /// Waits for the approval of its run.
        Held = "held",
        /// It may or may not have been carried out, and nobody can be asked: waits for a person.
        InDoubt = "in-doubt",
        /// It failed for good: a dead letter, which waits for a person.
        Dead = "dead",
        /// A person gave up on it. Absorbing.
        Cancelled = "cancelled",
    }
}

impl RunState {
    /// Whether a run may pass from this state to `next`.
    #[must_use]
    pub const fn may_become(self, next: Self) -> bool {
        use RunState::{Dead, Delivered, Held, Leased, Pending, Planned, Refused, Skipped};
        matches!(
            (self, next),
            (Pending | Leased, Leased)
                | (Leased, Pending | Planned | Held | Delivered | Skipped | Dead)
                | (Planned, Delivered | Refused)
                | (Held, Planned | Refused | Delivered)
                | (Dead, Pending)
        )
    }

    /// Whether nothing will follow by itself or by a person.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Delivered | Self::Skipped | Self::Refused)
    }
}

impl DeliveryState {
    /// Whether a delivery may pass from this state to `next`.
    #[must_use]
    pub const fn may_become(self, next: Self) -> bool {
        use DeliveryState::{Cancelled, Dead, Delivered, Held, InDoubt, Leased, Pending, Waiting};
        matches!(
            (self, next),
            (Waiting, Pending | Cancelled)
                | (Pending | Leased, Leased)
                | (Leased, Pending | Delivered | InDoubt | Dead)
                | (Held, Waiting | Pending | Cancelled)
                | (InDoubt, Pending | Delivered | Cancelled)
                | (Dead, Pending | Delivered | Cancelled)
                | (Pending, Cancelled)
        )
    }

    /// Whether nothing will follow. These never change again.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Delivered | Self::Cancelled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn final_states_are_absorbing() {
        for state in DeliveryState::ALL.iter().filter(|s| s.is_final()) {
            assert!(DeliveryState::ALL.iter().all(|next| !state.may_become(*next)), "{state}");
        }
        for state in RunState::ALL.iter().filter(|s| s.is_final()) {
            assert!(RunState::ALL.iter().all(|next| !state.may_become(*next)), "{state}");
        }
    }

    #[test]
    fn every_state_that_is_not_final_has_a_way_on() {
        for state in DeliveryState::ALL.iter().filter(|s| !s.is_final()) {
            assert!(
                DeliveryState::ALL.iter().any(|next| state != next && state.may_become(*next)),
                "{state}"
            );
        }
        for state in RunState::ALL.iter().filter(|s| !s.is_final()) {
            assert!(RunState::ALL.iter().any(|next| state != next && state.may_become(*next)), "{state}");
        }
    }

    #[test]
    fn states_read_as_they_are_written() {
        for state in DeliveryState::ALL {
            assert_eq!(state.as_str().parse(), Ok(*state));
        }
        assert!("done".parse::<RunState>().is_err());
    }
}
