//! Stripe: thin events, searches, and the sweep of the list of events.

use std::sync::{Arc, Mutex};

use portolan_connectors::{Connection, Found};
use serde_json::{Value, json};

use super::{
    code, connect, context, found,
    server::{Server, answer, json},
};

fn stripe(server: &Server) -> Arc<dyn Connection> {
    connect("stripe", json!({"base_url": server.url, "account": "acct_1"}), &[("api_key", "rk_test_1")])
}

fn missing() -> Value {
    json!({"error": {"type": "invalid_request_error", "code": "resource_missing", "message": "No such event"}})
}

#[tokio::test]
async fn a_thin_event_is_fetched_where_v2_keeps_it() {
    let thin = json!({"id": "evt_2", "object": "v2.core.event", "type": "v1.billing.meter.no_meter_found"});
    let not_found = json!({"error": {"code": "not_found", "message": "x"}});
    let server = Server::playing(vec![
        json(404, &missing()),
        json(200, &thin),
        json(404, &missing()),
        json(404, &not_found),
        json(200, &json!({"id": "mtr_1"})),
    ])
    .await;
    let stripe = stripe(&server);
    let ask = || async { stripe.read("event.get", &json!({"id": "evt_2"}), &context()).await };
    assert_eq!(found(ask().await), thin);
    assert_eq!(ask().await.unwrap(), Found::No);
    let of = json!({"url": "/v1/billing/meters/mtr_1"});
    assert_eq!(found(stripe.read("object.get", &of, &context()).await)["id"], "mtr_1");
    let lines = server.lines();
    assert_eq!(lines[..2], ["GET /v1/events/evt_2", "GET /v2/core/events/evt_2"]);
    assert_eq!(lines[4], "GET /v1/billing/meters/mtr_1");
    let v2 = &server.seen()[1];
    assert_eq!((v2.header("stripe-context"), v2.header("stripe-account")), ("acct_1", ""));
    assert_eq!(v2.header("stripe-version"), "2026-07-29.dahlia");
}

