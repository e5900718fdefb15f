//! What people configure, and that nothing of it crosses scopes.

use portolan_domain::{
    AlertId, ConnectionId, DeliveryId, Environment, KeyId, MappingId, ModuleDigest, Scope, SourceId,
    Timestamp, contract::Severity, state::AlertState,
};
use serde_json::json;

use super::{
    Place,
    world::{START, World, alert, at, decision, plan, reference, reference_key},
};
use crate::{
    Page, StoreError,
    alert::{AlertFilter, NewAlert},
    connection::ConnectionRow,
    delivery::DeliveryFilter,
    event::EventFilter,
    idempotency::{Begun, KeyedRequest},
    key::{Key, Role},
    lookup::{LookupChange, LookupRow, LookupTable, ROWS_PER_WRITE_MAX, VERSIONS_MAX},
    mapping::{Mapping, MappingChange},
    source::{Source, SourceChange},
    tenant::Tenant,
};

fn conflicts<T>(result: Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Conflict(_)))
}

fn absent<T>(result: Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::NotFound))
}

pub async fn names_are_unique_in_their_scope(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let other = World::new(world.store.clone()).await;
    let store = &world.store;
    assert_ne!(world.scope, other.scope, "both have a source called hooks");
    let source = Source { id: SourceId::generate(START), ..world.a_source("hooks") };
    assert!(conflicts(store.source_create(source, None).await));
    let connection = ConnectionRow { id: ConnectionId::generate(START), ..world.a_connection("erp") };
    assert!(conflicts(store.connection_create(connection).await));
    let mapping = Mapping { id: MappingId::generate(START), ..world.a_mapping("orders") };
    assert!(conflicts(store.mapping_create(mapping).await));
    let name = world.scope.tenant.to_string();
    assert!(conflicts(store.tenant_create(Tenant::new(name, START)).await));
}

pub async fn what_is_configured_reads_back_as_it_was_stored(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let (store, scope) = (&world.store, &world.scope);
    assert_eq!(store.source_get(scope, &world.source).await.unwrap(), world.a_source("hooks"));
    assert_eq!(store.source_at(&world.source).await.unwrap(), world.a_source("hooks"));
    assert_eq!(store.connection_get(scope, &world.connection).await.unwrap(), world.a_connection("erp"));
    assert_eq!(store.mapping_get(scope, &world.mapping).await.unwrap(), world.a_mapping("orders"));
    assert_eq!(store.mapping_of_source(scope, &world.source).await.unwrap(), [world.a_mapping("orders")]);

    let secrets = SourceChange { sealed_secrets: Some(vec![9]), ..SourceChange::default() };
    store.source_update(scope, &world.source, secrets, START).await.unwrap();
    let source = Source { sealed_secrets: vec![9], ..world.a_source("hooks") };
    assert_eq!(store.source_at(&world.source).await.unwrap(), source, "what is not named stays");
    store.connection_update(scope, &world.connection, json!({"client": "200"}), vec![8]).await.unwrap();
    let connection = store.connection_get(scope, &world.connection).await.unwrap();
    assert_eq!((connection.revision, connection.settings), (2, json!({"client": "200"})));
    let change = MappingChange { enabled: Some(false), ..MappingChange::default() };
    let mapping = store.mapping_update(scope, &world.mapping, change, START).await.unwrap();
    assert_eq!(mapping, Mapping { enabled: false, ..world.a_mapping("orders") });
    store.ping().await.unwrap();
}

pub async fn a_module_belongs_to_its_tenant_and_is_stored_once(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let other = World::new(world.store.clone()).await;
    let module = world.a_module(b"component");
    let store = &world.store;
    assert!(store.module_create(module.clone(), b"component".to_vec()).await.unwrap());
    assert!(!store.module_create(module.clone(), b"component".to_vec()).await.unwrap());
    let (tenant, digest) = (&world.scope.tenant, &module.digest);
    assert_eq!(store.module_get(tenant, digest).await.unwrap(), module);
    assert_eq!(store.module_component(tenant, digest).await.unwrap(), b"component");
    assert!(absent(store.module_get(&other.scope.tenant, digest).await));
    assert!(absent(store.module_component(&other.scope.tenant, digest).await));
    assert_eq!(store.module_list(tenant, Page::default()).await.unwrap().len(), 2);
}

