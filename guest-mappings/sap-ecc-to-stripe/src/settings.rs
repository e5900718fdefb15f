//! The settings of the mapping; `settings.schema.json` and the SDK's `back.schema.json` document each for the person
//! who fills them in.

use std::collections::BTreeMap;

use portolan_sdk::back::Back;
use serde::Deserialize;

/// What differs from tenant to tenant.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// What SAP tells Stripe, and who is right.
    pub back: Back,
    /// Where the SAP system's clock is.
    pub time_zone: String,
    /// Account groups whose customers are told. Empty: of all.
    pub account_groups: Vec<String>,
    /// Forms of address of persons.
    pub persons: Vec<String>,
    /// Forms of address of companies.
    pub companies: Vec<String>,
    /// Fields of E1KNA1M that block a customer when they hold anything.
    pub blocked_by: Vec<String>,
    /// Stripe's name of a language by SAP's letter.
    pub languages: BTreeMap<String, String>,
    /// Where the IDoc has the e-mail address.
    pub email: Option<Place>,
    /// Where to read the e-mail address that the IDoc does not have.
    pub sales_area: Option<SalesArea>,
}

/// A field of an IDoc.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// `Z1KNA1M`
    pub segment: String,
    /// `SMTP_ADDR`
    pub field: String,
}

/// A sales area.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SalesArea {
    /// Sales organisation.
    pub sales_org: String,
    /// Distribution channel.
    pub distr_chan: String,
    /// Division.
    pub division: String,
}

impl Default for Settings {
    fn default() -> Self {
        let languages = [
            ("E", "en"),
            ("D", "de"),
            ("F", "fr"),
            ("S", "es"),
            ("I", "it"),
            ("N", "nl"),
            ("P", "pt"),
            ("J", "ja"),
        ];
        let pair = |(letter, name): (&str, &str)| (letter.to_owned(), name.to_owned());
        Self {
            back: Back::default(),
            time_zone: "UTC".to_owned(),
            account_groups: Vec::new(),
            persons: Vec::new(),
            companies: Vec::new(),
            blocked_by: ["SPERR", "AUFSD", "LIFSD", "FAKSD"].map(str::to_owned).into(),
            languages: languages.map(pair).into(),
            email: None,
            sales_area: None,
        }
    }
}
