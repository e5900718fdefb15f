//! What a tenant may use, what it used, how long things are kept, and the life of a tenant: as its operator sees it.

use std::path::Path;

use portolan::stage::{Client, Host, SIGNING_SECRET, System, Tenant, TenantSetup, signed_headers};
use portolan_simulators::story::StoryCharge;
use portolan_tests::{World, accept, components, end_of, portolan, until};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

async fn another(world: &World, name: &str) -> Tenant {
    let mut setup = TenantSetup::standard(&world.erp, &world.stripe, &components()).unwrap();
    setup.name = name.to_owned();
    Tenant::set_up(&world.host.operator, &setup).await.unwrap()
}

async fn quotas(world: &World, tenant: &Tenant, quotas: Value) {
    let path = format!("/api/v1/tenants/{}/quotas", tenant.id);
    world.host.operator.put(&path, &quotas).await.unwrap();
}

/// An event that no mapping serves.
fn nothing(id: &str) -> String {
    format!("{{\"id\":\"evt_{id}\",\"object\":\"event\",\"type\":\"plan.created\",\"livemode\":false}}")
}

/// The whole answer to a signed webhook, head included.
async fn raw_answer(world: &World, tenant: &Tenant, body: &str) -> String {
    let headers = signed_headers(SIGNING_SECRET, body.as_bytes());
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n",
        tenant.hook,
        body.len()
    );
    let address = world.host.operator.base().trim_start_matches("http://").to_owned();
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    socket.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let mut said = Vec::new();
    socket.read_to_end(&mut said).await.unwrap();
    String::from_utf8_lossy(&said).to_lowercase()
}

async fn standing(world: &World, tenant: &Tenant) -> Value {
    world.host.operator.get(&format!("/api/v1/tenants/{}", tenant.id)).await.unwrap()
}

async fn quota_alerts(tenant: &Tenant) -> usize {
    let alerts = tenant.get("/alerts").await.unwrap();
    alerts["items"].as_array().unwrap().iter().filter(|alert| alert["code"] == "quota").count()
}

#[tokio::test]
async fn who_sends_too_much_is_told_to_come_again_and_its_neighbour_notices_nothing() {
    let world = World::of(System::SagePro).await;
    let flood = another(&world, "flood").await;
    quotas(&world, &flood, json!({ "events_per_second": 1, "events_burst": 3 })).await;
    let mut refused = Vec::new();
    for n in 0..12 {
        let (status, answer) = flood.webhook(nothing(&format!("flood{n}")).as_bytes()).await.unwrap();
        if status != StatusCode::OK {
            assert_eq!((status, &answer["code"]), (StatusCode::TOO_MANY_REQUESTS, &json!("quota-events")));
            refused.push(n);
        }
    }
    assert!(refused.len() >= 4, "{refused:?}");
    let raw = until("a refusal", async || {
        let raw = raw_answer(&world, &flood, &nothing("raw")).await;
        raw.starts_with("http/1.1 429").then_some(raw)
    })
    .await;
    assert!(raw.contains("retry-after: "), "{raw}");
    // The neighbour's events are all taken, and end as ever.
    for n in 0..20 {
        accept(&world.tenant, nothing(&format!("quiet{n}")).as_bytes()).await;
    }
    let told = world.story("quiet").await.remove(0);
    let event = world.accept(&told).await;
    assert_eq!(world.end_of(&event).await["standing"], "delivered");
    // It is visible: in the tenant's standing, as one alert, and as a metric.
    assert!(standing(&world, &flood).await["exceeded"]["events"].as_u64().unwrap() >= 4);
    assert_eq!(standing(&world, &world.tenant).await["exceeded"], json!({}));
    assert_eq!((quota_alerts(&flood).await, quota_alerts(&world.tenant).await), (1, 0));
    let (_, metrics) = world.host.operator.exchange(Method::GET, "/metrics", None, &[]).await.unwrap();
    assert!(metrics.as_str().unwrap().contains("portolan_quota_exceeded_total{quota=\"events\"}"));
    // Nothing is lost: what was refused is taken when it comes again.
    quotas(&world, &flood, json!({})).await;
    for n in refused {
        accept(&flood, nothing(&format!("flood{n}")).as_bytes()).await;
    }
    // What is stored has an end, too.
    quotas(&world, &flood, json!({ "stored_bytes_max": 1 })).await;
    let (status, answer) = flood.webhook(nothing("full").as_bytes()).await.unwrap();
    assert_eq!((status, &answer["code"]), (StatusCode::TOO_MANY_REQUESTS, &json!("quota-stored-bytes")));
    accept(&world.tenant, nothing("not full").as_bytes()).await;
    // And modules: one more is too many.
    quotas(&world, &flood, json!({ "modules_max": 1 })).await;
    let module = portolan_tests::component("epicor-to-stripe");
    let (status, answer) = flood
        .client
        .exchange(Method::POST, "/api/v1/modules", Some(("application/wasm", module)), &[])
        .await
        .unwrap();
    assert_eq!((status, &answer["code"]), (StatusCode::TOO_MANY_REQUESTS, &json!("quota-modules")));
}

