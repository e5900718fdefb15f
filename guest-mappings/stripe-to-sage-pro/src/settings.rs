//! The settings of the mapping; `settings.schema.json` documents each for the person who fills them in.

use std::collections::BTreeMap;

use portolan_sdk::{
    Stop,
    flow::Flow,
    stripe::{LineSource, Prices},
};
use serde::Deserialize;

/// What differs from tenant to tenant.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The accounts that documents move.
    pub accounts: Accounts,
    /// Customer number that guests buy as. Without it each guest becomes a customer.
    pub guest_customer: Option<String>,
    /// What is sold when a product is not in the lookup table.
    pub default_item: Option<String>,
    /// What stands on a credit memo. Left out: the default item.
    pub refund_item: Option<String>,
    /// Terms of new customers.
    pub terms: Option<String>,
    /// Currency of customers that Stripe tells of before they buy.
    pub customer_currency: Option<String>,
    /// What Sage Pro calls a country, by its two letters.
    #[serde(default)]
    pub countries: BTreeMap<String, String>,
    /// Whether a customer that no reference names is looked for by its e-mail address.
    #[serde(default = "yes")]
    pub find_by_email: bool,
    /// Whether a customer that was changed in Sage Pro in the meantime waits for a person.
    #[serde(default = "yes")]
    pub guard_updates: bool,
    /// What is put on hold when a charge is suspect.
    #[serde(default)]
    pub hold: Hold,
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
    /// What the tenant chose of the flows.
    #[serde(default)]
    pub flow: Flow,
}

/// The accounts that documents move.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accounts {
    /// Collects what Stripe holds.
    pub clearing: String,
    /// Sales.
    pub sales: String,
    /// Tax owed. Left out: tax counts as sales.
    pub tax: Option<String>,
    /// What customers owe: moved by receipts on an order's invoices, and by credit notes.
    pub receivables: Option<String>,
    /// Sales that were given back. Left out: sales.
    pub refunds: Option<String>,
}

/// What is put on hold when a charge is suspect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hold {
    /// The invoice and its customer, who gets no further invoice until a person lifts the hold. A customer that
    /// guests share is never held.
    Both,
    /// The invoice.
    #[default]
    Invoice,
    /// The customer.
    Customer,
}

impl Settings {
    /// What customers owe.
    pub(crate) fn receivables(&self) -> Result<&str, Stop> {
        let missing = || Stop::reject("", "settings", "the settings name no accounts.receivables");
        self.accounts.receivables.as_deref().ok_or_else(missing)
    }
}

const fn yes() -> bool {
    true
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
