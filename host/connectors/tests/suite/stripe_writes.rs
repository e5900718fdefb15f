//! Stripe: what writes say, and what is made of the answers.

use std::{sync::Arc, time::Duration};

use portolan_connectors::Connection;
use portolan_domain::{class::WriteClass, verdict::CallFailure};
use serde_json::{Value, json};

use super::{
    code, connect, context, found,
    server::{Act, Server, answer, json},
};

fn stripe(server: &Server) -> Arc<dyn Connection> {
    connect("stripe", json!({"base_url": server.url, "account": "acct_1"}), &[("api_key", "rk_test_1")])
}

fn pairs(body: &str) -> Vec<(String, String)> {
    url::form_urlencoded::parse(body.as_bytes()).into_owned().collect()
}

fn error(kind: &str, code: &str) -> Value {
    json!({"error": {"type": kind, "code": code, "message": "No."}})
}

async fn write_against(act: Act) -> CallFailure {
    let server = Server::playing(vec![act]).await;
    stripe(&server).write("customer.create", &json!({"name": "Grace"}), &context()).await.unwrap_err()
}

#[tokio::test]
async fn a_write_is_a_form_under_the_calls_own_key() {
    let customer = json!({"id": "cus_1", "object": "customer", "balance": 0});
    let server = Server::playing(vec![json(200, &customer), json(200, &customer)]).await;
    let stripe = stripe(&server);
    let body =
        json!({"name": "Zoë", "metadata": {"erp": "812", "old": null}, "preferred_locales": ["de", "en"]});
    assert_eq!(stripe.write("customer.create", &body, &context()).await.unwrap(), customer);
    let update = json!({"id": "cus_1", "phone": null, "invoice_settings": {"footer": "x"}});
    stripe.write("customer.update", &update, &context()).await.unwrap();
    assert_eq!(server.lines(), ["POST /v1/customers", "POST /v1/customers/cus_1"]);
    let seen = &server.seen()[0];
    assert_eq!(seen.header("idempotency-key"), "portolan-dlv01JD000000000000000000000");
    assert_eq!(seen.header("content-type"), "application/x-www-form-urlencoded");
    assert_eq!(seen.header("stripe-account"), "acct_1");
    let expected = [
        ("metadata[erp]", "812"),
        ("metadata[old]", ""),
        ("name", "Zoë"),
        ("preferred_locales[0]", "de"),
        ("preferred_locales[1]", "en"),
    ];
    assert_eq!(pairs(&seen.body), expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
    assert_eq!(server.seen()[1].body, "invoice_settings%5Bfooter%5D=x&phone=");
}

#[tokio::test]
async fn metadata_go_to_the_object_that_is_named() {
    let answer = json!({"id": "x_1", "object": "x", "amount": 1, "metadata": {"erp_order": "16023"}});
    let paths = [
        ("charge", "/v1/charges/x_1"),
        ("checkout.session", "/v1/checkout/sessions/x_1"),
        ("credit_note", "/v1/credit_notes/x_1"),
        ("customer", "/v1/customers/x_1"),
        ("dispute", "/v1/disputes/x_1"),
        ("invoice", "/v1/invoices/x_1"),
        ("payment_intent", "/v1/payment_intents/x_1"),
        ("payout", "/v1/payouts/x_1"),
        ("refund", "/v1/refunds/x_1"),
        ("subscription", "/v1/subscriptions/x_1"),
    ];
    let server = Server::start(move |_, _| json(200, &answer)).await;
    let stripe = stripe(&server);
    for (object, path) in paths {
        let body = json!({"object": object, "id": "x_1", "metadata": {"erp_order": 16023, "gone": null}});
        let changed = stripe.write("metadata.update", &body, &context()).await.unwrap();
        assert_eq!(changed, json!({"id": "x_1", "metadata": {"erp_order": "16023"}}));
        let seen = server.seen().pop().unwrap();
        assert_eq!(seen.target, path);
        assert_eq!(seen.body, "metadata%5Berp_order%5D=16023&metadata%5Bgone%5D=");
    }
    let sent = server.seen().len();
    for wrong in [
        json!({"object": "account", "id": "x_1", "metadata": {}}),
        json!({"object": "charge", "id": "../x", "metadata": {}}),
        json!({"object": "charge", "id": "x_1", "metadata": {"n": true}}),
        json!({"object": "charge", "id": "x_1", "metadata": null}),
        json!({"object": "charge", "id": "x_1", "metadata": {"a[b]": "c"}}),
        json!({"object": "charge", "id": "x_1", "metadata": {}, "amount": 1}),
    ] {
        let failed = stripe.write("metadata.update", &wrong, &context()).await;
        assert_eq!(code(failed), "invalid-parameters", "{wrong}");
    }
    assert_eq!(server.seen().len(), sent);
}

#[tokio::test]
async fn refusals_are_what_stripe_says_they_are() {
    let retryable = |failure: &CallFailure| match failure {
        CallFailure::Retryable { after_ms, .. } => *after_ms,
        CallFailure::Permanent { .. } | CallFailure::Unauthorized { .. } | CallFailure::Ambiguous { .. } => {
            panic!("{failure:?}")
        }
    };
    let busy = write_against(json(409, &error("invalid_request_error", "idempotency_key_in_use"))).await;
    assert_eq!((retryable(&busy), busy.problem().code.as_str()), (Some(5_000), "idempotency-key-in-use"));
    let locked = write_against(json(429, &error("invalid_request_error", "lock_timeout"))).await;
    assert_eq!(retryable(&locked), Some(5_000));
    let locked = write_against(json(400, &error("invalid_request_error", "lock_timeout"))).await;
    assert_eq!(retryable(&locked), Some(5_000));
    let too_fast = json(429, &error("invalid_request_error", "rate_limit"))
        .with("Stripe-Rate-Limited-Reason", "global-rate")
        .with("Request-Id", "req_9");
    let limited = write_against(too_fast.clone()).await;
    assert_eq!(retryable(&limited), Some(10_000));
    let detail = &limited.problem().detail;
    assert_eq!(
        (&detail["rate_limited_reason"], &detail["request_id"]),
        (&json!("global-rate"), &json!("req_9"))
    );
    assert_eq!(retryable(&write_against(too_fast.with("Retry-After", "3")).await), Some(3_000));

    let other_body =
        write_against(json(400, &json!({"error": {"type": "idempotency_error", "message": "x"}}))).await;
    assert!(matches!(other_body, CallFailure::Permanent { .. }));
    assert_eq!(other_body.problem().code, "idempotency-error");
    let declined = json!({"error": {"type": "card_error", "code": "card_declined", "decline_code": "lost_card",
        "network_decline_code": "41", "advice_code": "do_not_try_again", "message": "Declined."}});
    let declined = write_against(json(402, &declined)).await;
    assert!(matches!(declined, CallFailure::Permanent { .. }));
    assert_eq!(declined.problem().code, "card-declined");
    assert_eq!(declined.problem().detail["network_decline_code"], "41");
    for status in [401, 403] {
        let refused = json(status, &error("invalid_request_error", "x")).with("Stripe-Should-Retry", "true");
        assert!(matches!(write_against(refused).await, CallFailure::Unauthorized { .. }));
    }
    let missing = write_against(json(404, &error("invalid_request_error", "resource_missing"))).await;
    assert!(matches!(missing, CallFailure::Permanent { .. }));
}

#[tokio::test]
async fn stripes_advice_goes_before_the_status_but_does_not_settle_a_server_error() {
    let advised = |status, advice: &str| {
        let act = json(status, &error("api_error", "x")).with("Stripe-Should-Retry", advice);
        async move { write_against(act).await }
    };
    assert!(matches!(advised(409, "false").await, CallFailure::Permanent { .. }));
    assert!(matches!(advised(400, "true").await, CallFailure::Retryable { .. }));
    assert!(matches!(advised(402, "true").await, CallFailure::Retryable { .. }));
    for advice in ["true", "false"] {
        assert!(matches!(advised(500, advice).await, CallFailure::Ambiguous { .. }), "{advice}");
    }
    let waiting = json(503, &error("api_error", "x")).with("Retry-After", "7");
    assert!(matches!(write_against(waiting).await, CallFailure::Retryable { after_ms: Some(7_000), .. }));
}

#[tokio::test]
async fn a_key_may_be_relied_on_for_less_than_a_day() {
    let server = Server::playing(Vec::new()).await;
    let stripe = stripe(&server);
    let window = Duration::from_secs(23 * 3_600);
    for write in ["customer.create", "customer.update", "metadata.update", "refund.create"] {
        assert_eq!(stripe.class(write), WriteClass::NativeKey { window }, "{write}");
    }
    assert_eq!(stripe.class("customer.delete"), WriteClass::Repeatable, "Stripe takes no key for DELETE");
}

#[tokio::test]
async fn a_customer_that_is_deleted_already_is_deleted() {
    let missing = error("invalid_request_error", "resource_missing");
    let deleted = json!({"id": "cus_1", "object": "customer", "deleted": true});
    let server = Server::playing(vec![
        json(200, &deleted),
        json(404, &missing),
        json(200, &deleted),
        json(404, &missing),
        json(404, &missing),
    ])
    .await;
    let stripe = stripe(&server);
    let delete = || async { stripe.write("customer.delete", &json!({"id": "cus_1"}), &context()).await };
    assert_eq!(delete().await.unwrap(), deleted);
    assert_eq!(delete().await.unwrap(), deleted);
    assert_eq!(code(delete().await), "resource-missing");
    assert_eq!(server.lines()[0], "DELETE /v1/customers/cus_1");
}

#[tokio::test]
async fn the_secret_of_a_webhook_endpoint_is_in_the_answer_and_nowhere_else() {
    let made = json!({"id": "we_1", "object": "webhook_endpoint", "secret": "whsec_abcdef"});
    let server = Server::playing(vec![
        json(200, &made),
        answer(200, "application/json", "{\"secret\":\"whsec_abcdef\",\"broken"),
        json(200, &json!({"secret": "whsec_abcdef"})),
        answer(500, "text/html", "<html>whsec_abcdef</html>"),
        json(200, &json!({"object": "list", "has_more": false, "data": [{"id": "we_1"}]})),
    ])
    .await;
    let stripe = stripe(&server);
    let body = json!({"url": "https://example.com/hooks/src_1", "enabled_events": ["charge.succeeded"]});
    let create = || async { stripe.write("webhook-endpoint.create", &body, &context()).await };
    assert_eq!(create().await.unwrap()["secret"], "whsec_abcdef");
    for _ in 0..3 {
        let failure = create().await.unwrap_err();
        assert!(matches!(failure, CallFailure::Ambiguous { .. }));
        assert!(!format!("{failure:?}").contains("whsec_"), "{failure:?}");
    }
    let list = found(stripe.read("webhook-endpoint.list", &json!({}), &context()).await);
    assert_eq!(list["data"][0]["id"], "we_1");
    assert_eq!(
        server.seen()[0].body,
        "enabled_events%5B0%5D=charge.succeeded&url=https%3A%2F%2Fexample.com%2Fhooks%2Fsrc_1"
    );
}

#[tokio::test]
async fn requests_keep_their_pace() {
    let customer = json!({"id": "cus_1"});
    let server = Server::start(move |_, _| json(200, &customer)).await;
    let settings = json!({"base_url": server.url, "requests_per_second": 2});
    let stripe = connect("stripe", settings, &[("api_key", "rk_test_1")]);
    let ask = || async { stripe.read("customer.get", &json!({"id": "cus_1"}), &super::hurried()).await };
    // Two at once are the burst; a third cannot have its turn within its 300 ms.
    found(ask().await);
    found(ask().await);
    assert_eq!(code(ask().await), "paced");
    assert_eq!(server.seen().len(), 2);
}
