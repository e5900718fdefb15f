//! Customers that people change in an ERP become, and change, customers in Stripe.

use portolan::stage::{Client, System, Tenant, component};
use portolan_tests::{World, components, until};
use serde_json::{Value, json};

/// The ERP's module behind a source of its own. Returns the source's path.
async fn back(world: &World, module: &str, mut source: Value, settings: &Value) -> String {
    let bytes = component(&components(), module).unwrap();
    let module = Tenant::upload(&world.tenant.client, bytes).await.unwrap();
    source["name"] = json!("back");
    let source = world.tenant.post("/sources", &source).await.unwrap();
    let mapping = json!({"name": "back", "source": source["id"], "module": module["digest"], "settings": settings,
        "connections": world.tenant.connections});
    world.tenant.post("/mappings", &mapping).await.unwrap();
    source["path"].as_str().unwrap().to_owned()
}

/// Stripe's customers that say they are this one of the ERP.
async fn at_stripe(world: &World, number: &str) -> Vec<Value> {
    let stripe = Client::new(world.stripe.url(), Some("sk_test_portolan")).unwrap();
    let all = stripe.get("/v1/customers?limit=100").await.unwrap();
    let ours = |customer: &&Value| customer["metadata"]["erp_id"] == number;
    all["data"].as_array().unwrap().iter().filter(ours).cloned().collect()
}

/// Waits until Stripe has the customer, once, in this city.
async fn lives_in(world: &World, number: &str, city: &str) -> Value {
    until(&format!("{number} in {city}"), async || {
        let found = at_stripe(world, number).await;
        assert!(found.len() <= 1, "one customer in Stripe, not {}", found.len());
        found.into_iter().find(|customer| customer["address"]["city"] == city)
    })
    .await
}

async fn erp(world: &World, path: &str, body: &Value) -> Value {
    Client::new(world.erp.url(), None).unwrap().post(path, body).await.unwrap()
}

/// No event of the source is dead or held.
async fn nothing_waits(world: &World) {
    for path in ["/runs?state=dead", "/holds", "/deliveries?state=dead"] {
        let rows = world.tenant.get(path).await.unwrap();
        assert_eq!(rows["items"], json!([]), "{path}");
    }
}

#[tokio::test]
async fn epicors_customers_are_told_by_a_directive() {
    let world = World::of(System::Epicor).await;
    let secret = "a-key-of-the-directive";
    let hook =
        back(&world, "epicor-to-stripe", json!({"system": "epicor", "secrets": [secret]}), &json!({})).await;
    let url = format!("{}{hook}", world.host.operator.base());
    erp(&world, "/_simulator/bpm", &json!({"url": url, "secret": secret})).await;
    for city in ["Bonn", "Kiel"] {
        let change = json!({"row": {"CustNum": 42, "City": city, "Country": "US"}, "user": "MILLER"});
        erp(&world, "/_simulator/customers", &change).await;
        lives_in(&world, "42", city).await;
    }
    nothing_waits(&world).await;
}

#[tokio::test]
async fn sage_pros_customers_are_found_by_asking() {
    let world = World::of(System::SagePro).await;
    let poll = json!({"connection": world.tenant.connections["erp"], "operation": "customers.changed", "every_s": 10});
    let source =
        json!({"system": "sage-pro", "secrets": ["a-long-enough-secret"], "settings": {"poll": poll}});
    back(&world, "sage-pro-to-stripe", source, &json!({})).await;
    for city in ["Bonn", "Kiel"] {
        erp(&world, "/_simulator/customers", &json!([{"CustNo": "ROSE01", "City": city}])).await;
        lives_in(&world, "ROSE01", city).await;
    }
    nothing_waits(&world).await;
}

#[tokio::test]
async fn saps_customers_come_as_idocs() {
    let out = json!({"sap": {"idocs_out": {"url": "http://127.0.0.1:9/", "user": "SAPHTTP", "password": "a-long-password"}}});
    let world = World::with(System::SapEcc, Some(&out), &[]).await;
    let source = json!({"system": "sap-ecc", "secrets": ["SAPHTTP:a-long-password"]});
    let hook = back(&world, "sap-ecc-to-stripe", source, &json!({})).await;
    let url = format!("{}{hook}", world.host.operator.base());
    for city in ["Bonn", "Kiel"] {
        erp(&world, "/_simulator/objects", &json!([{"number": "100042", "city": city}])).await;
        erp(&world, "/_simulator/idocs", &json!({"customers": ["100042", "100043"], "url": url})).await;
        lives_in(&world, "100042", city).await;
    }
    assert_eq!(at_stripe(&world, "100043").await.len(), 1, "several IDocs of one post");
    nothing_waits(&world).await;
}
