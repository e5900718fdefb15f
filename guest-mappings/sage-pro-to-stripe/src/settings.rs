//! The settings of the mapping; `settings.schema.json` and the SDK's `back.schema.json` document each for the person
//! who fills them in.

use portolan_sdk::back::Back;
use serde::Deserialize;

/// What differs from tenant to tenant.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// What Sage Pro tells Stripe, and who is right.
    pub back: Back,
    /// Language of the customers.
    pub language: Option<String>,
}
