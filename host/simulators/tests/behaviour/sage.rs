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
        (201, json!({"InvNo": "10234", "Balance": "0.00", "ExternalRef": "ch_1", "ReceiptNo": "5001"}))
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

#[tokio::test]
async fn open_invoices_of_an_order_are_listed_oldest_first() {
    let sage = World::start(System::SagePro).await;
    for (reference, date, order, status) in [
        ("a", "2026-11-20", "4711", "Open"),
        ("b", "2026-11-01", "4711", "Open"),
        ("c", "2026-11-01", "4712", "Open"),
        ("d", "2026-11-01", "4711", "Paid"),
    ] {
        let mut body = invoice(reference);
        body["InvoiceDate"] = json!(date);
        body["Order"] = json!(order);
        body["PaymentStatus"] = json!(status);
        if status == "Open" {
            body.as_object_mut().unwrap().remove("Payment");
        }
        assert_eq!(write(&sage, "/Invoice", reference, &body).await.status, 201);
    }
    let open = sage.get("/Invoice?order=4711&open=true").await.json();
    let references: Vec<_> =
        open["Invoices"].as_array().unwrap().iter().map(|one| &one["ExternalRef"]).collect();
    assert_eq!(references, ["b", "a"]);
    assert_eq!(sage.get("/Invoice?order=4711").await.status, 422);
}

#[tokio::test]
async fn a_memo_is_made_void_once_and_its_money_comes_back() {
    let sage = World::start(System::SagePro).await;
    let mut memo = json!({"ExternalRef": "re_1", "CustNo": "ROSE01", "InvoiceDate": "2026-11-20", "Tax": "1.00",
        "Lines": [{"Item": "WIDGET-1", "Qty": 1, "Price": "24.99"}],
        "Refund": {"Method": "STRIPE", "Amount": "26.00", "Reference": "re_1", "Date": "2026-11-20"}});
    assert_eq!(write(&sage, "/CreditMemo", "k1", &memo).await.status, 422, "more than the memo");
    memo["Refund"]["Amount"] = json!("25.99");
    assert_eq!(write(&sage, "/CreditMemo", "k1", &memo).await.json()["Balance"], "0.00");
    let void = json!({"ExternalRef": "re_1", "Date": "2026-11-21", "Reason": "failed"});
    let done = write(&sage, "/CreditMemo/10234/Void", "k2", &void).await;
    assert_eq!((done.status, &done.json()["VoidDate"]), (201, &json!("2026-11-21")));
    let again = write(&sage, "/CreditMemo/10234/Void", "k3", &void).await;
    assert_eq!((again.status, &again.json()["Existing"]), (200, &json!(true)));
    let line = &sage.ledger("credit-memo-void").await;
    assert_eq!((line.len(), &line[0]["amounts"]["USD"]), (1, &json!("25.99")));
    assert_eq!(write(&sage, "/CreditMemo/99/Void", "k4", &void).await.status, 404);
}

#[tokio::test]
async fn a_journal_is_reversed_once_whoever_asks() {
    let sage = World::start(System::SagePro).await;
    let journal = json!({"ExternalRef": "payout/po_1/1", "Date": "2026-11-20", "Description": "Payout", "Lines": [
        {"Account": "1010-000", "Debit": "9.00"}, {"Account": "1190-000", "Credit": "9.00"}]});
    write(&sage, "/GLJournal", "k1", &journal).await;
    let reversal =
        |reference: &str| json!({"ExternalRef": reference, "Date": "2026-11-25", "Description": "Reversal"});
    let done = write(&sage, "/GLJournal/701/Reversal", "k2", &reversal("payout-reversal/po_1/1")).await;
    assert_eq!((done.status, &done.json()["JournalNo"]), (201, &json!("702")));
    let other = write(&sage, "/GLJournal/701/Reversal", "k3", &reversal("by hand")).await;
    assert_eq!((other.status, &other.json()["error"]["details"][0]["JournalNo"]), (409, &json!("702")));
    let line = &sage.ledger("gl-journal-reversal").await[0];
    assert_eq!(line["lines"][0], json!({"account": "1010-000", "amount": "-9.00"}));
}

