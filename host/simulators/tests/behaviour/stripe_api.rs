//! Stripe's API over a month: events listed, filtered and in old shapes, payouts, searches, and writes that are told.

use portolan_simulators::System;
use serde_json::{Value, json};

use crate::harness::{Answer, World};

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

async fn month(charges: usize) -> World {
    let stripe = World::start(System::Stripe).await;
    let played = stripe.post("/_simulator/month", &json!({"seed": 1, "charges": charges})).await;
    assert_eq!(played.status, 200, "{}", played.body);
    stripe
}

async fn post(stripe: &World, path: &str, key: &str, body: &str) -> Answer {
    stripe.call("POST", path, &[FORM, ("idempotency-key", key)], body).await
}

/// All pages of a list.
async fn all(stripe: &World, path: &str) -> Vec<Value> {
    let mut found: Vec<Value> = Vec::new();
    loop {
        let after = found
            .last()
            .map(|last| format!("&starting_after={}", last["id"].as_str().unwrap()))
            .unwrap_or_default();
        let page = stripe.get(&format!("{path}limit=100{after}")).await.json();
        found.extend(page["data"].as_array().unwrap_or_else(|| panic!("{page}")).clone());
        if page["has_more"] == false {
            return found;
        }
    }
}

fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn events_are_listed_newest_first_and_filtered() {
    let stripe = month(60).await;
    let events = all(&stripe, "/v1/events?").await;
    let report = stripe.get("/_simulator/month").await.json();
    assert_eq!(report["events"], json!(events.len()));
    assert!(events.windows(2).all(|pair| pair[0]["created"].as_u64() >= pair[1]["created"].as_u64()));
    assert!(events.iter().all(|event| event["data"]["object"].get("_simulator").is_none()));
    let paid = all(&stripe, "/v1/events?types[]=payout.paid&types[]=payout.failed&").await;
    assert!(!paid.is_empty() && types(&paid).iter().all(|kind| kind.starts_with("payout.")));
    let middle = events[events.len() / 2]["created"].as_u64().unwrap();
    let newer = all(&stripe, &format!("/v1/events?created[gte]={middle}&")).await;
    let expected = events.iter().filter(|event| event["created"].as_u64().unwrap() >= middle).count();
    assert_eq!(newer.len(), expected);
    let before = format!("/v1/events?limit=3&ending_before={}", events[5]["id"].as_str().unwrap());
    assert_eq!(stripe.get(&before).await.json()["data"], json!(events[2..5]));
    let one = events[7]["id"].as_str().unwrap();
    assert_eq!(stripe.get(&format!("/v1/events/{one}")).await.json(), events[7]);
    assert_eq!(stripe.get("/v1/events?starting_after=evt_none").await.status, 400);
    let many: String = (0..21).map(|at| format!("types[]=x.{at}&")).collect();
    assert_eq!(stripe.get(&format!("/v1/events?{many}")).await.status, 400);
}

