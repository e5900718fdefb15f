//! Disputes.

use portolan_sdk::{
    prelude::json,
    testing::{TestObject, balance_transaction, dispute},
};
use serde_json::Value;

use super::{CHARGE, balance, deferred, facts, get, keys, trial};

fn withdrawn() -> TestObject {
    balance_transaction("dispute", "usd", (-4998, 1500), json!("dp_1"))
}

fn reinstated() -> TestObject {
    balance_transaction("dispute_reversal", "usd", (4998, -1500), json!("dp_1"))
}

fn with(movements: Value) -> TestObject {
    dispute("dp_1", CHARGE, 4998, "usd").with("balance_transactions", movements)
}

#[test]
fn withdrawn_funds_are_a_journal_and_reinstated_ones_take_it_back() {
    let event = with(json!([withdrawn().object()])).event("charge.dispute.funds_withdrawn");
    let ended = trial(&event, json!({})).run();
    insta::assert_json_snapshot!(ended.json());
    assert_eq!(balance(ended.plan(), "clearing", "USD"), "-64.98");
    let event =
        with(json!([withdrawn().object(), reinstated().object()])).event("charge.dispute.funds_reinstated");
    let ended = trial(&event, json!({})).run();
    assert_eq!(facts(ended.plan())[..2], ["dispute/txn_dispute_dp_1", "dispute/txn_dispute_reversal_dp_1"]);
    for account in ["clearing", "disputes", "fees"] {
        assert_eq!(balance(ended.plan(), account, "USD"), "0");
    }
}

#[test]
fn a_movement_is_fetched_where_the_event_only_names_it() {
    let named = with(json!(["txn_dispute_dp_1"])).event("charge.dispute.funds_withdrawn");
    let whole = with(json!([withdrawn().object()])).event("charge.dispute.funds_withdrawn");
    let fetched = get(trial(&named, json!({})), "balance-transaction.get", &withdrawn()).run();
    assert_eq!(fetched.outcome, trial(&whole, json!({})).run().outcome);
    let empty = with(json!([])).event("charge.dispute.funds_withdrawn");
    let later = get(trial(&empty, json!({})), "dispute.get", &with(json!([withdrawn().object()])));
    assert_eq!(later.run().outcome, fetched.outcome);
    assert!(deferred(&trial(&empty, json!({})).run()).contains("not there yet"));
}

#[test]
fn opened_and_closed_disputes_are_told_and_move_nothing() {
    let opened = trial(&with(json!([])).event("charge.dispute.created"), json!({})).run();
    insta::assert_json_snapshot!(opened.json());
    for (status, code) in [
        ("won", "dispute-closed"),
        ("lost", "dispute-lost"),
        ("warning_closed", "dispute-closed"),
        ("new", "dispute-closed"),
    ] {
        let closed = with(json!([withdrawn().object()])).with("status", json!(status));
        let ended = trial(&closed.event("charge.dispute.closed"), json!({})).run();
        assert_eq!((keys(ended.plan()), ended.plan().alerts[0].code.as_str()), (vec!["write-back"], code));
    }
}

#[test]
fn a_missing_account_is_named() {
    let event = with(json!([withdrawn().object()])).event("charge.dispute.funds_withdrawn");
    let ended =
        trial(&event, json!({"accounts": {"clearing": "clearing", "fees": {"default": "fees"}}})).run();
    assert_eq!(ended.violation().code, "settings");
    assert!(ended.violation().message.contains("flow.accounts.disputes for USD"));
}
