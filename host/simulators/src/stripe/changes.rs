//! What a write changes: the objects as they stand after it, and the events that it raises, which carry the caller's
//! idempotency key and, for updates, what was different before.

use serde_json::{Map, Value, json};

use super::errors::{Error, missing};
use super::objects::{characters, shown};
use super::{Stripe, Target, webhooks, writes};
use crate::stand_in::{Call, Draft, Moment};

/// A change that is decided.
pub(crate) struct Change {
    /// The kind of its ledger line.
    pub(crate) kind: &'static str,
    /// The object as it is kept.
    pub(crate) object: Value,
    /// What is answered, where that is more than the object shows.
    pub(crate) answer: Option<Value>,
    /// Other objects that change with it.
    pub(crate) others: Vec<Value>,
    /// Type, object, what was different before.
    events: Vec<(&'static str, Value, Map<String, Value>)>,
}

impl Change {
    pub(crate) fn new(kind: &'static str, object: Value) -> Self {
        Self { kind, object, answer: None, others: Vec::new(), events: Vec::new() }
    }

    fn raises(mut self, kind: &'static str, object: Value, previous: Map<String, Value>) -> Self {
        self.events.push((kind, object, previous));
        self
    }
}

/// Objects whose metadata can be changed: object, ledger line, what may be changed, event.
const UPDATED: &[(&str, &str, writes::Changeable, &[&str])] = &[
    ("customer", "customer-update", writes::CUSTOMER, &["customer.updated"]),
    ("charge", "charge-update", writes::CHARGE, &["charge.updated"]),
    ("checkout.session", "checkout-session-update", writes::METADATA, &[]),
    ("credit_note", "credit-note-update", writes::METADATA, &["credit_note.updated"]),
    ("dispute", "dispute-update", writes::METADATA, &["charge.dispute.updated"]),
    ("invoice", "invoice-update", writes::METADATA, &["invoice.updated"]),
    ("payment_intent", "payment-intent-update", writes::METADATA, &[]),
    ("payout", "payout-update", writes::METADATA, &["payout.updated"]),
    ("refund", "refund-update", writes::METADATA, &["refund.updated", "charge.refund.updated"]),
    ("subscription", "subscription-update", writes::METADATA, &["customer.subscription.updated"]),
];

/// Changed fields with their old values; of nested objects only the changed keys.
fn previous(before: &Value, after: &Value) -> Map<String, Value> {
    let mut changed = Map::new();
    let (Some(old), Some(new)) = (before.as_object(), after.as_object()) else { return changed };
    for name in old.keys().chain(new.keys().filter(|name| !old.contains_key(*name))) {
        let of = |fields: &Map<String, Value>| fields.get(name).cloned().unwrap_or_default();
        let (was, is) = (of(old), of(new));
        if was == is || name == "_simulator" {
            continue;
        }
        let inner = if was.is_object() && is.is_object() { Value::Object(previous(&was, &is)) } else { was };
        changed.insert(name.clone(), inner);
    }
    changed
}

impl Stripe {
    /// The object as the write leaves it, and what comes with it.
    pub(crate) fn changed(
        &mut self,
        call: &Call,
        target: &Target<'_>,
        parameters: &Value,
        moment: Moment,
    ) -> Result<Change, Error> {
        match (call.method.as_str(), target.object, target.id, target.part) {
            ("POST", "customer", None, None) => {
                let id = self.new_id("cus_", 14, moment);
                let customer =
                    writes::change(writes::new_customer(&id, moment), parameters, writes::CUSTOMER)?;
                Ok(Change::new("customer", customer.clone()).raises("customer.created", customer, Map::new()))
            }
            ("DELETE", "customer", Some(id), None) => {
                let customer = self.existing("customer", id, moment)?;
                if customer.get("deleted") == Some(&Value::Bool(true)) {
                    return Err(missing("customer", id, "id"));
                }
                let deleted = json!({"id": id, "object": "customer", "deleted": true});
                Ok(Change::new("customer-deletion", deleted).raises("customer.deleted", customer, Map::new()))
            }
            ("POST", "refund", None, None) => self.new_refund(parameters, moment),
            ("POST", "webhook_endpoint", None, None) => {
                let (id, secret) = (self.new_id("we_1", 23, moment), self.new_id("whsec_", 32, moment));
                webhooks::create(&id, &secret, parameters, moment)
            }
            ("POST", "webhook_endpoint", Some(id), None) => {
                webhooks::update(self.existing("webhook_endpoint", id, moment)?, parameters)
            }
            ("DELETE", "webhook_endpoint", Some(id), None) => {
                self.existing("webhook_endpoint", id, moment)?;
                let deleted = json!({"id": id, "object": "webhook_endpoint", "deleted": true});
                Ok(Change::new("webhook-endpoint-deletion", deleted))
            }
            ("POST", object, Some(id), None) => self.update(call, object, id, (parameters, moment)),
            _ => Err(Error::unknown_url(call)),
        }
    }

