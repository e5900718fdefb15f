//! Alerts that people look after, and notification rules.

use portolan_domain::{
    AlertId, NoticeId, NotificationRuleId, Timestamp,
    contract::Severity,
    notification::{AlertsTold, DeliveriesTold, Receiver, Rule},
    state::{AlertState, NoticeState},
};
use serde_json::{Value, json};

use super::{
    Place,
    world::{LEASE_MS, START, World, alert, at, dead, decision, delivered, plan, request},
};
use crate::{
    Finish, Page, StoreError,
    alert::{AlertFilter, NewAlert},
    notification::{NoticeClaim, NoticeEnd, NoticeFilter, NotificationRule, RuleChange},
    retention::Hidden,
    run::RunEnd,
};

fn raised(code: &str, severity: Severity, seconds: u64) -> NewAlert {
    let at = at(seconds);
    NewAlert {
        id: AlertId::generate(at),
        code: code.to_owned(),
        title: code.to_owned(),
        ..alert(severity, at)
    }
}

fn rule() -> Rule {
    Rule {
        alerts: Some(AlertsTold::default()),
        deliveries: None,
        to: Receiver::Webhook { url: "https://example.com/hook".to_owned() },
        per_minute_max: 30,
    }
}

async fn listening(world: &World, name: &str, rule: Rule) -> NotificationRuleId {
    let id = NotificationRuleId::generate(START);
    let rule = NotificationRule {
        id: id.clone(),
        scope: world.scope.clone(),
        name: name.to_owned(),
        enabled: true,
        rule,
        sealed_secrets: vec![7],
        revision: 1,
        created_at: START,
    };
    world.store.notification_rule_create(rule).await.unwrap();
    id
}

async fn claim(world: &World, now: Timestamp) -> Vec<NoticeClaim> {
    world.store.notice_claim(request("one", now)).await.unwrap()
}

async fn told(world: &World) -> Vec<(String, String)> {
    let mut notices =
        world.store.notice_list(&world.scope, NoticeFilter::default(), Page::default()).await.unwrap();
    notices.reverse();
    notices.into_iter().map(|notice| (notice.news.kind, notice.news.title)).collect()
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(kind, title)| ((*kind).to_owned(), (*title).to_owned())).collect()
}

async fn raise(world: &World, code: &str, severity: Severity, seconds: u64) -> AlertId {
    world.store.alert_raise(&world.scope, raised(code, severity, seconds)).await.unwrap();
    let filter = AlertFilter { code: Some(code.to_owned()), ..AlertFilter::unresolved() };
    world.store.alert_list(&world.scope, filter, Page::default()).await.unwrap().remove(0).id
}

pub async fn s12_an_acknowledged_alert_counts_on_and_a_resolved_one_opens_anew(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let (store, scope) = (&world.store, &world.scope);
    let id = raise(&world, "guard", Severity::Warning, 0).await;
    store.alert_acknowledge(scope, &id, decision(at(1))).await.unwrap();
    store.alert_acknowledge(scope, &id, decision(at(9))).await.unwrap();
    assert_eq!(raise(&world, "guard", Severity::Critical, 2).await, id, "the same one counts");
    let one = store.alert_get(scope, &id).await.unwrap();
    assert_eq!((one.state, one.count, one.severity), (AlertState::Acknowledged, 2, Severity::Critical));
    assert_eq!(one.acknowledged, Some(decision(at(1))), "what was said first stays");
    assert_eq!(one.resolved, None);
    store.alert_resolve(scope, &id, decision(at(3))).await.unwrap();
    store.alert_resolve(scope, &id, decision(at(8))).await.unwrap();
    let one = store.alert_get(scope, &id).await.unwrap();
    assert_eq!((one.state, one.resolved), (AlertState::Resolved, Some(decision(at(3)))));
    assert_eq!(one.acknowledged, Some(decision(at(1))));
    let again = store.alert_acknowledge(scope, &id, decision(at(4))).await;
    assert!(matches!(again, Err(StoreError::Conflict(_))));
    let anew = raise(&world, "guard", Severity::Info, 5).await;
    assert_ne!(anew, id);
    let anew = store.alert_get(scope, &anew).await.unwrap();
    assert_eq!((anew.state, anew.count, anew.acknowledged), (AlertState::Open, 1, None));
}

