//! What becomes of charges: whole outcomes as snapshots, and the rules one by one.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test code")]

use portolan_sdk::{
    contract::CheckTime,
    money::Decimal,
    prelude::*,
    testing::{Ended, TestCharge, Trial, charge},
};
use serde_json::Value;
use stripe_to_sap_ecc::StripeToSapEcc;

const CHARGE: &str = "ch_3QabcDEF0123456789abcdef";
const INTENT: &str = "pi_3QabcDEF0123456789abcdef";

fn settings() -> Value {
    let schema: Value = serde_json::from_str(include_str!("../settings.schema.json")).unwrap();
    schema["examples"][0].clone()
}

fn without(field: &str) -> Value {
    let mut settings = settings();
    settings.as_object_mut().unwrap().remove(field);
    settings
}

fn trial(charge: &TestCharge) -> Trial<StripeToSapEcc> {
    Trial::of_charge(charge).settings(settings())
}

fn session(lines: Value) -> Value {
    json!({"id": "cs_1", "object": "checkout.session", "line_items": {"object": "list", "data": lines, "has_more": false}})
}

fn by_intent() -> Value {
    json!({"payment_intent": INTENT})
}

/// Σ quantity × price of the order, and the two sides of the payment.
fn totals(ended: &Ended) -> (Decimal, Decimal, Decimal) {
    let number = |value: &Value| Decimal::from_str_exact(value.as_str().unwrap()).unwrap();
    let (order, payment) = (ended.body("order"), ended.body("payment"));
    let rows = order["ORDER_SCHEDULES_IN"]
        .as_array()
        .unwrap()
        .iter()
        .zip(order["ORDER_CONDITIONS_IN"].as_array().unwrap());
    let sum = rows.map(|(schedule, price)| number(&schedule["REQ_QTY"]) * number(&price["COND_VALUE"])).sum();
    let amounts = &payment["CURRENCYAMOUNT"];
    (sum, number(&amounts[0]["AMT_DOCCUR"]), number(&amounts[1]["AMT_DOCCUR"]))
}

#[test]
fn a_known_customer_with_a_checkout_session() {
    let lines = json!([
        {"amount_total": 4998, "amount_tax": 0, "quantity": 2, "description": "Widget", "price": {"product": "prod_widget"}},
        {"amount_total": 1000, "amount_tax": 160, "quantity": 3, "description": "Gasket, a set of them", "price": {"product": {"id": "prod_gasket", "object": "product"}}},
    ]);
    let ended = trial(&charge(CHARGE, 5998, "usd").customer("cus_jenny"))
        .reference("stripe.customer", "cus_jenny", json!({"sap-ecc": "100042", "epicor": "812"}))
        .query("stripe", "checkout-session.by-payment-intent", by_intent(), session(lines))
        .lookup("materials", "prod_widget", json!("4711"))
        .lookup("materials", "prod_gasket", json!({"material": "gk-3", "unit": "ST", "plant": "1100"}))
        .run();
    insta::assert_json_snapshot!(ended.json());
    let sixty = Decimal::new(5998, 2);
    assert_eq!(totals(&ended), (sixty, sixty, -sixty));
}

#[test]
fn a_guest_in_euro_is_the_one_time_customer() {
    let ended = trial(&charge(CHARGE, 1999, "eur")).run();
    insta::assert_json_snapshot!(ended.json());
}

#[test]
fn yen_from_an_old_invoice_for_a_customer_of_the_lookup_table() {
    let invoice = json!({"id": "in_1", "lines": {"data": [
        {"amount": 5000, "quantity": 1, "description": "Subscription", "price": {"id": "price_1", "product": "prod_sub"}},
    ]}});
    let ended = trial(&charge(CHARGE, 5000, "jpy").customer("cus_taro").with("invoice", json!("in_1")))
        .lookup("customers", "cus_taro", json!({"customer": "C-TARO"}))
        .query("stripe", "invoice.get", json!({"id": "in_1"}), invoice)
        .lookup("materials", "prod_sub", json!("SUB-1"))
        .run();
    insta::assert_json_snapshot!(ended.json());
}

