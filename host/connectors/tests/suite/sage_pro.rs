//! The Sage Pro gateway: keys, duplicates, locks.

use std::sync::Arc;

use portolan_connectors::{Connection, Found};
use portolan_domain::{class::WriteClass, verdict::CallFailure};
use serde_json::json;

use super::{
    code, connect, context, found,
    server::{Server, json},
};

fn sage(server: &Server) -> Arc<dyn Connection> {
    connect("sage-pro", json!({"base_url": format!("{}/gateway/", server.url)}), &[("api_key", "key-12345")])
}

#[tokio::test]
async fn an_invoice_is_created_with_a_key_that_any_sender_would_use() {
    let server = Server::playing(vec![json(201, &json!({"InvNo": "     10234", "Balance": "0.00"}))]).await;
    let body = json!({"ExternalRef": "ch_1", "CustNo": "ROSE01", "Lines": [{"Qty": 2, "Price": "24.99"}]});
    let sage = sage(&server);
    let answer = sage.write("invoice.create", &body, &context()).await.unwrap();
    assert_eq!(answer, json!({"InvNo": "10234", "Balance": "0.00"}));
    let seen = &server.seen()[0];
    assert_eq!(seen.line(), "POST /gateway/Invoice");
    assert_eq!(seen.header("idempotency-key"), "ch_1:invoice.create");
    assert_eq!(seen.header("x-api-key"), "key-12345");
    assert_eq!(seen.header("x-company"), "01");
    assert_eq!(seen.json(), body);
    let remembered = std::time::Duration::from_secs(29 * 86_400);
    assert_eq!(sage.class("invoice.create"), WriteClass::TransferId { remembered });
}

#[tokio::test]
async fn every_write_goes_to_its_collection() {
    for (operation, path, number) in [
        ("customer.create", "/gateway/Customer", "CustNo"),
        ("invoice.create", "/gateway/Invoice", "InvNo"),
        ("credit-memo.create", "/gateway/CreditMemo", "InvNo"),
        ("cash-receipt.create", "/gateway/CashReceipt", "ReceiptNo"),
        ("gl-journal.post", "/gateway/GLJournal", "JournalNo"),
    ] {
        let server = Server::playing(vec![json(201, &json!({number: "N1", "ExternalRef": "x"}))]).await;
        let answer = sage(&server).write(operation, &json!({"ExternalRef": "x"}), &context()).await.unwrap();
        assert_eq!(answer[number], "N1");
        assert_eq!(server.lines(), [format!("POST {path}")]);
    }
}

#[tokio::test]
async fn two_updates_of_a_customer_have_two_keys() {
    let server = Server::start(|_, _| json(200, &json!({"CustNo": "RO/01"}))).await;
    let sage = sage(&server);
    let body = json!({"CustNo": "RO/01", "Email": "a@b.example"});
    for call_id in ["one", "two"] {
        let context = portolan_connectors::CallContext { call_id: call_id.to_owned(), ..context() };
        sage.write("customer.update", &body, &context).await.unwrap();
    }
    let seen = server.seen();
    assert_eq!(seen[0].line(), "PUT /gateway/Customer/RO%2F01");
    assert_eq!(seen[0].json(), json!({"Email": "a@b.example"}));
    assert_eq!(seen[0].header("idempotency-key"), "one:customer.update");
    assert_eq!(seen[1].header("idempotency-key"), "two:customer.update");
}

#[tokio::test]
async fn a_duplicate_is_success_with_the_document_that_is_there() {
    let error = json!({"code": "duplicate_reference", "message": "exists", "field": "ExternalRef"});
    let existing = json!({"InvNo": "10234", "ExternalRef": "ch_1"});
    let mut inside = error.clone();
    inside["details"] = json!([existing]);
    let server = Server::playing(vec![
        json(409, &json!({"error": error, "existing": existing})),
        json(409, &json!({"error": inside})),
        json(409, &json!({"error": error})),
        json(200, &existing),
    ])
    .await;
    let sage = sage(&server);
    for _ in 0..3 {
        let answer = sage.write("invoice.create", &json!({"ExternalRef": "ch_1"}), &context()).await;
        assert_eq!(answer.unwrap(), existing);
    }
    assert_eq!(server.lines()[3], "GET /gateway/Invoice?externalRef=ch_1");
}

