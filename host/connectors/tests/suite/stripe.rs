//! Stripe: paths, headers, pages, absence.

use std::sync::Arc;

use portolan_connectors::{Connection, Found};
use serde_json::{Value, json};

use super::{
    code, connect, context, found,
    server::{Server, json},
};

fn stripe(server: &Server) -> Arc<dyn Connection> {
    connect("stripe", json!({"base_url": server.url, "account": "acct_1"}), &[("api_key", "rk_test_1")])
}

fn page(ids: &[&str], has_more: bool) -> Value {
    let rows: Vec<_> = ids.iter().map(|id| json!({"id": id})).collect();
    json!({"object": "list", "url": "/v1/x", "has_more": has_more, "data": rows})
}

#[tokio::test]
async fn an_object_is_handed_on_unchanged_to_the_last_digit() {
    let text = r#"{"id":"txn_1","amount":4998,"exchange_rate":0.91234567890123456789}"#;
    let server = Server::playing(vec![super::server::answer(200, "application/json", text)]).await;
    let read = stripe(&server).read("balance-transaction.get", &json!({"id": "txn_1"}), &context()).await;
    assert_eq!(
        found(read).to_string(),
        r#"{"amount":4998,"exchange_rate":0.91234567890123456789,"id":"txn_1"}"#
    );
    let seen = &server.seen()[0];
    assert_eq!(seen.line(), "GET /v1/balance_transactions/txn_1");
    assert_eq!(seen.header("authorization"), "Bearer rk_test_1");
    assert_eq!(seen.header("stripe-version"), "2026-07-29.dahlia");
    assert_eq!(seen.header("stripe-account"), "acct_1");
    assert_eq!(seen.header("accept-encoding"), "identity");
}

#[tokio::test]
async fn only_stripes_own_word_makes_an_object_absent() {
    let missing = json!({"error": {"type": "invalid_request_error", "code": "resource_missing",
        "message": "No such customer: 'cus_X'", "param": "id"}});
    let unknown_url =
        json!({"error": {"type": "invalid_request_error", "message": "Unrecognized request URL"}});
    let server = Server::playing(vec![
        json(404, &missing),
        json(404, &unknown_url).with("Request-Id", "req_1"),
        json(200, &json!({"id": "cus_X", "object": "customer", "deleted": true})),
    ])
    .await;
    let stripe = stripe(&server);
    let ask = || async { stripe.read("customer.get", &json!({"id": "cus_X"}), &context()).await };
    assert_eq!(ask().await.unwrap(), Found::No);
    let failure = ask().await.unwrap_err();
    assert_eq!(failure.problem().detail["request_id"], "req_1");
    assert_eq!(found(ask().await)["deleted"], true);
}

#[tokio::test]
async fn all_pages_of_a_list_are_joined() {
    let server = Server::playing(vec![
        json(200, &page(&["txn_1", "txn_2"], true)),
        json(200, &page(&["txn_3"], false)),
    ])
    .await;
    let read =
        stripe(&server).read("balance-transactions.by-payout", &json!({"payout": "po_1"}), &context()).await;
    assert_eq!(found(read), page(&["txn_1", "txn_2", "txn_3"], false));
    assert_eq!(
        server.lines(),
        [
            "GET /v1/balance_transactions?payout=po_1&expand%5B0%5D=data.source&limit=100",
            "GET /v1/balance_transactions?payout=po_1&expand%5B0%5D=data.source&limit=100&starting_after=txn_2",
        ]
    );
}

