//! An event that kills the host is found out, and costs nobody else anything.

use portolan::stage::System;
use portolan_tests::{World, accept, told_of};
use serde_json::{Value, json};

/// A charge that the striking hook of the test build knows, beside those of the story.
fn struck(id: &str) -> Vec<u8> {
    json!({ "id": id, "object": "event", "type": "charge.succeeded", "livemode": false,
            "data": { "object": { "id": format!("ch_{id}"), "description": "poison" } } })
    .to_string()
    .into_bytes()
}

/// Starts the host again as often as it dies, as a supervisor would, until the events stand still. How often.
async fn survive(world: &mut World, events: &[String]) -> u32 {
    let mut deaths = 0;
    for event in events {
        loop {
            if world.host.has_ended().unwrap() {
                deaths += 1;
                assert!(deaths < 20, "nobody stops it");
                // It may die again while it starts: that is another death.
                drop(world.host.start_again().await);
            }
            let path = format!("/events/{event}");
            match world.tenant.get(&path).await {
                Ok(story) if story["standing"] != "under-way" => break,
                _ => tokio::time::sleep(std::time::Duration::from_millis(25)).await,
            }
        }
    }
    deaths
}

async fn reason_of(world: &World, event: &str) -> Value {
    world.end_of(event).await["runs"][0]["reason"].clone()
}

async fn poison_is_quarantined(how: &str) {
    let strike = format!("{how}:poison");
    let mut world = World::with(System::SagePro, None, &[("PORTOLAN_PROOF_STRIKE", &strike)]).await;
    let story = world.story(how).await;
    let mut innocents = Vec::new();
    for told in &story {
        innocents.push(world.accept(told).await);
    }
    let poison = accept(&world.tenant, &struck("evt_poison")).await;
    let mut all = innocents.clone();
    all.push(poison.clone());
    let deaths = survive(&mut world, &all).await;
    assert_eq!(deaths, 3, "three deaths, then no more");
    let run = world.end_of(&poison).await["runs"][0].clone();
    assert_eq!((&run["state"], &run["reason"]["code"]), (&json!("dead"), &json!("quarantined")), "{run:#}");
    assert_eq!(run["process_deaths"], 3);
    for event in &innocents {
        let story = world.end_of(event).await;
        assert_eq!(story["standing"], "delivered", "{}", told_of(&story));
        let run = &story["runs"][0];
        assert_eq!((&run["attempts"], &run["process_deaths"]), (&json!(1), &json!(0)), "{run:#}");
    }
    world.assert_posted_once(story.len()).await;
    let alerts = world.tenant.get("/alerts").await.unwrap();
    let alert = alerts["items"].as_array().unwrap().iter().find(|a| a["code"] == "run-dead.quarantined");
    assert_eq!(alert.unwrap()["severity"], "critical", "{alerts:#}");
}

#[tokio::test]
async fn an_event_that_aborts_the_host_is_quarantined_after_three_deaths() {
    poison_is_quarantined("abort").await;
}

#[tokio::test]
async fn an_event_that_overflows_the_hosts_stack_is_quarantined_after_three_deaths() {
    poison_is_quarantined("overflow").await;
}

#[tokio::test]
async fn a_module_that_kills_the_host_with_every_event_is_given_no_more_until_a_person_says_so() {
    let strike = [("PORTOLAN_PROOF_STRIKE", "abort:poison")];
    let mut world = World::with(System::SagePro, None, &strike).await;
    let (mut events, mut deaths) = (Vec::new(), 0);
    for n in 0..6 {
        let body = struck(&format!("evt_{n}"));
        let event = loop {
            if world.host.has_ended().unwrap() {
                deaths += 1;
                drop(world.host.start_again().await);
            }
            // It may have died of one before; a repeat is answered with the first one's id.
            match world.tenant.webhook(&body).await {
                Ok((status, answer)) if status == 200 => break answer["event"].as_str().unwrap().to_owned(),
                _ => tokio::time::sleep(std::time::Duration::from_millis(25)).await,
            }
        };
        events.push(event);
    }
    deaths += survive(&mut world, &events).await;
    assert_eq!(deaths, 6, "six deaths, then no more");
    let mut codes = std::collections::BTreeSet::new();
    for event in &events {
        codes.insert(reason_of(&world, event).await["code"].to_string());
    }
    assert!(codes.contains("\"module-quarantined\""), "{codes:?}");
}

#[tokio::test]
async fn a_panic_of_the_host_in_a_run_costs_that_run_only() {
    let strike = [("PORTOLAN_PROOF_STRIKE", "panic:poison")];
    let mut world = World::with(System::SagePro, None, &strike).await;
    let told = world.story("panic").await.remove(0);
    let panicked = accept(&world.tenant, &struck("evt_panic")).await;
    assert_eq!(reason_of(&world, &panicked).await["code"], "host-panic");
    let event = world.accept(&told).await;
    assert_eq!(world.end_of(&event).await["standing"], "delivered");
    assert!(!world.host.has_ended().unwrap());
}
