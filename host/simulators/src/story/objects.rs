//! The objects around a charge, in the shapes of API version 2026-07-29.dahlia.

use serde_json::{Value, json};

use crate::story::{Line, PRODUCTS};
use crate::stripe::characters;

/// The ids of one charge and of what belongs to it.
pub(crate) struct Ids {
    pub(crate) seed: String,
    pub(crate) event: String,
    pub(crate) charge: String,
    pub(crate) payment_intent: String,
    pub(crate) payment_method: String,
    pub(crate) balance_transaction: String,
    pub(crate) session: String,
    pub(crate) invoice: String,
    pub(crate) customer: String,
    pub(crate) request: String,
}

impl Ids {
    pub(crate) fn new(seed: &str) -> Self {
        let id =
            |prefix: &str, length| format!("{prefix}{}", characters(&format!("{seed}/{prefix}"), length));
        Self {
            event: id("evt_3", 23),
            charge: id("ch_3", 23),
            payment_intent: id("pi_3", 23),
            payment_method: id("pm_1", 23),
            balance_transaction: id("txn_3", 23),
            session: id("cs_test_", 32),
            invoice: id("in_1", 23),
            customer: id("cus_", 14),
            request: id("req_", 14),
            seed: seed.to_owned(),
        }
    }

    fn part(&self, prefix: &str, index: usize) -> String {
        format!("{prefix}{}", characters(&format!("{}/{prefix}/{index}", self.seed), 23))
    }
}

fn field(known: &Value, name: &str) -> Value {
    known.get(name).cloned().unwrap_or_default()
}

/// An address in a country.
pub(crate) fn address(country: &str) -> Value {
    let (city, line, code, state) = match country {
        "GB" => ("London", "12 St James's Square", "SW1Y 4LB", Value::Null),
        "JP" => ("Osaka", "1-2-3 Kita", "530-0001", Value::Null),
        "KW" => ("Kuwait City", "Block 3, Street 7", "13001", Value::Null),
        _ => ("Springfield", "1 Main Street", "62701", json!("IL")),
    };
    json!({"city": city, "country": country, "line1": line, "line2": null, "postal_code": code, "state": state})
}

/// A card payment.
pub(crate) fn card(amount: &Value, country: &Value) -> Value {
    json!({
        "type": "card",
        "card": {
            "amount_authorized": amount, "authorization_code": null, "brand": "visa",
            "checks": {"address_line1_check": "pass", "address_postal_code_check": "pass", "cvc_check": "pass"},
            "country": country, "exp_month": 8, "exp_year": 2030, "extended_authorization": {"status": "disabled"},
            "fingerprint": "Xt5EWLLDS7FJjR1c", "funding": "credit",
            "incremental_authorization": {"status": "unavailable"}, "installments": null, "last4": "4242",
            "mandate": null, "multicapture": {"status": "unavailable"}, "network": "visa",
            "network_token": {"used": false}, "network_transaction_id": null,
            "overcapture": {"maximum_amount_capturable": amount, "status": "unavailable"},
            "regulated_status": "unregulated", "three_d_secure": null, "wallet": null,
        },
    })
}

/// A customer.
pub(crate) fn customer(id: &str, name: &str, email: &str, country: &str) -> Value {
    json!({
        "id": id, "object": "customer", "address": address(country), "balance": 0,
        "created": super::CREATED_FIRST - 3_600, "currency": null, "default_source": null, "delinquent": false,
        "description": null, "discount": null, "email": email, "invoice_prefix": null, "livemode": false,
        "metadata": {}, "name": name, "phone": null, "preferred_locales": [], "shipping": null, "tax_exempt": "none",
        "test_clock": null,
    })
}

/// The payment intent of a charge.
pub(crate) fn payment_intent(ids: &Ids, known: &Value) -> Value {
    json!({
        "id": ids.payment_intent, "object": "payment_intent", "amount": field(known, "amount"),
        "amount_received": field(known, "amount"), "capture_method": "automatic", "created": field(known, "created"),
        "currency": field(known, "currency"), "customer": field(known, "customer"), "latest_charge": ids.charge,
        "livemode": false, "metadata": {}, "payment_method": ids.payment_method, "status": "succeeded",
    })
}

