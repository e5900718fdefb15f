//! Stripe's objects in their full shape beside the charge, for tests: what the API sends, with the fields that matter
//! to set. All were made on 2026-11-20T23:30:00Z, in the shapes since 2025-03-31.basil.

use serde_json::{Value, json};

/// When they were made.
const CREATED: i64 = 1_795_217_400;

/// An object for a test.
#[derive(Debug, Clone)]
pub struct TestObject(Value);

impl TestObject {
    /// Any object, as it is.
    #[must_use]
    pub fn new(object: Value) -> Self {
        Self(object)
    }

    /// Any field of the object, by its name.
    #[must_use]
    pub fn with(mut self, field: &str, value: Value) -> Self {
        if let Some(object) = self.0.as_object_mut() {
            object.insert(field.to_owned(), value);
        }
        self
    }

    /// The object itself.
    #[must_use]
    pub fn object(&self) -> &Value {
        &self.0
    }

    /// An event of this kind around it.
    #[must_use]
    pub fn event(&self, kind: &str) -> Value {
        event(kind, &self.0)
    }

    /// The event `….updated` around it, with the old values of what changed.
    #[must_use]
    pub fn updated(&self, kind: &str, previous: Value) -> Value {
        let mut event = event(kind, &self.0);
        if let Some(data) = event.get_mut("data").and_then(Value::as_object_mut) {
            data.insert("previous_attributes".to_owned(), previous);
        }
        event
    }
}

pub(super) fn event(kind: &str, object: &Value) -> Value {
    json!({
        "id": "evt_3QabcDEF0123456789abcdef",
        "object": "event",
        "api_version": "2026-07-29.dahlia",
        "created": CREATED,
        "data": {"object": object},
        "livemode": false,
        "pending_webhooks": 1,
        "request": {"id": "req_TRIAL", "idempotency_key": null},
        "type": kind,
    })
}

/// The same event, as Portolan's own write causes it.
#[must_use]
pub fn echoed(mut event: Value) -> Value {
    if let Some(event) = event.as_object_mut() {
        event.insert("request".to_owned(), json!({"id": "req_OURS", "idempotency_key": "portolan-dlv_1"}));
    }
    event
}

/// A thin event about an object, which is fetched from `url`.
#[must_use]
pub fn thin(kind: &str, id: &str, url: &str) -> Value {
    json!({
        "id": "evt_test_65RCjj4wsKBmT1AqG",
        "object": "v2.core.event",
        "type": kind,
        "created": "2026-11-20T23:30:00.000Z",
        "livemode": false,
        "context": null,
        "reason": {"type": "request", "request": {"id": "req_TRIAL", "idempotency_key": "shop-1"}},
        "related_object": {"id": id, "type": kind, "url": url},
    })
}

/// A list, as the connector joins its pages.
#[must_use]
pub fn list(objects: &[&TestObject]) -> Value {
    let data: Vec<&Value> = objects.iter().map(|object| object.object()).collect();
    json!({"object": "list", "url": "/v1/objects", "has_more": false, "data": data})
}

/// A refund of a charge that has succeeded.
#[must_use]
pub fn refund(id: &str, charge: &str, amount: i64, currency: &str) -> TestObject {
    TestObject(json!({
        "id": id, "object": "refund", "amount": amount, "balance_transaction": id.replacen("re_", "txn_", 1),
        "charge": charge, "created": CREATED, "currency": currency,
        "destination_details": {"card": {"reference": "4242", "reference_status": "available", "type": "refund"}, "type": "card"},
        "metadata": {}, "payment_intent": charge.replacen("ch_", "pi_", 1), "reason": "requested_by_customer",
        "receipt_number": null, "source_transfer_reversal": null, "status": "succeeded", "transfer_reversal": null,
    }))
}

/// A dispute over a charge, which has moved nothing yet.
#[must_use]
pub fn dispute(id: &str, charge: &str, amount: i64, currency: &str) -> TestObject {
    TestObject(json!({
        "id": id, "object": "dispute", "amount": amount, "balance_transactions": [], "charge": charge,
        "created": CREATED, "currency": currency, "enhanced_eligibility_types": [],
        "evidence": {"customer_email_address": null, "product_description": null},
        "evidence_details": {"due_by": 1_796_083_199, "has_evidence": false, "past_due": false, "submission_count": 0},
        "is_charge_refundable": false, "livemode": false, "metadata": {},
        "payment_intent": charge.replacen("ch_", "pi_", 1),
        "payment_method_details": {"card": {"brand": "visa", "network_reason_code": "10.4"}, "type": "card"},
        "reason": "fraudulent", "status": "needs_response",
    }))
}

