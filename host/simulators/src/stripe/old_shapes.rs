//! Objects as API versions before 2025-03-31.basil showed them: a charge knows its invoice, an invoice its charge and
//! subscription, a subscription its period. Source: Stripe's changelog of 2025-03-31.basil.

use serde_json::{Value, json};

/// The first version with the new shapes.
const BASIL: &str = "2025-03-31";

/// Whether a version has the shapes before basil.
pub(crate) fn is_old(version: &str) -> bool {
    !version.is_empty() && version < BASIL
}

/// Takes out what only the simulator knows, and puts it where old versions have it.
pub(crate) fn show(object: &mut Value, version: &str) {
    let Some(fields) = object.as_object_mut() else { return };
    let hidden = fields.remove("_simulator").unwrap_or_default();
    if !is_old(version) {
        return;
    }
    let hidden = |name: &str| hidden.get(name).cloned().unwrap_or_default();
    let kind = fields.get("object").and_then(Value::as_str).unwrap_or_default().to_owned();
    match kind.as_str() {
        "charge" | "payment_intent" => {
            fields.insert("invoice".to_owned(), hidden("invoice"));
        }
        "subscription" => {
            for name in ["current_period_start", "current_period_end"] {
                fields.insert(name.to_owned(), hidden(name));
            }
            for item in rows(fields.get_mut("items")) {
                let Some(item) = item.as_object_mut() else { continue };
                item.remove("current_period_start");
                item.remove("current_period_end");
            }
        }
        "invoice" => {
            for name in ["parent", "total_taxes", "amount_overpaid"] {
                fields.remove(name);
            }
            let is_paid = fields.get("status").and_then(Value::as_str) == Some("paid");
            for (name, value) in [
                ("charge", hidden("charge")),
                ("payment_intent", hidden("payment_intent")),
                ("subscription", hidden("subscription")),
                ("paid", json!(is_paid)),
                ("paid_out_of_band", json!(false)),
                ("tax", Value::Null),
                ("total_tax_amounts", json!([])),
                ("discount", Value::Null),
                ("quote", Value::Null),
                ("application_fee_amount", Value::Null),
                ("transfer_data", Value::Null),
            ] {
                fields.insert(name.to_owned(), value);
            }
            rows(fields.get_mut("lines")).for_each(old_line);
        }
        _ => {}
    }
}

fn rows(list: Option<&mut Value>) -> impl Iterator<Item = &mut Value> {
    list.and_then(|list| list.get_mut("data")).and_then(Value::as_array_mut).into_iter().flatten()
}

fn old_line(line: &mut Value) {
    let Some(fields) = line.as_object_mut() else { return };
    let parent = fields.remove("parent").unwrap_or_default();
    let pricing = fields.remove("pricing").unwrap_or_default();
    fields.remove("taxes");
    let details = parent.pointer("/subscription_item_details").cloned().unwrap_or_default();
    let is_subscription = details.is_object();
    let unit = pricing.get("unit_amount_decimal").and_then(Value::as_str).unwrap_or_default().to_owned();
    let price = json!({
        "id": pricing.pointer("/price_details/price"), "object": "price", "active": true, "billing_scheme": "per_unit",
        "currency": fields.get("currency"), "livemode": false, "metadata": {},
        "product": pricing.pointer("/price_details/product"), "type": if is_subscription { "recurring" } else { "one_time" },
        "unit_amount": unit.parse::<i64>().ok(), "unit_amount_decimal": unit,
    });
    for (name, value) in [
        ("price", price),
        ("proration", details.get("proration").cloned().unwrap_or(json!(false))),
        ("subscription", details.get("subscription").cloned().unwrap_or_default()),
        ("type", json!(if is_subscription { "subscription" } else { "invoiceitem" })),
        ("tax_amounts", json!([])),
        ("tax_rates", json!([])),
    ] {
        fields.insert(name.to_owned(), value);
    }
}
