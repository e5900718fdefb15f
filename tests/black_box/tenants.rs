//! Who may see and do what.

use portolan::stage::{Client, Refused, System, Tenant, TenantSetup};
use portolan_tests::{World, components, until};
use reqwest::Method;
use serde_json::{Value, json};

const SANDBOX: &str = "/api/v1/environments/sandbox";

async fn status(client: &Client, method: Method, path: &str, body: Option<&Value>) -> u16 {
    match client.send(method, path, body).await {
        Ok(_) => 200,
        Err(error) => error.downcast_ref::<Refused>().expect("an answer").status.as_u16(),
    }
}

#[tokio::test]
async fn what_belongs_to_another_tenant_is_not_found() {
    let world = World::of(System::SagePro).await;
    let told = world.story("mine").await.remove(0);
    let event = world.accept(&told).await;
    let story = world.end_of(&event).await;
    let run = &story["runs"][0];
    let delivery = &run["deliveries"][0];
    let mut setup = TenantSetup::standard(&world.erp, &world.stripe, &components()).unwrap();
    setup.name = "another".to_owned();
    let other = Tenant::set_up(&world.host.operator, &setup).await.unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let source = world.tenant.hook.replace("/hooks/", "/sources/");
    let paths = [
        format!("/events/{event}"),
        format!("/events/{event}/payload"),
        format!("/runs/{}", text(&run["id"])),
        format!("/deliveries/{}", text(&delivery["id"])),
        format!("/connections/{}", text(&world.tenant.connections["erp"])),
        format!("/mappings/{}", world.tenant.mapping),
        source,
    ];
    for path in paths {
        let path = format!("{SANDBOX}{path}");
        assert_eq!(status(&world.tenant.client, Method::GET, &path, None).await, 200, "{path}");
        assert_eq!(status(&other.client, Method::GET, &path, None).await, 404, "{path}");
        // In another environment of the same tenant it is not found either.
        let elsewhere = path.replace("/sandbox/", "/production/");
        assert_eq!(status(&world.tenant.client, Method::GET, &elsewhere, None).await, 404, "{elsewhere}");
    }
    let redrive = format!("{SANDBOX}/deliveries/{}/redrive", text(&delivery["id"]));
    assert_eq!(status(&other.client, Method::POST, &redrive, Some(&json!({ "why": "mischief" }))).await, 404);
    // A mapping cannot be bound to another tenant's connection.
    let path = format!("{SANDBOX}/mappings/{}", other.mapping);
    let stolen = json!({ "connections": world.tenant.connections });
    assert_eq!(status(&other.client, Method::PATCH, &path, Some(&stolen)).await, 422);
}

#[tokio::test]
async fn a_key_opens_what_its_role_and_environment_allow() {
    let world = World::of(System::SagePro).await;
    let keys = format!("/api/v1/tenants/{}/keys", world.tenant.id);
    let key = async |role: &str, environment: Option<&str>| {
        let body = json!({ "name": role, "role": role, "environment": environment });
        let made = world.host.operator.post(&keys, &body).await.unwrap();
        world.host.operator.with_key(made["secret"].as_str().unwrap())
    };
    let viewer = key("tenant-viewer", None).await;
    let developer = key("tenant-developer", None).await;
    let elsewhere = key("tenant-admin", Some("production")).await;
    let nobody = world.host.operator.with_key("ptk_0000");
    let events = format!("{SANDBOX}/events");
    let rows = format!("{SANDBOX}/lookup-tables/t/rows");
    let connections = format!("{SANDBOX}/connections");
    let put = json!({ "rows": { "a": "b" } });
    let connection =
        json!({ "name": "x", "connector": "http", "settings": { "base_url": "http://127.0.0.1:1" } });
    assert_eq!(status(&viewer, Method::GET, &events, None).await, 200);
    assert_eq!(status(&viewer, Method::PUT, &rows, Some(&put)).await, 403);
    assert_eq!(status(&developer, Method::PUT, &rows, Some(&put)).await, 200);
    assert_eq!(status(&developer, Method::POST, &connections, Some(&connection)).await, 403);
    assert_eq!(status(&world.tenant.client, Method::POST, &connections, Some(&connection)).await, 200);
    assert_eq!(status(&elsewhere, Method::GET, &events, None).await, 404);
    assert_eq!(status(&nobody, Method::GET, &events, None).await, 401);
    assert_eq!(status(&world.host.operator, Method::GET, &events, None).await, 403);
    assert_eq!(status(&world.tenant.client, Method::GET, "/api/v1/tenants", None).await, 403);
}

