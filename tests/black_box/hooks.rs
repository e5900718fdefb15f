//! What senders are answered, and that bad input loses nothing.

use portolan::stage::{SIGNING_SECRET, System, sign, signed_headers};
use portolan_tests::{World, accept, end_of};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

async fn post(world: &World, path: &str, body: &[u8], headers: &[(&str, String)]) -> (StatusCode, Value) {
    let body = Some(("application/json", body.to_vec()));
    world.tenant.client.exchange(Method::POST, path, body, headers).await.unwrap()
}

fn now_s() -> u64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

#[tokio::test]
async fn what_is_not_signed_with_the_sources_secret_is_refused_and_alerts() {
    let world = World::of(System::SagePro).await;
    let told = world.story("refused").await.remove(0);
    let body = told.event.as_bytes();
    let hook = &world.tenant.hook;
    let good = sign(SIGNING_SECRET, now_s(), body);
    let stale = sign(SIGNING_SECRET, now_s() - 301, body);
    let early = sign(SIGNING_SECRET, now_s() + 400, body);
    let cases = [
        (Some("nonsense".to_owned()), "signature-unreadable"),
        (Some(format!("t={}", now_s())), "signature-scheme-missing"),
        (Some(sign("whsec_somebody_else_0000", now_s(), body)), "signature-mismatch"),
        (Some(good.replace("v1=", "v0=")), "signature-scheme-missing"),
        (Some(stale), "signature-outside-tolerance"),
        (Some(early), "signature-outside-tolerance"),
    ];
    for (header, code) in cases {
        let headers: Vec<_> = header.into_iter().map(|header| ("stripe-signature", header)).collect();
        let (status, answer) = post(&world, hook, body, &headers).await;
        assert_eq!((status, &answer["code"]), (StatusCode::BAD_REQUEST, &json!(code)));
    }
    let tampered = told.event.replacen("charge", "charqe", 1);
    let (status, _) = post(&world, hook, tampered.as_bytes(), &[("stripe-signature", good)]).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(world.tenant.get("/events").await.unwrap()["items"], json!([]), "nothing is stored");
    let alerts = world.tenant.get("/alerts?open=true").await.unwrap();
    assert!(!alerts["items"].as_array().unwrap().is_empty(), "an alert is open");
    // The operator sees the same, and whose they are.
    let everywhere = world.host.operator.get("/api/v1/alerts?acknowledged=false").await.unwrap();
    let place = json!({ "tenant": world.tenant.id, "environment": "sandbox" });
    let expected = alerts["items"].as_array().unwrap().iter().map(|alert| merged(&place, alert));
    assert_eq!(everywhere["items"], expected.collect::<Value>());
    let metrics = world.host.operator.get("/metrics").await.unwrap();
    let count =
        format!("portolan_alerts{{severity=\"warning\"}} {}", alerts["items"].as_array().unwrap().len());
    assert!(metrics.as_str().unwrap().contains(&count), "{count} in {metrics}");
}

fn merged(one: &Value, other: &Value) -> Value {
    let fields = [one, other].into_iter().flat_map(|value| value.as_object().unwrap().clone());
    Value::Object(fields.collect())
}

