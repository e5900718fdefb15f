//! Stripe's API: reading the story's objects, paging, expansion, errors, idempotent writes.

use portolan_simulators::System;
use portolan_simulators::story::{LinesFrom, demo_catalogue, demo_story};
use serde_json::{Value, json};

use crate::harness::World;

async fn told() -> World {
    let stripe = World::start(System::Stripe).await;
    let mut objects = demo_catalogue();
    for label in ["sap", "epicor", "sage"] {
        objects.extend(demo_story(label, 1).into_iter().flat_map(|charge| charge.objects));
    }
    let seeded = stripe.post("/_simulator/objects", &Value::Array(objects)).await;
    assert_eq!(seeded.status, 200, "{}", seeded.body);
    stripe
}

/// All pages of a list.
async fn all(stripe: &World, path: &str, limit: usize) -> Vec<Value> {
    let mut found: Vec<Value> = Vec::new();
    loop {
        let after = found
            .last()
            .map(|last| format!("&starting_after={}", last["id"].as_str().unwrap()))
            .unwrap_or_default();
        let page = stripe.get(&format!("{path}limit={limit}{after}")).await.json();
        found.extend(page["data"].as_array().unwrap().clone());
        if page["has_more"] == false {
            return found;
        }
    }
}

#[tokio::test]
async fn the_lines_of_every_charge_are_found_and_add_up() {
    let stripe = told().await;
    for charge in demo_story("sap", 1) {
        let read = stripe.get(&format!("/v1/charges/{}", charge.charge_id)).await.json();
        assert_eq!(read["amount"].as_u64(), Some(charge.amount));
        let intent = read["payment_intent"].as_str().unwrap();
        let sessions = stripe.get(&format!("/v1/checkout/sessions?payment_intent={intent}")).await.json();
        let payments = stripe
            .get(&format!(
                "/v1/invoice_payments?payment[type]=payment_intent&payment[payment_intent]={intent}"
            ))
            .await
            .json();
        let lines = match charge.lines_from {
            LinesFrom::CheckoutSession => {
                assert!(sessions["data"][0].get("line_items").is_none());
                let id = sessions["data"][0]["id"].as_str().unwrap();
                all(&stripe, &format!("/v1/checkout/sessions/{id}/line_items?"), 5).await
            }
            LinesFrom::Invoice => {
                let id = payments["data"][0]["invoice"].as_str().unwrap();
                let invoice = stripe.get(&format!("/v1/invoices/{id}")).await.json();
                assert_eq!(invoice["lines"]["data"].as_array().unwrap().len(), charge.lines);
                all(&stripe, &format!("/v1/invoices/{id}/lines?"), 1).await
            }
            LinesFrom::Metadata | LinesFrom::Nowhere => {
                assert_eq!((&sessions["data"], &payments["data"]), (&json!([]), &json!([])));
                continue;
            }
        };
        assert_eq!(lines.len(), charge.lines);
        let total: u64 = lines
            .iter()
            .map(|line| line.get("amount_total").unwrap_or(&line["amount"]).as_u64().unwrap())
            .sum();
        assert_eq!(total, charge.amount, "{}", charge.note);
    }
}

