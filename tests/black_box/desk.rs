//! Systems that are down or refuse us, and the desk where people put things right.

use std::time::Duration;

use portolan::stage::{Client, Refused, System};
use portolan_tests::{World, told_of, until};
use reqwest::Method;
use serde_json::{Value, json};

const SANDBOX: &str = "/api/v1/environments/sandbox";

/// The connection to the ERP.
async fn erp(world: &World) -> Value {
    world.tenant.get(&path_of_erp(world, "")).await.unwrap()
}

fn path_of_erp(world: &World, action: &str) -> String {
    format!("/connections/{}{action}", world.tenant.connections["erp"].as_str().unwrap())
}

async fn deliveries(world: &World, state: &str) -> Vec<Value> {
    let listed = world.tenant.get(&format!("/deliveries?state={state}&limit=500")).await.unwrap();
    listed["items"].as_array().unwrap().clone()
}

/// Attempts that were begun, over all deliveries that are not final.
async fn attempts(world: &World) -> u64 {
    let mut attempts = 0;
    for state in ["pending", "leased", "in-doubt", "dead"] {
        attempts +=
            deliveries(world, state).await.iter().map(|row| row["attempts"].as_u64().unwrap()).sum::<u64>();
    }
    attempts
}

/// Whether such an alert is open.
async fn has_alert(world: &World, code: &str) -> bool {
    let alerts = world.tenant.get("/alerts").await.unwrap();
    alerts["items"]
        .as_array()
        .unwrap()
        .iter()
        .any(|alert| alert["code"] == code && alert["state"] != "resolved")
}

/// Another administrator's key.
async fn second_key(world: &World) -> Client {
    let keys = format!("/api/v1/tenants/{}/keys", world.tenant.id);
    let body = json!({ "name": "second", "role": "tenant-admin" });
    let made = world.host.operator.post(&keys, &body).await.unwrap();
    world.host.operator.with_key(made["secret"].as_str().unwrap())
}

async fn status(client: &Client, path: &str, body: &Value) -> u16 {
    match client.send(Method::POST, &format!("{SANDBOX}{path}"), Some(body)).await {
        Ok(_) => 200,
        Err(error) => error.downcast_ref::<Refused>().expect("an answer").status.as_u16(),
    }
}

#[tokio::test]
async fn an_outage_is_met_by_probes_and_uses_up_no_attempt() {
    // One attempt more than none: a single counted failure would make a dead letter.
    let settings = [("PORTOLAN_PIPELINE__DELIVERY_ATTEMPTS_MAX", "2")];
    let mut world = World::with(System::SagePro, None, &settings).await;
    let story = world.story("outage").await;
    // The first is delivered, so that the facts that the others need are not what fails.
    let first = world.accept(&story[0]).await;
    assert_eq!(world.end_of(&first).await["standing"], "delivered");
    let pause = path_of_erp(&world, "/pause");
    world.tenant.post(&pause, &json!({ "why": "so that all are planned first" })).await.unwrap();
    let mut events = Vec::new();
    for told in &story[1..] {
        events.push(world.accept(told).await);
    }
    until("every plan", async || (deliveries(&world, "pending").await.len() >= events.len()).then_some(()))
        .await;
    assert_eq!(attempts(&world).await, 0, "nothing is sent through a paused connection");
    world.erp.kill().await.unwrap();
    world.tenant.post(&path_of_erp(&world, "/resume"), &json!({ "why": "go" })).await.unwrap();

    until("the breaker", async || (erp(&world).await["breaker"] != "closed").then_some(())).await;
    // It is stored a moment after the breaker opened.
    until("its alert", async || has_alert(&world, "connection-down").await.then_some(())).await;
    let (before, began) = (attempts(&world).await, tokio::time::Instant::now());
    tokio::time::sleep(Duration::from_secs(4)).await;
    let probes = attempts(&world).await - before;
    let seconds = began.elapsed().as_secs() + 1;
    assert!(probes <= seconds, "{probes} probes in {seconds} seconds");
    assert!(deliveries(&world, "dead").await.is_empty(), "an outage is nobody's fault");

    world.erp.start_again().await.unwrap();
    for event in &events {
        let story = world.end_of(event).await;
        assert_eq!(story["standing"], "delivered", "{}", told_of(&story));
    }
    world.assert_posted_once(story.len()).await;
    assert_eq!(erp(&world).await["breaker"], "closed");
    until("the alert's end", async || (!has_alert(&world, "connection-down").await).then_some(())).await;
}

