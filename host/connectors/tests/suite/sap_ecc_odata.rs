//! SAP Gateway against the stand-in: tokens, entities, deep inserts, etags, changesets, refusals.

use portolan_connectors::Found;
use portolan_domain::{class::WriteClass, verdict::CallFailure};
use serde_json::{Value, json};

use super::{
    code, connect, context, found,
    sap_ecc_world::World,
    server::{Server, answer},
};

fn order(reference: &str, sold_to: &str) -> Value {
    json!({"service": "ZSTRIPE_SRV", "entity_set": "SalesOrderSet", "body": {
        "OrderType": "OR", "SalesOrg": "1000", "Channel": "10", "Division": "00", "PurchaseNo": reference,
        "SoldTo": sold_to, "Currency": "USD", "OrderDate": "/Date(1795132800000)/",
        "Items": [{"ItemNo": "000010", "Material": "4711", "Quantity": "2.000", "Price": "24.99"}],
    }})
}

fn payment(reference: &str, customer: &str) -> Value {
    json!({"CompanyCode": "1000", "DocType": "DZ", "PostingDate": "/Date(1795132800000)/", "Reference": reference,
        "Account": "113150", "Customer": customer, "Amount": "49.98", "Currency": "USD", "Text": "ch_1"})
}

fn by_reference(reference: &str) -> Value {
    json!({"service": "ZSTRIPE_SRV", "entity_set": "SalesOrderSet", "select": ["OrderNo"],
        "filter": [{"property": "PurchaseNo", "value": reference}]})
}

async fn calls(world: &World, part: &str) -> u64 {
    let http = connect("http", json!({"base_url": world.running.base_url()}), &[]);
    let calls = found(http.read("request.get", &json!({"path": "/_simulator/calls"}), &context()).await);
    let calls = calls["body"]["calls"].as_object().unwrap().clone();
    calls.iter().filter(|(name, _)| name.contains(part)).map(|(_, count)| count.as_u64().unwrap()).sum()
}

#[tokio::test]
async fn an_order_is_inserted_with_its_items_and_found_again() {
    let world = World::start(json!({})).await;
    assert_eq!(world.read("odata.get", by_reference("O'Neill")).await.unwrap(), Found::No);
    let created = world.write("odata.create", order("O'Neill", "100042")).await.unwrap();
    assert_eq!((&created["OrderNo"], &created["NetValue"]), (&json!("0000016023"), &json!("49.98")));
    assert_eq!(world.ledger("sales-order")[0]["lines"][0]["price"], "24.99");
    let all = found(world.read("odata.get", by_reference("O'Neill")).await);
    assert_eq!(all["results"][0]["OrderNo"], "0000016023");
    assert_eq!(all["results"][0]["NetValue"], json!(null));
    let by_key = json!({"service": "ZSTRIPE_SRV", "entity_set": "SalesOrderSet", "key": "16023"});
    let one = found(world.read("odata.get", by_key).await);
    assert_eq!(one["Items"]["results"][0]["Quantity"], "2.000");
    let nobody = json!({"service": "ZSTRIPE_SRV", "entity_set": "SalesOrderSet", "key": {"OrderNo": "1"}});
    assert_eq!(world.read("odata.get", nobody).await.unwrap(), Found::No);
    for elsewhere in ["NopeSet", "SalesOrderSet"] {
        let service = if elsewhere == "NopeSet" { "ZSTRIPE_SRV" } else { "ZNOPE_SRV" };
        let answer = world.read("odata.get", json!({"service": service, "entity_set": elsewhere})).await;
        assert!(matches!(answer, Err(CallFailure::Permanent { .. })), "{answer:?}");
    }
}

#[tokio::test]
async fn a_token_is_drawn_once_and_again_when_it_has_run_out() {
    let world = World::start(json!({})).await;
    for number in 0..3 {
        world.write("odata.create", order(&format!("ch_{number}"), "100042")).await.unwrap();
    }
    assert_eq!(calls(&world, "GET /sap/opu").await, 1);
    let world = World::start_with(json!({}), |world| world.sap.csrf_uses = 1).await;
    for number in 0..3 {
        world.write("odata.create", order(&format!("ch_{number}"), "100042")).await.unwrap();
    }
    assert_eq!(calls(&world, "GET /sap/opu").await, 3);
    assert_eq!(world.ledger("sales-order").len(), 3);
}

#[tokio::test]
async fn a_token_that_is_never_good_is_drawn_again_once_and_then_alerts() {
    let server = Server::start(|_, seen| match seen.header("x-csrf-token").to_owned().as_str() {
        "Fetch" => answer(200, "application/json", "{}")
            .with("X-CSRF-Token", "abc")
            .with("Set-Cookie", "a=b; path=/"),
        _ => answer(403, "text/plain", "CSRF token validation failed").with("x-csrf-token", "Required"),
    })
    .await;
    let settings = json!({"base_url": server.url});
    let sap = connect("sap-ecc", settings, &[("user", "STRIPE_IF"), ("password", "geheim12")]);
    let failure = sap.write("odata.create", &order("ch_1", "100042"), &context()).await.unwrap_err();
    assert!(matches!(failure, CallFailure::Unauthorized { .. }), "{failure:?}");
    let seen = server.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!((seen[1].header("x-csrf-token"), seen[1].header("cookie")), ("abc", "a=b"));
    assert_eq!(
        seen[1].line(),
        "POST /sap/opu/odata/sap/ZSTRIPE_SRV/SalesOrderSet?sap-client=100&sap-language=EN"
    );
}