#[tokio::test]
async fn a_related_object_cannot_lead_elsewhere() {
    let server = Server::playing(Vec::new()).await;
    let stripe = stripe(&server);
    for url in [
        "https://evil.example/v1/charges/ch_1",
        "//evil.example/v1/charges",
        "/v1/../admin",
        "/v1/charges/ch_1?expand[]=x",
        "/v1/charges//x",
        "/v3/charges/ch_1",
        "/v1",
        "/v1/",
        "/v1/charges/%2e%2e",
        "/v1/charges\\x",
        "v1/charges",
    ] {
        let read = stripe.read("object.get", &json!({"url": url}), &context()).await;
        assert_eq!(code(read), "invalid-parameters", "{url}");
    }
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_search_by_metadata_quotes_and_pages() {
    let page = |id: &str, next: Option<&str>| json!({"object": "search_result", "has_more": next.is_some(), "next_page": next, "data": [{"id": id}]});
    let server =
        Server::playing(vec![json(200, &page("cus_1", Some("p2"))), json(200, &page("cus_2", None))]).await;
    let read = stripe(&server)
        .read("customers.by-metadata", &json!({"key": "erp_id", "value": "a\"b\\c"}), &context())
        .await;
    let expected = json!({"object": "search_result", "has_more": false, "next_page": null, "data": [{"id": "cus_1"}, {"id": "cus_2"}]});
    assert_eq!(found(read), expected);
    let target = url::Url::parse(&format!("http://x{}", server.seen()[1].target)).unwrap();
    let pairs: Vec<(String, String)> = target.query_pairs().into_owned().collect();
    let expected = [("query", r#"metadata["erp_id"]:"a\"b\\c""#), ("limit", "100"), ("page", "p2")];
    assert_eq!(pairs, expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
}

#[tokio::test]
async fn lists_by_one_id_are_joined() {
    let one = json!({"object": "list", "has_more": false, "data": []});
    let server = Server::start(move |_, _| json(200, &one)).await;
    let stripe = stripe(&server);
    for (operation, parameters, target) in [
        (
            "balance-transactions.by-source",
            json!({"source": "ch_1"}),
            "/v1/balance_transactions?source=ch_1&limit=100",
        ),
        (
            "charges.by-payment-intent",
            json!({"payment_intent": "pi_1"}),
            "/v1/charges?payment_intent=pi_1&limit=100",
        ),
        (
            "subscriptions.by-customer",
            json!({"customer": "cus_1"}),
            "/v1/subscriptions?customer=cus_1&status=all&limit=100",
        ),
        (
            "customers.by-email",
            json!({"email": "a+b@example.com"}),
            "/v1/customers?email=a%2Bb%40example.com&limit=100",
        ),
    ] {
        found(stripe.read(operation, &parameters, &context()).await);
        assert_eq!(server.seen().pop().unwrap().target, target);
    }
}

#[tokio::test]
async fn objects_bring_all_their_lines() {
    let page = |ids: &[&str], more| json!({"object": "list", "has_more": more, "data": ids.iter().map(|id| json!({"id": id})).collect::<Vec<_>>()});
    let server = Server::playing(vec![
        json(200, &json!({"id": "cn_1", "lines": page(&["cnli_1"], true)})),
        json(200, &page(&["cnli_2"], false)),
        json(200, &json!({"id": "sub_1", "items": page(&["si_1"], true)})),
        json(200, &page(&["si_2"], false)),
    ])
    .await;
    let stripe = stripe(&server);
    let note = found(stripe.read("credit-note.get", &json!({"id": "cn_1"}), &context()).await);
    assert_eq!(note["lines"], page(&["cnli_1", "cnli_2"], false));
    let subscription = found(stripe.read("subscription.get", &json!({"id": "sub_1"}), &context()).await);
    assert_eq!(subscription["items"], page(&["si_1", "si_2"], false));
    assert_eq!(
        server.lines(),
        [
            "GET /v1/credit_notes/cn_1",
            "GET /v1/credit_notes/cn_1/lines?limit=100&starting_after=cnli_1",
            "GET /v1/subscriptions/sub_1",
            "GET /v1/subscription_items?subscription=sub_1&limit=100&starting_after=si_1",
        ]
    );
}

/// A list of events as Stripe keeps it: newest first, with the filters that the sweep uses.
#[derive(Clone, Default)]
struct Account(Arc<Mutex<Vec<(String, u64)>>>);

impl Account {
    fn add(&self, id: &str, created: u64) {
        let mut events = self.0.lock().unwrap();
        events.insert(0, (id.to_owned(), created));
        events.sort_by_key(|(_, created)| std::cmp::Reverse(*created));
    }

    fn answer(&self, target: &str) -> super::server::Act {
        let url = url::Url::parse(&format!("http://x{target}")).unwrap();
        let value = |name: &str| url.query_pairs().find(|(n, _)| n == name).map(|(_, v)| v.into_owned());
        let number = |name: &str| value(name).map(|text| text.parse::<u64>().unwrap());
        let events = self.0.lock().unwrap();
        let (from, until) = (number("created[gte]").unwrap(), number("created[lte]").unwrap_or(u64::MAX));
        let mut rows: Vec<_> = events.iter().filter(|(_, at)| (from..=until).contains(at)).collect();
        if let Some(after) = value("starting_after") {
            let Some(at) = events.iter().position(|(id, _)| *id == after) else {
                return json(400, &missing());
            };
            let older: Vec<_> = events[at + 1..].iter().map(|(id, _)| id.clone()).collect();
            rows.retain(|(id, _)| older.contains(id));
        }
        let limit = usize::try_from(number("limit").unwrap()).unwrap();
        let data: Vec<Value> = rows
            .iter()
            .take(limit)
            .map(|(id, at)| json!({"id": id, "object": "event", "type": "charge.succeeded", "created": at}))
            .collect();
        json(200, &json!({"object": "list", "has_more": rows.len() > limit, "data": data}))
    }

    async fn serve(&self) -> Server {
        let account = self.clone();
        Server::start(move |_, seen| account.answer(&seen.target)).await
    }
}

const NOW: u64 = 1_614_265_330;

async fn poll(stripe: &Arc<dyn Connection>, cursor: &Value, limit: u64) -> (Vec<String>, Value, bool) {
    let answer =
        found(stripe.read("events.changed", &json!({"cursor": cursor, "limit": limit}), &context()).await);
    let ids = answer["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned());
    (ids.collect(), answer["cursor"].clone(), answer["more"].as_bool().unwrap())
}

/// Polls until the pass is over; `between` is what happens between two calls.
async fn pass(
    stripe: &Arc<dyn Connection>,
    mut cursor: Value,
    mut between: impl FnMut(),
) -> (Vec<String>, Value) {
    let mut seen = Vec::new();
    loop {
        let (ids, next, more) = poll(stripe, &cursor, 2).await;
        seen.extend(ids);
        cursor = next;
        if !more {
            return (seen, cursor);
        }
        between();
    }
}

#[tokio::test]
async fn what_comes_in_during_a_pass_is_found_by_the_next() {
    let account = Account::default();
    for at in 0..7_u64 {
        account.add(&format!("evt_{at}"), NOW - 20_000 + at * 1_000);
    }
    let server = account.serve().await;
    let stripe = stripe(&server);
    let mut fresh = 0;
    let (first, cursor) = pass(&stripe, Value::Null, || {
        // One newer than everything, and one whose time is older than what was seen already.
        account.add(&format!("evt_new_{fresh}"), NOW + fresh);
        account.add(&format!("evt_late_{fresh}"), NOW - 13_900 - fresh);
        fresh += 1;
    })
    .await;
    let (second, cursor) = pass(&stripe, cursor, || {}).await;
    for at in 0..7 {
        assert!(first.contains(&format!("evt_{at}")), "{first:?}");
    }
    for at in 0..fresh {
        for id in [format!("evt_new_{at}"), format!("evt_late_{at}")] {
            assert!(first.contains(&id) || second.contains(&id), "{id}: {first:?} {second:?}");
        }
    }
    // A quiet account is looked at one hour back only.
    let (third, _) = pass(&stripe, cursor, || {}).await;
    assert!(third.len() <= usize::try_from(fresh).unwrap() + 1, "{third:?}");
}

#[tokio::test]
async fn the_walk_begins_thirty_days_back_and_goes_on_when_its_place_is_no_longer_kept() {
    let account = Account::default();
    for at in 0..6_u64 {
        account.add(&format!("evt_{at}"), NOW - 29 * 86_400 + at);
    }
    account.add("evt_too_old", NOW - 31 * 86_400);
    let server = account.serve().await;
    let stripe = stripe(&server);
    let (first, cursor, more) = poll(&stripe, &Value::Null, 2).await;
    assert_eq!((first, more), (vec!["evt_5".to_owned(), "evt_4".to_owned()], true));
    account.0.lock().unwrap().retain(|(id, _)| id != "evt_4");
    let (rest, _) = pass(&stripe, cursor, || {}).await;
    assert_eq!(rest, ["evt_3", "evt_2", "evt_1", "evt_0"]);
    assert!(server.lines()[0].contains(&format!("created%5Bgte%5D={}", NOW - 30 * 86_400)));
}

#[tokio::test]
async fn an_item_is_the_event_and_only_wanted_types_are_handed_on() {
    let event = json!({"id": "evt_1", "object": "event", "type": "charge.succeeded", "created": 1_614_000_000, "data": {"object": {"amount": 4_998}}});
    let list = json!({"object": "list", "has_more": false, "data": [event, {"id": "evt_0", "type": "plan.created", "created": 1_613_999_999}]});
    let server = Server::start(move |_, _| json(200, &list)).await;
    let stripe = stripe(&server);
    let ask = |types: Value| {
        let stripe = &stripe;
        async move {
            found(
                stripe
                    .read(
                        "events.changed",
                        &json!({"cursor": null, "limit": 500, "types": types}),
                        &context(),
                    )
                    .await,
            )
        }
    };
    let answer = ask(json!(["charge.succeeded", "charge.failed"])).await;
    let item = json!({"id": "evt_1", "kind": "charge.succeeded", "version": "1", "occurred_at_ms": 1_614_000_000_000_u64, "payload": event});
    assert_eq!(answer, json!({"items": [item], "more": false, "cursor": {"newest": 1_614_000_000}}));
    assert!(server.lines()[0].ends_with("&types%5B%5D=charge.succeeded&types%5B%5D=charge.failed&limit=100"));
    // More types than Stripe filters by are sorted out here.
    let many: Vec<String> =
        (0..30).map(|at| format!("x.{at}")).chain(["charge.succeeded".to_owned()]).collect();
    assert_eq!(ask(json!(many)).await["items"].as_array().unwrap().len(), 1);
    assert!(!server.lines()[1].contains("types"));
    assert_eq!(ask(json!(["*"])).await["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_page_of_large_events_is_asked_for_in_parts() {
    let server = Server::start(|_, seen| {
        if seen.target.ends_with("limit=1") {
            return json(200, &json!({"object": "list", "has_more": true, "data": [{"id": "evt_9", "created": 9, "type": "x"}]}));
        }
        answer(200, "application/json", vec![b' '; 100_000])
    })
    .await;
    let (ids, cursor, more) = poll(&stripe(&server), &Value::Null, 100).await;
    assert_eq!((ids, more), (vec!["evt_9".to_owned()], true));
    assert_eq!(cursor["pass"]["after"], "evt_9");
}

#[tokio::test]
async fn a_cursor_that_is_not_ours_is_refused() {
    let server = Server::playing(Vec::new()).await;
    let stripe = stripe(&server);
    for wrong in [
        json!({"cursor": "x"}),
        json!({"cursor": {"page": 1}}),
        json!({"cursor": {"pass": {"from": 1, "after": "../x", "created": 1}}}),
        json!({"cursor": null, "limit": 0}),
        json!({"types": "x"}),
    ] {
        assert_eq!(
            code(stripe.read("events.changed", &wrong, &context()).await),
            "invalid-parameters",
            "{wrong}"
        );
    }
    assert!(server.seen().is_empty());
}
