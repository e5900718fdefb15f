//! The settings of the mapping; `settings.schema.json` documents each for the person who fills them in.

use portolan_sdk::{
    flow::Flow,
    stripe::{LineSource, Prices},
};
use serde::Deserialize;

/// What differs from tenant to tenant.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Bank account of the cash receipts.
    pub bank_account: String,
    /// What new customers are given.
    #[serde(default)]
    pub customer_defaults: CustomerDefaults,
    /// First characters of the CustIDs that the mapping makes.
    #[serde(default = "customer_id_prefix")]
    pub customer_id_prefix: String,
    /// Whether what changed in Stripe is changed in Epicor.
    #[serde(default = "yes")]
    pub update_customers: bool,
    /// Whether a buyer nobody has seen yet is looked for by e-mail address.
    #[serde(default = "yes")]
    pub match_email: bool,
    /// CustID of the customer that guests buy as. Without it each guest becomes a customer.
    pub guest_customer: Option<String>,
    /// What is sold when a product is not in the lookup table.
    pub default_part: Option<String>,
    /// Unit of quantities.
    pub unit: Option<String>,
    /// Days from order to need-by date.
    #[serde(default = "need_by_days")]
    pub need_by_days: u16,
    /// Terms of the orders.
    pub terms_code: Option<String>,
    /// How orders are shipped.
    pub ship_via_code: Option<String>,
    /// With tax or without.
    #[serde(default)]
    pub prices: Prices,
    /// Where documents are dated.
    #[serde(default = "time_zone")]
    pub time_zone: String,
    /// Where lines are looked for.
    #[serde(default = "LineSource::all")]
    pub line_sources: Vec<LineSource>,
    /// How refunds are written down.
    #[serde(default)]
    pub refunds: Refunds,
    /// How journals are entered.
    #[serde(default)]
    pub journals: Journals,
    /// What the tenant chose of the flows.
    #[serde(default)]
    pub flow: Flow,
}

/// What new customers are given, besides what Stripe knows. The codes must exist in Epicor.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustomerDefaults {
    /// Terms.
    pub terms_code: Option<String>,
    /// Territory.
    pub territory_id: Option<String>,
    /// Customer group.
    pub group_code: Option<String>,
    /// Salesperson.
    pub sales_rep_code: Option<String>,
    /// How they are shipped to.
    pub ship_via_code: Option<String>,
    /// Tax region.
    pub tax_region_code: Option<String>,
}

/// How refunds are written down.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Refunds {
    /// When a refund has a credit memo besides the money.
    pub credit_memo: CreditMemo,
    /// Whether the receipt of a charge that is refunded whole and not invoiced is reversed, instead of answered by
    /// a receipt of the negative amount.
    pub reverse_receipts: bool,
    /// Reason of type A for refunds whose Stripe reason is not in the lookup table.
    pub reason_code: Option<String>,
    /// What the ledger lines of credit memos name; Epicor itself posts by its posting rules.
    pub returns_account: String,
}

impl Default for Refunds {
    fn default() -> Self {
        Self {
            credit_memo: CreditMemo::default(),
            reverse_receipts: true,
            reason_code: None,
            returns_account: "RETURNS".to_owned(),
        }
    }
}

/// When a refund has a credit memo.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CreditMemo {
    /// When the order of the charge was invoiced.
    #[default]
    Invoiced,
    /// Always; without an invoice it refers to none.
    Always,
    /// Never: people write them.
    Never,
}

/// How journals are entered.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Journals {
    /// Book.
    pub book_id: Option<String>,
    /// Journal code.
    pub journal_code: Option<String>,
}

fn customer_id_prefix() -> String {
    "S".to_owned()
}

const fn yes() -> bool {
    true
}

const fn need_by_days() -> u16 {
    7
}

fn time_zone() -> String {
    "UTC".to_owned()
}