/// An automatic payout that has arrived and is reconciled.
#[must_use]
pub fn payout(id: &str, amount: i64, currency: &str) -> TestObject {
    TestObject(json!({
        "id": id, "object": "payout", "amount": amount, "application_fee": null, "application_fee_amount": null,
        "arrival_date": 1_795_392_000, "automatic": true, "balance_transaction": id.replacen("po_", "txn_", 1),
        "created": CREATED, "currency": currency, "description": "STRIPE PAYOUT", "destination": "ba_1TRIAL",
        "failure_balance_transaction": null, "failure_code": null, "failure_message": null, "livemode": false,
        "metadata": {}, "method": "standard", "original_payout": null, "payout_method": null,
        "reconciliation_status": "completed", "reversed_by": null, "source_type": "card",
        "statement_descriptor": null, "status": "paid", "trace_id": {"status": "pending", "value": null},
        "type": "bank_account",
    }))
}

/// A balance transaction with all its fee to Stripe. `source` is an id, or the object itself.
#[must_use]
pub fn balance_transaction(
    category: &str,
    currency: &str,
    (amount, fee): (i64, i64),
    source: Value,
) -> TestObject {
    let id = source.as_str().or_else(|| source.get("id").and_then(Value::as_str)).unwrap_or("none");
    let details = json!([{"amount": fee, "application": null, "currency": currency,
        "description": "Stripe processing fees", "type": "stripe_fee"}]);
    TestObject(json!({
        "id": format!("txn_{category}_{id}"), "object": "balance_transaction", "amount": amount,
        "available_on": 1_795_392_000, "balance_type": "payments", "created": CREATED, "currency": currency,
        "description": null, "exchange_rate": null, "fee": fee,
        "fee_details": if fee == 0 { json!([]) } else { details }, "net": amount - fee,
        "reporting_category": category, "source": source, "status": "available",
        "type": if category.starts_with("dispute") { "adjustment" } else { category },
    }))
}

/// A customer with everything that an ERP asks for.
#[must_use]
pub fn customer(id: &str, name: &str) -> TestObject {
    TestObject(json!({
        "id": id, "object": "customer",
        "address": {"city": "Springfield", "country": "US", "line1": "1 Main St", "line2": "Suite 2",
            "postal_code": "62701", "state": "IL"},
        "balance": 0, "created": CREATED, "currency": "usd", "default_source": null, "delinquent": false,
        "description": null, "discount": null, "email": "rosen@example.com", "invoice_prefix": "0759376C",
        "invoice_settings": {"custom_fields": null, "default_payment_method": null, "footer": null, "rendering_options": null},
        "livemode": false, "metadata": {}, "name": name, "phone": "+1 217 555 0100", "preferred_locales": ["en-US"],
        "shipping": null, "tax_exempt": "none", "test_clock": null,
    }))
}

/// A payment intent whose charge has succeeded.
#[must_use]
pub fn payment_intent(id: &str, charge: &str, amount: i64, currency: &str) -> TestObject {
    TestObject(json!({
        "id": id, "object": "payment_intent", "amount": amount, "amount_capturable": 0, "amount_received": amount,
        "canceled_at": null, "capture_method": "automatic", "client_secret": null, "created": CREATED,
        "currency": currency, "customer": null, "description": null, "latest_charge": charge, "livemode": false,
        "metadata": {}, "payment_method_types": ["card"], "status": "succeeded",
    }))
}

/// A checkout session that was paid by an intent.
#[must_use]
pub fn checkout_session(id: &str, intent: &str, amount: i64, currency: &str) -> TestObject {
    TestObject(json!({
        "id": id, "object": "checkout.session", "amount_subtotal": amount, "amount_total": amount,
        "client_reference_id": null, "created": CREATED, "currency": currency, "customer": null,
        "customer_details": {"address": null, "email": "jenny.rosen@example.com", "name": "Jenny Rosen", "phone": null,
            "tax_exempt": "none", "tax_ids": []},
        "expires_at": 1_795_303_800, "invoice": null, "livemode": false, "metadata": {}, "mode": "payment",
        "payment_intent": intent, "payment_status": "paid", "shipping_cost": null, "status": "complete",
        "subscription": null, "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
    }))
}

