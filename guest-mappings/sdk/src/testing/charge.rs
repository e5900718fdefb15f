//! A charge in Stripe's full shape, for tests: everything that the API sends, with the fields that matter to set.

use serde_json::{Map, Value, json};

/// A captured charge of a guest, made on 2026-11-20T23:30:00Z.
#[must_use]
pub fn charge(id: &str, amount: i64, currency: &str) -> TestCharge {
    let intent = id.replacen("ch_", "pi_", 1);
    TestCharge(json!({
        "id": id,
        "object": "charge",
        "amount": amount,
        "amount_captured": amount,
        "amount_refunded": 0,
        "application": null,
        "application_fee": null,
        "application_fee_amount": null,
        "balance_transaction": id.replacen("ch_", "txn_", 1),
        "billing_details": {
            "address": {
                "city": "Springfield", "country": "US", "line1": "1 Main St", "line2": null,
                "postal_code": "62701", "state": "IL",
            },
            "email": "jenny.rosen@example.com", "name": "Jenny Rosen", "phone": "+1 217 555 0100", "tax_id": null,
        },
        "calculated_statement_descriptor": "PORTOLAN TRIAL",
        "captured": true,
        "created": 1_795_217_400,
        "currency": currency,
        "customer": null,
        "description": "Order 1001",
        "destination": null,
        "dispute": null,
        "disputed": false,
        "failure_balance_transaction": null,
        "failure_code": null,
        "failure_message": null,
        "fraud_details": {},
        "livemode": false,
        "metadata": {},
        "on_behalf_of": null,
        "order": null,
        "outcome": {
            "advice_code": null, "network_advice_code": null, "network_decline_code": null,
            "network_status": "approved_by_network", "reason": null, "risk_level": "normal", "risk_score": 17,
            "seller_message": "Payment complete.", "type": "authorized",
        },
        "paid": true,
        "payment_intent": intent,
        "payment_method": id.replacen("ch_", "pm_", 1),
        "payment_method_details": payment_method(amount),
        "radar_options": {},
        "receipt_email": null,
        "receipt_number": null,
        "receipt_url": "https://pay.example.com/receipts/payment/CAcaFwoVYWNjdF8xUHJUckxMa2RJd0h1N2l4MFh5MVpiS",
        "refunded": false,
        "review": null,
        "shipping": null,
        "source": null,
        "source_transfer": null,
        "statement_descriptor": null,
        "statement_descriptor_suffix": null,
        "status": "succeeded",
        "transfer_data": null,
        "transfer_group": null,
    }))
}

fn payment_method(amount: i64) -> Value {
    json!({
        "card": {
            "amount_authorized": amount, "authorization_code": "123456", "brand": "visa",
            "checks": {"address_line1_check": "pass", "address_postal_code_check": "pass", "cvc_check": "pass"},
            "country": "US", "exp_month": 8, "exp_year": 2030,
            "extended_authorization": {"status": "disabled"}, "fingerprint": "AOB934RVNwzk6xtn", "funding": "credit",
            "incremental_authorization": {"status": "unavailable"}, "installments": null, "last4": "4242",
            "mandate": null, "multicapture": {"status": "unavailable"}, "network": "visa",
            "network_token": {"used": false}, "network_transaction_id": "104102978678771",
            "overcapture": {"maximum_amount_capturable": amount, "status": "unavailable"},
            "regulated_status": "unregulated", "three_d_secure": null, "wallet": null,
        },
        "type": "card",
    })
}

/// A charge for a test.
#[derive(Debug, Clone)]
pub struct TestCharge(Value);

impl TestCharge {
    /// Any field of the charge, by its name.
    #[must_use]
    pub fn with(mut self, field: &str, value: Value) -> Self {
        if let Some(charge) = self.0.as_object_mut() {
            charge.insert(field.to_owned(), value);
        }
        self
    }

    /// Of a known customer.
    #[must_use]
    pub fn customer(self, id: &str) -> Self {
        self.with("customer", json!(id))
    }

    /// Authorized only.
    #[must_use]
    pub fn authorized(self) -> Self {
        self.with("captured", json!(false)).with("amount_captured", json!(0))
    }

    /// Captured in part.
    #[must_use]
    pub fn captured(self, amount: i64) -> Self {
        self.with("amount_captured", json!(amount))
    }

    /// Without anything that tells who paid.
    #[must_use]
    pub fn anonymous(self) -> Self {
        self.with("billing_details", json!({"address": null, "email": null, "name": null, "phone": null}))
    }

    /// With metadata.
    #[must_use]
    pub fn metadata(self, key: &str, value: &str) -> Self {
        let mut metadata =
            self.0.get("metadata").and_then(Value::as_object).cloned().unwrap_or_else(Map::new);
        metadata.insert(key.to_owned(), json!(value));
        self.with("metadata", Value::Object(metadata))
    }

    /// The charge itself.
    #[must_use]
    pub fn object(&self) -> &Value {
        &self.0
    }

    /// The event `charge.succeeded` around it.
    #[must_use]
    pub fn event(&self) -> Value {
        super::objects::event("charge.succeeded", &self.0)
    }
}

impl From<TestCharge> for super::TestObject {
    fn from(charge: TestCharge) -> Self {
        Self::new(charge.0)
    }
}
