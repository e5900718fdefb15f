//! What intake must know of a Stripe event: who it is and what it is about. Everything else is the module's.

use portolan_domain::Timestamp;
use serde::Deserialize;
use serde_json::Value;

/// Longest text taken from an event for an index, in characters: Stripe's ids are shorter than 100.
const TEXT_CHARS_MAX: usize = 255;

/// The head of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventHead {
    /// `evt_…`
    pub id: String,
    /// `charge.succeeded`
    pub kind: String,
    /// When it happened, if it says so readably.
    pub created: Option<Timestamp>,
    /// Live or test mode.
    pub livemode: bool,
    /// The connected account, if any.
    pub account: Option<String>,
    /// The id of the object it is about.
    pub object_id: Option<String>,
}

#[derive(Deserialize)]
struct RawEvent {
    object: Option<String>,
    id: String,
    #[serde(rename = "type")]
    kind: String,
    created: Option<Value>,
    #[serde(default)]
    livemode: bool,
    account: Option<String>,
    data: Option<RawData>,
    related_object: Option<RawObject>,
}

#[derive(Deserialize)]
struct RawData {
    object: Option<RawObject>,
}

#[derive(Deserialize)]
struct RawObject {
    id: Option<String>,
}

/// Why a body is not a Stripe event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAnEvent {
    /// Not JSON, or without `id` and `type`.
    #[error("the body is not a Stripe event: {0}")]
    Malformed(String),
    /// A text that is used as a key is empty or too long.
    #[error("the event's {0} is empty, longer than 255 characters or has control characters")]
    BadText(&'static str),
}

/// Reads the head of a snapshot event (v1, `object: event`) or of a thin event (v2, `object: v2.core.event`).
///
/// # Errors
/// Why the body is no event.
pub fn read_head(body: &[u8]) -> Result<EventHead, NotAnEvent> {
    let raw: RawEvent = serde_json::from_slice(body).map_err(|e| NotAnEvent::Malformed(e.to_string()))?;
    if !matches!(raw.object.as_deref(), Some("event" | "v2.core.event")) {
        return Err(NotAnEvent::Malformed("its `object` is neither event nor v2.core.event".to_owned()));
    }
    let object = raw.data.and_then(|data| data.object).or(raw.related_object);
    let head = EventHead {
        created: raw.created.as_ref().and_then(read_time),
        livemode: raw.livemode,
        account: raw.account,
        object_id: object.and_then(|object| object.id),
        id: raw.id,
        kind: raw.kind,
    };
    let fits = |text: &str| {
        !text.is_empty() && text.chars().count() <= TEXT_CHARS_MAX && !text.chars().any(char::is_control)
    };
    if !fits(&head.id) {
        return Err(NotAnEvent::BadText("id"));
    }
    if !fits(&head.kind) {
        return Err(NotAnEvent::BadText("type"));
    }
    if head.object_id.as_deref().is_some_and(|id| !fits(id)) {
        return Err(NotAnEvent::BadText("data.object.id"));
    }
    Ok(head)
}

/// v1 writes Unix seconds, v2 writes RFC 3339.
fn read_time(created: &Value) -> Option<Timestamp> {
    if let Some(seconds) = created.as_u64() {
        return Some(Timestamp::from_seconds(seconds));
    }
    let time: jiff::Timestamp = created.as_str()?.parse().ok()?;
    u64::try_from(time.as_millisecond()).ok().map(Timestamp::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_shapes_of_event_are_read() {
        let snapshot = br#"{"id":"evt_1","object":"event","type":"charge.succeeded","created":1700000000,
            "livemode":false,"data":{"object":{"id":"ch_1","amount":100}}}"#;
        let head = read_head(snapshot).unwrap();
        assert_eq!((head.id.as_str(), head.object_id.as_deref()), ("evt_1", Some("ch_1")));
        assert_eq!(head.created, Some(Timestamp::from_seconds(1_700_000_000)));
        let thin = br#"{"id":"evt_2","object":"v2.core.event","type":"v2.core.account.updated",
            "created":"2026-11-20T10:00:00.000Z","livemode":true,"related_object":{"id":"acct_1"}}"#;
        let head = read_head(thin).unwrap();
        assert_eq!(head.object_id.as_deref(), Some("acct_1"));
        assert!(head.livemode);
    }

    #[test]
    fn what_is_no_event_is_named() {
        for body in [&b"{"[..], b"[]", b"{}", br#"{"id":"a","type":"b","object":"charge"}"#, b"\xff"] {
            assert!(matches!(read_head(body), Err(NotAnEvent::Malformed(_))), "{body:?}");
        }
        let long = format!(r#"{{"id":"{}","object":"event","type":"x"}}"#, "a".repeat(256));
        assert_eq!(read_head(long.as_bytes()), Err(NotAnEvent::BadText("id")));
    }
}
