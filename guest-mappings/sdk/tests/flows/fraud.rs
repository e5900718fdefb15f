//! Fraud.

use portolan_sdk::{
    prelude::json,
    testing::{early_fraud_warning, review},
};
use serde_json::Value;

use super::{CHARGE, keys, posted, sold, trial};

#[test]
fn a_warning_blocks_what_the_erp_has() {
    let event = early_fraud_warning("issfr_1", CHARGE).event("radar.early_fraud_warning.created");
    insta::assert_json_snapshot!(posted(trial(&event, json!({}))).run().json());
}

#[test]
fn a_warning_about_what_the_erp_does_not_have_is_an_alert() {
    let event = early_fraud_warning("issfr_1", CHARGE).event("radar.early_fraud_warning.created");
    let unknown = trial(&event, json!({})).query(
        "stripe",
        "charge.get",
        json!({"id": CHARGE}),
        sold().object().clone(),
    );
    let ended = unknown.run();
    assert!(keys(ended.plan()).is_empty());
    assert_eq!(ended.plan().alerts[0].code, "fraud-suspected");
    let only_alerts = posted(trial(&event, json!({"fraud": {"block": false}}))).run();
    assert!(keys(only_alerts.plan()).is_empty());
}

#[test]
fn a_review_blocks_until_it_approves() {
    let opened = posted(trial(&review("prv_1", CHARGE).event("review.opened"), json!({}))).run();
    assert_eq!(
        (keys(opened.plan()), &opened.body("block")["set"]),
        (vec!["block", "write-back"], &json!(true))
    );
    let close = |reason: &str| {
        let closed = review("prv_1", CHARGE).with("open", json!(false)).with("closed_reason", json!(reason));
        posted(trial(&closed.event("review.closed"), json!({}))).run()
    };
    let approved = close("approved");
    assert_eq!(approved.body("block")["set"], false);
    assert_eq!(approved.body("write-back")["metadata"]["erp_status"], "released");
    assert_eq!(approved.plan().alerts[0].code, "fraud-cleared");
    let refunded = close("refunded_as_fraud");
    let detail: Value = serde_json::from_str(&refunded.plan().alerts[0].detail).unwrap();
    assert_eq!((&detail["score"], &detail["rests_on"]["closed"]), (&json!(90), &json!("refunded_as_fraud")));
    assert_eq!(refunded.body("block")["set"], true);
}

#[test]
fn the_score_is_the_worse_of_what_is_known() {
    let score = |risk: Value| {
        let charge = sold().with("outcome", risk);
        let event = review("prv_1", CHARGE).event("review.opened");
        let ended = trial(&event, json!({}))
            .query("stripe", "charge.get", json!({"id": CHARGE}), charge.object().clone())
            .run();
        serde_json::from_str::<Value>(&ended.plan().alerts[0].detail).unwrap()["score"].clone()
    };
    assert_eq!(score(json!({"risk_score": 17, "risk_level": "highest"})), 60);
    assert_eq!(score(json!({"risk_level": "highest"})), 90);
    assert_eq!(score(json!({"risk_score": 99})), 99);
    assert_eq!(score(json!(null)), 60);
}

#[test]
fn a_warning_without_a_charge_is_refused() {
    let event = early_fraud_warning("issfr_1", CHARGE)
        .with("charge", json!(null))
        .event("radar.early_fraud_warning.created");
    assert_eq!(trial(&event, json!({})).run().violation().code, "missing");
}
