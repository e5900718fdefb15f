//! S20 to S23: pins, what a run was told, what is paused, replays.

use portolan_domain::{
    ConnectionId, ModuleDigest, ReplayId, Timestamp,
    grant::Grants,
    replay::{Class, Tally},
};
use serde_json::{Value, json};

use super::{
    Place,
    world::{LEASE_MS, START, World, at, delivered, plan, record},
};
use crate::{
    Finish, Page, StoreError,
    mapping::{Canary, MappingChange, PinChange},
    replay::{Asked, NewReplay, Progress, ReplayClaim, ReplayEnd, ReplayItem, ReplayKind, ReplayState, Side},
    retention::Hidden,
    run::{Decision, RunEnd, RunRecord},
};

fn decision() -> Decision {
    Decision { by: "key_1".to_owned(), why: "for the test".to_owned(), at: START }
}

fn to(module: &[u8], settings: Value) -> MappingChange {
    let pin = PinChange {
        module: Some(ModuleDigest::of(module)),
        settings: Some(settings),
        ..PinChange::default()
    };
    MappingChange { pin: Some(pin), ..MappingChange::default() }
}

pub async fn s20_every_change_of_a_pin_is_kept_and_a_rollback_returns_to_the_one_before(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let (store, scope, id) = (&world.store, &world.scope, &world.mapping);
    for module in [b"n", b"o"] {
        store.module_create(world.a_module(module), module.to_vec()).await.unwrap();
    }
    assert!(matches!(store.mapping_rollback(scope, id, decision()).await, Err(StoreError::Conflict(_))));
    store.mapping_update(scope, id, to(b"n", json!({"n": 1})), at(1)).await.unwrap();
    let third = store.mapping_update(scope, id, to(b"o", json!({"o": 1})), at(2)).await.unwrap();
    assert_eq!((third.life.pin, third.settings), (3, json!({"o": 1})));

    let late = MappingChange { instead_of: Some(2), ..to(b"m", json!({})) };
    assert!(matches!(store.mapping_update(scope, id, late, at(3)).await, Err(StoreError::Conflict(_))));

    let back = store.mapping_rollback(scope, id, decision()).await.unwrap();
    assert_eq!((back.module, back.settings), (ModuleDigest::of(b"n"), json!({"n": 1})));
    let first = store.mapping_rollback(scope, id, decision()).await.unwrap();
    assert_eq!((first.module, first.settings), (ModuleDigest::of(b"m"), json!({"plant": "1000"})));
    assert!(matches!(store.mapping_rollback(scope, id, decision()).await, Err(StoreError::Conflict(_))));

    let pins = store.mapping_pins(scope, id).await.unwrap();
    let numbers: Vec<(u64, Option<u64>)> = pins.iter().map(|pin| (pin.number, pin.before)).collect();
    assert_eq!(numbers, [(5, None), (4, Some(1)), (3, Some(2)), (2, Some(1)), (1, None)]);
    assert_eq!((pins[0].by.as_str(), pins[0].why.as_deref()), ("key_1", Some("for the test")));
    // What is no part of a pin makes none.
    let off = MappingChange { enabled: Some(false), ..MappingChange::default() };
    assert_eq!(store.mapping_update(scope, id, off, at(4)).await.unwrap().life.pin, 5);
    let stranger = World::new(world.store.clone()).await.scope;
    assert!(matches!(store.mapping_pins(&stranger, id).await, Err(StoreError::NotFound)));
    assert!(matches!(store.mapping_rollback(&stranger, id, decision()).await, Err(StoreError::NotFound)));
}

fn asked(world: &World, kind: ReplayKind, events_max: u64) -> NewReplay {
    NewReplay {
        id: ReplayId::generate(START),
        mapping: world.mapping.clone(),
        module: ModuleDigest::of(b"m"),
        kind,
        asked: Asked::default(),
        events_max,
        by: "key_1".to_owned(),
    }
}

async fn claim(world: &World, owner: &str, now: Timestamp) -> ReplayClaim {
    let mut claims = world.store.replay_claim(owner, now, LEASE_MS, 10).await.unwrap();
    assert_eq!(claims.len(), 1, "exactly one replay is due");
    claims.remove(0)
}

/// An event with a run that has ended as skipped.
async fn ended(world: &World, object: &str, kept: RunRecord) {
    world.accept(object).await;
    let claim = world.claim_run(START).await;
    let end = RunEnd::Skipped { reason: json!({"code": "skipped", "message": "x"}) };
    let done = world.store.run_finish(&claim.id, &claim.lease, kept, end, START).await.unwrap();
    assert_eq!(done, Finish::Done);
}