#[test]
fn dinars_from_metadata() {
    let charge = charge(CHARGE, 12_340, "kwd")
        .metadata(
            "line_1",
            r#"{"product": "DATE-BOX", "quantity": 7, "amount": 10000, "description": "Dates"}"#,
        )
        .metadata("line_2", r#"{"product": "shipping", "amount": 2340}"#);
    let ended = trial(&charge).lookup("materials", "shipping", json!("FREIGHT")).run();
    insta::assert_json_snapshot!(ended.json());
    let amount = Decimal::new(12_340, 3);
    assert_eq!(totals(&ended), (amount, amount, -amount));
}

#[test]
fn both_documents_are_looked_for_always() {
    let ended = trial(&charge(CHARGE, 100, "usd")).run();
    for delivery in ended.plan().deliveries.iter().filter(|delivery| delivery.connection == "erp") {
        assert_eq!(delivery.unless.as_ref().unwrap().when, CheckTime::Always, "{}", delivery.key);
    }
}

#[test]
fn what_is_only_authorized_is_skipped() {
    assert!(trial(&charge(CHARGE, 100, "usd").authorized()).run().skipped().contains("not captured"));
}

#[test]
fn an_unknown_customer_waits_for_a_person() {
    let ended = Trial::<StripeToSapEcc>::of_charge(&charge(CHARGE, 100, "usd").customer("cus_new"))
        .settings(without("default_customer"))
        .run();
    assert_eq!(ended.violation().code, "unknown-customer");
    assert_eq!(
        ended.violation().message,
        "no SAP customer is known for cus_new: add it to the lookup table customers"
    );
}

#[test]
fn an_unknown_product_waits_for_a_person_where_there_is_no_default() {
    let ended = Trial::<StripeToSapEcc>::of_charge(&charge(CHARGE, 100, "usd"))
        .settings(without("default_material"))
        .run();
    assert_eq!(ended.violation().code, "unknown-product");
}

#[test]
fn a_partial_capture_books_what_was_captured_and_says_so() {
    let lines = json!([
        {"amount_total": 4000, "quantity": 1, "price": {"product": "prod_a"}},
        {"amount_total": 1998, "quantity": 4, "price": {"product": "prod_b"}},
    ]);
    let ended = trial(&charge(CHARGE, 5998, "usd").captured(1001))
        .query("stripe", "checkout-session.by-payment-intent", by_intent(), session(lines))
        .run();
    let ten = Decimal::new(1001, 2);
    assert_eq!(totals(&ended), (ten, ten, -ten));
    assert_eq!(ended.plan().alerts[0].code, "partial-capture");
}

#[test]
fn lines_that_do_not_add_up_are_refused() {
    let lines = json!([{"amount_total": 99, "quantity": 1}]);
    let ended = trial(&charge(CHARGE, 100, "usd"))
        .query("stripe", "checkout-session.by-payment-intent", by_intent(), session(lines))
        .run();
    assert_eq!(ended.violation().code, "lines-do-not-add-up");
    assert!(ended.violation().message.contains("the difference is 0.01 USD"));
}

#[test]
fn the_posting_date_and_the_fiscal_year_follow_the_time_zone() {
    // 2026-11-20T23:30:00Z, the 21st in Berlin.
    let mut settings = settings();
    settings["fiscal_year_first_month"] = json!(10);
    let ended = Trial::<StripeToSapEcc>::of_charge(&charge(CHARGE, 100, "usd")).settings(settings).run();
    assert_eq!(ended.body("payment")["DOCUMENTHEADER"]["PSTNG_DATE"], "20261121");
    let check: Value =
        serde_json::from_str(&ended.plan().deliveries[1].unless.as_ref().unwrap().parameters).unwrap();
    assert_eq!(check["FISC_YEAR"], "2027");
}

#[test]
fn quantity_times_price_is_the_amount_in_every_currency() {
    for (currency, amount) in
        [("usd", 9_999), ("jpy", 9_999), ("kwd", 99_990), ("isk", 999_900), ("huf", 100_003)]
    {
        for quantity in [1, 2, 3, 7, 11] {
            let lines = json!([{"amount_total": amount, "quantity": quantity}]);
            let ended = trial(&charge(CHARGE, amount, currency))
                .query("stripe", "checkout-session.by-payment-intent", by_intent(), session(lines))
                .run();
            let (sum, debit, credit) = totals(&ended);
            assert_eq!((sum, debit), (debit, -credit), "{quantity} for {amount} {currency}");
        }
    }
}

#[test]
fn a_system_without_decimals_gets_none() {
    let mut settings = settings();
    settings["currency_decimals"] = json!({"HUF": 0});
    let trial = |amount| {
        Trial::<StripeToSapEcc>::of_charge(&charge(CHARGE, amount, "huf")).settings(settings.clone()).run()
    };
    assert_eq!(trial(123_400).body("payment")["CURRENCYAMOUNT"][0]["AMT_DOCCUR"], "1234");
    assert_eq!(trial(123_450).violation().code, "lost-digits");
}

#[test]
fn wrong_settings_are_named() {
    let ended = Trial::<StripeToSapEcc>::of_charge(&charge(CHARGE, 100, "usd"))
        .settings(without("company_code"))
        .run();
    assert_eq!(ended.violation().code, "settings");
    assert!(ended.violation().message.contains("company_code"));
}

#[test]
fn every_question_of_a_round_is_asked_together() {
    let ended = trial(&charge(CHARGE, 100, "usd").customer("cus_1")).run();
    assert_eq!((ended.rounds, ended.needs.len()), (3, 5));
}
