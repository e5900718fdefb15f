//! What holds for every connector, whatever it speaks: the verdict of each way in which a call can go wrong.

use std::sync::Arc;

use portolan_connectors::{Connection, Effect, Found, Registry};
use portolan_domain::{class::WriteClass, verdict::CallFailure};
use serde_json::{Value, json};

use super::{
    connect, context, hurried,
    server::{Act, Server, answer},
};

const SECRET: &str = "s3cr3t-of-the-tenant";

/// One connector with one read and, where it writes, one write whose first request is the write itself.
struct Candidate {
    connector: &'static str,
    settings: Value,
    secrets: &'static [(&'static str, &'static str)],
    read: (&'static str, Value),
    write: Option<(&'static str, Value)>,
}

fn candidates() -> Vec<Candidate> {
    vec![
        Candidate {
            connector: "stripe",
            settings: json!({}),
            secrets: &[("api_key", SECRET)],
            read: ("charge.get", json!({"id": "ch_1"})),
            write: Some(("customer.create", json!({"name": "Jenny"}))),
        },
        Candidate {
            connector: "sap-ecc",
            settings: json!({}),
            secrets: &[("user", "STRIPE_IF"), ("password", SECRET)],
            read: ("sales-order.find", json!({"PURCH_NO_C": "ch_1"})),
            write: Some(("sales-order.create", json!({"ORDER_HEADER_IN": {"PURCH_NO_C": "ch_1"}}))),
        },
        Candidate {
            connector: "epicor",
            settings: json!({"company": "EPIC06"}),
            secrets: &[("api_key", "k-12345"), ("user", "integration"), ("password", SECRET)],
            read: ("customer.find", json!({"CustID": "S000042"})),
            write: Some(("customer.create", json!({"CustID": "S000042", "Name": "Jenny"}))),
        },
        Candidate {
            connector: "sage-pro",
            settings: json!({}),
            secrets: &[("api_key", SECRET)],
            read: ("invoice.find", json!({"ExternalRef": "ch_1"})),
            write: Some(("invoice.create", json!({"ExternalRef": "ch_1"}))),
        },
        Candidate {
            connector: "http",
            settings: json!({"auth": "bearer"}),
            secrets: &[("token", SECRET)],
            read: ("request.get", json!({"path": "orders/1"})),
            write: Some(("request.post", json!({"path": "orders", "body": {"a": 1}}))),
        },
    ]
}

impl Candidate {
    fn connect(&self, url: &str) -> Arc<dyn Connection> {
        let mut settings = self.settings.clone();
        settings["base_url"] = json!(url);
        connect(self.connector, settings, self.secrets)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Done,
    Retryable(Option<u64>),
    Permanent,
    Unauthorized,
    Ambiguous,
}

fn verdict<T>(result: &Result<T, CallFailure>) -> Verdict {
    match result {
        Ok(_) => Verdict::Done,
        Err(CallFailure::Retryable { after_ms, .. }) => Verdict::Retryable(*after_ms),
        Err(CallFailure::Permanent { .. }) => Verdict::Permanent,
        Err(CallFailure::Unauthorized { .. }) => Verdict::Unauthorized,
        Err(CallFailure::Ambiguous { .. }) => Verdict::Ambiguous,
    }
}

const AGAIN: Verdict = Verdict::Retryable(None);

/// Reads and writes at `url` and checks the verdicts; no secret may show in what went wrong.
async fn check(candidate: &Candidate, url: &str, read: Verdict, write: Verdict) {
    let connection = candidate.connect(url);
    let (operation, parameters) = &candidate.read;
    let result = connection.read(operation, parameters, &hurried()).await;
    assert_eq!(verdict(&result), read, "{} {operation}: {result:?}", candidate.connector);
    assert!(!format!("{result:?}").contains(SECRET), "{result:?}");
    if let Some((operation, body)) = &candidate.write {
        let result = connection.write(operation, body, &hurried()).await;
        assert_eq!(verdict(&result), write, "{} {operation}: {result:?}", candidate.connector);
        assert!(!format!("{result:?}").contains(SECRET), "{result:?}");
    }
    assert!(!format!("{connection:?}").contains(SECRET), "{connection:?}");
}

/// As [`check`], against a server that always does the same.
async fn check_act(act: Act, read: Verdict, write: Verdict) {
    for candidate in candidates() {
        let act = act.clone();
        let server = Server::start(move |_, _| act.clone()).await;
        check(&candidate, &server.url, read, write).await;
    }
}

#[tokio::test]
async fn a_refused_connection_is_worth_repeating() {
    for candidate in candidates() {
        check(&candidate, &Server::nowhere().await, AGAIN, AGAIN).await;
    }
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_worth_repeating() {
    for candidate in candidates() {
        let url = Server::closing().await.replace("http://", "https://");
        check(&candidate, &url, AGAIN, AGAIN).await;
    }
}

#[tokio::test]
async fn a_server_that_hangs_is_left_by_the_deadline_and_leaves_doubt() {
    check_act(Act::Hang, AGAIN, Verdict::Ambiguous).await;
}

#[tokio::test]
async fn a_connection_cut_before_the_request_was_read_leaves_doubt() {
    for candidate in candidates() {
        check(&candidate, &Server::closing().await, AGAIN, Verdict::Ambiguous).await;
    }
}

#[tokio::test]
async fn a_connection_cut_after_the_request_was_read_leaves_doubt() {
    check_act(Act::Cut, AGAIN, Verdict::Ambiguous).await;
}

#[tokio::test]
async fn an_answer_cut_short_leaves_doubt() {
    check_act(Act::CutInBody, AGAIN, Verdict::Ambiguous).await;
}

#[tokio::test]
async fn a_write_is_sent_once_whatever_happens_to_it() {
    for act in
        [Act::Cut, Act::CutInBody, answer(500, "text/plain", "oops"), answer(503, "text/plain", "busy")]
    {
        for candidate in candidates() {
            let Some((operation, body)) = &candidate.write else { continue };
            let act = act.clone();
            let shown = format!("{act:?}");
            let server = Server::start(move |_, _| act.clone()).await;
            let _failure =
                candidate.connect(&server.url).write(operation, body, &hurried()).await.unwrap_err();
            assert_eq!(server.seen().len(), 1, "{} {shown}", candidate.connector);
        }
    }
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_leaves_doubt() {
    for candidate in candidates() {
        for body in ["", "<html>Welcome</html>", "{\"ok\": true}", "[]", "null"] {
            let server = Server::start(move |_, _| answer(200, "text/html", body)).await;
            // To http any answer with a 2xx status makes sense, and to a read of Stripe any JSON object.
            let (read, write) = match (candidate.connector, body.starts_with('{')) {
                ("http", _) => (Verdict::Done, Verdict::Done),
                ("stripe", true) => (Verdict::Done, Verdict::Ambiguous),
                ("sage-pro", _) if body == "[]" => (Verdict::Done, Verdict::Ambiguous),
                _ => (AGAIN, Verdict::Ambiguous),
            };
            check(&candidate, &server.url, read, write).await;
        }
    }
}

#[tokio::test]
async fn refused_credentials_and_rights_alert() {
    let page = format!("<html>Logon failed for {SECRET}</html>");
    for status in [401, 403] {
        let act = answer(status, "text/html", page.clone()).with("WWW-Authenticate", "Basic realm=\"x\"");
        check_act(act, Verdict::Unauthorized, Verdict::Unauthorized).await;
    }
}

#[tokio::test]
async fn advice_to_come_back_later_is_handed_on() {
    let wait = Verdict::Retryable(Some(7_000));
    for advice in ["7", "Thu, 25 Feb 2021 15:02:17 GMT"] {
        for status in [429, 503] {
            check_act(answer(status, "text/plain", "later").with("Retry-After", advice), wait, wait).await;
        }
    }
    check_act(answer(429, "text/plain", "later"), AGAIN, AGAIN).await;
}

#[tokio::test]
async fn a_server_error_leaves_doubt() {
    for status in [500, 502, 503, 504] {
        check_act(answer(status, "text/html", "<html>oops</html>"), AGAIN, Verdict::Ambiguous).await;
    }
}

#[tokio::test]
async fn an_answer_larger_than_may_be_held_leaves_doubt() {
    let act = answer(200, "application/json", vec![b' '; 200_000]);
    check_act(act, Verdict::Permanent, Verdict::Ambiguous).await;
}

#[tokio::test]
async fn a_compressed_answer_is_not_unpacked() {
    let act = answer(200, "application/json", [0x1f, 0x8b, 8, 0]).with("Content-Encoding", "gzip");
    check_act(act, Verdict::Permanent, Verdict::Ambiguous).await;
}

#[tokio::test]
async fn no_redirect_is_followed() {
    let canary = Server::start(|_, _| answer(200, "application/json", "{}")).await;
    let to = |status| answer(status, "text/html", "moved").with("Location", canary.url.clone());
    for status in [301, 302, 303] {
        check_act(to(status), Verdict::Permanent, Verdict::Ambiguous).await;
    }
    for status in [307, 308] {
        check_act(to(status), Verdict::Permanent, Verdict::Permanent).await;
    }
    assert!(canary.seen().is_empty());
}

#[tokio::test]
async fn an_operation_that_is_not_there_is_refused_unsent() {
    for candidate in candidates() {
        let server = Server::start(|_, _| Act::Cut).await;
        let connection = candidate.connect(&server.url);
        let (read, parameters) = &candidate.read;
        for operation in ["no.such", "", read] {
            let failure = connection.write(operation, &json!({}), &context()).await.unwrap_err();
            assert_eq!(failure.problem().code, "unknown-operation");
        }
        let write = candidate.write.as_ref().map_or("no.such", |(write, _)| *write);
        let failure = connection.read(write, parameters, &context()).await.unwrap_err();
        assert_eq!(failure.problem().code, "unknown-operation");
        assert!(server.seen().is_empty());
    }
}

#[tokio::test]
async fn wrong_parameters_are_refused_unsent() {
    for candidate in candidates() {
        let server = Server::start(|_, _| Act::Cut).await;
        let connection = candidate.connect(&server.url);
        for wrong in [json!(null), json!([]), json!("x"), json!({"nonsense": 1})] {
            let failure = connection.read(candidate.read.0, &wrong, &context()).await.unwrap_err();
            assert_eq!(failure.problem().code, "invalid-parameters", "{} {wrong}", candidate.connector);
            assert_eq!(verdict::<Found>(&Err(failure)), Verdict::Permanent);
        }
        if let Some((operation, _)) = &candidate.write {
            let failure = connection.write(operation, &json!([]), &context()).await.unwrap_err();
            assert_eq!(failure.problem().code, "invalid-parameters", "{}", candidate.connector);
        }
        assert!(server.seen().is_empty());
    }
}

#[tokio::test]
async fn settings_that_are_not_known_are_refused_by_name() {
    let registry = Registry::standard();
    for candidate in candidates() {
        let mut settings = candidate.settings.clone();
        settings["base_url"] = json!("http://127.0.0.1:1");
        settings["no_such_setting"] = json!(1);
        let config = super::config(settings, candidate.secrets);
        let error =
            registry.get(candidate.connector).unwrap().connect(&config, &super::loopback()).unwrap_err();
        assert_eq!(error.pointer, "/settings/no_such_setting");
    }
}

#[tokio::test]
async fn secrets_are_required_and_unknown_ones_refused() {
    let registry = Registry::standard();
    for candidate in candidates() {
        let connector = registry.get(candidate.connector).unwrap();
        let mut settings = candidate.settings.clone();
        settings["base_url"] = json!("http://127.0.0.1:1");
        let error = connector.connect(&super::config(settings.clone(), &[]), &super::loopback()).unwrap_err();
        assert!(error.pointer.starts_with("/secrets/"), "{error}");
        let mut secrets = candidate.secrets.to_vec();
        secrets.push(("no_such_secret", SECRET));
        let error = connector.connect(&super::config(settings, &secrets), &super::loopback()).unwrap_err();
        assert_eq!(error.pointer, "/secrets/no_such_secret");
        assert!(!error.to_string().contains(SECRET));
    }
}

#[tokio::test]
async fn every_connection_has_the_documented_limits() {
    for candidate in candidates() {
        let connection = candidate.connect("http://127.0.0.1:1");
        assert_eq!(connection.timeout().as_millis(), 30_000);
        assert_eq!(connection.settle().as_millis(), 5_000);
        assert_eq!(connection.concurrency_max(), 4);
        assert_eq!(connection.class("no.such"), WriteClass::Blind);
    }
}

/// Every write of every connector, and what may be done in doubt. An operation that is new, or whose class is changed,
/// has to be looked at here.
#[test]
fn every_write_has_the_class_that_its_system_earns() {
    const NATIVE: &str = "native-key";
    const JOURNAL: &str = "transfer-id";
    const AGAIN: &str = "repeatable";
    const ASKED: &str = "asked-by-key";
    const BLIND: &str = "blind";
    let expected = [
        ("stripe", "customer.create", NATIVE),
        ("stripe", "customer.update", NATIVE),
        ("stripe", "customer.delete", AGAIN),
        ("stripe", "metadata.update", NATIVE),
        ("stripe", "refund.create", NATIVE),
        ("sap-ecc", "sales-order.create", ASKED),
        ("sap-ecc", "sales-order.change", AGAIN),
        ("sap-ecc", "accounting-document.post", ASKED),
        ("sap-ecc", "accounting-document.reverse", ASKED),
        ("sap-ecc", "customer.create", ASKED),
        ("sap-ecc", "customer.change", AGAIN),
        ("sap-ecc", "odata.create", ASKED),
        ("sap-ecc", "odata.update", AGAIN),
        ("sap-ecc", "odata.batch", ASKED),
        ("epicor", "customer.create", ASKED),
        ("epicor", "customer.update", AGAIN),
        ("epicor", "sales-order.create", ASKED),
        ("epicor", "sales-order.hold", AGAIN),
        ("epicor", "sales-order.release", AGAIN),
        ("epicor", "cash-group.ensure", AGAIN),
        ("epicor", "cash-receipt.create", ASKED),
        ("epicor", "cash-receipt.reverse", ASKED),
        ("epicor", "cash-group.post", ASKED),
        ("epicor", "credit-memo.create", ASKED),
        ("epicor", "credit-memo.post", ASKED),
        ("epicor", "gl-journal.post", ASKED),
        ("epicor", "gl-journal.reverse", ASKED),
        ("epicor", "efx.call", BLIND),
        ("sage-pro", "customer.create", JOURNAL),
        ("sage-pro", "customer.update", AGAIN),
        ("sage-pro", "customer.hold", AGAIN),
        ("sage-pro", "invoice.create", JOURNAL),
        ("sage-pro", "invoice.hold", AGAIN),
        ("sage-pro", "credit-memo.create", JOURNAL),
        ("sage-pro", "credit-memo.void", JOURNAL),
        ("sage-pro", "cash-receipt.create", JOURNAL),
        ("sage-pro", "gl-journal.post", JOURNAL),
        ("sage-pro", "gl-journal.reverse", JOURNAL),
        ("http", "request.post", BLIND),
    ];
    let registry = Registry::standard();
    let mut found = Vec::new();
    for connector in registry.names().filter_map(|name| registry.get(name)) {
        for operation in connector.operations() {
            if let Effect::Write(class) = operation.effect {
                found.push((connector.name(), operation.name, class.name()));
            }
        }
    }
    found.sort_unstable();
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    assert_eq!(found, expected);
}