pub async fn s21_a_run_keeps_all_that_it_was_told(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let (store, scope) = (&world.store, &world.scope);
    let fact = json!([{ "need": { "lookup": { "table": "t", "key": "k" } }, "answer": { "found": 1.10 } }]);
    let kept = RunRecord { settings: json!({"old": true}), attempt: 7, facts: fact.clone(), ..record() };
    ended(&world, "ch_1", kept).await;
    store.mapping_update(scope, &world.mapping, to(b"m", json!({"new": true})), at(1)).await.unwrap();
    store.replay_create(scope, asked(&world, ReplayKind::Replay, 10), 2, START).await.unwrap();
    let replay = claim(&world, "one", START).await.replay.id;
    let part = store.replay_part(&replay, 10).await.unwrap();
    assert!(part.is_last);
    let recorded = part.inputs[0].recorded.clone().unwrap();
    assert_eq!(
        (recorded.settings, recorded.attempt, recorded.fuel),
        (Some(json!({"old": true})), 7, 123_456)
    );
    assert_eq!(json!(recorded.facts), fact);
    assert_eq!(recorded.outcome, json!({"skip": "for the record"}));
}

pub async fn s21_a_canary_that_fails_too_often_returns(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let (store, scope) = (&world.store, &world.scope);
    let canary = Canary {
        module: ModuleDigest::of(b"m"),
        settings: None,
        per_mille: 500,
        failures_max: 1,
        runs_max: 3,
        runs: 0,
        failures: 0,
        returned_at: None,
    };
    let change = MappingChange { canary: Some(Some(canary)), ..MappingChange::default() };
    store.mapping_update(scope, &world.mapping, change, START).await.unwrap();
    let seen = || async {
        let canary = store.mapping_get(scope, &world.mapping).await.unwrap().life.canary.unwrap();
        (canary.per_mille, canary.runs, canary.failures)
    };
    let kept = || RunRecord { is_canary: true, ..record() };
    let mut ends = Vec::new();
    for (object, fails) in [("a", true), ("b", false), ("c", false), ("d", true), ("e", true)] {
        world.accept(object).await;
        let claim = world.claim_run(START).await;
        let reason = json!({"code": "x", "message": "x"});
        let end = if fails { RunEnd::Dead { reason, alerts: vec![] } } else { RunEnd::Skipped { reason } };
        let finished = store.run_finish(&claim.id, &claim.lease, kept(), end, START).await.unwrap();
        assert_eq!(finished, Finish::Done);
        ends.push(seen().await);
    }
    assert_eq!(ends, [(500, 1, 1), (500, 2, 1), (500, 0, 0), (500, 1, 1), (0, 2, 2)]);
    let alerts =
        store.alert_list(scope, crate::alert::AlertFilter::unresolved(), Page::default()).await.unwrap();
    assert_eq!(alerts[0].code, "canary-returned");
}

pub async fn s22_what_is_paused_is_not_claimed_and_waits(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let (store, scope) = (&world.store, &world.scope);
    store.module_create(world.a_module(b"n"), b"n".to_vec()).await.unwrap();
    let other = crate::mapping::Mapping {
        id: portolan_domain::MappingId::generate(START),
        module: ModuleDigest::of(b"n"),
        ..world.a_mapping("other")
    };
    let beside = World { mapping: other.id.clone(), ..world.clone() };
    store.mapping_create(other).await.unwrap();
    let tenant = &scope.tenant;
    let digest = ModuleDigest::of(b"m");
    for switch in ["mapping", "module", "tenant"] {
        // Once more changes nothing, and so is told by nobody.
        for _ in 0..2 {
            match switch {
                "mapping" => store.mapping_pause(scope, &world.mapping, decision()).await.unwrap(),
                "module" => store.module_pause(tenant, &digest, decision()).await.unwrap(),
                _ => store.tenant_pause(tenant, decision()).await.unwrap(),
            }
        }
        let (_, waits) = world.accept(&format!("of {switch}")).await;
        let (_, goes) = beside.accept(&format!("beside {switch}")).await;
        let claimed = world.claim_runs(START).await;
        let ids: Vec<_> = claimed.iter().map(|claim| &claim.id).collect();
        if switch == "tenant" {
            assert!(ids.is_empty());
            assert!(store.tenant_paused(tenant).await.unwrap().is_some());
        } else {
            assert_eq!(ids, [&goes], "{switch}");
        }
        for _ in 0..2 {
            match switch {
                "mapping" => store.mapping_resume(scope, &world.mapping, decision()).await.unwrap(),
                "module" => store.module_resume(tenant, &digest, decision()).await.unwrap(),
                _ => store.tenant_go_on(tenant, decision()).await.unwrap(),
            }
        }
        let claimed = world.claim_runs(START).await;
        assert!(claimed.iter().any(|claim| claim.id == waits), "{switch}");
    }
    let chain = store.audit_chains(Some(tenant)).await.unwrap().remove(tenant.as_str()).unwrap();
    let told: Vec<&str> = chain.entries.iter().rev().take(6).map(|entry| entry.action.as_str()).collect();
    let wanted =
        ["tenant.go-on", "tenant.pause", "module.resume", "module.pause", "mapping.resume", "mapping.pause"];
    assert_eq!(told, wanted);
    let run = world.accept("to be sent").await.1;
    let claimed = world.claim_run(START).await;
    world.finish_run(&claimed, plan("k", vec![world.a_delivery("d", &[])]), START).await;
    store.tenant_pause(tenant, decision()).await.unwrap();
    assert!(world.claim_deliveries(START).await.is_empty());
    store.tenant_go_on(tenant, decision()).await.unwrap();
    let sent = world.claim_delivery(START).await;
    world.finish_delivery(&sent, delivered(json!({})), START).await;
    assert_eq!(world.run_state(&run).await, portolan_domain::state::RunState::Delivered);
}

