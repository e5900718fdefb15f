//! The settings of the mapping; `settings.schema.json` and the SDK's `back.schema.json` document each for the person
//! who fills them in.

use portolan_sdk::back::Back;
use serde::Deserialize;

/// What differs from tenant to tenant.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// What Epicor tells Stripe, and who is right.
    pub back: Back,
    /// Companies whose customers are told. Empty: of all.
    pub companies: Vec<String>,
    /// Column that names who changed the row.
    pub user_field: Option<String>,
    /// Column with the time of change.
    pub changed_field: Option<String>,
    /// `CustomerType` of rows that are told. Empty: all.
    pub customer_types: Vec<String>,
    /// What counts as blocked.
    pub blocked_by: Vec<String>,
    /// Language of the customers.
    pub language: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            back: Back::default(),
            companies: Vec::new(),
            user_field: None,
            changed_field: None,
            customer_types: vec!["CUS".to_owned()],
            blocked_by: vec!["Inactive".to_owned(), "CreditHold".to_owned()],
            language: None,
        }
    }
}