/// The balance transaction of a charge: 2.9 % as fee, rounded down, in the currency of the charge.
pub(crate) fn balance_transaction(ids: &Ids, known: &Value) -> Value {
    let amount = field(known, "amount").as_u64().unwrap_or_default();
    let fee = amount * 29 / 1_000;
    json!({
        "id": ids.balance_transaction, "object": "balance_transaction", "amount": amount, "available_on": null,
        "balance_type": "payments", "created": field(known, "created"), "currency": field(known, "currency"),
        "description": null, "exchange_rate": null, "fee": fee,
        "fee_details": [{"amount": fee, "application": null, "currency": field(known, "currency"),
                         "description": "Stripe processing fees", "type": "stripe_fee"}],
        "net": amount - fee, "reporting_category": "charge", "source": ids.charge, "status": "pending", "type": "charge",
    })
}

/// A paid checkout session.
pub(crate) fn session(ids: &Ids, known: &Value, lines: &[Line]) -> Value {
    let line = |(index, (product, quantity, price)): (usize, &Line)| {
        let product = PRODUCTS.get(*product)?;
        let total = quantity * price;
        Some(json!({
            "id": ids.part("li_1", index), "object": "item", "amount_discount": 0, "amount_subtotal": total,
            "amount_tax": 0, "amount_total": total, "currency": field(known, "currency"), "description": product.name,
            "price": {
                "id": ids.part("price_1", index), "object": "price", "active": true, "billing_scheme": "per_unit",
                "currency": field(known, "currency"), "product": product.id, "type": "one_time", "unit_amount": price,
                "unit_amount_decimal": price.to_string(),
            },
            "quantity": quantity,
        }))
    };
    let lines: Vec<Value> = lines.iter().enumerate().filter_map(line).collect();
    json!({
        "id": ids.session, "object": "checkout.session", "amount_subtotal": field(known, "amount"),
        "amount_total": field(known, "amount"), "created": field(known, "created").as_u64().unwrap_or_default() - 60,
        "currency": field(known, "currency"), "customer": field(known, "customer"),
        "customer_details": {"email": field(known, "email"), "name": field(known, "name")}, "livemode": false,
        "metadata": {}, "mode": "payment", "payment_intent": ids.payment_intent, "payment_status": "paid",
        "shipping_cost": null, "status": "complete",
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "line_items": {"object": "list", "data": lines, "has_more": false,
                       "url": format!("/v1/checkout/sessions/{}/line_items", ids.session)},
    })
}

/// A paid invoice, and the invoice payment that ties it to the payment intent (since 2025-03-31.basil).
pub(crate) fn invoice(ids: &Ids, known: &Value, lines: &[Line]) -> [Value; 2] {
    let line = |(index, (product, quantity, price)): (usize, &Line)| {
        let product = PRODUCTS.get(*product)?;
        Some(json!({
            "id": ids.part("il_1", index), "object": "line_item", "amount": quantity * price,
            "currency": field(known, "currency"), "description": product.name, "discount_amounts": [],
            "discountable": true, "discounts": [], "invoice": ids.invoice, "livemode": false, "metadata": {},
            "parent": null,
            "pricing": {"price_details": {"price": ids.part("price_1", index), "product": product.id},
                        "type": "price_details", "unit_amount_decimal": price.to_string()},
            "quantity": quantity, "subtotal": quantity * price, "taxes": [],
        }))
    };
    let lines: Vec<Value> = lines.iter().enumerate().filter_map(line).collect();
    let (amount, created) = (field(known, "amount"), field(known, "created"));
    let invoice = json!({
        "id": ids.invoice, "object": "invoice", "amount_due": amount, "amount_paid": amount, "amount_remaining": 0,
        "billing_reason": "subscription_cycle", "collection_method": "charge_automatically", "created": created,
        "currency": field(known, "currency"), "customer": field(known, "customer"), "livemode": false, "metadata": {},
        "number": format!("PORTOLAN-{}", characters(&ids.seed, 4).to_uppercase()), "parent": null,
        "shipping_cost": null, "status": "paid", "subtotal": amount, "total": amount, "total_discount_amounts": [],
        "total_taxes": [],
        "lines": {"object": "list", "data": lines, "has_more": false, "url": format!("/v1/invoices/{}/lines", ids.invoice)},
    });
    let payment = json!({
        "id": ids.part("inpay_1", 0), "object": "invoice_payment", "amount_paid": amount, "amount_requested": amount,
        "created": created, "currency": field(known, "currency"), "invoice": ids.invoice, "is_default": true,
        "livemode": false, "payment": {"payment_intent": ids.payment_intent, "type": "payment_intent"},
        "status": "paid", "status_transitions": {"canceled_at": null, "paid_at": created},
    });
    [invoice, payment]
}
