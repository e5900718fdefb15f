//! What the account takes in, object by object or a month at a time, and who is told of its events.

use serde_json::Value;

use super::Stripe;
use super::events::Events;
use super::webhooks::Receiver;
use crate::story::month::{Month, MonthSettings};

impl Stripe {
    /// Takes an object as it now stands.
    pub(crate) fn take(&mut self, object: &Value, visible_at_ms: u64) {
        match object.get("object").and_then(Value::as_str) {
            Some("event") => self.events.put(object),
            _ => self.objects.put(object.clone(), visible_at_ms),
        }
    }

    /// Plays a month and takes all that was there and was told. The ledger holds its settings only: the same settings
    /// give the same month.
    pub(crate) fn take_month(&mut self, settings: &Value) {
        let Ok(settings) = serde_json::from_value::<MonthSettings>(settings.clone()) else {
            tracing::error!("the ledger holds a month that cannot be played");
            return;
        };
        let month = Month::play(settings);
        for object in month.objects {
            self.objects.put(object, 0);
        }
        for event in month.events {
            self.events.take(event);
        }
        self.month = Some(month.settings);
    }

    /// Everybody who wants events: registered webhook endpoints, and who asked for the month.
    pub(crate) fn receivers(&self) -> Vec<Receiver> {
        let registered = self.objects.candidates("webhook_endpoint", None).filter_map(Receiver::of);
        registered.chain(self.sending.receiver()).collect()
    }

    /// The type of an event.
    pub(crate) fn kind_of(&self, event_id: &str) -> Option<&str> {
        self.events.kind(event_id)
    }

    /// All events that somebody wants, oldest first.
    pub(crate) fn wanted_events(&self) -> Vec<String> {
        let receivers = self.receivers();
        let wanted = |kind: &str| receivers.iter().any(|receiver| receiver.wants(kind));
        self.events.ids().filter(|(_, kind)| wanted(kind)).map(|(id, _)| id.to_owned()).collect()
    }

    /// The body of an event's webhook.
    pub(crate) fn body(&self, event_id: &str, receiver: &Receiver) -> Option<String> {
        if receiver.thin {
            return self.events.thin(&Events::thin_id(event_id)?).map(|thin| thin.to_string());
        }
        self.events.get(event_id, receiver.api_version.as_deref()).map(|event| event.to_string())
    }
}
