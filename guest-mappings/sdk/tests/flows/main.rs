//! The flows from the outside, with an ERP that writes down what it is told: whole outcomes as snapshots, and the
//! rules one by one.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "test code"
)]

mod any_json;
mod disputes;
mod fake;
mod fraud;
mod masters;
mod payouts;
mod refunds;
mod sales;

use std::collections::BTreeMap;

use fake::Fake;
use portolan_sdk::{
    contract::{Delivery, Outcome, Plan, Side},
    money::Decimal,
    prelude::json,
    testing::{Ended, TestCharge, TestObject, Trial, charge},
};
use serde_json::Value;

const CHARGE: &str = "ch_3QabcDEF0123456789abcdef";
const INTENT: &str = "pi_3QabcDEF0123456789abcdef";

/// All accounts named; `flow` replaces what it names.
fn settings(flow: Value) -> Value {
    let mut all = json!({
        "accounts": {
            "bank": "bank", "clearing": "clearing", "transit": "transit", "conversion": "conversion",
            "disputes": "disputes", "fees": {"default": "fees", "tax": "input-tax"},
        },
    });
    for (name, value) in flow.as_object().unwrap() {
        all[name] = value.clone();
    }
    json!({"flow": all})
}

fn trial(event: &Value, flow: Value) -> Trial<Fake> {
    Trial::of_event(event).settings(settings(flow))
}

/// The charge of most tests.
fn sold() -> TestCharge {
    charge(CHARGE, 4998, "usd").customer("cus_1")
}

/// What the ERP has of the charge.
fn posted(trial: Trial<Fake>) -> Trial<Fake> {
    trial.reference("stripe.charge", CHARGE, json!({"fake.order": "O-1", "fake.payment": "P-1"})).query(
        "stripe",
        "charge.get",
        json!({"id": CHARGE}),
        sold().object().clone(),
    )
}

fn get(trial: Trial<Fake>, operation: &str, object: &TestObject) -> Trial<Fake> {
    trial.query("stripe", operation, json!({"id": object.object()["id"]}), object.object().clone())
}

fn keys(plan: &Plan) -> Vec<&str> {
    plan.deliveries.iter().map(|delivery| delivery.key.as_str()).collect()
}

fn facts(plan: &Plan) -> Vec<&str> {
    plan.deliveries.iter().filter_map(|delivery| delivery.once.as_deref()).collect()
}

fn deferred(ended: &Ended) -> &str {
    let Outcome::Defer(deferral) = &ended.outcome else {
        panic!("a deferral was expected: {:?}", ended.outcome)
    };
    &deferral.reason
}

/// Debits less credits by account and currency.
fn balances<'a>(deliveries: impl IntoIterator<Item = &'a Delivery>) -> BTreeMap<(String, String), Decimal> {
    let mut balances: BTreeMap<_, Decimal> = BTreeMap::new();
    for line in deliveries.into_iter().flat_map(|delivery| &delivery.ledger) {
        let amount = Decimal::from_str_exact(&line.amount).unwrap();
        let debit = if line.side == Side::Debit { amount } else { -amount };
        *balances.entry((line.account.clone(), line.currency.clone())).or_default() += debit;
    }
    balances.retain(|_, balance| !balance.is_zero());
    balances
}

fn balance(plan: &Plan, account: &str, currency: &str) -> String {
    let balances = balances(&plan.deliveries);
    balances.get(&(account.to_owned(), currency.to_owned())).map_or("0".to_owned(), Decimal::to_string)
}