pub async fn alerts_are_found_by_state_severity_code_and_time(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let (store, scope) = (&world.store, &world.scope);
    let timeout = raise(&world, "delivery-dead.timeout", Severity::Warning, 1).await;
    let closed = raise(&world, "delivery-dead.period-closed", Severity::Warning, 2).await;
    let doubt = raise(&world, "delivery-in-doubt", Severity::Critical, 3).await;
    let info = raise(&world, "delivery-deadline", Severity::Info, 4).await;
    store.alert_acknowledge(scope, &closed, decision(at(5))).await.unwrap();
    store.alert_resolve(scope, &doubt, decision(at(5))).await.unwrap();
    let found = async |filter: AlertFilter| -> Vec<AlertId> {
        let found = store.alert_list(scope, filter, Page::default()).await.unwrap();
        found.into_iter().map(|alert| alert.id).collect()
    };
    let all = AlertFilter::default;
    let of = |state| AlertFilter { states: vec![state], ..all() };
    assert_eq!(found(of(AlertState::Open)).await, [info.clone(), timeout.clone()]);
    assert_eq!(found(of(AlertState::Acknowledged)).await, std::slice::from_ref(&closed));
    assert_eq!(found(of(AlertState::Resolved)).await, std::slice::from_ref(&doubt));
    assert_eq!(found(AlertFilter::unresolved()).await, [info.clone(), closed.clone(), timeout.clone()]);
    let family = AlertFilter { code: Some("delivery-dead.*".to_owned()), ..all() };
    assert_eq!(found(family).await, [closed.clone(), timeout.clone()]);
    let code = AlertFilter { code: Some("delivery-in-doubt".to_owned()), ..all() };
    assert_eq!(found(code).await, std::slice::from_ref(&doubt));
    let worst = AlertFilter { severity_least: Some(Severity::Warning), ..all() };
    assert_eq!(found(worst).await, [doubt.clone(), closed, timeout]);
    assert_eq!(found(AlertFilter { since: Some(at(3)), ..all() }).await, [info, doubt]);
}

pub async fn an_event_knows_the_alerts_that_it_raised(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let (event, run) = world.accept("ch_1").await;
    let claim = world.claim_run(START).await;
    let (other, _) = world.accept("ch_2").await;
    let mut end = plan("ch_1", vec![world.a_delivery("order", &[])]);
    if let RunEnd::Planned { alerts, .. } = &mut end {
        alerts.push(raised("early-fraud-warning", Severity::Warning, 0));
    }
    assert_eq!(claim.id, run);
    world.finish_run(&claim, end, START).await;
    let claim = world.claim_delivery(START).await;
    let mut end = dead();
    if let crate::delivery::DeliveryEnd::Dead { alerts, .. } = &mut end {
        alerts.push(raised("delivery-dead.x", Severity::Warning, 1));
    }
    world.finish_delivery(&claim, end, at(1)).await;
    let alerts = world.store.alert_of_event(&world.scope, &event).await.unwrap();
    let codes: Vec<_> = alerts.iter().map(|alert| alert.code.as_str()).collect();
    assert_eq!(codes, ["delivery-dead.x", "early-fraud-warning"]);
    assert!(world.store.alert_of_event(&world.scope, &other).await.unwrap().is_empty());
    let stranger = World::new(world.store.clone()).await.scope;
    assert!(world.store.alert_of_event(&stranger, &event).await.unwrap().is_empty());
}

pub async fn alerts_of_other_scopes_end_when_what_they_told_of_is_over(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let other = World::new(world.store.clone()).await;
    let over = raise(&world, "backlog-old", Severity::Warning, 0).await;
    let still = raise(&other, "backlog-old", Severity::Warning, 0).await;
    let store = &world.store;
    let ended = store.alert_end_elsewhere("backlog-old", vec![other.scope.clone()], at(1)).await.unwrap();
    assert_eq!(ended, 1);
    let over = store.alert_get(&world.scope, &over).await.unwrap();
    assert_eq!((over.state, over.resolved.unwrap().by.as_str()), (AlertState::Resolved, "host"));
    assert_eq!(store.alert_get(&other.scope, &still).await.unwrap().state, AlertState::Open);
    assert_eq!(store.alert_end_elsewhere("backlog-old", vec![other.scope.clone()], at(2)).await.unwrap(), 0);
}

