//! Invoices: made, finalised, paid, failed, voided, credited.

use serde_json::{Value, json};

use super::rates::Method;
use super::subscriptions::Plan;
use super::world::World;
use super::{Act, DAY_S};

/// A line: what it says, cents, the plan, whether it is a proration.
type DraftLine = (String, i64, Plan, bool);

/// An invoice about to be made.
pub(super) struct Draft {
    subscription: Option<String>,
    reason: &'static str,
    lines: Vec<DraftLine>,
}

impl Draft {
    pub(super) fn new(subscription: &str, reason: &'static str) -> Self {
        Self { subscription: Some(subscription.to_owned()), reason, lines: Vec::new() }
    }

    fn by_hand() -> Self {
        Self { subscription: None, reason: "manual", lines: Vec::new() }
    }

    pub(super) fn line(mut self, text: &str, cents: i64, plan: Plan, is_proration: bool) -> Self {
        self.lines.push((text.to_owned(), cents, plan, is_proration));
        self
    }
}

impl World {
    /// A finalised invoice, open until it is paid.
    pub(super) fn invoice(&mut self, customer: &str, draft: Draft) -> String {
        let id = self.id("in_1", 23);
        let Draft { subscription, reason, lines } = draft;
        let total: i64 = lines.iter().map(|(_, cents, ..)| cents).sum();
        let rows: Vec<Value> =
            lines.iter().map(|line| self.invoice_line(&id, subscription.as_deref(), line)).collect();
        let number = format!("PORTOLAN-{}", id.chars().skip(4).take(8).collect::<String>().to_uppercase());
        let parent = match &subscription {
            Some(subscription) => json!({"quote_details": null, "type": "subscription_details",
                "subscription_details": {"metadata": {}, "subscription": subscription}}),
            None => Value::Null,
        };
        self.put(json!({
            "id": id, "object": "invoice", "account_country": "US", "account_name": "Portolan Demo", "amount_due": total,
            "amount_overpaid": 0, "amount_paid": 0, "amount_remaining": total, "amount_shipping": 0, "attempt_count": 0,
            "attempted": false, "auto_advance": true, "billing_reason": reason,
            "collection_method": "charge_automatically", "created": self.now, "currency": "usd", "customer": customer,
            "customer_address": self.field(customer, "address"), "customer_email": self.field(customer, "email"),
            "customer_name": self.field(customer, "name"), "description": null, "discounts": [], "due_date": null,
            "ending_balance": 0, "livemode": false, "metadata": {}, "number": null, "parent": parent,
            "period_end": self.now, "period_start": self.now, "post_payment_credit_notes_amount": 0,
            "pre_payment_credit_notes_amount": 0, "shipping_cost": null, "starting_balance": 0, "status": "draft",
            "status_transitions": {"finalized_at": null, "marked_uncollectible_at": null, "paid_at": null, "voided_at": null},
            "subtotal": total, "subtotal_excluding_tax": total, "total": total, "total_discount_amounts": [],
            "total_excluding_tax": total, "total_taxes": [],
            "lines": {"object": "list", "data": rows, "has_more": false, "url": format!("/v1/invoices/{id}/lines")},
            "_simulator": {"subscription": subscription, "charge": null, "payment_intent": null},
        }));
        self.tell("invoice.created", &id);
        let finalised = json!({"status": "open", "number": number, "status_transitions": self.transitions(&id, "finalized_at")});
        self.patch(&id, finalised);
        self.tell("invoice.finalized", &id);
        if let Some(subscription) = subscription {
            self.patch(&subscription, json!({"latest_invoice": id}));
        }
        id
    }

    fn transitions(&self, invoice: &str, name: &str) -> Value {
        let mut transitions = self.field(invoice, "status_transitions");
        if let Some(fields) = transitions.as_object_mut() {
            fields.insert(name.to_owned(), json!(self.now));
        }
        transitions
    }

    fn invoice_line(&mut self, invoice: &str, subscription: Option<&str>, line: &DraftLine) -> Value {
        let (text, cents, (price, product, unit, _), is_proration) = line;
        let parent = match subscription {
            Some(subscription) => json!({"invoice_item_details": null, "type": "subscription_item_details",
                "subscription_item_details": {"invoice_item": null, "proration": is_proration, "proration_details": null,
                                              "subscription": subscription, "subscription_item": null}}),
            None => json!({"invoice_item_details": {"invoice_item": "ii_1Portolan", "proration": false,
                "proration_details": null, "subscription": null}, "subscription_item_details": null, "type": "invoice_item_details"}),
        };
        json!({
            "id": self.id("il_1", 23), "object": "line_item", "amount": cents, "currency": "usd", "description": text,
            "discount_amounts": [], "discountable": true, "discounts": [], "invoice": invoice, "livemode": false,
            "metadata": {}, "parent": parent, "period": {"end": self.now, "start": self.now},
            "pricing": {"price_details": {"price": price, "product": product}, "type": "price_details",
                        "unit_amount_decimal": unit.to_string()},
            "quantity": 1, "subtotal": cents, "taxes": [],
        })
    }