#[tokio::test]
async fn refused_credentials_pause_the_connection_with_one_alert() {
    let mut world = World::of(System::SagePro).await;
    let story = world.story("refused").await;
    let fault = json!({ "operation": "POST /Invoice", "fault": "unauthorized", "times": 1_000 });
    world.erp.fault(&fault).await.unwrap();
    let mut events = Vec::new();
    for told in &story {
        events.push(world.accept(told).await);
    }
    until("the pause", async || (!erp(&world).await["paused"].is_null()).then_some(())).await;
    assert_eq!(erp(&world).await["paused"]["by"], "host");
    until("what was under way", async || deliveries(&world, "leased").await.is_empty().then_some(())).await;
    let begun = attempts(&world).await;
    world.host.kill().await.unwrap();
    world.host.start_again().await.unwrap();
    // Planned, or waiting for a fact that only the same system knows.
    until("every plan", async || {
        let planned = world.tenant.get("/runs?state=planned&limit=500").await.ok()?;
        let pending = world.tenant.get("/runs?state=pending&limit=500").await.ok()?;
        let waits = |run: &&Value| run["reason"]["code"] == "credentials-refused";
        let waiting = pending["items"].as_array()?.iter().filter(waits).count();
        (planned["items"].as_array()?.len() + waiting == events.len()).then_some(())
    })
    .await;
    assert_eq!(attempts(&world).await, begun, "a pause survives the host");
    let alerts = world.tenant.get("/alerts").await.unwrap();
    let refused = alerts["items"].as_array().unwrap().iter();
    let refused: Vec<_> = refused.filter(|alert| alert["code"] == "credentials-refused").collect();
    assert_eq!(refused.len(), 1, "{alerts}");
    assert_eq!(refused[0]["severity"], "critical");

    // The secrets are changed, and the system takes them.
    let waiting = world.erp.faults().await.unwrap();
    assert!(!waiting["waiting"].as_array().unwrap().is_empty());
    world.erp.clear_faults().await.unwrap();
    world
        .tenant
        .post(&path_of_erp(&world, "/resume"), &json!({ "why": "the key was renewed" }))
        .await
        .unwrap();
    for event in &events {
        let story = world.end_of(event).await;
        assert_eq!(story["standing"], "delivered", "{}", told_of(&story));
    }
    world.assert_posted_once(story.len()).await;
    assert!(!has_alert(&world, "credentials-refused").await);
}

#[tokio::test]
async fn refused_credentials_pause_a_connection_that_is_only_asked_for_facts_and_the_runs_wait() {
    let world = World::of(System::SagePro).await;
    let fault = json!({ "operation": "*", "fault": "unauthorized", "times": 1_000 });
    world.stripe.fault(&fault).await.unwrap();
    let story = world.story("facts refused").await;
    let mut events = Vec::new();
    for told in &story {
        events.push(world.accept(told).await);
    }
    let stripe = format!("/connections/{}", world.tenant.connections["stripe"].as_str().unwrap());
    let paused = async || world.tenant.get(&stripe).await.unwrap()["paused"].clone();
    until("the pause", async || (!paused().await.is_null()).then_some(())).await;
    assert_eq!(paused().await["by"], "host");
    until("waiting runs", async || {
        let runs = world.tenant.get("/runs?state=pending&limit=500").await.ok()?;
        let waits = |run: &Value| run["reason"]["code"] == "credentials-refused";
        (runs["items"].as_array()?.iter().filter(|run| waits(run)).count() == events.len()).then_some(())
    })
    .await;
    let calls = async || world.stripe.faults().await.unwrap()["waiting"].clone();
    let before = calls().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(calls().await, before, "who refuses us is not asked again");
    assert!(has_alert(&world, "credentials-refused").await);

    world.stripe.clear_faults().await.unwrap();
    world.tenant.post(&format!("{stripe}/resume"), &json!({ "why": "the key was renewed" })).await.unwrap();
    for event in &events {
        let story = world.end_of(event).await;
        assert_eq!(story["standing"], "delivered", "{}", told_of(&story));
    }
    world.assert_posted_once(story.len()).await;
    assert!(!has_alert(&world, "credentials-refused").await);
}

