//! The desk: what people steer and put right.

use portolan_domain::{
    RunId,
    contract::{LedgerLine, Severity, Side},
    state::{DeliveryState, RunState},
    verdict::CallFailure,
};
use serde_json::{Value, json};

use super::{
    Place,
    world::{LEASE_MS, START, World, at, dead, decision, delivered, held, plan, record, request},
};
use crate::{
    ClaimRequest, Finish, Page, StoreError,
    alert::AlertFilter,
    connection::PAUSED_BY_HOST,
    delivery::{DeliveryClaim, DeliveryEnd, DeliveryFilter, Postponement, Remapped, Sent},
    desk::EnvironmentSettings,
    run::{Decided, Decision, NewDelivery},
};

fn by(name: &str, seconds: u64) -> Decision {
    Decision { by: name.to_owned(), ..decision(at(seconds)) }
}

fn postponed(postponement: Postponement, failure: CallFailure) -> DeliveryEnd {
    DeliveryEnd::Postponed { postponement, due_at: START, failure, alerts: vec![] }
}

fn in_doubt() -> DeliveryEnd {
    DeliveryEnd::InDoubt { failure: CallFailure::ambiguous("timeout", "no answer"), alerts: vec![] }
}

/// A planned delivery, claimed.
async fn claimed(world: &World, object: &str) -> DeliveryClaim {
    world.planned(object, vec![world.a_delivery("order", &[])]).await;
    world.claim_delivery(START).await
}

pub async fn s17_a_guard_holds_what_exceeds_it(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let (store, scope) = (&world.store, &world.scope);
    let guard = json!({ "documents_per_hour_max": 5, "amount_max": { "USD": "100.00" } });
    store.connection_update(scope, &world.connection, guard, vec![]).await.unwrap();
    let posting = |amount: &str| {
        let line = |side| LedgerLine {
            account: "1".to_owned(),
            side,
            amount: amount.parse().unwrap(),
            currency: "USD".to_owned(),
        };
        let ledger = vec![line(Side::Debit), line(Side::Credit)];
        NewDelivery { ledger, ..world.a_delivery("posting", &[]) }
    };
    let state = async |run: &RunId| store.run_get(scope, run).await.unwrap().state;
    let too_large = world.planned("ch_0", vec![posting("100.01")]).await;
    assert_eq!(state(&too_large).await, RunState::Held);
    let run = store.run_get(scope, &too_large).await.unwrap();
    assert!(run.reason["message"].as_str().unwrap().contains("100.01 USD"), "{}", run.reason);

    // Many at once: not one is let through too many, and what was held did not count.
    let mut runs = Vec::new();
    for number in 1..=8 {
        runs.push(world.accept(&format!("ch_{number}")).await.1);
    }
    let finishes = world.claim_runs(START).await.into_iter().map(|claim| {
        let end = plan(claim.event.object_id.as_deref().unwrap(), vec![posting("100.00")]);
        let store = store.clone();
        tokio::spawn(async move { store.run_finish(&claim.id, &claim.lease, record(), end, START).await })
    });
    for finish in finishes.collect::<Vec<_>>() {
        assert_eq!(finish.await.unwrap().unwrap(), Finish::Done);
    }
    let mut held = 0;
    for run in &runs {
        held += usize::from(state(run).await == RunState::Held);
    }
    assert_eq!((held, world.claim_deliveries(START).await.len()), (3, 5));
    let alerts = store
        .alert_list(scope, AlertFilter::unresolved(), Page { before: None, rows_max: 10 })
        .await
        .unwrap();
    let told: Vec<_> = alerts.iter().map(|alert| (alert.code.as_str(), alert.count)).collect();
    assert_eq!(told, [("guard", 4)], "one alert, counted");

    // A person may let it through; after an hour there is room again.
    assert_eq!(store.run_approve(scope, &too_large, by("anna", 1)).await.unwrap(), Decided::Done);
    assert_eq!(world.claim_delivery(at(2)).await.key, "posting");
    let (_, run) = world.accept("ch_9").await;
    let later = at(66 * 60);
    let claim = world.claim_runs(later).await.into_iter().find(|claim| claim.id == run).unwrap();
    world.finish_run(&claim, plan("ch_9", vec![posting("1")]), later).await;
    assert_eq!(state(&run).await, RunState::Planned);
}

