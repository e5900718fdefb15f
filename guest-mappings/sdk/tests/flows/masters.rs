//! Customers and subscriptions.

use portolan_sdk::{
    prelude::json,
    testing::{TestObject, customer, echoed, subscription},
};
use serde_json::Value;

use super::{get, keys, trial};

fn rosen() -> TestObject {
    customer("cus_1", "Rosen Ltd")
}

#[test]
fn a_customer_is_told_to_the_erp_as_stripe_knows_it_now() {
    let stale = customer("cus_1", "Rosen & Co").event("customer.created");
    let ended = get(trial(&stale, json!({})), "customer.get", &rosen()).run();
    insta::assert_json_snapshot!(ended.json());
    let changed = customer("cus_1", "Rosen & Co").updated("customer.updated", json!({"name": "Rosen"}));
    assert_eq!(get(trial(&changed, json!({})), "customer.get", &rosen()).run().outcome, ended.outcome);
}

#[test]
fn a_customer_without_a_difference_comes_to_rest() {
    let event = rosen().updated("customer.updated", json!({"name": "Rosen"}));
    let same = get(trial(&event, json!({})), "customer.get", &rosen()).reference(
        "stripe.customer",
        "cus_1",
        json!({"fake": "C-1", "fake.name": "Rosen Ltd"}),
    );
    assert!(same.run().skipped().contains("says the same"));
    assert!(trial(&echoed(event), json!({})).run().skipped().contains("Portolan itself"));
    let elsewhere = rosen().updated("customer.updated", json!({"invoice_settings": {}}));
    assert!(trial(&elsewhere, json!({})).run().skipped().contains("nothing changed"));
    let gone = TestObject::new(json!({"id": "cus_1", "object": "customer", "deleted": true}));
    let event = rosen().event("customer.created");
    assert!(get(trial(&event, json!({})), "customer.get", &gone).run().skipped().contains("deleted since"));
}

#[test]
fn the_tenant_chooses_what_becomes_of_customers() {
    let event = rosen().updated("customer.updated", json!({"name": "Rosen"}));
    assert!(trial(&event, json!({"customers": "off"})).run().skipped().contains("off"));
    let create_only = |known: Value| {
        get(trial(&event, json!({"customers": "create-only"})), "customer.get", &rosen())
            .reference("stripe.customer", "cus_1", known)
            .run()
    };
    assert!(create_only(json!({"fake": "C-1"})).skipped().contains("create-only"));
    assert_eq!(keys(create_only(json!({})).plan()), ["customer", "write-back"]);
}

#[test]
fn a_deleted_customer_is_told_and_kept() {
    let event = rosen().event("customer.deleted");
    assert!(trial(&event, json!({})).run().skipped().contains("never had it"));
    let ended = trial(&event, json!({})).reference("stripe.customer", "cus_1", json!({"fake": "C-1"})).run();
    assert!(keys(ended.plan()).is_empty());
    assert_eq!(ended.plan().alerts[0].title, "Stripe's customer cus_1 was deleted; the ERP keeps it as C-1");
}

#[test]
fn a_subscription_is_remembered_and_told() {
    let event = subscription("sub_1", "cus_1", "prod_plan").event("customer.subscription.created");
    let ended = trial(&event, json!({"notify": {"path": "/erp"}}))
        .reference("stripe.customer", "cus_1", json!({"fake": "C-1"}))
        .run();
    insta::assert_json_snapshot!(ended.json());
}

#[test]
fn a_change_of_plan_is_recognised_in_both_shapes() {
    let since = subscription("sub_1", "cus_1", "prod_plan");
    let before = since.clone().with("items", json!(null)).with("plan", json!({"product": "prod_plan"}));
    let title = |event: &Value| trial(event, json!({})).run().plan().alerts[0].title.clone();
    for event in [
        since.updated(
            "customer.subscription.updated",
            json!({"items": {"data": [{"price": {"product": "prod_old"}}]}}),
        ),
        before.updated("customer.subscription.updated", json!({"plan": {"product": "prod_old"}})),
        before.updated("customer.subscription.updated", json!({"quantity": 1})),
    ] {
        assert_eq!(title(&event), "The subscription sub_1 is changed");
    }
    let ending = since.clone().with("cancel_at_period_end", json!(true));
    let ending = ending.updated("customer.subscription.updated", json!({"cancel_at_period_end": false}));
    assert_eq!(title(&ending), "The subscription sub_1 is to be cancelled");
    for (kind, what) in [("deleted", "cancelled"), ("paused", "paused"), ("resumed", "resumed")] {
        let event = since.event(&format!("customer.subscription.{kind}"));
        assert_eq!(title(&event), format!("The subscription sub_1 is {what}"));
    }
    let nothing = since.updated("customer.subscription.updated", json!({"schedule": null}));
    assert!(trial(&nothing, json!({})).run().skipped().contains("goes on"));
}