#[tokio::test]
async fn who_has_used_up_its_fuel_waits_and_others_go_on() {
    let world = World::of(System::SagePro).await;
    let greedy = another(&world, "greedy").await;
    quotas(&world, &greedy, json!({ "fuel_per_second": 1, "fuel_burst": 1 })).await;
    let story = world.story("fuel").await;
    let first = accept(&greedy, story[0].event.as_bytes()).await;
    assert_eq!(end_of(&greedy, &first).await["standing"], "delivered", "what is under way ends");
    let waits = accept(&greedy, story[1].event.as_bytes()).await;
    // Others' runs begin and end meanwhile.
    for told in &story[2..5] {
        let event = world.accept(told).await;
        assert_eq!(world.end_of(&event).await["standing"], "delivered");
    }
    let run = greedy.get(&format!("/events/{waits}")).await.unwrap()["runs"][0].clone();
    assert_eq!((&run["state"], &run["attempts"]), (&json!("pending"), &json!(0)), "it is no failure to wait");
    assert_eq!((quota_alerts(&greedy).await, quota_alerts(&world.tenant).await), (1, 0));
    quotas(&world, &greedy, json!({})).await;
    assert_eq!(end_of(&greedy, &waits).await["standing"], "delivered");
}

#[tokio::test]
async fn a_suspended_tenant_is_not_served_and_loses_nothing() {
    let world = World::of(System::SagePro).await;
    let tenant = &world.tenant;
    let other = another(&world, "other").await;
    let operator = &world.host.operator;
    let path = |verb: &str| format!("/api/v1/tenants/{}/{verb}", tenant.id);
    let story = world.story("suspended").await;
    let why = json!({ "why": "they have not paid" });
    operator.post(&path("suspend"), &why).await.unwrap();
    let raw = raw_answer(&world, tenant, &story[0].event).await;
    assert!(raw.starts_with("http/1.1 503") && raw.contains("tenant-not-served"), "{raw}");
    assert!(raw.contains("retry-after: 300"), "{raw}");
    let event = accept(&other, story[1].event.as_bytes()).await;
    assert_eq!(end_of(&other, &event).await["standing"], "delivered");
    let told = standing(&world, tenant).await;
    assert_eq!((&told["state"], &told["why"]), (&json!("suspended"), &why["why"]));
    // Its people can still look.
    tenant.get("/events").await.unwrap();
    operator.post(&path("resume"), &why).await.unwrap();
    let event = world.accept(&story[0]).await;
    assert_eq!(world.end_of(&event).await["standing"], "delivered");
    let (status, _) = operator
        .exchange(Method::POST, &path("resume"), Some(("application/json", why.to_string().into())), &[])
        .await
        .unwrap();
    assert_eq!(status, StatusCode::CONFLICT);
}

fn holds(file: &Path, canary: &str) -> bool {
    let bytes = std::fs::read(file).unwrap_or_default();
    bytes.windows(canary.len()).any(|window| window == canary.as_bytes())
}

/// In everything that is stored for the tenant that leaves.
const CANARY: &str = "canary5e1d0b";

/// A secret of its.
const SECRET: &str = "secret-77c1";

