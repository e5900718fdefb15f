//! The account while its month happens: objects as they stand, events as they were told, money not yet paid out,
//! and the agenda of what is still to come.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::dice::Dice;
use super::rates::{Rate, SETTLEMENT};
use super::{API_VERSION, Act, DAY_S, MonthEvent};
use crate::stripe::characters;

/// Money of the balance that no payout has taken yet.
#[derive(Clone, Debug)]
pub(super) struct Open {
    pub(super) id: String,
    pub(super) available_on: u64,
    pub(super) net: i64,
}

/// A movement of the balance.
pub(super) struct Movement<'a> {
    pub(super) kind: &'a str,
    pub(super) category: &'a str,
    /// In US cents, signed.
    pub(super) amount: i64,
    /// Kind, description, cents.
    pub(super) fees: Vec<(&'static str, &'static str, i64)>,
    pub(super) source: Option<&'a str>,
    /// Currency of the source and the rate, where something was converted.
    pub(super) rate: Option<(&'a str, Rate)>,
    pub(super) available_on: u64,
    pub(super) description: &'a str,
}

impl<'a> Movement<'a> {
    pub(super) fn new(kind: &'a str, category: &'a str, amount: i64, available_on: u64) -> Self {
        Self {
            kind,
            category,
            amount,
            fees: Vec::new(),
            source: None,
            rate: None,
            available_on,
            description: "",
        }
    }

    pub(super) fn of(mut self, source: &'a str) -> Self {
        self.source = Some(source);
        self
    }
}

/// An event as it is written: the object is not copied for it.
#[derive(Serialize)]
struct Told<'a> {
    id: &'a str,
    object: &'a str,
    api_version: &'a str,
    created: u64,
    data: Data<'a>,
    livemode: bool,
    pending_webhooks: u64,
    request: Value,
    #[serde(rename = "type")]
    kind: &'a str,
}

#[derive(Serialize)]
struct Data<'a> {
    object: &'a Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_attributes: Option<Map<String, Value>>,
}

pub(super) struct World {
    pub(super) dice: Dice,
    pub(super) seed: u64,
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) now: u64,
    pub(super) objects: BTreeMap<String, Value>,
    pub(super) events: Vec<MonthEvent>,
    pub(super) open: Vec<Open>,
    pub(super) customers: Vec<String>,
    /// Whether the month has had its failed payout.
    pub(super) has_failed_payout: bool,
    agenda: BTreeMap<(u64, u64), Act>,
    ids: BTreeMap<&'static str, u64>,
    acts: u64,
}

impl World {
    pub(super) fn new(seed: u64, start: u64, end: u64) -> Self {
        Self {
            dice: Dice::new(seed),
            seed,
            start,
            end,
            now: start,
            objects: BTreeMap::new(),
            events: Vec::new(),
            open: Vec::new(),
            customers: Vec::new(),
            has_failed_payout: false,
            agenda: BTreeMap::new(),
            ids: BTreeMap::new(),
            acts: 0,
        }
    }

    /// A new id: prefix and so many letters.
    pub(super) fn id(&mut self, prefix: &'static str, letters: usize) -> String {
        let count = self.ids.entry(prefix).or_default();
        *count += 1;
        format!("{prefix}{}", characters(&format!("month/{}/{prefix}/{count}", self.seed), letters))
    }

    /// Puts something on the agenda; what would happen after the month does not happen.
    pub(super) fn plan(&mut self, at: u64, act: Act) {
        if at < self.end {
            self.acts += 1;
            self.agenda.insert((at, self.acts), act);
        }
    }

    /// The next thing to happen; the clock moves to it.
    pub(super) fn next(&mut self) -> Option<Act> {
        let ((at, _), act) = self.agenda.pop_first()?;
        self.now = self.now.max(at);
        Some(act)
    }

    pub(super) fn day(&self) -> u64 {
        self.now.saturating_sub(self.start) / DAY_S
    }

