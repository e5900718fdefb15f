//! One call for one economic fact.

use portolan_domain::{state::DeliveryState, verdict::CallFailure};
use serde_json::json;

use super::{
    Place,
    world::{START, World, at, dead, decision, delivered},
};
use crate::{delivery::DeliveryEnd, run::NewDelivery};

const FACT: &str = "payment/ch_1";

/// A plan of one delivery that records the fact, under an ordering key of its own.
async fn told(world: &World, object: &str) -> portolan_domain::RunId {
    world.planned(object, vec![recording(world, object, FACT)]).await
}

fn recording(world: &World, key: &str, fact: &str) -> NewDelivery {
    NewDelivery { once: Some(fact.to_owned()), ..world.a_delivery(key, &[]) }
}

pub async fn s14_a_fact_told_twice_is_recorded_once(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    told(&world, "pi_1").await;
    let second = told(&world, "ch_1").await;
    world.planned("ch_2", vec![recording(&world, "ch_2", "payment/ch_2")]).await;
    let claims = world.claim_deliveries(START).await;
    let keys: Vec<_> = claims.iter().map(|claim| claim.key.as_str()).collect();
    assert_eq!(keys, ["pi_1", "ch_2"], "the fact is being recorded; another fact is not concerned");
    assert!(world.claim_deliveries(at(1)).await.is_empty(), "still under way");
    world.finish_delivery(&claims[0], delivered(json!({"number": "4711"})), at(1)).await;
    let twin = world.claim_delivery(at(2)).await;
    assert_eq!((twin.key.as_str(), twin.attempt), ("ch_1", 1), "waiting is no attempt");
    assert_eq!(twin.made, Some(json!({"number": "4711"})));
    let end =
        DeliveryEnd::Delivered { response: twin.made.clone().unwrap(), adopted: true, references: vec![] };
    world.finish_delivery(&twin, end, at(2)).await;
    assert_eq!(world.delivery(&second, "ch_1").await.once.as_deref(), Some(FACT));
    let third = told(&world, "cs_1").await;
    assert!(world.claim_delivery(at(3)).await.made.is_some(), "however late it is told");
    assert_eq!(world.delivery_state(&third, "cs_1").await, DeliveryState::Leased);
}

pub async fn s14_doubt_about_a_fact_passes_to_who_records_it_next(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    told(&world, "pi_1").await;
    told(&world, "ch_1").await;
    let first = world.claim_delivery(START).await;
    let failure = CallFailure::ambiguous("timeout", "no answer");
    let end = DeliveryEnd::Retry { due_at: at(100), failure, alerts: vec![] };
    world.finish_delivery(&first, end, at(5)).await;
    let second = world.claim_delivery(at(10)).await;
    assert_eq!((second.key.as_str(), second.in_doubt, second.doubt_since), ("ch_1", true, Some(at(5))));
    assert_eq!(second.made, None);
    assert_eq!(second.begun_at, START, "its idempotency key is as old as the first use of it");
    let failure = CallFailure::retryable("busy", "busy");
    world
        .finish_delivery(&second, DeliveryEnd::Retry { due_at: at(200), failure, alerts: vec![] }, at(11))
        .await;
    let first = world.claim_delivery(at(100)).await;
    assert_eq!((first.key.as_str(), first.doubt_since), ("pi_1", Some(at(5))));
    world.finish_delivery(&first, delivered(json!({"number": 1})), at(101)).await;
    assert_eq!(world.claim_delivery(at(200)).await.made, Some(json!({"number": 1})));
}

pub async fn s14_a_dead_delivery_leaves_the_fact_to_the_next(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    told(&world, "pi_1").await;
    told(&world, "ch_1").await;
    let first = world.claim_delivery(START).await;
    world.finish_delivery(&first, dead(), START).await;
    let second = world.claim_delivery(at(1)).await;
    assert_eq!((second.key.as_str(), second.in_doubt, second.made.clone()), ("ch_1", false, None));
    world.finish_delivery(&second, delivered(json!({"number": 2})), at(1)).await;
    world.store.delivery_redrive(&world.scope, &first.id, decision(at(2))).await.unwrap();
    assert_eq!(
        world.claim_delivery(at(2)).await.made,
        Some(json!({"number": 2})),
        "nothing is sent for it now"
    );
}

pub async fn s14_a_fact_belongs_to_its_connection(place: &dyn Place) {
    let store = place.open().await;
    let (one, other) = (World::new(store.clone()).await, World::new(store).await);
    told(&one, "ch_1").await;
    told(&other, "ch_1").await;
    let claims = one.claim_deliveries(START).await;
    assert_eq!(claims.len(), 2, "another tenant's fact of the same name is another fact");
}
