//! What one tenant may use of a host. Every number bounds that tenant alone: whoever exceeds one is slowed down, and
//! nobody else is.
//!
//! The host has defaults; an operator may give a tenant other numbers, each for itself. None is endless.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! quotas {
    ($($(#[doc = $doc:literal])+ $name:ident: $type:ty = $default:expr, $most:expr;)+) => {
        /// What a tenant may use.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(default, deny_unknown_fields)]
        pub struct Quotas {
            $($(#[doc = $doc])+ pub $name: $type,)+
        }

        impl Default for Quotas {
            fn default() -> Self {
                Self { $($name: $default,)+ }
            }
        }

        /// What an operator has set for one tenant; where nothing is set, the host's default holds.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(default, deny_unknown_fields)]
        pub struct QuotaChange {
            $(
                $(#[doc = $doc])+
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $name: Option<$type>,
            )+
        }

        impl Quotas {
            /// These, with what was set for one tenant in their place.
            #[must_use]
            pub fn with(&self, change: &QuotaChange) -> Self {
                Self { $($name: change.$name.unwrap_or(self.$name),)+ }
            }

            /// Every quota by name: what it is by default, and the most that can be set.
            #[must_use]
            pub fn limits() -> Vec<(&'static str, u64, u64)> {
                let default = Self::default();
                vec![$((stringify!($name), u64::from(default.$name), u64::from($most)),)+]
            }

            /// Whether every number is between 1 and the most that can be set.
            ///
            /// # Errors
            /// The first that is not.
            pub fn check(&self) -> Result<(), OutOfBounds> {
                $(
                    let (found, most) = (u64::from(self.$name), u64::from($most));
                    if !(1..=most).contains(&found) {
                        return Err(OutOfBounds { name: stringify!($name), most });
                    }
                )+
                Ok(())
            }
        }
    };
}

quotas! {
    /// Events that its sources take in a second, over time. Beyond it the door answers 429.
    events_per_second: u32 = 2_000, 1_000_000_u32;
    /// Events that may come at once after a quiet time.
    events_burst: u32 = 20_000, 10_000_000_u32;
    /// Runs under way at once; others wait.
    runs_max: u32 = 16, 10_000_u32;
    /// Fuel that its runs may use in a second, over time; others wait.
    fuel_per_second: u64 = 20_000_000_000, 1_000_000_000_000_u64;
    /// Fuel that may be saved up in a quiet time.
    fuel_burst: u64 = 200_000_000_000, 100_000_000_000_000_u64;
    /// Bytes of events, of what its runs and deliveries keep, and of modules, all environments together. Beyond it no
    /// new event is taken in: the door answers 429.
    stored_bytes_max: u64 = 50 << 30, 1_u64 << 50;
    /// Deliveries under way at once; others wait.
    deliveries_max: u32 = 128, 10_000_u32;
    /// Deliveries a second through one connection, whatever its settings say; others wait.
    connection_deliveries_per_second: u32 = 2_000, 100_000_u32;
    /// Modules that are stored.
    modules_max: u32 = 1_000, 1_000_000_u32;
    /// Bytes of all modules that are stored.
    modules_bytes_max: u64 = 4 << 30, 1_u64 << 45;
}

/// A number that no quota can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{name}: from 1 to {most}")]
pub struct OutOfBounds {
    /// Which quota.
    pub name: &'static str,
    /// The most it can be.
    pub most: u64,
}

/// Which quota was exceeded. Few, so that a metric may have them as a label. To have as many runs or deliveries under way as
/// one may is no exceeding: the others wait, every day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Exceeded {
    /// Events a second.
    Events,
    /// Fuel a second.
    Fuel,
    /// Stored bytes.
    StoredBytes,
    /// Modules, or their bytes.
    Modules,
}

impl Exceeded {
    /// As it is written everywhere: `stored-bytes`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Fuel => "fuel",
            Self::StoredBytes => "stored-bytes",
            Self::Modules => "modules",
        }
    }

    /// The code of the problem that the door answers.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Events => "quota-events",
            Self::Fuel => "quota-fuel",
            Self::StoredBytes => "quota-stored-bytes",
            Self::Modules => "quota-modules",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_for_a_tenant_stands_in_the_place_of_the_default() {
        let change = QuotaChange { runs_max: Some(2), ..QuotaChange::default() };
        let quotas = Quotas::default().with(&change);
        assert_eq!(quotas, Quotas { runs_max: 2, ..Quotas::default() });
        assert_eq!(serde_json::to_value(change).unwrap(), serde_json::json!({ "runs_max": 2 }));
    }

    #[test]
    fn every_default_is_a_number_between_one_and_the_most() {
        for (name, default, most) in Quotas::limits() {
            assert!((1..=most).contains(&default), "{name}");
        }
        Quotas::default().check().unwrap();
        let none = Quotas { fuel_burst: 0, ..Quotas::default() };
        assert_eq!(none.check().unwrap_err().name, "fuel_burst");
        assert!(serde_json::from_str::<QuotaChange>(r#"{"wrong":1}"#).is_err());
    }
}