    /// Midnight after so many days.
    pub(super) fn midnight_in(&self, days: u64) -> u64 {
        self.start + (self.day() + days) * DAY_S
    }

    pub(super) fn rate(&self, currency: &str) -> Rate {
        Rate::of(currency, self.seed, self.day())
    }

    pub(super) fn put(&mut self, object: Value) -> String {
        let id = text(&object, "id");
        self.objects.insert(id.clone(), object);
        id
    }

    pub(super) fn field(&self, id: &str, name: &str) -> Value {
        self.objects.get(id).and_then(|object| object.get(name)).cloned().unwrap_or_default()
    }

    pub(super) fn text(&self, id: &str, name: &str) -> String {
        self.field(id, name).as_str().unwrap_or_default().to_owned()
    }

    pub(super) fn number(&self, id: &str, name: &str) -> i64 {
        self.field(id, name).as_i64().unwrap_or_default()
    }

    /// Changes fields and gives what they were before: `previous_attributes`.
    pub(super) fn patch(&mut self, id: &str, changes: Value) -> Map<String, Value> {
        let mut previous = Map::new();
        let (Some(fields), Value::Object(changes)) =
            (self.objects.get_mut(id).and_then(Value::as_object_mut), changes)
        else {
            return previous;
        };
        for (name, value) in changes {
            let before = fields.insert(name.clone(), value.clone()).unwrap_or_default();
            if before != value && name != "_simulator" {
                previous.insert(name, before);
            }
        }
        previous
    }

    /// Tells the world about an object, as it is now.
    pub(super) fn tell(&mut self, kind: &str, id: &str) {
        self.tell_change(kind, id, Map::new());
    }

    /// As [`Self::tell`], with what was different before.
    pub(super) fn tell_change(&mut self, kind: &str, id: &str, previous: Map<String, Value>) {
        let (event, request) = (self.id("evt_1", 23), self.id("req_", 14));
        let Some(object) = self.objects.get(id) else { return };
        let mut shown = Cow::Borrowed(object);
        if id.starts_with("cs_")
            && let Some(fields) = shown.to_mut().as_object_mut()
        {
            fields.remove("line_items");
        }
        let told = Told {
            id: &event,
            object: "event",
            api_version: API_VERSION,
            created: self.now,
            data: Data {
                object: &shown,
                previous_attributes: Some(previous).filter(|fields| !fields.is_empty()),
            },
            livemode: false,
            pending_webhooks: 1,
            request: json!({"id": request, "idempotency_key": null}),
            kind,
        };
        let text = serde_json::to_string(&told).unwrap_or_default();
        self.events.push(MonthEvent { id: event, kind: kind.to_owned(), created: self.now, text });
    }

    /// Moves the balance.
    pub(super) fn move_balance(&mut self, movement: &Movement<'_>) -> String {
        let id = self.id("txn_1", 23);
        let fee: i64 = movement.fees.iter().map(|(.., amount)| amount).sum();
        let details: Vec<Value> = movement
            .fees
            .iter()
            .map(|(kind, description, amount)| {
                json!({"amount": amount, "application": null, "currency": SETTLEMENT, "description": description, "type": kind})
            })
            .collect();
        let net = movement.amount - fee;
        let rate = movement.rate.and_then(|(currency, rate)| rate.number(currency));
        self.put(json!({
            "id": id, "object": "balance_transaction", "amount": movement.amount, "available_on": movement.available_on,
            "balance_type": "payments", "created": self.now, "currency": SETTLEMENT,
            "description": movement.description, "exchange_rate": rate, "fee": fee, "fee_details": details, "net": net,
            "reporting_category": movement.category, "source": movement.source, "status": "pending",
            "type": movement.kind,
        }));
        self.open.push(Open { id: id.clone(), available_on: movement.available_on, net });
        id
    }
}

/// A text of an object, empty where there is none.
pub(super) fn text(object: &Value, name: &str) -> String {
    object.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}