#[tokio::test]
async fn lists_are_newest_first_and_page_both_ways() {
    let stripe = told().await;
    let charges = all(&stripe, "/v1/charges?", 7).await;
    assert_eq!(charges.len(), 39);
    assert!(charges.windows(2).all(|pair| pair[0]["created"].as_u64() >= pair[1]["created"].as_u64()));
    let before = format!("/v1/charges?limit=3&ending_before={}", charges[5]["id"].as_str().unwrap());
    let page = stripe.get(&before).await.json();
    assert_eq!(
        (page["data"].as_array().unwrap(), &page["has_more"]),
        (&charges[2..5].to_vec(), &json!(true))
    );
    for path in [
        "/v1/charges?limit=0",
        "/v1/charges?limit=101",
        "/v1/charges?starting_after=ch_nope",
        "/v1/charges?colour=red",
    ] {
        let refused = stripe.get(path).await;
        assert_eq!(
            (refused.status, &refused.json()["error"]["type"]),
            (400, &json!("invalid_request_error")),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_payout_lists_its_transactions_with_their_sources() {
    let stripe = told().await;
    let transaction = |id: &str, created: u64| {
        json!({"id": id, "object": "balance_transaction", "created": created, "source": demo_story("sap", 1)[0].charge_id,
               "_simulator": {"payout": "po_1"}})
    };
    stripe.post("/_simulator/objects", &json!([transaction("txn_a", 1), transaction("txn_b", 2)])).await;
    let list =
        stripe.get("/v1/balance_transactions?payout=po_1&limit=100&expand[0]=data.source").await.json();
    assert_eq!(list["data"].as_array().unwrap().len(), 2);
    assert_eq!(
        (&list["data"][0]["id"], &list["data"][0]["source"]["object"]),
        (&json!("txn_b"), &json!("charge"))
    );
    assert!(list["data"][0].get("_simulator").is_none());
}

#[tokio::test]
async fn errors_have_stripes_shape_and_every_answer_a_request_id() {
    let stripe = told().await;
    let missing = stripe.get("/v1/customers/cus_X").await;
    assert_eq!((missing.status, &missing.json()["error"]["code"]), (404, &json!("resource_missing")));
    assert_eq!(missing.json()["error"]["message"], "No such customer: 'cus_X'");
    assert!(missing.header("request-id").unwrap().starts_with("req_"));
    assert_eq!(
        stripe.call("GET", "/v1/charges", &[("authorization", "Bearer sk_wrong")], "").await.status,
        401
    );
    assert_eq!(stripe.call("GET", "/v1/charges", &[("authorization", "")], "").await.status, 401);
    let restricted = [("authorization", "Bearer rk_test_charges_only")];
    assert_eq!(stripe.call("GET", "/v1/charges", &restricted, "").await.status, 200);
    assert_eq!(stripe.call("GET", "/v1/customers", &restricted, "").await.status, 403);
    assert_eq!(stripe.get("/v1/unicorns").await.status, 404);
}

#[tokio::test]
async fn a_write_is_made_once_for_its_key() {
    let stripe = told().await;
    let form = ("content-type", "application/x-www-form-urlencoded");
    let create = |key: &'static str, body: &'static str| {
        let stripe = &stripe;
        async move { stripe.call("POST", "/v1/customers", &[form, ("idempotency-key", key)], body).await }
    };
    let first =
        create("k1", "name=Grace&email=g%40example.com&metadata[erp_id]=812&address[city]=Bonn").await;
    assert_eq!(
        (first.status, &first.json()["metadata"]["erp_id"], &first.json()["address"]["city"]),
        (200, &json!("812"), &json!("Bonn"))
    );
    let again =
        create("k1", "name=Grace&email=g%40example.com&metadata[erp_id]=812&address[city]=Bonn").await;
    assert_eq!((again.json(), again.header("idempotent-replayed")), (first.json(), Some("true")));
    let other = create("k1", "name=Ada").await;
    assert_eq!((other.status, &other.json()["error"]["type"]), (400, &json!("idempotency_error")));
    // What was refused before it was executed leaves the key free.
    assert_eq!(create("k2", "colour=red").await.status, 400);
    assert_eq!(create("k2", "name=Ada").await.status, 200);
    let lines = stripe.ledger("customer").await;
    assert_eq!((lines.len(), &lines[0]["business_key"]), (2, &json!("812")));
}

#[tokio::test]
async fn metadata_are_merged_and_unset_and_a_deleted_customer_is_an_answer() {
    let stripe = told().await;
    let charge = format!("/v1/charges/{}", demo_story("sap", 1)[0].charge_id);
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let changed =
        stripe.call("POST", &charge, &form, "metadata[erp_order]=16023&metadata[shop]=").await.json();
    assert_eq!(changed["metadata"], json!({"erp_order": "16023"}));
    assert_eq!(stripe.get(&charge).await.json()["metadata"], json!({"erp_order": "16023"}));
    let customer = "/v1/customers/cus_PortolanJenny";
    assert_eq!(stripe.call("DELETE", customer, &[], "").await.json()["deleted"], true);
    let read = stripe.get(customer).await;
    assert_eq!((read.status, &read.json()["deleted"]), (200, &json!(true)));
    assert_eq!(stripe.call("POST", customer, &form, "name=x").await.status, 404);
}
