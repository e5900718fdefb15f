//! A case: an event, the mapping's settings and the facts that the module will ask for, and what is expected to come
//! of them. One JSON file each; the SDKs read the same files.
//!
//! ```json
//! {
//!   "event": {"system": "stripe", "payload": {"id": "evt_1", "object": "event", "type": "charge.succeeded", "…": "…"}},
//!   "settings": {"time_zone": "Europe/Berlin"},
//!   "facts": [{"need": {"lookup": {"table": "customers", "key": "cus_1"}}, "answer": {"found": "ROSE01"}}],
//!   "expect": {"deliver": {"deliveries": ["…"]}}
//! }
//! ```
//!
//! The payload is JSON, or a text that is handed over as it is; or `payload_file` names a file beside the case. Kind,
//! object and time are read from it as the host reads them at the door of a source of that `system`; `kind`,
//! `object-id`, `id`, `source`, `occurred-at`, `received-at` and `media-type` say otherwise. `environment` and `attempt`
//! may be given. `fuel` pins what the case may cost: `{"expect": 250000, "percent": 5}`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use bytes::Bytes;
use portolan_domain::{
    Environment, Timestamp,
    card::mask_json,
    contract::{Answer, EventFacts, Fact, Input, Need},
};
use portolan_pipeline::senders::{EventHead, Sender};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::write_whole;

/// When the events of cases are received, unless they say otherwise: 2026-11-20T23:30:01Z.
const RECEIVED_AT_MS: u64 = 1_795_217_401_000;

/// A case as it stands in its file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    /// What the case is about, for its reader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) about: Option<String>,
    pub(super) event: EventForm,
    #[serde(default = "sandbox", skip_serializing_if = "is_sandbox")]
    pub(super) environment: Environment,
    #[serde(default = "first", skip_serializing_if = "is_first")]
    pub(super) attempt: u32,
    #[serde(default = "empty")]
    pub(super) settings: Value,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) facts: Vec<Fact>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) fuel: Option<Fuel>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) expect: Option<Value>,
}

/// An event as a case tells it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct EventForm {
    pub(super) system: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) source: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) object_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) occurred_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) received_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) media_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) payload: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "payload_file")]
    pub(super) payload_file: Option<PathBuf>,
}

/// What a case may cost.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fuel {
    pub(super) expect: u64,
    /// How far from it, either way.
    #[serde(default)]
    pub(super) percent: u64,
}

impl Fuel {
    pub(super) const fn allows(&self, fuel: u64) -> bool {
        fuel.abs_diff(self.expect).saturating_mul(100) <= self.expect.saturating_mul(self.percent)
    }
}

const fn sandbox() -> Environment {
    Environment::Sandbox
}

fn is_sandbox(environment: &Environment) -> bool {
    *environment == Environment::Sandbox
}

const fn first() -> u32 {
    1
}

const fn is_first(attempt: &u32) -> bool {
    *attempt == 1
}

fn empty() -> Value {
    Value::Object(serde_json::Map::new())
}

impl Case {
    /// Reads a case.
    ///
    /// # Errors
    /// What is wrong with the file, by line and column.
    pub(super) fn read(file: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
        serde_json::from_str(&text).with_context(|| format!("{} is not a case", file.display()))
    }

    /// Writes it back, whole or not at all.
    pub(super) fn write(&self, file: &Path) -> anyhow::Result<()> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        write_whole(file, text.as_bytes())
    }

    /// What the module is given in its first round. `folder` is where the case's other files are.
    pub(super) fn input(&self, folder: &Path) -> anyhow::Result<Input> {
        Ok(Input {
            event: self.event.facts(folder)?,
            environment: self.environment,
            attempt: self.attempt,
            settings: self.settings.clone(),
            facts: Vec::new(),
        })
    }

    /// What the case says to a need.
    pub(super) fn answer(&self, need: &Need) -> Option<Answer> {
        self.facts.iter().find(|fact| fact.need == *need).map(|fact| fact.answer.clone())
    }
}

