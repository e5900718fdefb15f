//! What customers upload: good modules, and those that loop, hoard, trap and lie.

use portolan::stage::{Host, Refused, StandIn, System, Tenant, TenantSetup};
use portolan_tests::{World, accept, component, end_of, portolan};
use serde_json::{Value, json};

/// A tenant whose mapping is a hostile module.
async fn hostile(host: &Host, erp: &StandIn, name: &str, settings: Value) -> Tenant {
    let connection = json!({ "connector": "http", "settings": { "base_url": erp.url() } });
    let setup = TenantSetup {
        name: format!("{name} {settings}"),
        module: component(name),
        connections: if name == "hostile-lies" { vec![("erp".to_owned(), connection)] } else { Vec::new() },
        tables: Vec::new(),
        settings,
    };
    Tenant::set_up(&host.operator, &setup).await.unwrap()
}

fn charge(id: &str) -> Vec<u8> {
    json!({ "id": id, "object": "event", "type": "charge.succeeded", "livemode": false, "data": { "object": { "id": id } } })
        .to_string()
        .into_bytes()
}

#[tokio::test]
async fn a_module_that_fails_kills_its_own_run_only_and_is_named() {
    let world = World::of(System::SagePro).await;
    let expected = [("hostile-loops", "guest-out-of-fuel"), ("hostile-traps", "guest-trapped")];
    for (name, code) in expected {
        let tenant = hostile(&world.host, &world.erp, name, json!({})).await;
        let event = accept(&tenant, &charge("evt_1")).await;
        let story = end_of(&tenant, &event).await;
        assert_eq!(story["standing"], "dead", "{name}");
        assert_eq!(story["runs"][0]["reason"]["code"], code, "{name}: {story:#}");
    }
    let told = world.story("beside").await.remove(0);
    let event = world.accept(&told).await;
    assert_eq!(world.end_of(&event).await["standing"], "delivered");
}

#[tokio::test]
async fn a_module_that_hoards_memory_gets_no_more_than_its_limit() {
    let world = World::of(System::SagePro).await;
    let tenant = hostile(&world.host, &world.erp, "hostile-hoards", json!({})).await;
    let event = accept(&tenant, &charge("evt_1")).await;
    let story = end_of(&tenant, &event).await;
    // It is told that there is no more, and says so.
    assert_eq!(story["standing"], "skipped");
    let most = story["runs"][0]["cost"]["memory_bytes_max"].as_u64().unwrap();
    assert!(most <= 64 << 20, "{most} bytes");
}

#[tokio::test]
async fn neighbours_of_a_looping_module_are_served_meanwhile() {
    let world = World::of(System::SagePro).await;
    let looping = hostile(&world.host, &world.erp, "hostile-loops", json!({})).await;
    for n in 0..150 {
        accept(&looping, &charge(&format!("evt_{n}"))).await;
    }
    for told in world.story("neighbour").await {
        let event = world.accept(&told).await;
        assert_eq!(world.end_of(&event).await["standing"], "delivered");
    }
    let left = looping.get("/runs?state=pending&limit=500").await.unwrap();
    assert!(
        !left["items"].as_array().unwrap().is_empty(),
        "the neighbours did not wait for the loops to end"
    );
    world.assert_posted_once(13).await;
}

#[tokio::test]
async fn a_plan_that_breaks_a_rule_is_refused_whole() {
    let world = World::of(System::SagePro).await;
    let lies = [
        ("undeclared-operation", "plan-refused"),
        ("undeclared-connection", "plan-refused"),
        ("undeclared-query", "guest-nonsense"),
        ("undeclared-table", "guest-nonsense"),
        ("unbalanced", "plan-refused"),
        ("duplicate-key", "plan-refused"),
        ("cycle", "plan-refused"),
        ("binding-not-after", "plan-refused"),
        ("unknown-predecessor", "plan-refused"),
        ("body-not-json", "guest-nonsense"),
        ("bad-amount", "guest-nonsense"),
        ("empty-need", "guest-nonsense"),
        ("too-many-deliveries", "guest-output-too-large"),
    ];
    for (lie, code) in lies {
        let tenant = hostile(&world.host, &world.erp, "hostile-lies", json!({ "lie": lie })).await;
        let event = accept(&tenant, &charge("evt_1")).await;
        let story = end_of(&tenant, &event).await;
        assert_eq!(story["runs"][0]["reason"]["code"], code, "{lie}: {story:#}");
        assert_eq!(story["runs"][0]["deliveries"], json!([]), "{lie}");
    }
    assert!(world.erp.ledger("").await.unwrap().is_empty(), "nothing was sent");
}

