//! What a tenant chooses of the way back: `back` in a module's settings. `back.schema.json` says the same to the
//! person who fills it in.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// The settings' `back`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Back {
    /// Who is right where both changed.
    pub conflict: Conflict,
    /// What the ERP tells Stripe.
    pub fields: Vec<Part>,
    /// Where Stripe keeps what the ERP says.
    pub metadata: MetadataKeys,
    /// Whether a customer that no number names is looked for by its e-mail address.
    pub find_by_email: bool,
    /// Whether customers unknown to Stripe are created there.
    pub create: bool,
    /// Whether Stripe's id is written into the ERP's own field.
    pub write_back: bool,
    /// Whether names are also sent as `individual_name` or `business_name`, where the ERP says which it is.
    pub typed_names: bool,
    /// Users of the ERP whose changes are Portolan's own.
    pub integration_users: Vec<String>,
    /// The two letters of a country that the ERP writes otherwise.
    pub countries: BTreeMap<String, String>,
}

impl Default for Back {
    fn default() -> Self {
        Self {
            conflict: Conflict::default(),
            fields: vec![Part::Name, Part::Email, Part::Phone, Part::Address, Part::Language],
            metadata: MetadataKeys::default(),
            find_by_email: true,
            create: true,
            write_back: true,
            typed_names: false,
            integration_users: Vec::new(),
            countries: BTreeMap::new(),
        }
    }
}

/// Who is right where both changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Conflict {
    /// The ERP.
    #[default]
    ErpWins,
    /// Stripe: only what Stripe does not say is filled in.
    StripeWins,
    /// Whoever changed it last. When Stripe changed it is remembered by the flows to the ERP; never: the ERP.
    Newest,
}

/// Part of a customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// `name`.
    Name,
    /// `email`.
    Email,
    /// `phone`.
    Phone,
    /// `address`.
    Address,
    /// `preferred_locales`.
    Language,
}

/// Keys of Stripe's metadata.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetadataKeys {
    /// The customer's number in the ERP.
    pub number: String,
    /// `blocked` or `deleted`, while it is.
    pub state: String,
    /// The customer's currency in the ERP. Left out: it is not told.
    pub currency: Option<String>,
}

impl Default for MetadataKeys {
    fn default() -> Self {
        Self { number: "erp_id".to_owned(), state: "erp_state".to_owned(), currency: None }
    }
}

impl Back {
    /// Whether a change is Portolan's own. ERPs differ in the case of user names.
    pub(super) fn is_integration_user(&self, user: &str) -> bool {
        self.integration_users.iter().any(|own| own.eq_ignore_ascii_case(user.trim()))
    }

    /// A country by its two letters, when they are known.
    #[must_use]
    pub fn country(&self, country: &str) -> Option<String> {
        let country = country.trim();
        let two = |text: &&str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_alphabetic());
        let named = self.countries.get(country).cloned();
        named.or_else(|| Some(country).filter(two).map(str::to_ascii_uppercase))
    }
}

/// A module's settings schema with `back` put into its properties. What is no schema comes back as it was.
#[must_use]
pub fn settings_schema(own: &str) -> String {
    let parsed =
        (serde_json::from_str::<Value>(own), serde_json::from_str(include_str!("../../back.schema.json")));
    let (Ok(mut schema), Ok(back)) = parsed else { return own.to_owned() };
    let Some(schema_fields) = schema.as_object_mut() else { return own.to_owned() };
    let properties =
        schema_fields.entry("properties").or_insert_with(|| Value::Object(serde_json::Map::new()));
    if let Some(properties) = properties.as_object_mut() {
        properties.insert("back".to_owned(), back);
    }
    schema.to_string()
}