pub async fn s24_a_rule_tells_what_it_names_when_it_happens(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let states = vec![AlertState::Open, AlertState::Acknowledged, AlertState::Resolved];
    let alerts = AlertsTold { states, severity_least: Severity::Critical, ..AlertsTold::default() };
    listening(&world, "worst", Rule { alerts: Some(alerts), ..rule() }).await;
    raise(&world, "guard", Severity::Warning, 0).await;
    assert!(told(&world).await.is_empty(), "it does not matter enough");
    let id = raise(&world, "guard", Severity::Critical, 1).await;
    raise(&world, "guard", Severity::Critical, 2).await;
    assert_eq!(
        told(&world).await,
        pairs(&[("alert.open", "guard")]),
        "told when it came to matter, and once"
    );
    world.store.alert_acknowledge(&world.scope, &id, decision(at(3))).await.unwrap();
    world.store.alert_end(&world.scope, "guard", "guard", at(4)).await.unwrap();
    let all = [("alert.open", "guard"), ("alert.acknowledged", "guard"), ("alert.resolved", "guard")];
    assert_eq!(told(&world).await, pairs(&all));
    let notices =
        world.store.notice_list(&world.scope, NoticeFilter::default(), Page::default()).await.unwrap();
    let first = &notices[2].news;
    assert_eq!((first.subject.as_str(), &first.data["count"]), (id.as_str(), &json!(2)));
    assert_eq!(notices[0].news.data["decision"]["by"], json!("host"));
}

pub async fn s24_what_is_not_stored_is_not_told(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let other = World::new(world.store.clone()).await;
    listening(&world, "all", rule()).await;
    world.accept("ch_1").await;
    let claim = world.claim_run(START).await;
    let mut delivery = world.a_delivery("order", &[]);
    delivery.connection = other.connection.clone();
    let mut end = plan("ch_1", vec![delivery]);
    if let RunEnd::Planned { alerts, .. } = &mut end {
        alerts.push(raised("early-fraud-warning", Severity::Warning, 0));
    }
    let finish = world.store.run_finish(&claim.id, &claim.lease, super::world::record(), end, START).await;
    assert!(finish.is_err(), "the plan is refused as a whole");
    assert!(told(&world).await.is_empty());
}

pub async fn s24_a_flood_becomes_its_bound_and_one_that_counts_the_rest(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    listening(&world, "few", Rule { per_minute_max: 3, ..rule() }).await;
    for number in 0..50 {
        raise(&world, &format!("code-{number}"), Severity::Warning, number / 10).await;
    }
    assert_eq!(told(&world).await.len(), 4);
    assert_eq!(claim(&world, at(5)).await.len(), 3, "the digest still gathers");
    assert_eq!(
        world.store.notice_next_due().await.unwrap(),
        Some(at(5).plus(std::time::Duration::from_millis(LEASE_MS)))
    );
    // The leases have run out by then: those three are due again, too.
    let digest = claim(&world, at(60)).await.into_iter().find(|claim| claim.news.kind == "digest").unwrap();
    assert_eq!((&digest.news.title, &digest.news.data["count"]), (&"47 more".to_owned(), &json!(47)));
    assert_eq!(digest.news.data["counts"].as_object().unwrap().len(), 21);
    raise(&world, "later", Severity::Warning, 61).await;
    assert_eq!(told(&world).await.last().unwrap(), &pairs(&[("alert.open", "later")])[0], "another minute");
}

pub async fn a_delivery_that_was_made_is_told_where_somebody_asked(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let of = |operation: &str| {
        let deliveries =
            DeliveriesTold { operations: vec![operation.to_owned()], ..DeliveriesTold::default() };
        Rule { alerts: None, deliveries: Some(deliveries), ..rule() }
    };
    let operation = world.a_delivery("x", &[]).operation;
    let asked = listening(&world, "asked", of(&operation)).await;
    listening(&world, "not asked", of("another.operation")).await;
    let run = world.planned("ch_1", vec![world.a_delivery("order", &[])]).await;
    let made = world.claim_delivery(START).await;
    world.finish_delivery(&made, delivered(json!({"number": "4711"})), at(1)).await;
    let claims = claim(&world, at(1)).await;
    assert_eq!(claims.len(), 1);
    assert_eq!((&claims[0].rule.id, claims[0].news.kind.as_str()), (&asked, "delivery.delivered"));
    let data = &claims[0].news.data;
    assert_eq!((&data["delivery"], &data["run"]), (&json!(made.id), &json!(run)));
    assert_eq!((&data["event"], &data["operation"]), (&json!(made.event), &json!(operation)));
}