#[tokio::test]
async fn an_address_or_a_body_that_cannot_be_is_answered_so() {
    let world = World::of(System::SagePro).await;
    let headers = signed_headers(SIGNING_SECRET, b"{}");
    // As from a source that does not believe: nobody learns which addresses there are.
    for path in ["/hooks/src_01JDXXXXXXXXXXXXXXXXXXXXXX", "/hooks/nobody", "/hooks/src_1"] {
        let (status, answer) = post(&world, path, b"{}", &headers).await;
        assert_eq!((status, &answer["code"]), (StatusCode::BAD_REQUEST, &json!("signature-mismatch")));
    }
    let large = vec![b' '; (1 << 20) + 1];
    let headers = signed_headers(SIGNING_SECRET, &large);
    let (status, answer) = post(&world, &world.tenant.hook, &large, &headers).await;
    assert_eq!((status, &answer["code"]), (StatusCode::PAYLOAD_TOO_LARGE, &json!("body-too-large")));
    let mut headers = signed_headers(SIGNING_SECRET, b"{}");
    headers.push(("content-encoding", "gzip".to_owned()));
    let (status, _) = post(&world, &world.tenant.hook, b"{}", &headers).await;
    assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn what_is_signed_and_unusable_is_stored_dead_with_the_reason() {
    let world = World::of(System::SagePro).await;
    let live = r#"{"id":"evt_live","object":"event","type":"charge.succeeded","livemode":true,"data":{"object":{"id":"ch_1"}}}"#;
    for body in [&b"{\"id\":"[..], b"\xff\xfe", b"[]", live.as_bytes()] {
        let event = accept(&world.tenant, body).await;
        let story = end_of(&world.tenant, &event).await;
        assert_eq!(story["standing"], "dead");
        assert!(!story["reason"].as_str().unwrap().is_empty());
        // The same bytes again are the same event.
        assert_eq!(accept(&world.tenant, body).await, event);
    }
}

#[tokio::test]
async fn an_event_that_no_mapping_serves_is_kept_and_visible() {
    let world = World::of(System::SagePro).await;
    let body = br#"{"id":"evt_u","object":"event","type":"plan.created","livemode":false,"data":{"object":{"id":"plan_1"}}}"#;
    let event = accept(&world.tenant, body).await;
    assert_eq!(end_of(&world.tenant, &event).await["standing"], "unrouted");
    let listed = world.tenant.get("/events?state=unrouted").await.unwrap();
    assert_eq!(listed["items"][0]["id"], json!(event));
}

#[tokio::test]
async fn a_repeat_gets_the_first_id_and_changes_nothing() {
    let world = World::of(System::SagePro).await;
    let told = world.story("repeat").await.remove(0);
    let first = world.accept(&told).await;
    world.end_of(&first).await;
    for _ in 0..5 {
        assert_eq!(world.accept(&told).await, first);
    }
    assert_eq!(world.tenant.get("/events").await.unwrap()["items"].as_array().unwrap().len(), 1);
    world.assert_posted_once(1).await;
}

#[tokio::test]
async fn both_secrets_are_accepted_while_one_is_rolled() {
    let world = World::of(System::SagePro).await;
    let story = world.story("rolled").await;
    let source = world.tenant.hook.trim_start_matches("/hooks/");
    let path = format!("/api/v1/environments/sandbox/sources/{source}");
    let new = "whsec_the_new_one_0123456789";
    let both = json!({ "settings": {}, "secrets": [SIGNING_SECRET, new] });
    world.tenant.client.put(&path, &both).await.unwrap();
    for (told, secret) in story.iter().zip([SIGNING_SECRET, new]) {
        let headers = signed_headers(secret, told.event.as_bytes());
        let (status, _) = post(&world, &world.tenant.hook, told.event.as_bytes(), &headers).await;
        assert_eq!(status, StatusCode::OK);
    }
    let only_new = json!({ "settings": {}, "secrets": [new] });
    world.tenant.client.put(&path, &only_new).await.unwrap();
    let headers = signed_headers(SIGNING_SECRET, story[2].event.as_bytes());
    let (status, _) = post(&world, &world.tenant.hook, story[2].event.as_bytes(), &headers).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_flood_is_told_to_come_again_and_loses_nothing_of_what_comes() {
    let settings =
        [("PORTOLAN_PIPELINE__EVENTS_PER_TENANT_MAX", "1"), ("PORTOLAN_PIPELINE__HOOKS_PER_TENANT_MAX", "2")];
    let world = World::with(System::SagePro, None, &settings).await;
    let body = |number: usize| {
        json!({ "id": format!("evt_flood{number}"), "object": "event", "type": "flood.came", "livemode": false,
                "data": { "object": { "id": format!("obj_{number}") } } })
        .to_string()
    };
    let mut senders = tokio::task::JoinSet::new();
    for number in 0..80 {
        let (tenant, body) = (world.tenant.clone(), body(number));
        senders.spawn(async move { (number, tenant.webhook(body.as_bytes()).await.unwrap()) });
    }
    let mut turned_away = Vec::new();
    while let Some(sent) = senders.join_next().await {
        let (number, (status, answer)) = sent.unwrap();
        if status != 200 {
            assert_eq!((status.as_u16(), &answer["code"]), (429, &json!("too-many-events")), "{answer}");
            turned_away.push(number);
        }
    }
    assert!(!turned_away.is_empty(), "80 at once, and two may wait");
    for number in turned_away {
        let (status, answer) = world.tenant.webhook(body(number).as_bytes()).await.unwrap();
        assert_eq!((status.as_u16(), &answer["repeat"]), (200, &json!(false)), "it was not stored before");
    }
}
