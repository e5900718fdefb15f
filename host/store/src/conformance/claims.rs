//! Claims across tenants and connections, and what happens to them at a start.

use std::collections::BTreeMap;

use portolan_domain::{
    AlertId, ModuleDigest, TenantId,
    contract::Severity,
    state::{DeliveryState, RunState},
};
use serde_json::Value;

use super::{
    Place,
    world::{START, World, at, dead, decision, plan, request, why},
};
use crate::{
    ClaimRequest,
    alert::NewAlert,
    backlog::{Backlog, Whose},
    run::{Executing, ModuleDeaths, RunClaim, RunEnd},
};

pub async fn s8_a_large_backlog_does_not_delay_another_tenant(place: &dyn Place) {
    let large = World::new(place.open().await).await;
    let small = World::new(large.store.clone()).await;
    for number in 0..20 {
        large.accept(&format!("ch_{number}")).await;
    }
    let (_, urgent) = small.accept("ch_1").await;
    let claims = large.store.run_claim(ClaimRequest { rows_max: 2, ..request("one", START) }).await.unwrap();
    assert!(claims.iter().any(|claim| claim.id == urgent), "the small tenant is served in the first round");

    for claim in &claims {
        let world = if claim.event.scope == small.scope { &small } else { &large };
        let deliveries = (0..5).map(|n| world.a_delivery(&format!("d{n}"), &[])).collect();
        world.finish_run(claim, plan("k", deliveries), START).await;
    }
    let claims =
        large.store.delivery_claim(ClaimRequest { rows_max: 4, ..request("one", START) }).await.unwrap();
    let of_small = claims.iter().filter(|claim| claim.scope == small.scope).count();
    assert_eq!((claims.len(), of_small), (4, 2), "each tenant gets every other one");
}

pub async fn s8_turns_go_on_from_claim_to_claim(place: &dyn Place) {
    let store = place.open().await;
    let mut worlds = Vec::new();
    for _ in 0..3 {
        let world = World::new(store.clone()).await;
        for number in 0..4 {
            world.accept(&format!("ch_{number}")).await;
        }
        worlds.push(world);
    }
    let mut served = BTreeMap::new();
    for round in 1..=4 {
        for _ in 0..3 {
            let one = ClaimRequest { rows_max: 1, ..request("one", START) };
            let claims = store.run_claim(one).await.unwrap();
            *served.entry(claims[0].event.scope.clone()).or_insert(0) += 1;
        }
        assert!(worlds.iter().all(|world| served.get(&world.scope) == Some(&round)), "{served:?}");
    }
}

pub async fn claims_respect_the_room_of_each_lane(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let other = World::new(world.store.clone()).await;
    for number in 0..3 {
        world.accept(&format!("ch_{number}")).await;
        other.accept(&format!("ch_{number}")).await;
    }
    let room = BTreeMap::from([(world.scope.tenant.to_string(), 0)]);
    let narrow = ClaimRequest { room, lane_room: 2, ..request("one", START) };
    let claims = world.store.run_claim(narrow).await.unwrap();
    assert_eq!(claims.len(), 2);
    assert!(claims.iter().all(|claim| claim.event.scope == other.scope));

    let slow = other.another_connection("slow").await;
    let mut deliveries: Vec<_> = (0..3).map(|n| other.a_delivery(&format!("d{n}"), &[])).collect();
    deliveries.extend((3..6).map(|n| {
        let mut delivery = other.a_delivery(&format!("d{n}"), &[]);
        delivery.connection = slow.clone();
        delivery
    }));
    other.finish_run(&claims[0], plan("k", deliveries), START).await;
    let room = BTreeMap::from([(slow.to_string(), 1)]);
    let narrow = ClaimRequest { room, lane_room: 2, ..request("one", START) };
    let claims = world.store.delivery_claim(narrow).await.unwrap();
    assert_eq!(claims.iter().filter(|claim| claim.connection == slow).count(), 1);
    assert_eq!(claims.iter().filter(|claim| claim.connection == other.connection).count(), 2);
}

pub async fn starting_ends_the_leases_of_the_dead(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let planned = world.planned("ch_1", vec![world.a_delivery("order", &[])]).await;
    let delivery = world.claim_delivery(START).await;
    world.accept("ch_2").await;
    let run = world.claim_run(START).await;
    assert_eq!(world.store.leases_end_foreign("one", &[], START).await.unwrap(), 0, "its own leases go on");

    assert_eq!(world.store.leases_end_foreign("two", &[], at(1)).await.unwrap(), 2);
    let again = world.claim_run(at(1)).await;
    assert_eq!(
        (again.id, again.process_deaths, again.attempt),
        (run.id, 0, 1),
        "it was not even being executed"
    );
    let again = world.claim_delivery(at(1)).await;
    assert_eq!((again.id.clone(), again.in_doubt, again.attempt), (delivery.id, true, 2));
    let attempts = world.store.delivery_attempts(&world.scope, &again.id).await.unwrap();
    assert_eq!(attempts[0].verdict.as_deref(), Some("abandoned"));
    assert_eq!(world.delivery_state(&planned, "order").await, DeliveryState::Leased);
}

