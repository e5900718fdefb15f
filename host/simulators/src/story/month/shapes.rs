//! The month's objects as JSON, in the shapes of API version 2026-07-29.dahlia.

use serde_json::{Value, json};

use super::rates::{self, Method};
use super::subscriptions;
use crate::story::objects;

/// A line that was bought: product, name, price of one, pieces.
pub(super) type Line = (&'static str, &'static str, i64, i64);

/// What a charge is about.
pub(super) struct Sale {
    pub(super) charge: String,
    pub(super) intent: String,
    pub(super) amount: i64,
    pub(super) currency: &'static str,
    pub(super) customer: Option<String>,
    pub(super) name: String,
    pub(super) email: String,
    pub(super) country: String,
    pub(super) method: Method,
    pub(super) created: u64,
    pub(super) metadata: Value,
    pub(super) description: Value,
    pub(super) invoice: Option<String>,
    pub(super) payment_method: String,
}

const CURRENCIES: [&str; 5] = ["usd", "eur", "gbp", "jpy", "kwd"];

/// The id of a price.
pub(super) fn price_id(product: &str, currency: &str) -> String {
    format!("price_{}_{currency}", product.trim_start_matches("prod_"))
}

/// The price of every product in every currency.
pub(super) fn prices(created: u64) -> Vec<Value> {
    let of = |place: usize| {
        let (product, _, cents) = super::product(place);
        CURRENCIES.map(|currency| {
            let amount = rates::price(cents, currency);
            json!({
                "id": price_id(product, currency), "object": "price", "active": true, "billing_scheme": "per_unit",
                "created": created, "currency": currency, "custom_unit_amount": null, "livemode": false,
                "lookup_key": null, "metadata": {}, "nickname": null, "product": product, "recurring": null,
                "tax_behavior": "unspecified", "tiers_mode": null, "transform_quantity": null, "type": "one_time",
                "unit_amount": amount, "unit_amount_decimal": amount.to_string(),
            })
        })
    };
    let recurring =
        [subscriptions::BASIC, subscriptions::PRO].map(|plan| subscriptions::price(plan, created));
    (0..super::PRODUCTS.len()).flat_map(of).chain(recurring).collect()
}

/// A charge before anything was captured or settled.
pub(super) fn charge(sale: &Sale) -> Value {
    let details = match sale.method {
        Method::Card => objects::card(&json!(sale.amount), &json!(sale.country)),
        Method::Sepa => json!({"type": "sepa_debit", "sepa_debit": {
            "bank_code": "37040044", "branch_code": "", "country": "DE", "expected_debit_date": null,
            "fingerprint": "sZ7Wb2xQ", "last4": "3000", "mandate": "mandate_1Portolan",
        }}),
    };
    let mut charge = json!({
        "id": sale.charge, "object": "charge", "amount": sale.amount, "amount_captured": 0, "amount_refunded": 0,
        "application": null, "application_fee": null, "application_fee_amount": null, "balance_transaction": null,
        "calculated_statement_descriptor": "PORTOLAN DEMO", "captured": false, "created": sale.created,
        "currency": sale.currency, "customer": sale.customer, "description": sale.description, "destination": null,
        "dispute": null, "disputed": false, "failure_balance_transaction": null, "failure_code": null,
        "failure_message": null, "fraud_details": {}, "livemode": false, "metadata": sale.metadata,
        "on_behalf_of": null, "order": null, "paid": false, "payment_intent": sale.intent,
        "payment_method": sale.payment_method, "payment_method_details": details, "radar_options": {},
        "receipt_email": sale.email, "receipt_number": null, "refunded": false, "review": null, "shipping": null,
        "source": null, "source_transfer": null, "statement_descriptor": null, "statement_descriptor_suffix": null,
        "status": "pending", "transfer_data": null, "transfer_group": null, "_simulator": {"invoice": sale.invoice},
    });
    if let Some(fields) = charge.as_object_mut() {
        fields.insert("billing_details".to_owned(), json!({
            "address": objects::address(&sale.country), "email": sale.email, "name": sale.name, "phone": null,
            "tax_id": null,
        }));
        fields.insert(
            "receipt_url".to_owned(),
            json!(format!("https://pay.stripe.com/receipts/payment/{}", sale.charge)),
        );
        fields.insert("outcome".to_owned(), json!({
            "advice_code": null, "network_advice_code": null, "network_decline_code": null,
            "network_status": "approved_by_network", "reason": null, "risk_level": "normal", "risk_score": 12,
            "seller_message": "Payment complete.", "type": "authorized",
        }));
    }
    charge
}

