//! An import checks and does what the single changes do.

use portolan_domain::{AlertId, contract::Severity, state::AlertState};
use portolan_pipeline::refused;
use portolan_store::{
    Page,
    alert::{AlertFilter, NewAlert},
};

use super::*;
use crate::trial::Trial;

async fn import(trial: &Trial, document: Value, apply: bool) -> crate::trial::Answered {
    trial.ask("POST", "/files", &json!({ "document": document, "apply": apply })).await
}

fn epicor(company: &str) -> Value {
    json!({ "connector": "epicor", "settings": { "base_url": "https://erp.example.com/ERP", "company": company } })
}

async fn connection(trial: &Trial) -> ConnectionRow {
    let made = json!({ "name": "erp", "secrets": { "user": "u", "password": "p", "api_key": "k" } });
    let mut body = epicor("EPIC06");
    body.as_object_mut().unwrap().extend(made.as_object().unwrap().clone());
    let id = trial.must("POST", "/connections", &body).await["id"].as_str().unwrap().parse().unwrap();
    trial.api.shared.store.connection_get(&trial.scope, &id).await.unwrap()
}

async fn open_alerts(trial: &Trial) -> usize {
    let page = Page { before: None, rows_max: 10 };
    let alerts = trial.api.shared.store.alert_list(&trial.scope, AlertFilter::default(), page).await.unwrap();
    alerts.iter().filter(|alert| alert.state == AlertState::Open).count()
}

#[tokio::test]
async fn what_cannot_be_is_refused_before_anything_is_changed() {
    let trial = Trial::new().await;
    let hooks = json!({ "hooks": { "system": "stripe", "settings": {} } });
    for (wrong, code) in [
        (json!({ "settings": { "four_eyes": false, "replay_events_min": 10_001 } }), "invalid-settings"),
        (json!({ "lookup_tables": { "parts": { "": 1 } } }), "invalid-rows"),
        (json!({ "lookup_tables": { "x".repeat(201): { "a": 1 } } }), "invalid-rows"),
    ] {
        let mut document = json!({ "portolan": 1, "sources": hooks });
        document.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
        for apply in [false, true] {
            let refused = import(&trial, document.clone(), apply).await;
            assert_eq!((refused.status.as_u16(), refused.code().as_str()), (422, code));
        }
    }
    assert_eq!(trial.must("GET", "/sources", &Value::Null).await["items"], json!([]));
}

#[tokio::test]
async fn a_changed_connection_goes_on_unless_a_person_paused_it() {
    let trial = Trial::new().await;
    let row = connection(&trial).await;
    let (store, now) = (&trial.api.shared.store, trial.api.shared.clock.now());
    let refuses = || NewAlert {
        id: AlertId::generate(now),
        severity: Severity::Critical,
        code: refused::CODE.to_owned(),
        title: refused::title(&row.id),
        detail: Value::Null,
        at: now,
    };
    let document = |company: &str| json!({ "portolan": 1, "connections": { "erp": epicor(company) } });
    store.alert_raise(&trial.scope, refuses()).await.unwrap();
    assert_eq!(import(&trial, document("EPIC07"), true).await.status.as_u16(), 200);
    assert_eq!(open_alerts(&trial).await, 0, "it has ended with what was refused");

    let path = format!("/connections/{}/pause", row.id);
    trial.must("POST", &path, &json!({ "why": "month's end" })).await;
    store.alert_raise(&trial.scope, refuses()).await.unwrap();
    assert_eq!(import(&trial, document("EPIC08"), true).await.status.as_u16(), 200);
    let row = store.connection_get(&trial.scope, &row.id).await.unwrap();
    assert!(row.paused.is_some() && row.settings["company"] == "EPIC08");
    assert_eq!(open_alerts(&trial).await, 1, "nothing goes on");
}

#[tokio::test]
async fn a_table_that_is_longer_than_one_write_is_exported_and_imported() {
    let trial = Trial::new().await;
    let rows = |count: usize, value: u32| -> Value {
        (0..count)
            .map(|row| (format!("key {row:05}"), json!(value)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let document = |rows: Value| json!({ "portolan": 1, "lookup_tables": { "parts": rows } });
    for (count, value) in [(10_001, 1), (10_040, 2), (10_001, 2), (3, 2)] {
        let wanted = document(rows(count, value));
        let told = import(&trial, wanted.clone(), false).await;
        assert_eq!(told.json()["changes"][0]["problem"], Value::Null);
        let done = import(&trial, wanted.clone(), true).await;
        assert_eq!(done.status.as_u16(), 200, "{:#}", done.json());
        let exported = trial.must("GET", "/files", &Value::Null).await;
        assert!(exported["lookup_tables"] == wanted["lookup_tables"], "{count} rows");
        assert_eq!(import(&trial, exported, true).await.json()["changes"], json!([]));
    }
}

#[tokio::test]
async fn who_only_looks_waits_for_nobody() {
    let trial = Trial::new().await;
    let _turn = etag::alone(&trial.api, &trial.scope.tenant).await;
    let looked = import(&trial, json!({ "portolan": 1 }), false);
    let looked = tokio::time::timeout(std::time::Duration::from_secs(30), looked).await.unwrap();
    assert_eq!(looked.status.as_u16(), 200);
}
