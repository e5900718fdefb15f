//! SAP ECC against the stand-in: what was really committed decides, by the stand-in's own ledger.

use std::sync::Arc;

use portolan_connectors::{Connection, Found};
use portolan_domain::verdict::CallFailure;
use portolan_simulators::{Running, SimulatorSettings, System, serve, settings::UnitOfWork};
use serde_json::{Value, json};

use super::{code, connect, context, found};

const SECRETS: &[(&str, &str)] = &[("user", "STRIPE_IF"), ("password", "Portolan-100")];

/// A stand-in and a connection to it.
pub(crate) struct World {
    pub(crate) running: Running,
    pub(crate) sap: Arc<dyn Connection>,
}

impl World {
    pub(crate) async fn start(settings: Value) -> Self {
        Self::start_with(settings, |_| {}).await
    }

    pub(crate) async fn start_with(settings: Value, change: impl FnOnce(&mut SimulatorSettings)) -> Self {
        let mut world = SimulatorSettings::default();
        change(&mut world);
        let running = serve(System::SapEcc, world).await.unwrap();
        let mut all = json!({"base_url": running.base_url(), "read_back": {"attempts": 3, "delay_ms": 5}});
        all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        let sap = connect("sap-ecc", all, SECRETS);
        Self { running, sap }
    }

    pub(crate) async fn write(&self, operation: &str, body: Value) -> Result<Value, CallFailure> {
        self.sap.write(operation, &body, &context()).await
    }

    pub(crate) async fn read(&self, operation: &str, parameters: Value) -> Result<Found, CallFailure> {
        self.sap.read(operation, &parameters, &context()).await
    }

