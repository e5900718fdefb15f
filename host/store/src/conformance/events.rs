//! Events.

use std::time::Duration;

use portolan_domain::{EventId, RunId, SourceId, state::EventState};

use super::{
    Place,
    world::{START, World, request},
};
use crate::{
    Page, StoreError,
    event::{Accepted, EventFilter, NewRun},
};

pub async fn s1_what_was_acknowledged_is_there_after_reopening(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let event = world.an_event(Some("ch_1"));
    world.store.event_accept(event.clone(), vec![world.a_run()]).await.unwrap();
    let World { scope, store, .. } = world;
    drop(store);
    let store = place.open().await;
    assert_eq!(store.event_get(&scope, &event.id).await.unwrap(), event);
    let claims = store.run_claim(request("next", START)).await.unwrap();
    assert_eq!(claims.len(), 1);
    assert_eq!(claims[0].event, event);
}

pub async fn s3_a_repeat_gets_the_first_events_id(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let first = world.an_event(Some("ch_1"));
    let mut repeat = world.an_event(Some("ch_1"));
    repeat.idempotency_key.clone_from(&first.idempotency_key);
    repeat.payload = b"other".to_vec();
    world.store.event_accept(first.clone(), vec![world.a_run()]).await.unwrap();
    let accepted = world.store.event_accept(repeat.clone(), vec![world.a_run()]).await.unwrap();
    assert_eq!(accepted, Accepted::Repeat(first.id.clone()));
    assert_eq!(world.store.event_get(&world.scope, &first.id).await.unwrap(), first);
    let repeat = world.store.event_get(&world.scope, &repeat.id).await;
    assert!(matches!(repeat, Err(StoreError::NotFound)));
    assert_eq!(world.claim_runs(START).await.len(), 1);
}

pub async fn s3_of_many_offers_at_once_one_is_new(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let offers = (0..16).map(|_| {
        let (world, mut event) = (world.clone(), world.an_event(None));
        event.idempotency_key = "evt_of_stripe".to_owned();
        tokio::spawn(async move {
            let run = world.a_run();
            (event.id.clone(), world.store.event_accept(event, vec![run]).await.unwrap())
        })
    });
    let mut new = Vec::new();
    let mut repeats = Vec::new();
    for offer in offers.collect::<Vec<_>>() {
        match offer.await.unwrap() {
            (id, Accepted::New) => new.push(id),
            (_, Accepted::Repeat(first)) => repeats.push(first),
        }
    }
    assert_eq!((new.len(), repeats.len()), (1, 15));
    assert!(repeats.iter().all(|first| *first == new[0]));
}

pub async fn s4_an_event_is_stored_with_its_runs_or_not_at_all(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let other = World::new(world.store.clone()).await;
    let event = world.an_event(Some("ch_1"));
    let foreign = NewRun { id: RunId::generate(START), mapping: other.mapping.clone() };
    let refused = world.store.event_accept(event.clone(), vec![world.a_run(), foreign]).await;
    assert!(matches!(refused, Err(StoreError::NotFound)), "{refused:?}");
    let gone = world.store.event_get(&world.scope, &event.id).await;
    assert!(matches!(gone, Err(StoreError::NotFound)));
    assert!(world.claim_runs(START).await.is_empty());
    assert_eq!(world.store.event_accept(event, vec![world.a_run()]).await.unwrap(), Accepted::New);
}

pub async fn events_are_listed_by_what_they_are_about(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let mut dead = world.an_event(None);
    dead.state = EventState::Dead;
    dead.reason = Some("not JSON".to_owned());
    dead.kind = String::new();
    world.store.event_accept(dead.clone(), vec![]).await.unwrap();
    let about = world.an_event(Some("ch_2"));
    world.store.event_accept(about.clone(), vec![world.a_run()]).await.unwrap();

    let list = async |filter: EventFilter| {
        let events = world.store.event_list(&world.scope, filter, Page::default()).await.unwrap();
        assert!(events.iter().all(|event| event.payload.is_empty()));
        events.into_iter().map(|event| event.id).collect::<Vec<_>>()
    };
    let any = EventFilter::default();
    assert_eq!(list(any.clone()).await, [about.id.clone(), dead.id.clone()]);
    assert_eq!(
        list(EventFilter { state: Some(EventState::Dead), ..any.clone() }).await,
        std::slice::from_ref(&dead.id)
    );
    assert_eq!(
        list(EventFilter { state: Some(EventState::Routed), ..any.clone() }).await,
        std::slice::from_ref(&about.id)
    );
    assert_eq!(
        list(EventFilter { object_id: Some("ch_2".into()), ..any.clone() }).await,
        std::slice::from_ref(&about.id)
    );
    let key = Some(dead.idempotency_key.clone());
    assert_eq!(
        list(EventFilter { idempotency_key: key, ..any.clone() }).await,
        std::slice::from_ref(&dead.id)
    );
    assert_eq!(
        list(EventFilter { kind: Some("charge.succeeded".into()), ..any.clone() }).await,
        std::slice::from_ref(&about.id)
    );
    // By when they were received, hours apart; their ids begin with that time.
    let mut later = world.an_event(Some("ch_3"));
    later.received_at = START.plus(Duration::from_secs(7_200));
    later.id = EventId::generate(later.received_at);
    world.store.event_accept(later.clone(), vec![]).await.unwrap();
    let between = |since: u64, until: u64| EventFilter {
        since: Some(START.plus(Duration::from_secs(since))),
        until: Some(START.plus(Duration::from_secs(until))),
        source: Some(later.source.clone()),
        ..EventFilter::default()
    };
    assert_eq!(list(between(0, 7_200)).await, [about.id.clone(), dead.id.clone()]);
    assert_eq!(list(between(1, 7_201)).await, std::slice::from_ref(&later.id));
    assert_eq!(list(between(0, 7_201)).await.len(), 3);
    assert_eq!(list(between(7_201, 9_000)).await, []);
    let elsewhere = EventFilter { source: Some(SourceId::generate(START)), ..any };
    assert_eq!(list(elsewhere).await, []);
}
