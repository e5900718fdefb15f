//! What tenants use, how long things are kept, and the life of a tenant.

use std::time::Duration;

use portolan_domain::{
    KeyId, ModuleDigest, TenantId, Timestamp,
    quota::QuotaChange,
    retention::RetentionChange,
    state::{DeliveryState, EventState, RunState, TenantState},
    usage::{Period, Usage},
};
use serde_json::json;

use super::{
    Place,
    world::{START, World, at, dead, decision, delivered, held, plan, record, reference, reference_key, why},
};
use crate::{
    StoreError,
    audit::verify_all,
    event::{Accepted, Event, NewRun},
    key::{Key, Role},
    retention::{Noun, Step, TenantNoun},
    run::{NewDelivery, RunEnd},
    standing::Purged,
    tenant::Tenant,
    usage::UsageQuery,
};

fn days(days: u64) -> Timestamp {
    START.plus(Duration::from_secs(days * 86_400))
}

/// What counting the rows says is what was counted (S27).
pub async fn adds_up(world: &World) {
    let tenant = &world.scope.tenant;
    let (rows, stored) = world.store.usage_recount(tenant).await.unwrap();
    let counted = world.store.usage_total(Some(tenant)).await.unwrap();
    // What leaves no row is not to be found there.
    let without = Usage { repeats: 0, executions: 0, fuel: 0, guest_us: 0, calls: 0, ..counted };
    assert_eq!(without, rows);
    let known: Vec<_> =
        world.store.stored_bytes(Some(tenant)).await.unwrap().into_iter().filter(|s| s.bytes > 0).collect();
    let stored: Vec<_> = stored.into_iter().filter(|s| s.bytes > 0).collect();
    assert_eq!(known, stored);
}

/// Sweeps to the end.
async fn sweep(world: &World, noun: Noun, before: Timestamp) -> u64 {
    let step = Step { noun, before, now: before, rows_max: 3 };
    let mut removed = 0;
    loop {
        let swept = world.store.sweep(&world.scope, step).await.unwrap();
        removed += swept.removed;
        if !swept.more {
            return removed;
        }
    }
}

fn recording(world: &World, key: &str) -> NewDelivery {
    NewDelivery { once: Some("payment/ch_1".to_owned()), ..world.a_delivery(key, &[]) }
}

/// An event that led to one document.
async fn finished(world: &World, object: &str, delivery: NewDelivery) -> Event {
    let (event, run) = (world.an_event(Some(object)), world.a_run());
    world.store.event_accept(event.clone(), vec![run]).await.unwrap();
    let claim = world.claim_run(START).await;
    let end = RunEnd::Planned {
        deliveries: vec![delivery],
        ordering_key: object.to_owned(),
        references: vec![reference("100001")],
        alerts: vec![],
        held: None,
    };
    world.finish_run(&claim, end, START).await;
    let claim = world.claim_delivery(START).await;
    world.finish_delivery(&claim, delivered(json!({ "number": "4711" })), START).await;
    event
}

fn a_key(tenant: &TenantId, secret: u8) -> Key {
    Key {
        id: KeyId::generate(START),
        role: Role::TenantAdmin,
        tenant: Some(tenant.clone()),
        environment: None,
        name: "first key".to_owned(),
        secret_sha256: [secret; 32],
        created_at: START,
        expires_at: None,
        last_used_at: None,
    }
}

pub async fn a_tenant_and_its_first_key_are_stored_together(place: &dyn Place) {
    let store = place.open().await;
    let tenant = Tenant::new("one".to_owned(), START);
    store.tenant_create_with_key(tenant.clone(), a_key(&tenant.id, 7)).await.unwrap();
    assert!(store.key_find([7; 32]).await.unwrap().is_some());
    // The same secret again: neither is stored.
    let other = Tenant::new("two".to_owned(), START);
    let refused = store.tenant_create_with_key(other.clone(), a_key(&other.id, 7)).await;
    assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
    assert!(matches!(store.tenant_get(&other.id).await, Err(StoreError::NotFound)));
}

