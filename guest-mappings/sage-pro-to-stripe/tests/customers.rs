//! What becomes of Sage Pro's customers; and, because its rows are the plainest, the rules of the way back.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test code")]

use portolan_sdk::{
    contract::Severity,
    prelude::*,
    testing::{Ended, Trial},
};
use sage_pro_to_stripe::SageProToStripe;
use serde_json::Value;

/// A row as FoxPro pads it.
fn row(changes: Value) -> Value {
    let row = json!({
        "CustNo": "ROSE01", "ExternalRef": null, "Company": "Jenny Rosen                        ", "Contact": "", "Email": "jenny@example.com",
        "Phone": "+1 555 0100", "Address1": "1 Main St", "Address2": " ", "City": "Springfield", "State": "IL", "Zip": "62701",
        "Country": "USA", "Currency": "USD", "CreditHold": false,
    });
    with(row, changes)
}

/// The Stripe customer that says the same.
fn stripe(changes: Value) -> Value {
    let customer = json!({
        "id": "cus_jenny", "object": "customer", "name": "Jenny Rosen", "email": "jenny@example.com", "phone": "+1 555 0100",
        "address": {"line1": "1 Main St", "line2": null, "city": "Springfield", "state": "IL", "postal_code": "62701", "country": "US"},
        "preferred_locales": ["en"], "metadata": {"erp_id": "ROSE01"},
    });
    with(customer, changes)
}

fn with(mut object: Value, changes: Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        object[name] = value.clone();
    }
    object
}

fn trial(row: &Value) -> Trial<SageProToStripe> {
    settled(row, json!({}))
}

fn settled(row: &Value, back: Value) -> Trial<SageProToStripe> {
    let back = with(json!({"countries": {"USA": "US"}}), back);
    Trial::new("sage-pro", "customer.changed", row).settings(json!({"language": "en", "back": back}))
}

/// Both ways remembered, and Stripe has it.
fn linked(trial: Trial<SageProToStripe>, stripe: Value) -> Trial<SageProToStripe> {
    trial
        .reference("sage-pro.customer", "ROSE01", json!({"stripe": "cus_jenny"}))
        .reference("stripe.customer", "cus_jenny", json!({"sage-pro": "ROSE01"}))
        .query("stripe", "customer.get", json!({"id": "cus_jenny"}), stripe)
}

fn list(customers: &[Value]) -> Value {
    json!({"object": "list", "data": customers, "has_more": false})
}

fn by_email(trial: Trial<SageProToStripe>, customers: &[Value]) -> Trial<SageProToStripe> {
    trial.query("stripe", "customers.by-email", json!({"email": "jenny@example.com"}), list(customers))
}

fn by_number(trial: Trial<SageProToStripe>, key: &str, customers: &[Value]) -> Trial<SageProToStripe> {
    trial.query("stripe", "customers.by-metadata", json!({"key": key, "value": "ROSE01"}), list(customers))
}

fn keys(ended: &Ended) -> Vec<&str> {
    ended.plan().deliveries.iter().map(|delivery| delivery.key.as_str()).collect()
}

fn own() -> Value {
    json!({"ExternalRef": "cus_jenny"})
}

#[test]
fn a_customer_that_stripe_does_not_have_is_created_once_and_linked_both_ways() {
    let ended = trial(&row(json!({}))).run();
    insta::assert_json_snapshot!(ended.json());
    assert_eq!(ended.plan().deliveries[0].once.as_deref(), Some("sage-pro.customer/ROSE01"));
}

#[test]
fn what_stripe_says_already_is_not_said_again() {
    assert!(linked(trial(&row(own())), stripe(json!({}))).run().skipped().contains("the same"));
    // Padding, and where a street is broken, are no differences.
    let broken = with(row(own()), json!({"Address1": "1 Main", "Address2": "St"}));
    assert!(linked(trial(&broken), stripe(json!({}))).run().skipped().contains("the same"));
}

#[test]
fn what_the_erp_leaves_empty_is_left_alone() {
    let empty = with(
        row(own()),
        json!({"Phone": "", "Email": null, "Address1": "", "City": "", "State": "", "Zip": ""}),
    );
    assert!(linked(trial(&empty), stripe(json!({}))).run().skipped().contains("the same"));
}

