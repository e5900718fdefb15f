//! SAP ECC: IDocs in both directions, web services, descriptions.

use std::sync::{Arc, Mutex};

use portolan_simulators::System;
use portolan_simulators::settings::IdocsOut;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::harness::{World, envelope};

fn control(message: &str, more: &str) -> String {
    format!(
        "<EDI_DC40 SEGMENT=\"1\"><TABNAM>EDI_DC40</TABNAM><MANDT>100</MANDT><DIRECT>2</DIRECT><IDOCTYP>DEBMAS06</IDOCTYP>\
         <MESTYP>{message}</MESTYP><SNDPRN>PORTOLAN</SNDPRN><RCVPRN>ECDCLNT100</RCVPRN>{more}</EDI_DC40>"
    )
}

fn debmas(customer: &str, city: &str, more: &str) -> String {
    format!(
        "<IDOC BEGIN=\"1\">{}<E1KNA1M SEGMENT=\"1\"><MSGFN>004</MSGFN><KUNNR>{customer}</KUNNR><ORT01>{city}</ORT01>\
         </E1KNA1M></IDOC>",
        control("DEBMAS", more)
    )
}

fn message(idocs: &str) -> String {
    format!(
        "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body><n:DEBMAS06 \
         xmlns:n=\"urn:sap-com:document:sap:idoc:soap:messages\">{idocs}</n:DEBMAS06></s:Body></s:Envelope>"
    )
}

#[tokio::test]
async fn a_post_is_stored_at_once_and_posted_later() {
    let sap = World::start(System::SapEcc).await;
    let post =
        format!("<DEBMAS06>{}{}</DEBMAS06>", debmas("100042", "Rome", ""), debmas("999", "Nowhere", ""));
    let answer = sap.call("POST", "/sap/bc/idoc_xml", &[], &post).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "IDoc-XML-inbound o.k."));
    assert_eq!(sap.ledger("idoc").await.len(), 2);
    let updates = sap.ledger_of("idoc-update", 2).await;
    let last = |index: usize| updates[index]["lines"].as_array().unwrap().last().unwrap()["status"].clone();
    assert_eq!((last(0), last(1)), (json!("53"), json!("51")));
    assert_eq!(sap.ledger("customer-update").await[0]["document"]["city"], "Rome");
    // The same post twice makes IDocs twice.
    sap.call("POST", "/sap/bc/idoc_xml", &[], &post).await;
    assert_eq!(sap.ledger("idoc").await.len(), 4);
}

#[tokio::test]
async fn a_message_id_counts_once() {
    let sap = World::start(System::SapEcc).await;
    let key = "<ARCKEY>urn:sap.com:msgid=1</ARCKEY>";
    let post = |body: String| {
        let sap = &sap;
        async move { sap.call("POST", "/sap/bc/srt/idoc", &[], &body).await }
    };
    for (body, refusal) in [
        (message(&debmas("100042", "Rome", "")), "SOAP_MSGID_INITIAL"),
        (message(&debmas("100042", "Rome", "<ARCKEY>1</ARCKEY>")), "SOAP_MSGID_PREFIX_INVALID"),
        (message(&debmas("100042", "Rome", key).repeat(2)), "MULTIPLE_IDOCS_NOT_ALLOWED"),
    ] {
        let answer = post(body).await;
        assert_eq!((answer.status, answer.body.contains(refusal)), (500, true), "{}", answer.body);
    }
    assert_eq!(post(message(&debmas("100042", "Rome", key))).await.status, 200);
    assert_eq!(post(message(&debmas("100042", "Oslo", key))).await.status, 500);
    assert_eq!(sap.ledger("idoc").await.len(), 1);
}

/// Takes posts; answers with these statuses, the last for ever.
async fn receiver(statuses: Vec<u16>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hooks/src_1?x=1", listener.local_addr().unwrap());
    let log = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&log);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut text = Vec::new();
            loop {
                let whole = String::from_utf8_lossy(&text).into_owned();
                let complete = whole.split_once("\r\n\r\n").is_some_and(|(head, body)| {
                    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                    body.len() >= length.unwrap().parse().unwrap()
                });
                if complete || socket.read_buf(&mut text).await.unwrap() == 0 {
                    break;
                }
            }
            let status = {
                let mut log = log.lock().unwrap();
                log.push(String::from_utf8(text).unwrap());
                statuses[(log.len() - 1).min(statuses.len() - 1)]
            };
            socket
                .write_all(format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n").as_bytes())
                .await
                .unwrap();
        }
    });
    (url, kept)
}

