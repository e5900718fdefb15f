//! A source and its Stripe account: registered there, and swept for what never came.

use std::collections::BTreeSet;

use portolan::stage::System;
use portolan_tests::{World, until};
use serde_json::{Value, json};

/// One more source of Stripe with the tenant's mapping behind it. Returns its id.
async fn source(world: &World, body: &Value, kinds: &[&str]) -> String {
    let source = world.tenant.post("/sources", body).await.unwrap()["id"].as_str().unwrap().to_owned();
    let known = world.tenant.get(&format!("/mappings/{}", world.tenant.mapping)).await.unwrap();
    let mapping = json!({"name": "another", "source": source, "module": known["module"], "kinds": kinds,
        "settings": known["settings"], "connections": known["connections"]});
    world.tenant.post("/mappings", &mapping).await.unwrap();
    source
}

async fn simulator(world: &World, path: &str) -> Value {
    let client = portolan::stage::Client::new(world.stripe.url(), None).unwrap();
    client.get(path).await.unwrap()
}

async fn play(world: &World, month: &Value) {
    let client = portolan::stage::Client::new(world.stripe.url(), None).unwrap();
    client.post("/_simulator/month", month).await.unwrap();
}

async fn events_of(world: &World, source: &str) -> Vec<Value> {
    let (mut events, mut path) = (Vec::new(), "/events?limit=100".to_owned());
    loop {
        let page = world.tenant.get(&path).await.unwrap();
        events.extend(
            page["items"].as_array().unwrap().iter().filter(|event| event["source"] == source).cloned(),
        );
        match page["next"].as_str() {
            Some(next) => path = format!("/events?limit=100&before={next}"),
            None => return events,
        }
    }
}

#[tokio::test]
async fn a_registered_source_gets_what_its_mappings_serve_and_its_secret() {
    let world = World::of(System::Epicor).await;
    let kinds = ["charge.succeeded", "refund.created"];
    let id = source(&world, &json!({"name": "registered", "system": "stripe"}), &kinds).await;
    let (url, connection) =
        (format!("{}/hooks/{id}", world.host.operator.base()), &world.tenant.connections["stripe"]);
    let path = format!("/sources/{id}/register");
    let elsewhere = json!({"connection": connection, "url": "https://example.com/hooks/src_1"});
    assert!(world.tenant.post(&path, &elsewhere).await.is_err(), "that is not the source's address");
    let wanted = json!({"connection": connection, "url": url});
    let first = world.tenant.post(&path, &wanted).await.unwrap();
    assert_eq!((&first["created"], &first["secret"]), (&json!(true), &json!("stored")));
    assert!(!first.to_string().contains("whsec_"), "the secret stays with the source");
    let second = world.tenant.post(&path, &wanted).await.unwrap();
    assert_eq!(
        (&second["created"], &second["webhook_endpoint"]),
        (&json!(false), &first["webhook_endpoint"])
    );
    play(&world, &json!({"seed": 3, "charges": 8, "send": true})).await;
    until("the month to be sent", async || {
        let report = simulator(&world, "/_simulator/month").await;
        (report["done"] == true).then_some(())
    })
    .await;
    let events = events_of(&world, &id).await;
    assert!(events.len() >= 8, "{}", events.len());
    let told: BTreeSet<&str> = events.iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert!(told.iter().all(|kind| kinds.contains(kind)), "{told:?}");
}

#[tokio::test]
async fn what_no_webhook_brought_is_found_by_the_sweep() {
    let world = World::of(System::Epicor).await;
    play(&world, &json!({"seed": 4, "charges": 30})).await;
    let poll = json!({"connection": world.tenant.connections["stripe"], "operation": "events.changed", "every_s": 10});
    let body = json!({"name": "swept", "system": "stripe", "settings": {"poll": poll}});
    let id = source(&world, &body, &["charge.succeeded"]).await;
    let books = simulator(&world, "/_simulator/month/books").await;
    let charges = books["outcomes"]["charge posted"].as_u64().unwrap();
    let charges = usize::try_from(charges).unwrap();
    // Charges that are captured later succeed as well.
    let events = until("the sweep", async || {
        let events = events_of(&world, &id).await;
        (events.len() >= charges).then_some(events)
    })
    .await;
    assert!(events.iter().all(|event| event["kind"] == "charge.succeeded"));
    let ids: BTreeSet<&str> = events.iter().map(|event| event["object_id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), events.len(), "each charge once");
    let state = world.tenant.get(&format!("/sources/{id}")).await.unwrap();
    assert_eq!(state["poll"]["failures"], json!(0), "{state}");
}