#[test]
fn only_what_differs_is_sent_and_an_address_as_a_whole() {
    let ended = linked(trial(&row(own())), stripe(json!({"phone": null}))).run();
    assert_eq!(ended.body("customer"), json!({"id": "cus_jenny", "phone": "+1 555 0100"}));
    let moved = with(row(own()), json!({"City": "Arlington", "State": "", "Country": "Nowhere"}));
    let body = linked(trial(&moved), stripe(json!({}))).run().body("customer");
    let address = json!({"line1": "1 Main St", "line2": null, "city": "Arlington", "state": null, "postal_code": "62701", "country": "US"});
    assert_eq!(body, json!({"id": "cus_jenny", "address": address}));
}

#[test]
fn a_customer_is_found_by_the_number_in_its_metadata() {
    for key in ["erp_id", "sage_pro_customer"] {
        let found = stripe(json!({"metadata": {key: "ROSE01"}}));
        let ended = by_number(trial(&row(json!({}))), key, &[found]).run();
        let references: Vec<_> =
            ended.plan().references.iter().map(|one| (one.system.as_str(), one.id.as_str())).collect();
        assert!(
            references.contains(&("stripe", "cus_jenny")) && references.contains(&("sage-pro", "ROSE01"))
        );
        assert_eq!(ended.body("own-field"), json!({"CustNo": "ROSE01", "ExternalRef": "cus_jenny"}));
    }
}

#[test]
fn a_customer_is_found_by_its_own_field() {
    let ended = trial(&row(own()))
        .query("stripe", "customer.get", json!({"id": "cus_jenny"}), stripe(json!({"metadata": {}})))
        .run();
    assert_eq!(ended.body("customer"), json!({"id": "cus_jenny", "metadata": {"erp_id": "ROSE01"}}));
    assert_eq!(keys(&ended), ["customer"], "the field holds the id already");
}

#[test]
fn one_customer_with_the_address_is_taken_and_several_are_held() {
    let one = by_email(trial(&row(json!({}))), &[stripe(json!({"metadata": {}}))]).run();
    assert_eq!(one.body("customer"), json!({"id": "cus_jenny", "metadata": {"erp_id": "ROSE01"}}));
    let two = [stripe(json!({"metadata": {}})), stripe(json!({"id": "cus_other", "metadata": {}}))];
    let held = by_email(trial(&row(json!({}))), &two).run();
    assert!(held.held().reason.contains("cus_jenny, cus_other"), "{}", held.held().reason);
    assert_eq!(held.held().plan.deliveries[0].operation, "customer.create");
}

#[test]
fn who_is_another_numbers_customer_is_not_taken() {
    let others = stripe(json!({"metadata": {"erp_id": "ROSE02"}}));
    assert_eq!(keys(&by_email(trial(&row(json!({}))), &[others]).run())[0], "customer");
    let unmarked = stripe(json!({"metadata": {}}));
    let ended = by_email(trial(&row(json!({}))), &[unmarked])
        .reference("stripe.customer", "cus_jenny", json!({"sage-pro": "ROSE02"}))
        .run();
    assert_eq!(ended.plan().deliveries[0].operation, "customer.create");
    let deleted = stripe(json!({"deleted": true, "metadata": null}));
    assert_eq!(
        by_email(trial(&row(json!({}))), &[deleted]).run().plan().deliveries[0].operation,
        "customer.create"
    );
}