pub async fn what_is_set_for_a_tenant_reads_back(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let other = world.another_world().await;
    let (store, tenant) = (&world.store, &world.scope.tenant);
    let standing = store.standing(tenant).await.unwrap();
    assert_eq!((standing.tenant.state, standing.modules), (TenantState::Active, 1));
    assert!(store.standings_apart().await.unwrap().is_empty());
    let quotas = QuotaChange { runs_max: Some(2), ..QuotaChange::default() };
    let retention = RetentionChange { alerts_days: Some(7), ..RetentionChange::default() };
    store.quotas_put(tenant, quotas).await.unwrap();
    store.retention_put(tenant, retention).await.unwrap();
    let standing = store.standing(tenant).await.unwrap();
    assert_eq!((standing.quotas, standing.retention), (quotas, retention));
    let apart = store.standings_apart().await.unwrap();
    assert_eq!(apart.iter().map(|apart| &apart.tenant.id).collect::<Vec<_>>(), [tenant]);
    store.quotas_put(tenant, QuotaChange::default()).await.unwrap();
    assert!(store.standings_apart().await.unwrap().is_empty());
    assert_eq!(store.standing(&other.scope.tenant).await.unwrap().quotas, QuotaChange::default());
    let nobody = store.quotas_put(&TenantId::generate(START), quotas).await;
    assert!(matches!(nobody, Err(StoreError::NotFound)));
}

pub async fn s25_a_suspended_tenants_work_waits_until_it_is_resumed(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let other = world.another_world().await;
    world.planned("k", vec![world.a_delivery("d", &[])]).await;
    world.accept("ch_1").await;
    other.accept("ch_1").await;
    let tenant = &world.scope.tenant;
    world.store.tenant_suspend(tenant, decision(START)).await.unwrap();
    let claims = world.claim_runs(START).await;
    assert!(claims.iter().all(|claim| claim.event.scope == other.scope) && claims.len() == 1);
    assert!(world.claim_deliveries(START).await.is_empty());
    world.store.tenant_resume(tenant, decision(at(1))).await.unwrap();
    assert_eq!(world.claim_runs(at(1)).await.len(), 1);
    assert_eq!(world.claim_deliveries(at(1)).await.len(), 1);
    let again = world.store.tenant_resume(tenant, decision(at(2))).await;
    assert!(matches!(again, Err(StoreError::Conflict(_))));
}

async fn purge(world: &World) {
    let mut steps = 0;
    while world.store.tenant_purge(&world.scope.tenant, 8).await.unwrap() != Purged::All {
        steps += 1;
        assert!(steps < 1_000);
    }
}

pub async fn s26_a_removed_tenant_leaves_nothing_and_touches_nobody(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let other = world.another_world().await;
    let (store, tenant) = (&world.store, &world.scope.tenant);
    for world in [&world, &other] {
        finished(world, "ch_1", recording(world, "d")).await;
    }
    for world in [&world, &other] {
        world
            .planned("open", vec![world.a_delivery("open", &[]), world.a_delivery("later", &["open"])])
            .await;
    }
    for world in [&world, &other] {
        for object in 0..20 {
            world.accept(&format!("ch_{object}")).await;
        }
        let row = crate::lookup::LookupRow { key: "a".to_owned(), value: json!("b") };
        store.lookup_put(&world.scope, "t", vec![row]).await.unwrap();
    }
    let used = store.usage_total(None).await.unwrap();
    let before = store.usage_recount(&other.scope.tenant).await.unwrap();
    store.tenant_delete(tenant, days(30), decision(START)).await.unwrap();
    store.tenant_delete_confirm(tenant, decision(START)).await.unwrap();
    assert_eq!(store.tenants_to_purge(START).await.unwrap(), std::slice::from_ref(tenant));
    purge(&world).await;
    assert!(matches!(store.standing(tenant).await, Err(StoreError::NotFound)));
    assert_eq!(store.usage_recount(tenant).await.unwrap().0, Usage::default());
    assert!(store.audit_chains(Some(tenant)).await.unwrap()[tenant.as_str()].entries.is_empty());
    assert!(store.stored_bytes(Some(tenant)).await.unwrap().is_empty());
    assert!(store.tenants_to_purge(START).await.unwrap().is_empty());
    // The host's totals still hold what it used, under no name.
    assert_eq!(store.usage_total(None).await.unwrap(), used);
    assert_eq!(store.usage_total(Some(tenant)).await.unwrap(), Usage::default());
    assert_eq!(store.usage_recount(&other.scope.tenant).await.unwrap(), before);
    adds_up(&other).await;
    assert_eq!(other.claim_runs(START).await.len(), 20, "the other's work goes on");
    verify_all(&store.audit_chains(None).await.unwrap(), &store.audit_key()).unwrap();
}