    /// An invoice over nothing is paid by nobody.
    pub(super) fn pay_nothing(&mut self, invoice: &str) {
        let paid = json!({"status": "paid", "attempted": true, "status_transitions": self.transitions(invoice, "paid_at")});
        self.patch(invoice, paid);
        self.tell("invoice.paid", invoice);
        self.tell("invoice.payment_succeeded", invoice);
    }

    pub(super) fn pay_invoice(&mut self, invoice: &str) {
        let amount = self.number(invoice, "amount_due");
        if amount <= 0 {
            self.pay_nothing(invoice);
            return;
        }
        let buyer = self.buyer_of(&self.text(invoice, "customer"));
        let mut sale = self.sale(buyer, (amount, "usd", Method::Card), json!({}));
        sale.description = json!("Subscription update");
        sale.invoice = Some(invoice.to_owned());
        let subscription = self.field(invoice, "_simulator").get("subscription").cloned();
        let attempts = self.number(invoice, "attempt_count") + 1;
        self.patch(invoice, json!({
            "status": "paid", "amount_paid": amount, "amount_remaining": 0, "attempted": true, "attempt_count": attempts,
            "status_transitions": self.transitions(invoice, "paid_at"),
            "_simulator": {"subscription": subscription, "charge": sale.charge, "payment_intent": sale.intent},
        }));
        let payment = self.id("inpay_1", 23);
        self.put(json!({
            "id": payment, "object": "invoice_payment", "amount_paid": amount, "amount_requested": amount,
            "created": self.now, "currency": "usd", "invoice": invoice, "is_default": true, "livemode": false,
            "payment": {"payment_intent": sale.intent, "type": "payment_intent"}, "status": "paid",
            "status_transitions": {"canceled_at": null, "paid_at": self.now},
        }));
        self.pay_by_card(&sale, None);
        self.now += 1;
        self.tell("invoice_payment.paid", &payment);
        self.tell("invoice.paid", invoice);
        self.tell("invoice.payment_succeeded", invoice);
    }

    pub(super) fn fail_invoice(&mut self, invoice: &str) {
        self.patch(
            invoice,
            json!({"attempted": true, "attempt_count": 1, "next_payment_attempt": self.now + 3 * DAY_S}),
        );
        self.tell("invoice.payment_failed", invoice);
    }

    /// An invoice made by hand, by mistake.
    pub(super) fn void_invoice(&mut self, customer: &str) {
        let draft = Draft::by_hand().line("Consulting", 45_000, super::subscriptions::PRO, false);
        let invoice = self.invoice(customer, draft);
        self.now += 60;
        let voided = json!({"status": "void", "status_transitions": self.transitions(&invoice, "voided_at")});
        let previous = self.patch(&invoice, voided);
        self.tell_change("invoice.voided", &invoice, previous);
    }

    /// Half of an invoice is taken back: with the money, or outside of Stripe.
    pub(super) fn credit(&mut self, invoice: &str, refunded: bool) {
        let charge = super::world::text(&self.field(invoice, "_simulator"), "charge");
        if charge.is_empty() {
            self.plan(self.now + DAY_S, Act::Credit { invoice: invoice.to_owned(), refunded });
            return;
        }
        let amount = self.number(invoice, "total") / 2;
        let refund = if refunded {
            self.refund(&charge, Some(amount), Some("requested_by_customer"), false)
        } else {
            None
        };
        let amount = refund.as_ref().map_or(amount, |refund| self.number(refund, "amount"));
        let refunds: Vec<Value> = refund
            .iter()
            .map(|id| json!({"amount_refunded": amount, "refund": id, "type": "refund"}))
            .collect();
        let (id, line) = (self.id("cn_1", 23), self.id("cnli_1", 23));
        let number = format!("{}-CN-01", self.text(invoice, "number"));
        self.put(json!({
            "id": id, "object": "credit_note", "amount": amount, "amount_shipping": 0, "created": self.now,
            "currency": "usd", "customer": self.field(invoice, "customer"), "customer_balance_transaction": null,
            "discount_amount": 0, "discount_amounts": [], "effective_at": self.now, "invoice": invoice,
            "livemode": false, "memo": null, "metadata": {}, "number": number,
            "out_of_band_amount": if refund.is_some() { Value::Null } else { json!(amount) }, "pdf": null,
            "post_payment_amount": amount, "pre_payment_amount": 0, "reason": "order_change", "refunds": refunds,
            "shipping_cost": null, "status": "issued", "subtotal": amount, "subtotal_excluding_tax": amount,
            "total": amount, "total_excluding_tax": amount, "total_taxes": [], "type": "post_payment", "voided_at": null,
            "lines": {"object": "list", "has_more": false, "url": format!("/v1/credit_notes/{id}/lines"), "data": [{
                "id": line, "object": "credit_note_line_item", "amount": amount, "description": "Goodwill",
                "discount_amount": 0, "discount_amounts": [], "invoice_line_item": null, "livemode": false,
                "quantity": 1, "tax_rates": [], "taxes": [], "type": "custom_line_item", "unit_amount": amount,
                "unit_amount_decimal": amount.to_string(),
            }]},
        }));
        self.patch(invoice, json!({"post_payment_credit_notes_amount": amount}));
        self.tell("credit_note.created", &id);
    }
}
