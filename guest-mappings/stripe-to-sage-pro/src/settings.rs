//! The settings of the mapping; `settings.schema.json` documents each for the person who fills them in.

use std::collections::BTreeMap;

use portolan_sdk::stripe::{LineSource, Prices};
use serde::Deserialize;

/// What differs from tenant to tenant.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The accounts that an invoice and its payment move.
    pub accounts: Accounts,
    /// Customer number that guests buy as. Without it each guest becomes a customer.
    pub guest_customer: Option<String>,
    /// What is sold when a product is not in the lookup table.
    pub default_item: Option<String>,
    /// Terms of new customers.
    pub terms: Option<String>,
    /// What the payment is called.
    #[serde(default = "payment_method")]
    pub payment_method: String,
    /// Status of a charge to payment status of an invoice, where the lookup table says nothing.
    #[serde(default = "payment_status")]
    pub payment_status: BTreeMap<String, String>,
    /// Where the tax stands: beside net prices, or within them.
    #[serde(default = "net")]
    pub prices: Prices,
    /// Where documents are dated.
    #[serde(default = "time_zone")]
    pub time_zone: String,
    /// Where lines are looked for.
    #[serde(default = "LineSource::all")]
    pub line_sources: Vec<LineSource>,
}

/// The accounts that an invoice and its payment move.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accounts {
    /// Collects what Stripe holds.
    pub clearing: String,
    /// Sales.
    pub sales: String,
    /// Tax owed. Left out: tax counts as sales.
    pub tax: Option<String>,
}

fn payment_method() -> String {
    "STRIPE".to_owned()
}

fn payment_status() -> BTreeMap<String, String> {
    BTreeMap::from([("succeeded".to_owned(), "Paid".to_owned())])
}

const fn net() -> Prices {
    Prices::Net
}

fn time_zone() -> String {
    "UTC".to_owned()
}
