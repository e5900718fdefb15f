//! The Sage Pro gateway: keys, duplicates, locks.

use std::sync::Arc;

use portolan_connectors::{Connection, Found};
use portolan_domain::verdict::{CallFailure, InDoubt};
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
    assert_eq!(sage.in_doubt("invoice.create"), InDoubt::SameKeyAgain);
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
        json(409, &error("duplicate_reference")),
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