pub async fn keys_are_found_by_their_secret(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let store = &world.store;
    let key = |role, tenant, secret: u8| Key {
        id: KeyId::generate(START),
        role,
        tenant,
        environment: None,
        name: "anna".to_owned(),
        secret_sha256: [secret; 32],
        created_at: START,
        expires_at: Some(at(60)),
        last_used_at: None,
    };
    assert!(!store.key_operator_exists().await.unwrap());
    let operator = key(Role::Operator, None, 1);
    let viewer = key(Role::TenantViewer, Some(world.scope.tenant.clone()), 2);
    store.key_create(operator.clone()).await.unwrap();
    store.key_create(viewer.clone()).await.unwrap();
    assert!(store.key_operator_exists().await.unwrap());
    assert_eq!(store.key_find([2; 32]).await.unwrap(), Some(viewer.clone()));
    assert_eq!(store.key_find([3; 32]).await.unwrap(), None);
    assert_eq!(store.key_list(None, Page::default()).await.unwrap(), std::slice::from_ref(&operator));
    assert!(absent(store.key_delete(Some(&world.scope.tenant), &operator.id).await));
    store.key_delete(Some(&world.scope.tenant), &viewer.id).await.unwrap();
    assert_eq!(store.key_find([2; 32]).await.unwrap(), None);
}

pub async fn lookup_rows_are_written_over_and_paged(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let (store, scope) = (&world.store, &world.scope);
    let row = |key: &str, value: i32| LookupRow { key: key.to_owned(), value: json!(value) };
    store.lookup_put(scope, "parts", vec![row("", 0), row("a", 1), row("b", 2)]).await.unwrap();
    store.lookup_put(scope, "parts", vec![row("b", 3), row("c", 4)]).await.unwrap();
    assert_eq!(store.lookup_get(scope, "parts", "b").await.unwrap(), Some(json!(3)));
    assert_eq!(store.lookup_get(scope, "parts", "B").await.unwrap(), None, "byte for byte");
    assert_eq!(store.lookup_rows(scope, "parts", None, 2).await.unwrap(), [row("", 0), row("a", 1)]);
    let rest = store.lookup_rows(scope, "parts", Some("a"), 10).await.unwrap();
    assert_eq!(rest, [row("b", 3), row("c", 4)]);
    let table = LookupTable { name: "parts".to_owned(), rows: 4, version: 2 };
    assert_eq!(store.lookup_tables(scope).await.unwrap(), [table]);
    assert_eq!(store.lookup_keys(scope, "parts", &json!(3), 10).await.unwrap(), ["b"]);
    store.lookup_delete(scope, "parts", "b").await.unwrap();
    store.lookup_delete(scope, "parts", "b").await.unwrap();
    assert_eq!(store.lookup_get(scope, "parts", "b").await.unwrap(), None);
    assert_eq!(store.lookup_keys(scope, "parts", &json!(3), 10).await.unwrap(), [""; 0]);
}

pub async fn s19_a_lookup_table_can_be_put_back(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let (store, scope) = (&world.store, &world.scope);
    let row = |key: &str, value: i32| LookupRow { key: key.to_owned(), value: json!(value) };
    let rows = async || store.lookup_rows(scope, "t", None, 100).await.unwrap();
    assert_eq!(store.lookup_put(scope, "t", vec![row("a", 1), row("b", 2)]).await.unwrap(), 2);
    assert_eq!(store.lookup_put(scope, "t", vec![row("a", 1), row("b", 2)]).await.unwrap(), 0);
    assert_eq!(store.lookup_replace(scope, "t", vec![row("b", 3), row("c", 4)]).await.unwrap(), 3);
    assert_eq!(rows().await, [row("b", 3), row("c", 4)]);
    store.lookup_delete(scope, "t", "c").await.unwrap();
    store.lookup_put(scope, "t", vec![row("a", 9)]).await.unwrap();
    let versions = store.lookup_versions(scope, "t", None, 10).await.unwrap();
    let told: Vec<(u64, u64)> = versions.iter().map(|v| (v.version, v.changes)).collect();
    assert_eq!(told, [(4, 1), (3, 1), (2, 3), (1, 2)], "what changes nothing is no version");
    let change = |key: &str, before: Option<i32>, after: Option<i32>| LookupChange {
        key: key.to_owned(),
        before: before.map(|value| json!(value)),
        after: after.map(|value| json!(value)),
    };
    let changes = store.lookup_changes(scope, "t", 2).await.unwrap();
    let wanted = [change("a", Some(1), None), change("b", Some(2), Some(3)), change("c", None, Some(4))];
    assert_eq!(changes, wanted);
    for (version, wanted) in [
        (1, vec![row("a", 1), row("b", 2)]),
        (2, vec![row("b", 3), row("c", 4)]),
        (3, vec![row("b", 3)]),
        (4, vec![row("a", 9), row("b", 3)]),
        (0, vec![]),
    ] {
        store.lookup_restore(scope, "t", version).await.unwrap();
        assert_eq!(rows().await, wanted, "version {version}");
    }
    assert!(absent(store.lookup_restore(scope, "t", 99).await));
    let older = store.lookup_versions(scope, "t", Some(3), 1).await.unwrap();
    assert_eq!(older.iter().map(|v| v.version).collect::<Vec<_>>(), [2]);
    // Another scope's table of the same name is another table.
    let other = World::new(world.store.clone()).await;
    assert!(store.lookup_versions(&other.scope, "t", None, 10).await.unwrap().is_empty());
}

