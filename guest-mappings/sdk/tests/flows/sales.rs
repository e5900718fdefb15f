//! Order-to-cash, holds and who is told.

use portolan_sdk::{
    prelude::json,
    testing::{
        TestObject, balance_transaction, charge, checkout_session, echoed, invoice, payment_intent, thin,
    },
};
use serde_json::Value;

use super::{CHARGE, INTENT, balance, facts, get, keys, settings, sold, trial};

fn by_intent() -> Value {
    json!({"payment_intent": INTENT})
}

fn charges(charge: &Value) -> Value {
    json!({"object": "list", "data": [{"id": "ch_0", "amount": 4998, "currency": "usd", "created": 1,
        "status": "failed", "captured": false}, charge]})
}

/// The world as every event about the charge finds it.
fn world(event: &Value) -> super::Trial<super::Fake> {
    let session =
        checkout_session("cs_1", INTENT, 4998, "usd").with("metadata", json!({"erp_order_id": " SO-17 "}));
    trial(event, json!({}))
        .query("stripe", "charge.get", json!({"id": CHARGE}), sold().object().clone())
        .query("stripe", "charges.by-payment-intent", by_intent(), charges(sold().object()))
        .query("stripe", "checkout-session.by-payment-intent", by_intent(), session.object().clone())
        .query(
            "stripe",
            "invoice.by-payment-intent",
            by_intent(),
            invoice("in_1", INTENT, 4998, "usd").object().clone(),
        )
        .query(
            "stripe",
            "invoice.get",
            json!({"id": "in_1"}),
            invoice("in_1", INTENT, 4998, "usd").object().clone(),
        )
        .reference("stripe.customer", "cus_1", json!({"fake": "C-1"}))
        .lookup("products", "prod_plan", json!({"product": "PLAN"}))
}

#[test]
fn whichever_event_tells_a_sale_its_plan_is_the_same() {
    let object = TestObject::from(sold());
    let told = world(&object.event("charge.succeeded")).run();
    insta::assert_json_snapshot!(told.json()["outcome"]);
    let old_invoice =
        invoice("in_1", INTENT, 4998, "usd").with("payments", json!(null)).with("charge", json!(CHARGE));
    let of_subscription = checkout_session("cs_1", INTENT, 4998, "usd")
        .with("payment_intent", json!(null))
        .with("invoice", json!("in_1"));
    for event in [
        object.event("charge.captured"),
        object.updated("charge.updated", json!({"balance_transaction": null, "metadata": {}})),
        payment_intent(INTENT, CHARGE, 4998, "usd").event("payment_intent.succeeded"),
        payment_intent(INTENT, CHARGE, 4998, "usd")
            .with("latest_charge", json!(null))
            .event("payment_intent.succeeded"),
        checkout_session("cs_1", INTENT, 4998, "usd").event("checkout.session.completed"),
        checkout_session("cs_1", INTENT, 4998, "usd").event("checkout.session.async_payment_succeeded"),
        of_subscription.event("checkout.session.completed"),
        invoice("in_1", INTENT, 4998, "usd").event("invoice.paid"),
        invoice("in_1", INTENT, 4998, "usd").with("payments", json!(null)).event("invoice.paid"),
        old_invoice.event("invoice.paid"),
    ] {
        assert_eq!(world(&event).run().outcome, told.outcome, "{}", event["type"]);
    }
    let thin = thin("v1.charge.succeeded", CHARGE, "/v1/charges/ch_3QabcDEF0123456789abcdef");
    let url = json!({"url": "/v1/charges/ch_3QabcDEF0123456789abcdef"});
    assert_eq!(
        world(&thin).query("stripe", "object.get", url, sold().object().clone()).run().outcome,
        told.outcome
    );
}

#[test]
fn metadata_name_the_order_and_it_is_not_created() {
    let event = TestObject::from(sold()).event("charge.succeeded");
    let ended = world(&event).run();
    assert_eq!(keys(ended.plan()), ["payment", "write-back"]);
    assert_eq!(ended.body("payment")["order"], "SO-17");
    let of_charge = TestObject::from(sold().metadata("ERP_Order_ID", "SO-18")).event("charge.succeeded");
    assert_eq!(trial(&of_charge, json!({})).run().body("payment")["order"], "SO-18");
    let other_key = trial(&of_charge, json!({"order_metadata": ["po"]})).run();
    assert!(keys(other_key.plan()).contains(&"order"));
}