#[tokio::test]
async fn a_list_that_does_not_move_on_is_not_asked_for_ever() {
    let server = Server::start(|_, _| json(200, &page(&["re_1"], true))).await;
    let read = stripe(&server).read("refunds.by-charge", &json!({"charge": "ch_1"}), &context()).await;
    assert_eq!(code(read), "unreadable-answer");
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn a_session_comes_with_all_its_lines() {
    let server = Server::playing(vec![
        json(200, &page(&["cs_2"], true)),
        json(200, &page(&["li_1"], true)),
        json(200, &page(&["li_2"], false)),
        json(200, &page(&[], false)),
    ])
    .await;
    let stripe = stripe(&server);
    let parameters = json!({"payment_intent": "pi_1"});
    let session = found(stripe.read("checkout-session.by-payment-intent", &parameters, &context()).await);
    assert_eq!(session, json!({"id": "cs_2", "line_items": page(&["li_1", "li_2"], false)}));
    assert_eq!(
        server.lines(),
        [
            "GET /v1/checkout/sessions?payment_intent=pi_1&limit=1",
            "GET /v1/checkout/sessions/cs_2/line_items?limit=100",
            "GET /v1/checkout/sessions/cs_2/line_items?limit=100&starting_after=li_1",
        ]
    );
    let none = stripe.read("checkout-session.by-payment-intent", &parameters, &context()).await;
    assert_eq!(none.unwrap(), Found::No);
}

#[tokio::test]
async fn an_invoice_is_found_by_way_of_its_payments() {
    let payments = json!({"object": "list", "has_more": false, "data": [
        {"id": "inpay_1", "invoice": "in_0", "status": "canceled"},
        {"id": "inpay_2", "invoice": {"id": "in_1"}, "status": "paid"},
        {"id": "inpay_3", "invoice": "in_1", "status": "open"},
    ]});
    let server = Server::playing(vec![
        json(200, &payments),
        json(200, &json!({"id": "in_1", "lines": page(&["il_1"], true)})),
        json(200, &page(&["il_2"], false)),
    ])
    .await;
    let read = stripe(&server)
        .read("invoice.by-payment-intent", &json!({"payment_intent": "pi_1"}), &context())
        .await;
    assert_eq!(found(read), json!({"id": "in_1", "lines": page(&["il_1", "il_2"], false)}));
    assert_eq!(
        server.lines(),
        [
            "GET /v1/invoice_payments?payment%5Btype%5D=payment_intent&payment%5Bpayment_intent%5D=pi_1&limit=100",
            "GET /v1/invoices/in_1?expand%5B%5D=payments",
            "GET /v1/invoices/in_1/lines?limit=100&starting_after=il_1",
        ]
    );
}

#[tokio::test]
async fn a_payment_of_several_invoices_is_for_a_person() {
    let payments = json!({"has_more": false, "data": [
        {"id": "inpay_1", "invoice": "in_1", "status": "paid"}, {"id": "inpay_2", "invoice": "in_2", "status": "paid"},
    ]});
    let server = Server::playing(vec![json(200, &payments)]).await;
    let read = stripe(&server)
        .read("invoice.by-payment-intent", &json!({"payment_intent": "pi_1"}), &context())
        .await;
    assert_eq!(code(read), "several-documents");
}

#[tokio::test]
async fn an_id_cannot_lead_elsewhere() {
    let server = Server::playing(Vec::new()).await;
    let stripe = stripe(&server);
    for id in
        ["..", "../payouts", "ch_1/refunds", "ch_1?expand[]=x", "ch_1#x", "ch 1", "%2e%2e", "ch_1\r\nX: y"]
    {
        let read = stripe.read("charge.get", &json!({"id": id}), &context()).await;
        assert_eq!(code(read), "invalid-parameters", "{id:?}");
    }
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn stripes_own_advice_on_repeating_goes_before_the_status() {
    use portolan_domain::verdict::CallFailure;
    let error = json!({"error": {"type": "api_error", "message": "x"}});
    let server = Server::playing(vec![
        json(500, &error).with("Stripe-Should-Retry", "false"),
        json(400, &error).with("Stripe-Should-Retry", "true"),
        json(409, &error),
    ])
    .await;
    let stripe = stripe(&server);
    let ask = || async { stripe.read("charge.get", &json!({"id": "ch_1"}), &context()).await.unwrap_err() };
    assert!(matches!(ask().await, CallFailure::Permanent { .. }));
    assert!(matches!(ask().await, CallFailure::Retryable { .. }));
    assert!(matches!(ask().await, CallFailure::Retryable { .. }));
}

#[tokio::test]
async fn a_probe_takes_a_missing_charge_for_a_good_key() {
    let missing = json!({"error": {"code": "resource_missing"}});
    let server =
        Server::playing(vec![json(404, &missing), json(401, &json!({"error": {"message": "no"}}))]).await;
    let stripe = stripe(&server);
    stripe.probe(&context()).await.unwrap();
    stripe.probe(&context()).await.unwrap_err();
}
