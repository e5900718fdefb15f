//! The doors of SAP ECC against the stand-in: web services, IDocs over SOAP and as plain XML. Repeats, locks, what is
//! stored and not posted yet, what is stored and refused, connections that are cut after the commit.

use portolan_connectors::{CallContext, Registry};
use portolan_domain::verdict::CallFailure;
use serde_json::{Value, json};

use super::{
    code, config, context, found, loopback,
    sap_ecc_world::{World, customer, order, posting},
};

const IDOC_DOORS: [&str; 2] = ["idoc-soap", "idoc-xml"];

fn idocs(door: &str) -> Value {
    json!({
        "doors": {"sales-order.create": door, "accounting-document.post": door, "customer.change": door, "customer.create": door},
        "idoc": {"receiver": "ECDCLNT100"}, "read_back": {"attempts": 40, "delay_ms": 10},
    })
}

/// The second attempt of the same delivery.
fn again() -> CallContext {
    CallContext { attempt: 2, ..context() }
}

fn other() -> CallContext {
    CallContext { call_id: "dlv01JD000000000000000000001".to_owned(), ..context() }
}

#[tokio::test]
async fn web_services_take_iso_dates_and_answer_saps_own() {
    let doors = json!({"reads": "srt", "sales-order.create": "srt", "accounting-document.post": "srt",
        "accounting-document.reverse": "srt", "customer.create": "srt"});
    let world = World::start(json!({"doors": doors})).await;
    let created = world.write("sales-order.create", order("ch_1")).await.unwrap();
    assert_eq!(created["SALESDOCUMENT"], "0000016023");
    assert_eq!(world.ledger("sales-order")[0]["operation"], "Z_STRIPE_ORDER_CREATE");
    let posted = world.write("accounting-document.post", posting("R1", "JPY", "5000")).await.unwrap();
    assert_eq!(world.ledger("accounting-document")[0]["document"]["posting_date"], "20261120");
    let items =
        found(world.read("open-items.by-customer", json!({"COMP_CODE": "1000", "CUSTOMER": "100042"})).await);
    assert_eq!(items["LINEITEMS"][0]["PSTNG_DATE"], "20261120");
    let document = found(world.read("accounting-document.get", json!({"OBJ_KEY": posted["OBJ_KEY"]})).await);
    assert_eq!(document["ITEMS"][0]["AMT_DOCCUR"], "5000");
    assert_eq!(
        code(world.write("accounting-document.post", posting("R2", "USD", "0.001")).await),
        "data-refused"
    );
    world.fault("Z_STRIPE_CUSTOMER_CREATE", "commit-then-cut").await;
    let cut = world.write("customer.create", customer("Hopper", "grace@example.com")).await.unwrap_err();
    assert!(matches!(cut, CallFailure::Ambiguous { .. }));
    found(world.read("customer.by-email", json!({"E_MAIL": "grace@example.com"})).await);
}

#[tokio::test]
async fn documents_go_in_as_idocs_and_are_read_back_like_any_other() {
    for door in IDOC_DOORS {
        let world = World::start(idocs(door)).await;
        let created = world.sap.write("sales-order.create", &order("ch_1"), &context()).await.unwrap();
        assert_eq!(created["SALESDOCUMENT"], "0000016023");
        let line = &world.ledger("sales-order")[0];
        assert_eq!(
            (&line["amounts"]["USD"], &line["business_key"]),
            (&json!("49.98"), &json!("ch_1")),
            "{door}"
        );
        assert_eq!(line["document"]["customer"], "0000100042");
        let posted = world
            .sap
            .write("accounting-document.post", &posting("R1", "KWD", "12.345"), &other())
            .await
            .unwrap();
        assert_eq!(posted["OBJ_KEY"], "010000000810002026");
        assert_eq!(world.ledger("accounting-document")[0]["amounts"]["KWD"], "12.345");
    }
}