pub async fn s15_a_paused_connections_deliveries_are_not_claimed(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let other = world.another_connection("other").await;
    let mut elsewhere = world.a_delivery("elsewhere", &[]);
    elsewhere.connection = other;
    world.planned("ch_1", vec![world.a_delivery("order", &[]), elsewhere]).await;
    let (store, scope, id) = (&world.store, &world.scope, &world.connection);
    store.connection_pause(scope, id, by("key_of_anna", 1)).await.unwrap();
    store.connection_pause(scope, id, by("key_of_ben", 2)).await.unwrap();
    let paused = store.connection_get(scope, id).await.unwrap().paused;
    assert_eq!(paused, Some(by("key_of_anna", 1)), "the first reason stays");
    assert_eq!(world.claim_delivery(at(3)).await.key, "elsewhere", "everything else goes on");
    let (settings, sealed) = (json!({}), vec![1]);
    store.connection_update(scope, id, settings.clone(), sealed.clone()).await.unwrap();
    assert!(world.claim_deliveries(at(4)).await.is_empty(), "a person's pause is lifted by a person");
    store.connection_resume(scope, id, by("key_of_ben", 5)).await.unwrap();
    let claim = world.claim_delivery(at(6)).await;
    assert_eq!(claim.attempts_since_redrive, 1, "waiting costs nothing");

    // The other system refuses the credentials: paused in the same step, and lifted with new ones.
    let failure = CallFailure::Unauthorized {
        problem: portolan_domain::verdict::CallProblem::new("credentials-refused", "401"),
    };
    world.finish_delivery(&claim, postponed(Postponement::Refused, failure), at(7)).await;
    let paused = store.connection_get(scope, id).await.unwrap().paused.unwrap();
    assert_eq!((paused.by.as_str(), paused.why.as_str()), (PAUSED_BY_HOST, "credentials-refused: 401"));
    assert!(world.claim_deliveries(at(8)).await.is_empty());
    store.connection_update(scope, id, settings, sealed).await.unwrap();
    let claim = world.claim_delivery(at(9)).await;
    assert_eq!((claim.attempt, claim.attempts_since_redrive), (2, 1), "the refused attempt does not count");
    let absent = store.connection_pause(scope, &world.another_world().await.connection, by("x", 1)).await;
    assert!(matches!(absent, Err(StoreError::NotFound)), "S11");
}

pub async fn s5_a_late_response_is_evidence_that_the_next_attempt_adopts(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let first = claimed(&world, "ch_1").await;
    let lost = at(LEASE_MS / 1_000);
    let second = world.store.delivery_claim(request("two", lost)).await.unwrap().remove(0);
    assert!(second.in_doubt);
    let response = json!({"number": "4711"});
    let end = delivered(response.clone());
    let late = world.store.delivery_finish(&first.id, &first.lease, None, end, lost).await.unwrap();
    assert_eq!(late, Finish::LeaseLost);
    let stored = world.store.delivery_get(&world.scope, &first.id).await.unwrap();
    assert_eq!((stored.state, stored.response), (DeliveryState::Leased, Value::Null), "no state was changed");
    assert_eq!(stored.late_response, response);
    let attempts = world.store.delivery_attempts(&world.scope, &first.id).await.unwrap();
    assert_eq!(attempts[0].verdict.as_deref(), Some("abandoned"));
    assert_eq!(attempts[0].late, json!({"verdict": "delivered", "detail": response}));
    world.finish_delivery(&second, in_doubt(), lost).await;
    world.store.delivery_redrive(&world.scope, &first.id, decision(lost)).await.unwrap();
    let third = world.claim_delivery(lost).await;
    assert_eq!(third.made, Some(response), "the document is there: nothing is to be sent");
}

pub async fn a_postponed_attempt_does_not_count(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let mut claim = claimed(&world, "ch_1").await;
    for attempt in 2..10 {
        let failure = CallFailure::retryable("not-connected", "refused");
        world.finish_delivery(&claim, postponed(Postponement::NotNow, failure), START).await;
        claim = world.claim_delivery(START).await;
        assert_eq!((claim.attempt, claim.attempts_since_redrive, claim.in_doubt), (attempt, 1, false));
    }
}

pub async fn an_absence_counts_until_the_next_doubt(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let claim = claimed(&world, "ch_1").await;
    let failure = || CallFailure::ambiguous("timeout", "no answer");
    let retry = |due| DeliveryEnd::Retry { due_at: due, failure: failure(), alerts: vec![] };
    world.finish_delivery(&claim, retry(at(2)), at(1)).await;
    let claim = world.claim_delivery(at(2)).await;
    assert_eq!((claim.doubt_since, claim.absent_at), (Some(at(1)), None));
    let absent = postponed(Postponement::Absent, CallFailure::retryable("absent-once", "absent"));
    world.finish_delivery(&claim, absent, at(3)).await;
    let claim = world.claim_delivery(at(4)).await;
    assert_eq!((claim.doubt_since, claim.absent_at), (Some(at(1)), Some(at(3))));
    world.finish_delivery(&claim, retry(at(6)), at(5)).await;
    let claim = world.claim_delivery(at(6)).await;
    assert_eq!((claim.doubt_since, claim.absent_at), (Some(at(5)), None), "a new doubt asks anew");
}

