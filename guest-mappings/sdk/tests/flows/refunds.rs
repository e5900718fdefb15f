//! Refunds, credit notes and voided invoices.

use portolan_sdk::{
    prelude::json,
    testing::{TestObject, credit_note, invoice, list, refund},
};

use super::{CHARGE, INTENT, balance, deferred, facts, get, keys, posted, sold, trial};

const REFUND: &str = "re_3QabcDEF0123456789abcdef";

fn part() -> TestObject {
    refund(REFUND, CHARGE, 1500, "usd")
}

#[test]
fn a_partial_refund() {
    let ended = posted(trial(&part().event("refund.created"), json!({})))
        .lookup("reasons", "requested_by_customer", json!({"reason": "RET"}))
        .run();
    insta::assert_json_snapshot!(ended.json());
    for kind in ["refund.updated", "charge.refund.updated"] {
        let again = posted(trial(&part().event(kind), json!({})))
            .lookup("reasons", "requested_by_customer", json!("RET"))
            .run();
        assert_eq!(again.outcome, ended.outcome, "{kind}");
    }
}

#[test]
fn a_refund_that_overtakes_its_charge_waits_for_it() {
    let ended = trial(&part().event("refund.created"), json!({}))
        .query("stripe", "charge.get", json!({"id": CHARGE}), sold().object().clone())
        .reference("stripe.charge", CHARGE, json!({"fake.order": "O-1"}))
        .run();
    assert_eq!(deferred(&ended), format!("the payment of {CHARGE} is not in the ERP yet"));
}

#[test]
fn a_charge_with_one_refund_tells_what_its_refund_tells() {
    let of_charge = |refunds: &[&TestObject]| {
        posted(trial(&TestObject::from(sold()).event("charge.refunded"), json!({})))
            .query("stripe", "refunds.by-charge", json!({"charge": CHARGE}), list(refunds))
            .run()
    };
    let pending = refund("re_2", CHARGE, 5, "usd").with("status", json!("pending"));
    let told = posted(trial(&part().event("refund.created"), json!({}))).run();
    assert_eq!(of_charge(&[&part(), &pending]).outcome, told.outcome);
    assert!(of_charge(&[&pending]).skipped().contains("has succeeded yet"));
    let second = refund("re_2", CHARGE, 3498, "usd");
    let both = of_charge(&[&second, &part()]);
    assert_eq!(facts(both.plan())[..2], ["refund/re_2", "refund/re_3QabcDEF0123456789abcdef"]);
    assert_eq!(balance(both.plan(), "clearing", "USD"), "-49.98");
}

#[test]
fn a_whole_refund_says_so() {
    let whole = refund(REFUND, CHARGE, 4998, "usd");
    let ended = posted(trial(&whole.event("refund.created"), json!({}))).run();
    assert_eq!(ended.body("refund")["whole"], true);
    let too_much = refund(REFUND, CHARGE, 4999, "usd");
    let ended = posted(trial(&too_much.event("refund.created"), json!({}))).run();
    assert_eq!(ended.violation().code, "impossible-amount");
    let other_currency = refund(REFUND, CHARGE, 1, "eur");
    assert_eq!(
        posted(trial(&other_currency.event("refund.created"), json!({}))).run().violation().code,
        "impossible-amount"
    );
}

#[test]
fn a_refund_for_fraud_blocks_and_alerts() {
    let fraudulent = part().with("reason", json!("fraudulent"));
    let ended = posted(trial(&fraudulent.event("refund.created"), json!({}))).run();
    assert_eq!(keys(ended.plan()), ["refund", "block-fraud", "write-back"]);
    let alert = &ended.plan().alerts[0];
    assert_eq!(alert.code, "fraud-suspected");
    assert!(alert.detail.contains(r#""score":100"#), "{}", alert.detail);
}

#[test]
fn a_refund_is_posted_when_money_went_back_and_reversed_when_it_failed() {
    let pending = part().with("status", json!("pending"));
    assert!(trial(&pending.event("refund.created"), json!({})).run().skipped().contains("is pending"));
    let failed = part().with("status", json!("failed"));
    let overtaken =
        get(posted(trial(&part().event("refund.created"), json!({}))), "refund.get", &failed).run();
    assert!(overtaken.skipped().contains("has failed since"));
    let never = trial(&failed.event("refund.failed"), json!({})).run();
    assert!(never.skipped().contains("never posted"));
    let ended = posted(trial(&failed.event("refund.failed"), json!({})))
        .reference("stripe.refund", REFUND, json!({"fake.refund": "R-1"}))
        .run();
    insta::assert_json_snapshot!(ended.json());
}

#[test]
fn a_credit_note_is_posted_for_what_is_no_refund() {
    let world = |note: &TestObject| {
        posted(get(
            trial(&note.event("credit_note.created"), json!({})),
            "invoice.get",
            &invoice("in_1", INTENT, 4998, "usd"),
        ))
        .query(
            "stripe",
            "charges.by-payment-intent",
            json!({"payment_intent": INTENT}),
            json!({"data": [sold().object()]}),
        )
        .query("stripe", "refund.get", json!({"id": REFUND}), part().object().clone())
    };
    let note = credit_note("cn_1", "in_1", 2000, "usd");
    insta::assert_json_snapshot!(world(&note).run().json());
    let refunds = json!([{"amount_refunded": 1500, "refund": REFUND, "type": "refund"}]);
    let since = note.clone().with("refunds", refunds);
    let before = note.clone().with("refund", json!(REFUND));
    for partly in [since, before] {
        assert_eq!(world(&partly).run().body("credit")["amount"], "5.00 USD");
    }
    let wholly =
        note.clone().with("amount", json!(1500)).with("refund", json!({"id": REFUND, "object": "refund"}));
    assert!(world(&wholly).run().skipped().contains("a refund as a whole"));
    let before_payment = note.clone().with("type", json!("pre_payment"));
    assert!(world(&before_payment).run().skipped().contains("before the payment"));
    let waiting = world(&note).run();
    assert_eq!(waiting.rounds, 4);
}

#[test]
fn a_voided_invoice_is_credited_only_if_it_was_posted() {
    let unpaid = invoice("in_1", INTENT, 0, "usd");
    assert!(trial(&unpaid.event("invoice.voided"), json!({})).run().skipped().contains("nothing was posted"));
    let paid = invoice("in_1", INTENT, 4998, "usd");
    let world = trial(&paid.event("invoice.voided"), json!({})).query(
        "stripe",
        "charges.by-payment-intent",
        json!({"payment_intent": INTENT}),
        json!({"data": [sold().object()]}),
    );
    assert!(world.clone().run().skipped().contains("never posted"));
    assert_eq!(posted(world).run().body("credit")["amount"], "49.98 USD");
}