#[tokio::test]
async fn a_repeat_finds_the_idoc_that_is_there_and_posts_nothing_again() {
    for (door, path) in IDOC_DOORS.into_iter().zip(["POST /sap/bc/srt/idoc", "POST /sap/bc/idoc_xml"]) {
        let world = World::start(idocs(door)).await;
        world.fault(path, "commit-then-cut").await;
        let cut = world.sap.write("sales-order.create", &order("ch_1"), &context()).await.unwrap_err();
        assert!(matches!(cut, CallFailure::Ambiguous { .. }), "{cut:?}");
        for _ in 0..2 {
            let created = world.sap.write("sales-order.create", &order("ch_1"), &again()).await.unwrap();
            assert_eq!(created["SALESDOCUMENT"], "0000016023", "{door}");
        }
        // Whoever forgot which attempt this is does no harm either.
        world.sap.write("sales-order.create", &order("ch_1"), &context()).await.unwrap();
        assert_eq!((world.ledger("idoc").len(), world.ledger("sales-order").len()), (1, 1), "{door}");
    }
}

#[tokio::test]
async fn what_is_stored_and_not_posted_yet_is_in_doubt_until_it_is() {
    for door in IDOC_DOORS {
        let mut settings = idocs(door);
        settings["read_back"] = json!({"attempts": 2, "delay_ms": 1});
        let world = World::start_with(settings, |world| world.sap.idoc_delay_ms = 400).await;
        let waiting = world.sap.write("sales-order.create", &order("ch_1"), &context()).await.unwrap_err();
        assert!(matches!(waiting, CallFailure::Ambiguous { .. }));
        assert_eq!(waiting.problem().code, "idoc-not-posted-yet");
        assert_eq!(waiting.problem().detail["STATUS"], "64");
        let written = tokio::time::timeout(std::time::Duration::from_secs(20), async {
            loop {
                if let Ok(written) = world.sap.write("sales-order.create", &order("ch_1"), &again()).await {
                    return written;
                }
            }
        });
        assert_eq!(written.await.unwrap()["SALESDOCUMENT"], "0000016023");
        assert_eq!((world.ledger("idoc").len(), world.ledger("sales-order").len()), (1, 1), "{door}");
    }
}

#[tokio::test]
async fn what_is_stored_and_refused_waits_for_a_person_with_saps_own_words() {
    for door in IDOC_DOORS {
        let world = World::start(idocs(door)).await;
        let mut body = posting("R1", "USD", "49.98");
        body["ACCOUNTRECEIVABLE"][0]["CUSTOMER"] = json!("0000000999");
        for attempt in [context(), again()] {
            let refused = world.sap.write("accounting-document.post", &body, &attempt).await.unwrap_err();
            assert!(matches!(refused, CallFailure::Permanent { .. }), "{refused:?}");
            let message = &refused.problem().message;
            assert!(
                message.contains("status 51") && message.contains("Customer 999 is not defined"),
                "{message}"
            );
        }
        assert_eq!((world.ledger("idoc").len(), world.ledger("accounting-document").len()), (1, 0));
    }
    let mut settings = idocs("idoc-xml");
    settings["idoc"]["sender"] = json!("STRANGER");
    let world = World::start(settings).await;
    let refused = world.write("sales-order.create", order("ch_1")).await.unwrap_err();
    assert!(refused.problem().message.contains("status 56"), "{refused:?}");
}

#[tokio::test]
async fn a_message_id_that_is_being_worked_on_is_tried_again_and_other_refusals_are_not() {
    let world = World::start(idocs("idoc-soap")).await;
    let id = "urn:sap.com:msgid=dlv01JD000000000000000000000";
    world.post("/_simulator/locks", json!({"object": id, "locked": true})).await;
    let locked = world.write("sales-order.create", order("ch_1")).await.unwrap_err();
    assert!(matches!(locked, CallFailure::Retryable { .. }), "{locked:?}");
    world.post("/_simulator/locks", json!({"object": id, "locked": false})).await;
    world.write("sales-order.create", order("ch_1")).await.unwrap();
    let unregistered = |world: &mut portolan_simulators::SimulatorSettings| world.sap.idoc_types.clear();
    let world = World::start_with(idocs("idoc-soap"), unregistered).await;
    let refused = world.write("sales-order.create", order("ch_1")).await.unwrap_err();
    assert!(matches!(refused, CallFailure::Permanent { .. }), "{refused:?}");
}