pub async fn s26_nobody_is_removed_before_it_is_confirmed(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let (store, tenant) = (&world.store, &world.scope.tenant);
    for refused in [
        store.tenant_delete_confirm(tenant, decision(START)).await,
        store.tenant_purge(tenant, 8).await.map(drop),
    ] {
        assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
    }
    store.tenant_delete(tenant, days(30), decision(START)).await.unwrap();
    assert!(store.tenants_to_purge(days(29)).await.unwrap().is_empty());
    store.tenant_resume(tenant, decision(START)).await.unwrap();
    assert!(store.tenants_to_purge(days(31)).await.unwrap().is_empty());
    store.tenant_delete(tenant, days(30), decision(START)).await.unwrap();
    assert_eq!(store.tenants_to_purge(days(30)).await.unwrap(), std::slice::from_ref(tenant));
    assert_eq!(store.standing(tenant).await.unwrap().tenant.state, TenantState::Purging);
    assert!(matches!(store.tenant_resume(tenant, decision(START)).await, Err(StoreError::Conflict(_))));
}

pub async fn s27_usage_is_what_counting_the_rows_says(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let other = world.another_world().await;
    let event = finished(&world, "ch_1", world.a_delivery("d", &[])).await;
    let repeat = world.store.event_accept(event.clone(), vec![world.a_run()]).await.unwrap();
    assert_eq!(repeat, Accepted::Repeat(event.id.clone()));
    other.accept("ch_2").await;
    // Executed twice, and sent twice with another body.
    world.accept("ch_3").await;
    let claim = world.claim_runs(START).await.into_iter().find(|c| c.event.scope == world.scope).unwrap();
    let mut told = record();
    told.facts = json!([{ "need": { "query": {} } }, { "need": { "lookup": {} } }]);
    told.cost = json!({ "fuel": 10, "wall_us": 5 });
    let end = RunEnd::Retried { due_at: at(1), reason: why("later") };
    let finish = world.store.run_finish(&claim.id, &claim.lease, told, end, START).await.unwrap();
    assert_eq!(finish, crate::Finish::Done);
    let claim = world.claim_run(at(2)).await;
    world.finish_run(&claim, plan("k", vec![world.a_delivery("d", &[])]), at(2)).await;
    for (attempt, body) in [(1, "short"), (2, "a little longer")] {
        let claim = world.claim_delivery(at(2 + attempt)).await;
        let sent = crate::delivery::Sent { body: json!(body), sha256: "00".repeat(32) };
        let failure = portolan_domain::verdict::CallFailure::retryable("busy", "busy");
        let end = crate::delivery::DeliveryEnd::Retry { due_at: at(3 + attempt), failure, alerts: vec![] };
        let end = if attempt == 1 { end } else { delivered(json!({ "number": 1 })) };
        let finish = world
            .store
            .delivery_finish(&claim.id, &claim.lease, Some(sent), end, at(2 + attempt))
            .await
            .unwrap();
        assert_eq!(finish, crate::Finish::Done);
    }
    adds_up(&world).await;
    adds_up(&other).await;
    let used = world.store.usage_total(Some(&world.scope.tenant)).await.unwrap();
    assert_eq!((used.events, used.repeats, used.executions, used.attempts), (2, 1, 3, 3));
    assert_eq!((used.calls, used.fuel, used.guest_us), (1, 10 + 2 * 123_456, 5));
    let mut sum = used;
    sum.add(&world.store.usage_total(Some(&other.scope.tenant)).await.unwrap());
    assert_eq!(world.store.usage_total(None).await.unwrap(), sum);
    // By day it is the same, told of the day and the environment.
    for by in [Period::Hour, Period::Day, Period::Month] {
        let query = UsageQuery {
            tenant: Some(world.scope.tenant.clone()),
            environment: None,
            from: days(0).min(Timestamp::from_millis(0)),
            to: days(1),
            by,
            skip: 0,
            rows_max: 100,
        };
        let rows = world.store.usage_list(query).await.unwrap();
        let mut sum = Usage::default();
        rows.iter().for_each(|row| sum.add(&row.usage));
        assert_eq!(sum, used);
        assert_eq!(rows[0].from.as_millis() % 3_600_000, 0);
        let environments: Vec<_> = rows.iter().map(|row| row.environment).collect();
        assert_eq!(environments, [None, Some(world.scope.environment)], "{by:?}");
    }
}