pub async fn s5_a_notice_is_leased_to_one_owner_at_a_time(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    listening(&world, "all", rule()).await;
    raise(&world, "guard", Severity::Warning, 0).await;
    let first = claim(&world, START).await.remove(0);
    assert_eq!((first.attempt, &first.rule.sealed_secrets), (1, &vec![7]));
    assert!(claim(&world, START).await.is_empty());
    let late = at(LEASE_MS / 1_000 + 1);
    let second = world.store.notice_claim(request("two", late)).await.unwrap().remove(0);
    assert_eq!((second.attempt, &second.id), (2, &first.id));
    let store = &world.store;
    assert_eq!(store.notice_finish(&first, NoticeEnd::Sent, late).await.unwrap(), Finish::LeaseLost);
    let due_at = late.plus(std::time::Duration::from_secs(10));
    let retry = NoticeEnd::Retry { due_at, reason: json!({"code": "timeout"}) };
    assert_eq!(store.notice_finish(&second, retry, late).await.unwrap(), Finish::Done);
    assert!(claim(&world, late).await.is_empty());
    assert_eq!(store.notice_next_due().await.unwrap(), Some(due_at));
    let third = claim(&world, due_at).await.remove(0);
    // A restart ends the lease of the dead.
    assert_eq!(store.leases_end_foreign("three", &[], due_at).await.unwrap(), 1);
    let fourth = world.store.notice_claim(request("three", due_at)).await.unwrap().remove(0);
    assert_eq!((third.attempt, fourth.attempt), (3, 4));
    assert_eq!(store.notice_finish(&fourth, NoticeEnd::Sent, due_at).await.unwrap(), Finish::Done);
    let sent =
        store.notice_list(&world.scope, NoticeFilter::default(), Page::default()).await.unwrap().remove(0);
    assert_eq!((sent.state, sent.attempts, sent.reason), (NoticeState::Sent, 4, Value::Null));
    assert_eq!(store.notice_next_due().await.unwrap(), None);
}

pub async fn s8_one_tenants_notices_do_not_delay_anothers(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let other = World::new(world.store.clone()).await;
    let mine = listening(&world, "all", rule()).await;
    listening(&other, "all", rule()).await;
    for number in 0..20 {
        raise(&world, &format!("code-{number}"), Severity::Warning, 0).await;
    }
    raise(&other, "one", Severity::Warning, 0).await;
    let mut few = request("one", START);
    few.rows_max = 2;
    let scopes: Vec<_> =
        world.store.notice_claim(few).await.unwrap().into_iter().map(|claim| claim.rule.scope).collect();
    assert!(scopes.contains(&world.scope) && scopes.contains(&other.scope), "{scopes:?}");
    let mut busy = request("one", START);
    busy.room.insert(mine.to_string(), 0);
    assert!(world.store.notice_claim(busy).await.unwrap().is_empty(), "a rule that is busy is left alone");
}

pub async fn a_failed_notice_is_visible_and_not_told_by_its_own_rule(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let failing = listening(&world, "failing", rule()).await;
    raise(&world, "guard", Severity::Warning, 0).await;
    let other = listening(&world, "other", rule()).await;
    let claimed = claim(&world, START).await.remove(0);
    let alerts = vec![raised("notification-failed", Severity::Warning, 1)];
    let end = NoticeEnd::Failed { reason: json!({"code": "refused"}), alerts };
    assert_eq!(world.store.notice_finish(&claimed, end, at(1)).await.unwrap(), Finish::Done);
    let filter = NoticeFilter { state: Some(NoticeState::Failed), rule: Some(failing.clone()) };
    let failed = world.store.notice_list(&world.scope, filter, Page::default()).await.unwrap();
    assert_eq!((failed.len(), &failed[0].reason), (1, &json!({"code": "refused"})));
    let claims = claim(&world, at(1)).await;
    let told: Vec<_> = claims.iter().map(|claim| (&claim.rule.id, claim.news.title.as_str())).collect();
    assert_eq!(told, [(&other, "notification-failed")]);
}