#[test]
fn no_money_no_document() {
    let authorized = TestObject::from(sold().authorized());
    let pending = TestObject::from(sold().with("status", json!("pending")));
    let unpaid = checkout_session("cs_1", INTENT, 4998, "usd").with("payment_status", json!("unpaid"));
    let zero = invoice("in_1", INTENT, 0, "usd");
    let out_of_band = invoice("in_1", INTENT, 5, "usd").with("paid_out_of_band", json!(true));
    for (event, why) in [
        (authorized.event("charge.succeeded"), "authorized, not captured"),
        (pending.event("charge.succeeded"), "is pending"),
        (unpaid.event("checkout.session.completed"), "unpaid, not paid"),
        (zero.event("invoice.paid"), "nothing was to be paid"),
        (out_of_band.event("invoice.paid"), "paid outside Stripe"),
        (
            payment_intent(INTENT, CHARGE, 1, "usd")
                .with("latest_charge", json!(null))
                .event("payment_intent.succeeded"),
            "no captured charge",
        ),
        (TestObject::from(sold()).event("charge.expired"), "not among the events"),
    ] {
        let ended = trial(&event, json!({})).run();
        assert!(ended.skipped().contains(why), "{}: {}", event["type"], ended.skipped());
    }
}

#[test]
fn a_change_that_does_not_matter_and_our_own_are_skipped() {
    let object = TestObject::from(sold());
    let metadata = object.updated("charge.updated", json!({"metadata": {"erp_order": null}}));
    assert!(trial(&metadata, json!({})).run().skipped().contains("nothing changed"));
    let ours = echoed(object.updated("charge.updated", json!({"balance_transaction": null})));
    assert!(trial(&ours, json!({})).run().skipped().contains("Portolan itself"));
}

fn fee() -> TestObject {
    let parts = json!([
        {"amount": 145, "currency": "usd", "type": "stripe_fee"}, {"amount": 30, "currency": "usd", "type": "tax"},
    ]);
    balance_transaction("charge", "usd", (4998, 175), json!(CHARGE))
        .with("id", json!("txn_3QabcDEF0123456789abcdef"))
        .with("fee_details", parts)
}

#[test]
fn a_fee_is_posted_with_its_charge_where_the_tenant_wants_it() {
    let event = TestObject::from(sold()).event("charge.succeeded");
    let with =
        |event: &Value| get(trial(event, json!({"fees": "with-charge"})), "balance-transaction.get", &fee());
    let ended = with(&event).run();
    insta::assert_json_snapshot!(ended.json()["outcome"]["deliver"]["deliveries"][4]);
    assert_eq!(balance(ended.plan(), "clearing", "USD"), "48.23");
    let late = TestObject::from(sold().with("balance_transaction", json!(null))).event("charge.succeeded");
    assert!(!keys(with(&late).run().plan()).contains(&"fee"));
    let posted = with(&event).reference(
        "stripe.balance-transaction",
        "txn_3QabcDEF0123456789abcdef",
        json!({"fake.journal": "J-1"}),
    );
    assert!(!keys(posted.run().plan()).contains(&"fee"));
    assert!(!keys(trial(&event, json!({})).run().plan()).contains(&"fee"));
}

#[test]
fn a_fee_whose_parts_do_not_add_up_is_refused() {
    let event = TestObject::from(sold()).event("charge.succeeded");
    let fee = fee().with("fee", json!(176));
    let ended = get(trial(&event, json!({"fees": "with-charge"})), "balance-transaction.get", &fee).run();
    assert_eq!(ended.violation().code, "fee-does-not-add-up");
}