    fn update(
        &self,
        call: &Call,
        object: &str,
        id: &str,
        (parameters, moment): (&Value, Moment),
    ) -> Result<Change, Error> {
        let known = UPDATED.iter().find(|(name, ..)| *name == object);
        let (_, kind, changeable, events) = known.ok_or_else(|| Error::unknown_url(call))?;
        let before = self.existing(object, id, moment)?;
        if before.get("deleted") == Some(&Value::Bool(true)) {
            return Err(missing(object, id, "id"));
        }
        let after = writes::change(before.clone(), parameters, changeable)?;
        let previous = previous(&before, &after);
        let mut change = Change::new(kind, after.clone());
        if !previous.is_empty() {
            for event in *events {
                change = change.raises(event, self.with_lines(after.clone()), previous.clone());
            }
        }
        Ok(change)
    }

    /// Events of invoices and credit notes bring their lines.
    fn with_lines(&self, mut object: Value) -> Value {
        let text = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (kind, id) = (text("object"), text("id"));
        if matches!(kind.as_str(), "invoice" | "credit_note") {
            let url = format!("/v1/{}/{id}/lines", super::plural(&kind));
            if let Ok(lines) = self.lines(&id, "lines", &url) {
                super::put(&mut object, "lines", lines);
            }
        }
        object
    }

    fn existing(&self, object: &str, id: &str, moment: Moment) -> Result<Value, Error> {
        self.objects.raw(object, id, moment.now_ms).cloned().ok_or_else(|| missing(object, id, "id"))
    }

    pub(crate) fn new_id(&mut self, prefix: &str, letters: usize, moment: Moment) -> String {
        self.created += 1;
        let seed = format!("{prefix}/{}/{}", self.created, moment.now_ms);
        format!("{prefix}{}", characters(&seed, letters))
    }

