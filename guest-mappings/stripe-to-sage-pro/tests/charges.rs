//! What becomes of charges: whole outcomes as snapshots, and the rules one by one.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test code")]

use portolan_sdk::{
    money::Decimal,
    prelude::*,
    testing::{Ended, TestCharge, Trial, charge},
};
use serde_json::Value;
use stripe_to_sage_pro::StripeToSagePro;

const CHARGE: &str = "ch_3QabcDEF0123456789abcdef";
const INTENT: &str = "pi_3QabcDEF0123456789abcdef";

fn settings() -> Value {
    let schema: Value = serde_json::from_str(include_str!("../settings.schema.json")).unwrap();
    schema["examples"][0].clone()
}

fn trial(charge: &TestCharge) -> Trial<StripeToSagePro> {
    Trial::of_charge(charge).settings(settings())
}

fn session(lines: Value) -> Value {
    json!({"id": "cs_1", "object": "checkout.session", "line_items": {"object": "list", "data": lines, "has_more": false}})
}

fn by_intent() -> Value {
    json!({"payment_intent": INTENT})
}

fn jenny() -> Value {
    json!({
        "id": "cus_jenny", "object": "customer", "name": "Jenny Rosen", "email": "jenny@example.com", "phone": null,
        "address": {"line1": "1 Main St", "line2": null, "city": "Springfield", "state": "IL", "postal_code": "62701", "country": "US"},
    })
}

/// Σ quantity × price, the tax, and the payment.
fn totals(ended: &Ended) -> (Decimal, Decimal, Decimal) {
    let number = |value: &Value| Decimal::from_str_exact(value.as_str().unwrap()).unwrap();
    let invoice = ended.body("invoice");
    let lines = invoice["Lines"].as_array().unwrap().iter();
    let sum = lines.map(|line| number(&line["Price"]) * Decimal::from(line["Qty"].as_u64().unwrap())).sum();
    (sum, number(&invoice["Tax"]), number(&invoice["Payment"]["Amount"]))
}

#[test]
fn a_new_customer_with_tax() {
    let lines = json!([
        {"amount_total": 5355, "amount_tax": 855, "quantity": 2, "description": "Widget", "price": {"product": "prod_widget"}},
        {"amount_total": 1190, "amount_tax": 190, "quantity": 3, "description": "Gasket", "price": {"product": "prod_gasket"}},
    ]);
    let ended = trial(&charge(CHARGE, 6545, "usd").customer("cus_jenny"))
        .query("stripe", "customer.get", json!({"id": "cus_jenny"}), jenny())
        .query("stripe", "checkout-session.by-payment-intent", by_intent(), session(lines))
        .lookup("items", "prod_widget", json!("WIDGET-1"))
        .lookup("items", "prod_gasket", json!({"item": "GASKET-3"}))
        .run();
    insta::assert_json_snapshot!(ended.json());
    let (sum, tax, payment) = totals(&ended);
    assert_eq!(sum + tax, payment);
}

#[test]
fn a_remembered_customer_in_euro() {
    let ended = trial(&charge(CHARGE, 1999, "eur").customer("cus_jenny"))
        .reference("stripe.customer", "cus_jenny", json!({"sage-pro": "ROSE01"}))
        .run();
    insta::assert_json_snapshot!(ended.json());
}

#[test]
fn yen_of_a_customer_that_the_gateway_knows() {
    let ended = trial(&charge(CHARGE, 5000, "jpy").customer("cus_taro"))
        .query(
            "erp",
            "customer.find",
            json!({"ExternalRef": "cus_taro"}),
            json!({"CustNo": "TARO01", "ExternalRef": "cus_taro"}),
        )
        .run();
    insta::assert_json_snapshot!(ended.json());
}

#[test]
fn dinars_of_a_guest() {
    let charge = charge(CHARGE, 12_340, "kwd").metadata(
        "lines",
        r#"[{"product":"DATE-BOX","quantity":7,"amount":10000},{"product":"shipping","amount":2340}]"#,
    );
    let ended = trial(&charge).lookup("items", "shipping", json!("FREIGHT")).run();
    insta::assert_json_snapshot!(ended.json());
    let (sum, _, payment) = totals(&ended);
    assert_eq!(sum, payment);
}

#[test]
fn the_status_is_what_the_tenant_calls_it() {
    let by_table =
        trial(&charge(CHARGE, 100, "usd")).lookup("payment-status", "succeeded", json!("PD")).run();
    assert_eq!(by_table.body("invoice")["PaymentStatus"], "PD");
    let by_settings = trial(&charge(CHARGE, 100, "usd")).run();
    assert_eq!(by_settings.body("invoice")["PaymentStatus"], "Paid");
    let mut settings = settings();
    settings["payment_status"] = json!({"pending": "Open"});
    let unknown = trial(&charge(CHARGE, 100, "usd")).settings(settings).run();
    assert_eq!(unknown.violation().code, "unknown-status");
    let on_the_way = trial(&charge(CHARGE, 100, "usd").with("status", json!("on_the_way"))).run();
    assert!(on_the_way.skipped().contains("no money has moved"));
}

#[test]
fn two_first_charges_of_a_customer_create_the_same_one() {
    let row = |id: &str| trial(&charge(id, 100, "usd").customer("cus_jenny")).run().body("customer");
    assert_eq!(row("ch_one"), row("ch_two"));
}

#[test]
fn a_customer_of_the_lookup_table_is_used() {
    let ended = trial(&charge(CHARGE, 100, "usd").customer("cus_1"))
        .lookup("customers", "cus_1", json!("ROSE01"))
        .run();
    assert_eq!(ended.body("invoice")["CustNo"], "ROSE01");
    let keys: Vec<_> = ended.plan().deliveries.iter().map(|delivery| delivery.key.as_str()).collect();
    assert_eq!(keys, ["invoice", "write-back"], "no customer is created");
}

#[test]
fn a_number_too_long_for_sage_pro_is_refused() {
    let ended = trial(&charge(CHARGE, 100, "usd").customer("cus_1"))
        .lookup("customers", "cus_1", json!("ROSE001"))
        .run();
    assert!(ended.violation().message.starts_with("CustNo: "));
}

#[test]
fn gross_prices_have_the_tax_in_them() {
    let mut settings = settings();
    settings["prices"] = json!("gross");
    let lines = json!([{"amount_total": 1190, "amount_tax": 190, "quantity": 1}]);
    let ended = Trial::<StripeToSagePro>::of_charge(&charge(CHARGE, 1190, "eur"))
        .settings(settings)
        .query("stripe", "checkout-session.by-payment-intent", by_intent(), session(lines))
        .run();
    assert_eq!(totals(&ended), (Decimal::new(1190, 2), Decimal::new(0, 2), Decimal::new(1190, 2)));
}

#[test]
fn only_captured_money_counts() {
    assert!(trial(&charge(CHARGE, 100, "usd").authorized()).run().skipped().contains("not captured"));
    let ended = trial(&charge(CHARGE, 5998, "usd").captured(1001)).run();
    assert_eq!(totals(&ended).2, Decimal::new(1001, 2));
}
