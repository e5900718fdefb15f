//! The standard world of Sage Pro.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// A customer that exists from the start.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SageCustomer {
    /// ARCUST.COMPANY.
    pub company: String,
    /// ARCUST.EMAIL.
    #[serde(default)]
    pub email: String,
    /// The gateway's external reference, where there is one.
    #[serde(default)]
    pub external_ref: Option<String>,
    /// ARCUST.CREDSTAT = `H`.
    #[serde(default)]
    pub on_hold: bool,
}

/// Sage Pro: behaviour and master data.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SageOptions {
    /// Accepted `X-API-Key`s.
    pub api_keys: BTreeSet<String>,
    /// Accepted `X-Company`s.
    pub companies: BTreeSet<String>,
    /// How long an idempotency key is remembered. References are remembered for ever.
    pub idempotency_ms: u64,
    /// First invoice number.
    pub invoice_first: u64,
    /// First receipt number.
    pub receipt_first: u64,
    /// First journal number.
    pub journal_first: u64,
    /// First day of the open periods, `YYYY-MM-DD`.
    pub open_from: String,
    /// Last day of the open periods.
    pub open_to: String,
    /// Known payment terms.
    pub terms: BTreeSet<String>,
    /// Known currencies.
    pub currencies: BTreeSet<String>,
    /// Customers by number.
    pub customers: BTreeMap<String, SageCustomer>,
    /// Items: description by number.
    pub items: BTreeMap<String, String>,
    /// G/L accounts: description by number.
    pub accounts: BTreeMap<String, String>,
    /// Records that another user holds from the start.
    pub locked: BTreeSet<String>,
}

fn set<const N: usize>(texts: [&str; N]) -> BTreeSet<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

impl Default for SageOptions {
    fn default() -> Self {
        let customer = |company: &str| SageCustomer {
            company: company.to_owned(),
            email: format!("{}@example.com", company.to_lowercase().replace(' ', ".")),
            external_ref: None,
            on_hold: false,
        };
        Self {
            api_keys: set(["sage-key"]),
            companies: set(["01"]),
            idempotency_ms: 30 * 24 * 60 * 60 * 1_000,
            invoice_first: 10_234,
            receipt_first: 5_001,
            journal_first: 701,
            open_from: "2020-01-01".to_owned(),
            open_to: "2035-12-31".to_owned(),
            terms: set(["COD", "NET10", "NET30", "PREPAID"]),
            currencies: set(["AUD", "CAD", "CHF", "EUR", "GBP", "JPY", "KWD", "USD"]),
            customers: BTreeMap::from([
                ("STRIPE".to_owned(), customer("Stripe Customers")),
                ("ROSE01".to_owned(), customer("Jenny Rosen")),
                ("LOVE01".to_owned(), customer("Ada Lovelace")),
                ("TANA01".to_owned(), customer("Kenji Tanaka")),
                ("SABA01".to_owned(), customer("Fatima Al Sabah")),
                ("HELD01".to_owned(), SageCustomer { on_hold: true, ..customer("Held Ltd") }),
            ]),
            items: pairs([
                ("WIDGET-1", "Widget"),
                ("GADGET-2", "Gadget"),
                ("GIZMO-3", "Gizmo"),
                ("SUPPORT-YEAR", "Support, one year"),
                ("STRIPE-OTHER", "Other goods and services"),
            ]),
            accounts: pairs([
                ("1010-000", "Bank"),
                ("1190-000", "Stripe clearing"),
                ("1195-000", "Money in transit"),
                ("1200-000", "Receivables"),
                ("1250-000", "Disputed payments"),
                ("4000-000", "Sales"),
                ("6450-000", "Payment fees"),
                ("7200-000", "Currency differences"),
            ]),
            locked: BTreeSet::new(),
        }
    }
}
