//! The account's objects: by id, by kind in the order of creation, and by the fields that lists are filtered by.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Filters that have an index: object, query parameter, where the value is.
const INDEXED: &[(&str, &str, &str)] = &[
    ("balance_transaction", "payout", "/_simulator/payout"),
    ("balance_transaction", "source", "/source"),
    ("charge", "customer", "/customer"),
    ("charge", "payment_intent", "/payment_intent"),
    ("checkout.session", "payment_intent", "/payment_intent"),
    ("customer", "email", "/email"),
    ("checkout.session", "customer", "/customer"),
    ("credit_note", "customer", "/customer"),
    ("credit_note", "invoice", "/invoice"),
    ("dispute", "charge", "/charge"),
    ("dispute", "payment_intent", "/payment_intent"),
    ("invoice", "customer", "/customer"),
    ("invoice", "subscription", "/_simulator/subscription"),
    ("invoice_payment", "invoice", "/invoice"),
    ("invoice_payment", "payment[charge]", "/payment/charge"),
    ("invoice_payment", "payment[payment_intent]", "/payment/payment_intent"),
    ("payment_intent", "customer", "/customer"),
    ("price", "product", "/product"),
    ("radar.early_fraud_warning", "charge", "/charge"),
    ("refund", "charge", "/charge"),
    ("refund", "payment_intent", "/payment_intent"),
    ("subscription", "customer", "/customer"),
];

/// Expansions may go so deep.
const EXPAND_DEPTH_MAX: usize = 4;

struct Stored {
    object: Value,
    visible_at_ms: u64,
}

/// Newest first: by creation, then by arrival.
type Place = (std::cmp::Reverse<u64>, std::cmp::Reverse<u64>, String);

/// All objects.
#[derive(Default)]
pub(crate) struct Objects {
    by_id: HashMap<String, Stored>,
    places: HashMap<String, Place>,
    by_kind: BTreeMap<String, BTreeSet<Place>>,
    by_field: HashMap<(&'static str, &'static str, String), BTreeSet<Place>>,
    /// Lines of sessions and invoices, in their order.
    lines: HashMap<String, Vec<Value>>,
    arrivals: u64,
}

/// Where a filter's value is, when lists of that kind can be filtered by it.
pub(crate) fn indexed(kind: &str, parameter: &str) -> Option<(&'static str, &'static str)> {
    INDEXED
        .iter()
        .find(|(object, name, _)| *object == kind && *name == parameter)
        .map(|(_, name, path)| (*name, *path))
}

