//! Subscriptions and credit notes, in the shapes before and since API version 2025-03-31.basil.

use serde::Deserialize;

use super::{Id, List, checkout::Price, or_default};
use crate::money::{Currency, Money};

/// A subscription.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Subscription {
    /// `sub_…`
    pub id: String,
    /// Who subscribed.
    pub customer: Option<Id>,
    /// `active`, `past_due`, `canceled`, `paused`, … and what Stripe may add.
    #[serde(default, deserialize_with = "or_default")]
    pub status: String,
    /// What was subscribed to.
    #[serde(default, deserialize_with = "or_default")]
    pub items: List<SubscriptionItem>,
    /// Whether it ends with the period.
    #[serde(default, deserialize_with = "or_default")]
    pub cancel_at_period_end: bool,
    /// The end of what is paid: before basil here, since then on the items.
    current_period_end: Option<i64>,
}

/// What was subscribed to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SubscriptionItem {
    /// Its price, and so its product.
    price: Option<Price>,
    /// The same, in old versions.
    plan: Option<Price>,
    /// Pieces.
    pub quantity: Option<u64>,
    current_period_end: Option<i64>,
}

impl SubscriptionItem {
    /// `prod_…`
    #[must_use]
    pub fn product(&self) -> Option<&str> {
        self.price.as_ref().or(self.plan.as_ref())?.product.as_deref()
    }
}

impl Subscription {
    /// Until when it is paid, Unix seconds: the latest of the items since basil.
    #[must_use]
    pub fn paid_until(&self) -> Option<i64> {
        let items = self.items.data.iter().filter_map(|item| item.current_period_end).max();
        items.or(self.current_period_end)
    }

    /// The products, in the items' order.
    #[must_use]
    pub fn products(&self) -> Vec<&str> {
        self.items.data.iter().filter_map(SubscriptionItem::product).collect()
    }
}

/// A credit note.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct CreditNote {
    /// `cn_…`
    pub id: String,
    /// The whole, tax included.
    pub amount: i64,
    /// Its currency.
    pub currency: Currency,
    /// Unix seconds.
    #[serde(default, deserialize_with = "or_default")]
    pub created: i64,
    /// What is credited.
    pub invoice: Option<Id>,
    /// Who is credited.
    pub customer: Option<Id>,
    /// The number on the paper.
    pub number: Option<String>,
    /// For people.
    pub memo: Option<String>,
    /// `duplicate`, `fraudulent`, `order_change`, `product_unsatisfactory`, and what Stripe may add.
    pub reason: Option<String>,
    /// `pre_payment`, `post_payment`, `mixed`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// `issued` or `void`.
    #[serde(default, deserialize_with = "or_default")]
    pub status: String,
    /// The part that was given before the invoice was paid, where the version says so.
    pub pre_payment_amount: Option<i64>,
    /// The refunds that came with it, since basil.
    #[serde(default, deserialize_with = "or_default")]
    pub refunds: Vec<CreditRefund>,
    /// The refund that came with it, before basil.
    pub refund: Option<Id>,
}

/// A refund that came with a credit note.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct CreditRefund {
    /// How much of the note it is.
    #[serde(default, deserialize_with = "or_default")]
    pub amount_refunded: i64,
    /// `re_…`
    pub refund: Option<Id>,
}

impl CreditNote {
    /// The whole, tax included.
    #[must_use]
    pub fn total(&self) -> Money {
        Money::new(self.amount, self.currency)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_shapes_say_how_long_it_is_paid() {
        let since: Subscription = serde_json::from_value(json!({"id": "sub_1", "items": {"data": [
            {"price": {"product": "prod_1"}, "current_period_end": 7}, {"price": {"product": "prod_2"}, "current_period_end": 9},
        ]}}))
        .unwrap();
        assert_eq!((since.paid_until(), since.products()), (Some(9), vec!["prod_1", "prod_2"]));
        let before: Subscription = serde_json::from_value(json!({"id": "sub_1", "current_period_end": 9,
            "items": {"data": [{"plan": {"product": {"id": "prod_1"}}}]}}))
        .unwrap();
        assert_eq!((before.paid_until(), before.products()), (Some(9), vec!["prod_1"]));
    }
}
