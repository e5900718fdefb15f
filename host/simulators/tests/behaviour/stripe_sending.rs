//! Webhooks: signed, out of order, doubled, dropped, told again; in the shapes that their receiver wants.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hmac::{Hmac, Mac as _};
use portolan_simulators::System;
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::harness::World;

const SECRET: &str = "whsec_test_secret";

#[derive(Clone)]
struct Got {
    event: Value,
    body: String,
    signature: String,
}

/// Listens for webhooks, and answers as `answer` says for the so-manieth.
struct Shop {
    url: String,
    got: Arc<Mutex<Vec<Got>>>,
}

impl Shop {
    async fn open(answer: impl Fn(usize, &Value) -> u16 + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hooks/src_1", listener.local_addr().unwrap());
        let got: Arc<Mutex<Vec<Got>>> = Arc::default();
        let (log, answer) = (Arc::clone(&got), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                tokio::spawn(async move {
                    let mut bytes = Vec::new();
                    loop {
                        if let Some((head, body, end)) = request(&bytes) {
                            bytes.drain(..end);
                            let event: Value = serde_json::from_str(&body).unwrap();
                            let signature = header(&head, "stripe-signature");
                            let status = {
                                let mut log = log.lock().unwrap();
                                log.push(Got { event: event.clone(), body, signature });
                                answer(log.len(), &event)
                            };
                            let text = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n");
                            socket.write_all(text.as_bytes()).await.unwrap();
                        } else if socket.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                            return;
                        }
                    }
                });
            }
        });
        Self { url, got }
    }

    fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    async fn wait_for(&self, count: usize) -> Vec<Got> {
        let waiting = async {
            while self.got.lock().unwrap().len() < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("the webhooks in time");
        self.got()
    }
}

fn request(bytes: &[u8]) -> Option<(String, String, usize)> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let length: usize = header(&head, "content-length").parse().unwrap();
    let body = String::from_utf8(bytes.get(end..end + length)?.to_vec()).unwrap();
    Some((head, body, end + length))
}

fn header(head: &str, name: &str) -> String {
    let line = head.lines().find(|line| line.to_lowercase().starts_with(&format!("{name}:")));
    line.and_then(|line| line.split_once(": ")).map(|(_, value)| value.to_owned()).unwrap_or_default()
}

fn is_signed(got: &Got, secret: &str) -> bool {
    let (time, hex) = got.signature.split_once(",v1=").unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{}.{}", time.trim_start_matches("t="), got.body).as_bytes());
    hex::encode(mac.finalize().into_bytes()) == hex
}

async fn send(stripe: &World, mut asked: Value, shop: &Shop) -> Value {
    let fixed = json!({"seed": 1, "charges": 30, "send": true, "url": shop.url, "secret": SECRET});
    for (name, value) in fixed.as_object().unwrap() {
        asked.as_object_mut().unwrap().entry(name.clone()).or_insert_with(|| value.clone());
    }
    let answer = stripe.post("/_simulator/month", &asked).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    done(stripe).await
}

