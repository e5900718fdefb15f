//! One charge: the event and its objects.

use serde_json::{Value, json};

use crate::story::objects::{self, Ids};
use crate::story::{Buyer, CUSTOMERS, LinesFrom, PRODUCTS, Scene, StoryCharge};

/// When the story begins: 2026-11-20 09:00 UTC, in Unix seconds.
pub const CREATED_FIRST: u64 = 1_795_165_200;

/// The charge of a scene.
pub(crate) fn told(tenant_label: &str, seed: u64, index: usize, scene: &Scene) -> StoryCharge {
    let ids = Ids::new(&format!("{tenant_label}/{seed}/{index}"));
    let created = CREATED_FIRST + 420 * u64::try_from(index).unwrap_or(0);
    let amount = scene.lines.iter().map(|(_, quantity, price)| quantity * price).sum();
    let (customer, name, email, country) = buyer(scene.buyer, &ids);
    let mut all = Vec::new();
    if let (Buyer::New(..), Some(id)) = (scene.buyer, &customer) {
        all.push(objects::customer(id, &name, &email, country));
    }
    let known = json!({
        "amount": amount, "country": country, "created": created, "currency": scene.currency.to_lowercase(),
        "customer": customer, "email": email, "name": name,
    });
    let charge = charge(&ids, &known, scene);
    all.push(objects::payment_intent(&ids, &known));
    all.push(objects::balance_transaction(&ids, &known));
    match scene.from {
        LinesFrom::CheckoutSession => all.push(objects::session(&ids, &known, scene.lines)),
        LinesFrom::Invoice => all.extend(objects::invoice(&ids, &known, scene.lines)),
        LinesFrom::Metadata | LinesFrom::Nowhere => {}
    }
    let event = json!({
        "id": ids.event, "object": "event", "api_version": "2026-07-29.dahlia", "created": created + 1,
        "data": {"object": charge}, "livemode": false, "pending_webhooks": 1,
        "request": {"id": ids.request, "idempotency_key": null}, "type": "charge.succeeded",
    });
    all.push(charge);
    StoryCharge {
        event: event.to_string(),
        event_id: ids.event.clone(),
        charge_id: ids.charge.clone(),
        objects: all,
        amount,
        currency: scene.currency,
        customer,
        customer_known: matches!(scene.buyer, Buyer::Known(_)),
        lines_from: scene.from,
        lines: scene.lines.len(),
        note: scene.note,
    }
}

fn buyer(buyer: Buyer, ids: &Ids) -> (Option<String>, String, String, &'static str) {
    let mail = |name: &str| format!("{}@example.com", name.to_lowercase().replace(' ', "."));
    match buyer {
        Buyer::Known(place) => match CUSTOMERS.get(place) {
            Some(one) => (Some(one.id.to_owned()), one.name.to_owned(), one.email.to_owned(), one.country),
            None => (None, String::new(), String::new(), "US"),
        },
        Buyer::New(name, country) => (Some(ids.customer.clone()), name.to_owned(), mail(name), country),
        Buyer::Guest(name) => (None, name.to_owned(), mail(name), "US"),
    }
}

fn metadata(scene: &Scene) -> Value {
    if scene.from != LinesFrom::Metadata {
        return json!({"shop": "portolan-demo"});
    }
    let line = |(product, quantity, price): &(usize, u64, u64)| {
        let product = PRODUCTS.get(*product)?;
        Some(
            json!({"product": product.id, "description": product.name, "quantity": quantity, "amount": quantity * price}),
        )
    };
    let lines: Vec<Value> = scene.lines.iter().filter_map(line).collect();
    json!({"shop": "portolan-demo", "lines": Value::Array(lines).to_string()})
}

fn charge(ids: &Ids, known: &Value, scene: &Scene) -> Value {
    let field = |name: &str| known.get(name).cloned().unwrap_or_default();
    let mut charge = json!({
        "id": ids.charge, "object": "charge", "amount": field("amount"), "amount_captured": field("amount"),
        "amount_refunded": 0, "application": null, "application_fee": null, "application_fee_amount": null,
        "balance_transaction": ids.balance_transaction,
        "billing_details": {
            "address": objects::address(field("country").as_str().unwrap_or_default()),
            "email": field("email"), "name": field("name"), "phone": null, "tax_id": null,
        },
        "calculated_statement_descriptor": "PORTOLAN DEMO", "captured": true, "created": field("created"),
        "currency": field("currency"), "customer": field("customer"), "description": scene.note, "destination": null,
        "dispute": null, "disputed": false, "failure_balance_transaction": null, "failure_code": null,
        "failure_message": null, "fraud_details": {}, "livemode": false, "metadata": metadata(scene),
        "on_behalf_of": null, "order": null, "paid": true, "payment_intent": ids.payment_intent,
        "payment_method": ids.payment_method, "radar_options": {}, "receipt_email": field("email"),
        "receipt_number": null, "receipt_url": format!("https://pay.stripe.com/receipts/payment/{}", ids.charge),
        "refunded": false, "review": null, "shipping": null, "source": null, "source_transfer": null,
        "statement_descriptor": null, "statement_descriptor_suffix": null, "status": "succeeded",
        "transfer_data": null, "transfer_group": null,
    });
    if let Some(fields) = charge.as_object_mut() {
        fields.insert("outcome".to_owned(), json!({
            "advice_code": null, "network_advice_code": null, "network_decline_code": null,
            "network_status": "approved_by_network", "reason": null, "risk_level": "normal", "risk_score": 12,
            "seller_message": "Payment complete.", "type": "authorized",
        }));
        let (amount, country) = (field("amount"), field("country"));
        fields.insert("payment_method_details".to_owned(), objects::card(&amount, &country));
    }
    charge
}