pub async fn s27_a_write_that_is_taken_back_counts_nothing(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let other = world.another_world().await;
    let foreign = NewRun { mapping: other.mapping.clone(), ..world.a_run() };
    let refused = world.store.event_accept(world.an_event(None), vec![world.a_run(), foreign]).await;
    assert!(matches!(refused, Err(StoreError::NotFound)));
    world.accept("ch_1").await;
    assert_eq!(world.store.usage_total(Some(&world.scope.tenant)).await.unwrap().events, 1);
    adds_up(&world).await;
}

pub async fn s28_after_a_sweep_a_repeat_is_a_repeat_and_a_fact_is_recorded(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let event = finished(&world, "ch_1", recording(&world, "d")).await;
    let newer = world.an_event(None);
    world
        .store
        .event_accept(Event { received_at: days(50), state: EventState::Unrouted, ..newer.clone() }, vec![])
        .await
        .unwrap();
    assert_eq!(sweep(&world, Noun::Events, days(40)).await, 1);
    assert!(matches!(world.store.event_get(&world.scope, &event.id).await, Err(StoreError::NotFound)));
    assert!(world.store.event_get(&world.scope, &newer.id).await.is_ok());
    // A webhook that comes again, however late.
    let again = world.store.event_accept(event.clone(), vec![world.a_run()]).await.unwrap();
    assert_eq!(again, Accepted::Repeat(event.id.clone()));
    assert!(world.claim_runs(days(41)).await.is_empty());
    // Another event that tells of the same fact: it is given the first one's response.
    world.planned("ch_2", vec![recording(&world, "twin")]).await;
    let twin = world.claim_delivery(days(41)).await;
    assert_eq!(twin.made, Some(json!({ "number": "4711" })));
    // What was remembered is found, with the event that it came from.
    let found = world.store.reference_find(&world.scope, &reference_key()).await.unwrap();
    assert_eq!(found.get("sap-ecc").map(String::as_str), Some("100001"));
    let back = world.store.reference_reverse(&world.scope, "sap-ecc", "100001").await.unwrap();
    assert_eq!(back[0].event, event.id);
    // Usage stays counted; what is stored is what there is.
    let (_, stored) = world.store.usage_recount(&world.scope.tenant).await.unwrap();
    assert_eq!(world.store.stored_bytes(Some(&world.scope.tenant)).await.unwrap(), stored);
    assert_eq!(world.store.usage_total(Some(&world.scope.tenant)).await.unwrap().events, 3);
    // Tombstones have an end, too.
    let tenant = Some(&world.scope.tenant);
    let swept = world.store.sweep_tenant(tenant, TenantNoun::Tombstones, days(41), 10).await.unwrap();
    assert_eq!(swept.removed, 1);
}

pub async fn s28_what_is_not_finished_is_kept(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let mut unread = world.an_event(None);
    unread.state = EventState::Dead;
    world.store.event_accept(unread.clone(), vec![]).await.unwrap();
    let (pending, _) = world.accept("pending").await;
    let claim = world.claim_run(START).await;
    world.finish_run(&claim, RunEnd::Retried { due_at: days(1_000), reason: why("later") }, START).await;
    let (held_event, _) = world.accept("held").await;
    let claim = world.claim_run(START).await;
    world.finish_run(&claim, held("held", vec![world.a_delivery("h", &[])], vec![]), START).await;
    let (dead_run, _) = world.accept("dead").await;
    let claim = world.claim_run(START).await;
    world.finish_run(&claim, RunEnd::Dead { reason: why("x"), alerts: vec![] }, START).await;
    let (dead_delivery, run) = world.accept("dead delivery").await;
    let claim = world.claim_run(START).await;
    world.finish_run(&claim, plan("dd", vec![world.a_delivery("dd", &[])]), START).await;
    let claim = world.claim_delivery(START).await;
    world.finish_delivery(&claim, dead(), START).await;
    finished(&world, "done", world.a_delivery("done", &[])).await;
    for noun in [Noun::Payloads, Noun::Runs, Noun::Deliveries, Noun::Events] {
        assert_eq!(sweep(&world, noun, days(900)).await, 1, "{noun:?}: only what is finished");
    }
    for event in [&unread.id, &pending, &held_event, &dead_run, &dead_delivery] {
        let kept = world.store.event_get(&world.scope, event).await.unwrap();
        assert!(!kept.payload.is_empty(), "{event}");
    }
    let delivery = world.delivery(&run, "dd").await;
    assert_eq!((delivery.state, delivery.body), (DeliveryState::Dead, json!({ "key": "dd" })));
    assert_eq!(world.store.delivery_attempts(&world.scope, &delivery.id).await.unwrap().len(), 1);
    adds_up_in_bytes(&world).await;
}

