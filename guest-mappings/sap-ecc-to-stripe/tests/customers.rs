//! What becomes of DEBMAS. The rules of the way back are tried with Sage Pro's rows.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test code")]

use portolan_sdk::{prelude::*, testing::Trial};
use sap_ecc_to_stripe::SapEccToStripe;
use serde_json::Value;

fn idoc(fields: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><DEBMAS07><IDOC BEGIN=\"1\"><EDI_DC40 SEGMENT=\"1\"><TABNAM>EDI_DC40</TABNAM>\
         <MANDT>100</MANDT><DOCNUM>0000000000812345</DOCNUM><DIRECT>1</DIRECT><IDOCTYP>DEBMAS07</IDOCTYP><MESTYP>DEBMAS</MESTYP>\
         <SNDPRN>ECDCLNT100</SNDPRN><CREDAT>20261120</CREDAT><CRETIM>103000</CRETIM></EDI_DC40>\
         <E1KNA1M SEGMENT=\"1\"><MSGFN>004</MSGFN><KUNNR>0000100042</KUNNR><ANRED>Company</ANRED><KTOKD>0001</KTOKD><LAND1>DE</LAND1>\
         <NAME1>Rosen &amp; Söhne GmbH</NAME1><NAME2>Abteilung Einkauf</NAME2><ORT01>Berlin</ORT01><PSTLZ>10115</PSTLZ>\
         <REGIO>11</REGIO><STRAS>Invalidenstraße 1</STRAS><SPRAS>D</SPRAS><TELF1>+49 30 5550100</TELF1>{fields}\
         <Z1KNA1M SEGMENT=\"1\"><SMTP_ADDR>einkauf@rosen.example</SMTP_ADDR></Z1KNA1M>\
         <E1KNVVM SEGMENT=\"1\"><VKORG>1000</VKORG><WAERS>EUR</WAERS></E1KNVVM></E1KNA1M></IDOC></DEBMAS07>"
    )
}

fn settings() -> Value {
    let schema: Value = serde_json::from_str(include_str!("../settings.schema.json")).unwrap();
    schema["examples"][0].clone()
}

fn trial(xml: &str) -> Trial<SapEccToStripe> {
    Trial::of_text("sap-ecc", "DEBMAS", "application/xml", xml).settings(settings())
}

#[test]
fn a_customer_that_stripe_does_not_have_is_created() {
    insta::assert_json_snapshot!(trial(&idoc("")).run().json());
}

#[test]
fn a_changed_customer_is_found_by_its_number_and_changed_in_what_differs() {
    let stripe = json!({"id": "cus_1", "name": "Rosen & Söhne GmbH", "email": "einkauf@rosen.example",
        "address": {"line1": "Invalidenstraße 1", "city": "Berlin", "state": "11", "postal_code": "10115", "country": "DE"},
        "phone": "+49 30 5550100", "preferred_locales": ["de"], "metadata": {"sap_ecc_customer": "0000100042"}});
    let ended = trial(&idoc(""))
        .reference("sap-ecc.customer", "100042", json!({"stripe": "cus_1"}))
        .reference("stripe.customer", "cus_1", json!({"sap-ecc": "0000100042"}))
        .query("stripe", "customer.get", json!({"id": "cus_1"}), stripe)
        .run();
    insta::assert_json_snapshot!(ended.json());
}

#[test]
fn an_idoc_that_was_overtaken_is_skipped() {
    // 10:30 in Berlin is 09:30 in UTC.
    let at = |seconds: &str| {
        trial(&idoc("")).reference("sap-ecc.customer", "100042", json!({"sap-ecc.changed": seconds})).run()
    };
    assert!(at("1795167001").skipped().contains("older"));
    assert_eq!(at("1795167000").plan().deliveries[0].operation, "customer.create");
}

#[test]
fn deletion_and_block_are_marked() {
    let state = |xml: &str| {
        trial(xml)
            .reference("sap-ecc.customer", "100042", json!({"stripe": "cus_1"}))
            .query("stripe", "customer.get", json!({"id": "cus_1"}), json!({"id": "cus_1"}))
            .run()
            .body("customer")["metadata"]["erp_state"]
            .clone()
    };
    assert_eq!(state(&idoc("<LOEVM>X</LOEVM>")), "deleted");
    assert_eq!(state(&idoc("").replace("<MSGFN>004", "<MSGFN>003")), "deleted");
    assert_eq!(state(&idoc("<AUFSD>01</AUFSD>")), "blocked");
    assert_eq!(state(&idoc("<AUFSD> </AUFSD>")), Value::Null);
}

#[test]
fn an_original_needs_no_second_call() {
    let ended = trial(&idoc("").replace("<MSGFN>004", "<MSGFN>009")).run();
    assert_eq!(ended.plan().deliveries.len(), 1);
    let unknown = trial(&idoc("").replace("<MSGFN>004", "<MSGFN>018")).run();
    assert_eq!(unknown.violation().code, "unknown-function");
}

#[test]
fn an_address_that_the_idoc_lacks_is_read_from_the_customers_details() {
    let mut settings = settings();
    settings.as_object_mut().unwrap().remove("email");
    settings["sales_area"] = json!({"sales_org": "1000", "distr_chan": "10", "division": "00"});
    let asked = json!({"CUSTOMERNO": "0000100042", "PI_SALESORG": "1000", "PI_DISTR_CHAN": "10", "PI_DIVISION": "00"});
    let details =
        json!({"PE_PERSONALDATA": {"E_MAIL": ""}, "PE_COMPANYDATA": {"E_MAIL": " office@rosen.example "}});
    let ended = Trial::<SapEccToStripe>::of_text("sap-ecc", "DEBMAS", "application/xml", &idoc(""))
        .settings(settings)
        .query("erp", "customer.get", asked, details)
        .run();
    assert_eq!(ended.body("customer")["email"], "office@rosen.example");
}

#[test]
fn what_is_not_a_customer_of_ours_is_passed_over_or_refused() {
    assert!(trial(&idoc("").replace("<MESTYP>DEBMAS", "<MESTYP>ADRMAS")).run().skipped().contains("ADRMAS"));
    let mut settings = settings();
    settings["account_groups"] = json!(["0002"]);
    let other = Trial::<SapEccToStripe>::of_text("sap-ecc", "DEBMAS", "application/xml", &idoc(""))
        .settings(settings);
    assert!(other.run().skipped().contains("0001"));
    for xml in ["", "{}", "<DEBMAS07/>", "<!DOCTYPE x><DEBMAS07><IDOC><A/></IDOC></DEBMAS07>"] {
        assert_eq!(trial(xml).run().violation().code, "unreadable-payload", "{xml}");
    }
    assert_eq!(trial("<D><IDOC><EDI_DC40/></IDOC></D>").run().violation().code, "missing");
    let bad_time = idoc("").replace("<CRETIM>103000", "<CRETIM>993000");
    assert_eq!(trial(&bad_time).run().violation().pointer, "/EDI_DC40/CREDAT");
}