async fn fill(leaving: &Tenant, story: &[StoryCharge]) {
    for told in &story[1..4] {
        let event = accept(
            leaving,
            told.event.replace("\"livemode\"", &format!("\"note\":\"{CANARY}\",\"livemode\"")).as_bytes(),
        )
        .await;
        end_of(leaving, &event).await;
    }
    for n in 0..30 {
        let padded =
            nothing(&format!("{CANARY}{n}")).replace("plan.created", &format!("plan.{}", CANARY.repeat(n)));
        accept(leaving, padded.as_bytes()).await;
    }
    let rows = json!({ "rows": { CANARY: { "number": CANARY } } });
    leaving.client.put("/api/v1/environments/sandbox/lookup-tables/secretive/rows", &rows).await.unwrap();
    let connection = json!({
        "name": CANARY, "connector": "http", "secrets": { "token": SECRET },
        "settings": { "base_url": "http://127.0.0.1:1", "auth": "bearer" },
    });
    leaving.post("/connections", &connection).await.unwrap();
}

/// Everything of this tenant, nothing of the other, and no secret.
fn assert_whole(export: &str, leaving: &Tenant, other: &Tenant) {
    let lines: Vec<Value> = export.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["tenant"], &lines[lines.len() - 1]["end"]), (&json!(leaving.id), &json!(true)));
    let events = lines.iter().filter(|line| line["table"] == "events").count();
    assert_eq!((events, &lines[lines.len() - 1]["rows"]["events"]), (33, &json!(33)));
    let foreign = lines.iter().any(|line| line["row"]["tenant"] == json!(other.id));
    assert!(!foreign && export.contains(CANARY) && !export.contains(SECRET) && !export.contains("sealed"));
}

#[tokio::test]
async fn a_removed_tenant_is_gone_from_the_file_and_its_neighbour_is_not() {
    let mut world = World::of(System::SagePro).await;
    let leaving = another(&world, "leaving").await;
    let operator = world.host.operator.clone();
    let story = world.story("leaving").await;
    let mine = world.accept(&story[0]).await;
    world.end_of(&mine).await;
    fill(&leaving, &story).await;

    let path = |verb: &str| format!("/api/v1/tenants/{}{verb}", leaving.id);
    let export = operator.get(&path("/export")).await.unwrap();
    let export = export.as_str().expect("lines").to_owned();
    assert_whole(&export, &leaving, &world.tenant);
    // A tenant's admin gets its own, and nobody else's.
    let own = world.tenant.client.get("/api/v1/export").await.unwrap();
    assert!(!own.as_str().unwrap().contains(CANARY));

    let sha256 = hex(&Sha256::digest(&export));
    let confirmation =
        |name: &str, sha256: &str| json!({ "why": "bye", "name": name, "export_sha256": sha256 });
    let confirm = async |body: Value| {
        let body = Some(("application/json", body.to_string().into_bytes()));
        operator.exchange(Method::POST, &path("/delete/confirm"), body, &[]).await.unwrap().0.as_u16()
    };
    assert_eq!(confirm(confirmation(&leaving.name, &sha256)).await, 409, "nobody has asked for it");
    let asked = operator.post(&path("/delete"), &json!({ "why": "they leave" })).await.unwrap();
    assert_eq!(asked["state"], "deleting");
    assert_eq!(confirm(confirmation("other", &sha256)).await, 422);
    assert_eq!(confirm(confirmation(&leaving.name, &"00".repeat(32))).await, 422);
    assert_eq!(confirm(confirmation(&leaving.name, &sha256)).await, 204);
    let refused = leaving.client.exchange(Method::GET, "/api/v1/tenant", None, &[]).await.unwrap().0;
    assert_eq!(refused, StatusCode::UNAUTHORIZED, "its keys open nothing");
    until("the removal", async || {
        let (status, _) = operator.exchange(Method::GET, &path(""), None, &[]).await.ok()?;
        (status == StatusCode::NOT_FOUND).then_some(())
    })
    .await;
    assert_eq!(world.end_of(&mine).await["standing"], "delivered");
    let audit = operator.get("/api/v1/audit").await.unwrap();
    assert!(audit["items"].as_array().unwrap().iter().any(|entry| entry["action"] == "tenant.delete"));
    assert_eq!(operator.get("/api/v1/audit/verify").await.unwrap()["ok"], true);

    world.host.stop().await.unwrap();
    let data = world.folder.path().join("host");
    let mut compact = std::process::Command::new(portolan());
    assert!(compact.arg("compact").arg("--data").arg(&data).status().unwrap().success());
    for file in ["portolan.db", "portolan.db-wal"] {
        assert!(!holds(&data.join(file), CANARY), "{file}");
        assert!(
            !holds(&data.join(file), &leaving.id) || told_by_the_host(&data.join(file), &leaving.id),
            "{file}"
        );
    }
    assert!(holds(&data.join("portolan.db"), &world.tenant.id), "the neighbour's rows are there");
    world.host.start_again().await.unwrap();
    let event = world.accept(&story[5]).await;
    assert_eq!(world.end_of(&event).await["standing"], "delivered");
}

