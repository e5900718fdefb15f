//! What happens at Stripe, and what every ERP must therefore hold: the model that the judge goes by. It is computed
//! here from the raw events; the host, its mappings and its store are not asked.

use portolan::stage::System;
use portolan_simulators::story::{CUSTOMERS, StoryCharge, demo_story};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// One thing that happened, as its webhook tells it.
#[derive(Debug, Clone)]
pub(crate) struct Deed {
    /// `evt_…`
    pub(crate) event_id: String,
    /// The webhook's body.
    pub(crate) body: String,
    /// `ch_…` or `re_…`
    pub(crate) object: String,
    /// The charge that a refund gives back.
    pub(crate) refund_of: Option<String>,
    /// The money, in the currency's natural unit: `49.98`.
    pub(crate) amount: String,
    /// `USD`
    pub(crate) currency: &'static str,
    /// The customer's number in the ERP, where the tenant's table has it.
    pub(crate) customer: Option<&'static str>,
}

/// A document that must be there once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expected {
    /// As the stand-in's ledger names it.
    pub(crate) kind: &'static str,
    pub(crate) key: String,
}

/// What a tenant's customers do: charges, some of them given back. Beside them the objects that Stripe must know.
pub(crate) fn deeds(
    system: System,
    label: &str,
    seed: u64,
    refunded: impl Fn(usize) -> bool,
) -> (Vec<Deed>, Vec<Value>) {
    let (mut deeds, mut objects) = (Vec::new(), Vec::new());
    for (index, told) in demo_story(label, seed).into_iter().enumerate() {
        objects.extend(told.objects.iter().cloned());
        let customer = told.customer.as_deref().and_then(|id| number(system, id));
        let sale = Deed {
            event_id: told.event_id.clone(),
            body: told.event.clone(),
            object: told.charge_id.clone(),
            refund_of: None,
            amount: natural(told.amount, told.currency),
            currency: told.currency,
            customer,
        };
        let refund = refunded(index).then(|| refund(&told, &sale));
        deeds.push(sale);
        if let Some((refund, refund_objects)) = refund {
            deeds.push(refund);
            objects.extend(refund_objects);
        }
    }
    (deeds, objects)
}

fn refund(told: &StoryCharge, sale: &Deed) -> (Deed, Vec<Value>) {
    let id = |prefix: &str| {
        let digest = Sha256::digest(format!("{prefix}{}", told.charge_id));
        let letters: String = digest.iter().map(|byte| char::from(b'a' + byte % 26)).take(23).collect();
        format!("{prefix}{letters}")
    };
    let event: Value = serde_json::from_str(&told.event).unwrap_or_default();
    let (charge, created) = (&event["data"]["object"], event["created"].as_u64().unwrap_or_default() + 3_600);
    let (refund, transaction) = (id("re_3"), id("txn_3"));
    let object = json!({
        "id": refund, "object": "refund", "amount": told.amount, "balance_transaction": transaction,
        "charge": told.charge_id, "created": created, "currency": told.currency.to_lowercase(),
        "customer": told.customer, "destination_details": null, "failure_balance_transaction": null,
        "failure_reason": null, "metadata": {}, "payment_intent": charge["payment_intent"],
        "payment_method": charge["payment_method"], "pending_reason": null, "reason": "requested_by_customer",
        "receipt_number": null, "source_transfer_reversal": null, "status": "succeeded", "transfer_reversal": null,
    });
    let amount = -i64::try_from(told.amount).unwrap_or_default();
    let moved = json!({
        "id": transaction, "object": "balance_transaction", "amount": amount, "available_on": null,
        "balance_type": "payments", "created": created, "currency": told.currency.to_lowercase(), "description": null,
        "exchange_rate": null, "fee": 0, "fee_details": [], "net": amount, "reporting_category": "refund",
        "source": refund, "status": "pending", "type": "refund",
    });
    let event = json!({
        "id": id("evt_3"), "object": "event", "api_version": "2026-07-29.dahlia", "created": created,
        "data": {"object": object}, "livemode": false, "pending_webhooks": 1,
        "request": {"id": id("req_"), "idempotency_key": null}, "type": "refund.created",
    });
    let deed = Deed {
        event_id: id("evt_3"),
        body: event.to_string(),
        object: refund,
        refund_of: Some(told.charge_id.clone()),
        ..sale.clone()
    };
    (deed, vec![object, moved])
}

/// The customer's number in this ERP, as the tenant's table has it.
fn number(system: System, id: &str) -> Option<&'static str> {
    let known = CUSTOMERS.iter().find(|known| known.id == id)?;
    match system {
        System::SapEcc => Some(known.sap_customer),
        System::Epicor => Some(known.epicor_customer),
        System::SagePro => Some(known.sage_customer),
        System::Stripe => None,
    }
}

/// Stripe's smallest units as an amount.
fn natural(amount: u64, currency: &str) -> String {
    let scale = match currency {
        "JPY" => 0,
        "KWD" => 3,
        _ => 2,
    };
    let unit = 10_u64.pow(scale);
    if scale == 0 {
        return amount.to_string();
    }
    format!("{}.{:0width$}", amount / unit, amount % unit, width = scale as usize)
}

/// The sixteen characters by which ERPs know what does not fit their fields: 80 bits of the id's SHA-256 in Crockford's
/// base 32, as `docs/flows.md` and the tenants' accountants have it. Written here again, from that sentence.
pub(crate) fn short(id: &str) -> String {
    let digest = Sha256::digest(id.as_bytes());
    let bits = digest.iter().take(10).fold(0_u128, |bits, byte| bits << 8 | u128::from(*byte));
    let digits = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    (0..16).map(|place| char::from(digits[(bits >> (75 - 5 * place)) as usize & 31])).collect()
}