#[tokio::test]
async fn an_update_wants_the_etag_that_was_read() {
    let world = World::start(json!({})).await;
    world.write("odata.create", order("ch_1", "100042")).await.unwrap();
    let key = json!({"service": "ZSTRIPE_SRV", "entity_set": "SalesOrderSet", "key": "0000016023"});
    let etag = found(world.read("odata.get", key.clone()).await)["__metadata"]["etag"].clone();
    let mut change = key;
    change["body"] = json!({"DeliveryBlock": "01"});
    assert_eq!(code(world.write("odata.update", change.clone()).await), "etag-required");
    change["etag"] = etag;
    world.write("odata.update", change.clone()).await.unwrap();
    assert_eq!(world.ledger("sales-order-update")[0]["document"]["delivery_block"], "01");
    assert_eq!(code(world.write("odata.update", change).await), "changed-meanwhile");
}

#[tokio::test]
async fn a_changeset_is_committed_as_a_whole_or_not_at_all() {
    let world = World::start(json!({})).await;
    let batch = |customer: &str| {
        json!({"service": "ZSTRIPE_SRV", "changes": [
            {"entity_set": "SalesOrderSet", "body": order("ch_1", "100042")["body"]},
            {"entity_set": "PaymentSet", "body": payment("R1", customer)},
        ]})
    };
    let refused = world.write("odata.batch", batch("999")).await.unwrap_err();
    assert!(matches!(refused, CallFailure::Permanent { .. }), "{refused:?}");
    assert!(refused.problem().message.starts_with("F5 102: Customer 999"), "{refused:?}");
    assert!(world.ledger("sales-order").is_empty() && world.ledger("accounting-document").is_empty());
    let done = world.write("odata.batch", batch("100042")).await.unwrap();
    assert_eq!(done["responses"][0]["status"], 201);
    assert_eq!(done["responses"][1]["body"]["Amount"], "49.98");
    assert_eq!((world.ledger("sales-order").len(), world.ledger("accounting-document").len()), (1, 1));
}

#[tokio::test]
async fn what_was_cut_after_the_commit_is_in_doubt_and_a_lock_is_tried_again() {
    let world = World::start(json!({})).await;
    world.write("odata.create", order("ch_0", "100042")).await.unwrap();
    for fault in
        ["commit-then-cut", "garbage-after-commit", "error-500-after-commit", "gateway-502-after-commit"]
    {
        world.fault("/sap/opu/odata/sap/ZSTRIPE_SRV/SalesOrderSet", fault).await;
        let failure = world.write("odata.create", order(fault, "100042")).await.unwrap_err();
        assert!(matches!(failure, CallFailure::Ambiguous { .. }), "{fault}: {failure:?}");
        found(world.read("odata.get", by_reference(fault)).await);
    }
    world.post("/_simulator/locks", json!({"object": "100042", "locked": true})).await;
    let locked = world.write("odata.create", order("ch_1", "100042")).await.unwrap_err();
    assert!(matches!(locked, CallFailure::Retryable { .. }), "{locked:?}");
    assert!(matches!(world.sap.class("odata.create"), WriteClass::AskedByKey { .. }));
    assert_eq!(world.sap.class("odata.update"), WriteClass::Repeatable);
}

#[tokio::test]
async fn all_pages_are_joined_and_never_asked_elsewhere() {
    let world = World::start_with(json!({}), |world| world.sap.odata_page = 2).await;
    for number in 0..5 {
        world.write("odata.create", order(&format!("ch_{number}"), "100042")).await.unwrap();
    }
    // The stand-in's next pages are on another host.
    let all = json!({"service": "ZSTRIPE_SRV", "entity_set": "SalesOrderSet"});
    assert_eq!(found(world.read("odata.get", all.clone()).await)["results"].as_array().unwrap().len(), 5);
    let mut top = all;
    top["top"] = json!(1);
    assert_eq!(found(world.read("odata.get", top).await)["results"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn wrong_bodies_are_refused_before_anything_is_sent_and_wrong_types_by_the_service() {
    let world = World::start(json!({})).await;
    for (operation, body) in [
        ("odata.create", json!({"service": "../x", "entity_set": "A", "body": {}})),
        ("odata.create", json!({"service": "Z", "entity_set": "A?x", "body": {}})),
        ("odata.create", json!({"service": "Z", "entity_set": "A", "body": []})),
        ("odata.update", json!({"service": "Z", "entity_set": "A", "body": {}})),
        (
            "odata.update",
            json!({"service": "Z", "entity_set": "A", "key": "1", "method": "DELETE", "body": {}}),
        ),
        (
            "odata.update",
            json!({"service": "Z", "entity_set": "A", "key": "1", "etag": "a\r\nb", "body": {}}),
        ),
        ("odata.batch", json!({"service": "Z", "changes": []})),
        ("odata.batch", json!({"service": "Z", "changes": [{"entity_set": "A", "key": "1", "body": {}}]})),
    ] {
        assert_eq!(code(world.write(operation, body.clone()).await), "invalid-parameters", "{body}");
    }
    assert_eq!(calls(&world, "/sap/opu").await, 0);
    let mut number = order("ch_1", "100042");
    number["body"]["Items"][0]["Price"] = json!(24.99);
    assert_eq!(code(world.write("odata.create", number).await), "data-refused");
    let mut date = order("ch_1", "100042");
    date["body"]["OrderDate"] = json!("2026-11-20");
    assert_eq!(code(world.write("odata.create", date).await), "data-refused");
}