/// Whether the tenant's id is nowhere but in the host's own audit log.
fn told_by_the_host(file: &Path, id: &str) -> bool {
    let conn = rusqlite::Connection::open(file).unwrap();
    let mut tables = conn.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").unwrap();
    let tables: Vec<String> = tables.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    tables.iter().filter(|table| *table != "audit_entries").all(|table| {
        let columns = format!("SELECT group_concat('instr(coalesce(CAST(\"' || name || '\" AS TEXT), ''''), ?1)', ' + ') FROM pragma_table_info('{table}')");
        let sum: String = conn.query_row(&columns, [], |row| row.get(0)).unwrap();
        let found: i64 = conn
            .query_row(&format!("SELECT count(*) FROM {table} WHERE {sum} > 0"), [id], |row| row.get(0))
            .unwrap();
        found == 0
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// So many days after the test began.
async fn later(world: &mut World, days: u64) {
    world.host.stop().await.unwrap();
    world.host.set("PORTOLAN_PROOF_AHEAD_S", Some(&(days * 86_400).to_string()));
    world.host.start_again().await.unwrap();
}

#[tokio::test]
async fn a_webhook_that_comes_again_after_its_event_was_removed_posts_nothing() {
    let settings =
        [("PORTOLAN_STORAGE__SWEEP_EVERY_S", "1"), ("PORTOLAN_PIPELINE__SIGNATURE_TOLERANCE_S", "99999999")];
    let mut world = World::with(System::SagePro, None, &settings).await;
    let told = world.story("old").await.remove(0);
    let event = world.accept(&told).await;
    assert_eq!(world.end_of(&event).await["standing"], "delivered");
    let before = world.documents().await;
    // Too short, for a tenant and for anybody.
    let put = async |body: Value| {
        let body = Some(("application/json", body.to_string().into_bytes()));
        world.tenant.client.exchange(Method::PUT, "/api/v1/retention", body, &[]).await.unwrap().0.as_u16()
    };
    assert_eq!(put(json!({ "events_days": 34 })).await, 422);
    assert_eq!(put(json!({ "events_days": 401 })).await, 422, "an operator can make it longer");
    assert_eq!(put(json!({ "events_days": 35, "payloads_days": 1 })).await, 200);
    // Somebody else leaves in thirty days, if nobody changes that.
    let leaving = another(&world, "leaving").await;
    let delete = format!("/api/v1/tenants/{}/delete", leaving.id);
    world.host.operator.post(&delete, &json!({ "why": "they leave", "after_days": 30 })).await.unwrap();

    later(&mut world, 2).await;
    let path = format!("/api/v1/environments/sandbox/events/{event}");
    until("the payload's removal", async || {
        let payload = format!("{path}/payload");
        let (status, answer) = world.tenant.client.exchange(Method::GET, &payload, None, &[]).await.ok()?;
        (status == StatusCode::GONE).then(|| assert_eq!(answer["code"], "payload-removed"))
    })
    .await;
    assert_eq!(world.end_of(&event).await["standing"], "delivered", "the event is there without its payload");
    assert_eq!(standing(&world, &leaving).await["state"], "deleting");

    later(&mut world, 36).await;
    let gone = async |client: &Client, path: &str| {
        let (status, _) = client.exchange(Method::GET, path, None, &[]).await.ok()?;
        (status == StatusCode::NOT_FOUND).then_some(())
    };
    until("the sweep", async || gone(&world.tenant.client, &path).await).await;
    let left = format!("/api/v1/tenants/{}", leaving.id);
    until("the removal of who left", async || gone(&world.host.operator, &left).await).await;
    let (status, answer) = world.tenant.webhook(told.event.as_bytes()).await.unwrap();
    assert_eq!((status, answer), (StatusCode::OK, json!({ "event": event, "repeat": true })));
    // The same charge, told by an event of another name: the document is there already.
    let id = serde_json::from_str::<Value>(&told.event).unwrap()["id"].as_str().unwrap().to_owned();
    let twin = accept(&world.tenant, told.event.replace(&id, "evt_twin").as_bytes()).await;
    world.end_of(&twin).await;
    assert_eq!(world.documents().await, before);
    let (_, metrics) = world.host.operator.exchange(Method::GET, "/metrics", None, &[]).await.unwrap();
    assert!(metrics.as_str().unwrap().contains("portolan_swept_total{noun=\"events\"} 1"));
}

#[tokio::test]
async fn usage_adds_up_after_the_host_was_killed() {
    let mut world = World::of(System::SagePro).await;
    let other = another(&world, "other").await;
    let story = world.story("usage").await;
    for told in &story[..3] {
        let event = world.accept(told).await;
        world.end_of(&event).await;
    }
    world.tenant.webhook(story[0].event.as_bytes()).await.unwrap();
    accept(&other, nothing("other").as_bytes()).await;
    world.host.kill().await.unwrap();
    world.host.start_again().await.unwrap();
    let last = world.accept(&story[3]).await;
    world.end_of(&last).await;
    let of = |usage: &Value, name: &str| -> u64 {
        usage["items"].as_array().unwrap().iter().map(|row| row[name].as_u64().unwrap()).sum()
    };
    let mine = world.tenant.client.get("/api/v1/usage").await.unwrap();
    let theirs = other.client.get("/api/v1/usage?by=hour").await.unwrap();
    let all = world.host.operator.get("/api/v1/usage?by=month").await.unwrap();
    assert_eq!((of(&mine, "events"), of(&mine, "repeats"), of(&mine, "modules")), (4, 1, 1));
    assert!(of(&mine, "fuel") > 0 && of(&mine, "attempts") >= 4 && of(&mine, "guest_us") > 0);
    for name in
        ["events", "repeats", "bytes_in", "runs", "executions", "fuel", "calls", "deliveries", "attempts"]
    {
        assert_eq!(of(&mine, name) + of(&theirs, name), of(&all, name), "{name}");
    }
    assert_eq!(of(&theirs, "events"), 1);
    // As CSV, the same numbers.
    let csv = world.tenant.client.get("/api/v1/usage/csv").await.unwrap();
    let csv = csv.as_str().unwrap();
    let events: u64 =
        csv.lines().skip(1).map(|line| line.split(',').nth(3).unwrap().parse::<u64>().unwrap()).sum();
    assert!(csv.starts_with("from,tenant,environment,events,") && events == 4, "{csv}");
    // And what the database itself holds.
    world.host.stop().await.unwrap();
    let file = world.folder.path().join("host/portolan.db");
    let conn = rusqlite::Connection::open(file).unwrap();
    let count = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap().unsigned_abs();
    assert_eq!(count("SELECT count(*) FROM events"), of(&all, "events"));
    assert_eq!(count("SELECT sum(length(payload)) FROM events"), of(&all, "bytes_in"));
    assert_eq!(count("SELECT count(*) FROM runs"), of(&all, "runs"));
    assert_eq!(count("SELECT count(*) FROM deliveries"), of(&all, "deliveries"));
    assert_eq!(count("SELECT count(*) FROM attempts"), of(&all, "attempts"));
}

#[tokio::test]
async fn a_key_that_asks_too_often_is_told_so_and_others_are_served() {
    let settings =
        [("PORTOLAN_SERVER__API_REQUESTS_PER_SECOND", "1"), ("PORTOLAN_SERVER__API_REQUESTS_BURST", "5")];
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("host");
    let host = Host::start(portolan(), &data, "127.0.0.1:0", &settings).await.unwrap();
    let made = host.operator.post("/api/v1/tenants", &json!({ "name": "one" })).await.unwrap();
    let tenant = host.operator.with_key(made["key"]["secret"].as_str().unwrap());
    let mut limited = 0;
    for _ in 0..12 {
        let (status, answer) =
            host.operator.exchange(Method::GET, "/api/v1/tenants", None, &[]).await.unwrap();
        if status == StatusCode::TOO_MANY_REQUESTS {
            assert_eq!(answer["code"], "rate-limited");
            limited += 1;
        }
    }
    assert!(limited >= 5, "{limited}");
    tenant.get("/api/v1/tenant").await.unwrap();
    // The operator's key is shown at the very first start, and never again.
    host.end().await.unwrap();
    let again = Host::start(portolan(), &data, "127.0.0.1:0", &settings).await.unwrap_err();
    assert!(again.to_string().contains("does not show the operator's key"), "{again}");
}
