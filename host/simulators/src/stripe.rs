//! Stripe's API v1: reads with paging and expansion, and the few writes that a connector makes.
//!
//! The objects are what tests and the demo put in (`POST /_simulator/objects`); answers, paging, errors and
//! idempotency follow Stripe. The cast: [`objects`] keeps and finds, [`lists`] pages and filters, [`writes`] takes
//! form-encoded changes, [`errors`] refuses. This file is the front door.

use std::collections::HashMap;

use http::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::ledger::Entry;
use crate::settings::StripeOptions;
use crate::stand_in::{Call, Draft, Moment, Outcome, Refusal, Reply, StandIn};

mod errors;
mod lists;
mod objects;
mod writes;

use errors::{Error, missing};
use objects::Objects;
pub(crate) use objects::characters;

/// Idempotency keys that are remembered; beyond, the oldest half is forgotten.
const KEYS_MAX: usize = 200_000;

struct Remembered {
    parameters: String,
    status: u16,
    answer: Value,
    at_ms: u64,
}

/// One account.
pub(crate) struct Stripe {
    options: StripeOptions,
    objects: Objects,
    keys: HashMap<String, Remembered>,
    requests: u64,
    created: u64,
}

/// The plural in a path and the `object` of what is there.
const RESOURCES: &[(&str, &str)] = &[
    ("balance_transactions", "balance_transaction"),
    ("charges", "charge"),
    ("checkout/sessions", "checkout.session"),
    ("customers", "customer"),
    ("disputes", "dispute"),
    ("events", "event"),
    ("invoice_payments", "invoice_payment"),
    ("invoices", "invoice"),
    ("payment_intents", "payment_intent"),
    ("payouts", "payout"),
    ("prices", "price"),
    ("products", "product"),
    ("refunds", "refund"),
];

/// What a path means.
struct Target<'a> {
    plural: &'static str,
    object: &'static str,
    id: Option<&'a str>,
    /// `lines` or `line_items`.
    part: Option<&'a str>,
}

fn target(path: &str) -> Option<Target<'_>> {
    let rest = path.strip_prefix("/v1/")?;
    let (plural, object) = RESOURCES.iter().find(|(plural, _)| {
        rest == *plural || rest.strip_prefix(plural).is_some_and(|r| r.starts_with('/'))
    })?;
    let mut segments = rest.strip_prefix(plural)?.trim_start_matches('/').splitn(2, '/');
    let id = segments.next().filter(|id| !id.is_empty());
    Some(Target { plural, object, id, part: segments.next() })
}

impl Stripe {
    pub(crate) fn new(options: StripeOptions) -> Self {
        Self { options, objects: Objects::default(), keys: HashMap::new(), requests: 0, created: 0 }
    }

    fn door(&self, call: &Call, resource: &str) -> Result<(), Error> {
        let basic = call.basic().map(|(user, _)| user);
        let key = call.bearer().map(str::to_owned).or(basic);
        let Some(key) = key.filter(|key| !key.is_empty()) else {
            return Err(Error::unauthorized("You did not provide an API key."));
        };
        if self.options.secret_keys.contains(&key) {
            return Ok(());
        }
        match self.options.restricted_keys.get(&key) {
            None => Err(Error::unauthorized("Invalid API Key provided.")),
            Some(allowed)
                if call.method == Method::GET && allowed.iter().any(|plural| plural == resource) =>
            {
                Ok(())
            }
            Some(_) => Err(Error::forbidden()),
        }
    }

    fn read(&self, call: &Call, target: &Target<'_>, moment: Moment) -> Result<Value, Error> {
        let expand = lists::expansions(call)?;
        match (target.id, target.part) {
            (None, _) => lists::list(&self.objects, call, target.object, &lists::Page::read(call)?, &expand),
            (Some(id), None) => {
                let mut object = self
                    .objects
                    .get(target.object, id, moment.seen_ms)
                    .ok_or_else(|| missing(target.object, id, "id"))?;
                if target.object == "invoice" {
                    let lines = lists::lines_of(
                        &self.objects,
                        id,
                        "lines",
                        &lists::Page::first(),
                        &format!("/v1/invoices/{id}/lines"),
                    )?;
                    put(&mut object, "lines", lines);
                } else if expand.iter().any(|path| path == "line_items") {
                    let url = format!("/v1/checkout/sessions/{id}/line_items");
                    put(
                        &mut object,
                        "line_items",
                        lists::lines_of(&self.objects, id, "line_items", &lists::Page::first(), &url)?,
                    );
                }
                for path in &expand {
                    self.objects.expand(&mut object, path);
                }
                Ok(object)
            }
            (Some(id), Some(part)) => {
                let wanted = if target.object == "invoice" { "lines" } else { "line_items" };
                if part != wanted || !matches!(target.object, "invoice" | "checkout.session") {
                    return Err(Error::unknown_url(call));
                }
                self.objects
                    .get(target.object, id, moment.seen_ms)
                    .ok_or_else(|| missing(target.object, id, "id"))?;
                lists::lines_of(&self.objects, id, part, &lists::Page::read(call)?, &call.path)
            }
        }
    }

