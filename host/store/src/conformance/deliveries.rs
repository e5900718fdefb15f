//! Deliveries.

use portolan_domain::{
    contract::{Binding, Capture, CheckTime, ExistenceCheck, LedgerLine, Side},
    state::{DeliveryState, RunState},
    verdict::CallFailure,
};
use serde_json::{Value, json};

use super::{
    Place,
    world::{
        LEASE_MS, START, World, at, dead, decision, delivered, plan, reference, reference_key, request, why,
    },
};
use crate::{
    Finish, StoreError,
    delivery::{DeliveryEnd, DeliveryFilter},
    run::RunEnd,
};

pub async fn s5_a_late_owner_cannot_finish_a_lost_delivery(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let run = world.planned("ch_1", vec![world.a_delivery("order", &[])]).await;
    let first = world.claim_delivery(START).await;
    assert!(world.claim_deliveries(at(1)).await.is_empty(), "one owner at a time");
    let later = START.plus(std::time::Duration::from_millis(LEASE_MS));
    let second = world.store.delivery_claim(request("two", later)).await.unwrap().remove(0);
    assert!(second.lease.epoch > first.lease.epoch);
    let end = delivered(json!({"late": true}));
    let late = world.store.delivery_finish(&first.id, &first.lease, None, end, later).await.unwrap();
    assert_eq!(late, Finish::LeaseLost);
    assert_eq!(world.delivery(&run, "order").await.response, Value::Null);
    world.finish_delivery(&second, delivered(json!({})), later).await;
}

pub async fn s6_an_attempts_intent_is_stored_before_its_claim_is_returned(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    world.planned("ch_1", vec![world.a_delivery("order", &[])]).await;
    let claim = world.claim_delivery(at(3)).await;
    let attempts = world.store.delivery_attempts(&world.scope, &claim.id).await.unwrap();
    assert_eq!(attempts.len(), 1);
    assert_eq!((attempts[0].number, attempts[0].owner.as_str()), (1, "one"));
    assert_eq!((attempts[0].started_at, attempts[0].finished_at), (at(3), None));
    assert_eq!(attempts[0].verdict, None);
    let failure = CallFailure::retryable("record-locked", "locked by MUELLER");
    let end = DeliveryEnd::Retry { due_at: at(9), failure: failure.clone(), alerts: vec![] };
    world.finish_delivery(&claim, end, at(4)).await;
    assert_eq!(world.store.delivery_next_due(at(4)).await.unwrap(), Some(at(9)));
    let again = world.claim_delivery(at(9)).await;
    assert_eq!((again.attempt, again.in_doubt), (2, false));
    world.finish_delivery(&again, delivered(json!({"number": "4711"})), at(10)).await;
    let attempts = world.store.delivery_attempts(&world.scope, &claim.id).await.unwrap();
    assert_eq!(attempts[0].verdict.as_deref(), Some("retryable"));
    assert_eq!(attempts[0].detail, serde_json::to_value(&failure).unwrap());
    assert_eq!(attempts[1].verdict.as_deref(), Some("delivered"));
    assert_eq!(attempts[1].detail, json!({"number": "4711"}));
}

pub async fn s6_an_ended_lease_leaves_the_delivery_in_doubt(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    world.planned("ch_1", vec![world.a_delivery("order", &[])]).await;
    let first = world.claim_delivery(START).await;
    assert_eq!((first.in_doubt, first.doubt_since), (false, None));
    let again = world.claim_delivery(at(30)).await;
    assert_eq!((again.attempt, again.in_doubt, again.doubt_since), (2, true, Some(at(30))));
    let attempts = world.store.delivery_attempts(&world.scope, &first.id).await.unwrap();
    assert_eq!(attempts[0].verdict.as_deref(), Some("abandoned"));
    assert_eq!((attempts[0].finished_at, attempts[1].finished_at), (Some(at(30)), None));
    let failure = CallFailure::retryable("busy", "busy");
    let end = DeliveryEnd::Retry { due_at: at(40), failure, alerts: vec![] };
    world.finish_delivery(&again, end, at(31)).await;
    let third = world.claim_delivery(at(40)).await;
    assert_eq!(third.doubt_since, Some(at(30)), "a failure that is none leaves the doubt as it is");
    let failure = CallFailure::ambiguous("timeout", "no answer");
    let end = DeliveryEnd::Retry { due_at: at(50), failure, alerts: vec![] };
    world.finish_delivery(&third, end, at(41)).await;
    assert_eq!(world.claim_delivery(at(50)).await.doubt_since, Some(at(41)));
}

