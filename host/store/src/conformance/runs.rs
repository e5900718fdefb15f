//! Runs.

use portolan_domain::{
    contract::Severity,
    state::{DeliveryState, RunState},
};

use super::{
    Place,
    world::{
        LEASE_MS, START, World, alert, at, dead, decision, held, plan, record, reference, reference_key,
        request, why,
    },
};
use crate::{Finish, Page, StoreError, run::RunEnd};

pub async fn s4_a_plan_is_stored_whole_or_not_at_all(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let (_, run) = world.accept("ch_1").await;
    let claim = world.claim_run(START).await;
    let end = |after: &[&str]| RunEnd::Planned {
        deliveries: vec![world.a_delivery("order", &[]), world.a_delivery("payment", after)],
        ordering_key: "ch_1".to_owned(),
        references: vec![reference("0000012345")],
        alerts: vec![alert(Severity::Info, START)],
        held: None,
    };
    let store = &world.store;
    let broken = store.run_finish(&run, &claim.lease, record(), end(&["nothing"]), START).await;
    assert!(matches!(broken, Err(StoreError::Conflict(_))), "{broken:?}");
    assert_eq!(world.run_state(&run).await, RunState::Leased);
    assert!(store.delivery_of_run(&world.scope, &run).await.unwrap().is_empty());
    assert!(store.reference_find(&world.scope, &reference_key()).await.unwrap().is_empty());
    assert!(
        store
            .alert_list(&world.scope, crate::alert::AlertFilter::unresolved(), Page::default())
            .await
            .unwrap()
            .is_empty()
    );

    world.finish_run(&claim, end(&["order"]), at(1)).await;
    let stored = store.run_get(&world.scope, &run).await.unwrap();
    assert_eq!(stored.state, RunState::Planned);
    let kept = record();
    assert_eq!((stored.module, stored.outcome, stored.facts), (kept.module, kept.outcome, kept.facts));
    assert_eq!((stored.log, stored.cost), (kept.log, kept.cost));
    assert_eq!(store.delivery_of_run(&world.scope, &run).await.unwrap().len(), 2);
    let known = store.reference_find(&world.scope, &reference_key()).await.unwrap();
    assert_eq!(known.get("sap-ecc").map(String::as_str), Some("0000012345"));
    let back = store.reference_reverse(&world.scope, "sap-ecc", "0000012345").await.unwrap();
    assert_eq!((back[0].key.clone(), back[0].event.clone()), (reference_key(), claim.event.id));
    assert_eq!(
        store
            .alert_list(&world.scope, crate::alert::AlertFilter::unresolved(), Page::default())
            .await
            .unwrap()
            .len(),
        1
    );
}

pub async fn s5_a_late_owner_cannot_finish_a_lost_run(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let (_, run) = world.accept("ch_1").await;
    let first = world.claim_run(START).await;
    assert!(world.claim_runs(at(1)).await.is_empty(), "one owner at a time");
    let later = START.plus(std::time::Duration::from_millis(LEASE_MS));
    let second = world.store.run_claim(request("two", later)).await.unwrap().remove(0);
    assert!(second.lease.epoch > first.lease.epoch);

    let end = RunEnd::Skipped { reason: why("late") };
    let late = world.store.run_finish(&run, &first.lease, record(), end.clone(), later).await.unwrap();
    assert_eq!(late, Finish::LeaseLost);
    assert_eq!(world.run_state(&run).await, RunState::Leased);
    world.finish_run(&second, end.clone(), later).await;
    let twice = world.store.run_finish(&run, &second.lease, record(), end, later).await.unwrap();
    assert_eq!(twice, Finish::LeaseLost, "a lease ends with its finish");
}

pub async fn being_deferred_is_no_failure(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    world.accept("ch_1").await;
    let retried = |s| RunEnd::Retried { due_at: at(s), reason: why("not-connected") };
    let deferred = |s| RunEnd::Deferred { due_at: at(s), reason: why("deferred") };
    let ends = [deferred(1), deferred(2), retried(3), retried(4), deferred(5), retried(6)];
    for (second, (end, failures)) in (0..).zip(ends.into_iter().zip([0, 0, 0, 1, 2, 0])) {
        let claim = world.claim_run(at(second)).await;
        assert_eq!((u64::from(claim.attempt), claim.failures), (second + 1, failures));
        world.finish_run(&claim, end, at(second)).await;
    }
    assert_eq!(world.claim_run(at(6)).await.failures, 1);
}