    fn write(&mut self, call: &Call, target: &Target<'_>, moment: Moment) -> Result<Outcome, Error> {
        let parameters = writes::parameters(call)?;
        let key = call.header("idempotency-key").filter(|key| !key.is_empty() && call.method == Method::POST);
        if key.is_some_and(|key| key.chars().count() > 255) {
            return Err(Error::invalid("Idempotency-Key", "Idempotency keys may be at most 255 characters."));
        }
        let fingerprint = hex::encode(Sha256::digest(format!("{} {} {parameters}", call.method, call.path)));
        if let Some(remembered) = key.and_then(|key| self.keys.get(key))
            && remembered.at_ms + self.options.idempotency_ms > moment.now_ms
        {
            if remembered.parameters != fingerprint {
                return Err(Error::idempotency());
            }
            return Ok(Reply::json(remembered.status, &remembered.answer)
                .with("idempotent-replayed", "true")
                .into());
        }
        let (kind, object) = self.changed(call, target, &parameters, moment)?;
        let id = object.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
        let document = json!({
            "object": object, "idempotency_key": key, "parameters": fingerprint, "visible_at_ms": moment.now_ms,
        });
        let business_key = match object.pointer("/metadata/erp_id").and_then(Value::as_str) {
            Some(erp_id) => erp_id.to_owned(),
            None => id.clone(),
        };
        let draft = Draft::new(kind, id, business_key, call).document(document);
        Ok(Outcome { reply: Reply::json(200, &object), commits: vec![draft] })
    }

    /// The object as the write leaves it, and the kind of its ledger line.
    fn changed(
        &mut self,
        call: &Call,
        target: &Target<'_>,
        parameters: &Value,
        moment: Moment,
    ) -> Result<(&'static str, Value), Error> {
        let existing = |id: &str| {
            self.objects.get(target.object, id, moment.now_ms).ok_or_else(|| missing(target.object, id, "id"))
        };
        match (call.method.as_str(), target.object, target.id, target.part) {
            ("POST", "customer", None, None) => {
                self.created += 1;
                let seed = format!("customer/{}/{}", self.created, moment.now_ms);
                let id = format!("cus_{}", objects::characters(&seed, 14));
                let customer =
                    writes::change(writes::new_customer(&id, moment), parameters, writes::CUSTOMER)?;
                Ok(("customer", customer))
            }
            ("POST", "customer", Some(id), None) => {
                let customer = existing(id)?;
                if customer.get("deleted") == Some(&Value::Bool(true)) {
                    return Err(missing("customer", id, "id"));
                }
                Ok(("customer-update", writes::change(customer, parameters, writes::CUSTOMER)?))
            }
            ("POST", "charge", Some(id), None) => {
                Ok(("charge-update", writes::change(existing(id)?, parameters, writes::CHARGE)?))
            }
            ("DELETE", "customer", Some(id), None) => {
                existing(id)?;
                Ok(("customer-deletion", json!({"id": id, "object": "customer", "deleted": true})))
            }
            _ => Err(Error::unknown_url(call)),
        }
    }

    fn finish(&mut self, call: &Call, reply: Reply) -> Reply {
        self.requests += 1;
        let version = call.header("stripe-version").unwrap_or(&self.options.api_version).to_owned();
        let mut reply = reply
            .with(
                "request-id",
                format!("req_{}", objects::characters(&format!("request/{}", self.requests), 14)),
            )
            .with("stripe-version", version);
        if let Some(key) = call.header("idempotency-key") {
            reply = reply.with("idempotency-key", key);
        }
        reply
    }