#[tokio::test]
async fn a_module_that_asks_for_ever_is_stopped() {
    let world = World::of(System::SagePro).await;
    let tenant = hostile(&world.host, &world.erp, "hostile-asks-forever", json!({})).await;
    let event = accept(&tenant, &charge("evt_1")).await;
    let story = end_of(&tenant, &event).await;
    let code = story["runs"][0]["reason"]["code"].as_str().unwrap();
    assert!(["too-many-rounds", "guest-nonsense"].contains(&code), "{code}");
}

#[tokio::test]
async fn an_upload_that_is_no_mapping_is_refused_with_the_reason_and_the_remedy() {
    let world = World::of(System::SagePro).await;
    let wasi = r#"(component (import "wasi:sockets/tcp@0.2.0" (instance)))"#;
    let uploads = [
        (b"not wasm at all".to_vec(), "module-not-wasm"),
        (wat::parse_str("(module)").unwrap(), "module-"),
        (wat::parse_str(wasi).unwrap(), "module-import-refused"),
        (wat::parse_str("(component)").unwrap(), "module-export-missing"),
        (component("stripe-to-epicor")[..5_000].to_vec(), "module-"),
    ];
    for (upload, code) in uploads {
        let error = Tenant::upload(&world.tenant.client, upload).await.unwrap_err();
        let refused = error.downcast_ref::<Refused>().unwrap();
        assert_eq!(refused.status, 422, "{}", refused.body);
        assert!(refused.body["code"].as_str().unwrap().starts_with(code), "{}", refused.body);
        assert!(!refused.body["remedy"].as_str().unwrap().is_empty());
    }
}

#[tokio::test]
async fn the_same_bytes_are_the_same_module() {
    let world = World::of(System::SagePro).await;
    let again = Tenant::upload(&world.tenant.client, component("stripe-to-sage-pro")).await.unwrap();
    assert_eq!(again["digest"], json!(world.tenant.module));
    let listed = world.tenant.client.get("/api/v1/modules").await.unwrap();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn settings_that_the_modules_schema_does_not_allow_are_refused_by_place() {
    let world = World::of(System::SagePro).await;
    let path = format!("/api/v1/environments/sandbox/mappings/{}", world.tenant.mapping);
    let error =
        world.tenant.client.patch(&path, &json!({ "settings": { "acounts": {} } })).await.unwrap_err();
    let refused = error.downcast_ref::<Refused>().unwrap();
    assert_eq!((refused.status.as_u16(), &refused.body["code"]), (422, &json!("invalid-settings")));
    assert!(!refused.body["errors"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn compiled_modules_that_were_touched_on_disk_are_compiled_again() {
    let mut world = World::of(System::SagePro).await;
    let story = world.story("touched").await;
    let first = world.accept(&story[0]).await;
    assert_eq!(world.end_of(&first).await["standing"], "delivered");
    world.host.kill().await.unwrap();
    let compiled = world.folder.path().join("host/compiled");
    for entry in std::fs::read_dir(&compiled).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let mut bytes = std::fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(&path, bytes).unwrap();
        }
    }
    world.host.start_again().await.unwrap();
    let second = world.accept(&story[1]).await;
    assert_eq!(world.end_of(&second).await["standing"], "delivered");
    assert!(portolan().exists());
}