async fn adds_up_in_bytes(world: &World) {
    let (_, stored) = world.store.usage_recount(&world.scope.tenant).await.unwrap();
    assert_eq!(world.store.stored_bytes(Some(&world.scope.tenant)).await.unwrap(), stored);
}

pub async fn s28_payloads_facts_and_bodies_go_before_their_event(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let event = finished(&world, "ch_1", world.a_delivery("d", &[])).await;
    let removed = async |noun| sweep(&world, noun, days(1)).await;
    assert_eq!(world.store.payload_removed(&world.scope, &event.id).await.unwrap(), None);
    assert_eq!((removed(Noun::Payloads).await, removed(Noun::Payloads).await), (1, 0));
    assert!(world.store.payload_removed(&world.scope, &event.id).await.unwrap().is_some());
    adds_up_in_bytes(&world).await;
    assert_eq!((removed(Noun::Runs).await, removed(Noun::Deliveries).await), (1, 1));
    adds_up_in_bytes(&world).await;
    let run = world.store.run_of_event(&world.scope, &event.id).await.unwrap().remove(0);
    assert_eq!((run.state, run.facts, run.log), (RunState::Delivered, json!(null), json!(null)));
    assert_eq!(run.module, Some(ModuleDigest::of(b"m")), "which module it was, is still told");
    let delivery = world.store.delivery_of_run(&world.scope, &run.id).await.unwrap().remove(0);
    assert_eq!((delivery.body, delivery.response), (json!(null), json!({ "number": "4711" })));
    let again = world.store.event_accept(event.clone(), vec![]).await.unwrap();
    assert_eq!(again, Accepted::Repeat(event.id));
}

pub async fn an_audit_log_that_begins_later_is_still_whole(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let (store, tenant) = (&world.store, &world.scope.tenant);
    let verify = async || verify_all(&store.audit_chains(None).await.unwrap(), &store.audit_key());
    let whole = store.audit_chains(Some(tenant)).await.unwrap()[tenant.as_str()].entries.len();
    // Entries are stamped by the clock of the database's machine: all are older than the end of time.
    let end = Timestamp::from_millis(u64::MAX >> 2);
    let swept = store.sweep_tenant(Some(tenant), TenantNoun::Audit, end, 2).await.unwrap();
    assert_eq!(swept.removed, 2);
    verify().await.unwrap();
    let left = store.audit_chains(Some(tenant)).await.unwrap()[tenant.as_str()].entries.len();
    assert_eq!(left, whole - 2);
    store.sweep_tenant(Some(tenant), TenantNoun::Audit, end, 100).await.unwrap();
    world.another_connection("more").await;
    verify().await.unwrap();
    let chain = store.audit_chains(Some(tenant)).await.unwrap().remove(tenant.as_str()).unwrap();
    assert_eq!(chain.entries.len(), 2, "the last one stays, and the new one follows it");
    assert_eq!(chain.entries[1].number, whole as u64 + 1);
}

pub async fn modules_that_a_mapping_names_are_kept(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    for component in [b"unused", b"useless"] as [&[u8]; 2] {
        world.store.module_create(world.a_module(component), component.to_vec()).await.unwrap();
    }
    let tenant = Some(&world.scope.tenant);
    // One at a time, however many may be looked at: they are large.
    for more in [true, true, false] {
        let swept = world.store.sweep_tenant(tenant, TenantNoun::Modules, days(1), 10).await.unwrap();
        assert_eq!((swept.removed, swept.more), (u64::from(more), more));
    }
    assert!(world.store.module_get(&world.scope.tenant, &ModuleDigest::of(b"m")).await.is_ok());
    let gone = world.store.module_get(&world.scope.tenant, &ModuleDigest::of(b"unused")).await;
    assert!(matches!(gone, Err(StoreError::NotFound)));
    adds_up_in_bytes(&world).await;
}
