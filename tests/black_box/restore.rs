//! The database is lost and put back from a backup that was taken under load: what was sent since must not be sent
//! again, and what was received since must not be missing.

use portolan::stage::System;
use portolan_domain::{Clock, SystemClock};
use portolan_simulators::story::StoryCharge;
use portolan_tests::{
    World, end_of, portolan,
    restore::{back_up, reconciliations, restore},
    until,
};
use serde_json::{Value, json};

/// The story's events as if they happened now.
fn events(story: &[StoryCharge]) -> Vec<Value> {
    let now = SystemClock::new().now().as_seconds();
    story
        .iter()
        .map(|told| {
            let mut event: Value = serde_json::from_str(&told.event).unwrap();
            event["created"] = json!(now - 60);
            event
        })
        .collect()
}

/// They happen: Stripe lists them and sends them.
async fn send(world: &World, events: &[Value]) {
    world.stripe.seed(events).await.unwrap();
    for event in events {
        let (status, answer) = world.tenant.webhook(event.to_string().as_bytes()).await.unwrap();
        assert_eq!(status, 200, "{answer}");
    }
}

/// Until at least so many documents are in the ERP.
async fn documents(world: &World, least: usize) {
    until("documents", async || {
        let ledger = world.erp.ledger("").await.ok()?;
        (ledger.len() >= least).then_some(())
    })
    .await;
}

/// Until the host has every one of these events (I16), and each stands still.
async fn all_delivered(world: &World, events: &[Value]) {
    for event in events {
        let path = format!("/events?idempotency_key={}", event["id"].as_str().unwrap());
        let known = until(&path, async || {
            let found = world.tenant.get(&path).await.ok()?;
            found["items"][0]["id"].as_str().map(str::to_owned)
        })
        .await;
        let story = end_of(&world.tenant, &known).await;
        assert_eq!(story["standing"], "delivered", "{}", portolan_tests::told_of(&story));
    }
}

async fn restores_lose_and_double_nothing(system: System) {
    let slow = json!({ "latency_ms": 10 });
    let mut world = World::with(system, Some(&slow), &[]).await;
    let story = world.story("restored").await;
    let events = events(&story);
    let data = world.folder.path().join("host");
    let third = events.len() / 3;
    for round in 0..2 {
        let backup = world.folder.path().join(format!("backup-{round}"));
        let before = world.erp.ledger("").await.unwrap().len();
        // Some of it is under way when the backup is taken, and more is done than the backup knows when all is lost.
        send(&world, &events[round * third..round * third + 3]).await;
        documents(&world, before + 1).await;
        back_up(portolan(), &world.host.operator, &backup).await.unwrap();
        send(&world, &events[round * third + 3..(round + 1) * third]).await;
        documents(&world, before + 4).await;
        let said = restore(portolan(), &mut world.host, (&data, &backup), &[]).await.unwrap();
        assert_eq!(said["incarnation"], json!(round + 2), "{said}");
        let state = reconciliations(&world.host.operator).await.unwrap();
        assert_eq!(state["incarnation"], json!(round + 2));
        // New events come meanwhile.
        send(&world, &events[2 * third + round * 2..2 * third + round * 2 + 2]).await;
        all_delivered(&world, &events[..(round + 1) * third]).await;
        until("the end of the reconciliation", async || {
            let state = reconciliations(&world.host.operator).await.ok()?;
            (state["items"] == json!([])).then_some(())
        })
        .await;
    }
    send(&world, &events[2 * third + 4..]).await;
    all_delivered(&world, &events).await;
    world.assert_posted_once(story.len()).await;
    // Nobody asks Stripe any longer, and the chain of what was done is whole.
    let source = world.tenant.hook.replace("/hooks/", "/sources/");
    assert_eq!(world.tenant.get(&source).await.unwrap()["poll"], Value::Null);
    let verdict = world.host.operator.get("/api/v1/audit/verify").await.unwrap();
    assert_eq!(verdict["ok"], json!(true), "{verdict}");
    let state = world.tenant.get("/reconciliation").await.unwrap();
    assert_eq!((&state["state"], &state["ended_by"]), (&json!("over"), &json!("host")), "{state}");
}

#[tokio::test]
async fn restores_under_load_lose_and_double_nothing_in_sap_ecc() {
    restores_lose_and_double_nothing(System::SapEcc).await;
}

#[tokio::test]
async fn restores_under_load_lose_and_double_nothing_in_epicor() {
    restores_lose_and_double_nothing(System::Epicor).await;
}

#[tokio::test]
async fn restores_under_load_lose_and_double_nothing_in_sage_pro() {
    restores_lose_and_double_nothing(System::SagePro).await;
}