impl Objects {
    /// Adds or replaces an object. Nested lines go apart, so that they can be paged.
    pub(crate) fn put(&mut self, mut object: Value, visible_at_ms: u64) {
        let text = |object: &Value, name: &str| {
            object.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let (id, kind) = (text(&object, "id"), text(&object, "object"));
        let part = match kind.as_str() {
            "checkout.session" => Some("line_items"),
            "invoice" | "credit_note" => Some("lines"),
            _ => None,
        };
        if let Some(lines) = part.and_then(|part| object.as_object_mut()?.remove(part)) {
            let lines = lines.get("data").and_then(Value::as_array).cloned().unwrap_or_default();
            self.lines.insert(id.clone(), lines);
        }
        self.forget_places(&id, &kind);
        self.arrivals += 1;
        let created = object.get("created").and_then(Value::as_u64).unwrap_or_default();
        let place = (std::cmp::Reverse(created), std::cmp::Reverse(self.arrivals), id.clone());
        self.by_kind.entry(kind.clone()).or_default().insert(place.clone());
        for (of, name, path) in INDEXED.iter().filter(|(of, ..)| *of == kind) {
            if let Some(value) = object.pointer(path).and_then(Value::as_str) {
                self.by_field.entry((of, name, value.to_owned())).or_default().insert(place.clone());
            }
        }
        let visible_at_ms = self.by_id.get(&id).map_or(visible_at_ms, |known| known.visible_at_ms);
        self.places.insert(id.clone(), place);
        self.by_id.insert(id, Stored { object, visible_at_ms });
    }

    fn forget_places(&mut self, id: &str, kind: &str) {
        let (Some(old), Some(place)) = (self.by_id.get(id), self.places.get(id)) else { return };
        for (of, name, path) in INDEXED.iter().filter(|(of, ..)| *of == kind) {
            let value = old.object.pointer(path).and_then(Value::as_str);
            let places = value.and_then(|value| self.by_field.get_mut(&(*of, *name, value.to_owned())));
            if let Some(places) = places {
                places.remove(place);
            }
        }
        if let Some(places) = self.by_kind.get_mut(kind) {
            places.remove(place);
        }
    }

    /// An object of a kind, as it is answered.
    pub(crate) fn get(&self, kind: &str, id: &str, seen_ms: u64) -> Option<Value> {
        self.raw(kind, id, seen_ms).map(shown)
    }

    /// An object of a kind with what only the simulator knows.
    pub(crate) fn raw(&self, kind: &str, id: &str, seen_ms: u64) -> Option<&Value> {
        let stored = self.by_id.get(id).filter(|stored| stored.visible_at_ms <= seen_ms)?;
        (stored.object.get("object").and_then(Value::as_str) == Some(kind)).then_some(&stored.object)
    }

    /// The objects of a kind, newest first; only those with that value where a filter has an index. Unstripped.
    pub(crate) fn candidates(
        &self,
        kind: &str,
        filter: Option<(&'static str, &str)>,
    ) -> impl Iterator<Item = &Value> {
        let indexed = filter.and_then(|(name, value)| {
            let (of, name, _) =
                INDEXED.iter().find(|(of, parameter, _)| *of == kind && *parameter == name)?;
            Some((*of, *name, value.to_owned()))
        });
        let places = match indexed {
            Some(key) => self.by_field.get(&key),
            None => self.by_kind.get(kind),
        };
        places.into_iter().flatten().filter_map(|(_, _, id)| self.by_id.get(id)).map(|stored| &stored.object)
    }

    pub(crate) fn lines(&self, id: &str) -> &[Value] {
        self.lines.get(id).map_or(&[], Vec::as_slice)
    }

    /// Replaces ids on a path by the objects; a path that leads nowhere changes nothing.
    pub(crate) fn expand(&self, object: &mut Value, path: &str) {
        // A list that an invoice has only for who asks.
        if path == "payments"
            && let Some(id) = object.get("id").and_then(Value::as_str).map(str::to_owned)
            && object.get("object").and_then(Value::as_str) == Some("invoice")
        {
            let of = |row: &&Value| row.get("invoice").and_then(Value::as_str) == Some(&id);
            let data: Vec<Value> = self.candidates("invoice_payment", None).filter(of).map(shown).collect();
            super::put(object, "payments", json!({"object": "list", "has_more": false, "data": data}));
            return;
        }
        let segments: Vec<&str> = path.split('.').take(EXPAND_DEPTH_MAX).collect();
        self.expand_segments(object, &segments);
    }

    fn expand_segments(&self, object: &mut Value, segments: &[&str]) {
        let Some((first, rest)) = segments.split_first() else { return };
        let Some(field) = object.get_mut(*first) else { return };
        if let Some(stored) = field.as_str().and_then(|id| self.by_id.get(id)) {
            *field = shown(&stored.object);
        }
        match field {
            Value::Array(items) => items.iter_mut().for_each(|item| self.expand_segments(item, rest)),
            Value::Object(_) => self.expand_segments(field, rest),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    pub(crate) fn counts(&self) -> Value {
        json!(
            self.by_kind
                .iter()
                .map(|(kind, places)| (kind.clone(), places.len()))
                .collect::<BTreeMap<_, _>>()
        )
    }
}

/// Without what only the simulator knows (the payout of a balance transaction is no field of Stripe's).
pub(crate) fn shown(object: &Value) -> Value {
    let mut shown = object.clone();
    if let Some(fields) = shown.as_object_mut() {
        fields.remove("_simulator");
    }
    shown
}

/// Letters and digits that look like Stripe's, always the same for the same seed.
pub(crate) fn characters(seed: &str, length: usize) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let digest = Sha256::digest(seed);
    let letter =
        |byte: &u8| ALPHABET.get(usize::from(*byte) % ALPHABET.len()).copied().map_or('0', char::from);
    digest.iter().map(letter).take(length).collect()
}
