//! What intake must know of a Stripe event: who it is and what it is about. Everything else is the module's.

use bytes::Bytes;
use portolan_domain::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{EventHead, NotAnEvent};

#[derive(Deserialize)]
struct RawEvent<'a> {
    object: Option<String>,
    id: String,
    #[serde(rename = "type")]
    kind: String,
    /// As it stands there: a value of a million elements must not become one in memory.
    #[serde(borrow)]
    created: Option<&'a RawValue>,
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

/// Reads the head of a snapshot event (v1, `object: event`) or of a thin event (v2, `object: v2.core.event`).
///
/// # Errors
/// Why the body is no event.
pub(super) fn read_head(body: &Bytes) -> Result<EventHead, NotAnEvent> {
    let malformed = |why: String| NotAnEvent::Malformed { what: "a Stripe event", why };
    let raw: RawEvent<'_> = serde_json::from_slice(body).map_err(|error| malformed(error.to_string()))?;
    if !matches!(raw.object.as_deref(), Some("event" | "v2.core.event")) {
        return Err(malformed("its `object` is neither event nor v2.core.event".to_owned()));
    }
    // A thin event names what happened as API v1 does, with its version before it.
    let thin = raw.object.as_deref() == Some("v2.core.event");
    let kind = raw.kind.strip_prefix("v1.").filter(|_| thin).unwrap_or(&raw.kind).to_owned();
    let object = raw.data.and_then(|data| data.object).or(raw.related_object);
    Ok(EventHead {
        occurred_at: raw.created.and_then(read_time),
        livemode: Some(raw.livemode),
        account: raw.account,
        object_id: object.and_then(|object| object.id),
        idempotency_key: raw.id,
        kind,
        payload: body.clone(),
    })
}

/// v1 writes Unix seconds, v2 writes RFC 3339.
fn read_time(created: &RawValue) -> Option<Timestamp> {
    if let Ok(seconds) = created.get().parse() {
        return Some(Timestamp::from_seconds(seconds));
    }
    let text = created.get().strip_prefix('"')?.strip_suffix('"')?;
    let time: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(time.as_millisecond()).ok().map(Timestamp::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &'static [u8]) -> Result<EventHead, NotAnEvent> {
        read_head(&Bytes::from_static(body))
    }

    #[test]
    fn both_shapes_of_event_are_read() {
        let snapshot = br#"{"id":"evt_1","object":"event","type":"charge.succeeded","created":1700000000,
            "livemode":false,"data":{"object":{"id":"ch_1","amount":100}}}"#;
        let head = read(snapshot).unwrap();
        assert_eq!((head.idempotency_key.as_str(), head.object_id.as_deref()), ("evt_1", Some("ch_1")));
        assert_eq!(head.occurred_at, Some(Timestamp::from_seconds(1_700_000_000)));
        let thin = br#"{"id":"evt_2","object":"v2.core.event","type":"v2.core.account.updated",
            "created":"2026-11-20T10:00:00.000Z","livemode":true,"related_object":{"id":"acct_1"}}"#;
        let head = read(thin).unwrap();
        assert_eq!(head.kind, "v2.core.account.updated");
        assert_eq!(head.object_id.as_deref(), Some("acct_1"));
        assert_eq!(head.livemode, Some(true));
        let thin = br#"{"id":"evt_3","object":"v2.core.event","type":"v1.charge.succeeded"}"#;
        assert_eq!(read(thin).unwrap().kind, "charge.succeeded", "mappings serve both by one name");
    }

    #[test]
    fn what_is_no_event_is_named() {
        for body in [&b"{"[..], b"[]", b"{}", br#"{"id":"a","type":"b","object":"charge"}"#, b"\xff"] {
            assert!(matches!(read(body), Err(NotAnEvent::Malformed { .. })), "{body:?}");
        }
    }
}