pub async fn a_rule_that_is_switched_off_gives_up_what_it_has_not_told(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let id = listening(&world, "all", Rule { per_minute_max: 1, ..rule() }).await;
    raise(&world, "one", Severity::Warning, 0).await;
    raise(&world, "two", Severity::Warning, 0).await;
    let store = &world.store;
    let off = RuleChange { enabled: Some(false), ..RuleChange::default() };
    store.notification_rule_update(&world.scope, &id, off, at(1)).await.unwrap();
    raise(&world, "three", Severity::Warning, 2).await;
    assert!(claim(&world, at(100)).await.is_empty());
    let list = store.notice_list(&world.scope, NoticeFilter::default(), Page::default()).await.unwrap();
    let ended = |notice: &crate::notification::Notice| {
        notice.state == NoticeState::Failed && notice.reason["code"] == json!("rule-disabled")
    };
    assert!(list.len() == 2 && list.iter().all(ended), "{list:?}");
    assert_eq!(store.notification_rule_get(&world.scope, &id).await.unwrap().revision, 2);
    store.notification_rule_delete(&world.scope, &id).await.unwrap();
    assert!(told(&world).await.is_empty());
}

pub async fn a_deleted_rule_is_gone_at_once_and_its_notices_are_removed_in_steps(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let (store, scope) = (&world.store, &world.scope);
    let id = listening(&world, "all", rule()).await;
    for code in ["one", "two", "three"] {
        raise(&world, code, Severity::Warning, 0).await;
    }
    let leased = claim(&world, at(1)).await.remove(0);
    store.notification_rule_delete(scope, &id).await.unwrap();
    // Nobody sees it, it tells nothing, what was to be told is not; and its name is free.
    assert!(matches!(store.notification_rule_get(scope, &id).await, Err(StoreError::NotFound)));
    assert!(matches!(store.notification_rule_delete(scope, &id).await, Err(StoreError::NotFound)));
    assert!(store.notification_rule_list(scope, Page::default()).await.unwrap().is_empty());
    for filter in [
        NoticeFilter::default(),
        NoticeFilter { rule: Some(id.clone()), ..NoticeFilter::default() },
        NoticeFilter { state: Some(NoticeState::Pending), ..NoticeFilter::default() },
    ] {
        assert!(store.notice_list(scope, filter, Page::default()).await.unwrap().is_empty());
    }
    let again = listening(&world, "all", rule()).await;
    raise(&world, "four", Severity::Warning, 2).await;
    let later = NoticeEnd::Retry { due_at: at(3), reason: json!({ "code": "busy", "message": "x" }) };
    let finish = store.notice_finish(&leased, later, at(2)).await.unwrap();
    assert_eq!(finish, Finish::Done);
    let claims = claim(&world, at(100)).await;
    assert_eq!(claims.iter().map(|claim| &claim.rule.id).collect::<Vec<_>>(), [&again]);
    // Two of its notices, the third, and itself; the other rule's stay.
    let mut removed = Vec::new();
    loop {
        let swept = store.sweep_hidden(Hidden::Notices, 2).await.unwrap();
        if !swept.more {
            break;
        }
        removed.push(swept.removed);
    }
    assert_eq!(removed, [2, 1, 1]);
    assert_eq!(told(&world).await.len(), 1);
    assert!(store.notification_rule_get(scope, &again).await.is_ok());
}

pub async fn s11_another_scopes_rules_are_none(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let stranger = World::new(world.store.clone()).await.scope;
    let id = listening(&world, "all", rule()).await;
    raise(&world, "guard", Severity::Warning, 0).await;
    let store = &world.store;
    let absent = |result: Result<(), StoreError>| matches!(result, Err(StoreError::NotFound));
    assert!(absent(store.notification_rule_get(&stranger, &id).await.map(drop)));
    let change = RuleChange::default();
    assert!(absent(store.notification_rule_update(&stranger, &id, change, START).await));
    assert!(absent(store.notification_rule_delete(&stranger, &id).await));
    assert!(store.notification_rule_list(&stranger, Page::default()).await.unwrap().is_empty());
    assert!(store.notice_list(&stranger, NoticeFilter::default(), Page::default()).await.unwrap().is_empty());
    let page = Page { before: Some(NoticeId::generate(START).to_string()), rows_max: 1 };
    assert!(absent(store.notice_list(&world.scope, NoticeFilter::default(), page).await.map(drop)));
    let alert = raise(&world, "guard", Severity::Warning, 0).await;
    assert!(absent(store.alert_get(&stranger, &alert).await.map(drop)));
    assert!(absent(store.alert_acknowledge(&stranger, &alert, decision(START)).await));
    let again = NotificationRule {
        id: NotificationRuleId::generate(START),
        ..store.notification_rule_get(&world.scope, &id).await.unwrap()
    };
    assert!(
        matches!(store.notification_rule_create(again).await, Err(StoreError::Conflict(_))),
        "the name is taken"
    );
}
