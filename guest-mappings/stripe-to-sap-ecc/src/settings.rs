//! The settings of the mapping; `settings.schema.json` documents each for the person who fills them in.

use std::collections::BTreeMap;

use portolan_sdk::stripe::{LineSource, Prices};
use serde::Deserialize;

/// What differs from tenant to tenant.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Company code of the payment.
    pub company_code: String,
    /// Sales organisation of the order.
    pub sales_org: String,
    /// Its distribution channel.
    pub distribution_channel: String,
    /// Its division.
    pub division: String,
    /// Order type.
    #[serde(default = "order_type")]
    pub order_type: String,
    /// G/L account that collects what Stripe holds.
    pub clearing_account: String,
    /// Type of the payment's document.
    #[serde(default = "document_type")]
    pub document_type: String,
    /// Who posts, as SAP shows it.
    #[serde(default = "user_name")]
    pub user_name: String,
    /// Who is charged when no customer is known.
    pub default_customer: Option<DefaultCustomer>,
    /// What is sold when a product is not in the lookup table.
    pub default_material: Option<String>,
    /// Unit of quantities.
    pub unit: Option<String>,
    /// Plant that delivers.
    pub plant: Option<String>,
    /// Condition type of the price.
    #[serde(default = "condition_type")]
    pub condition_type: String,
    /// With tax or without.
    #[serde(default)]
    pub prices: Prices,
    /// Where documents are dated.
    #[serde(default = "time_zone")]
    pub time_zone: String,
    /// Month in which the fiscal year begins.
    #[serde(default = "january")]
    pub fiscal_year_first_month: i8,
    /// Currencies whose decimals differ from ISO 4217 in this system's TCURX.
    #[serde(default)]
    pub currency_decimals: BTreeMap<String, u32>,
    /// Where lines are looked for.
    #[serde(default = "LineSource::all")]
    pub line_sources: Vec<LineSource>,
}

/// Who is charged when no customer is known.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DefaultCustomer {
    /// Its number.
    pub number: String,
    /// Whether it is a one-time customer, whose name and address go with each document.
    #[serde(default)]
    pub one_time: bool,
}

fn order_type() -> String {
    "OR".to_owned()
}

fn document_type() -> String {
    "DZ".to_owned()
}

fn user_name() -> String {
    "PORTOLAN".to_owned()
}

fn condition_type() -> String {
    "PR00".to_owned()
}

fn time_zone() -> String {
    "UTC".to_owned()
}

const fn january() -> i8 {
    1
}