#[tokio::test]
async fn what_is_older_than_thirty_days_is_not_listed() {
    let stripe = World::start(System::Stripe).await;
    stripe.post("/_simulator/month", &json!({"seed": 1, "charges": 20, "start": 1_700_000_000})).await;
    assert_eq!(stripe.get("/v1/events").await.json()["data"], json!([]));
    assert!(!stripe.get("/v1/charges").await.json()["data"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn automatic_payouts_list_what_they_consist_of_and_manual_ones_do_not() {
    let stripe = month(120).await;
    let payouts = all(&stripe, "/v1/payouts?").await;
    let mut automatic = 0;
    for payout in &payouts {
        let path = format!(
            "/v1/balance_transactions?payout={}&expand[]=data.source&",
            payout["id"].as_str().unwrap()
        );
        if payout["automatic"] == false {
            let refused = stripe.get(&path).await;
            assert_eq!(refused.status, 400);
            assert!(refused.body.contains("automatic transfers"), "{}", refused.body);
            continue;
        }
        automatic += 1;
        let rows = all(&stripe, &path).await;
        let (own, others): (Vec<&Value>, Vec<&Value>) = rows.iter().partition(|row| row["type"] == "payout");
        let net: i64 = others.iter().map(|row| row["net"].as_i64().unwrap()).sum();
        assert_eq!(net, payout["amount"].as_i64().unwrap());
        assert_eq!((own.len(), &own[0]["source"]["id"]), (1, &payout["id"]));
        assert!(others.iter().all(|row| row["source"].is_object() || row["source"].is_null()));
        assert!(rows.iter().all(|row| row.get("_simulator").is_none() && row["status"] == "available"));
    }
    assert!(automatic > 10 && automatic + 1 == payouts.len());
    let failed = payouts.iter().find(|payout| payout["status"] == "failed").unwrap();
    let source = failed["id"].as_str().unwrap();
    let by_source = all(&stripe, &format!("/v1/balance_transactions?source={source}&")).await;
    assert_eq!(by_source.iter().map(|row| row["net"].as_i64().unwrap()).sum::<i64>(), 0);
}

#[tokio::test]
async fn the_books_answer_for_the_month() {
    let stripe = World::start(System::Stripe).await;
    assert_eq!(stripe.get("/_simulator/month/books").await.status, 404);
    let stripe = month(60).await;
    let books = stripe.get("/_simulator/month/books").await.json();
    let listed = all(&stripe, "/v1/balance_transactions?").await;
    let closing: i64 = listed.iter().map(|row| row["net"].as_i64().unwrap()).sum();
    assert_eq!(books["balance"]["closing"], json!(closing));
    for charge in all(&stripe, "/v1/charges?").await {
        let expected = &books["objects"][charge["id"].as_str().unwrap()];
        let is_posted = charge["captured"] == true && charge["status"] == "succeeded";
        assert_eq!(expected["outcome"] == "posted", is_posted, "{charge}");
        if is_posted {
            assert_eq!(expected["minor"], charge["amount_captured"]);
        }
    }
}

#[tokio::test]
async fn a_write_is_told_with_its_key_and_what_was_before() {
    let stripe = month(20).await;
    let made =
        post(&stripe, "/v1/customers", "portolan-1", "name=Grace&email=g%40example.com&metadata[erp_id]=812")
            .await
            .json();
    let customer = format!("/v1/customers/{}", made["id"].as_str().unwrap());
    post(
        &stripe,
        &customer,
        "portolan-2",
        "name=Hopper&metadata[erp_id]=813&metadata[new]=1&preferred_locales[0]=de",
    )
    .await;
    // The same again changes nothing, and nothing is told of it.
    post(&stripe, &customer, "portolan-3", "name=Hopper").await;
    let events = stripe.get("/v1/events?limit=2").await.json()["data"].clone();
    assert_eq!(
        (&events[0]["type"], &events[1]["type"]),
        (&json!("customer.updated"), &json!("customer.created"))
    );
    assert_eq!(events[0]["request"]["idempotency_key"], "portolan-2");
    let previous =
        json!({"name": "Grace", "metadata": {"erp_id": "812", "new": null}, "preferred_locales": []});
    assert_eq!(events[0]["data"]["previous_attributes"], previous);
    assert_eq!(events[0]["data"]["object"]["name"], "Hopper");
    assert_eq!(events[0]["data"]["object"]["preferred_locales"], json!(["de"]));
    stripe.call("DELETE", &customer, &[], "").await;
    let events = stripe.get("/v1/events?limit=1").await.json();
    assert_eq!(events["data"][0]["type"], "customer.deleted");
    assert!(events["data"][0]["request"]["idempotency_key"].is_null(), "Stripe takes no key for DELETE");
    let found = stripe.get("/v1/customers/search?query=metadata[%22erp_id%22]:%22813%22").await.json();
    assert_eq!(found["data"], json!([]));
}

#[tokio::test]
async fn every_object_takes_metadata() {
    let stripe = month(200).await;
    let kinds = [
        ("charges", Some("charge.updated")),
        ("checkout/sessions", None),
        ("credit_notes", Some("credit_note.updated")),
        ("disputes", Some("charge.dispute.updated")),
        ("invoices", Some("invoice.updated")),
        ("payment_intents", None),
        ("payouts", Some("payout.updated")),
        ("refunds", Some("charge.refund.updated")),
        ("subscriptions", Some("customer.subscription.updated")),
    ];
    for (plural, event) in kinds {
        let object = stripe.get(&format!("/v1/{plural}?limit=1")).await.json()["data"][0].clone();
        let path = format!("/v1/{plural}/{}", object["id"].as_str().unwrap());
        let changed = post(&stripe, &path, &format!("portolan-{plural}"), "metadata[sap_order]=16023").await;
        assert_eq!(
            (changed.status, &changed.json()["metadata"]["sap_order"]),
            (200, &json!("16023")),
            "{path}"
        );
        assert!(changed.json().get("_simulator").is_none());
        let newest = stripe.get("/v1/events?limit=1").await.json()["data"][0].clone();
        let told = newest["request"]["idempotency_key"] == json!(format!("portolan-{plural}"));
        assert_eq!(told.then(|| newest["type"].as_str().unwrap()), event, "{plural}");
        if plural == "invoices" {
            assert!(newest["data"]["object"]["lines"]["data"].is_array());
        }
    }
    // What only the simulator knows is still known.
    let payout = stripe.get("/v1/payouts?limit=1").await.json()["data"][0]["id"].as_str().unwrap().to_owned();
    assert!(!all(&stripe, &format!("/v1/balance_transactions?payout={payout}&")).await.is_empty());
}

#[tokio::test]
async fn a_refund_is_made_and_told_and_cannot_exceed_its_charge() {
    let stripe = month(60).await;
    let charges = all(&stripe, "/v1/charges?").await;
    let charge = charges
        .iter()
        .find(|c| c["captured"] == true && c["amount_refunded"] == 0 && c["currency"] == "usd")
        .unwrap();
    let (id, amount) = (charge["id"].as_str().unwrap(), charge["amount_captured"].as_i64().unwrap());
    let refund =
        post(&stripe, "/v1/refunds", "k1", &format!("charge={id}&amount={}", amount - 1)).await.json();
    let again = post(&stripe, "/v1/refunds", "k1", &format!("charge={id}&amount={}", amount - 1)).await;
    assert_eq!((&again.json(), again.header("idempotent-replayed")), (&refund, Some("true")));
    assert_eq!(post(&stripe, "/v1/refunds", "k2", &format!("charge={id}&amount=2")).await.status, 400);
    let intent = charge["payment_intent"].as_str().unwrap();
    assert_eq!(
        post(&stripe, "/v1/refunds", "k3", &format!("payment_intent={intent}&reason=duplicate")).await.json()
            ["amount"],
        1
    );
    let after = stripe.get(&format!("/v1/charges/{id}")).await.json();
    assert_eq!((&after["refunded"], after["amount_refunded"].as_i64()), (&json!(true), Some(amount)));
    assert_eq!(
        post(&stripe, "/v1/refunds", "k4", &format!("charge={id}")).await.json()["error"]["code"],
        "charge_already_refunded"
    );
    let transaction = refund["balance_transaction"].as_str().unwrap();
    let moved = stripe.get(&format!("/v1/balance_transactions/{transaction}")).await.json();
    assert_eq!(moved["net"].as_i64(), Some(1 - amount));
    let events = stripe.get("/v1/events?limit=4").await.json();
    assert_eq!(
        types(events["data"].as_array().unwrap()),
        ["charge.refunded", "refund.created", "charge.refunded", "refund.created"]
    );
}

#[tokio::test]
async fn a_key_whose_call_is_under_way_is_in_use() {
    let stripe = World::start(System::Stripe).await;
    stripe.fault(&json!({"operation": "POST /v1/customers", "fault": "late-commit", "ms": 2000})).await;
    let lost = stripe.try_call("POST", "/v1/customers", &[FORM, ("idempotency-key", "k1")], "name=Ada").await;
    assert!(lost.is_none());
    let refused = post(&stripe, "/v1/customers", "k1", "name=Ada").await;
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (409, &json!("idempotency_key_in_use")));
    stripe.ledger_of("customer", 1).await;
    let waiting = async {
        loop {
            let replayed = post(&stripe, "/v1/customers", "k1", "name=Ada").await;
            if replayed.status == 200 {
                return replayed;
            }
        }
    };
    assert_eq!(waiting.await.header("idempotent-replayed"), Some("true"));
    assert_eq!(stripe.ledger("customer").await.len(), 1);
}

#[tokio::test]
async fn who_asks_too_fast_is_told_so() {
    let stripe = World::start_with(System::Stripe, |settings| settings.stripe.calls_per_second_max = 3).await;
    let mut refused = None;
    for _ in 0..20 {
        let answer = stripe.get("/v1/charges").await;
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.unwrap();
    assert_eq!(
        (refused.header("retry-after"), refused.header("stripe-rate-limited-reason")),
        (Some("1"), Some("global-rate"))
    );
}

#[tokio::test]
async fn webhook_endpoints_say_their_secret_once() {
    let stripe = World::start(System::Stripe).await;
    let body = "url=http%3A%2F%2F127.0.0.1%3A9%2Fhooks&enabled_events[0]=charge.succeeded&api_version=2024-09-30.acacia&metadata[source]=src_1";
    let made = post(&stripe, "/v1/webhook_endpoints", "k1", body).await.json();
    assert!(made["secret"].as_str().unwrap().starts_with("whsec_"));
    assert_eq!(post(&stripe, "/v1/webhook_endpoints", "k1", body).await.json(), made);
    let path = format!("/v1/webhook_endpoints/{}", made["id"].as_str().unwrap());
    let read = stripe.get(&path).await.json();
    assert_eq!((read.get("secret"), &read["enabled_events"]), (None, &json!(["charge.succeeded"])));
    let changed = post(&stripe, &path, "k2", "enabled_events[0]=*&disabled=true").await.json();
    assert_eq!((&changed["enabled_events"], &changed["status"]), (&json!(["*"]), &json!("disabled")));
    assert_eq!(post(&stripe, &path, "k3", "api_version=2025-03-31.basil").await.status, 400);
    assert_eq!(stripe.get("/v1/webhook_endpoints").await.json()["data"].as_array().unwrap().len(), 1);
    assert_eq!(stripe.call("DELETE", &path, &[], "").await.json()["deleted"], true);
    assert_eq!(
        post(&stripe, "/v1/webhook_endpoints", "k4", "url=ftp%3A%2F%2Fx&enabled_events[0]=*").await.status,
        400
    );
    assert_eq!(post(&stripe, "/v1/webhook_endpoints", "k5", "url=http%3A%2F%2Fx").await.status, 400);
}

#[tokio::test]
async fn thin_events_point_at_their_object() {
    let stripe = month(20).await;
    let event = stripe.get("/v1/events?limit=1&type=charge.succeeded").await.json()["data"][0].clone();
    let thin_id = event["id"].as_str().unwrap().replace("evt_1", "evt_2");
    let path = format!("/v2/core/events/{thin_id}");
    let version = ("stripe-version", "2026-07-29.dahlia");
    let thin = stripe.call("GET", &path, &[version], "").await.json();
    assert_eq!((&thin["object"], &thin["type"]), (&json!("v2.core.event"), &json!("v1.charge.succeeded")));
    let object = stripe.get(thin["related_object"]["url"].as_str().unwrap()).await.json();
    assert_eq!(object["id"], event["data"]["object"]["id"]);
    assert!(thin.get("data").is_none() && thin["created"].as_str().unwrap().ends_with('Z'));
    assert_eq!(stripe.get(&path).await.status, 400, "v2 wants a version");
    let gone = stripe.call("GET", "/v2/core/events/evt_2none", &[version], "").await;
    assert_eq!((gone.status, &gone.json()["error"]["code"]), (404, &json!("not_found")));
    assert_eq!(stripe.get(&format!("/v1/events/{thin_id}")).await.status, 404);
}

#[tokio::test]
async fn lists_of_the_month_are_found_by_their_owners() {
    let stripe = month(200).await;
    let subscriptions = all(&stripe, "/v1/subscriptions?status=all&").await;
    assert!(subscriptions.iter().any(|one| one["status"] == "canceled"));
    assert!(all(&stripe, "/v1/subscriptions?").await.iter().all(|one| one["status"] != "canceled"));
    let one = &subscriptions[0];
    let of = format!("/v1/subscriptions?customer={}&status=all&", one["customer"].as_str().unwrap());
    assert_eq!(all(&stripe, &of).await, std::slice::from_ref(one));
    let note = stripe.get("/v1/credit_notes?limit=1").await.json()["data"][0].clone();
    let read = stripe.get(&format!("/v1/credit_notes/{}", note["id"].as_str().unwrap())).await.json();
    assert_eq!(read["lines"]["data"][0]["amount"], read["amount"]);
    for path in
        ["/v1/reviews", "/v1/radar/early_fraud_warnings", "/v1/disputes", "/v1/prices", "/v1/products"]
    {
        let row = stripe.get(&format!("{path}?limit=1")).await.json()["data"][0].clone();
        assert_eq!(
            stripe.get(&format!("{path}/{}", row["id"].as_str().unwrap())).await.json()["id"],
            row["id"]
        );
    }
}

#[tokio::test]
async fn a_month_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stripe.jsonl");
    let start = || World::start_with(System::Stripe, |settings| settings.ledger_path = Some(path.clone()));
    let stripe = start().await;
    stripe.post("/_simulator/month", &json!({"seed": 5, "charges": 20})).await;
    let made = post(&stripe, "/v1/customers", "k1", "name=Grace").await.json();
    let events = stripe.get("/v1/events?limit=100").await.json();
    stripe.running.shutdown().await;
    let stripe = start().await;
    assert_eq!(stripe.get("/v1/events?limit=100").await.json(), events);
    assert_eq!(post(&stripe, "/v1/customers", "k1", "name=Grace").await.json(), made);
}
