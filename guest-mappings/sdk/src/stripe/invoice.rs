//! An invoice: the second place where a charge's lines are looked for. Read in the shapes before and since API
//! version 2025-03-31.basil, which moved the price, the taxes and the quantity.

use serde::Deserialize;

use super::{
    Id, List, Metadata,
    checkout::{Price, ShippingCost},
    or_default,
};
use crate::money::Currency;

/// An invoice with all its lines.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Invoice {
    /// `in_…`
    pub id: String,
    /// The number on the paper.
    pub number: Option<String>,
    /// The lines.
    #[serde(default, deserialize_with = "or_default")]
    pub lines: List<InvoiceLine>,
    /// Shipping, which is not among the lines.
    pub shipping_cost: Option<ShippingCost>,
    /// What was paid.
    #[serde(default, deserialize_with = "or_default")]
    pub amount_paid: i64,
    /// What it came to, tax included.
    #[serde(default, deserialize_with = "or_default")]
    pub total: i64,
    /// Its currency.
    pub currency: Option<Currency>,
    /// Unix seconds.
    #[serde(default, deserialize_with = "or_default")]
    pub created: i64,
    /// Who owes it.
    pub customer: Option<Id>,
    /// Texts of the tenant's own systems.
    #[serde(default, deserialize_with = "or_default")]
    pub metadata: Metadata,
    // Since basil.
    parent: Option<Parent>,
    #[serde(default, deserialize_with = "or_default")]
    payments: List<InvoicePayment>,
    // Before basil.
    subscription: Option<Id>,
    charge: Option<Id>,
    payment_intent: Option<Id>,
    #[serde(default, deserialize_with = "or_default")]
    paid_out_of_band: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Parent {
    subscription_details: Option<SubscriptionDetails>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct SubscriptionDetails {
    subscription: Option<Id>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct InvoicePayment {
    #[serde(default, deserialize_with = "or_default")]
    status: String,
    payment: Option<Payment>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Payment {
    charge: Option<Id>,
    payment_intent: Option<Id>,
}

/// How an invoice was paid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Paid {
    /// By a charge.
    Charge(String),
    /// By a payment intent's charge.
    Intent(String),
    /// By several payments.
    Several,
    /// Outside Stripe, or nothing was to be paid.
    Without,
    /// Not said: since basil an invoice names its payments only when they are asked for.
    Unsaid,
}

impl Invoice {
    /// How it was paid, whichever shape says so.
    #[must_use]
    pub fn paid(&self) -> Paid {
        if self.paid_out_of_band || self.amount_paid == 0 {
            return Paid::Without;
        }
        if let Some(charge) = &self.charge {
            return Paid::Charge(charge.to_string());
        }
        if let Some(intent) = &self.payment_intent {
            return Paid::Intent(intent.to_string());
        }
        let done = self.payments.data.iter().filter(|payment| payment.status == "paid");
        let mut payments = done.filter_map(|payment| payment.payment.as_ref());
        match (payments.next(), payments.next()) {
            (Some(_), Some(_)) => Paid::Several,
            (Some(Payment { charge: Some(charge), .. }), None) => Paid::Charge(charge.to_string()),
            (Some(Payment { payment_intent: Some(intent), .. }), None) => Paid::Intent(intent.to_string()),
            // A payment record: money that did not come through Stripe.
            (Some(Payment { .. }), None) => Paid::Without,
            (None, _) => Paid::Unsaid,
        }
    }

    /// The subscription it is for, whichever shape says so.
    #[must_use]
    pub fn subscription(&self) -> Option<&str> {
        let details = self.parent.as_ref().and_then(|parent| parent.subscription_details.as_ref());
        let since = details.and_then(|details| details.subscription.as_deref());
        since.or(self.subscription.as_deref())
    }
}

/// A line of an invoice. Its amount has neither discounts nor exclusive taxes in it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct InvoiceLine {
    amount: i64,
    /// For people.
    pub description: Option<String>,
    /// Pieces.
    pub quantity: Option<u64>,
    #[serde(default, deserialize_with = "or_default")]
    discount_amounts: Vec<Discount>,
    // Since basil.
    pricing: Option<Pricing>,
    #[serde(default, deserialize_with = "or_default")]
    taxes: Vec<Tax>,
    // Before basil.
    price: Option<Price>,
    plan: Option<Price>,
    #[serde(default, deserialize_with = "or_default")]
    tax_amounts: Vec<TaxAmount>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Discount {
    amount: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Pricing {
    price_details: Option<Price>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Tax {
    amount: i64,
    /// `inclusive`, `exclusive`, and what Stripe may add.
    tax_behavior: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct TaxAmount {
    amount: i64,
    #[serde(default, deserialize_with = "or_default")]
    inclusive: bool,
}

impl InvoiceLine {
    /// What the line costs, discounts taken off and taxes added.
    #[must_use]
    pub fn total(&self) -> i64 {
        let discounts: i64 = self.discount_amounts.iter().map(|discount| discount.amount).sum();
        let added = self.taxes().filter(|(_, inclusive)| !inclusive).map(|(amount, _)| amount).sum::<i64>();
        self.amount.saturating_sub(discounts).saturating_add(added)
    }

    /// Tax within the total.
    #[must_use]
    pub fn tax(&self) -> i64 {
        self.taxes().map(|(amount, _)| amount).sum()
    }

    /// `prod_…`
    #[must_use]
    pub fn product(&self) -> Option<&str> {
        let since = self.pricing.as_ref().and_then(|pricing| pricing.price_details.as_ref());
        let price = since.or(self.price.as_ref()).or(self.plan.as_ref())?;
        price.product.as_deref()
    }

    /// Each tax, and whether it is within the amount already. One shape or the other is filled, never both.
    fn taxes(&self) -> impl Iterator<Item = (i64, bool)> + '_ {
        let since =
            self.taxes.iter().map(|tax| (tax.amount, tax.tax_behavior.as_deref() == Some("inclusive")));
        let before = self.tax_amounts.iter().filter(|_| self.taxes.is_empty());
        since.chain(before.map(|tax| (tax.amount, tax.inclusive)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn line(json: Value) -> InvoiceLine {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn both_shapes_say_the_same() {
        let since = line(json!({
            "amount": 1000, "quantity": 2, "discount_amounts": [{"amount": 100, "discount": "di_1"}],
            "pricing": {"type": "price_details", "price_details": {"price": "price_1", "product": "prod_1"}},
            "taxes": [{"amount": 171, "tax_behavior": "exclusive", "type": "tax_rate_details"}],
        }));
        let before = line(json!({
            "amount": 1000, "quantity": 2, "discount_amounts": [{"amount": 100, "discount": "di_1"}],
            "price": {"id": "price_1", "product": "prod_1"},
            "tax_amounts": [{"amount": 171, "inclusive": false, "tax_rate": "txr_1"}],
        }));
        for line in [since, before] {
            assert_eq!((line.total(), line.tax(), line.product()), (1071, 171, Some("prod_1")));
        }
    }

    #[test]
    fn both_shapes_say_how_it_was_paid_and_for_which_subscription() {
        let invoice = |json: Value| serde_json::from_value::<Invoice>(json).unwrap();
        let paid = |payments: Value| {
            invoice(json!({"id": "in_1", "amount_paid": 5, "payments": {"data": payments}})).paid()
        };
        let intent =
            json!({"status": "paid", "payment": {"type": "payment_intent", "payment_intent": "pi_1"}});
        assert_eq!(paid(json!([intent, {"status": "canceled", "payment": {}}])), Paid::Intent("pi_1".into()));
        assert_eq!(paid(json!([intent, intent])), Paid::Several);
        assert_eq!(paid(json!([])), Paid::Unsaid);
        assert_eq!(invoice(json!({"id": "in_1", "amount_paid": 0, "charge": "ch_1"})).paid(), Paid::Without);
        let before =
            invoice(json!({"id": "in_1", "amount_paid": 5, "charge": "ch_1", "subscription": "sub_1"}));
        assert_eq!((before.paid(), before.subscription()), (Paid::Charge("ch_1".into()), Some("sub_1")));
        let since = invoice(json!({"id": "in_1", "parent": {"type": "subscription_details",
            "subscription_details": {"subscription": {"id": "sub_1"}}}}));
        assert_eq!(since.subscription(), Some("sub_1"));
    }

    #[test]
    fn an_inclusive_tax_is_within_the_amount() {
        let line = line(json!({
            "amount": 1190, "taxes": [{"amount": 190, "tax_behavior": "inclusive"}], "pricing": {"type": "x"},
        }));
        assert_eq!((line.total(), line.tax(), line.product()), (1190, 190, None));
    }
}