/// An invoice of a subscription, paid by an intent.
#[must_use]
pub fn invoice(id: &str, intent: &str, amount: i64, currency: &str) -> TestObject {
    TestObject(json!({
        "id": id, "object": "invoice", "amount_due": amount, "amount_paid": amount, "amount_remaining": 0,
        "billing_reason": "subscription_cycle", "collection_method": "charge_automatically", "created": CREATED,
        "currency": currency, "customer": "cus_1", "lines": {"object": "list", "has_more": false, "data": [
            {"id": "il_1", "object": "line_item", "amount": amount, "currency": currency, "description": "1 × Plan",
             "quantity": 1, "pricing": {"type": "price_details", "price_details": {"price": "price_1", "product": "prod_plan"}},
             "taxes": []},
        ]},
        "livemode": false, "metadata": {}, "number": "0759376C-0001",
        "parent": {"type": "subscription_details", "quote_details": null,
            "subscription_details": {"metadata": {}, "subscription": "sub_1"}},
        "payments": {"object": "list", "has_more": false, "data": [
            {"id": "inpay_1", "object": "invoice_payment", "amount_paid": amount, "amount_requested": amount,
             "invoice": id, "is_default": true, "status": "paid",
             "payment": {"type": "payment_intent", "payment_intent": intent}},
        ]},
        "status": "paid", "total": amount, "total_taxes": [],
    }))
}

/// A credit note after the payment, none of which is a refund.
#[must_use]
pub fn credit_note(id: &str, invoice: &str, amount: i64, currency: &str) -> TestObject {
    TestObject(json!({
        "id": id, "object": "credit_note", "amount": amount, "amount_shipping": 0, "created": CREATED,
        "currency": currency, "customer": "cus_1", "customer_balance_transaction": "cbtxn_1", "invoice": invoice,
        "lines": {"object": "list", "has_more": false, "data": []}, "livemode": false, "memo": null, "metadata": {},
        "number": "0759376C-0001-CN-01", "out_of_band_amount": null, "post_payment_amount": amount,
        "pre_payment_amount": 0, "reason": "order_change", "refunds": [], "status": "issued", "subtotal": amount,
        "total": amount, "type": "post_payment", "voided_at": null,
    }))
}

/// An active subscription to one product.
#[must_use]
pub fn subscription(id: &str, customer: &str, product: &str) -> TestObject {
    TestObject(json!({
        "id": id, "object": "subscription", "billing_cycle_anchor": CREATED, "cancel_at": null,
        "cancel_at_period_end": false, "canceled_at": null, "collection_method": "charge_automatically",
        "created": CREATED, "currency": "usd", "customer": customer, "items": {"object": "list", "has_more": false, "data": [
            {"id": "si_1", "object": "subscription_item", "created": CREATED, "current_period_end": 1_797_809_400,
             "current_period_start": CREATED, "metadata": {}, "price": {"id": "price_1", "object": "price",
                "currency": "usd", "product": product, "unit_amount": 2000}, "quantity": 1, "subscription": id},
        ]},
        "latest_invoice": "in_1", "livemode": false, "metadata": {}, "start_date": CREATED, "status": "active",
    }))
}

/// An issuer's warning about a charge.
#[must_use]
pub fn early_fraud_warning(id: &str, charge: &str) -> TestObject {
    TestObject(json!({
        "id": id, "object": "radar.early_fraud_warning", "actionable": true, "charge": charge, "created": CREATED,
        "fraud_type": "made_with_stolen_card", "livemode": false, "payment_intent": charge.replacen("ch_", "pi_", 1),
    }))
}

/// A review that a rule opened.
#[must_use]
pub fn review(id: &str, charge: &str) -> TestObject {
    TestObject(json!({
        "id": id, "object": "review", "billing_zip": "62701", "charge": charge, "closed_reason": null,
        "created": CREATED, "ip_address": "198.51.100.7", "ip_address_location": null, "livemode": false, "open": true,
        "opened_reason": "rule", "payment_intent": charge.replacen("ch_", "pi_", 1), "reason": "rule", "session": null,
    }))
}