#[tokio::test]
async fn customers_go_out_several_in_a_post_and_again_after_a_refusal() {
    let (url, seen) = receiver(vec![500, 200]).await;
    let out =
        IdocsOut { url, user: "sap".into(), password: "secret".into(), retry_ms: 50, ..IdocsOut::default() };
    let sap = World::start_with(System::SapEcc, |s| s.sap.idocs_out = Some(out)).await;
    let sent = sap.post("/_simulator/idocs", &json!({"customers": ["100042", "100043"]})).await.json();
    assert_eq!(sent["idocs"].as_array().unwrap().len(), 2);
    // Once refused, once taken, for each of the two.
    sap.ledger_of("idoc-update", 4).await;
    let posts = seen.lock().unwrap().clone();
    assert_eq!(posts.len(), 2);
    assert_eq!(posts[0], posts[1]);
    assert!(posts[0].starts_with("POST /hooks/src_1?x=1 HTTP/1.1\r\n"), "{}", posts[0]);
    assert!(posts[0].contains("authorization: Basic c2FwOnNlY3JldA==\r\n"));
    assert_eq!(posts[0].matches("<IDOC BEGIN=\"1\">").count(), 2);
    assert!(posts[0].contains("<DEBMAS07>") && posts[0].contains("<KUNNR>0000100043</KUNNR>"));
    assert!(posts[0].contains("<SNDPRN>ECDCLNT100</SNDPRN>") && posts[0].contains("<DIRECT>1</DIRECT>"));
    let unknown = sap.post("/_simulator/idocs", &json!({"customers": ["1"]})).await;
    assert_eq!(unknown.status, 400);
}

#[tokio::test]
async fn a_customer_that_is_changed_goes_out_by_itself_and_inbound_idocs_are_confirmed() {
    let (url, seen) = receiver(vec![200]).await;
    let out = IdocsOut { url, automatic: true, aleaud: true, ..IdocsOut::default() };
    let sap = World::start_with(System::SapEcc, |s| s.sap.idocs_out = Some(out)).await;
    let changed = json!([{"number": "100042", "city": "Lisbon"}, {"number": "555", "name": "New Ltd", "country": "GB"}]);
    assert_eq!(sap.post("/_simulator/objects", &changed).await.json()["seeded"], 2);
    sap.ledger_of("idoc-update", 2).await;
    assert!(seen.lock().unwrap().concat().contains("<ORT01>Lisbon</ORT01>"));
    assert_eq!(sap.post("/_simulator/objects", &json!({"number": "100042", "town": "x"})).await.status, 400);
    let post = format!("<DEBMAS06>{}</DEBMAS06>", debmas("999", "x", "<REFMES>R1</REFMES>"));
    sap.call("POST", "/sap/bc/idoc_xml", &[], &post).await;
    sap.ledger_of("idoc-update", 4).await;
    let posts = seen.lock().unwrap().concat();
    assert!(posts.contains("<E1STATE SEGMENT=\"1\"><DOCNUM>R1</DOCNUM><STATUS>51</STATUS>"), "{posts}");
}

#[tokio::test]
async fn services_take_iso_dates_only_and_describe_themselves() {
    let sap = World::start(System::SapEcc).await;
    let path = "/sap/bc/srt/rfc/sap/bapi_ar_acc_getopenitems/100/bapi_ar_acc_getopenitems/b";
    let items = |date: &str| {
        let parameters = format!(
            "<COMPANYCODE>1000</COMPANYCODE><CUSTOMER>100042</CUSTOMER><KEYDATE>{date}</KEYDATE><LINEITEMS/>"
        );
        envelope("BAPI_AR_ACC_GETOPENITEMS", &parameters)
    };
    let answer = sap.call("POST", path, &[], &items("2026-11-20")).await;
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains(":BAPI_AR_ACC_GETOPENITEMSResponse"), "{}", answer.body);
    assert_eq!(sap.call("POST", path, &[], &items("20261120")).await.status, 500);
    assert_eq!(sap.call("POST", path, &[], &envelope("RFC_PING", "")).await.status, 500);
    let described = sap.get("/sap/bc/soap/wsdl11?services=Z_STRIPE_ORDER_CREATE").await;
    assert!(described.body.contains("name=\"PURCH_NO_C\" type=\"tns:char35\""));
    assert!(sap.get(&format!("{path}?wsdl=1.1")).await.body.contains("name=\"KEYDATE\" type=\"tns:date10\""));
    assert_eq!(sap.get("/sap/bc/soap/wsdl11?services=NOPE").await.status, 404);
}