#[tokio::test]
async fn what_the_gateway_says_tells_what_to_do() {
    let error = |code: &str| json!({"error": {"code": code, "message": "m"}});
    let server = Server::playing(vec![
        json(409, &error("record_locked")).with("Retry-After", "3"),
        json(503, &error("database_busy")),
        json(422, &error("validation_failed")),
        // The document is not named: it is asked for, and is not there.
        json(409, &error("duplicate_reference")),
        json(404, &error("record_not_found")),
        json(412, &error("stale")),
    ])
    .await;
    let sage = sage(&server);
    let write = || async {
        sage.write("gl-journal.post", &json!({"ExternalRef": "po_1"}), &context()).await.unwrap_err()
    };
    assert!(matches!(write().await, CallFailure::Retryable { after_ms: Some(3000), .. }));
    assert!(matches!(write().await, CallFailure::Retryable { after_ms: None, .. }));
    assert_eq!(write().await.problem().code, "validation-failed");
    assert!(matches!(write().await, CallFailure::Permanent { .. }));
    assert!(matches!(write().await, CallFailure::Permanent { .. }));
}

#[tokio::test]
async fn a_wrong_base_url_is_not_an_absent_record() {
    let server = Server::playing(vec![
        json(404, &json!({"error": {"code": "record_not_found", "message": "m"}})),
        super::server::answer(404, "text/html", "<html>nginx</html>"),
        json(200, &json!({"value": [{"InvNo": "1"}, {"InvNo": "2"}]})),
        json(200, &json!({"InvNo": "1", "Balance": "0.00"})),
    ])
    .await;
    let sage = sage(&server);
    let ask = || async { sage.read("invoice.find", &json!({"ExternalRef": "ch/1"}), &context()).await };
    assert_eq!(ask().await.unwrap(), Found::No);
    assert_eq!(code(ask().await), "not-found");
    assert_eq!(code(ask().await), "several-documents");
    assert_eq!(found(ask().await)["InvNo"], "1");
    assert_eq!(server.lines()[0], "GET /gateway/Invoice?externalRef=ch%2F1");
}

