//! Stripe's API: reads with paging and expansion, the writes that a connector makes, events and their webhooks.
//!
//! The objects are what tests and the demo put in (`POST /_simulator/objects`) or a whole month of business
//! (`POST /_simulator/month`); answers, paging, errors and idempotency follow Stripe.
//!
//! | module | holds |
//! |---|---|
//! | `objects`, `lists`, `search` | what there is, paged and filtered |
//! | `account` | what is taken in, and who is told |
//! | `events`, `old_shapes` | what was told, in the shapes of two generations of the API |
//! | `changes`, `writes`, `webhooks` | what calls change, and the events that this raises |
//! | `sending`, `post` | webhooks on their way: out of order, twice, not at all |
//! | `month` | the month's own routes |
//! | `errors` | refusals |
//!
//! This file is the front door.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::ledger::Entry;
use crate::settings::StripeOptions;
use crate::stand_in::{Call, Draft, Moment, Outcome, Refusal, Reply, StandIn};
use crate::story::month::MonthSettings;

mod account;
mod changes;
mod errors;
mod events;
mod lists;
pub(crate) mod month;
mod objects;
mod old_shapes;
mod post;
mod search;
pub(crate) mod sending;
mod webhooks;
mod writes;

use errors::{Error, missing};
use events::Events;
use objects::Objects;
pub(crate) use objects::characters;
use sending::Sending;

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
    events: Events,
    /// Shared with those who send.
    pub(crate) sending: Arc<Sending>,
    /// The month that was played last.
    month: Option<MonthSettings>,
    /// Idempotency keys of calls that are under way.
    keys_in_use: BTreeSet<String>,
    /// The second in which calls were last counted, and how many there were.
    rate: (u64, u32),
    keys: HashMap<String, Remembered>,
    requests: u64,
    created: u64,
}

/// The plural in a path and the `object` of what is there.
const RESOURCES: &[(&str, &str)] = &[
    ("balance_transactions", "balance_transaction"),
    ("charges", "charge"),
    ("checkout/sessions", "checkout.session"),
    ("credit_notes", "credit_note"),
    ("customers", "customer"),
    ("disputes", "dispute"),
    ("events", "event"),
    ("invoice_payments", "invoice_payment"),
    ("invoices", "invoice"),
    ("payment_intents", "payment_intent"),
    ("payouts", "payout"),
    ("prices", "price"),
    ("products", "product"),
    ("radar/early_fraud_warnings", "radar.early_fraud_warning"),
    ("refunds", "refund"),
    ("reviews", "review"),
    ("subscriptions", "subscription"),
    ("webhook_endpoints", "webhook_endpoint"),
];

/// Where objects of a kind are found under `/v1/`.
pub(crate) fn plural(object: &str) -> &'static str {
    RESOURCES.iter().find(|(_, kind)| *kind == object).map_or("", |(plural, _)| plural)
}

