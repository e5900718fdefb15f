//! Card numbers that come with events are nowhere on the disk: not in the database, not in its log, not in the host's.

use std::path::Path;

use portolan::stage::{Client, SIGNING_SECRET, System, sign, signed_headers};
use portolan_tests::{World, end_of};
use reqwest::{Method, StatusCode};
use serde_json::json;

const NUMBERS: [&str; 4] = ["4242424242424242", "5555555555554444", "378282246310005", "6011111111111117"];

/// Every file below a folder that holds the text.
fn holding(folder: &Path, text: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holding(&path, text));
        } else if std::fs::read(&path).unwrap().windows(text.len()).any(|part| part == text) {
            found.push(path.display().to_string());
        }
    }
    found
}

#[tokio::test]
async fn a_card_number_in_an_event_is_masked_before_it_is_stored() {
    let world = World::with(System::SagePro, None, &[("PORTOLAN_LOG__FILTER", "debug")]).await;
    let [visa, mastercard, amex, discover] = NUMBERS;
    let spaced: String = visa
        .as_bytes()
        .chunks(4)
        .map(|part| std::str::from_utf8(part).unwrap())
        .collect::<Vec<_>>()
        .join(" ");
    let escaped: String = amex.bytes().map(|digit| format!("\\u00{digit:02x}")).collect();
    let body = format!(
        r#"{{"id":"evt_pan","object":"event","type":"plan.created","livemode":false,"data":{{"object":{{"id":"{mastercard}","n":{discover},
            "text":"pay {spaced} now","escaped":"{escaped}","last4":"4242","amount":4242424242}}}}}}"#
    );
    let post = async |body: &[u8]| {
        let headers = signed_headers(SIGNING_SECRET, body);
        let sent = Some(("application/json", body.to_vec()));
        world.tenant.client.exchange(Method::POST, &world.tenant.hook, sent, &headers).await.unwrap()
    };
    let (status, first) = post(body.as_bytes()).await;
    assert_eq!(status, StatusCode::OK, "{first}");
    let event = first["event"].as_str().unwrap();
    let told = end_of(&world.tenant, event).await;
    assert_eq!(told["cards_masked"], json!(4), "{told}");
    assert_eq!(told["object_id"], json!("555555******4444"));
    // The signature was that of the bytes as they came, and the same event again is the same event.
    let (_, again) = post(body.as_bytes()).await;
    assert_eq!((&again["event"], &again["repeat"]), (&first["event"], &json!(true)));
    let payload = world.tenant.get(&format!("/events/{event}/payload")).await.unwrap();
    let payload = payload.to_string();
    assert!(payload.contains("424242******4242") && payload.contains("601111******1117"), "{payload}");
    assert!(payload.contains("4242424242"), "amounts stay");
    // A body that is no event is kept, too: the same holds for it.
    let (status, dead) = post(format!("no JSON at all {visa} {mastercard}").as_bytes()).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(end_of(&world.tenant, dead["event"].as_str().unwrap()).await["cards_masked"], json!(2));
    // An IDoc.
    let new = json!({"name": "ecc", "system": "sap-ecc", "secrets": ["SAPHTTP:a-long-password"]});
    let made = world.tenant.client.post("/api/v1/environments/sandbox/sources", &new).await.unwrap();
    let idoc = format!(
        "<O><IDOC><EDI_DC40><DOCNUM>7</DOCNUM><MESTYP>ORDERS</MESTYP><SNDPRN>{visa}</SNDPRN></EDI_DC40><T><![CDATA[{mastercard}]]></T></IDOC></O>"
    );
    let basic = {
        use base64::{Engine, engine::general_purpose::STANDARD};
        format!("Basic {}", STANDARD.encode("SAPHTTP:a-long-password"))
    };
    let sender = Client::new(world.host.operator.base(), None).unwrap();
    let sent = Some(("text/xml", idoc.into_bytes()));
    let answer = sender
        .exchange(Method::POST, made["path"].as_str().unwrap(), sent, &[("authorization", basic)])
        .await
        .unwrap();
    assert_eq!(answer.0, StatusCode::OK, "{}", answer.1);
    // One alert, however many events.
    let alerts = world.tenant.get("/alerts?open=true").await.unwrap();
    let of_cards: Vec<_> = alerts["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|alert| alert["code"] == "card-numbers-masked")
        .collect();
    assert_eq!(of_cards.len(), 2, "one for each source: {alerts}");
    for number in NUMBERS.into_iter().chain([spaced.as_str(), escaped.as_str()]) {
        assert_eq!(holding(world.folder.path(), number.as_bytes()), Vec::<String>::new(), "{number}");
    }
}

/// What people write is stored, too.
#[tokio::test]
async fn a_card_number_in_settings_and_forged_requests_is_not_stored_either() {
    let world = World::of(System::SagePro).await;
    let body = format!(r#"{{"id":"evt_f","object":"event","type":"x","note":"{}"}}"#, NUMBERS[0]);
    let forged = [("stripe-signature", sign("whsec_of_somebody_else_00000", 1, body.as_bytes()))];
    let sent = Some(("application/json", body.into_bytes()));
    let (status, _) =
        world.tenant.client.exchange(Method::POST, &world.tenant.hook, sent, &forged).await.unwrap();
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let rows = json!({"rows": [{"key": "k", "value": {"text": NUMBERS[1]}}]});
    let path = "/api/v1/environments/sandbox/lookup-tables/t/rows";
    world
        .tenant
        .client
        .exchange(Method::PUT, path, Some(("application/json", rows.to_string().into_bytes())), &[])
        .await
        .unwrap();
    for number in NUMBERS {
        assert_eq!(holding(world.folder.path(), number.as_bytes()), Vec::<String>::new(), "{number}");
    }
}
