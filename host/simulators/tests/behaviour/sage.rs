//! Sage Pro's gateway: its memory, its limits, its arithmetic.

use portolan_simulators::System;
use serde_json::{Value, json};

use crate::harness::{Answer, World};

fn invoice(reference: &str) -> Value {
    json!({
        "ExternalRef": reference, "CustNo": "ROSE01", "InvoiceDate": "2026-11-20", "Currency": "USD", "PaymentStatus": "Paid",
        "Lines": [{"Item": "WIDGET-1", "Descrip": "Widget", "Qty": 2, "Price": "24.99"}], "Tax": "0.00",
        "Payment": {"Method": "STRIPE", "Amount": "49.98", "Reference": reference, "Date": "2026-11-20"},
    })
}

async fn write(sage: &World, path: &str, key: &str, body: &Value) -> Answer {
    sage.call("POST", path, &[("idempotency-key", key)], &body.to_string()).await
}

fn code(answer: &Answer) -> String {
    answer.json()["error"]["code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_invoice_with_payment_is_closed() {
    let sage = World::start(System::SagePro).await;
    let answer = write(&sage, "/Invoice", "ch_1:invoice", &invoice("ch_1")).await;
    assert_eq!(
        (answer.status, answer.json()),
        (201, json!({"InvNo": "10234", "Balance": "0.00", "ExternalRef": "ch_1"}))
    );
    let line = &sage.ledger("invoice").await[0];
    assert_eq!((&line["business_key"], &line["amounts"]["USD"]), (&json!("ch_1"), &json!("49.98")));
    assert_eq!(line["headers"]["idempotency-key"], "ch_1:invoice");
    let found = sage.get("/Invoice?externalRef=ch_1").await.json();
    assert_eq!((&found["InvNo"], &found["Balance"]), (&json!("10234"), &json!("0.00")));
    assert_eq!(sage.get("/Invoice?externalRef=ch_2").await.status, 404);
}

#[tokio::test]
async fn the_same_key_is_answered_again_and_another_body_under_it_is_refused() {
    let sage = World::start(System::SagePro).await;
    let first = write(&sage, "/Invoice", "k", &invoice("ch_1")).await;
    let again = write(&sage, "/Invoice", "k", &invoice("ch_1")).await;
    assert_eq!((again.status, again.json()), (first.status, first.json()));
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    let other = write(&sage, "/Invoice", "k", &invoice("ch_2")).await;
    assert_eq!((other.status, code(&other).as_str()), (422, "validation_failed"));
    assert_eq!(sage.ledger("invoice").await.len(), 1);
}

#[tokio::test]
async fn a_known_reference_is_refused_with_the_existing_document() {
    let sage = World::start(System::SagePro).await;
    write(&sage, "/Invoice", "k1", &invoice("ch_1")).await;
    let again = write(&sage, "/Invoice", "k2", &invoice("ch_1")).await;
    assert_eq!((again.status, code(&again).as_str()), (409, "duplicate_reference"));
    assert_eq!(again.json()["error"]["details"][0]["InvNo"], "10234");
    // The same reference is free for another kind of document.
    let receipt =
        json!({"ExternalRef": "ch_1", "CustNo": "ROSE01", "Amount": "5.00", "DatePaid": "2026-11-20"});
    assert_eq!(write(&sage, "/CashReceipt", "k3", &receipt).await.status, 201);
}

#[tokio::test]
async fn customers_are_created_once_and_changed_with_their_tag() {
    let sage = World::start(System::SagePro).await;
    let customer = json!({"ExternalRef": "cus_1", "CustNo": null, "Company": "Grace Hopper", "Email": "grace@example.com", "Terms": "NET30"});
    let created = write(&sage, "/Customer", "k1", &customer).await;
    assert_eq!((created.status, created.json()), (201, json!({"CustNo": "HOPP01", "ExternalRef": "cus_1"})));
    let again = write(&sage, "/Customer", "k2", &customer).await;
    assert_eq!((again.status, &again.json()["Existing"]), (200, &json!(true)));
    let found = sage.get("/Customer?externalRef=cus_1").await;
    let tag = found.header("etag").unwrap().to_owned();
    let change = json!({"City": "Arlington"}).to_string();
    let changed = sage.call("PUT", "/Customer/HOPP01", &[("if-match", &tag)], &change).await;
    assert_eq!((changed.status, &changed.json()["City"]), (200, &json!("Arlington")));
    let stale = sage.call("PUT", "/Customer/HOPP01", &[("if-match", &tag)], "{\"City\":\"Bonn\"}").await;
    assert_eq!(stale.status, 412);
    assert_eq!(sage.ledger("customer").await.len(), 1);
}

#[tokio::test]
async fn what_does_not_fit_the_tables_is_refused_and_never_cut() {
    let sage = World::start(System::SagePro).await;
    let changes: [(&str, Value, &str); 11] = [
        ("/PONum", json!("ch_3QabcDEF0123456789abcdef"), "validation_failed"),
        ("/InvoiceDate", json!("2019-06-30"), "validation_failed"),
        ("/InvoiceDate", json!("20.11.2026"), "validation_failed"),
        ("/CustNo", json!("NOBODY"), "record_not_found"),
        ("/CustNo", json!("HELD01"), "validation_failed"),
        ("/Lines/0/Item", json!("NOPE"), "record_not_found"),
        ("/Lines/0/Price", json!(24.99), "validation_failed"),
        ("/Lines/0/Price", json!("24.98"), "validation_failed"),
        ("/Payment/Amount", json!("50.00"), "validation_failed"),
        ("/Currency", json!("JPY"), "validation_failed"),
        ("/ExternalRef", json!("x".repeat(65)), "validation_failed"),
    ];
    for (pointer, value, expected) in changes {
        let mut body = invoice("ch_1");
        body.as_object_mut().unwrap().entry("PONum").or_insert(Value::Null);
        *body.pointer_mut(pointer).unwrap() = value;
        assert_eq!(code(&write(&sage, "/Invoice", "k", &body).await), expected, "{pointer}");
    }
    let mut unknown = invoice("ch_1");
    unknown["Colour"] = json!("red");
    assert_eq!(write(&sage, "/Invoice", "k", &unknown).await.json()["error"]["field"], "Colour");
    assert_eq!(sage.call("POST", "/Invoice", &[("idempotency-key", "k")], "{").await.status, 400);
    assert_eq!(sage.post("/Invoice", &invoice("ch_1")).await.json()["error"]["field"], "Idempotency-Key");
    assert!(sage.ledger("invoice").await.is_empty());
}

#[tokio::test]
async fn a_record_in_use_is_told_with_retry_after() {
    let sage = World::start(System::SagePro).await;
    sage.post("/_simulator/locks", &json!({"object": "ROSE01", "locked": true})).await;
    let locked = write(&sage, "/Invoice", "k", &invoice("ch_1")).await;
    assert_eq!(
        (locked.status, code(&locked).as_str(), locked.header("retry-after")),
        (409, "record_locked", Some("1"))
    );
    sage.post("/_simulator/locks", &json!({"object": "ROSE01", "locked": false})).await;
    assert_eq!(write(&sage, "/Invoice", "k", &invoice("ch_1")).await.status, 201);
}

#[tokio::test]
async fn a_receipt_lowers_the_balance_and_no_further_than_to_nothing() {
    let sage = World::start(System::SagePro).await;
    let mut open = invoice("ch_1");
    open["PaymentStatus"] = json!("Open");
    open.as_object_mut().unwrap().remove("Payment");
    assert_eq!(write(&sage, "/Invoice", "k1", &open).await.json()["Balance"], "49.98");
    let receipt = |reference: &str, amount: &str| {
        json!({"ExternalRef": reference, "CustNo": "ROSE01", "Amount": amount, "DatePaid": "2026-11-20",
               "Applications": [{"InvNo": "10234", "Amount": amount}]})
    };
    assert_eq!(write(&sage, "/CashReceipt", "k2", &receipt("ch_2", "40.00")).await.status, 201);
    assert_eq!(sage.get("/Invoice/10234").await.json()["Balance"], "9.98");
    assert_eq!(write(&sage, "/CashReceipt", "k3", &receipt("ch_3", "9.99")).await.status, 422);
}

#[tokio::test]
async fn a_journal_balances_or_is_refused() {
    let sage = World::start(System::SagePro).await;
    let journal = |credit: &str| {
        json!({"ExternalRef": "po_1", "Date": "2026-11-20", "Description": "Payout", "Lines": [
            {"Account": "1010-000", "Debit": "948.20"}, {"Account": "6450-000", "Debit": "31.80"},
            {"Account": "1190-000", "Credit": credit}]})
    };
    assert_eq!(write(&sage, "/GLJournal", "k1", &journal("979.99")).await.status, 422);
    let posted = write(&sage, "/GLJournal", "k2", &journal("980.00")).await;
    assert_eq!(posted.json(), json!({"JournalNo": "701", "ExternalRef": "po_1"}));
    assert_eq!(sage.ledger("gl-journal").await[0]["amounts"]["USD"], "980.00");
}

#[tokio::test]
async fn credit_memos_are_negative_and_dinars_have_three_decimals() {
    let sage = World::start(System::SagePro).await;
    write(&sage, "/Invoice", "k1", &invoice("ch_1")).await;
    let memo = json!({"ExternalRef": "re_1", "CustNo": "ROSE01", "InvoiceDate": "2026-11-20", "AppliesTo": "10234",
                      "Lines": [{"Item": "WIDGET-1", "Qty": 1, "Price": "24.99"}]});
    assert_eq!(write(&sage, "/CreditMemo", "k2", &memo).await.json()["Balance"], "-24.99");
    let mut dinars = invoice("ch_2");
    dinars["Currency"] = json!("KWD");
    dinars["Lines"][0]["Price"] = json!("6.170");
    dinars["Payment"]["Amount"] = json!("12.340");
    assert_eq!(write(&sage, "/Invoice", "k3", &dinars).await.json()["Balance"], "0.000");
}

#[tokio::test]
async fn the_door_wants_a_key_and_a_company() {
    let sage = World::start(System::SagePro).await;
    let wrong = sage.call("GET", "/Item/WIDGET-1", &[("x-api-key", "no")], "").await;
    assert_eq!((wrong.status, code(&wrong).as_str()), (401, "auth_failed"));
    assert_eq!(sage.call("GET", "/Item/WIDGET-1", &[("x-company", "99")], "").await.status, 422);
    assert_eq!(sage.get("/Item/WIDGET-1").await.json()["Descrip"], "Widget");
    assert_eq!(sage.get("/Health").await.status, 200);
}
