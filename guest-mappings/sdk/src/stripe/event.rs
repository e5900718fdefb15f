//! An event's envelope, in both forms that Stripe sends: a snapshot (`event`), which carries its object, and a thin
//! one (`v2.core.event`), which names where the object is. They are told apart by what they say they are; one in the
//! place of the other is refused, not guessed at.

use std::collections::BTreeMap;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};

use super::or_default;
use crate::{Cx, prelude::json, stop::Stop};

/// An event with its object.
#[derive(Debug, Clone)]
pub struct Event<T> {
    /// What it happened to: of a snapshot as it was then, of a thin event as it is now.
    pub object: T,
    /// Of `*.updated`: the old values of what changed. Thin events do not say.
    pub previous: Option<BTreeMap<String, Value>>,
    /// Whether it is about real money.
    pub livemode: Option<bool>,
    /// The connected account, `acct_…`.
    pub account: Option<String>,
    /// The idempotency key of the request that caused it.
    pub idempotency_key: Option<String>,
}

/// The object stays text until its type is known: one envelope is read, not one per type.
#[derive(Deserialize)]
struct Envelope<'a> {
    object: Option<String>,
    livemode: Option<bool>,
    account: Option<String>,
    #[serde(borrow)]
    data: Option<Data<'a>>,
    request: Option<Request>,
    reason: Option<Reason>,
    related_object: Option<Related>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    object: &'a RawValue,
    previous_attributes: Option<BTreeMap<String, Value>>,
}

/// Who asked for what happened. Before 2017 it was the request's id alone.
#[derive(Deserialize)]
#[serde(untagged)]
enum Request {
    Known { idempotency_key: Option<String> },
    Id(#[expect(dead_code, reason = "named for its shape")] String),
}

#[derive(Deserialize)]
struct Reason {
    #[serde(default, deserialize_with = "or_default")]
    request: Asked,
}

#[derive(Default, Deserialize)]
struct Asked {
    idempotency_key: Option<String>,
}

#[derive(Deserialize)]
struct Related {
    url: Option<String>,
}

/// What a snapshot says it is.
const SNAPSHOT: &str = "event";
/// What a thin event says it is.
const THIN: &str = "v2.core.event";

impl<T: DeserializeOwned> Event<T> {
    /// The event of a call, in either form. A thin one's object is asked for through `connection`, which declares
    /// `object.get`.
    ///
    /// # Errors
    /// The need, and refusals: `unreadable-payload`, `not-an-event`, `gone` when the object is no more.
    pub fn read(cx: &Cx<'_>, connection: &str) -> Result<Self, Stop> {
        Event::unread(cx, connection)?.typed()
    }
}

impl Event<Box<RawValue>> {
    /// As [`Self::read`], with the object as it was sent: what does not depend on its type is compiled once.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn unread(cx: &Cx<'_>, connection: &str) -> Result<Self, Stop> {
        let envelope: Envelope<'_> =
            serde_json::from_str(&cx.event().payload).map_err(|error| unreadable(&error))?;
        let is_thin = envelope.object.as_deref() == Some(THIN);
        if is_thin { Self::thin(cx, connection, envelope) } else { Self::snapshot(envelope) }
    }

    /// With the object's type.
    ///
    /// # Errors
    /// A refusal with code `unreadable-payload`.
    pub fn typed<T: DeserializeOwned>(self) -> Result<Event<T>, Stop> {
        Ok(Event {
            object: serde_json::from_str(self.object.get())
                .map_err(|error| unreadable(&error).at("/data/object"))?,
            previous: self.previous,
            livemode: self.livemode,
            account: self.account,
            idempotency_key: self.idempotency_key,
        })
    }

    fn snapshot(envelope: Envelope<'_>) -> Result<Self, Stop> {
        // Some senders of test events leave it out.
        if let Some(other) = envelope.object.as_deref().filter(|object| *object != SNAPSHOT) {
            return Err(Stop::reject(
                "/object",
                "not-an-event",
                format!("{other:?} is not an event of Stripe"),
            ));
        }
        let data = envelope.data.ok_or_else(|| {
            Stop::reject("/data", "unreadable-payload", "the payload does not fit: a snapshot event has data")
        })?;
        let idempotency_key = match envelope.request {
            Some(Request::Known { idempotency_key }) => idempotency_key,
            Some(Request::Id(_)) | None => None,
        };
        Ok(Self {
            object: data.object.to_owned(),
            previous: data.previous_attributes,
            livemode: envelope.livemode,
            account: envelope.account,
            idempotency_key,
        })
    }

    fn thin(cx: &Cx<'_>, connection: &str, envelope: Envelope<'_>) -> Result<Self, Stop> {
        let url = envelope.related_object.and_then(|related| related.url).ok_or_else(|| {
            Stop::reject("/related_object", "unreadable-payload", "a thin event names the object it is about")
        })?;
        let object: Option<Box<RawValue>> = cx.query(connection, "object.get", json!({"url": url}))?;
        let object = object.ok_or_else(|| {
            Stop::reject("/related_object/url", "gone", format!("Stripe does not have {url}"))
        })?;
        Ok(Self {
            object,
            previous: None,
            livemode: envelope.livemode,
            account: envelope.account,
            idempotency_key: envelope.reason.and_then(|reason| reason.request.idempotency_key),
        })
    }
}

/// What the host's own idempotency keys begin with.
const OURS: &str = "portolan-";

fn unreadable(error: &serde_json::Error) -> Stop {
    Stop::reject("", "unreadable-payload", format!("the payload does not fit: {error}"))
}

impl<T> Event<T> {
    /// Whether Portolan itself caused it.
    #[must_use]
    pub fn is_echo(&self) -> bool {
        self.idempotency_key.as_deref().is_some_and(|key| key.starts_with(OURS))
    }

    /// Whether one of these fields changed. An event that does not say what changed may be about any.
    #[must_use]
    pub fn changed(&self, fields: &[&str]) -> bool {
        let Some(previous) = &self.previous else { return true };
        fields.iter().any(|field| previous.contains_key(*field))
    }

    /// The old value of a changed field.
    #[must_use]
    pub fn before(&self, field: &str) -> Option<&Value> {
        self.previous.as_ref()?.get(field)
    }
}