pub async fn s7_a_final_delivery_stays_final(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    world.planned("ch_1", vec![world.a_delivery("order", &[]), world.a_delivery("next", &[])]).await;
    let mut claims = world.claim_deliveries(START).await;
    world.finish_delivery(&claims.remove(0), delivered(json!({})), START).await;
    world.finish_delivery(&claims[0], dead(), START).await;
    let (store, scope) = (&world.store, &world.scope);
    store.delivery_cancel(scope, &claims[0].id, decision(START)).await.unwrap();
    for delivery in store.delivery_list(scope, DeliveryFilter::default(), Default::default()).await.unwrap() {
        assert!(delivery.state.is_final());
        for refused in [
            store.delivery_redrive(scope, &delivery.id, decision(START)).await,
            store.delivery_adopt(scope, &delivery.id, json!({}), decision(START)).await,
            store.delivery_cancel(scope, &delivery.id, decision(START)).await,
        ] {
            assert!(matches!(refused, Err(StoreError::Conflict(_))));
        }
        assert_eq!(store.delivery_get(scope, &delivery.id).await.unwrap(), delivery);
    }
    assert!(world.claim_deliveries(at(1_000)).await.is_empty());
}

pub async fn s10_a_delivery_waits_for_those_it_comes_after(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let deliveries = vec![
        world.a_delivery("payment", &["order", "customer"]),
        world.a_delivery("order", &["customer"]),
        world.a_delivery("customer", &[]),
    ];
    let run = world.planned("ch_1", deliveries).await;
    for key in ["customer", "order", "payment"] {
        let claim = world.claim_delivery(START).await;
        assert_eq!(claim.key, key);
        world.finish_delivery(&claim, delivered(json!({})), START).await;
    }
    assert_eq!(world.run_state(&run).await, RunState::Delivered);
}

pub async fn s10_a_later_events_delivery_waits_for_the_earlier_ones(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let first = world.planned("ch_1", vec![world.a_delivery("a", &[]), world.a_delivery("b", &["a"])]).await;
    let second = world.planned("ch_1", vec![world.a_delivery("c", &[])]).await;
    world.planned("ch_2", vec![world.a_delivery("free", &[])]).await;
    let claims = world.claim_deliveries(START).await;
    let keys: Vec<_> = claims.iter().map(|claim| claim.key.as_str()).collect();
    assert_eq!(keys, ["a", "free"]);
    world.finish_delivery(&claims[0], delivered(json!({})), START).await;
    let b = world.claim_delivery(START).await;
    world.finish_delivery(&b, dead(), START).await;
    assert!(world.claim_deliveries(START).await.is_empty(), "a dead delivery holds its object back");
    assert_eq!(world.delivery_state(&second, "c").await, DeliveryState::Waiting);
    world.store.delivery_cancel(&world.scope, &b.id, decision(START)).await.unwrap();
    assert_eq!(world.claim_delivery(START).await.key, "c");
    assert_eq!(world.run_state(&first).await, RunState::Refused);
}

pub async fn s10_a_plan_that_comes_late_takes_its_place(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    world.accept("ch_1").await;
    let late = world.claim_run(START).await;
    let deferral = RunEnd::Deferred { due_at: at(5), reason: why("not yet") };
    world.finish_run(&late, deferral, START).await;
    world.planned("ch_1", vec![world.a_delivery("x", &[]), world.a_delivery("y", &["x"])]).await;
    let x = world.claim_delivery(START).await;

    let late = world.claim_run(at(5)).await;
    world.finish_run(&late, plan("ch_1", vec![world.a_delivery("early", &[])]), at(5)).await;
    let early = world.claim_delivery(at(5)).await;
    assert_eq!(early.key, "early");
    world.finish_delivery(&x, delivered(json!({})), at(6)).await;
    assert!(world.claim_deliveries(at(6)).await.is_empty(), "what was not leased yet waits again");
    world.finish_delivery(&early, delivered(json!({})), at(7)).await;
    assert_eq!(world.claim_delivery(at(7)).await.key, "y");
}

pub async fn a_claim_holds_the_responses_that_its_bindings_name(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let binding = |delivery: &str, target: &str| Binding {
        delivery: delivery.to_owned(),
        source: "/number".to_owned(),
        target: target.to_owned(),
    };
    let mut second = world.a_delivery("payment", &["order", "customer", "note"]);
    second.bindings = vec![binding("order", "/order")];
    second.unless = Some(ExistenceCheck {
        when: CheckTime::InDoubt,
        operation: "payment.find".to_owned(),
        parameters: json!({"reference": "ch_1"}),
        bindings: vec![binding("customer", "/customer")],
        hit: "/0/number".to_owned(),
    });
    second.ledger = vec![LedgerLine {
        account: "1200".to_owned(),
        side: Side::Debit,
        amount: "1.10".parse().unwrap(),
        currency: "EUR".to_owned(),
    }];
    let deliveries = vec![
        world.a_delivery("order", &[]),
        world.a_delivery("customer", &[]),
        world.a_delivery("note", &[]),
        second.clone(),
    ];
    let run = world.planned("ch_1", deliveries).await;
    for claim in world.claim_deliveries(START).await {
        world.finish_delivery(&claim, delivered(json!({"number": claim.key})), START).await;
    }
    let claim = world.claim_delivery(START).await;
    let names: Vec<_> = claim.responses.keys().map(String::as_str).collect();
    assert_eq!(names, ["customer", "order"], "only those that are named");
    assert_eq!(claim.responses["order"], json!({"number": "order"}));
    assert_eq!((claim.bindings.clone(), claim.unless.clone()), (second.bindings, second.unless));
    let sent = json!({"key": "payment", "order": "order"});
    let end = delivered(json!({}));
    let finish = world.store.delivery_finish(
        &claim.id,
        &claim.lease,
        Some(crate::delivery::Sent { body: sent.clone(), sha256: "aa".to_owned() }),
        end,
        START,
    );
    assert_eq!(finish.await.unwrap(), Finish::Done);
    let stored = world.delivery(&run, "payment").await;
    assert_eq!((stored.body, stored.ledger), (sent, second.ledger));
    assert_eq!(stored.after, second.after);
}