    fn remember(&mut self, entry: &Entry) {
        let text = |name: &str| entry.document.get(name).and_then(Value::as_str).map(str::to_owned);
        let (Some(key), Some(parameters)) = (text("idempotency_key"), text("parameters")) else { return };
        if self.keys.len() >= KEYS_MAX {
            let mut ages: Vec<u64> = self.keys.values().map(|remembered| remembered.at_ms).collect();
            ages.sort_unstable();
            let median = ages.get(ages.len() / 2).copied().unwrap_or_default();
            self.keys.retain(|_, remembered| remembered.at_ms > median);
        }
        let answer = entry.document.get("object").cloned().unwrap_or_default();
        self.keys.insert(key, Remembered { parameters, status: 200, answer, at_ms: entry.at_ms });
    }
}

fn put(object: &mut Value, name: &str, value: Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(name.to_owned(), value);
    }
}

impl StandIn for Stripe {
    fn operation(&self, call: &Call) -> String {
        match target(&call.path) {
            None => format!("{} {}", call.method, call.path),
            Some(Target { plural, id: None, .. }) => format!("{} /v1/{plural}", call.method),
            Some(Target { plural, part: None, .. }) => format!("{} /v1/{plural}/{{id}}", call.method),
            Some(Target { plural, part: Some(part), .. }) => {
                format!("{} /v1/{plural}/{{id}}/{part}", call.method)
            }
        }
    }

    fn answer(&mut self, call: &Call, moment: Moment) -> Outcome {
        let target = target(&call.path);
        let resource = target.as_ref().map_or("", |target| target.plural);
        let answered = self.door(call, resource).and_then(|()| {
            let target = target.as_ref().ok_or_else(|| Error::unknown_url(call))?;
            if call.method == Method::GET {
                self.read(call, target, moment).map(|object| Reply::json(200, &object).into())
            } else {
                self.write(call, target, moment)
            }
        });
        match answered {
            Ok(Outcome { reply, commits }) => Outcome { reply: self.finish(call, reply), commits },
            Err(error) => {
                let reply = error.reply();
                self.finish(call, reply).into()
            }
        }
    }

    fn apply(&mut self, entry: &Entry) {
        self.created += u64::from(entry.kind == "customer");
        if let Some(object) = entry.document.get("object") {
            let visible = entry.document.get("visible_at_ms").and_then(Value::as_u64).unwrap_or(entry.at_ms);
            self.objects.put(object.clone(), visible);
        }
        self.remember(entry);
    }

    fn refusal(&self, call: &Call, refusal: Refusal) -> Reply {
        let reply = match refusal {
            Refusal::Unauthorized => Error::unauthorized("Invalid API Key provided.").reply(),
            Refusal::Forbidden => Error::forbidden().reply(),
            Refusal::RateLimited { retry_after_s } => {
                Error::new(429, "invalid_request_error", "rate_limit", "Too many requests.")
                    .reply()
                    .with("retry-after", retry_after_s.to_string())
                    .with("stripe-rate-limited-reason", "global-rate")
            }
            Refusal::Internal => Error::new(500, "api_error", "", "An unknown error occurred.").reply(),
            Refusal::Unavailable => Error::new(503, "api_error", "", "The service is unavailable.")
                .reply()
                .with("stripe-should-retry", "true"),
            Refusal::Locked => {
                let text =
                    "This object cannot be accessed right now because another API request is accessing it.";
                Error::new(429, "invalid_request_error", "lock_timeout", text).reply()
            }
            Refusal::Business => Error::invalid("id", "The request is invalid.").reply(),
        };
        let id = objects::characters(&call.payload_sha256(), 14);
        reply.with("request-id", format!("req_{id}"))
    }

    fn lock(&mut self, _object: &str, _locked: bool) {}

    fn seed(&mut self, objects: Vec<Value>) -> Result<Vec<Draft>, String> {
        let call = Call {
            method: Method::POST,
            path: String::new(),
            query: Vec::new(),
            headers: http::HeaderMap::new(),
            body: bytes::Bytes::new(),
            in_flight: 0,
        };
        let draft = |object: Value| {
            let text = |name: &str| object.get(name).and_then(Value::as_str).map(str::to_owned);
            let id = text("id").filter(|id| !id.is_empty()).ok_or("an object has no id")?;
            let kind = text("object").ok_or_else(|| format!("{id} has no object"))?;
            if !RESOURCES.iter().any(|(_, known)| *known == kind) {
                return Err(format!("{id}: {kind} is not an object that the simulator serves"));
            }
            // Not visible_at_ms of now: what is seeded was always there.
            Ok(Draft::new("seed", id.clone(), id, &call)
                .document(json!({"object": object, "visible_at_ms": 0})))
        };
        objects.into_iter().map(draft).collect()
    }

    fn world(&self) -> Value {
        json!({"options": self.options, "objects": self.objects.counts()})
    }
}