#[tokio::test]
async fn holds_are_counted_by_what_they_rest_on() {
    let sage = World::start(System::SagePro).await;
    let hold = |reference: &str, set: bool| json!({"ExternalRef": reference, "Hold": set}).to_string();
    for (reference, set, held) in
        [("issfr_1", true, true), ("prv_1", true, true), ("issfr_1", false, true), ("prv_1", false, false)]
    {
        let answer = sage.call("PUT", "/Customer/ROSE01/Hold", &[], &hold(reference, set)).await;
        assert_eq!(answer.json()["CreditHold"], held, "{reference} {set}");
    }
    // The credit department's own hold is not the gateway's to lift.
    let own = sage.call("PUT", "/Customer/HELD01/Hold", &[], &hold("issfr_1", false)).await;
    assert_eq!(own.json()["CreditHold"], true);
    sage.call("PUT", "/Customer/ROSE01/Hold", &[], &hold("issfr_2", true)).await;
    let refused = write(&sage, "/Invoice", "k", &invoice("ch_1")).await;
    assert_eq!(code(&refused), "validation_failed");
    assert_eq!(sage.ledger("customer-hold-update").await.len(), 5, "what changes nothing is not written");
}

#[tokio::test]
async fn changed_customers_are_listed_once_from_their_cursor_on() {
    let sage = World::start(System::SagePro).await;
    let page = |cursor: &str, limit: usize| format!("/Customer/changes?cursor={cursor}&limit={limit}");
    let (mut cursor, mut seen) = (String::new(), Vec::new());
    loop {
        let answer = sage.get(&page(&cursor, 4)).await.json();
        seen.extend(answer["Customers"].as_array().unwrap().iter().map(|row| row["CustNo"].clone()));
        cursor = answer["Cursor"].as_str().unwrap().to_owned();
        if answer["More"] == false {
            break;
        }
    }
    assert_eq!(seen.len(), 6, "the first pass lists everybody");
    assert_eq!(
        sage.get(&page(&cursor, 4)).await.json()["Cursor"],
        json!(cursor),
        "nothing changed, nothing moved"
    );
    let people = json!([{"CustNo": "ROSE01", "City": "Arlington"}, {"CustNo": "NEW001", "Company": "New Ltd"},
        {"CustNo": "LOVE01", "Deleted": true}]);
    assert_eq!(sage.post("/_simulator/customers", &people).await.json()["seeded"], 3);
    let changed = sage.get(&page(&cursor, 4)).await.json();
    let rows = changed["Customers"].as_array().unwrap();
    assert_eq!((&rows[0]["City"], &rows[1]["Company"]), (&json!("Arlington"), &json!("New Ltd")));
    assert_eq!((&rows[2]["CustNo"], &rows[2]["Deleted"]), (&json!("LOVE01"), &json!(true)));
    assert_eq!(sage.get("/Customer/LOVE01").await.status, 404);
    assert_eq!(sage.get("/Customer/changes?cursor=nonsense").await.status, 422);
    assert_eq!(sage.get("/Customer/changes?limit=501").await.status, 422);
    let long = json!([{"CustNo": "ROSE01", "City": "x".repeat(21)}]);
    assert_eq!(sage.post("/_simulator/customers", &long).await.status, 400);
}

#[tokio::test]
async fn customers_are_found_by_address_and_cleared_by_an_empty_text() {
    let sage = World::start(System::SagePro).await;
    let found = sage.get("/Customer?email=Jenny.Rosen%40Example.com").await.json();
    assert_eq!(found["Customers"][0]["CustNo"], "ROSE01");
    assert_eq!(sage.get("/Customer?email=nobody%40example.com").await.json(), json!({"Customers": []}));
    sage.call("PUT", "/Customer/ROSE01", &[], r#"{"City": "Bonn", "Zip": "53111"}"#).await;
    let cleared = sage.call("PUT", "/Customer/ROSE01", &[], r#"{"City": "", "Zip": null}"#).await.json();
    assert_eq!((cleared.get("City"), &cleared["Zip"]), (None, &json!("53111")));
    assert_eq!(sage.call("PUT", "/Customer/ROSE01", &[], r#"{"Company": " "}"#).await.status, 422);
}