#[tokio::test]
async fn a_secret_never_comes_out_again() {
    let world = World::of(System::SagePro).await;
    let canary = "canary-7f3a9c";
    let connection = json!({
        "name": "canary", "connector": "http", "settings": { "base_url": "http://127.0.0.1:1", "auth": "bearer" },
        "secrets": { "token": canary },
    });
    let made = world.tenant.post("/connections", &connection).await.unwrap();
    let path = format!("/connections/{}", made["id"].as_str().unwrap());
    let tested = world.tenant.post(&format!("{path}/test"), &json!({})).await.unwrap();
    let mut seen = format!("{made}{tested}{}", world.tenant.get("/connections").await.unwrap());
    let log = std::fs::read_to_string(world.host.log().unwrap()).unwrap();
    seen.push_str(&log);
    assert!(!seen.contains(canary));
    for file in ["portolan.db", "portolan.db-wal"] {
        let bytes = std::fs::read(world.folder.path().join("host").join(file)).unwrap_or_default();
        assert!(!bytes.windows(canary.len()).any(|window| window == canary.as_bytes()), "{file}");
    }
}

#[tokio::test]
async fn an_operator_sees_where_something_is_to_be_done() {
    let world = World::of(System::SagePro).await;
    let empty = world.host.operator.get("/api/v1/overview").await.unwrap();
    let mine = |told: &Value| {
        let items = told["items"].as_array().unwrap().clone();
        items.into_iter().find(|one| one["id"] == world.tenant.id.as_str()).unwrap()
    };
    assert_eq!((&mine(&empty)["state"], &mine(&empty)["environments"]), (&json!("active"), &json!([])));
    let pause = format!("/connections/{}/pause", world.tenant.connections["erp"].as_str().unwrap());
    world.tenant.post(&pause, &json!({ "why": "so that something waits" })).await.unwrap();
    let event = world.accept(&world.story("waits").await[0]).await;
    let seen = until("a delivery that waits", async || {
        let told = mine(&world.host.operator.get("/api/v1/overview").await.unwrap());
        (told["environments"][0]["deliveries"]["pending"].as_u64() > Some(0)).then_some(told)
    })
    .await;
    let there = &seen["environments"][0];
    assert_eq!((&there["environment"], &there["runs"]), (&json!("sandbox"), &json!({ "planned": 1 })));
    assert_eq!(there["oldest"]["event"], event.as_str(), "{there}");
    // The tenant sees its own, and who is bound to another environment nothing of it.
    assert_eq!(mine(&world.tenant.client.get("/api/v1/overview").await.unwrap())["environments"][0], *there);
    let keys = format!("/api/v1/tenants/{}/keys", world.tenant.id);
    let body = json!({ "name": "qa", "role": "tenant-viewer", "environment": "qa" });
    let made = world.host.operator.post(&keys, &body).await.unwrap();
    let elsewhere = world.host.operator.with_key(made["secret"].as_str().unwrap());
    assert_eq!(mine(&elsewhere.get("/api/v1/overview").await.unwrap())["environments"], json!([]));
    // Scraped again after the work is done, nothing is said to wait any more.
    let page = || async { world.host.operator.get("/metrics").await.unwrap().as_str().unwrap().to_owned() };
    assert!(page().await.contains("portolan_runs{state=\"planned\"} 1"));
    world.tenant.post(&pause.replace("/pause", "/resume"), &json!({ "why": "go" })).await.unwrap();
    world.end_of(&event).await;
    assert!(page().await.contains("portolan_runs{state=\"planned\"} 0"));
}