#[tokio::test]
async fn a_write_without_its_reference_is_refused_unsent() {
    let server = Server::playing(Vec::new()).await;
    let sage = sage(&server);
    for body in
        [json!({}), json!({"ExternalRef": ""}), json!({"ExternalRef": "ä"}), json!({"ExternalRef": 1})]
    {
        assert_eq!(
            code(sage.write("invoice.create", &body, &context()).await),
            "invalid-parameters",
            "{body}"
        );
    }
    for number in ["..", ".", ""] {
        let body = json!({"CustNo": number});
        assert_eq!(code(sage.write("customer.update", &body, &context()).await), "invalid-parameters");
    }
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn what_is_done_to_a_document_goes_to_its_path() {
    for (operation, body, line, number, key) in [
        (
            "invoice.hold",
            json!({"InvNo": "10", "ExternalRef": "i", "Hold": true}),
            "PUT /gateway/Invoice/10/Hold",
            "InvNo",
            "dlv",
        ),
        (
            "customer.hold",
            json!({"CustNo": "R/1", "ExternalRef": "i", "Hold": false}),
            "PUT /gateway/Customer/R%2F1/Hold",
            "CustNo",
            "dlv",
        ),
        (
            "credit-memo.void",
            json!({"InvNo": "10", "ExternalRef": "re_1"}),
            "POST /gateway/CreditMemo/10/Void",
            "InvNo",
            "re_1:",
        ),
        (
            "gl-journal.reverse",
            json!({"JournalNo": "7", "ExternalRef": "x/1"}),
            "POST /gateway/GLJournal/7/Reversal",
            "JournalNo",
            "x/1:",
        ),
    ] {
        let server = Server::playing(vec![json(200, &json!({number: " 10", "ExternalRef": "x"}))]).await;
        let answer = sage(&server).write(operation, &body, &context()).await.unwrap();
        assert_eq!(answer[number], "10");
        assert_eq!(server.lines(), [line]);
        let seen = &server.seen()[0];
        assert!(seen.header("idempotency-key").starts_with(key), "{operation}");
        assert!(seen.json().get(number).is_none(), "{operation}: the number stands in the path");
    }
}

#[tokio::test]
async fn a_customer_is_read_with_its_tag_and_found_by_its_address() {
    let server = Server::playing(vec![
        json(200, &json!({"CustNo": "ROSE01"})).with("ETag", "\"abc\""),
        json(200, &json!({"Customers": []})),
    ])
    .await;
    let sage = sage(&server);
    let read = sage.read("customer.get", &json!({"CustNo": "ROSE01"}), &context()).await;
    assert_eq!(found(read), json!({"CustNo": "ROSE01", "ETag": "\"abc\""}));
    let read = sage.read("customers.by-email", &json!({"Email": "a+b@c.example"}), &context()).await;
    assert_eq!(found(read), json!({"Customers": []}));
    assert_eq!(server.lines()[1], "GET /gateway/Customer?email=a%2Bb%40c.example");
}

/// A change that read the city as Springfield, and found the customer changed since.
fn guarded() -> serde_json::Value {
    json!({"CustNo": "ROSE01", "IfMatch": "\"old\"", "Was": {"City": "Springfield", "Phone": null},
           "City": "Arlington", "Phone": "1"})
}

async fn against(
    now: serde_json::Value,
) -> (Result<serde_json::Value, CallFailure>, Vec<super::server::Seen>) {
    let stale = json(412, &json!({"error": {"code": "precondition_failed", "message": "m"}}));
    let row = json(200, &now).with("ETag", "\"new\"");
    let server =
        Server::playing(vec![stale, row, json(200, &json!({"CustNo": "ROSE01", "City": "Arlington"}))]).await;
    let answer = sage(&server).write("customer.update", &guarded(), &context()).await;
    (answer, server.seen())
}

#[tokio::test]
async fn a_customer_that_changed_elsewhere_is_changed_with_its_new_tag() {
    let (answer, seen) = against(json!({"CustNo": "ROSE01", "City": "Springfield ", "Zip": "1"})).await;
    answer.unwrap();
    assert_eq!(seen[0].header("if-match"), "\"old\"");
    assert_eq!(seen[0].json(), json!({"City": "Arlington", "Phone": "1"}));
    assert_eq!(
        (seen[2].header("if-match"), seen[2].json()),
        ("\"new\"", json!({"City": "Arlington", "Phone": "1"}))
    );
}

#[tokio::test]
async fn what_is_changed_already_is_not_changed_again() {
    let (answer, seen) = against(json!({"CustNo": "ROSE01", "City": "Arlington"})).await;
    answer.unwrap();
    assert_eq!(seen[2].json(), json!({"Phone": "1"}));
    let (answer, seen) = against(json!({"CustNo": "ROSE01", "City": "Arlington", "Phone": "1"})).await;
    assert_eq!(answer.unwrap()["Phone"], "1");
    assert_eq!(seen.len(), 2);
}

#[tokio::test]
async fn a_field_that_both_sides_changed_is_a_persons_to_decide() {
    let (answer, seen) = against(json!({"CustNo": "ROSE01", "City": "Bonn"})).await;
    let failure = answer.unwrap_err();
    assert_eq!(failure.problem().code, "changed-meanwhile");
    assert!(failure.problem().message.contains("City"));
    assert!(matches!(failure, CallFailure::Permanent { .. }));
    assert_eq!(seen.len(), 2, "nothing more was sent");
}

#[tokio::test]
async fn changed_customers_are_items_with_a_cursor() {
    let rows = json!([
        {"CustNo": " ROSE01", "Company": "Jenny Rosen", "Hash": "h1", "NoticedAtMs": 1_795_165_201_000_u64},
        {"CustNo": "LOVE01", "Deleted": true},
    ]);
    let server = Server::playing(vec![
        json(200, &json!({"Customers": rows, "Cursor": "7.LOVE01", "More": true})),
        json(200, &json!({"Customers": [], "Cursor": "7.LOVE01", "More": false})),
        json(200, &json!({"Customers": []})),
        json(404, &json!({"error": {"code": "record_not_found", "message": "m"}})),
    ])
    .await;
    let sage = sage(&server);
    let ask = |parameters: serde_json::Value| {
        let sage = sage.clone();
        async move { sage.read("customers.changed", &parameters, &context()).await }
    };
    let page = found(ask(json!({"cursor": null, "limit": 2})).await);
    assert_eq!((&page["cursor"], &page["more"]), (&json!("7.LOVE01"), &json!(true)));
    assert_eq!(
        page["items"][0],
        json!({"id": "ROSE01", "kind": "customer.changed", "version": "h1", "occurred_at_ms": 1_795_165_201_000_u64,
            "payload": {"CustNo": " ROSE01", "Company": "Jenny Rosen"}})
    );
    // A gateway that gives no hash: the row's own.
    assert_eq!(page["items"][1]["version"].as_str().unwrap().len(), 32);
    assert_eq!(found(ask(json!({"cursor": "7.LOVE01", "limit": 10_000})).await)["items"], json!([]));
    assert_eq!(
        server.lines(),
        ["GET /gateway/Customer/changes?limit=2", "GET /gateway/Customer/changes?limit=500&cursor=7.LOVE01"]
    );
    assert_eq!(code(ask(json!({"cursor": "x"})).await), "unreadable-answer");
    assert_eq!(code(ask(json!({"cursor": null})).await), "unreadable-answer");
    assert_eq!(code(ask(json!({"cursor": 1})).await), "invalid-parameters");
}

#[tokio::test]
async fn a_duplicate_does_not_stand_in_for_a_change() {
    let error = json!({"code": "duplicate_reference", "message": "m", "details": [{"CustNo": "OTHER1"}]});
    let server = Server::playing(vec![json(409, &json!({"error": error}))]).await;
    let body = json!({"CustNo": "ROSE01", "ExternalRef": "cus_1"});
    let answer = sage(&server).write("customer.update", &body, &context()).await;
    assert!(matches!(answer, Err(CallFailure::Permanent { .. })), "{answer:?}");
}
