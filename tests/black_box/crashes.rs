//! `kill -9` of the host, and what the stand-ins' ledgers hold afterwards.

use std::time::Duration;

use portolan::stage::System;
use portolan_tests::{World, told_of, until};
use serde_json::json;

/// Kills the host while the story is under way, once for every document that the ERP has by then made.
async fn nothing_is_lost_or_doubled(system: System) {
    let slow = json!({ "latency_ms": 15 });
    let mut world = World::with(system, Some(&slow), &[]).await;
    let story = world.story("killed").await;
    let mut events = Vec::new();
    for told in &story {
        events.push(world.accept(told).await);
    }
    for documents in [1, 5, 9, 14, 20] {
        until("documents", async || {
            let posted = world.erp.ledger("").await.ok()?;
            let ended = world.tenant.get("/deliveries?state=pending&limit=1").await.ok()?;
            (posted.len() >= documents || ended["items"] == json!([])).then_some(())
        })
        .await;
        world.host.kill().await.unwrap();
        world.host.start_again().await.unwrap();
    }
    for event in &events {
        let story = world.end_of(event).await;
        assert_eq!(story["standing"], "delivered", "{}", told_of(&story));
    }
    world.assert_posted_once(story.len()).await;
}

#[tokio::test]
async fn killing_the_host_loses_and_doubles_nothing_in_sap_ecc() {
    nothing_is_lost_or_doubled(System::SapEcc).await;
}

#[tokio::test]
async fn killing_the_host_loses_and_doubles_nothing_in_epicor() {
    nothing_is_lost_or_doubled(System::Epicor).await;
}

#[tokio::test]
async fn killing_the_host_loses_and_doubles_nothing_in_sage_pro() {
    nothing_is_lost_or_doubled(System::SagePro).await;
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill_in_the_same_moment() {
    let mut world = World::of(System::SagePro).await;
    let story = world.story("at-once").await;
    let mut events = Vec::new();
    for told in &story[..4] {
        events.push(world.accept(told).await);
        world.host.kill().await.unwrap();
        world.host.start_again().await.unwrap();
    }
    for event in &events {
        let story = world.end_of(event).await;
        assert_eq!(story["standing"], "delivered", "{}", told_of(&story));
    }
    world.assert_posted_once(4).await;
}

#[tokio::test]
async fn an_erp_that_is_down_is_tried_again_until_it_is_up() {
    let mut world = World::of(System::SapEcc).await;
    let told = world.story("down").await.remove(0);
    world.erp.kill().await.unwrap();
    let event = world.accept(&told).await;
    until("an attempt", async || {
        let pending = world.tenant.get("/deliveries?state=pending").await.ok()?;
        pending["items"].as_array()?.iter().any(|row| row["attempts"].as_u64() > Some(1)).then_some(())
    })
    .await;
    world.erp.start_again().await.unwrap();
    assert_eq!(world.end_of(&event).await["standing"], "delivered");
    world.assert_posted_once(1).await;
}

#[tokio::test]
async fn the_host_ends_in_time_when_it_is_asked_to() {
    let world = World::of(System::SagePro).await;
    tokio::time::timeout(Duration::from_secs(60), world.host.end()).await.unwrap().unwrap();
}
