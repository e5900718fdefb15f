//! Polls.

use std::time::Duration;

use portolan_domain::{SourceId, contract::Severity};
use serde_json::{Value, json};

use super::{
    Place,
    world::{LEASE_MS, START, World, alert, at, why},
};
use crate::{
    Finish, StoreError,
    poll::{PollClaim, PollEnd, Sight},
    source::{PolledSettings, Source, SourceChange},
};

const MINUTE: Option<Duration> = Some(Duration::from_secs(60));

async fn claim(world: &World, seconds: u64) -> Vec<PollClaim> {
    world.store.poll_claim("one", at(seconds), LEASE_MS, 10).await.unwrap()
}

fn done(cursor: Value) -> PollEnd {
    PollEnd { cursor, due_at: None, failure: None, alerts: vec![] }
}

pub async fn a_source_is_asked_at_once_and_then_regularly(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let (store, scope, source) = (&world.store, &world.scope, &world.source);
    assert_eq!(store.poll_state(scope, source).await.unwrap(), None);
    store.poll_schedule(scope, source, MINUTE, START).await.unwrap();
    let first = claim(&world, 0).await.remove(0);
    assert_eq!((&first.source, &first.cursor, first.failures), (source, &Value::Null, 0));
    assert!(claim(&world, 1).await.is_empty(), "one owner at a time");
    assert_eq!(store.poll_finish(&first, scope, done(json!({"at": 7})), at(2)).await.unwrap(), Finish::Done);
    assert_eq!(store.poll_next_due().await.unwrap(), Some(at(62)));
    assert!(claim(&world, 61).await.is_empty());
    let second = claim(&world, 62).await.remove(0);
    assert_eq!(second.cursor, json!({"at": 7}));
    let end = PollEnd {
        due_at: Some(at(70)),
        failure: Some(why("refused")),
        alerts: vec![alert(Severity::Warning, at(63))],
        ..done(json!({"at": 8}))
    };
    assert_eq!(store.poll_finish(&second, scope, end, at(63)).await.unwrap(), Finish::Done);
    let state = store.poll_state(scope, source).await.unwrap().unwrap();
    assert_eq!((state.asked_at, state.failures, state.due_at), (Some(at(2)), 1, at(70)));
    assert_eq!(state.reason, why("refused"));
    let third = claim(&world, 70).await.remove(0);
    assert_eq!((third.cursor.clone(), third.failures), (json!({"at": 8}), 1));
    assert_eq!(store.poll_finish(&third, scope, done(json!({"at": 9})), at(71)).await.unwrap(), Finish::Done);
    assert_eq!(store.poll_state(scope, source).await.unwrap().unwrap().failures, 0);
    store.poll_schedule(scope, source, None, at(72)).await.unwrap();
    assert!(claim(&world, 10_000).await.is_empty(), "it is not asked any more");
}

pub async fn s5_a_late_owner_cannot_move_the_cursor(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let (store, scope) = (&world.store, &world.scope);
    store.poll_schedule(scope, &world.source, MINUTE, START).await.unwrap();
    let first = claim(&world, 0).await.remove(0);
    let second = claim(&world, LEASE_MS / 1000).await.remove(0);
    assert!(second.lease.epoch > first.lease.epoch);
    assert_eq!(store.poll_finish(&first, scope, done(json!(1)), at(31)).await.unwrap(), Finish::LeaseLost);
    assert_eq!(store.poll_finish(&second, scope, done(json!(2)), at(32)).await.unwrap(), Finish::Done);
    store.poll_schedule(scope, &world.source, MINUTE, at(40)).await.unwrap();
    let third = claim(&world, 40).await.remove(0);
    assert_eq!(third.cursor, json!(2), "a changed pause keeps the cursor");
    assert_eq!(store.leases_end_foreign("two", &[], at(41)).await.unwrap(), 1);
    assert_eq!(claim(&world, 41).await.len(), 1);
}

pub async fn s11_another_scopes_source_is_not_scheduled(place: &dyn Place) {
    let store = place.open().await;
    let (one, other) = (World::new(store.clone()).await, World::new(store).await);
    let refused = one.store.poll_schedule(&one.scope, &other.source, MINUTE, START).await;
    assert!(matches!(refused, Err(StoreError::NotFound)));
    assert!(matches!(one.store.poll_state(&one.scope, &other.source).await, Err(StoreError::NotFound)));
}

/// Settings that say how often the source is asked.
fn settings(poll: Option<Duration>) -> SourceChange {
    let settings = PolledSettings { settings: json!({ "polled": poll.is_some() }), poll };
    SourceChange { settings: Some(settings), ..SourceChange::default() }
}

pub async fn a_source_and_how_often_it_is_asked_are_stored_as_one(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let (store, scope) = (&world.store, &world.scope);
    let polled = Source { id: SourceId::generate(START), ..world.a_source("polled") };
    store.source_create(polled.clone(), MINUTE).await.unwrap();
    let first = claim(&world, 0).await.remove(0);
    assert_eq!(first.source, polled.id, "asked at once");
    assert_eq!(store.poll_finish(&first, scope, done(json!(7)), at(1)).await.unwrap(), Finish::Done);
    let secrets = SourceChange { sealed_secrets: Some(vec![9]), ..SourceChange::default() };
    store.source_update(scope, &polled.id, secrets, at(2)).await.unwrap();
    assert_eq!(store.poll_state(scope, &polled.id).await.unwrap().unwrap().due_at, at(61), "it stays");
    store.source_update(scope, &polled.id, settings(MINUTE), at(3)).await.unwrap();
    let again = claim(&world, 3).await.remove(0);
    assert_eq!(again.cursor, json!(7), "asked at once, from where it was");
    store.source_update(scope, &polled.id, settings(None), at(4)).await.unwrap();
    assert_eq!(store.poll_state(scope, &polled.id).await.unwrap(), None);
    let kept = Source { settings: json!({ "polled": false }), sealed_secrets: vec![9], ..polled };
    assert_eq!(store.source_at(&kept.id).await.unwrap(), kept);

    let other = World::new(world.store.clone()).await;
    let refused = store.source_update(scope, &other.source, settings(MINUTE), at(5)).await;
    assert!(matches!(refused, Err(StoreError::NotFound)));
    let twin = Source { id: SourceId::generate(START), ..world.a_source("hooks") };
    assert!(matches!(store.source_create(twin, MINUTE).await, Err(StoreError::Conflict(_))));
    assert!(claim(&world, 10_000).await.is_empty(), "what was refused is not asked");
}

pub async fn what_was_seen_of_an_object_is_remembered(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let (store, source) = (&world.store, &world.source);
    assert_eq!(store.poll_sight(source, "ROSE01").await.unwrap(), None);
    for number in 1..=2 {
        let sight = Sight { version: format!("v{number}"), number };
        store.poll_saw(source, "ROSE01", sight.clone()).await.unwrap();
        assert_eq!(store.poll_sight(source, "ROSE01").await.unwrap(), Some(sight));
    }
    assert_eq!(store.poll_sight(source, "LOVE01").await.unwrap(), None);
}