fn item(input: &crate::replay::ReplayInput) -> ReplayItem {
    let side = Side { outcome: "skip".to_owned(), code: None, message: None, fuel: 5 };
    ReplayItem {
        event: input.event.id.clone(),
        kind: input.event.kind.clone(),
        object_id: input.event.object_id.clone(),
        run: None,
        class: Class::Changed,
        before: None,
        after: side,
        differences: vec![],
        differences_total: 0,
    }
}

pub async fn s23_a_replay_goes_on_where_it_was_and_counts_nothing_twice(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let (store, scope) = (&world.store, &world.scope);
    for number in 0..5 {
        ended(&world, &format!("ch_{number}"), record()).await;
    }
    store.replay_create(scope, asked(&world, ReplayKind::Replay, 4), 1, START).await.unwrap();
    let second = store.replay_create(scope, asked(&world, ReplayKind::Replay, 4), 1, START).await;
    assert!(matches!(second, Err(StoreError::Conflict(_))), "one at a time was allowed");
    let mut seen = Vec::new();
    for (round, owner) in ["one", "two", "three", "four"].into_iter().enumerate() {
        let now = at(1_000 * round as u64);
        let held = claim(&world, owner, now).await;
        let part = store.replay_part(&held.replay.id, 2).await.unwrap();
        if part.inputs.is_empty() {
            let end = ReplayEnd::Done { promotion: Value::Null };
            let done = store.replay_end(&held.replay.id, &held.lease, (None, end), now).await.unwrap();
            assert_eq!((done, held.replay.events_done), (Finish::Done, 4));
            break;
        }
        let mut tally = held.replay.tally.clone();
        // The second time, time was over after one event.
        let inputs = &part.inputs[..if round == 1 { 1 } else { part.inputs.len() }];
        *tally.classes.entry(Class::Changed).or_default() += inputs.len() as u64;
        let made = || {
            let items = inputs.iter().map(item).collect();
            let cursor = if round == 1 { inputs[0].cursor } else { part.cursor };
            (Some(Progress { items, tally: tally.clone(), cursor }), ReplayEnd::Rests { until: now })
        };
        let id = &held.replay.id;
        // While it is executed its lease ends later and later, and nobody else gets it.
        let until = now.plus(std::time::Duration::from_millis(LEASE_MS));
        assert_eq!(
            store
                .replay_renew(id, &held.lease, until.plus(std::time::Duration::from_millis(1)))
                .await
                .unwrap(),
            Finish::Done
        );
        assert!(store.replay_claim("else", until, LEASE_MS, 10).await.unwrap().is_empty());
        assert_eq!(store.replay_end(id, &held.lease, made(), now).await.unwrap(), Finish::Done);
        seen.extend(inputs.iter().map(|input| input.event.object_id.clone().unwrap()));
        // Whoever took it over goes on there; what this one says then counts no more.
        let foreign = claim(&world, "foreign", now).await;
        assert_eq!(store.leases_end_foreign("nobody", &[], now).await.unwrap(), 1);
        for old in [&held.lease, &foreign.lease] {
            assert_eq!(store.replay_end(id, old, made(), now).await.unwrap(), Finish::LeaseLost);
            assert_eq!(store.replay_renew(id, old, until).await.unwrap(), Finish::LeaseLost);
        }
    }
    assert_eq!(seen, ["ch_4", "ch_3", "ch_2", "ch_1"], "the newest four, each once");
    let replay = store.replay_list(scope, Page::default()).await.unwrap().remove(0);
    assert_eq!((replay.state, replay.tally.count(Class::Changed)), (ReplayState::Done, 4));
    let page = Page { before: None, rows_max: 3 };
    let items = store.replay_items(scope, &replay.id, Some(Class::Changed), page).await.unwrap();
    let before = Some(items[2].event.to_string());
    let rest = store.replay_items(scope, &replay.id, None, Page { before, rows_max: 3 }).await.unwrap();
    assert_eq!((items.len(), rest.len()), (3, 1));
    let fuel = store.replay_fuel(&scope.tenant, &ModuleDigest::of(b"m")).await.unwrap().unwrap();
    assert_eq!((fuel.events, fuel.least, fuel.most), (4, 5, 5));
    let stranger = World::new(world.store.clone()).await.scope;
    assert!(matches!(store.replay_get(&stranger, &replay.id).await, Err(StoreError::NotFound)));
    assert!(matches!(store.replay_cancel(&stranger, &replay.id, START).await, Err(StoreError::NotFound)));
    let items = store.replay_items(&stranger, &replay.id, None, Page::default()).await;
    assert!(matches!(items, Err(StoreError::NotFound)));
    assert!(matches!(store.replay_cancel(scope, &replay.id, START).await, Err(StoreError::Conflict(_))));
}