async fn done(stripe: &World) -> Value {
    let waiting = async {
        loop {
            let report = stripe.get("/_simulator/month").await.json();
            if report["done"] == true {
                return report;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting).await.expect("the month in time")
}

fn ids(got: &[Got]) -> Vec<String> {
    got.iter().map(|got| got.event["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn every_event_arrives_signed_in_order_when_nothing_else_is_asked_for() {
    let stripe = World::start(System::Stripe).await;
    let shop = Shop::open(|_, _| 200).await;
    let report = send(&stripe, json!({"concurrency": 1}), &shop).await;
    let got = shop.got();
    assert_eq!(report["acknowledged"], json!(got.len()));
    assert_eq!((&report["events"], &report["dropped"]), (&json!(got.len()), &json!(0)));
    assert!(got.iter().all(|got| is_signed(got, SECRET) && !is_signed(got, "whsec_other")));
    assert!(
        got.windows(2).all(|pair| pair[0].event["created"].as_u64() <= pair[1].event["created"].as_u64())
    );
    assert!(got.iter().all(|got| !got.body.contains("_simulator")));
}

#[tokio::test]
async fn a_month_is_sent_out_of_order_doubled_and_with_gaps_and_always_the_same() {
    let stripe = World::start(System::Stripe).await;
    let shop = Shop::open(|_, _| 200).await;
    let manner = json!({"drop_per_mille": 50, "duplicate_per_mille": 100, "window": 200, "concurrency": 1});
    let report = send(&stripe, manner.clone(), &shop).await;
    let first = ids(&shop.got());
    let dropped: Vec<String> = serde_json::from_value(report["dropped_events"].clone()).unwrap();
    let distinct: BTreeSet<&String> = first.iter().collect();
    assert!(!dropped.is_empty() && dropped.iter().all(|id| !distinct.contains(id)));
    assert_eq!(distinct.len() + dropped.len(), usize::try_from(report["events"].as_u64().unwrap()).unwrap());
    assert_eq!(json!(first.len() - distinct.len()), report["duplicates"]);
    // A refund overtakes its charge now and then.
    let places: BTreeMap<&String, usize> = first.iter().enumerate().map(|(at, id)| (id, at)).collect();
    let listed = stripe.get("/v1/events?limit=100").await.json();
    let in_order: Vec<String> = listed["data"]
        .as_array()
        .unwrap()
        .iter()
        .rev()
        .map(|event| event["id"].as_str().unwrap().to_owned())
        .filter(|id| places.contains_key(id))
        .collect();
    assert!(in_order.windows(2).any(|pair| places[&pair[0]] > places[&pair[1]]));
    for id in &dropped {
        assert_eq!(stripe.get(&format!("/v1/events/{id}")).await.status, 200, "the sweep finds it");
    }
    send(&stripe, manner, &shop).await;
    assert_eq!(ids(&shop.got())[first.len()..], first);
    let other = json!({"order": 9, "window": 200, "concurrency": 1});
    let before = shop.got().len();
    send(&stripe, other, &shop).await;
    assert_ne!(ids(&shop.got())[before..], first);
}

#[tokio::test]
async fn what_is_not_acknowledged_is_told_again_with_a_signature_of_its_own() {
    let stripe = World::start(System::Stripe).await;
    let refused: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    let shop = Shop::open(move |_, event| {
        let is_first = refused.lock().unwrap().insert(event["id"].as_str().unwrap().to_owned());
        let number = event["created"].as_u64().unwrap();
        match (is_first, number % 3) {
            (true, 0) => 500,
            (true, 1) => 302,
            _ => 204,
        }
    })
    .await;
    let report = send(&stripe, json!({"charges": 10, "concurrency": 16}), &shop).await;
    let got = shop.got();
    assert_eq!(report["acknowledged"], report["events"]);
    assert_eq!(report["attempts"], json!(got.len()));
    assert!(got.len() > usize::try_from(report["events"].as_u64().unwrap()).unwrap());
    assert!(got.iter().all(|got| is_signed(got, SECRET)));
}

#[tokio::test]
async fn a_receiver_that_never_listens_is_given_up() {
    let stripe = World::start(System::Stripe).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let asked = json!({"seed": 1, "charges": 1, "send": true, "url": url, "secret": "x", "attempts_max": 2,
                       "concurrency": 64, "enabled_events": ["payout.paid", "invoice.paid"]});
    assert_eq!(stripe.post("/_simulator/month", &asked).await.status, 200);
    let report = done(&stripe).await;
    assert_eq!((&report["acknowledged"], &report["given_up"]), (&json!(0), &report["planned"]));
}

#[tokio::test]
async fn registered_receivers_get_what_they_want_in_their_shapes() {
    let stripe = World::start(System::Stripe).await;
    let shop = Shop::open(|_, _| 200).await;
    let url: String = url::form_urlencoded::byte_serialize(shop.url.as_bytes()).collect();
    let body = format!(
        "url={url}&enabled_events[0]=charge.succeeded&enabled_events[1]=invoice.paid&enabled_events[2]=customer.created&enabled_events[3]=customer.subscription.created&api_version=2024-09-30.acacia"
    );
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let made = stripe.call("POST", "/v1/webhook_endpoints", &form, &body).await.json();
    let asked = json!({"seed": 1, "charges": 60, "send": true});
    assert_eq!(stripe.post("/_simulator/month", &asked).await.status, 200);
    done(&stripe).await;
    let got = shop.got();
    let of = |kind: &str| {
        got.iter()
            .filter(|got| got.event["type"] == kind)
            .map(|got| got.event["data"]["object"].clone())
            .collect::<Vec<_>>()
    };
    assert!(got.iter().all(|got| is_signed(got, made["secret"].as_str().unwrap())));
    assert!(got.iter().all(|got| got.event["api_version"] == "2024-09-30.acacia"));
    let charges = of("charge.succeeded");
    assert!(charges.iter().all(|charge| charge.get("invoice").is_some()));
    let invoices = of("invoice.paid");
    let paid = invoices.iter().find(|invoice| invoice["amount_paid"] != 0).unwrap();
    assert!(charges.iter().any(|charge| charge["invoice"] == paid["id"] && charge["id"] == paid["charge"]));
    assert_eq!((&paid["paid"], paid.get("parent")), (&json!(true), None));
    assert!(paid["subscription"].as_str().unwrap().starts_with("sub_"));
    assert_eq!(paid["lines"]["data"][0]["price"]["product"], "prod_support");
    let subscriptions = of("customer.subscription.created");
    assert!(
        subscriptions[0]["current_period_end"].as_u64() > subscriptions[0]["current_period_start"].as_u64()
    );
    // What happens now is told, too: with the key of who made it happen.
    let before = got.len();
    stripe.call("POST", "/v1/customers", &[form[0], ("idempotency-key", "portolan-7")], "name=Grace").await;
    let told = shop.wait_for(before + 1).await.pop().unwrap();
    assert_eq!(
        (&told.event["type"], &told.event["request"]["idempotency_key"]),
        (&json!("customer.created"), &json!("portolan-7"))
    );
}

#[tokio::test]
async fn thin_webhooks_hold_no_data() {
    let stripe = World::start(System::Stripe).await;
    let shop = Shop::open(|_, _| 200).await;
    send(&stripe, json!({"charges": 5, "thin": true, "enabled_events": ["charge.succeeded"]}), &shop).await;
    for got in shop.got() {
        assert_eq!((&got.event["object"], got.event.get("data")), (&json!("v2.core.event"), None));
        let id = got.event["id"].as_str().unwrap();
        let version = [("stripe-version", "2026-07-29.dahlia")];
        assert_eq!(
            stripe.call("GET", &format!("/v2/core/events/{id}"), &version, "").await.json(),
            got.event
        );
    }
    assert!(!shop.got().is_empty());
}

#[tokio::test]
async fn a_month_that_cannot_be_sent_is_refused() {
    let stripe = World::start(System::Stripe).await;
    for wrong in [
        json!({"charges": 1, "send": true}),
        json!({"charges": 1_000_000}),
        json!({"url": "https://example.com/", "secret": "x"}),
        json!({"url": "http://127.0.0.1:1/"}),
        json!({"drop_per_mille": 1_001}),
        json!({"colour": "red"}),
    ] {
        assert_eq!(stripe.post("/_simulator/month", &wrong).await.status, 400, "{wrong}");
    }
    let sage = World::start(System::SagePro).await;
    assert_eq!(sage.post("/_simulator/month", &json!({})).await.status, 404);
}

#[tokio::test]
async fn one_month_is_sent_at_a_time_at_the_pace_that_was_asked_for() {
    let stripe = World::start(System::Stripe).await;
    let shop = Shop::open(|_, _| 200).await;
    let asked = json!({"seed": 1, "charges": 1, "send": true, "url": shop.url, "secret": SECRET, "per_second": 100, "concurrency": 2,
                       "enabled_events": ["invoice.paid", "invoice.finalized"]});
    assert_eq!(stripe.post("/_simulator/month", &asked).await.status, 200);
    assert_eq!(stripe.post("/_simulator/month", &asked).await.status, 409);
    let report = done(&stripe).await;
    assert_eq!(report["acknowledged"], report["planned"]);
    assert_eq!(stripe.post("/_simulator/month", &asked).await.status, 200);
}