pub async fn a_corrected_body_stands_beside_the_planned_one(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let claim = claimed(&world, "ch_1").await;
    let sent = Sent { body: json!({"key": "order"}), sha256: "aa".to_owned() };
    let (store, scope) = (&world.store, &world.scope);
    let finished = store.delivery_finish(&claim.id, &claim.lease, Some(sent), dead(), at(1)).await.unwrap();
    assert_eq!(finished, Finish::Done);
    let body = json!({"key": "order", "material": "4712"});
    store.delivery_correct(scope, &claim.id, body.clone(), decision(at(2))).await.unwrap();
    let stored = store.delivery_get(scope, &claim.id).await.unwrap();
    assert_eq!((stored.body, stored.planned_body), (body.clone(), Some(json!({"key": "order"}))));
    let again = world.claim_delivery(at(3)).await;
    assert_eq!((again.body.clone(), again.is_corrected), (body, true));
    assert_eq!((&again.call_id, again.sent_sha256.as_deref()), (&claim.call_id, Some("aa")));
    world.finish_delivery(&again, delivered(json!({})), at(4)).await;
    let refused = store.delivery_correct(scope, &claim.id, json!({}), decision(at(5))).await;
    assert!(matches!(refused, Err(StoreError::Conflict(_))), "S7");
    let decisions = store.decision_list(scope, claim.id.as_str()).await.unwrap();
    assert_eq!(decisions.len(), 1);
    assert_eq!((decisions[0].action.as_str(), &decisions[0].decision), ("correct", &decision(at(2))));
}

pub async fn what_is_mapped_again_is_sent_anew_and_the_rest_stays(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let (store, scope) = (&world.store, &world.scope);
    let deliveries = vec![
        world.a_delivery("one", &[]),
        world.a_delivery("two", &["one"]),
        world.a_delivery("after", &["two"]),
    ];
    let run = world.planned("ch_1", deliveries).await;
    let claim = world.claim_delivery(at(1)).await;
    assert_eq!(claim.key, "one");
    world.finish_delivery(&claim, delivered(json!({})), at(1)).await;
    let dead_one = world.claim_delivery(at(2)).await;
    world.finish_delivery(&dead_one, dead(), at(2)).await;
    let line = LedgerLine {
        account: "4000".to_owned(),
        side: Side::Credit,
        amount: "12.50".parse().unwrap(),
        currency: "USD".to_owned(),
    };
    let new =
        |key: &str| Remapped { key: key.to_owned(), body: json!({ "of": key }), ledger: vec![line.clone()] };
    let all = vec![new("one"), new("two"), new("after")];
    let stranger = World::new(store.clone()).await.scope;
    let strange = store.delivery_remap(&stranger, &run, all.clone(), decision(at(3))).await.unwrap();
    assert_eq!(strange, [], "another tenant's run is none");
    let made = store.delivery_remap(scope, &run, all.clone(), decision(at(3))).await.unwrap();
    assert_eq!(made.len(), 2, "what is delivered stays");
    assert_eq!(made[0], (dead_one.id.clone(), Decided::Done));
    let of_run = store.delivery_of_run(scope, &run).await.unwrap();
    let told: Vec<_> =
        of_run.iter().map(|one| (one.state, one.body["of"].as_str(), one.ledger.len())).collect();
    let expected = [
        (DeliveryState::Delivered, None, 0),
        (DeliveryState::Pending, Some("two"), 1),
        (DeliveryState::Waiting, Some("after"), 1),
    ];
    assert_eq!(told, expected);
    let again = world.claim_delivery(at(4)).await;
    assert_eq!((&again.call_id, again.is_corrected), (&dead_one.call_id, true));
    world.finish_delivery(&again, dead(), at(5)).await;
    // Where the environment asks for four eyes, it takes two keys that see the same.
    let settings = EnvironmentSettings { four_eyes: true, ..EnvironmentSettings::default() };
    store.environment_settings_put(scope, settings, decision(at(6))).await.unwrap();
    let two = vec![new("two")];
    let first = store.delivery_remap(scope, &run, two.clone(), by("anna", 7)).await.unwrap();
    assert_eq!(first[0].1, Decided::Proposed);
    let second = store.delivery_remap(scope, &run, two, by("berta", 8)).await.unwrap();
    assert_eq!(second[0].1, Decided::Done);
    assert_eq!(world.claim_delivery(at(9)).await.id, dead_one.id);
}

