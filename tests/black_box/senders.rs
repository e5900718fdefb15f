//! Events that ERPs send: who is believed, and what becomes of a request that holds several.

use portolan::stage::{Client, System, sign};
use portolan_tests::World;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

const SOURCES: &str = "/api/v1/environments/sandbox/sources";

async fn source(world: &World, body: &Value) -> String {
    let made = world.tenant.client.post(SOURCES, body).await.unwrap();
    made["path"].as_str().unwrap().to_owned()
}

async fn post(
    world: &World,
    hook: &str,
    (media_type, body): (&'static str, &str),
    headers: &[(&str, String)],
) -> (StatusCode, Value) {
    // Without a key of the API, which would be a second Authorization header.
    let sender = Client::new(world.host.operator.base(), None).unwrap();
    let body = Some((media_type, body.as_bytes().to_vec()));
    sender.exchange(Method::POST, hook, body, headers).await.unwrap()
}

fn basic(pair: &str) -> Vec<(&'static str, String)> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    vec![("authorization", format!("Basic {}", STANDARD.encode(pair)))]
}

fn idoc(number: u32, customer: &str) -> String {
    format!(
        "<IDOC BEGIN=\"1\"><EDI_DC40 SEGMENT=\"1\"><MANDT>100</MANDT><DOCNUM>{number:016}</DOCNUM>\
         <MESTYP>DEBMAS</MESTYP><SNDPRN>ECDCLNT100</SNDPRN><CREDAT>20261120</CREDAT><CRETIM>101500</CRETIM></EDI_DC40>\
         <E1KNA1M SEGMENT=\"1\"><MSGFN>005</MSGFN><KUNNR>{customer}</KUNNR></E1KNA1M></IDOC>"
    )
}

#[tokio::test]
async fn sap_posts_several_idocs_at_once_and_each_is_an_event() {
    let world = World::of(System::SagePro).await;
    let body = json!({"name": "ecc", "system": "sap-ecc", "secrets": ["SAPHTTP:a-long-password"]});
    let hook = source(&world, &body).await;
    let packet = format!("<DEBMAS07>{}{}</DEBMAS07>", idoc(1, "0000100042"), idoc(2, "0000100043"));
    let request = ("text/xml", packet.as_str());
    for bad in [vec![], basic("SAPHTTP:another-password"), basic("SAPHTTP:")] {
        assert_eq!(post(&world, &hook, request, &bad).await.0, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(world.tenant.get("/events").await.unwrap()["items"], json!([]), "nothing is stored");
    let good = basic("SAPHTTP:a-long-password");
    let (status, first) = post(&world, &hook, request, &good).await;
    assert_eq!(status, StatusCode::OK, "{first}");
    let events = first["events"].as_array().unwrap();
    assert_eq!(events.len(), 2);
    // SAP posts again whatever was not answered: a packet that overlaps brings only what is new.
    let packet = format!("<DEBMAS07>{}{}</DEBMAS07>", idoc(2, "0000100043"), idoc(3, "0000100044"));
    let (_, second) = post(&world, &hook, ("text/xml", &packet), &good).await;
    assert_eq!(
        (&second["events"][0]["repeat"], &second["events"][1]["repeat"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(second["events"][0]["event"], events[1]["event"]);
    let stored = world.tenant.get("/events?object_id=0000100044").await.unwrap();
    let stored = &stored["items"][0];
    assert_eq!((&stored["kind"], &stored["system"]), (&json!("DEBMAS"), &json!("sap-ecc")));
    assert_eq!(stored["occurred_at"], json!("2026-11-20T10:15:00.000Z"));
    // What is no packet is kept, dead, with the reason.
    let (status, broken) = post(&world, &hook, ("text/xml", "<!DOCTYPE a []><a/>"), &good).await;
    assert_eq!(status, StatusCode::OK);
    let broken = world.end_of(broken["event"].as_str().unwrap()).await;
    assert!(broken["reason"].as_str().unwrap().contains("document type"), "{broken}");
}

#[tokio::test]
async fn epicors_directives_sign_what_they_send() {
    let world = World::of(System::SagePro).await;
    let secret = "a-key-of-the-directive";
    let hook = source(&world, &json!({"name": "kinetic", "system": "epicor", "secrets": [secret]})).await;
    let call =
        json!({"eventId": "e-1", "company": "EPIC06", "table": "Customer", "sysRowId": "g-1", "sysRevId": 7,
        "operation": "Update", "row": {"CustNum": 812, "Name": "Jenny Rosen"}})
        .to_string();
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let request = ("application/json", call.as_str());
    let forged = [("x-signature", sign("another-key-of-nobody", now, call.as_bytes()))];
    assert_eq!(post(&world, &hook, request, &forged).await.0, StatusCode::BAD_REQUEST);
    let signed = [("x-signature", sign(secret, now, call.as_bytes()))];
    let (status, answer) = post(&world, &hook, request, &signed).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let event = world.tenant.get(&format!("/events/{}", answer["event"].as_str().unwrap())).await.unwrap();
    assert_eq!((&event["kind"], &event["object_id"]), (&json!("Customer.Update"), &json!("g-1")));
}

#[tokio::test]
async fn a_source_that_could_not_be_believed_is_refused_with_the_remedy() {
    let world = World::of(System::SagePro).await;
    let fingerprint = "ab".repeat(32);
    let certificate = json!({"auth": "client-certificate", "certificates": [fingerprint]});
    let erp = world.tenant.connections["erp"].as_str().unwrap().to_owned();
    let unknown: String = erp.chars().take(4).chain(erp.chars().skip(4).map(|_| '0')).collect();
    let poll = |connection: &str, operation: &str, every_s: u64| json!({"poll": {"connection": connection, "operation": operation, "every_s": every_s}});
    let secrets = json!(["a-long-enough-secret"]);
    let cases = [
        (json!({"name": "a", "system": "oracle", "secrets": secrets}), "one of"),
        (json!({"name": "a", "system": "epicor", "secrets": ["short"]}), "16 characters"),
        (json!({"name": "a", "system": "sap-ecc", "secrets": secrets}), "user:password"),
        (json!({"name": "a", "system": "sap-ecc", "settings": certificate}), "client_certificate_header"),
        (
            json!({"name": "a", "system": "epicor", "settings": {"livemode": "any"}, "secrets": secrets}),
            "livemode",
        ),
        (
            json!({"name": "a", "system": "stripe", "settings": {"auth": "bearer"}, "secrets": secrets}),
            "auth",
        ),
        (
            json!({"name": "a", "system": "sage-pro", "settings": poll(&erp, "customers.changed", 1), "secrets": secrets}),
            "10 to 86400",
        ),
        (
            json!({"name": "a", "system": "sage-pro", "settings": poll(&erp, "invoice.create", 60), "secrets": secrets}),
            "poll/operation",
        ),
        (
            json!({"name": "a", "system": "sage-pro", "settings": poll(&unknown, "customers.changed", 60), "secrets": secrets}),
            "connection",
        ),
    ];
    for (body, hint) in cases {
        let bytes = Some(("application/json", body.to_string().into_bytes()));
        let (status, answer) = world.tenant.client.exchange(Method::POST, SOURCES, bytes, &[]).await.unwrap();
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}: {answer}");
        assert!(answer["detail"].as_str().unwrap().contains(hint), "{hint}: {answer}");
    }
}
