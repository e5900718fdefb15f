//! What holds for every noun of the API: its document, keys of requests, tags, who acts for whom.

use portolan::stage::{Client, System};
use portolan_tests::World;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

const CONNECTIONS: &str = "/api/v1/environments/sandbox/connections";

async fn post(client: &Client, path: &str, body: &Value, headers: &[(&str, &str)]) -> (StatusCode, Value) {
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    let body = ("application/json", body.to_string().into_bytes());
    client.exchange(Method::POST, path, Some(body), &headers).await.unwrap()
}

async fn text(client: &Client, path: &str) -> (StatusCode, String) {
    let (status, answer) = client.exchange(Method::GET, path, None, &[]).await.unwrap();
    (status, answer.as_str().map_or_else(|| answer.to_string(), str::to_owned))
}

#[tokio::test]
async fn the_document_that_is_served_is_the_one_that_is_checked_in() {
    let world = World::of(System::SagePro).await;
    let served = world.host.operator.get("/openapi.json").await.unwrap();
    let kept: Value = serde_json::from_str(include_str!("../../docs/openapi.json")).unwrap();
    assert!(served == kept, "docs/openapi.json is older than the host");
    let (status, page) = text(&world.host.operator, "/errors/invalid-body").await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.starts_with("invalid-body (400)\n\n"), "{page}");
    assert_eq!(text(&world.host.operator, "/errors/no-such-code").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_request_with_an_idempotency_key_is_carried_out_once() {
    let mut world = World::of(System::SagePro).await;
    let operator = world.host.operator.clone();
    let keys = format!("/api/v1/tenants/{}/keys", world.tenant.id);
    let body = json!({ "name": "of a robot", "role": "tenant-viewer" });
    let count = async |client: &Client| {
        let all = client.get(&keys).await.unwrap();
        all["items"].as_array().unwrap().iter().filter(|key| key["name"] == "of a robot").count()
    };
    let first = post(&operator, &keys, &body, &[("idempotency-key", "k1")]).await;
    assert_eq!(first.0, StatusCode::CREATED);
    let again = post(&operator, &keys, &body, &[("idempotency-key", "k1")]).await;
    assert_eq!(again, first, "secret and all: nobody but the same key can open the answer");
    assert_eq!(count(&operator).await, 1);
    // The secret that was shown is in no file.
    let secret = first.1["secret"].as_str().unwrap().to_owned();
    world.host.kill().await.unwrap();
    for file in std::fs::read_dir(world.host.log().unwrap().parent().unwrap()).unwrap() {
        let path = file.unwrap().path();
        let bytes = if path.is_file() { std::fs::read(&path).unwrap() } else { Vec::new() };
        let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "{}", path.display());
    }
    world.host.start_again().await.unwrap();
    let operator = world.host.operator.clone();
    // A restart forgets nothing.
    assert_eq!(post(&operator, &keys, &body, &[("idempotency-key", "k1")]).await, first);
    assert_eq!(count(&operator).await, 1);
    let other = json!({ "name": "another", "role": "tenant-viewer" });
    let (status, problem) = post(&operator, &keys, &other, &[("idempotency-key", "k1")]).await;
    assert_eq!((status.as_u16(), &problem["code"]), (422, &json!("idempotency-mismatch")));
    assert_eq!(post(&operator, &keys, &body, &[("idempotency-key", "k2")]).await.0, StatusCode::CREATED);
    assert_eq!(count(&operator).await, 2);
    // What was refused changed nothing, and may be made again as it should have been.
    let wrong = json!({ "name": "", "role": "tenant-viewer" });
    assert_eq!(post(&operator, &keys, &wrong, &[("idempotency-key", "k3")]).await.0.as_u16(), 422);
    assert_eq!(post(&operator, &keys, &body, &[("idempotency-key", "k3")]).await.0, StatusCode::CREATED);
    let spaces = post(&operator, &keys, &body, &[("idempotency-key", "a b")]).await;
    assert_eq!((spaces.0.as_u16(), &spaces.1["code"]), (400, &json!("invalid-idempotency-key")));
    let stranger = post(&operator.with_key("ptk_00"), &keys, &body, &[("idempotency-key", "k1")]).await;
    assert_eq!(stranger.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn what_changed_since_it_was_seen_is_not_overwritten() {
    let world = World::of(System::SagePro).await;
    let client = &world.tenant.client;
    let settings = "/api/v1/environments/sandbox/settings";
    let put = async |seen: &str, four_eyes: bool| {
        let body = json!({ "why": "the test", "four_eyes": four_eyes }).to_string().into_bytes();
        let headers = [("if-match", seen.to_owned())];
        client.exchange(Method::PUT, settings, Some(("application/json", body)), &headers).await.unwrap()
    };
    let (status, problem) = put("\"of something else\"", true).await;
    assert_eq!((status.as_u16(), &problem["code"]), (412, &json!("changed-since")));
    assert_eq!(client.get(settings).await.unwrap()["four_eyes"], false);
    assert_eq!(put("*", true).await.0, StatusCode::NO_CONTENT);
    assert_eq!(client.get(settings).await.unwrap()["four_eyes"], true);
}

#[tokio::test]
async fn an_operator_acts_for_the_tenant_that_the_request_names() {
    let world = World::of(System::SagePro).await;
    let operator = &world.host.operator;
    let acting = async |client: &Client, tenant: &str| {
        let headers = [("portolan-tenant", tenant.to_owned())];
        client.exchange(Method::GET, CONNECTIONS, None, &headers).await.unwrap()
    };
    assert_eq!(operator.exchange(Method::GET, CONNECTIONS, None, &[]).await.unwrap().0.as_u16(), 403);
    let (status, connections) = acting(operator, &world.tenant.id).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(connections, world.tenant.client.get(CONNECTIONS).await.unwrap());
    assert_eq!(acting(operator, "ten_01ARZ3NDEKTSV4RRFFQ69G5FAV").await.0, StatusCode::NOT_FOUND);
    assert_eq!(acting(operator, "nonsense").await.0, StatusCode::NOT_FOUND);
    // Of anybody else, it says nothing.
    let other = operator.post("/api/v1/tenants", &json!({ "name": "other" })).await.unwrap();
    let stranger = operator.with_key(other["key"]["secret"].as_str().unwrap());
    let (status, connections) = acting(&stranger, &world.tenant.id).await;
    assert_eq!((status, &connections["items"]), (StatusCode::OK, &json!([])));
    // The audit log of the tenant tells that it was the operator.
    let body = json!({ "why": "the test", "four_eyes": true }).to_string().into_bytes();
    let headers = [("portolan-tenant", world.tenant.id.clone())];
    let path = "/api/v1/environments/sandbox/settings";
    let put = operator.exchange(Method::PUT, path, Some(("application/json", body)), &headers).await;
    assert_eq!(put.unwrap().0, StatusCode::NO_CONTENT);
    let audit = world.tenant.client.get("/api/v1/audit").await.unwrap();
    assert_eq!(audit["items"][0]["role"], "operator", "{audit:#}");
}

#[tokio::test]
async fn a_tenants_admin_makes_the_tenants_keys_and_no_more_than_its_own_key_opens() {
    let world = World::of(System::SagePro).await;
    let admin = &world.tenant.client;
    let body = |environment: Option<&str>| json!({ "name": "of the test", "role": "tenant-admin", "environment": environment });
    let make = async |client: &Client, environment: Option<&str>| {
        post(client, "/api/v1/keys", &body(environment), &[]).await
    };
    let (status, bound) = make(admin, Some("sandbox")).await;
    assert_eq!(status, StatusCode::CREATED, "{bound}");
    let robot = admin.with_key(bound["secret"].as_str().unwrap());
    for wider in [None, Some("production")] {
        assert_eq!(make(&robot, wider).await.0.as_u16(), 422, "{wider:?}");
    }
    let (status, another) = make(&robot, Some("sandbox")).await;
    assert_eq!(status, StatusCode::CREATED);
    let (_, all) = make(admin, None).await;
    let delete = async |client: &Client, id: &Value| {
        let path = format!("/api/v1/keys/{}", id.as_str().unwrap());
        client.exchange(Method::DELETE, &path, None, &[]).await.unwrap().0.as_u16()
    };
    assert_eq!(delete(&robot, &all["id"]).await, 404, "what opens more than it does is not its to end");
    assert_eq!(delete(&robot, &another["id"]).await, 204);
    assert_eq!(delete(admin, &all["id"]).await, 204);
    let operator = json!({ "name": "king", "role": "operator" });
    assert_eq!(post(admin, "/api/v1/keys", &operator, &[]).await.0.as_u16(), 422);
}