pub async fn one_write_of_a_lookup_table_is_bounded_and_so_is_its_history(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let (store, scope) = (&world.store, &world.scope);
    let row = |key: String, value: u64| LookupRow { key, value: json!(value) };
    let rows = |count: usize| (0..count).map(|number| row(format!("{number}"), 0)).collect::<Vec<_>>();
    let refused = store.lookup_put(scope, "t", rows(ROWS_PER_WRITE_MAX + 1)).await;
    assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
    assert!(store.lookup_tables(scope).await.unwrap().is_empty());
    assert_eq!(store.lookup_put(scope, "t", rows(ROWS_PER_WRITE_MAX)).await.unwrap(), 10_000);
    // What holds already what it is to hold does not count.
    assert_eq!(store.lookup_put(scope, "t", rows(ROWS_PER_WRITE_MAX + 1)).await.unwrap(), 1);
    let writes: Vec<_> = (0..=VERSIONS_MAX)
        .map(|number| {
            let (world, row) = (world.clone(), row("a".to_owned(), number));
            tokio::spawn(async move { world.store.lookup_put(&world.scope, "t", vec![row]).await })
        })
        .collect();
    for write in writes {
        assert_eq!(write.await.unwrap().unwrap(), 1);
    }
    let kept = store.lookup_versions(scope, "t", None, 10_000).await.unwrap();
    let oldest = kept.last().unwrap().version;
    assert_eq!((kept.len() as u64, oldest), (VERSIONS_MAX, 4));
    assert!(store.lookup_changes(scope, "t", oldest - 1).await.unwrap().is_empty());
    // What was before the oldest can be put back, what was before that is forgotten.
    assert!(absent(store.lookup_restore(scope, "t", oldest - 2).await));
    assert_eq!(store.lookup_restore(scope, "t", oldest - 1).await.unwrap(), 1);
    super::keeping::adds_up(&world).await;
}

pub async fn lists_are_newest_first_and_paged(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.push(world.accept(&format!("ch_{number}")).await.0);
    }
    ids.reverse();
    let mut found = Vec::new();
    let mut before = None;
    loop {
        let page = Page { before, rows_max: 2 };
        let part = world.store.event_list(&world.scope, EventFilter::default(), page).await.unwrap();
        before = part.last().map(|event| event.id.to_string());
        found.extend(part.into_iter().map(|event| event.id));
        if before.is_none() {
            break;
        }
    }
    assert_eq!(found, ids);
    let page = Page { before: Some("evt_of_nobody".to_owned()), rows_max: 2 };
    assert!(absent(world.store.event_list(&world.scope, EventFilter::default(), page).await));
}