pub async fn to_be_postponed_is_no_failure_but_keeps_the_order(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let (_, first) = world.accept("ch_1").await;
    let (_, second) = world.accept("ch_1").await;
    for tried in 0..3 {
        let claim = world.claim_run(at(tried)).await;
        assert_eq!((&claim.id, claim.failures), (&first, 0), "what came later waits");
        let postponed = RunEnd::Postponed { due_at: at(tried + 1), reason: why("credentials-refused") };
        world.finish_run(&claim, postponed, at(tried)).await;
    }
    let claim = world.claim_run(at(3)).await;
    world.finish_run(&claim, RunEnd::Skipped { reason: why("nothing to do") }, at(3)).await;
    assert_eq!(world.claim_run(at(4)).await.id, second);
}

pub async fn s6_an_ended_lease_makes_the_run_one_process_death_richer(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    world.accept("ch_1").await;
    for deaths in 0..3 {
        let claim = world.claim_run(at(u64::from(deaths) * LEASE_MS / 1_000)).await;
        assert_eq!((claim.process_deaths, claim.attempt), (deaths, deaths + 1));
    }
    let ends = world.store.run_next_due(at(61)).await.unwrap();
    assert_eq!(ends, Some(at(90)), "a lease's end is when something becomes due");
}

pub async fn s7_a_final_run_stays_final(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let (_, run) = world.accept("ch_1").await;
    let claim = world.claim_run(START).await;
    world.finish_run(&claim, RunEnd::Skipped { reason: why("nothing to do") }, START).await;
    let (store, scope) = (&world.store, &world.scope);
    for refused in [
        store.run_redrive(scope, &run, decision(START)).await,
        store.run_approve(scope, &run, decision(START)).await.map(drop),
        store.run_refuse(scope, &run, decision(START)).await,
    ] {
        assert!(matches!(refused, Err(StoreError::Conflict(_))));
    }
    assert!(world.claim_runs(at(1_000)).await.is_empty());
    assert_eq!(world.run_state(&run).await, RunState::Skipped);
}

pub async fn s9_a_later_run_of_an_object_waits_for_the_earlier_one(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let (_, first) = world.accept("ch_1").await;
    let (_, second) = world.accept("ch_1").await;
    let (_, other) = world.accept("ch_2").await;
    let claims = world.claim_runs(START).await;
    let ids: Vec<_> = claims.iter().map(|claim| claim.id.clone()).collect();
    assert_eq!(ids, [first, other]);
    let retry = RunEnd::Retried { due_at: at(10), reason: why("unavailable") };
    world.finish_run(&claims[0], retry, START).await;
    assert!(world.claim_runs(at(9)).await.is_empty(), "a retried run still comes first");
    let again = world.claim_run(at(10)).await;
    world.finish_run(&again, plan("ch_1", vec![world.a_delivery("a", &[])]), at(10)).await;
    assert!(world.claim_runs(at(10)).await.is_empty(), "what it planned is not there yet");
    let delivery = world.claim_delivery(at(10)).await;
    world.finish_delivery(&delivery, dead(), at(10)).await;
    assert!(world.claim_runs(at(11)).await.is_empty(), "a dead delivery can still be made");
    world.store.delivery_cancel(&world.scope, &delivery.id, decision(at(12))).await.unwrap();
    assert_eq!(world.claim_run(at(12)).await.id, second, "a later one sees what came of it");
}

pub async fn s9_a_deferred_run_does_not_block_later_ones(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let (_, refund) = world.accept("ch_1").await;
    let (_, charge) = world.accept("ch_1").await;
    let (_, third) = world.accept("ch_1").await;
    let claim = world.claim_run(START).await;
    world.finish_run(&claim, RunEnd::Deferred { due_at: at(10), reason: why("no charge yet") }, START).await;
    let of_charge = world.claim_run(at(1)).await;
    assert_eq!(of_charge.id, charge);
    let deferred = world.claim_run(at(10)).await;
    assert_eq!(deferred.id, refund, "its own order does not hold it back: it is the first");
    world.finish_run(&of_charge, RunEnd::Skipped { reason: why("done") }, at(10)).await;
    assert!(world.claim_runs(at(10)).await.is_empty(), "while it is leased, it blocks");
    world.finish_run(&deferred, RunEnd::Skipped { reason: why("done") }, at(11)).await;
    assert_eq!(world.claim_run(at(11)).await.id, third);
}

