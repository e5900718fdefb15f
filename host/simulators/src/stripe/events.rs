//! The account's events: kept as text, listed newest first for 30 days, shown in the shapes that were asked for.
//!
//! A thin event (API v2) is another view of the same change under an id of its own: `evt_2…` for `evt_1…`.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};

use crate::clock::iso_date;
use crate::stand_in::Call;
use crate::story::month::MonthEvent;
use crate::stripe::errors::{Error, missing};
use crate::stripe::lists::{Page, in_range};
use crate::stripe::old_shapes;

/// How long events are listed.
const KEPT_MS: u64 = 30 * 86_400 * 1_000;
/// Types by which a list may be filtered.
const TYPES_MAX: usize = 20;

/// By time, then by arrival.
type Place = (u64, u64);

/// All events.
#[derive(Default)]
pub(crate) struct Events {
    told: BTreeMap<Place, MonthEvent>,
    places: HashMap<String, Place>,
    arrivals: u64,
}

impl Events {
    /// Adds an event; one that is there already stays as it is.
    pub(crate) fn put(&mut self, event: &Value) {
        let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let created = event.get("created").and_then(Value::as_u64).unwrap_or_default();
        self.take(MonthEvent { id: text("id"), kind: text("type"), created, text: event.to_string() });
    }

    /// As [`Self::put`], of an event that is text already.
    pub(crate) fn take(&mut self, event: MonthEvent) {
        if self.places.contains_key(&event.id) {
            return;
        }
        self.arrivals += 1;
        let place = (event.created, self.arrivals);
        self.places.insert(event.id.clone(), place);
        self.told.insert(place, event);
    }

    pub(crate) fn count(&self) -> usize {
        self.told.len()
    }

    fn told(&self, id: &str) -> Option<&MonthEvent> {
        self.told.get(self.places.get(id)?)
    }

    /// The type of an event.
    pub(crate) fn kind(&self, id: &str) -> Option<&str> {
        self.told(id).map(|told| told.kind.as_str())
    }

    /// An event in the shapes of a version; by default that of its making.
    pub(crate) fn get(&self, id: &str, version: Option<&str>) -> Option<Value> {
        self.told(id).map(|told| shown(told, version))
    }

    /// The thin view of an event, by its thin id.
    pub(crate) fn thin(&self, thin_id: &str) -> Option<Value> {
        let event = self.get(&format!("evt_1{}", thin_id.strip_prefix("evt_2")?), None)?;
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (kind, id) = (text("/data/object/object"), text("/data/object/id"));
        let created = event.get("created").and_then(Value::as_u64).unwrap_or_default();
        let (seconds, date) = (created % 86_400, iso_date(created * 1_000));
        let time = format!("{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60);
        Some(json!({
            "id": thin_id, "object": "v2.core.event", "context": null, "created": format!("{date}T{time}.000Z"),
            "livemode": false, "reason": {"type": "request", "request": event.get("request")},
            "related_object": {"id": id, "type": kind, "url": format!("/v1/{}/{id}", super::plural(kind))},
            "type": format!("v1.{}", text("/type")),
        }))
    }

    /// The thin id of an event.
    pub(crate) fn thin_id(id: &str) -> Option<String> {
        id.strip_prefix("evt_1").map(|rest| format!("evt_2{rest}"))
    }

    /// Ids in the order of their time.
    pub(crate) fn ids(&self) -> impl Iterator<Item = (&str, &str)> {
        self.told.values().map(|told| (told.id.as_str(), told.kind.as_str()))
    }

    /// A page of the list, newest first.
    pub(crate) fn list(&self, call: &Call, now_ms: u64) -> Result<Value, Error> {
        let page = Page::read(call)?;
        let (mut kinds, mut ranges): (Vec<&str>, Vec<(&str, u64)>) = (Vec::new(), Vec::new());
        for (name, value) in &call.query {
            match name.as_str() {
                "limit" | "starting_after" | "ending_before" => {}
                "type" => kinds.push(value),
                name if name.starts_with("types[") => kinds.push(value),
                name if name.starts_with("created") => {
                    let at = value.parse();
                    let at = at.map_err(|_| Error::invalid(name, format!("Invalid timestamp: {value}")))?;
                    ranges.push((name, at));
                }
                name => return Err(Error::unknown_parameter(name)),
            }
        }
        if kinds.len() > TYPES_MAX {
            return Err(Error::invalid("types", "Array too long. Expected at most 20 items."));
        }
        let kept = now_ms.saturating_sub(KEPT_MS) / 1_000;
        let listed = |(place, told): &(&Place, &MonthEvent)| {
            place.0 >= kept
                && (kinds.is_empty() || kinds.contains(&told.kind.as_str()))
                && ranges.iter().all(|(name, at)| in_range(name, place.0, *at))
        };
        let place = |id: &str, parameter| {
            let place = self.places.get(id).copied().filter(|place| place.0 >= kept);
            place.ok_or_else(|| missing("event", id, parameter))
        };
        let limit = page.limit();
        let (rows, more): (Vec<&MonthEvent>, bool) = if let Some(id) = page.ending_before() {
            let newer = self.told.range(place(id, "ending_before")?..).skip(1).filter(listed);
            let mut rows: Vec<&MonthEvent> = newer.take(limit + 1).map(|(_, told)| told).collect();
            let more = rows.len() > limit;
            rows.truncate(limit);
            rows.reverse();
            (rows, more)
        } else {
            let end = match page.starting_after() {
                Some(id) => place(id, "starting_after")?,
                None => (u64::MAX, u64::MAX),
            };
            let older = self.told.range(..end).rev().filter(listed);
            let mut rows: Vec<&MonthEvent> = older.take(limit + 1).map(|(_, told)| told).collect();
            let more = rows.len() > limit;
            rows.truncate(limit);
            (rows, more)
        };
        let data: Vec<Value> = rows.into_iter().map(|told| shown(told, None)).collect();
        Ok(json!({"object": "list", "url": "/v1/events", "has_more": more, "data": data}))
    }
}

fn shown(told: &MonthEvent, version: Option<&str>) -> Value {
    let mut event: Value = serde_json::from_str(&told.text).unwrap_or_default();
    let version =
        version.map(str::to_owned).or_else(|| event.get("api_version")?.as_str().map(str::to_owned));
    if let Some(object) = event.pointer_mut("/data/object") {
        old_shapes::show(object, version.as_deref().unwrap_or_default());
    }
    if let (Some(fields), Some(version)) = (event.as_object_mut(), version) {
        fields.insert("api_version".to_owned(), Value::String(version));
    }
    event
}