pub async fn s11_another_scope_sees_nothing(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let (event, run) = world.accept("ch_1").await;
    let claim = world.claim_run(START).await;
    let mut end = plan("ch_1", vec![world.a_delivery("order", &[])]);
    if let crate::run::RunEnd::Planned { references, alerts, .. } = &mut end {
        references.push(reference("1"));
        alerts.push(alert(Severity::Info, START));
    }
    world.finish_run(&claim, end, START).await;
    let delivery = world.delivery(&run, "order").await;
    let store = &world.store;
    store
        .lookup_put(&world.scope, "parts", vec![LookupRow { key: "a".to_owned(), value: json!(1) }])
        .await
        .unwrap();

    let stranger = World::new(store.clone()).await.scope;
    let sandbox = Scope { environment: Environment::Sandbox, ..world.scope.clone() };
    for scope in [&stranger, &sandbox] {
        assert!(absent(store.event_get(scope, &event).await));
        assert!(absent(store.run_get(scope, &run).await));
        assert!(absent(store.delivery_get(scope, &delivery.id).await));
        assert!(absent(store.mapping_get(scope, &world.mapping).await));
        assert!(absent(store.source_get(scope, &world.source).await));
        assert!(absent(store.source_update(scope, &world.source, SourceChange::default(), START).await));
        assert!(absent(store.connection_get(scope, &world.connection).await));
        assert!(absent(store.connection_update(scope, &world.connection, json!({}), vec![]).await));
        assert!(absent(store.mapping_update(scope, &world.mapping, MappingChange::default(), START).await));
        assert!(absent(store.run_approve(scope, &run, decision(START)).await));
        assert!(absent(store.run_redrive(scope, &run, decision(START)).await));
        assert!(absent(store.delivery_cancel(scope, &delivery.id, decision(START)).await));
        assert!(absent(store.delivery_redrive(scope, &delivery.id, decision(START)).await));
        assert!(absent(store.delivery_adopt(scope, &delivery.id, json!({}), decision(START)).await));
        let alerts =
            store.alert_list(&world.scope, AlertFilter::unresolved(), Page::default()).await.unwrap();
        assert!(absent(store.alert_resolve(scope, &alerts[0].id, decision(START)).await));
        assert!(store.run_of_event(scope, &event).await.unwrap().is_empty());
        assert!(store.delivery_of_run(scope, &run).await.unwrap().is_empty());
        assert!(store.delivery_attempts(scope, &delivery.id).await.unwrap().is_empty());
        assert!(store.reference_find(scope, &reference_key()).await.unwrap().is_empty());
        assert!(store.reference_reverse(scope, "sap-ecc", "1").await.unwrap().is_empty());
        assert!(store.alert_list(scope, AlertFilter::default(), Page::default()).await.unwrap().is_empty());
        assert_eq!(store.lookup_get(scope, "parts", "a").await.unwrap(), None);
        assert!(store.lookup_tables(scope).await.unwrap().is_empty());
        let events = store.event_list(scope, EventFilter::default(), Page::default()).await.unwrap();
        assert!(events.is_empty());
        let list = store.delivery_list(scope, DeliveryFilter::default(), Page::default()).await.unwrap();
        assert!(list.is_empty());
        let page = Page { before: Some(event.to_string()), rows_max: 1 };
        assert!(absent(store.event_list(scope, EventFilter::default(), page).await));
    }
}

pub async fn s12_open_alerts_with_one_code_and_title_are_one(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let (store, scope) = (&world.store, &world.scope);
    for (number, severity) in [Severity::Warning, Severity::Critical, Severity::Info].into_iter().enumerate()
    {
        store.alert_raise(scope, alert(severity, at(number as u64))).await.unwrap();
    }
    let other = NewAlert { title: "Another".to_owned(), ..alert(Severity::Info, START) };
    store.alert_raise(scope, other).await.unwrap();
    let open = store.alert_list(scope, AlertFilter::unresolved(), Page::default()).await.unwrap();
    assert_eq!(open.len(), 2);
    let counted = &open[1];
    assert_eq!((counted.count, counted.severity), (3, Severity::Critical));
    assert_eq!((counted.first_at, counted.last_at), (START, at(2)));
    assert_eq!(counted.detail, json!({"at": at(2).as_millis()}));

    store.alert_resolve(scope, &counted.id, decision(at(3))).await.unwrap();
    assert!(absent(store.alert_resolve(scope, &AlertId::generate(START), decision(at(3))).await));
    store.alert_raise(scope, alert(Severity::Info, at(4))).await.unwrap();
    assert_eq!(store.alert_list(scope, AlertFilter::unresolved(), Page::default()).await.unwrap().len(), 2);
    let all = store.alert_list(scope, AlertFilter::default(), Page::default()).await.unwrap();
    assert_eq!(all.iter().map(|alert| alert.count).collect::<Vec<_>>(), [1, 1, 3], "a new one, counted anew");
}