/// What a path means.
pub(crate) struct Target<'a> {
    pub(crate) plural: &'static str,
    pub(crate) object: &'static str,
    pub(crate) id: Option<&'a str>,
    /// `lines` or `line_items`.
    pub(crate) part: Option<&'a str>,
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
        Self {
            options,
            objects: Objects::default(),
            events: Events::default(),
            sending: Arc::default(),
            month: None,
            keys_in_use: BTreeSet::new(),
            rate: (0, 0),
            keys: HashMap::new(),
            requests: 0,
            created: 0,
        }
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
        let existing = |id: &str| {
            let object = self.objects.get(target.object, id, moment.seen_ms);
            object.ok_or_else(|| missing(target.object, id, "id"))
        };
        match (target.object, target.id, target.part) {
            ("event", None, _) => self.events.list(call, moment.seen_ms),
            ("event", Some(id), None) => self.events.get(id, None).ok_or_else(|| missing("event", id, "id")),
            ("customer", Some("search"), None) => search::customers(&self.objects, call),
            (object, None, _) => lists::list(&self.objects, call, object, &lists::Page::read(call)?, &expand),
            (object, Some(id), None) => {
                let mut found = existing(id)?;
                let has_lines = matches!(object, "invoice" | "credit_note");
                if has_lines {
                    put(&mut found, "lines", self.lines(id, "lines", &format!("{}/lines", call.path))?);
                } else if expand.iter().any(|path| path == "line_items") {
                    put(
                        &mut found,
                        "line_items",
                        self.lines(id, "line_items", &format!("{}/line_items", call.path))?,
                    );
                }
                for path in &expand {
                    self.objects.expand(&mut found, path);
                }
                Ok(found)
            }
            ("invoice" | "credit_note", Some(id), Some(part @ "lines"))
            | ("checkout.session", Some(id), Some(part @ "line_items")) => {
                existing(id)?;
                lists::lines_of(&self.objects, id, part, &lists::Page::read(call)?, &call.path)
            }
            (_, Some(_), Some(_)) => Err(Error::unknown_url(call)),
        }
    }

    /// The first page of an object's lines.
    fn lines(&self, id: &str, part: &str, url: &str) -> Result<Value, Error> {
        lists::lines_of(&self.objects, id, part, &lists::Page::first(), url)
    }

    /// API v2: the thin view of an event.
    fn read_v2(&self, call: &Call) -> Result<Value, Error> {
        let id = call.path.strip_prefix("/v2/core/events/").ok_or_else(|| Error::unknown_url(call))?;
        if call.header("stripe-version").is_none() {
            let text = "Requests to API v2 must include a Stripe-Version header.";
            return Err(Error::new(400, "invalid_request_error", "missing_required_header", text));
        }
        let gone = || Error::new(404, "invalid_request_error", "not_found", format!("Event {id} not found."));
        self.events.thin(id).ok_or_else(gone)
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
        let change = self.changed(call, target, &parameters, moment)?;
        let reply = Reply::json(200, &changes::answer(&change));
        let keyed = json!({"idempotency_key": key, "parameters": fingerprint});
        Ok(Outcome { reply, commits: self.drafts(change, call, keyed, moment) })
    }

    /// Calls of one second beyond what the account may make.
    fn is_too_fast(&mut self, moment: Moment) -> bool {
        let second = moment.now_ms / 1_000;
        let (counted, calls) = if self.rate.0 == second { self.rate } else { (second, 0) };
        self.rate = (counted, calls + 1);
        self.options.calls_per_second_max > 0 && calls >= self.options.calls_per_second_max
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
        let answer = entry.document.get("answer").cloned();
        let object = || entry.document.get("object").map(objects::shown);
        let answer = answer.or_else(object).unwrap_or_default();
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
        if self.is_too_fast(moment) {
            return self.refusal(call, Refusal::RateLimited { retry_after_s: 1 }).into();
        }
        let target = target(&call.path);
        let resource = target.as_ref().map_or("", |target| target.plural);
        let answered = self.door(call, resource).and_then(|()| {
            if call.path.starts_with("/v2/") && call.method == Method::GET {
                return self.read_v2(call).map(|event| Reply::json(200, &event).into());
            }
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
        self.created += u64::from(entry.kind != "seed");
        if let Some(settings) = entry.document.get("month") {
            self.take_month(settings);
        }
        if let Some(object) = entry.document.get("object") {
            let visible = entry.document.get("visible_at_ms").and_then(Value::as_u64).unwrap_or(entry.at_ms);
            if object.get("object").and_then(Value::as_str) == Some("event") {
                self.events.put(object);
            } else {
                self.take(object, visible);
            }
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
            if let Some(settings) = object.get("_simulator.month") {
                let name = format!("month {settings}");
                return Ok(
                    Draft::new("month", name.clone(), name, &call).document(json!({"month": settings}))
                );
            }
            let text = |name: &str| object.get(name).and_then(Value::as_str).map(str::to_owned);
            let id = text("id").filter(|id| !id.is_empty()).ok_or("an object has no id")?;
            let kind = text("object").ok_or_else(|| format!("{id} has no object"))?;
            if kind != "event" && !RESOURCES.iter().any(|(_, known)| *known == kind) {
                return Err(format!("{id}: {kind} is not an object that the simulator serves"));
            }
            // Not visible_at_ms of now: what is seeded was always there.
            Ok(Draft::new("seed", id.clone(), id, &call)
                .document(json!({"object": object, "visible_at_ms": 0})))
        };
        objects.into_iter().map(draft).collect()
    }

    fn world(&self) -> Value {
        json!({"options": self.options, "objects": self.objects.counts(), "events": self.events.count()})
    }

    fn begin(&mut self, call: &Call) -> Result<Option<String>, Reply> {
        let key = call.header("idempotency-key").filter(|_| call.method == Method::POST);
        let Some(key) = key.map(str::to_owned) else { return Ok(None) };
        if self.keys_in_use.insert(key.clone()) {
            return Ok(Some(key));
        }
        Err(self.finish(call, Error::key_in_use().reply()))
    }

    fn end(&mut self, token: &str) {
        self.keys_in_use.remove(token);
    }

    fn as_stripe(&mut self) -> Option<&mut Stripe> {
        Some(self)
    }
}