pub async fn a_replay_that_gave_way_is_gone_at_once_and_its_items_are_removed_in_steps(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let (store, scope) = (&world.store, &world.scope);
    for number in 0..3 {
        ended(&world, &format!("ch_{number}"), record()).await;
    }
    let asked = || asked(&world, ReplayKind::Replay, 10);
    let oldest = asked();
    store.replay_create(scope, oldest.clone(), 2, START).await.unwrap();
    let held = claim(&world, "one", START).await;
    let part = store.replay_part(&oldest.id, 10).await.unwrap();
    let progress = Progress {
        items: part.inputs.iter().map(item).collect(),
        tally: held.replay.tally.clone(),
        cursor: part.cursor,
    };
    let rests = (Some(progress), ReplayEnd::Rests { until: START });
    let done = store.replay_end(&oldest.id, &held.lease, rests, START).await.unwrap();
    assert_eq!(done, Finish::Done);
    store.replay_cancel(scope, &oldest.id, START).await.unwrap();
    for _ in 0..49 {
        assert!(store.replay_get(scope, &oldest.id).await.is_ok());
        let next = asked();
        store.replay_create(scope, next.clone(), 2, START).await.unwrap();
        store.replay_cancel(scope, &next.id, START).await.unwrap();
    }
    store.replay_create(scope, asked(), 2, START).await.unwrap();
    let is_gone = |result: Result<(), StoreError>| matches!(result, Err(StoreError::NotFound));
    assert!(is_gone(store.replay_get(scope, &oldest.id).await.map(drop)));
    assert!(is_gone(store.replay_items(scope, &oldest.id, None, Page::default()).await.map(drop)));
    assert!(is_gone(store.replay_cancel(scope, &oldest.id, START).await));
    let listed = store.replay_list(scope, Page::default()).await.unwrap();
    assert!(listed.len() == 50 && listed.iter().all(|replay| replay.id != oldest.id));
    assert!(store.replay_fuel(&scope.tenant, &ModuleDigest::of(b"m")).await.unwrap().is_none());
    let mut removed = Vec::new();
    loop {
        let swept = store.sweep_hidden(Hidden::ReplayItems, 2).await.unwrap();
        if !swept.more {
            break;
        }
        removed.push(swept.removed);
    }
    assert_eq!(removed, [2, 1, 1], "two of its items, the third, and itself");
}