#[tokio::test]
async fn a_query_that_does_not_read_is_told_as_a_problem() {
    let world = World::of(System::SagePro).await;
    for path in
        ["/events?state=lost", "/deliveries?since=yesterday", "/runs?state=lost", "/runs?state=dead&limit=0"]
    {
        let path = format!("{SANDBOX}{path}");
        let error = world.tenant.client.send(Method::GET, &path, None).await.expect_err(&path);
        let refused = error.downcast_ref::<Refused>().expect("an answer");
        assert_eq!(refused.status.as_u16(), 400, "{path}");
        assert_eq!(refused.body["code"], "invalid-query", "{path}");
    }
}

#[tokio::test]
async fn a_guard_holds_what_exceeds_it_until_a_person_approves() {
    let world = World::of(System::SagePro).await;
    let put = async |guard: &str, value: Value| {
        let mut settings = erp(&world).await["settings"].clone();
        settings[guard] = value;
        let body = json!({ "settings": settings, "secrets": { "api_key": "sage-key" } });
        let path = format!("{SANDBOX}{}", path_of_erp(&world, ""));
        world.tenant.client.send(Method::PUT, &path, Some(&body)).await
    };
    let refused = put("amount_max", json!({ "USD": 10.5 })).await.expect_err("a number");
    let refused = refused.downcast_ref::<Refused>().expect("an answer");
    assert!(refused.body.to_string().contains("amount_max"), "{refused}");
    let cent = json!({ "USD": "0.01", "EUR": "0.01", "GBP": "0.01", "JPY": "0", "KWD": "0.001" });
    put("amount_max", cent).await.unwrap();

    let told = world.story("guarded").await.remove(0);
    let event = world.accept(&told).await;
    let story = world.end_of(&event).await;
    assert_eq!(story["standing"], "held", "{}", told_of(&story));
    assert!(has_alert(&world, "guard").await);
    assert!(world.erp.ledger("invoice").await.unwrap().is_empty());
    let run = story["runs"][0]["id"].as_str().unwrap();
    world.tenant.post(&format!("/holds/{run}/approve"), &json!({ "why": "it is right" })).await.unwrap();
    until("the delivery", async || {
        let story = world.tenant.get(&format!("/events/{event}")).await.ok()?;
        (story["standing"] == "delivered").then_some(())
    })
    .await;
    assert_eq!(world.erp.ledger("invoice").await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_dead_letter_is_corrected_and_both_bodies_are_kept() {
    let world = World::of(System::SagePro).await;
    let told = world.story("corrected").await.remove(0);
    let fault = json!({ "operation": "POST /Invoice", "fault": "business-error", "times": 1 });
    world.erp.fault(&fault).await.unwrap();
    let event = world.accept(&told).await;
    assert_eq!(world.end_of(&event).await["standing"], "dead");
    let dead = deliveries(&world, "dead").await.remove(0);
    let path = format!("/deliveries/{}", dead["id"].as_str().unwrap());
    let assign = json!({ "why": "she knows Sage", "to": "Anna" });
    world.tenant.post(&format!("{path}/assign"), &assign).await.unwrap();
    let found = world.tenant.get("/deliveries?state=dead&assignee=Anna").await.unwrap();
    assert_eq!(found["items"][0]["id"], dead["id"]);
    assert_eq!(
        status(&world.tenant.client, &format!("{path}/correct"), &json!({ "why": "x", "body": [] })).await,
        400
    );

    let mut body = dead["body"].clone();
    body["Reference"] = json!("corrected by hand");
    let correction = json!({ "why": "a better reference", "body": body });
    world.tenant.post(&format!("{path}/correct"), &correction).await.unwrap();
    until("the delivery's end", async || {
        let row = world.tenant.get(&path).await.ok()?;
        (row["state"] != "pending" && row["state"] != "leased").then_some(())
    })
    .await;
    let row = world.tenant.get(&path).await.unwrap();
    assert_eq!((&row["planned_body"], &row["call_id"]), (&dead["body"], &dead["call_id"]));
    assert_eq!(row["body"]["Reference"], "corrected by hand");
    let attempts = row["attempts"].as_array().unwrap();
    assert_ne!(attempts[0]["sent_sha256"], attempts[1]["sent_sha256"]);
    let actions: Vec<_> = row["decisions"].as_array().unwrap().iter().map(|d| d["action"].clone()).collect();
    assert_eq!(actions, ["assign", "correct"]);
}

#[tokio::test]
async fn dead_letters_are_redriven_by_filter() {
    let world = World::of(System::SagePro).await;
    let story = world.story("many").await;
    let fault = json!({ "operation": "POST /Invoice", "fault": "business-error", "times": story.len() });
    world.erp.fault(&fault).await.unwrap();
    let mut events = Vec::new();
    for told in &story {
        events.push(world.accept(told).await);
    }
    for event in &events {
        assert_eq!(world.end_of(event).await["standing"], "dead");
    }
    let none = json!({ "why": "mended", "code": "no-such-problem" });
    let redrive = async |body: &Value| world.tenant.post("/deliveries/redrive", body).await.unwrap();
    assert_eq!(redrive(&none).await["redriven"], 0);
    let mut redriven = 0;
    let mut request = json!({ "why": "mended", "limit": 3, "connection": world.tenant.connections["erp"] });
    loop {
        let answer = redrive(&request).await;
        redriven += answer["redriven"].as_u64().unwrap();
        if answer["more"] == false {
            break;
        }
        request["until"] = answer["until"].clone();
    }
    assert_eq!(redriven, story.len() as u64);
    for event in &events {
        assert_eq!(world.end_of(event).await["standing"], "delivered");
    }
    world.assert_posted_once(story.len()).await;
}

#[tokio::test]
async fn four_eyes_take_two_keys() {
    let world = World::of(System::SagePro).await;
    let (anna, ben) = (&world.tenant.client, second_key(&world).await);
    let settings = format!("{SANDBOX}/settings");
    anna.put(&settings, &json!({ "why": "auditors", "four_eyes": true })).await.unwrap();
    assert_eq!(anna.get(&settings).await.unwrap()["four_eyes"], true);
    let told = world.story("eyes").await.remove(0);
    let fault = json!({ "operation": "POST /Invoice", "fault": "business-error", "times": 1 });
    world.erp.fault(&fault).await.unwrap();
    let event = world.accept(&told).await;
    assert_eq!(world.end_of(&event).await["standing"], "dead");
    let dead = deliveries(&world, "dead").await.remove(0);
    let adopt = format!("/deliveries/{}/adopt", dead["id"].as_str().unwrap());
    let body = json!({ "why": "I saw it", "response": { "InvNo": "4711" } });
    let proposed = world.tenant.post(&adopt, &body).await.unwrap();
    assert_eq!(proposed["state"], "proposed");
    assert_eq!(status(anna, &adopt, &body).await, 409, "the same key confirms nothing");
    assert_eq!(deliveries(&world, "dead").await.len(), 1);
    let listed = world.tenant.get("/proposals").await.unwrap();
    assert_eq!(listed["items"][0]["content"], body["response"]);
    assert_eq!(status(&ben, &adopt, &body).await, 200);
    let row = world.tenant.get(&format!("/deliveries/{}", dead["id"].as_str().unwrap())).await.unwrap();
    assert_eq!((&row["state"], &row["response"]), (&json!("delivered"), &body["response"]));
    let decision = &row["decisions"][0];
    assert_ne!(decision["decided"]["by"], decision["proposed"]["by"]);
}

#[tokio::test]
async fn a_document_that_shows_late_is_adopted_by_the_second_question() {
    let world = World::of(System::SapEcc).await;
    let told = world.story("late").await.remove(0);
    world
        .tenant
        .post(&path_of_erp(&world, "/pause"), &json!({ "why": "until the facts are known" }))
        .await
        .unwrap();
    let event = world.accept(&told).await;
    until("the plan", async || (!deliveries(&world, "pending").await.is_empty()).then_some(())).await;
    // The answer is lost, and the first question meets a copy that does not have the order yet.
    let write = json!({ "operation": "Z_STRIPE_ORDER_CREATE", "fault": "commit-then-cut", "times": 1 });
    world.erp.fault(&write).await.unwrap();
    let copy = json!({ "operation": "RFC_READ_TABLE", "fault": "check-stale", "times": 1, "ms": 60_000 });
    world.erp.fault(&copy).await.unwrap();
    world.tenant.post(&path_of_erp(&world, "/resume"), &json!({ "why": "go" })).await.unwrap();
    let story = world.end_of(&event).await;
    assert_eq!(story["standing"], "delivered", "{}", told_of(&story));
    world.assert_posted_once(1).await;
    let waiting = world.erp.faults().await.unwrap();
    assert_eq!(waiting["waiting"].as_array().map(Vec::len), Some(0), "every fault was met: {waiting}");
}

#[tokio::test]
async fn what_was_wrong_is_put_right_and_its_events_are_mapped_again() {
    let world = World::of(System::SagePro).await;
    let rows = "/api/v1/environments/sandbox/lookup-tables/items/rows";
    let right = world.tenant.client.get(rows).await.unwrap();
    let right: serde_json::Map<String, Value> = right["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["key"].as_str().unwrap().to_owned(), row["value"].clone()))
        .collect();
    let wrong: serde_json::Map<String, Value> =
        right.keys().map(|key| (key.clone(), json!("NO-SUCH-ITEM"))).collect();
    world.tenant.client.put(rows, &json!({ "rows": wrong })).await.unwrap();
    let story = world.story("mapped-again").await;
    let mut events = Vec::new();
    for told in &story[..3] {
        events.push(world.accept(told).await);
    }
    let mut runs = Vec::new();
    for event in &events {
        let told = world.end_of(event).await;
        assert_eq!(told["standing"], "dead", "{told:#}");
        runs.push(told["runs"][0]["id"].as_str().unwrap().to_owned());
    }
    let remap = |run: &str| format!("/runs/{run}/remap");
    // Nothing is right yet: it is sent again as it would be now, and dies again.
    world.tenant.post(&remap(&runs[0]), &json!({ "why": "too early" })).await.unwrap();
    assert_eq!(world.end_of(&events[0]).await["standing"], "dead");
    world.tenant.client.put(rows, &json!({ "rows": right })).await.unwrap();
    // To send what was planned again does not help: it is what it was.
    let delivery = deliveries(&world, "dead").await[0]["id"].as_str().unwrap().to_owned();
    world.tenant.post(&format!("/deliveries/{delivery}/redrive"), &json!({ "why": "try" })).await.unwrap();
    until("it is dead again", async || (deliveries(&world, "dead").await.len() == 3).then_some(())).await;

    let done = world.tenant.post(&remap(&runs[0]), &json!({ "why": "the row is right" })).await.unwrap();
    assert_eq!(done["deliveries"].as_array().unwrap().len(), 2, "the invoice, and what waits for it: {done}");
    let told = world.end_of(&events[0]).await;
    assert_eq!(told["standing"], "delivered", "{told:#}");
    // What is stopped is executed for nobody.
    let stopped = format!("/mappings/{}", world.tenant.mapping);
    world.tenant.post(&format!("{stopped}/pause"), &json!({ "why": "stop" })).await.unwrap();
    assert_eq!(status(&world.tenant.client, &remap(&runs[1]), &json!({ "why": "now" })).await, 409);
    world.tenant.post(&format!("{stopped}/resume"), &json!({ "why": "go" })).await.unwrap();
    // All others at once.
    let code = deliveries(&world, "dead").await[0]["reason"]["code"].clone();
    let many = json!({ "why": "the rows are right", "code": code });
    let done = world.tenant.post("/runs/remap", &many).await.unwrap();
    let counts = (done["remapped"].as_array().unwrap().len(), done["refused"].as_array().unwrap().len());
    assert_eq!(counts, (2, 0), "{done:#}");
    for event in &events {
        assert_eq!(world.end_of(event).await["standing"], "delivered");
    }
    let documents = world.documents().await;
    assert!(documents.values().all(|count| *count == 1), "{documents:?}");
    // Delivered, it is nothing to map again.
    assert_eq!(status(&world.tenant.client, &remap(&runs[0]), &json!({ "why": "again" })).await, 409);
}
