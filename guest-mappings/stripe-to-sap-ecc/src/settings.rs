//! The settings of the mapping; `settings.schema.json` documents each for the person who fills them in.

use std::collections::BTreeMap;

use portolan_sdk::{
    flow::Flow,
    stripe::{LineSource, Prices},
};
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
    /// How customers are created and changed. Left out: they are not.
    pub customer_master: Option<CustomerMaster>,
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
    /// What a refund becomes.
    #[serde(default)]
    pub refund: Refunds,
    /// What a credit note without money becomes.
    #[serde(default)]
    pub credit: Credits,
    /// Credit memo requests of both.
    #[serde(default)]
    pub credit_memo_request: CreditMemoRequest,
    /// Why documents are reversed, where the lookup table `reasons` does not say.
    #[serde(default = "reversal_reason")]
    pub reversal_reason: String,
    /// Type of journals.
    #[serde(default = "journal_type")]
    pub journal_type: String,
    /// What a G/L account is assigned to in controlling, by account.
    #[serde(default)]
    pub account_assignments: BTreeMap<String, Assignment>,
    /// What is set on the order of a suspicious charge.
    #[serde(default)]
    pub block: Blocks,
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
    /// What is chosen of the flows.
    #[serde(default)]
    pub flow: Flow,
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

/// How customers are created and changed.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustomerMaster {
    /// Customer whose company code and sales area data new ones get.
    pub reference_customer: String,
    /// Currency of new customers.
    pub currency: String,
    /// Language of new customers, as SAP keeps it: one letter.
    #[serde(default = "language")]
    pub language: String,
    /// Person or company.
    #[serde(default)]
    pub kind: CustomerKind,
    /// Form of address of a person.
    pub title_person: Option<String>,
    /// Form of address of a company.
    pub title_company: Option<String>,
    /// Whether guests get a customer of their own.
    #[serde(default)]
    pub guests: bool,
}

/// Whether a customer is a person or a company.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CustomerKind {
    /// By the legal form in its name.
    #[default]
    ByName,
    /// All are persons.
    Person,
    /// All are companies.
    Company,
}

/// What a refund becomes.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Refunds {
    /// The FI document that gives the money back.
    pub document: RefundDocument,
    /// Its type, where the usual one does not do.
    pub document_type: Option<String>,
    /// Whether a credit memo request is created besides, so that sales gives the goods back too.
    pub credit_memo_request: bool,
}

/// The FI document of a refund. Both debit the customer and credit the clearing account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefundDocument {
    /// `DG`.
    #[default]
    CreditMemo,
    /// `DZ` with its signs reversed.
    ReversedPayment,
}

/// What a credit note without money becomes.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Credits {
    /// The document.
    pub document: CreditDocument,
    /// Revenue account that an FI document debits.
    pub revenue_account: Option<String>,
    /// Type of the FI document: `DG` when left out.
    pub document_type: Option<String>,
}

/// The document of a credit note.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CreditDocument {
    /// A credit memo request: sales decides and bills it.
    #[default]
    CreditMemoRequest,
    /// An FI document that debits revenue and credits the customer.
    AccountingDocument,
}

/// Credit memo requests.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CreditMemoRequest {
    /// Order type.
    pub order_type: String,
    /// What is credited: its material. `default_material` when left out.
    pub material: Option<String>,
    /// Further fields of ORDER_HEADER_IN, as the system's configuration wants them.
    pub header: BTreeMap<String, String>,
}

impl Default for CreditMemoRequest {
    fn default() -> Self {
        Self { order_type: "CR".to_owned(), material: None, header: BTreeMap::new() }
    }
}

/// What a G/L account is assigned to in controlling.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Assignment {
    /// Cost centre.
    pub cost_centre: Option<String>,
    /// Profit centre.
    pub profit_centre: Option<String>,
    /// Internal order.
    pub order: Option<String>,
}

/// What is set on the order of a suspicious charge.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Blocks {
    /// Delivery block; empty: none is set.
    pub delivery: String,
    /// Billing block; empty: none is set.
    pub billing: String,
}

impl Default for Blocks {
    fn default() -> Self {
        Self { delivery: "01".to_owned(), billing: "01".to_owned() }
    }
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

fn reversal_reason() -> String {
    "01".to_owned()
}

fn journal_type() -> String {
    "SA".to_owned()
}

fn language() -> String {
    "E".to_owned()
}

fn time_zone() -> String {
    "UTC".to_owned()
}

const fn january() -> i8 {
    1
}