pub async fn dead_letters_are_found_assigned_and_redriven_by_filter(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let (store, scope) = (&world.store, &world.scope);
    let mut ids = Vec::new();
    for number in 0..5 {
        let claim = claimed(&world, &format!("ch_{number}")).await;
        let end = if number == 4 { in_doubt() } else { dead() };
        world.finish_delivery(&claim, end, at(number)).await;
        ids.push(claim.id);
    }
    let filter = DeliveryFilter { state: Some(DeliveryState::Dead), ..DeliveryFilter::default() };
    let count = async |filter: DeliveryFilter| {
        store.delivery_list(scope, filter, Page::default()).await.unwrap().len()
    };
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(count(filter.clone()).await, 4);
    assert_eq!(count(DeliveryFilter { code: text("period-closed"), ..filter.clone() }).await, 4);
    assert_eq!(count(DeliveryFilter { code: text("locked"), ..filter.clone() }).await, 0);
    assert_eq!(count(DeliveryFilter { kind: text("charge.succeeded"), ..filter.clone() }).await, 4);
    assert_eq!(count(DeliveryFilter { kind: text("refund.created"), ..filter.clone() }).await, 0);
    assert_eq!(count(DeliveryFilter { since: Some(at(1)), until: Some(at(3)), ..filter.clone() }).await, 2);
    store.delivery_assign(scope, &ids[0], text("ben"), decision(at(9))).await.unwrap();
    assert_eq!(count(DeliveryFilter { assignee: text("ben"), ..filter.clone() }).await, 1);
    assert_eq!(store.delivery_get(scope, &ids[0]).await.unwrap().assignee, text("ben"));

    let until = DeliveryFilter { until: Some(at(9)), ..filter.clone() };
    let redrive = async |filter: DeliveryFilter, rows| {
        store.delivery_redrive_matching(scope, filter, rows, decision(at(10))).await.unwrap().0
    };
    assert_eq!(redrive(until.clone(), 2).await, 2);
    assert_eq!(redrive(until.clone(), 2).await, 1, "the one that was assigned has changed since");
    assert_eq!(redrive(filter.clone(), 2).await, 1);
    assert_eq!(redrive(filter.clone(), 2).await, 0);
    assert_eq!(world.claim_deliveries(at(11)).await.len(), 4);
    assert_eq!(store.delivery_get(scope, &ids[4]).await.unwrap().state, DeliveryState::InDoubt);
    let elsewhere = world.another_world().await.scope;
    assert!(store.delivery_list(&elsewhere, filter, Page::default()).await.unwrap().is_empty(), "S11");
}

pub async fn a_resolved_delivery_is_final_and_says_so(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let claim = claimed(&world, "ch_1").await;
    world.finish_delivery(&claim, dead(), at(1)).await;
    world.store.delivery_resolve(&world.scope, &claim.id, decision(at(2))).await.unwrap();
    let stored = world.store.delivery_get(&world.scope, &claim.id).await.unwrap();
    assert_eq!((stored.state, &stored.reason["code"]), (DeliveryState::Cancelled, &json!("resolved")));
}

pub async fn what_was_surely_not_carried_out_is_sent_as_if_for_the_first_time(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let (store, scope) = (&world.store, &world.scope);
    let claim = claimed(&world, "ch_1").await;
    world.finish_delivery(&claim, in_doubt(), at(1)).await;
    store.delivery_redrive(scope, &claim.id, by("anna", 2)).await.unwrap();
    let again = world.claim_delivery(at(3)).await;
    assert!(again.in_doubt, "a redrive settles no doubt");
    world.finish_delivery(&again, in_doubt(), at(4)).await;
    assert_eq!(store.delivery_resend(scope, &claim.id, by("anna", 5)).await.unwrap(), Decided::Done);
    let again = world.claim_delivery(at(6)).await;
    assert!(!again.in_doubt);
    world.finish_delivery(&again, dead(), at(7)).await;
    let no_doubt = store.delivery_resend(scope, &claim.id, by("anna", 8)).await;
    assert!(matches!(no_doubt, Err(StoreError::Conflict(_))), "{no_doubt:?}");
}