    /// A refund of a charge, by the charge or by its payment intent.
    fn new_refund(&mut self, parameters: &Value, moment: Moment) -> Result<Change, Error> {
        const KNOWN: &[&str] = &["amount", "charge", "expand", "metadata", "payment_intent", "reason"];
        if let Some(name) = parameters
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, _)| name)
            .find(|n| !KNOWN.contains(&n.as_str()))
        {
            return Err(Error::unknown_parameter(name));
        }
        let parameter = |name: &str| parameters.get(name).and_then(Value::as_str);
        let by_intent = || {
            let intent = parameter("payment_intent")?;
            let charge = self.objects.raw("payment_intent", intent, moment.now_ms)?.get("latest_charge")?;
            charge.as_str().map(str::to_owned)
        };
        let charge_id = parameter("charge").map(str::to_owned).or_else(by_intent);
        let charge_id = charge_id
            .ok_or_else(|| Error::invalid("charge", "One of charge or payment_intent is required."))?;
        let known = self.objects.raw("charge", &charge_id, moment.now_ms).cloned();
        let mut charge = known.ok_or_else(|| missing("charge", &charge_id, "charge"))?;
        let number = |name: &str| charge.get(name).and_then(Value::as_i64).unwrap_or_default();
        let (captured, refunded) = (number("amount_captured"), number("amount_refunded"));
        let left = captured - refunded;
        let amount = match parameter("amount") {
            None => left,
            Some(text) => {
                text.parse().map_err(|_| Error::invalid("amount", format!("Invalid integer: {text}")))?
            }
        };
        if left <= 0 {
            let text = format!("Charge {charge_id} has already been refunded.");
            return Err(Error::new(400, "invalid_request_error", "charge_already_refunded", text));
        }
        if amount <= 0 || amount > left {
            let text =
                format!("Refund amount ({amount}) is greater than unrefunded amount on charge ({left})");
            return Err(Error::invalid("amount", text));
        }
        let created = moment.now_ms / 1_000;
        let (id, transaction) = (self.new_id("re_3", 23, moment), self.new_id("txn_3", 23, moment));
        let settled = self.settled(&charge, amount, captured);
        let entry = json!({
            "id": transaction, "object": "balance_transaction", "amount": -settled, "available_on": created,
            "balance_type": "payments", "created": created, "currency": "usd", "description": null,
            "exchange_rate": null, "fee": 0, "fee_details": [], "net": -settled, "reporting_category": "refund",
            "source": id, "status": "available", "type": "refund",
        });
        let field = |name: &str| charge.get(name).cloned().unwrap_or_default();
        let refund = json!({
            "id": id, "object": "refund", "amount": amount, "balance_transaction": transaction, "charge": charge_id,
            "created": created, "currency": field("currency"), "customer": field("customer"),
            "destination_details": {"card": {"type": "pending"}, "type": "card"}, "failure_balance_transaction": null,
            "metadata": parameters.get("metadata").cloned().unwrap_or_else(|| json!({})),
            "payment_intent": field("payment_intent"), "reason": parameter("reason"), "receipt_number": null,
            "source_transfer_reversal": null, "status": "succeeded", "transfer_reversal": null,
        });
        super::put(&mut charge, "amount_refunded", json!(refunded + amount));
        super::put(&mut charge, "refunded", json!(amount == left));
        let mut change = Change::new("refund", refund.clone())
            .raises("refund.created", refund, Map::new())
            .raises("charge.refunded", charge.clone(), Map::new());
        change.others = vec![entry, charge];
        Ok(change)
    }

    /// The part of a charge's settled amount that a refund takes back.
    fn settled(&self, charge: &Value, amount: i64, captured: i64) -> i64 {
        let transaction = charge.get("balance_transaction").and_then(Value::as_str).unwrap_or_default();
        let settled = self.objects.raw("balance_transaction", transaction, u64::MAX);
        let settled =
            settled.and_then(|found| found.get("amount")).and_then(Value::as_i64).unwrap_or(captured);
        settled * amount / captured.max(1)
    }

    /// The ledger lines of a change: itself, what changes with it, its events.
    pub(crate) fn drafts(&mut self, change: Change, call: &Call, keyed: Value, moment: Moment) -> Vec<Draft> {
        let id = |object: &Value| object.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
        let at = moment.now_ms;
        let mut document = json!({"object": change.object, "visible_at_ms": at});
        for (name, value) in keyed.as_object().into_iter().flatten() {
            super::put(&mut document, name, value.clone());
        }
        if let Some(answer) = &change.answer {
            super::put(&mut document, "answer", answer.clone());
        }
        let own = id(&change.object);
        let erp_id = change.object.pointer("/metadata/erp_id").and_then(Value::as_str);
        let business_key = erp_id.map_or_else(|| own.clone(), str::to_owned);
        let mut drafts = vec![Draft::new(change.kind, own, business_key, call).document(document)];
        for other in change.others {
            let draft = Draft::new("consequence", id(&other), id(&other), call);
            drafts.push(draft.document(json!({"object": other, "visible_at_ms": at})));
        }
        // API v1 takes no key for DELETE.
        let key =
            call.header("idempotency-key").filter(|_| call.method == http::Method::POST).map(str::to_owned);
        let request = format!("req_{}", characters(&format!("request/{}", self.requests + 1), 14));
        for (kind, object, previous) in change.events {
            let event_id = self.new_id("evt_1", 23, moment);
            let mut data = Map::from_iter([("object".to_owned(), object)]);
            if !previous.is_empty() {
                data.insert("previous_attributes".to_owned(), Value::Object(previous));
            }
            let event = json!({
                "id": event_id, "object": "event", "api_version": self.options.api_version, "created": at / 1_000,
                "data": data, "livemode": false, "pending_webhooks": 1,
                "request": {"id": request, "idempotency_key": key}, "type": kind,
            });
            self.sending.tell(&event_id);
            drafts.push(
                Draft::new("event", event_id.clone(), event_id, call)
                    .document(json!({"object": event, "visible_at_ms": at})),
            );
        }
        drafts
    }
}

/// What is answered to a change.
pub(crate) fn answer(change: &Change) -> Value {
    change.answer.clone().unwrap_or_else(|| shown(&change.object))
}