pub async fn s9_a_dead_or_held_run_blocks_later_ones_until_a_person_decides(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let (_, first) = world.accept("ch_1").await;
    let (_, second) = world.accept("ch_1").await;
    let claim = world.claim_run(START).await;
    world.finish_run(&claim, RunEnd::Dead { reason: why("trap"), alerts: vec![] }, START).await;
    assert!(world.claim_runs(START).await.is_empty());
    world.store.run_redrive(&world.scope, &first, decision(START)).await.unwrap();
    let claim = world.claim_run(START).await;
    assert_eq!(claim.id, first);
    world.finish_run(&claim, held("ch_1", vec![], vec![]), START).await;
    assert!(world.claim_runs(START).await.is_empty());
    world.store.run_refuse(&world.scope, &first, decision(START)).await.unwrap();
    assert_eq!(world.claim_run(START).await.id, second);
}

pub async fn a_plan_without_deliveries_is_delivered(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let run = world.planned("ch_1", vec![]).await;
    assert_eq!(world.run_state(&run).await, RunState::Delivered);
}

pub async fn a_held_plan_goes_out_on_approval_with_its_references(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let (_, run) = world.accept("ch_1").await;
    let claim = world.claim_run(START).await;
    let deliveries = vec![world.a_delivery("order", &[]), world.a_delivery("payment", &["order"])];
    world.finish_run(&claim, held("ch_1", deliveries, vec![reference("1")]), START).await;
    assert_eq!(world.run_state(&run).await, RunState::Held);
    assert_eq!(world.delivery_state(&run, "order").await, DeliveryState::Held);
    assert!(world.claim_deliveries(START).await.is_empty());
    assert!(world.store.reference_find(&world.scope, &reference_key()).await.unwrap().is_empty());

    world.store.run_approve(&world.scope, &run, decision(at(1))).await.unwrap();
    assert_eq!(world.run_state(&run).await, RunState::Planned);
    assert_eq!(world.store.reference_find(&world.scope, &reference_key()).await.unwrap().len(), 1);
    assert_eq!(world.claim_delivery(at(1)).await.key, "order");
    assert_eq!(world.delivery_state(&run, "payment").await, DeliveryState::Waiting);
    let twice = world.store.run_approve(&world.scope, &run, decision(at(2))).await;
    assert!(matches!(twice, Err(StoreError::Conflict(_))));
}

pub async fn a_refused_plan_never_goes_out(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let (_, run) = world.accept("ch_1").await;
    let claim = world.claim_run(START).await;
    let deliveries = vec![world.a_delivery("order", &[])];
    world.finish_run(&claim, held("ch_1", deliveries, vec![reference("1")]), START).await;
    world.store.run_refuse(&world.scope, &run, decision(at(1))).await.unwrap();
    let stored = world.store.run_get(&world.scope, &run).await.unwrap();
    assert_eq!(stored.state, RunState::Refused);
    assert_eq!(stored.reason["by"], "key_of_anna");
    assert_eq!(world.delivery_state(&run, "order").await, DeliveryState::Cancelled);
    assert!(world.claim_deliveries(at(1)).await.is_empty());
    assert!(world.store.reference_find(&world.scope, &reference_key()).await.unwrap().is_empty());
}

pub async fn a_redriven_run_begins_to_count_anew(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let (_, run) = world.accept("ch_1").await;
    world.claim_run(START).await;
    let second = world.claim_run(at(30)).await;
    world.finish_run(&second, RunEnd::Dead { reason: why("deaths"), alerts: vec![] }, at(30)).await;
    world.store.run_redrive(&world.scope, &run, decision(at(31))).await.unwrap();
    let again = world.claim_run(at(31)).await;
    assert_eq!((again.attempt, again.process_deaths), (1, 0));
    assert!(again.lease.epoch > second.lease.epoch, "but epochs only rise");
}

pub async fn a_postponed_run_is_claimed_when_its_time_has_come(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    world.accept("ch_1").await;
    assert_eq!(world.store.run_next_due(START).await.unwrap(), None, "what is due now waits for no time");
    let claim = world.claim_run(START).await;
    world.finish_run(&claim, RunEnd::Retried { due_at: at(60), reason: why("later") }, START).await;
    assert_eq!(world.store.run_next_due(START).await.unwrap(), Some(at(60)));
    assert!(world.claim_runs(at(59)).await.is_empty());
    assert_eq!(world.claim_run(at(60)).await.attempt, 2);
}