pub async fn alerts_of_all_tenants_are_one_list_newest_first(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let (store, here) = (&world.store, &world.scope);
    let there = &World::new(store.clone()).await.scope;
    for (number, (scope, severity)) in
        [(here, Severity::Warning), (there, Severity::Critical)].into_iter().enumerate()
    {
        for title in ["one", "two"] {
            let alert = NewAlert { title: title.to_owned(), ..alert(severity, at(number as u64)) };
            store.alert_raise(scope, alert).await.unwrap();
        }
    }
    let list = async |filter: AlertFilter, page: Page| {
        let found = store.alert_list_everywhere(filter, page).await.unwrap();
        found.into_iter().map(|alert| (alert.scope, alert.title, alert.id)).collect::<Vec<_>>()
    };
    let all = list(AlertFilter::default(), Page::default()).await;
    let seen: Vec<_> = all.iter().map(|(scope, title, _)| (scope, title.as_str())).collect();
    assert_eq!(seen, [(there, "two"), (there, "one"), (here, "two"), (here, "one")]);
    let page = Page { before: Some(all[1].2.to_string()), rows_max: 1 };
    assert_eq!(list(AlertFilter::default(), page).await, all[2..3]);
    let page = Page { before: Some(AlertId::generate(START).to_string()), rows_max: 1 };
    assert!(absent(store.alert_list_everywhere(AlertFilter::default(), page).await));

    let critical = AlertFilter { severity_least: Some(Severity::Critical), ..AlertFilter::default() };
    assert_eq!(list(critical, Page::default()).await, all[..2]);
    let later = AlertFilter { since: Some(at(1)), ..AlertFilter::default() };
    assert_eq!(list(later, Page::default()).await, all[..2]);
    let other = AlertFilter { code: Some("another".to_owned()), ..AlertFilter::default() };
    assert_eq!(list(other, Page::default()).await, []);
    store.alert_acknowledge(here, &all[2].2, decision(at(3))).await.unwrap();
    store.alert_resolve(there, &all[0].2, decision(at(3))).await.unwrap();
    assert_eq!(list(AlertFilter::default(), Page::default()).await, all[1..]);
    let in_state = |state| AlertFilter { states: vec![state], ..AlertFilter::default() };
    assert_eq!(list(in_state(AlertState::Acknowledged), Page::default()).await, all[2..3]);
    assert_eq!(list(in_state(AlertState::Open), Page::default()).await, [all[1].clone(), all[3].clone()]);
    assert_eq!(list(in_state(AlertState::Resolved), Page::default()).await, []);
}

pub async fn a_row_cannot_refer_to_another_scope(place: &dyn Place) {
    let world = World::new(place.open().await).await;
    let other = World::new(world.store.clone()).await;
    let mapping = Mapping {
        id: MappingId::generate(START),
        name: "stolen".to_owned(),
        source: other.source.clone(),
        ..world.a_mapping("x")
    };
    assert!(absent(world.store.mapping_create(mapping).await));
    let mapping = Mapping {
        id: MappingId::generate(START),
        name: "unknown".to_owned(),
        module: ModuleDigest::of(b"not uploaded"),
        ..world.a_mapping("x")
    };
    assert!(absent(world.store.mapping_create(mapping).await));
    let mut event = world.an_event(None);
    event.source = other.source.clone();
    assert!(absent(world.store.event_accept(event, vec![]).await));

    world.accept("ch_1").await;
    let claim = world.claim_run(START).await;
    let mut delivery = world.a_delivery("order", &[]);
    delivery.connection = other.connection.clone();
    delivery.id = DeliveryId::generate(START);
    let end = plan("ch_1", vec![delivery]);
    let finish = world.store.run_finish(&claim.id, &claim.lease, super::world::record(), end, START).await;
    assert!(absent(finish));
}

pub async fn s18_a_keyed_request_begins_once(place: &dyn Place) {
    let store = place.open().await;
    let at = Timestamp::from_seconds;
    let keyed = |owner: &str, asked: u8, now: u64| KeyedRequest {
        id: [7; 32],
        request: [asked; 32],
        owner: owner.to_owned(),
        now: at(now),
        since: at(now.saturating_sub(86_400)),
    };
    assert_eq!(store.idempotency_begin(keyed("one", 1, 100)).await.unwrap(), Begun::New);
    assert_eq!(store.idempotency_begin(keyed("one", 1, 101)).await.unwrap(), Begun::UnderWay);
    assert_eq!(store.idempotency_begin(keyed("two", 1, 101)).await.unwrap(), Begun::Unknown);
    assert_eq!(store.idempotency_begin(keyed("one", 2, 101)).await.unwrap(), Begun::Different);
    store.idempotency_forget([7; 32]).await.unwrap();
    assert_eq!(store.idempotency_begin(keyed("one", 1, 102)).await.unwrap(), Begun::New);
    store.idempotency_end([7; 32], 201, b"sealed".to_vec()).await.unwrap();
    let ended = Begun::Ended { status: 201, answer: b"sealed".to_vec() };
    assert_eq!(store.idempotency_begin(keyed("two", 1, 103)).await.unwrap(), ended);
    // A day later it is forgotten.
    assert_eq!(store.idempotency_begin(keyed("two", 2, 102 + 86_401)).await.unwrap(), Begun::New);
}
