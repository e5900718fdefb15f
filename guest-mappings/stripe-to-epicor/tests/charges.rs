//! What becomes of charges: whole outcomes as snapshots, and the rules one by one.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test code")]

use portolan_sdk::{
    contract::CheckTime,
    money::Decimal,
    prelude::*,
    testing::{Ended, TestCharge, Trial, charge},
};
use serde_json::Value;
use stripe_to_epicor::StripeToEpicor;

const CHARGE: &str = "ch_3QabcDEF0123456789abcdef";
const INTENT: &str = "pi_3QabcDEF0123456789abcdef";

fn settings() -> Value {
    let schema: Value = serde_json::from_str(include_str!("../settings.schema.json")).unwrap();
    schema["examples"][0].clone()
}

fn with(field: &str, value: Value) -> Value {
    let mut settings = settings();
    settings[field] = value;
    settings
}

fn trial(charge: &TestCharge) -> Trial<StripeToEpicor> {
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

fn row(number: u64, id: &str, name: &str, email: &str) -> Value {
    json!({"CustNum": number, "CustID": id, "Name": name, "EMailAddress": email, "CurrencyCode": "USD",
        "Inactive": false, "CreditHold": false, "SysRevID": 9_912_345})
}

fn total(ended: &Ended) -> Decimal {
    let lines = ended.body("order")["OrderDtls"].clone();
    let price = |line: &Value| Decimal::from_str_exact(line["DocUnitPrice"].as_str().unwrap()).unwrap();
    let pieces = |line: &Value| Decimal::from(line["SellingQuantity"].as_u64().unwrap());
    lines.as_array().unwrap().iter().map(|line| price(line) * pieces(line)).sum()
}

#[test]
fn a_new_customer_with_a_checkout_session() {
    let lines = json!([
        {"amount_total": 4998, "amount_tax": 0, "quantity": 2, "description": "Widget", "price": {"product": "prod_widget"}},
        {"amount_total": 1000, "amount_tax": 0, "quantity": 3, "description": "Gasket", "price": {"product": "prod_gasket"}},
    ]);
    let ended = trial(&charge(CHARGE, 5998, "usd").customer("cus_jenny"))
        .query("stripe", "customer.get", json!({"id": "cus_jenny"}), jenny())
        .query("stripe", "checkout-session.by-payment-intent", by_intent(), session(lines))
        .lookup("parts", "prod_widget", json!("WIDGET-1"))
        .lookup("parts", "prod_gasket", json!({"part": "GASKET-3", "unit": "SET"}))
        .run();
    insta::assert_json_snapshot!(ended.json());
    assert_eq!(total(&ended), Decimal::new(5998, 2));
}

#[test]
fn a_remembered_customer_whose_email_address_changed() {
    let ended = trial(&charge(CHARGE, 1999, "eur").customer("cus_jenny"))
        .reference("stripe.customer", "cus_jenny", json!({"epicor": "812"}))
        .query("stripe", "customer.get", json!({"id": "cus_jenny"}), jenny())
        .query(
            "erp",
            "customer.get",
            json!({"CustNum": 812}),
            row(812, "ROSE01", "Jenny Rosen", "old@example.com"),
        )
        .run();
    insta::assert_json_snapshot!(ended.json());
}

#[test]
fn yen_of_a_guest_who_buys_as_the_guest_customer() {
    let ended = Trial::<StripeToEpicor>::of_charge(&charge(CHARGE, 5000, "jpy"))
        .settings(with("guest_customer", json!("GUEST")))
        .query("erp", "customer.get", json!({"CustID": "GUEST"}), row(7, "GUEST", "Web guests", ""))
        .run();
    insta::assert_json_snapshot!(ended.json());
}

#[test]
fn dinars_of_a_guest_who_becomes_a_customer() {
    let charge = charge(CHARGE, 12_340, "kwd").metadata(
        "lines",
        r#"[{"product":"DATE-BOX","quantity":7,"amount":10000},{"product":"shipping","amount":2340}]"#,
    );
    let ended = trial(&charge).lookup("parts", "shipping", json!("FREIGHT")).run();
    insta::assert_json_snapshot!(ended.json());
    assert_eq!(total(&ended), Decimal::new(12_340, 3));
}

#[test]
fn two_first_charges_of_a_customer_create_the_same_one() {
    let plan = |id: &str| {
        let ended = trial(&charge(id, 100, "usd").customer("cus_jenny"))
            .query("stripe", "customer.get", json!({"id": "cus_jenny"}), jenny())
            .run();
        (ended.body("customer"), ended.plan().deliveries[0].unless.clone().unwrap())
    };
    assert_eq!(plan("ch_one"), plan("ch_two"));
    assert_eq!(plan("ch_one").1.when, CheckTime::InDoubt);
}

#[test]
fn documents_are_looked_for_always() {
    let ended = trial(&charge(CHARGE, 100, "usd")).run();
    for delivery in ended
        .plan()
        .deliveries
        .iter()
        .filter(|delivery| ["order", "receipt", "post"].contains(&&*delivery.key))
    {
        assert_eq!(delivery.unless.as_ref().unwrap().when, CheckTime::Always, "{}", delivery.key);
    }
}

#[test]
fn a_customer_found_by_the_made_id_is_remembered() {
    let made =
        trial(&charge(CHARGE, 100, "usd").customer("cus_jenny")).run().body("customer")["CustID"].clone();
    let made = made.as_str().unwrap();
    let ended = trial(&charge(CHARGE, 100, "usd").customer("cus_jenny"))
        .query("stripe", "customer.get", json!({"id": "cus_jenny"}), jenny())
        .query(
            "erp",
            "customer.get",
            json!({"CustID": made}),
            row(812, made, "Jenny Rosen", "jenny@example.com"),
        )
        .run();
    assert_eq!(ended.plan().references[0].id, "812");
    assert_eq!(ended.plan().deliveries[0].key, "order");
    assert_eq!(ended.body("order")["CustNum"], 812);
}

#[test]
fn somebody_elses_customer_is_not_posted_to() {
    let made =
        trial(&charge(CHARGE, 100, "usd").customer("cus_jenny")).run().body("customer")["CustID"].clone();
    let made = made.as_str().unwrap();
    let ended = trial(&charge(CHARGE, 100, "usd").customer("cus_jenny"))
        .query("stripe", "customer.get", json!({"id": "cus_jenny"}), jenny())
        .query("erp", "customer.get", json!({"CustID": made}), row(99, made, "Acme", "sales@acme.example"))
        .run();
    assert_eq!(ended.violation().code, "customer-id-taken");
}

#[test]
fn a_customer_of_the_lookup_table_is_left_as_it_is() {
    let ended = trial(&charge(CHARGE, 100, "usd").customer("cus_jenny"))
        .query("stripe", "customer.get", json!({"id": "cus_jenny"}), jenny())
        .lookup("customers", "cus_jenny", json!("ROSE01"))
        .query(
            "erp",
            "customer.get",
            json!({"CustID": "ROSE01"}),
            row(812, "ROSE01", "Rosen Ltd", "accounts@rosen.example"),
        )
        .run();
    assert_eq!(ended.plan().deliveries[0].key, "order");
    assert!(ended.plan().references.is_empty());
}

#[test]
fn a_lookup_table_that_names_nobody_is_refused() {
    let ended = trial(&charge(CHARGE, 100, "usd").customer("cus_jenny"))
        .lookup("customers", "cus_jenny", json!("NOBODY"))
        .run();
    assert_eq!(ended.violation().code, "unknown-customer");
}

#[test]
fn an_inactive_customer_waits_for_approval() {
    let mut inactive = row(812, "ROSE01", "Jenny Rosen", "jenny@example.com");
    inactive["Inactive"] = json!(true);
    let ended = trial(&charge(CHARGE, 100, "usd").customer("cus_jenny"))
        .reference("stripe.customer", "cus_jenny", json!({"epicor": "812"}))
        .query("erp", "customer.get", json!({"CustNum": 812}), inactive)
        .run();
    assert_eq!(ended.held().reason, "customer ROSE01 (812) is inactive in Epicor: sell to it?");
    assert!(!ended.held().plan.deliveries.is_empty());
}

#[test]
fn a_name_that_does_not_fit_is_refused_with_its_field() {
    let mut long = jenny();
    long["name"] = json!("x".repeat(51));
    let ended = trial(&charge(CHARGE, 100, "usd").customer("cus_jenny"))
        .query("stripe", "customer.get", json!({"id": "cus_jenny"}), long)
        .run();
    assert_eq!(ended.violation().code, "does-not-fit");
    assert!(ended.violation().message.starts_with("Name: "));
}

#[test]
fn a_deleted_customer_is_known_by_its_billing_details() {
    let ended = trial(&charge(CHARGE, 100, "usd").customer("cus_jenny"))
        .query(
            "stripe",
            "customer.get",
            json!({"id": "cus_jenny"}),
            json!({"id": "cus_jenny", "deleted": true}),
        )
        .run();
    assert_eq!(ended.body("customer")["Name"], "Jenny Rosen");
}

#[test]
fn an_anonymous_guest_is_named_after_the_charge() {
    let ended = trial(&charge(CHARGE, 100, "usd").anonymous()).run();
    assert_eq!(ended.body("customer")["Name"], "R144WJGG6ZXJ677C");
    assert_eq!(ended.body("customer")["CustID"].as_str().unwrap().len(), 10);
}

#[test]
fn only_captured_money_counts() {
    assert!(trial(&charge(CHARGE, 100, "usd").authorized()).run().skipped().contains("not captured"));
    let ended = trial(&charge(CHARGE, 5998, "usd").captured(1001)).run();
    assert_eq!(ended.body("receipt")["DocTranAmt"], "10.01");
    assert_eq!(total(&ended), Decimal::new(1001, 2));
}

#[test]
fn what_the_erp_refuses_to_tell_is_named() {
    let ended = trial(&charge(CHARGE, 100, "usd").customer("cus_jenny"))
        .refusal("stripe", "customer.get", json!({"id": "cus_jenny"}), "forbidden")
        .run();
    assert_eq!(ended.violation().code, "fact-refused");
    assert!(ended.violation().message.contains("customer.get"));
}

#[test]
fn the_erp_adds_the_tax_to_net_prices() {
    let lines = json!([{"amount_total": 1190, "amount_tax": 190, "quantity": 1}]);
    let ended = Trial::<StripeToEpicor>::of_charge(&charge(CHARGE, 1190, "eur"))
        .settings(with("prices", json!("net")))
        .query("stripe", "checkout-session.by-payment-intent", by_intent(), session(lines))
        .run();
    assert_eq!(total(&ended), Decimal::new(1000, 2));
    assert_eq!(ended.body("receipt")["DocTranAmt"], "11.90");
}