#[test]
fn conflicts_are_settled_by_the_rule() {
    let other = stripe(json!({"name": "J. Rosen", "phone": null}));
    let by_rule = |rule: &str, changed: Option<&str>| {
        let references = match changed {
            Some(at) => json!({"sage-pro": "ROSE01", "stripe.changed": at}),
            None => json!({"sage-pro": "ROSE01"}),
        };
        settled(&row(own()), json!({"conflict": rule}))
            .reference("sage-pro.customer", "ROSE01", json!({"stripe": "cus_jenny"}))
            .reference("stripe.customer", "cus_jenny", references)
            .query("stripe", "customer.get", json!({"id": "cus_jenny"}), other.clone())
            .run()
            .body("customer")
    };
    let (whole, gap) = (
        json!({"id": "cus_jenny", "name": "Jenny Rosen", "phone": "+1 555 0100"}),
        json!({"id": "cus_jenny", "phone": "+1 555 0100"}),
    );
    assert_eq!(by_rule("erp-wins", None), whole);
    assert_eq!(by_rule("stripe-wins", None), gap);
    // The event occurred at 1795217400.
    assert_eq!(by_rule("newest", None), whole);
    assert_eq!(by_rule("newest", Some("1795217399")), whole);
    assert_eq!(by_rule("newest", Some("1795217400")), gap);
}

#[test]
fn older_news_than_what_was_carried_out_are_skipped() {
    let older = trial(&row(own())).reference(
        "sage-pro.customer",
        "ROSE01",
        json!({"stripe": "cus_jenny", "sage-pro.changed": "1795217401"}),
    );
    assert!(older.run().skipped().contains("older"));
}

#[test]
fn a_block_is_marked_and_told_and_lifted() {
    let ended = linked(trial(&row(with(own(), json!({"CreditHold": true})))), stripe(json!({}))).run();
    assert_eq!(ended.body("customer"), json!({"id": "cus_jenny", "metadata": {"erp_state": "blocked"}}));
    let alert = &ended.plan().alerts[0];
    assert_eq!((alert.code.as_str(), alert.severity), ("erp-customer-blocked", Severity::Warning));
    let marked = stripe(json!({"metadata": {"erp_id": "ROSE01", "erp_state": "blocked"}}));
    let lifted = linked(trial(&row(own())), marked).run();
    assert_eq!(lifted.body("customer"), json!({"id": "cus_jenny", "metadata": {"erp_state": null}}));
    assert!(lifted.plan().alerts.is_empty());
}

#[test]
fn a_deleted_customer_is_marked_and_never_deleted() {
    let gone = json!({"CustNo": "ROSE01", "Deleted": true, "Company": "Nobody"});
    let ended = linked(trial(&gone), stripe(json!({}))).run();
    assert_eq!(ended.body("customer"), json!({"id": "cus_jenny", "metadata": {"erp_state": "deleted"}}));
    assert_eq!(ended.plan().alerts[0].code, "erp-customer-deleted");
    assert!(trial(&gone).run().skipped().contains("unknown to Stripe"));
}

#[test]
fn a_customer_deleted_in_stripe_is_left_to_people() {
    let ended = linked(trial(&row(own())), json!({"id": "cus_jenny", "deleted": true})).run();
    assert!(ended.plan().deliveries.is_empty());
    assert_eq!(ended.plan().alerts[0].code, "stripe-customer-gone");
}

#[test]
fn what_the_tenant_does_not_want_told_is_not() {
    let settings = json!({"fields": ["name"], "write_back": false, "find_by_email": false,
        "metadata": {"number": "sage", "currency": "sage_currency"}});
    let body = settled(&row(json!({})), settings).run();
    assert_eq!(keys(&body), ["customer", "customer-update"]);
    assert_eq!(
        body.body("customer"),
        json!({"name": "Jenny Rosen", "metadata": {"sage": "ROSE01", "sage_currency": "USD"}})
    );
    assert!(settled(&row(json!({})), json!({"create": false})).run().skipped().contains("created"));
}

#[test]
fn another_systems_reference_in_the_own_field_is_left_there() {
    let ended = trial(&row(json!({"ExternalRef": "guest_R144WJGG6ZXJ677C"}))).run();
    assert_eq!(keys(&ended), ["customer", "customer-update"]);
}

#[test]
fn a_row_without_a_number_and_a_text_that_stripe_cannot_hold_are_refused() {
    assert_eq!(trial(&row(json!({"CustNo": "  "}))).run().violation().pointer, "/CustNo");
    let long = trial(&row(json!({"Phone": "1".repeat(21)}))).run();
    assert!(long.violation().message.starts_with("phone: "));
}