pub async fn s16_four_eyes_take_two_keys_that_say_the_same(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let (store, scope) = (&world.store, &world.scope);
    let on = EnvironmentSettings { four_eyes: true, replay_events_min: 0 };
    assert_eq!(store.environment_settings_put(scope, on, by("anna", 0)).await.unwrap(), Decided::Done);
    let claim = claimed(&world, "ch_1").await;
    world.finish_delivery(&claim, in_doubt(), at(1)).await;
    let id = &claim.id;
    let adopt = async |number: u32, name, seconds| {
        store.delivery_adopt(scope, id, json!({"number": number}), by(name, seconds)).await
    };
    assert_eq!(store.delivery_redrive(scope, id, by("anna", 2)).await.unwrap(), Decided::Proposed);
    assert_eq!(adopt(1, "anna", 2).await.unwrap(), Decided::Proposed);
    assert!(matches!(adopt(1, "anna", 3).await, Err(StoreError::Conflict(_))), "the same key");
    assert_eq!(adopt(2, "ben", 4).await.unwrap(), Decided::Proposed, "another content is another proposal");
    assert_eq!(world.delivery_of(id).await.state, DeliveryState::InDoubt, "nothing has happened yet");
    assert_eq!(store.proposal_list(scope).await.unwrap().len(), 2);
    assert_eq!(adopt(2, "anna", 5).await.unwrap(), Decided::Done);
    assert_eq!(world.delivery_of(id).await.response, json!({"number": 2}));
    let past = store.decision_list(scope, id.as_str()).await.unwrap();
    assert_eq!((&past[0].decision, past[0].proposed.as_ref()), (&by("anna", 5), Some(&by("ben", 4))));

    // A hold, too; and what is surely not there may be sent by one.
    let (_, run) = world.accept("ch_2").await;
    let run_claim = world.claim_run(START).await;
    let plan = held("ch_2", vec![world.a_delivery("late", &[])], vec![]);
    world.finish_run(&run_claim, plan, START).await;
    assert_eq!(store.run_approve(scope, &run, by("anna", 6)).await.unwrap(), Decided::Proposed);
    assert!(world.claim_deliveries(at(7)).await.is_empty());
    assert_eq!(store.run_approve(scope, &run, by("ben", 8)).await.unwrap(), Decided::Done);
    let claim = world.claim_delivery(at(9)).await;
    world.finish_delivery(&claim, dead(), at(10)).await;
    let corrected = store.delivery_correct(scope, &claim.id, json!({}), by("anna", 11)).await.unwrap();
    assert_eq!(corrected, Decided::Proposed);
    assert_eq!(store.delivery_redrive(scope, &claim.id, by("anna", 12)).await.unwrap(), Decided::Done);

    // To give up four eyes takes four eyes.
    let off = EnvironmentSettings::default();
    assert_eq!(store.environment_settings_put(scope, off, by("anna", 13)).await.unwrap(), Decided::Proposed);
    assert!(store.environment_settings(scope).await.unwrap().four_eyes);
    assert_eq!(store.environment_settings_put(scope, off, by("ben", 14)).await.unwrap(), Decided::Done);
    assert!(!store.environment_settings(scope).await.unwrap().four_eyes);
}

pub async fn an_alert_ends_when_what_it_told_of_is_over(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let (store, scope) = (&world.store, &world.scope);
    let alert = super::world::alert(Severity::Critical, START);
    let (code, title) = (alert.code.clone(), alert.title.clone());
    store.alert_raise(scope, alert.clone()).await.unwrap();
    store.alert_end(scope, &code, "another title", at(1)).await.unwrap();
    assert_eq!(store.alert_list(scope, AlertFilter::unresolved(), Page::default()).await.unwrap().len(), 1);
    store.alert_end(scope, &code, &title, at(1)).await.unwrap();
    assert!(store.alert_list(scope, AlertFilter::unresolved(), Page::default()).await.unwrap().is_empty());
}

pub async fn a_tenant_takes_no_more_than_its_room(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let other = world.another_connection("other").await;
    for number in 0..6 {
        let mut delivery = world.a_delivery("order", &[]);
        if number % 2 == 0 {
            delivery.connection = other.clone();
        }
        world.planned(&format!("ch_{number}"), vec![delivery]).await;
    }
    let tenant = world.scope.tenant.to_string();
    let full = ClaimRequest { tenant_room: [(tenant.clone(), 0)].into(), ..request("one", START) };
    assert!(world.store.delivery_claim(full).await.unwrap().is_empty());
    let narrow = ClaimRequest { tenant_room: [(tenant, 2)].into(), ..request("one", START) };
    assert_eq!(world.store.delivery_claim(narrow).await.unwrap().len(), 2);
    let unnamed = ClaimRequest { tenant_room_max: 3, ..request("one", START) };
    assert_eq!(world.store.delivery_claim(unnamed).await.unwrap().len(), 3);
}