pub async fn s6_a_death_counts_for_those_only_whose_module_was_being_executed(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    for object in ["ch_1", "ch_2", "ch_3"] {
        world.accept(object).await;
    }
    let claims = world.claim_runs(START).await;
    let module = ModuleDigest::of(b"m");
    let executing = |claim: &RunClaim| Executing { run: claim.id.clone(), module: module.clone() };
    let store = &world.store;
    // Two of three at once: both are suspects, and nobody knows which module it was.
    let another = Executing { run: claims[1].id.clone(), module: ModuleDigest::of(b"another") };
    store.leases_end_foreign("two", &[executing(&claims[0]), another], at(1)).await.unwrap();
    assert!(store.run_module_deaths().await.unwrap().is_empty());
    let again = store.run_claim(request("two", at(1))).await.unwrap();
    let seen: Vec<_> = again.iter().map(|c| (c.process_deaths, c.suspect, c.attempt)).collect();
    assert_eq!(seen, [(1, true, 1), (1, true, 1), (0, false, 1)]);
    // One that has answered is cleared.
    world.finish_run(&again[1], RunEnd::Retried { due_at: at(2), reason: why("later") }, at(1)).await;
    let retried = store.run_claim(request("two", at(2))).await.unwrap().remove(0);
    assert!(retried.suspect, "it may not have been called");
    world.finish_run(&retried, RunEnd::Deferred { due_at: at(3), reason: why("waits") }, at(2)).await;
    let deferred = store.run_claim(request("two", at(3))).await.unwrap().remove(0);
    assert_eq!((deferred.process_deaths, deferred.suspect), (0, false));
    // Alone: its module is to blame, too.
    store.leases_end_foreign("three", &[executing(&claims[0])], at(4)).await.unwrap();
    let deaths = store.run_module_deaths().await.unwrap();
    assert_eq!(
        deaths,
        [ModuleDeaths { tenant: world.scope.tenant.clone(), module: module.clone(), deaths: 1 }]
    );
    let third = store.run_claim(request("three", at(4))).await.unwrap().remove(0);
    assert_eq!((third.id.clone(), third.process_deaths, third.attempt), (claims[0].id.clone(), 2, 1));
    // A repeat of the same testimony, as after a crash in the middle of a start, counts nothing twice.
    world.finish_run(&third, RunEnd::Dead { reason: why("deaths"), alerts: vec![] }, at(4)).await;
    store.leases_end_foreign("four", &[executing(&claims[0])], at(5)).await.unwrap();
    let dead = store.run_get(&world.scope, &third.id).await.unwrap();
    assert_eq!((dead.state, dead.process_deaths), (RunState::Dead, 2));
    // A person gives both another chance, but the run stays alone.
    store.run_redrive(&world.scope, &third.id, decision(at(6))).await.unwrap();
    assert!(store.run_module_deaths().await.unwrap().is_empty());
    let redriven = store.run_claim(request("four", at(6))).await.unwrap();
    let redriven = redriven.iter().find(|claim| claim.id == third.id).unwrap();
    assert_eq!((redriven.process_deaths, redriven.suspect), (0, true));
}

pub async fn the_backlog_counts_what_is_not_final(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let run = world.planned("ch_1", vec![world.a_delivery("a", &[]), world.a_delivery("b", &["a"])]).await;
    let claim = world.claim_delivery(START).await;
    world.finish_delivery(&claim, dead(), START).await;
    world.accept("ch_2").await;
    let claim = world.claim_run(START).await;
    world.finish_run(&claim, RunEnd::Skipped { reason: why("nothing") }, START).await;
    world.accept("ch_3").await;
    let alert = NewAlert {
        id: AlertId::generate(START),
        severity: Severity::Critical,
        code: "connection-down".to_owned(),
        title: "down".to_owned(),
        detail: Value::Null,
        at: START,
    };
    world.store.alert_raise(&world.scope, alert).await.unwrap();
    let expected = Backlog {
        runs: [(RunState::Pending, 1), (RunState::Planned, 1)].into(),
        deliveries: [(DeliveryState::Waiting, 1), (DeliveryState::Dead, 1)].into(),
        alerts: [(Severity::Critical, 1)].into(),
    };
    let these = Whose::These(vec![world.scope.tenant.clone()]);
    for whose in [Whose::All, these] {
        assert_eq!(
            world.store.backlog(whose).await.unwrap(),
            [(world.scope.clone(), expected.clone())].into()
        );
    }
    let others = Whose::These(vec![TenantId::generate(START)]);
    assert!(world.store.backlog(others.clone()).await.unwrap().is_empty());
    let oldest = world.store.oldest_work(Whose::All).await.unwrap();
    assert_eq!(oldest.len(), 1, "{oldest:?}");
    assert!(world.store.oldest_work(others).await.unwrap().is_empty());
    assert_eq!(world.run_state(&run).await, RunState::Planned);
}