#[test]
fn a_person_decides_what_is_over_a_limit() {
    let event = TestObject::from(sold()).event("charge.succeeded");
    for (hold, why) in [
        (json!({"hold": {"amount_over": {"USD": "49.97"}}}), "49.98 USD is over the limit for USD"),
        (json!({"hold": {"currencies": ["EUR"]}}), "USD is not among the allowed currencies"),
        (
            json!({"hold": {"new_customer_over": {"USD": "10"}}}),
            "49.98 USD is over the limit for a new customer (Jenny Rosen)",
        ),
        (
            json!({"fraud": {"block_from": 17}}),
            "Stripe's risk score is 17, and 17 or more waits for a person",
        ),
    ] {
        let ended = trial(&event, hold).run();
        assert_eq!(ended.held().reason, why);
        assert_eq!(facts(&ended.held().plan)[0], "customer/cus_1");
    }
    let fine = json!({"hold": {"amount_over": {"USD": "49.98", "EUR": "1"}, "currencies": ["USD"]}, "fraud": {"block_from": 18}});
    assert_eq!(keys(trial(&event, fine).run().plan()).len(), 4);
    let known = trial(&event, json!({"hold": {"new_customer_over": {"USD": "10"}}})).reference(
        "stripe.customer",
        "cus_1",
        json!({"fake": "C-1"}),
    );
    assert_eq!(keys(known.run().plan()), ["order", "payment", "write-back"]);
}

#[test]
fn whoever_wants_to_know_is_told_after_the_documents() {
    let event = TestObject::from(sold()).event("charge.succeeded");
    let ended = trial(&event, json!({"notify": {"path": "/erp", "kinds": ["sale"]}})).run();
    let told = &ended.json()["outcome"]["deliver"]["deliveries"];
    insta::assert_json_snapshot!(json!([told[3], told[4]]));
    let silent =
        trial(&event, json!({"write_back": false, "notify": {"path": "/erp", "kinds": ["refund"]}})).run();
    assert_eq!(keys(silent.plan()), ["customer", "order", "payment"]);
}

#[test]
fn events_of_another_mode_or_account_are_not_ours() {
    let mut event = TestObject::from(sold()).event("charge.succeeded");
    assert!(trial(&event, json!({"livemode": true})).run().skipped().contains("test mode"));
    assert!(trial(&event, json!({"account": "acct_1"})).run().skipped().contains("platform"));
    event["account"] = json!("acct_1");
    assert_eq!(keys(trial(&event, json!({"account": "acct_1", "livemode": false})).run().plan()).len(), 4);
}

#[test]
fn one_form_of_event_in_the_place_of_the_other_is_refused() {
    let mut event = TestObject::from(sold()).event("charge.succeeded");
    event["object"] = json!("v2.core.event");
    assert_eq!(trial(&event, json!({})).run().violation().pointer, "/related_object");
    event["object"] = json!("charge");
    assert_eq!(trial(&event, json!({})).run().violation().code, "not-an-event");
    let mut thin = thin("v1.charge.succeeded", CHARGE, "/v1/charges/ch_1");
    assert_eq!(trial(&thin, json!({})).run().violation().code, "gone");
    thin["object"] = json!("event");
    assert_eq!(trial(&thin, json!({})).run().violation().pointer, "/data");
}

#[test]
fn a_partial_capture_is_told() {
    let lines = json!([{"amount_total": 4998, "quantity": 1}]);
    let ended = trial(
        &TestObject::from(charge(CHARGE, 4998, "usd").captured(998)).event("charge.captured"),
        json!({}),
    )
    .query(
        "stripe",
        "checkout-session.by-payment-intent",
        by_intent(),
        json!({"id": "cs_1", "line_items": {"data": lines}}),
    )
    .run();
    assert_eq!(ended.plan().alerts[0].code, "partial-capture");
    assert_eq!(balance(ended.plan(), "clearing", "USD"), "9.98");
}

#[test]
fn the_description_says_what_the_flows_use() {
    let description = <super::Fake as portolan_sdk::Mapping>::describe();
    assert_eq!(description.serves.len(), 33);
    assert!(
        description.connections.iter().any(|connection| connection.name == "notify" && connection.optional)
    );
    assert!(description.tables.iter().any(|table| table.name == "products"));
    let schema: Value = serde_json::from_str(&description.settings_schema).unwrap();
    assert!(schema["properties"]["flow"]["properties"]["payout"].is_object());
    assert!(settings(json!({}))["flow"].is_object());
}
