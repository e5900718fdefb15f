//! Whatever arrives, a flow ends in an outcome: never in a panic, never in a plan that the host would refuse (the
//! trial itself sees to both), and never in a wrong amount, because what does not add up is refused or held.

use std::path::Path;

use portolan_sdk::testing::{
    TestObject, balance_transaction, checkout_session, credit_note, customer, dispute, early_fraud_warning,
    invoice, list, payment_intent, payout, refund, review, subscription,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{CHARGE, Fake, INTENT, Trial, settings, sold};

/// Every object, and the kinds of event that carry it.
fn objects() -> Vec<(TestObject, &'static [&'static str])> {
    let rows = json!([balance_transaction("dispute", "usd", (-4998, 1500), json!("dp_1")).object()]);
    vec![
        (sold().into(), &["charge.succeeded", "charge.captured", "charge.updated", "charge.refunded"]),
        (payment_intent(INTENT, CHARGE, 4998, "usd"), &["payment_intent.succeeded"]),
        (
            checkout_session("cs_1", INTENT, 4998, "usd"),
            &["checkout.session.completed", "checkout.session.async_payment_succeeded"],
        ),
        (invoice("in_1", INTENT, 4998, "usd"), &["invoice.paid", "invoice.voided"]),
        (
            refund("re_1", CHARGE, 1500, "usd"),
            &["refund.created", "refund.updated", "refund.failed", "charge.refund.updated"],
        ),
        (
            dispute("dp_1", CHARGE, 4998, "usd").with("balance_transactions", rows),
            &[
                "charge.dispute.created",
                "charge.dispute.funds_withdrawn",
                "charge.dispute.funds_reinstated",
                "charge.dispute.closed",
            ],
        ),
        (customer("cus_1", "Rosen Ltd"), &["customer.created", "customer.updated", "customer.deleted"]),
        (credit_note("cn_1", "in_1", 2000, "usd"), &["credit_note.created"]),
        (
            subscription("sub_1", "cus_1", "prod_plan"),
            &[
                "customer.subscription.created",
                "customer.subscription.updated",
                "customer.subscription.deleted",
                "customer.subscription.paused",
                "customer.subscription.resumed",
            ],
        ),
        (
            payout("po_1", 4823, "usd"),
            &["payout.reconciliation_completed", "payout.paid", "payout.failed", "payout.canceled"],
        ),
        (early_fraud_warning("issfr_1", CHARGE), &["radar.early_fraud_warning.created"]),
        (review("prv_1", CHARGE), &["review.opened", "review.closed"]),
    ]
}

/// Runs an event in a world where Stripe answers with `charge` and `rows`.
fn run(kind: &str, event: &Value, charge: &Value, rows: &Value) {
    let with = |flow: Value| {
        let ended = Trial::<Fake>::new("stripe", kind, event)
            .settings(settings(flow))
            .query("stripe", "charge.get", json!({"id": CHARGE}), charge.clone())
            .query(
                "stripe",
                "charges.by-payment-intent",
                json!({"payment_intent": INTENT}),
                json!({"data": [charge]}),
            )
            .query("stripe", "refunds.by-charge", json!({"charge": CHARGE}), json!({"data": [charge]}))
            .query("stripe", "balance-transactions.by-payout", json!({"payout": "po_1"}), rows.clone())
            .reference("stripe.charge", CHARGE, json!({"fake.order": "O-1", "fake.payment": "P-1"}))
            .reference("stripe.refund", "re_1", json!({"fake.refund": "R-1"}))
            .reference("stripe.payout", "po_1", json!({"fake.journal": "J-1"}))
            .run();
        assert!(ended.rounds <= 8);
    };
    with(json!({}));
    with(
        json!({"fees": "with-charge", "payout": {"lines": "per-category", "lines_max": 4}, "notify": {"path": "/x"}}),
    );
}

fn rows() -> Value {
    list(&[&balance_transaction("charge", "usd", (4998, 175), json!(CHARGE))])
}

fn bad_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(null)),
        Just(json!(true)),
        Just(json!(-1)),
        Just(json!(0)),
        Just(json!(i64::MAX)),
        Just(json!(i64::MIN)),
        Just(json!(u64::MAX)),
        Just(json!(1.5)),
        Just(json!("")),
        Just(json!("ch_x")),
        Just(json!("zzz")),
        Just(json!([])),
        Just(json!({})),
        Just(json!([null])),
        Just(json!({"id": null})),
        Just(json!({"id": "x", "data": [{}]})),
        Just(json!("\u{0}\u{fffd}")),
        Just(json!("é".repeat(600))),
    ]
}

/// Puts a value somewhere into an object: at the chosen one of all its places.
fn mutate(value: &mut Value, place: &mut usize, bad: &Value) -> bool {
    if *place == 0 {
        *value = bad.clone();
        return true;
    }
    *place -= 1;
    match value {
        Value::Array(values) => values.iter_mut().any(|value| mutate(value, place, bad)),
        Value::Object(fields) => fields.values_mut().any(|value| mutate(value, place, bad)),
        _ => false,
    }
}

#[test]
fn every_object_in_its_own_events() {
    for (object, kinds) in objects() {
        for kind in kinds {
            run(kind, &object.event(kind), sold().object(), &rows());
        }
    }
}

#[test]
fn every_object_in_every_event() {
    let kinds: Vec<&str> = objects().into_iter().flat_map(|(_, kinds)| kinds.iter().copied()).collect();
    for (object, _) in objects() {
        for kind in &kinds {
            run(kind, &object.event(kind), sold().object(), &rows());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn mutated_objects_end_in_an_outcome(
        object in any::<prop::sample::Index>(), kind in any::<prop::sample::Index>(),
        place in 0usize..90, bad in bad_value(), where_to in 0usize..3,
    ) {
        let objects = objects();
        let (object, kinds) = &objects[object.index(objects.len())];
        let kind = kinds[kind.index(kinds.len())];
        let (mut event, mut charge, mut rows) = (object.event(kind), sold().object().clone(), rows());
        let mutated = match where_to { 0 => &mut event, 1 => &mut charge, _ => &mut rows };
        let mut place = place;
        mutate(mutated, &mut place, &bad);
        run(kind, &event, &charge, &rows);
    }
}

/// Real objects, where they lie beside the repository. They are looked at, not part of the project.
#[test]
fn real_objects_end_in_an_outcome() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let folders = ["stripe-fixtures", "data/stripe-ruby-mock-webhooks"].map(|folder| beside.join(folder));
    let mut read = 0;
    for folder in folders {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            println!("{} is not there: its objects are not looked at", folder.display());
            continue;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            read += 1;
            look_at(&serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap());
        }
    }
    println!("{read} real objects looked at");
}

fn look_at(json: &Value) {
    if json["object"] == "event" {
        let kind = json["type"].as_str().unwrap_or_default();
        return run(kind, json, &json["data"]["object"], &rows());
    }
    for kinds in objects().into_iter().map(|(_, kinds)| kinds) {
        for kind in kinds {
            run(kind, &TestObject::new(json.clone()).event(kind), json, &json!({"data": [json]}));
        }
    }
}