pub async fn a_shadow_sleeps_until_a_run_of_its_mapping_has_ended(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let (store, scope) = (&world.store, &world.scope);
    let shadow = asked(&world, ReplayKind::Shadow, 10);
    let id = shadow.id.clone();
    let change = |shadow| MappingChange { shadow: Some(shadow), ..MappingChange::default() };
    let followed = store.mapping_update(scope, &world.mapping, change(Some(shadow)), START).await.unwrap();
    assert_eq!(followed.life.shadow.map(|shadow| shadow.replay), Some(id.clone()));
    assert!(store.replay_claim("one", at(10_000_000), LEASE_MS, 10).await.unwrap().is_empty());
    ended(&world, "ch_1", RunRecord { shadow: Some(id.clone()), ..record() }).await;
    let held = claim(&world, "one", START).await;
    let part = store.replay_part(&id, 10).await.unwrap();
    assert_eq!(part.inputs[0].event.object_id.as_deref(), Some("ch_1"));
    let progress = Progress {
        items: part.inputs.iter().map(item).collect(),
        tally: Tally::default(),
        cursor: part.cursor,
    };
    // One that ends while it goes to sleep wakes it again.
    ended(&world, "ch_2", RunRecord { shadow: Some(id.clone()), ..record() }).await;
    let rests = (Some(progress), ReplayEnd::Rests { until: at(3_600) });
    assert_eq!(store.replay_end(&id, &held.lease, rests, START).await.unwrap(), Finish::Done);
    let held = claim(&world, "one", at(1)).await;
    assert_eq!((held.replay.id.clone(), held.rests), (id.clone(), 0));
    // Without getting on it rests, and that is counted.
    let rests = (None, ReplayEnd::Rests { until: at(2) });
    assert_eq!(store.replay_end(&id, &held.lease, rests, at(1)).await.unwrap(), Finish::Done);
    assert_eq!(claim(&world, "one", at(2)).await.rests, 1);
    // Taken off, it has ended, whoever is at it.
    let none = store.mapping_update(scope, &world.mapping, change(None), at(3)).await.unwrap();
    assert_eq!(none.life.shadow, None);
    assert_eq!(store.replay_get(scope, &id).await.unwrap().state, ReplayState::Cancelled);
}

pub async fn s22_nothing_is_executed_again_for_who_is_stopped(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let (store, scope) = (&world.store, &world.scope);
    ended(&world, "ch_1", record()).await;
    let replay = asked(&world, ReplayKind::Replay, 10);
    let module = replay.module.clone();
    store.replay_create(scope, replay, 1, START).await.unwrap();
    let due = async || store.replay_claim("one", at(LEASE_MS * 10), 0, 10).await.unwrap().len();
    assert_eq!(due().await, 1);
    store.tenant_pause(&scope.tenant, decision()).await.unwrap();
    assert_eq!(due().await, 0, "a paused tenant");
    store.tenant_go_on(&scope.tenant, decision()).await.unwrap();
    store.tenant_suspend(&scope.tenant, decision()).await.unwrap();
    assert_eq!(due().await, 0, "a suspended tenant");
    store.tenant_resume(&scope.tenant, decision()).await.unwrap();
    store.module_pause(&scope.tenant, &module, decision()).await.unwrap();
    assert_eq!(due().await, 0, "a paused module");
    store.module_resume(&scope.tenant, &module, decision()).await.unwrap();
    assert_eq!(due().await, 1);
}

pub async fn grants_and_signatures_read_back_as_they_were_stored(place: &dyn Place) {
    use crate::module::{Signed, SigningKey, SigningPolicy};
    let world = World::new(place.open().await).await;
    let (store, tenant) = (&world.store, &world.scope.tenant);
    let mut grants = Grants::default();
    grants.connections.entry("erp".to_owned()).or_default().insert("order.create".to_owned());
    let mut change = to(b"m", json!({}));
    change.pin.as_mut().unwrap().grants = Some(grants.clone());
    change.pin.as_mut().unwrap().connections =
        Some([("erp".to_owned(), world.connection.clone())].into_iter().collect());
    let mapping = store.mapping_update(&world.scope, &world.mapping, change, START).await.unwrap();
    assert_eq!(mapping.life.grants, Some(grants));
    assert_eq!(mapping.connections.get("erp"), Some::<&ConnectionId>(&world.connection));
    assert_eq!(store.signing_policy(tenant).await.unwrap(), SigningPolicy::default());
    let key = SigningKey { name: "ci".to_owned(), public_key: vec![1; 32] };
    let policy = SigningPolicy { required: true, keys: vec![key] };
    store.signing_policy_put(tenant, policy.clone(), START).await.unwrap();
    assert_eq!(store.signing_policy(tenant).await.unwrap(), policy);
    let signed = Signed { by: "ci".to_owned(), signature: vec![2; 64] };
    store.module_sign(tenant, &ModuleDigest::of(b"m"), signed.clone()).await.unwrap();
    assert_eq!(store.module_get(tenant, &ModuleDigest::of(b"m")).await.unwrap().signed, Some(signed));
}