#[tokio::test]
async fn customers_are_changed_by_debmas_with_what_was_not_said() {
    let world = World::start(idocs("idoc-xml")).await;
    let change = json!({"CUSTOMERNO": "0000100042", "PI_SALESORG": "1000", "PI_DISTR_CHAN": "10", "PI_DIVISION": "00",
        "PI_PERSONALDATA": {"CITY": "Rome", "COUNTRY": "IT"}, "PI_PERSONALDATAX": {"CITY": "X"}});
    let changed = world.write("customer.change", change.clone()).await.unwrap();
    assert_eq!(
        (&changed["ORT01"], &changed["LAND1"], &changed["NAME1"]),
        (&json!("Rome"), &json!("US"), &json!("Jenny Rosen"))
    );
    let mut email = change;
    email["PI_PERSONALDATA"] = json!({"E_MAIL": "jenny@example.com"});
    email["PI_PERSONALDATAX"] = json!({"E_MAIL": "X"});
    assert_eq!(code(world.sap.write("customer.change", &email, &other()).await), "invalid-parameters");
    let mut new = customer("Hopper", "");
    assert_eq!(code(world.sap.write("customer.create", &new, &other()).await), "invalid-parameters");
    new["CUSTOMERNO"] = json!("777");
    new["E1KNB1M"] = json!({"BUKRS": "1000", "AKONT": "0000140000"});
    let created = world.sap.write("customer.create", &new, &other()).await.unwrap();
    assert_eq!((&created["CUSTOMERNO"], &created["NAME1"]), (&json!("0000000777"), &json!("Grace Hopper")));
    assert_eq!(world.ledger("customer")[0]["document"]["sales_areas"], json!(["1000/10/00"]));
}

#[tokio::test]
async fn what_an_idoc_has_no_place_for_is_refused_by_name_before_anything_is_sent() {
    let world = World::start(idocs("idoc-soap")).await;
    let mut with_text = order("ch_1");
    with_text["ORDER_TEXT"] = json!([{"TEXT_LINE": "x"}]);
    let mut with_reason = order("ch_1");
    with_reason["ORDER_HEADER_IN"]["ORD_REASON"] = json!("105");
    let mut two_prices = order("ch_1");
    let price = two_prices["ORDER_CONDITIONS_IN"][0].clone();
    two_prices["ORDER_CONDITIONS_IN"].as_array_mut().unwrap().push(price);
    let mut control = order("ch_1");
    control["ORDER_ITEMS_IN"][0]["SHORT_TEXT"] = json!("a\u{7}b");
    for (body, pointer) in [
        (with_text, "/ORDER_TEXT:"),
        (with_reason, "/ORDER_HEADER_IN/ORD_REASON:"),
        (two_prices, "/ORDER_CONDITIONS_IN:"),
        (control, "/ORDER_ITEMS_IN/SHORT_TEXT:"),
    ] {
        let refused = world.write("sales-order.create", body).await.unwrap_err();
        assert!(refused.problem().message.starts_with(pointer), "{refused:?}");
    }
    assert!(world.ledger("idoc").is_empty());
}

#[test]
fn settings_of_doors_are_checked() {
    for (settings, pointer) in [
        (json!({"doors": {"customer.get": "srt"}}), "/settings/doors/customer.get"),
        (json!({"doors": {"sales-order.create": "odata"}}), "/settings/doors/sales-order.create"),
        (json!({"doors": {"reads": "idoc-xml"}}), "/settings/doors/reads"),
        (
            json!({"doors": {"accounting-document.reverse": "idoc-soap"}}),
            "/settings/doors/accounting-document.reverse",
        ),
        (json!({"doors": {"sales-order.create": "idoc-soap"}}), "/settings/idoc/receiver"),
        (json!({"idoc": {"receiver": "A<B"}}), "/settings/idoc/receiver"),
        (json!({"idoc": {"port": "X"}}), "/settings/idoc/port"),
        (json!({"idoc": {"xml_path": "/a/../b"}}), "/settings/idoc/xml_path"),
        (json!({"service_path": "/sap?x"}), "/settings/service_path"),
        (json!({"service_paths": {"Z_X": 1}}), "/settings/service_paths/Z_X"),
    ] {
        let mut all = json!({"base_url": "http://127.0.0.1:8000"});
        all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        let secrets = &[("user", "STRIPE_IF"), ("password", "geheim12")];
        let registry = Registry::standard();
        let error = registry.get("sap-ecc").unwrap().connect(&config(all, secrets), &loopback()).unwrap_err();
        assert_eq!(error.pointer, pointer, "{error}");
    }
}