impl EventForm {
    /// The event as the host hands it over.
    fn facts(&self, folder: &Path) -> anyhow::Result<EventFacts> {
        let payload = self.payload_text(folder)?;
        let head = match (Sender::of(&self.system), &self.kind) {
            (Some(sender), _) => Some(read_head(sender, &payload)?),
            (None, Some(_)) => None,
            (None, None) => bail!("an event of the system {:?} must name its kind", self.system),
        };
        let received_at = self.received_at.unwrap_or_else(|| Timestamp::from_millis(RECEIVED_AT_MS));
        let of_head = head.as_ref();
        let kind = self.kind.clone().or_else(|| of_head.map(|head| head.kind.clone())).unwrap_or_default();
        let object_id = self.object_id.clone().or_else(|| of_head.and_then(|head| head.object_id.clone()));
        let occurred_at = self.occurred_at.or_else(|| of_head.and_then(|head| head.occurred_at));
        let media_type = Sender::of(&self.system).map_or("application/json", Sender::media_type).to_owned();
        let payload = match head {
            Some(head) => {
                String::from_utf8(head.payload.to_vec()).context("the payload is not UTF-8 text")?
            }
            None => payload,
        };
        Ok(EventFacts {
            id: self.id.clone().unwrap_or_else(|| "evt_00000000000000000000000000".to_owned()),
            source: self.source.clone().unwrap_or_else(|| "case".to_owned()),
            system: self.system.clone(),
            kind,
            object_id,
            occurred_at: occurred_at.unwrap_or(received_at),
            received_at,
            media_type: self.media_type.clone().unwrap_or(media_type),
            payload,
        })
    }

    /// The payload as text; card numbers are masked, as the host masks them at the door.
    fn payload_text(&self, folder: &Path) -> anyhow::Result<String> {
        let text = match (&self.payload, &self.payload_file) {
            (Some(Value::String(text)), None) => text.clone(),
            (Some(json), None) => json.to_string(),
            (None, Some(file)) => {
                let file = folder.join(file);
                fs::read_to_string(&file).with_context(|| file.display().to_string())?
            }
            (None, None) => bail!("the event has neither `payload` nor `payload_file`"),
            (Some(_), Some(_)) => bail!("the event has both `payload` and `payload_file`"),
        };
        let masked = serde_json::from_str::<Value>(&text).ok().filter(|_| text.contains('{'));
        Ok(masked.and_then(|mut json| mask_json(&mut json).then(|| json.to_string())).unwrap_or(text))
    }
}

fn read_head(sender: Sender, payload: &str) -> anyhow::Result<EventHead> {
    let heads = sender.read(&Bytes::copy_from_slice(payload.as_bytes()));
    let mut heads = heads.with_context(|| format!("the payload is no event of {}", sender.system()))?;
    if heads.len() > 1 {
        bail!("the payload holds {} events; a case is about one", heads.len());
    }
    heads.pop().context("the payload holds no event")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn input(event: Value) -> anyhow::Result<Input> {
        let case: Case = serde_json::from_value(json!({ "event": event }))?;
        case.input(Path::new("."))
    }

    #[test]
    fn an_event_of_stripe_needs_its_payload_only() {
        let payload = json!({"id": "evt_9", "object": "event", "type": "charge.succeeded", "created": 1_795_217_400,
            "data": {"object": {"id": "ch_1"}}});
        let event = input(json!({"system": "stripe", "payload": payload})).unwrap().event;
        assert_eq!((event.kind.as_str(), event.object_id.as_deref()), ("charge.succeeded", Some("ch_1")));
        assert_eq!(event.occurred_at, Timestamp::from_seconds(1_795_217_400));
        assert_eq!(event.payload, payload.to_string());
    }

    #[test]
    fn what_is_no_event_is_refused_with_its_reason() {
        for (event, reason) in [
            (json!({"system": "stripe", "payload": {"object": "charge"}}), "no event of stripe"),
            (json!({"system": "stripe"}), "neither `payload` nor"),
            (json!({"system": "erp", "payload": {}}), "must name its kind"),
            (json!({"system": "erp", "payload": {}, "payload_file": "x"}), "both"),
            (json!({"system": "erp", "colour": 1}), "unknown field `colour`"),
        ] {
            let error = input(event).unwrap_err();
            assert!(format!("{error:#}").contains(reason), "{error:#}");
        }
    }

    #[test]
    fn fuel_is_pinned_within_its_percentage() {
        let fuel = Fuel { expect: 1_000, percent: 5 };
        assert!([950, 1_000, 1_050].iter().all(|used| fuel.allows(*used)));
        assert!(![949, 1_051].iter().any(|used| fuel.allows(*used)));
        assert!(!Fuel { expect: 1_000, percent: 0 }.allows(1_001));
    }
}
