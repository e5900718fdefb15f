//! Forged requests: none is believed, and none is told more than any other. The long form is `cargo xtask door`.

use portolan::stage::{Client, SIGNING_SECRET, System, sign};
use portolan_tests::{World, forgeries::forgeries};
use reqwest::Method;
use serde_json::{Value, json};

#[test]
fn no_forgery_is_believed() {
    let tally = forgeries(10_000, 42);
    assert!(tally.forged >= 10_000);
    assert_eq!(tally.believed, Vec::<String>::new());
}

/// What a stranger is answered, whoever is asked and whether there is anybody.
#[tokio::test]
async fn a_stranger_learns_nothing_of_a_source_not_even_whether_there_is_one() {
    let world = World::of(System::SagePro).await;
    let mut doors = vec![world.tenant.hook.clone()];
    for (system, secret) in [
        ("epicor", "a-key-of-the-directive"),
        ("sap-ecc", "SAPHTTP:a-long-password"),
        ("sage-pro", "a-key-of-the-gateway"),
    ] {
        let new = json!({"name": system, "system": system, "secrets": [secret]});
        let made = world.tenant.client.post("/api/v1/environments/sandbox/sources", &new).await.unwrap();
        doors.push(made["path"].as_str().unwrap().to_owned());
    }
    let bearer = json!({"name": "bearer", "system": "epicor", "settings": {"auth": "bearer"}, "secrets": ["a-token-of-the-directive"]});
    let made = world.tenant.client.post("/api/v1/environments/sandbox/sources", &bearer).await.unwrap();
    doors.push(made["path"].as_str().unwrap().to_owned());
    let nobody = ["/hooks/src_01JDXXXXXXXXXXXXXXXXXXXXXX", "/hooks/nobody", "/hooks/src_1", "/hooks/%00"];
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let body = b"{\"id\":\"evt_1\"}";
    let forged = sign("whsec_of_somebody_else_00000", now, body);
    let requests: Vec<Vec<(&str, String)>> = vec![
        vec![],
        vec![("stripe-signature", forged.clone())],
        vec![("x-signature", forged.clone())],
        vec![("stripe-signature", "nonsense".to_owned())],
        vec![("x-signature", format!("t={now}"))],
        vec![("authorization", "Bearer nobody".to_owned())],
        vec![("authorization", "Basic bm9ib2R5Og==".to_owned())],
        vec![("authorization", "Bearer nobody".to_owned()), ("x-signature", forged.clone())],
        vec![("stripe-signature", forged.clone()), ("x-signature", forged)],
    ];
    let stranger = Client::new(world.host.operator.base(), None).unwrap();
    for headers in requests {
        let mut answers: Vec<(u16, Value)> = Vec::new();
        for door in doors.iter().map(String::as_str).chain(nobody) {
            let sent = Some(("application/json", body.to_vec()));
            let (status, answer) = stranger.exchange(Method::POST, door, sent, &headers).await.unwrap();
            assert!(status.is_client_error(), "{door}: {status}");
            answers.push((status.as_u16(), answer));
        }
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{headers:?}: {answers:?}");
    }
    assert_eq!(world.tenant.get("/events").await.unwrap()["items"], json!([]));
}

/// A replay of what was genuine is the same event: the same answer, and no effect.
#[tokio::test]
async fn a_replay_is_the_same_event_and_a_rolled_secret_ends_by_itself() {
    let world = World::of(System::SagePro).await;
    let body = br#"{"id":"evt_replay","object":"event","type":"plan.created","livemode":false}"#;
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let post = async |header: String| {
        let sent = Some(("application/json", body.to_vec()));
        world
            .tenant
            .client
            .exchange(Method::POST, &world.tenant.hook, sent, &[("stripe-signature", header)])
            .await
            .unwrap()
    };
    let header = sign(SIGNING_SECRET, now, body);
    let (_, first) = post(header.clone()).await;
    for _ in 0..50 {
        let (status, again) = post(header.clone()).await;
        assert_eq!(
            (status.as_u16(), &again["event"], &again["repeat"]),
            (200, &first["event"], &json!(true))
        );
    }
    assert_eq!(world.tenant.get("/events").await.unwrap()["items"].as_array().unwrap().len(), 1);
    // Both secrets while they overlap; the old one no longer when its time has come.
    let source = world.tenant.hook.trim_start_matches("/hooks/");
    let path = format!("/api/v1/environments/sandbox/sources/{source}/rotate");
    let new = "whsec_the_new_one_0123456789";
    let rolled = world.tenant.client.post(&path, &json!({"secret": new, "overlap_s": 3_600})).await.unwrap();
    assert_eq!(rolled["secrets"].as_array().unwrap().len(), 2, "{rolled}");
    assert!(rolled["secrets"][0]["until"].is_null() && rolled["secrets"][1]["until"].is_string(), "{rolled}");
    assert!(!rolled.to_string().contains(new));
    for secret in [SIGNING_SECRET, new] {
        assert_eq!(post(sign(secret, now, body)).await.0.as_u16(), 200);
    }
    let newer = "whsec_the_newest_0123456789";
    let rolled = world.tenant.client.post(&path, &json!({"secret": newer, "overlap_s": 0})).await.unwrap();
    assert_eq!(rolled["secrets"].as_array().unwrap().len(), 1, "{rolled}");
    assert_eq!(post(sign(newer, now, body)).await.0.as_u16(), 200);
    for secret in [SIGNING_SECRET, new] {
        assert_eq!(post(sign(secret, now, body)).await.0.as_u16(), 400, "its time has ended");
    }
    let wrong = world.tenant.client.post(&path, &json!({"secret": "short"})).await.unwrap_err();
    assert!(wrong.to_string().contains("16 characters"), "{wrong}");
}