/// The payment intent of a charge.
pub(super) fn intent(sale: &Sale, capture_method: &str) -> Value {
    let method = if sale.method == Method::Card { "card" } else { "sepa_debit" };
    json!({
        "id": sale.intent, "object": "payment_intent", "amount": sale.amount, "amount_capturable": 0,
        "amount_details": {"tip": {}}, "amount_received": 0, "application": null, "application_fee_amount": null,
        "automatic_payment_methods": null, "canceled_at": null, "cancellation_reason": null,
        "capture_method": capture_method, "confirmation_method": "automatic", "created": sale.created,
        "currency": sale.currency, "customer": sale.customer, "description": sale.description,
        "last_payment_error": null, "latest_charge": sale.charge, "livemode": false, "metadata": sale.metadata,
        "next_action": null, "on_behalf_of": null, "payment_method": sale.payment_method, "payment_method_options": {},
        "payment_method_types": [method], "processing": null, "receipt_email": sale.email, "review": null,
        "setup_future_usage": null, "shipping": null, "statement_descriptor": null,
        "statement_descriptor_suffix": null, "status": "processing", "transfer_data": null, "transfer_group": null,
        "_simulator": {"invoice": sale.invoice},
    })
}

/// A checkout session with its lines.
pub(super) fn session(id: &str, sale: &Sale, lines: &[Line]) -> Value {
    let line = |(place, (product, name, price, quantity)): (usize, &Line)| {
        let total = price * quantity;
        json!({
            "id": format!("li_{}_{place}", id.trim_start_matches("cs_test_")), "object": "item", "amount_discount": 0,
            "amount_subtotal": total, "amount_tax": 0, "amount_total": total, "currency": sale.currency,
            "description": name, "quantity": quantity,
            "price": {
                "id": price_id(product, sale.currency), "object": "price", "active": true, "billing_scheme": "per_unit",
                "currency": sale.currency, "product": product, "type": "one_time", "unit_amount": price,
                "unit_amount_decimal": price.to_string(),
            },
        })
    };
    let rows: Vec<Value> = lines.iter().enumerate().map(line).collect();
    json!({
        "id": id, "object": "checkout.session", "amount_subtotal": sale.amount, "amount_total": sale.amount,
        "automatic_tax": {"enabled": false, "liability": null, "provider": null, "status": null},
        "cancel_url": null, "client_reference_id": null, "created": sale.created - 45, "currency": sale.currency,
        "customer": sale.customer, "customer_creation": if sale.customer.is_some() { Value::Null } else { json!("if_required") },
        "customer_details": {
            "address": objects::address(&sale.country), "email": sale.email, "name": sale.name, "phone": null,
            "tax_exempt": "none", "tax_ids": [],
        },
        "customer_email": null, "expires_at": sale.created + 86_400, "invoice": null, "livemode": false, "locale": null,
        "metadata": {}, "mode": "payment", "payment_intent": sale.intent, "payment_link": null,
        "payment_method_types": ["card", "sepa_debit"], "payment_status": "unpaid", "setup_intent": null,
        "shipping_cost": null, "shipping_options": [], "status": "complete", "submit_type": null, "subscription": null,
        "success_url": "https://example.com/thanks", "ui_mode": "hosted",
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0}, "url": null,
        "line_items": {"object": "list", "data": rows, "has_more": false, "url": format!("/v1/checkout/sessions/{id}/line_items")},
    })
}
