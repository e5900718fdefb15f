//! What is mapped: a charge of the demo's story, with the facts that the demo's tenants have for it. Its event is
//! indented, as Stripe indents the bodies of webhooks.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use portolan_domain::{
    Environment, Timestamp,
    contract::{Answer, EventFacts, Fact, Input, Need, Outcome},
};
use portolan_simulators::story::{CUSTOMERS, LinesFrom, PRODUCTS, StoryCharge, demo_catalogue, demo_story};
use serde_json::{Value, json};

use crate::native;

/// More rounds than the host grants.
const ROUNDS_MAX: usize = 8;
/// How large the payload of a mapping's measurement is.
const PAYLOAD_BYTES: std::ops::RangeInclusive<usize> = 3_000..=4_096;

/// Where `cargo xtask guests` puts components.
pub(crate) fn components() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../guest-mappings/target/components")
}

/// A component by its name.
pub(crate) fn component(folder: &Path, name: &str) -> anyhow::Result<Vec<u8>> {
    let path = folder.join(format!("{name}.wasm"));
    std::fs::read(&path).with_context(|| format!("{}: run `cargo xtask guests`", path.display()))
}

/// The input of the call in which `stripe-to-epicor` returns its plan: everything it asked for is answered.
pub(crate) fn order_input() -> anyhow::Result<Input> {
    let mut story = demo_story("epicor", 1).into_iter();
    let told = story.find(|told| told.customer_known && told.lines_from == LinesFrom::CheckoutSession);
    let told = told.context("the story has no such charge")?;
    let event: Value = serde_json::from_str(&told.event)?;
    let payload = serde_json::to_string_pretty(&event)?;
    ensure!(PAYLOAD_BYTES.contains(&payload.len()), "the event has {} bytes", payload.len());
    let created = Timestamp::from_seconds(event["created"].as_u64().unwrap_or_default());
    let mut input = Input {
        event: EventFacts {
            id: "evt_01K0000000000000000000BENC".to_owned(),
            source: "stripe".to_owned(),
            system: "stripe".to_owned(),
            kind: "charge.succeeded".to_owned(),
            object_id: Some(told.charge_id.clone()),
            occurred_at: created,
            received_at: created,
            media_type: "application/json".to_owned(),
            payload,
        },
        environment: Environment::Sandbox,
        attempt: 1,
        settings: json!({"bank_account": "STRIPE", "default_part": "STRIPE-OTHER", "time_zone": "Europe/Berlin"}),
        facts: Vec::new(),
    };
    for _ in 0..ROUNDS_MAX {
        let outcome = native::outcome(stripe_to_epicor::transform(&native::native_input(&input)))?;
        let Outcome::Need(needs) = outcome else {
            ensure!(matches!(outcome, Outcome::Deliver(_)), "the mapping returns no order: {outcome:?}");
            return Ok(input);
        };
        input.facts.extend(needs.into_iter().map(|need| Fact { answer: answer(&need, &told), need }));
    }
    bail!("the mapping still asks after {ROUNDS_MAX} rounds")
}

/// What the demo's lookup tables, Stripe's stand-in and Epicor's stand-in say.
fn answer(need: &Need, told: &StoryCharge) -> Answer {
    let found = match need {
        Need::Lookup(lookup) if lookup.table == "parts" => {
            PRODUCTS.iter().find(|product| product.id == lookup.key).map(|product| json!(product.epicor_part))
        }
        Need::Lookup(lookup) if lookup.table == "customers" => {
            CUSTOMERS.iter().find(|one| one.id == lookup.key).map(|one| json!(one.epicor_customer))
        }
        Need::Lookup(_) | Need::Reference(_) => None,
        Need::Query(query) => match query.operation.as_str() {
            "customer.get" if query.connection == "stripe" => {
                let all = demo_catalogue();
                all.into_iter().find(|object| object["id"] == query.parameters["id"])
            }
            "checkout-session.by-payment-intent" => {
                told.objects.iter().find(|object| object["object"] == "checkout.session").cloned()
            }
            "customer.get" => CUSTOMERS.iter().find(|one| one.epicor_customer == query.parameters["CustID"]).map(
                |one| {
                    json!({
                        "CustNum": 812, "CustID": one.epicor_customer, "Name": one.name, "EMailAddress": one.email,
                        "CurrencyCode": "USD", "Inactive": false, "CreditHold": false, "SysRevID": "10482",
                    })
                },
            ),
            _ => None,
        },
    };
    found.map_or(Answer::Absent, Answer::Found)
}

/// Webhooks that differ only in their ids, each made from one charge of the story: a guest who buys two things,
/// named in the charge's metadata.
#[derive(Debug)]
pub(crate) struct Webhooks {
    /// The body, cut where an id is to be put in, and which id it is.
    parts: Vec<(String, Option<Id>)>,
}

#[derive(Debug, Clone, Copy)]
enum Id {
    Event,
    Charge,
}

/// What the ids of the bench's charges begin with; a number of 22 digits follows.
const CHARGE: &str = "ch_3B";
const EVENT: &str = "evt_3B";

impl Webhooks {
    /// Finds the charge.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let told = demo_story("sage", 1);
        let told = told.iter().find(|told| told.customer.is_none() && told.lines_from == LinesFrom::Metadata);
        let told = told.context("the story has no such charge")?;
        let event: Value = serde_json::from_str(&told.event)?;
        let event = serde_json::to_string_pretty(&event)?;
        let mut parts = Vec::new();
        let mut rest = event.as_str();
        loop {
            let places = [(told.event_id.as_str(), Id::Event), (told.charge_id.as_str(), Id::Charge)];
            let next = places.into_iter().filter_map(|(text, id)| Some((rest.find(text)?, text.len(), id)));
            let Some((at, length, id)) = next.min_by_key(|(at, _, _)| *at) else { break };
            let (before, after) = rest.split_at(at);
            parts.push((before.to_owned(), Some(id)));
            rest = after.split_at(length).1;
        }
        parts.push((rest.to_owned(), None));
        Ok(Self { parts })
    }

    /// The body with this number.
    pub(crate) fn body(&self, number: usize) -> String {
        let mut body = String::new();
        for (text, id) in &self.parts {
            body.push_str(text);
            match id {
                Some(Id::Event) => body.push_str(&format!("{EVENT}{number:022}")),
                Some(Id::Charge) => body.push_str(&format!("{CHARGE}{number:022}")),
                None => {}
            }
        }
        body
    }
}

/// The number of a charge that [`Webhooks`] made, from its id.
pub(crate) fn number_of(charge_id: &str) -> Option<usize> {
    charge_id.strip_prefix(CHARGE)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_webhook_has_ids_of_its_own() {
        let webhooks = Webhooks::new().unwrap();
        let body: Value = serde_json::from_str(&webhooks.body(42)).unwrap();
        let charge = body["data"]["object"]["id"].as_str().unwrap();
        assert_eq!(number_of(charge), Some(42));
        assert_eq!(charge.len(), 27);
        assert_ne!(webhooks.body(42), webhooks.body(43));
        assert!(PAYLOAD_BYTES.contains(&webhooks.body(1).len()));
    }

    #[test]
    fn the_mapping_returns_an_order_for_the_measured_input() {
        let input = order_input().unwrap();
        assert!(PAYLOAD_BYTES.contains(&input.event.payload.len()));
        assert!(input.facts.len() >= 4);
    }
}
