//! The plain HTTP target: paths, authorization, signatures.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac};
use portolan_connectors::{Found, Registry};
use portolan_domain::class::WriteClass;
use serde_json::{Value, json};
use sha2::Sha256;

use super::{
    code, config, connect, context, found, loopback,
    server::{Server, answer, json},
};

const SIGNING_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

#[tokio::test]
async fn a_signed_write_can_be_verified_by_its_receiver() {
    let server = Server::start(|_, _| json(202, &json!({"id": 7}))).await;
    let settings = json!({"base_url": format!("{}/in", server.url), "signing": "standard-webhooks",
        "headers": {"X-Tenant": "rose"}});
    let target = connect("http", settings, &[("signing_secret", SIGNING_SECRET)]);
    let body = json!({"path": "/events/new", "query": {"a b": "c&d", "n": 1}, "body": {"amount": "49.98"}});
    let answer = target.write("request.post", &body, &context()).await.unwrap();
    assert_eq!(answer, json!({"status": 202, "body": {"id": 7}}));

    let seen = &server.seen()[0];
    assert_eq!(seen.target, "/in/events/new?a%20b=c%26d&n=1");
    assert_eq!(seen.body, r#"{"amount":"49.98"}"#);
    assert_eq!(seen.header("x-tenant"), "rose");
    assert_eq!(seen.header("idempotency-key"), context().call_id);
    assert_eq!(seen.header("webhook-id"), context().call_id);
    assert_eq!(seen.header("webhook-timestamp"), "1614265330");
    let key = STANDARD.decode(SIGNING_SECRET.strip_prefix("whsec_").unwrap()).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    mac.update(format!("{}.1614265330.{}", seen.header("webhook-id"), seen.body).as_bytes());
    let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    assert_eq!(seen.header("webhook-signature"), expected);
}

#[tokio::test]
async fn what_may_be_done_in_doubt_follows_from_the_settings() {
    let class = |settings: Value, secrets: &[(&str, &str)]| {
        let mut settings = settings;
        settings["base_url"] = json!("http://127.0.0.1:1");
        connect("http", settings, secrets).class("request.post")
    };
    let keyed = |seconds| WriteClass::NativeKey { window: Duration::from_secs(seconds) };
    assert_eq!(class(json!({}), &[]), WriteClass::Blind);
    let signed = json!({"signing": "standard-webhooks"});
    assert_eq!(class(signed, &[("signing_secret", SIGNING_SECRET)]), keyed(86_400));
    assert_eq!(class(json!({"in_doubt": "same-key-again", "key_window_s": 60}), &[]), keyed(60));
    let settle = Duration::from_millis(700);
    let asked = class(json!({"in_doubt": "ask", "settle_ms": 700}), &[]);
    assert_eq!(asked, WriteClass::AskedByKey { settle }, "the settle time is the connection's own");
}

#[tokio::test]
async fn each_kind_of_authorization_is_sent_as_its_standard_says() {
    for (settings, secrets, header, value) in [
        (json!({"auth": "bearer"}), vec![("token", "tok-1")], "authorization", "Bearer tok-1"),
        (
            json!({"auth": "basic"}),
            vec![("user", "aladdin"), ("password", "opensesame")],
            "authorization",
            "Basic YWxhZGRpbjpvcGVuc2VzYW1l",
        ),
        (
            json!({"auth": "header", "auth_header": "X-Api-Key"}),
            vec![("token", "tok-1")],
            "x-api-key",
            "tok-1",
        ),
    ] {
        let server = Server::start(|_, _| answer(204, "text/plain", "")).await;
        let mut settings = settings;
        settings["base_url"] = json!(server.url);
        let target = connect("http", settings, &secrets);
        let write =
            target.write("request.post", &json!({"path": "x", "body": null}), &context()).await.unwrap();
        assert_eq!(write, json!({"status": 204, "body": null}));
        assert_eq!(server.seen()[0].header(header), value);
    }
}

#[tokio::test]
async fn reads_tell_absence_from_presence() {
    let server = Server::playing(vec![
        json(200, &json!({"n": 1})),
        answer(200, "text/plain", "pong"),
        answer(404, "text/plain", "no"),
        answer(400, "text/plain", "bad"),
    ])
    .await;
    let target = connect("http", json!({"base_url": server.url}), &[]);
    let ask = || async { target.read("request.get", &json!({"path": "x/"}), &context()).await };
    assert_eq!(found(ask().await), json!({"status": 200, "body": {"n": 1}}));
    assert_eq!(found(ask().await), json!({"status": 200, "body": "pong"}));
    assert_eq!(ask().await.unwrap(), Found::No);
    assert_eq!(code(ask().await), "refused");
    assert_eq!(server.lines()[0], "GET /x/");
}

#[tokio::test]
async fn a_path_stays_below_the_base_url() {
    let server = Server::playing(Vec::new()).await;
    let target = connect("http", json!({"base_url": format!("{}/in", server.url)}), &[]);
    for path in [
        "..",
        "../x",
        "x/../../y",
        "/..",
        "//evil.example/x",
        "x//y",
        "http://evil.example",
        "x?y=1",
        "x#y",
        "x\r\nHost: evil",
        "%2e%2e/x",
        "x\\..\\y",
        ".",
        "x/./y",
        "\u{7f}",
    ] {
        let read = target.read("request.get", &json!({"path": path}), &context()).await;
        assert_eq!(code(read), "invalid-parameters", "{path:?}");
    }
    assert!(server.seen().is_empty());
}

#[test]
fn settings_that_would_break_the_protocol_are_refused() {
    let registry = Registry::standard();
    for (settings, secrets, pointer) in [
        (json!({"headers": {"Host": "x"}}), vec![], "/settings/headers/Host"),
        (json!({"headers": {"webhook-id": "x"}}), vec![], "/settings/headers/webhook-id"),
        (json!({"headers": {"X": "a\r\nb"}}), vec![], "/settings/headers/X"),
        (json!({"headers": {"a b": "x"}}), vec![], "/settings/headers/a b"),
        (json!({"auth": "bearer"}), vec![], "/secrets/token"),
        (json!({"auth": "digest"}), vec![], "/settings/auth"),
        (json!({"auth": "header"}), vec![("token", "t")], "/settings/auth_header"),
        (json!({"auth": "basic"}), vec![("user", "a:b"), ("password", "p")], "/secrets/user"),
        (json!({"signing": "standard-webhooks"}), vec![], "/secrets/signing_secret"),
        (json!({"signing": "standard-webhooks"}), vec![("signing_secret", "x")], "/secrets/signing_secret"),
        (json!({"base_url": "ftp://x"}), vec![], "/settings/base_url"),
    ] {
        let mut all = json!({"base_url": "http://127.0.0.1:1"});
        all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        let error = registry.get("http").unwrap().connect(&config(all, &secrets), &loopback()).unwrap_err();
        assert_eq!(error.pointer, pointer, "{error}");
    }
}
