//! How long what is finished is kept, noun by noun. What is not finished (or waits for a person) is kept whatever these
//! numbers say, and so is what exactly-once rests on: see `docs/retention.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! retention {
    ($($(#[doc = $doc:literal])+ $name:ident = $default:literal, $least:literal;)+) => {
        /// Days.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(default, deny_unknown_fields)]
        pub struct Retention {
            $($(#[doc = $doc])+ pub $name: u32,)+
        }

        impl Default for Retention {
            fn default() -> Self {
                Self { $($name: $default,)+ }
            }
        }

        /// What was set for one tenant; where nothing is set, the host's default holds.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(default, deny_unknown_fields)]
        pub struct RetentionChange {
            $(
                $(#[doc = $doc])+
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $name: Option<u32>,
            )+
        }

        impl Retention {
            /// These, with what was set for one tenant in their place.
            #[must_use]
            pub fn with(&self, change: &RetentionChange) -> Self {
                Self { $($name: change.$name.unwrap_or(self.$name),)+ }
            }

            /// Every period by name: its default and the least that can be set, in days.
            #[must_use]
            pub fn limits() -> Vec<(&'static str, u32, u32)> {
                vec![$((stringify!($name), $default, $least),)+]
            }

            /// Whether every period is at least what it must be, and at most [`DAYS_MAX`].
            ///
            /// # Errors
            /// The first that is not.
            pub fn check(&self) -> Result<(), OutOfBounds> {
                $(
                    if !($least..=DAYS_MAX).contains(&self.$name) {
                        return Err(OutOfBounds { name: stringify!($name), least: $least });
                    }
                )+
                Ok(())
            }

            /// The longer of each two.
            #[must_use]
            pub fn longest(&self, other: &Self) -> Self {
                Self { $($name: self.$name.max(other.$name),)+ }
            }

            /// The first period that is longer than another's: what only an operator may set.
            #[must_use]
            pub fn longer_than(&self, other: &Self) -> Option<&'static str> {
                let all = [$((stringify!($name), self.$name > other.$name),)+];
                all.into_iter().find(|(_, longer)| *longer).map(|(name, _)| name)
            }
        }
    };
}

/// Ten years.
pub const DAYS_MAX: u32 = 3_660;

retention! {
    /// Payloads of events, since the event was received.
    payloads_days = 90, 1;
    /// What runs keep beside their end: outcome, facts and log, since the event was received.
    runs_days = 90, 1;
    /// What deliveries keep beside their end and the other system's answer: bodies and attempts, since the event was
    /// received.
    deliveries_days = 180, 1;
    /// Events with all that followed from them, since the event was received. What is left is a tombstone, by which a
    /// repeat is known.
    events_days = 400, 35;
    /// Tombstones, since the event was removed.
    tombstones_days = 1_830, 60;
    /// Alerts, since they were resolved.
    alerts_days = 180, 1;
    /// Usage.
    usage_days = 1_100, 62;
    /// The audit log. Its oldest entries go, and the chain begins later.
    audit_days = 2_560, 365;
    /// Modules that no mapping names, since they were uploaded.
    modules_days = 400, 7;
}

/// A number of days that no period can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{name}: from {least} to {DAYS_MAX} days")]
pub struct OutOfBounds {
    /// Which.
    pub name: &'static str,
    /// The least it can be.
    pub least: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_within_their_bounds() {
        Retention::default().check().unwrap();
        assert_eq!(
            Retention { audit_days: 364, ..Retention::default() }.check().unwrap_err().name,
            "audit_days"
        );
        assert!(Retention { runs_days: DAYS_MAX + 1, ..Retention::default() }.check().is_err());
    }

    #[test]
    fn a_longer_period_is_told_by_name() {
        let host = Retention::default();
        let longer = host.with(&RetentionChange { alerts_days: Some(181), ..RetentionChange::default() });
        let shorter = host.with(&RetentionChange { alerts_days: Some(1), ..RetentionChange::default() });
        assert_eq!((longer.longer_than(&host), shorter.longer_than(&host)), (Some("alerts_days"), None));
    }
}
