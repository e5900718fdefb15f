//! A checkout session: the first place where a charge's lines are looked for.

use serde::Deserialize;

use super::{Id, List, Metadata, or_default};

/// A checkout session with its line items put in.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct CheckoutSession {
    /// `cs_…`
    pub id: String,
    /// What the buyer was asked for, everything included.
    pub amount_total: Option<i64>,
    /// The lines.
    #[serde(default, deserialize_with = "or_default")]
    pub line_items: List<SessionLine>,
    /// Shipping, which is not among the lines.
    pub shipping_cost: Option<ShippingCost>,
    /// `paid`, `unpaid`, `no_payment_required`, and what Stripe may add.
    #[serde(default, deserialize_with = "or_default")]
    pub payment_status: String,
    /// `pi_…`, of a session that takes a payment.
    pub payment_intent: Option<Id>,
    /// `in_…`, of a session that makes an invoice or a subscription.
    pub invoice: Option<Id>,
    /// `sub_…`
    pub subscription: Option<Id>,
    /// Texts of the tenant's own systems. Stripe does not copy them to the charge.
    #[serde(default, deserialize_with = "or_default")]
    pub metadata: Metadata,
}

/// A line of a checkout session. Its total has discounts taken off and taxes added.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SessionLine {
    /// What the line costs.
    pub amount_total: i64,
    /// Tax within the total.
    #[serde(default, deserialize_with = "or_default")]
    pub amount_tax: i64,
    /// Pieces.
    pub quantity: Option<u64>,
    /// For people.
    pub description: Option<String>,
    /// Which price, and so which product.
    pub price: Option<Price>,
}

/// A price, as far as it tells the product.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Price {
    /// `prod_…`
    pub product: Option<Id>,
}

/// Shipping of a session or an invoice.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ShippingCost {
    /// What it costs, with tax.
    #[serde(default, deserialize_with = "or_default")]
    pub amount_total: i64,
    /// Tax within it.
    #[serde(default, deserialize_with = "or_default")]
    pub amount_tax: i64,
}