pub async fn a_run_is_delivered_when_its_last_delivery_is(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let run = world.planned("ch_1", vec![world.a_delivery("a", &[]), world.a_delivery("b", &[])]).await;
    let claims = world.claim_deliveries(START).await;
    world.finish_delivery(&claims[0], delivered(json!({})), START).await;
    assert_eq!(world.run_state(&run).await, RunState::Planned);
    let end =
        DeliveryEnd::Delivered { response: json!({}), adopted: true, references: vec![reference("99")] };
    world.finish_delivery(&claims[1], end, START).await;
    assert_eq!(world.run_state(&run).await, RunState::Delivered);
    assert_eq!(world.store.reference_find(&world.scope, &reference_key()).await.unwrap()["sap-ecc"], "99");
    let attempts = world.store.delivery_attempts(&world.scope, &claims[1].id).await.unwrap();
    assert_eq!(attempts[0].verdict.as_deref(), Some("adopted"));
}

pub async fn cancelling_takes_those_that_come_after_and_ends_the_run_as_refused(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let deliveries = vec![
        world.a_delivery("a", &[]),
        world.a_delivery("b", &["a"]),
        world.a_delivery("c", &["b"]),
        world.a_delivery("free", &[]),
    ];
    let run = world.planned("ch_1", deliveries).await;
    let claims = world.claim_deliveries(START).await;
    let leased = world.store.delivery_cancel(&world.scope, &claims[0].id, decision(START)).await;
    assert!(matches!(leased, Err(StoreError::Conflict(_))), "what is leased may be under way");
    world.finish_delivery(&claims[0], dead(), START).await;
    world.store.delivery_cancel(&world.scope, &claims[0].id, decision(START)).await.unwrap();
    for key in ["a", "b", "c"] {
        assert_eq!(world.delivery_state(&run, key).await, DeliveryState::Cancelled);
    }
    assert_eq!(world.run_state(&run).await, RunState::Planned);
    world.finish_delivery(&claims[1], delivered(json!({})), START).await;
    let stored = world.store.run_get(&world.scope, &run).await.unwrap();
    assert_eq!(stored.state, RunState::Refused);
    assert_eq!(stored.reason["code"], "deliveries-cancelled");
}

pub async fn an_adopted_delivery_frees_what_waits_and_keeps_its_captures(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let mut order = world.a_delivery("order", &[]);
    order.captures =
        vec![Capture { key: reference_key(), system: "sap-ecc".to_owned(), pointer: "/number".to_owned() }];
    let run = world.planned("ch_1", vec![order, world.a_delivery("payment", &["order"])]).await;
    let claim = world.claim_delivery(START).await;
    let failure = CallFailure::ambiguous("timeout", "no answer");
    world.finish_delivery(&claim, DeliveryEnd::InDoubt { failure, alerts: vec![] }, START).await;
    assert_eq!(world.delivery_state(&run, "order").await, DeliveryState::InDoubt);
    let response = json!({"number": "0000004711"});
    let store = &world.store;
    store.delivery_adopt(&world.scope, &claim.id, response.clone(), decision(at(1))).await.unwrap();
    let stored = world.delivery(&run, "order").await;
    assert_eq!((stored.state, stored.response), (DeliveryState::Delivered, response));
    assert_eq!(store.reference_find(&world.scope, &reference_key()).await.unwrap()["sap-ecc"], "0000004711");
    assert_eq!(world.claim_delivery(at(1)).await.key, "payment");
}

pub async fn a_redriven_delivery_keeps_its_doubt(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    world.planned("ch_1", vec![world.a_delivery("order", &[])]).await;
    let claim = world.claim_delivery(START).await;
    let failure = CallFailure::ambiguous("timeout", "no answer");
    world.finish_delivery(&claim, DeliveryEnd::Dead { failure, alerts: vec![] }, at(1)).await;
    world.store.delivery_redrive(&world.scope, &claim.id, decision(at(2))).await.unwrap();
    let again = world.claim_delivery(at(2)).await;
    assert_eq!((again.attempt, again.attempts_since_redrive), (2, 1));
    assert_eq!((again.in_doubt, again.doubt_since), (true, Some(at(1))));
}

pub async fn numbers_keep_their_digits(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let body: Value =
        serde_json::from_str(r#"{"amount":1.10,"big":123456789012345678901234567890}"#).unwrap();
    let mut delivery = world.a_delivery("order", &[]);
    delivery.body = body.clone();
    world.planned("ch_1", vec![delivery]).await;
    let claim = world.claim_delivery(START).await;
    assert_eq!(claim.body.to_string(), body.to_string());
}