    /// The next call of this operation meets a fault.
    pub(crate) async fn fault(&self, operation: &str, fault: &str) {
        self.post("/_simulator/faults", json!({"operation": operation, "fault": fault, "ms": 30})).await;
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Value {
        let http = connect("http", json!({"base_url": self.running.base_url()}), &[]);
        let answer =
            http.write("request.post", &json!({"path": path, "body": body}), &context()).await.unwrap();
        answer["body"].clone()
    }

    /// The ledger's documents of a kind.
    pub(crate) fn ledger(&self, kind: &str) -> Vec<Value> {
        let entries = self.running.ledger().entries();
        entries
            .iter()
            .filter(|entry| entry.kind == kind)
            .map(|entry| serde_json::to_value(&**entry).unwrap())
            .collect()
    }
}

pub(crate) fn order(reference: &str) -> Value {
    json!({
        "ORDER_HEADER_IN": {"DOC_TYPE": "OR", "SALES_ORG": "1000", "DISTR_CHAN": "10", "DIVISION": "00",
            "REQ_DATE_H": "20261120", "PURCH_DATE": "20261120", "PURCH_NO_C": reference, "CURRENCY": "USD"},
        "ORDER_ITEMS_IN": [{"ITM_NUMBER": "000010", "MATERIAL": "000000000000004711", "TARGET_QTY": "2.000",
            "SHORT_TEXT": "Nuts & <bolts>"}],
        "ORDER_PARTNERS": [{"PARTN_ROLE": "AG", "PARTN_NUMB": "0000100042"}, {"PARTN_ROLE": "WE", "PARTN_NUMB": "0000100042"}],
        "ORDER_SCHEDULES_IN": [{"ITM_NUMBER": "000010", "SCHED_LINE": "0001", "REQ_DATE": "20261120", "REQ_QTY": "2.000"}],
        "ORDER_CONDITIONS_IN": [{"ITM_NUMBER": "000010", "COND_TYPE": "PR00", "COND_VALUE": "24.99", "CURRENCY": "USD"}],
    })
}

pub(crate) fn posting(reference: &str, currency: &str, amount: &str) -> Value {
    let row = |item: &str, amount: String| json!({"ITEMNO_ACC": item, "CURR_TYPE": "00", "CURRENCY": currency, "AMT_DOCCUR": amount});
    json!({
        "DOCUMENTHEADER": {"BUS_ACT": "RFBU", "USERNAME": "PORTOLAN", "HEADER_TXT": "Stripe charge", "COMP_CODE": "1000",
            "DOC_DATE": "20261120", "PSTNG_DATE": "20261120", "DOC_TYPE": "DZ", "REF_DOC_NO": reference},
        "ACCOUNTGL": [{"ITEMNO_ACC": "0000000001", "GL_ACCOUNT": "0000113150", "ITEM_TEXT": "ch_1"}],
        "ACCOUNTRECEIVABLE": [{"ITEMNO_ACC": "0000000002", "CUSTOMER": "0000100042", "ITEM_TEXT": "ch_1", "ALLOC_NMBR": "16023"}],
        "CURRENCYAMOUNT": [row("0000000001", amount.to_owned()), row("0000000002", format!("-{amount}"))],
    })
}

pub(crate) fn customer(name: &str, email: &str) -> Value {
    json!({
        "PI_PERSONALDATA": {"TITLE_P": "Ms.", "FIRSTNAME": "Grace", "LASTNAME": name, "STREET": "Townsend St",
            "HOUSE_NO": "510", "POSTL_COD1": "62704", "CITY": "Springfield", "REGION": "IL", "COUNTRY": "US",
            "E_MAIL": email, "LANGU_P": "E", "CURRENCY": "USD"},
        "PI_COPYREFERENCE": {"SALESORG": "1000", "DISTR_CHAN": "10", "DIVISION": "00", "REF_CUSTMR": "0000100001"},
    })
}

fn area(number: &str) -> Value {
    json!({"CUSTOMERNO": number, "PI_SALESORG": "1000", "PI_DISTR_CHAN": "10", "PI_DIVISION": "00"})
}

#[tokio::test]
async fn every_write_is_found_again_in_wrapper_and_in_session() {
    for (unit, system) in [("wrapper", UnitOfWork::Stateless), ("session", UnitOfWork::SessionCookie)] {
        let settings = json!({"unit_of_work": unit});
        let world = World::start_with(settings, |world| world.sap.unit_of_work = system).await;
        let order = world.write("sales-order.create", order("ch_1")).await.unwrap();
        let number = json!({"SALESDOCUMENT": order["SALESDOCUMENT"]});
        let mut change = number.clone();
        change["ORDER_HEADER_IN"] = json!({"DLV_BLOCK": "01", "BILL_BLOCK": "08"});
        change["ORDER_HEADER_INX"] = json!({"UPDATEFLAG": "U", "DLV_BLOCK": "X", "BILL_BLOCK": "X"});
        let changed = world.write("sales-order.change", change).await.unwrap();
        assert_eq!((&changed["DLV_BLOCK"], &changed["BILL_BLOCK"]), (&json!("01"), &json!("08")));
        let row = found(world.read("sales-order.by-number", number).await);
        assert_eq!(row["NET_VALUE"], "49.98");
        assert_eq!(row["CUSTOMER"], "0000100042");

        let payment = world.write("accounting-document.post", posting("R1", "USD", "49.98")).await.unwrap();
        let key = payment["OBJ_KEY"].clone();
        assert_eq!(
            world.read("accounting-document.reversal", json!({"OBJ_KEY": key})).await.unwrap(),
            Found::No
        );
        let reversal = json!({"REVERSAL": {"OBJ_TYPE": "BKPFF", "OBJ_KEY": key, "OBJ_KEY_R": key, "COMP_CODE": "1000",
            "PSTNG_DATE": "20261121", "REASON_REV": "01"}, "BUS_ACT": "RFBU"});
        let reversed = world.write("accounting-document.reverse", reversal.clone()).await.unwrap();
        let asked = found(world.read("accounting-document.reversal", json!({"OBJ_KEY": key})).await);
        assert_eq!(asked["OBJ_KEY"], reversed["OBJ_KEY"]);
        assert_ne!(asked["OBJ_KEY"], key);
        assert_eq!(code(world.write("accounting-document.reverse", reversal).await), "data-refused");

        let created = world.write("customer.create", customer("Hopper", "grace@example.com")).await.unwrap();
        let mut change = area(created["CUSTOMERNO"].as_str().unwrap());
        change["PI_PERSONALDATA"] = json!({"CITY": "Arlington", "STREET": "not flagged"});
        change["PI_PERSONALDATAX"] = json!({"CITY": "X"});
        let changed = world.write("customer.change", change).await.unwrap();
        assert_eq!(changed["ORT01"], "Arlington", "{unit}");
        let said = found(world.read("customer.get", area("100100")).await);
        assert_eq!(said["PE_PERSONALDATA"]["STREET"], "Townsend St");
        assert_eq!(said["PE_PERSONALDATA"]["LASTNAME"], "Hopper");
        assert_eq!(said["PE_COMPANYDATA"]["NAME"], "");
    }
}

#[tokio::test]
async fn a_wrapper_that_was_cut_after_its_commit_is_in_doubt_and_its_document_is_found() {
    let world = World::start(json!({})).await;
    for (operation, function, body, read, parameters) in [
        (
            "sales-order.create",
            "Z_STRIPE_ORDER_CREATE",
            order("ch_1"),
            "sales-order.find",
            json!({"PURCH_NO_C": "ch_1"}),
        ),
        (
            "customer.create",
            "Z_STRIPE_CUSTOMER_CREATE",
            customer("Hopper", "Grace@example.com"),
            "customer.by-email",
            json!({"E_MAIL": "Grace@example.com"}),
        ),
    ] {
        world.fault(function, "commit-then-cut").await;
        let failure = world.write(operation, body).await.unwrap_err();
        assert!(matches!(failure, CallFailure::Ambiguous { .. }), "{failure:?}");
        found(world.read(read, parameters).await);
    }
    world.fault("Z_STRIPE_CUSTOMER_CREATE", "update-lost").await;
    let lost = world.write("customer.create", customer("Lost", "lost@example.com")).await;
    assert_eq!(code(lost), "not-found-after-write");
    world.fault("Z_STRIPE_CUSTOMER_CHANGE", "locked").await;
    let mut change = area("100042");
    change["PI_PERSONALDATA"] = json!({"CITY": "Rome"});
    change["PI_PERSONALDATAX"] = json!({"CITY": "X"});
    assert_eq!(code(world.write("customer.change", change).await), "record-locked");
}

#[tokio::test]
async fn customers_are_found_by_number_name_and_e_mail_whatever_its_case() {
    let world = World::start(json!({})).await;
    for email in ["jenny.rosen@example.com", "Jenny.Rosen@Example.com"] {
        let customer = found(world.read("customer.by-email", json!({"E_MAIL": email})).await);
        assert_eq!(
            (&customer["CUSTOMERNO"], &customer["NAME1"]),
            (&json!("0000100042"), &json!("Jenny Rosen"))
        );
    }
    for absent in [json!({"E_MAIL": "nobody@example.com"}), json!({"E_MAIL": "jenny.rosen+x@example.com"})] {
        assert_eq!(world.read("customer.by-email", absent).await.unwrap(), Found::No);
    }
    let by_name = found(world.read("customer.find", json!({"NAME1": "Ada Lovelace"})).await);
    assert_eq!(by_name, found(world.read("customer.find", json!({"CUSTOMERNO": "100043"})).await));
    for bad in [json!({"E_MAIL": "x' OR 'a' = 'a"}), json!({"E_MAIL": ""})] {
        assert_eq!(code(world.read("customer.by-email", bad).await), "invalid-parameters");
    }
    world.write("customer.create", customer("Rosen", "jenny.rosen@example.com")).await.unwrap();
    let two = world.read("customer.by-email", json!({"E_MAIL": "jenny.rosen@example.com"})).await;
    assert_eq!(code(two), "several-documents");
}

#[tokio::test]
async fn documents_are_read_with_natural_amounts() {
    let world = World::start(json!({})).await;
    for (reference, currency, amount) in
        [("R1", "USD", "49.98"), ("R2", "JPY", "5000"), ("R3", "KWD", "100.005")]
    {
        let posted =
            world.write("accounting-document.post", posting(reference, currency, amount)).await.unwrap();
        let document =
            found(world.read("accounting-document.get", json!({"OBJ_KEY": posted["OBJ_KEY"]})).await);
        let items = &document["ITEMS"];
        assert_eq!((&items[0]["AMT_DOCCUR"], &items[0]["CUSTOMER"]), (&json!(amount), &json!("")));
        assert_eq!(items[1]["AMT_DOCCUR"], json!(format!("-{amount}")));
        assert_eq!((&items[1]["CUSTOMER"], &items[1]["ALLOC_NMBR"]), (&json!("0000100042"), &json!("16023")));
        assert_eq!((&document["CURRENCY"], &document["REF_DOC_NO"]), (&json!(currency), &json!(reference)));
    }
    let absent = world.read("accounting-document.get", json!({"OBJ_KEY": "999999999910002026"})).await;
    assert_eq!(absent.unwrap(), Found::No);
    let items =
        found(world.read("open-items.by-customer", json!({"COMP_CODE": "1000", "CUSTOMER": "100042"})).await);
    assert_eq!(items["LINEITEMS"].as_array().unwrap().len(), 3);
    assert_eq!(
        (&items["LINEITEMS"][0]["DB_CR_IND"], &items["LINEITEMS"][0]["AMT_DOCCUR"]),
        (&json!("H"), &json!("49.98"))
    );
    let earlier = json!({"COMP_CODE": "1000", "CUSTOMER": "100042", "KEYDATE": "20261119"});
    assert_eq!(found(world.read("open-items.by-customer", earlier).await)["LINEITEMS"], json!([]));
    let nobody = world.read("open-items.by-customer", json!({"COMP_CODE": "1000", "CUSTOMER": "1"})).await;
    assert_eq!(nobody.unwrap(), Found::No);
    assert_eq!(world.read("sales-order.get", json!({"SALESDOCUMENT": "1"})).await.unwrap(), Found::No);
    world.write("sales-order.create", order("ch_1")).await.unwrap();
    let status = found(world.read("sales-order.get", json!({"SALESDOCUMENT": "16023"})).await);
    assert_eq!(status["STATUSINFO"][0]["NET_VALUE"], "49.98");
}

#[tokio::test]
async fn a_credit_memo_request_refers_to_its_order() {
    let world = World::start(json!({})).await;
    let created = world.write("sales-order.create", order("ch_1")).await.unwrap();
    let mut request = order("re_1");
    request["ORDER_HEADER_IN"]["DOC_TYPE"] = json!("CR");
    request["ORDER_HEADER_IN"]["ORD_REASON"] = json!("105");
    request["ORDER_HEADER_IN"]["REF_DOC"] = created["SALESDOCUMENT"].clone();
    world.write("sales-order.create", request.clone()).await.unwrap();
    let document = &world.ledger("sales-order")[1]["document"];
    assert_eq!((&document["doc_type"], &document["reason"]), (&json!("G2"), &json!("105")));
    assert_eq!(document["refers_to"], created["SALESDOCUMENT"]);
    request["ORDER_HEADER_IN"]["REF_DOC"] = json!("0000000001");
    request["ORDER_HEADER_IN"]["PURCH_NO_C"] = json!("re_2");
    assert_eq!(code(world.write("sales-order.create", request).await), "data-refused");
}
