//! SAP ECC: units of work, output tables, messages, amounts, tables, logon.

use portolan_simulators::System;
use portolan_simulators::settings::UnitOfWork;

use crate::harness::{World, basic, envelope};

const CREATE: &str = "BAPI_SALESORDER_CREATEFROMDAT2";
const WRAPPER: &str = "Z_STRIPE_ORDER_CREATE";
const POST: &str = "BAPI_ACC_DOCUMENT_POST";
const POST_WRAPPER: &str = "Z_STRIPE_ACC_DOCUMENT_POST";

struct Order {
    customer: &'static str,
    material: &'static str,
    currency: &'static str,
    price: &'static str,
    tail: &'static str,
}

const ORDER: Order =
    Order { customer: "100042", material: "4711", currency: "USD", price: "24.99", tail: "<RETURN/>" };

fn order(reference: &str, order: &Order) -> String {
    let Order { customer, material, currency, price, tail } = order;
    format!(
        "<ORDER_HEADER_IN><DOC_TYPE>OR</DOC_TYPE><SALES_ORG>1000</SALES_ORG><DISTR_CHAN>10</DISTR_CHAN><DIVISION>00</DIVISION>\
         <PURCH_NO_C>{reference}</PURCH_NO_C><CURRENCY>{currency}</CURRENCY></ORDER_HEADER_IN>\
         <ORDER_ITEMS_IN><item><ITM_NUMBER>000010</ITM_NUMBER><MATERIAL>{material}</MATERIAL></item></ORDER_ITEMS_IN>\
         <ORDER_PARTNERS><item><PARTN_ROLE>AG</PARTN_ROLE><PARTN_NUMB>{customer}</PARTN_NUMB></item></ORDER_PARTNERS>\
         <ORDER_SCHEDULES_IN><item><ITM_NUMBER>000010</ITM_NUMBER><REQ_QTY>2.000</REQ_QTY></item></ORDER_SCHEDULES_IN>\
         <ORDER_CONDITIONS_IN><item><ITM_NUMBER>000010</ITM_NUMBER><COND_TYPE>PR00</COND_TYPE>\
         <COND_VALUE>{price}</COND_VALUE><CURRENCY>{currency}</CURRENCY></item></ORDER_CONDITIONS_IN>{tail}"
    )
}

struct Posting {
    date: &'static str,
    customer: &'static str,
    gl: &'static str,
    debit: &'static str,
    credit: &'static str,
    currency: &'static str,
}

const POSTING: Posting = Posting {
    date: "20261120",
    customer: "100042",
    gl: "113150",
    debit: "49.98",
    credit: "-49.98",
    currency: "USD",
};

fn posting(reference: &str, posting: &Posting) -> String {
    let Posting { date, customer, gl, debit, credit, currency } = posting;
    format!(
        "<DOCUMENTHEADER><BUS_ACT>RFBU</BUS_ACT><USERNAME>STRIPE_IF</USERNAME><COMP_CODE>1000</COMP_CODE>\
         <DOC_DATE>{date}</DOC_DATE><PSTNG_DATE>{date}</PSTNG_DATE><DOC_TYPE>DZ</DOC_TYPE><REF_DOC_NO>{reference}</REF_DOC_NO></DOCUMENTHEADER>\
         <ACCOUNTGL><item><ITEMNO_ACC>1</ITEMNO_ACC><GL_ACCOUNT>{gl}</GL_ACCOUNT></item></ACCOUNTGL>\
         <ACCOUNTRECEIVABLE><item><ITEMNO_ACC>2</ITEMNO_ACC><CUSTOMER>{customer}</CUSTOMER></item></ACCOUNTRECEIVABLE>\
         <CURRENCYAMOUNT><item><ITEMNO_ACC>1</ITEMNO_ACC><CURRENCY>{currency}</CURRENCY><AMT_DOCCUR>{debit}</AMT_DOCCUR></item>\
         <item><ITEMNO_ACC>2</ITEMNO_ACC><CURRENCY>{currency}</CURRENCY><AMT_DOCCUR>{credit}</AMT_DOCCUR></item></CURRENCYAMOUNT><RETURN/>"
    )
}

fn read_table(table: &str, fields: &[&str], options: &[&str]) -> String {
    let rows = |name: &str, texts: &[&str]| {
        texts.iter().map(|text| format!("<item><{name}>{text}</{name}></item>")).collect::<String>()
    };
    format!(
        "<QUERY_TABLE>{table}</QUERY_TABLE><OPTIONS>{}</OPTIONS><FIELDS>{}</FIELDS><DATA/>",
        rows("TEXT", options),
        rows("FIELDNAME", fields)
    )
}

#[tokio::test]
async fn a_bapi_answers_a_number_and_stores_nothing() {
    let sap = World::start(System::SapEcc).await;
    let answer = sap.rfc(CREATE, &order("ch_1", &ORDER)).await;
    assert_eq!(answer.element("SALESDOCUMENT").unwrap(), "0000016023");
    assert_eq!(answer.messages(), ["S V4 233", "S V4 233", "S V1 311"]);
    assert!(sap.ledger("sales-order").await.is_empty());
}

#[tokio::test]
async fn a_commit_in_another_call_stores_nothing() {
    let sap = World::start(System::SapEcc).await;
    sap.rfc(CREATE, &order("ch_1", &ORDER)).await;
    let commit = sap.rfc("BAPI_TRANSACTION_COMMIT", "<WAIT>X</WAIT>").await;
    assert_eq!((commit.status, commit.element("TYPE").unwrap()), (200, String::new()));
    assert!(sap.ledger("sales-order").await.is_empty());
}

#[tokio::test]
async fn a_wrapper_commits_inside_and_numbers_that_were_dropped_leave_a_gap() {
    let sap = World::start(System::SapEcc).await;
    sap.rfc(CREATE, &order("ch_0", &ORDER)).await;
    let answer = sap.rfc(WRAPPER, &order("ch_3QabcDEF0123456789abcdef", &ORDER)).await;
    assert_eq!(answer.element("SALESDOCUMENT").unwrap(), "0000016024");
    let lines = sap.ledger("sales-order").await;
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["number"], "0000016024");
    assert_eq!(lines[0]["business_key"], "ch_3QabcDEF0123456789abcdef");
    assert_eq!(lines[0]["amounts"]["USD"], "49.98");
    assert_eq!(lines[0]["lines"][0]["quantity"], "2");
}

#[tokio::test]
async fn a_session_joins_bapi_and_commit_and_a_rollback_drops() {
    let sap = World::start_with(System::SapEcc, |s| s.sap.unit_of_work = UnitOfWork::SessionCookie).await;
    let soap = "/sap/bc/soap/rfc";
    let first = sap.rfc(CREATE, &order("ch_1", &ORDER)).await;
    let cookie = first.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    assert!(cookie.starts_with("sap-contextid=") && cookie.ends_with("-NEW"));
    // Another session's commit is another unit of work.
    sap.rfc("BAPI_TRANSACTION_COMMIT", "").await;
    assert!(sap.ledger("sales-order").await.is_empty());
    let call = |function: &str, parameters: &str| {
        let body = envelope(function, parameters);
        let (sap, cookie) = (&sap, cookie.clone());
        async move { sap.call("POST", soap, &[("cookie", cookie.as_str())], &body).await }
    };
    call("BAPI_TRANSACTION_ROLLBACK", "").await;
    call("BAPI_TRANSACTION_COMMIT", "<WAIT>X</WAIT>").await;
    assert!(sap.ledger("sales-order").await.is_empty());
    call(CREATE, &order("ch_2", &ORDER)).await;
    call("BAPI_TRANSACTION_COMMIT", "<WAIT>X</WAIT>").await;
    let lines = sap.ledger("sales-order").await;
    assert_eq!((lines.len(), &lines[0]["business_key"]), (1, &"ch_2".into()));
}

#[tokio::test]
async fn an_update_without_wait_is_seen_later() {
    let late = |s: &mut portolan_simulators::SimulatorSettings| {
        s.sap.unit_of_work = UnitOfWork::SessionCookie;
        s.sap.update_delay_ms = 3_600_000;
    };
    let sap = World::start_with(System::SapEcc, late).await;
    let first = sap.rfc(CREATE, &order("ch_1", &ORDER)).await;
    let cookie = first.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let commit = envelope("BAPI_TRANSACTION_COMMIT", "");
    sap.call("POST", "/sap/bc/soap/rfc", &[("cookie", cookie.as_str())], &commit).await;
    assert_eq!(sap.ledger("sales-order").await.len(), 1);
    let found = sap.rfc("RFC_READ_TABLE", &read_table("VBKD", &["VBELN"], &["BSTKD = 'ch_1'"])).await;
    assert_eq!(found.element("DATA").unwrap(), "");
}

#[tokio::test]
async fn a_table_that_the_request_does_not_name_is_not_answered() {
    let sap = World::start(System::SapEcc).await;
    let silent = Order { customer: "999", tail: "", ..ORDER };
    let answer = sap.rfc(WRAPPER, &order("ch_1", &silent)).await;
    assert_eq!((answer.status, answer.element("RETURN")), (200, None));
    assert_eq!(answer.element("SALESDOCUMENT").unwrap(), "");
    assert!(sap.ledger("sales-order").await.is_empty());
}

#[tokio::test]
async fn the_prefix_of_the_answer_is_a_setting() {
    let sap = World::start_with(System::SapEcc, |s| s.sap.answer_prefix = "n0".to_owned()).await;
    let answer = sap.rfc("RFC_PING", "").await;
    assert!(
        answer.body.contains("<n0:RFC_PING.Response xmlns:n0=\"urn:sap-com:document:sap:rfc:functions\">")
    );
}

#[tokio::test]
async fn refused_orders_say_why_and_end_with_v4_219() {
    let sap = World::start(System::SapEcc).await;
    let cases = [
        (Order { customer: "999", ..ORDER }, "E VP 204"),
        (Order { customer: "100046", ..ORDER }, "E V1 384"),
        (Order { material: "NOPE", ..ORDER }, "E M3 305"),
        (Order { material: "4799", ..ORDER }, "E M3 351"),
        (Order { currency: "JPY", ..ORDER }, "E S& 042"),
        (Order { currency: "VUV", price: "24", ..ORDER }, "E SG 105"),
    ];
    for (case, message) in cases {
        let answer = sap.rfc(WRAPPER, &order("ch_1", &case)).await;
        let escaped = message.replace('&', "&amp;");
        assert_eq!(answer.messages(), [escaped.as_str(), "E V4 219"], "{message}");
    }
    assert!(sap.ledger("sales-order").await.is_empty());
}

#[tokio::test]
async fn a_locked_customer_is_told_apart_and_can_be_used_when_let_go() {
    let sap = World::start(System::SapEcc).await;
    sap.post("/_simulator/locks", &serde_json::json!({"object": "100042", "locked": true})).await;
    assert_eq!(sap.rfc(WRAPPER, &order("ch_1", &ORDER)).await.messages()[0], "E V1 042");
    assert_eq!(sap.rfc(POST_WRAPPER, &posting("R1", &POSTING)).await.messages(), ["E RW 609", "E MC 601"]);
    sap.post("/_simulator/locks", &serde_json::json!({"object": "100042", "locked": false})).await;
    assert_eq!(sap.rfc(WRAPPER, &order("ch_1", &ORDER)).await.messages()[2], "S V1 311");
}

#[tokio::test]
async fn padded_and_unpadded_numbers_are_the_same_customer() {
    let sap = World::start(System::SapEcc).await;
    sap.rfc(
        WRAPPER,
        &order("ch_1", &Order { customer: "0000100042", material: "000000000000004711", ..ORDER }),
    )
    .await;
    sap.rfc(WRAPPER, &order("ch_2", &ORDER)).await;
    sap.rfc(WRAPPER, &order("ch_3", &Order { customer: "cpd-us", ..ORDER })).await;
    let customers: Vec<_> =
        sap.ledger("sales-order").await.iter().map(|line| line["document"]["customer"].clone()).collect();
    assert_eq!(customers, ["0000100042", "0000100042", "CPD-US"]);
}

#[tokio::test]
async fn a_posted_document_has_its_key_and_is_found_by_reference() {
    let sap = World::start(System::SapEcc).await;
    let answer = sap.rfc(POST_WRAPPER, &posting("R144WJGG6ZXJ677C", &POSTING)).await;
    assert_eq!(answer.element("OBJ_KEY").unwrap(), "010000000810002026");
    assert_eq!(answer.messages(), ["S RW 605"]);
    let line = &sap.ledger("accounting-document").await[0];
    assert_eq!(
        (&line["number"], &line["business_key"]),
        (&"010000000810002026".into(), &"R144WJGG6ZXJ677C".into())
    );
    assert_eq!(line["amounts"]["USD"], "49.98");
    let options = ["BUKRS = '1000' AND GJAHR = '2026'", "AND XBLNR = 'R144WJGG6ZXJ677C' AND STBLG = ' '"];
    let found = sap.rfc("RFC_READ_TABLE", &read_table("BKPF", &["BELNR", "BLART"], &options)).await;
    assert_eq!(found.element("WA").unwrap(), "0100000008DZ");
}

#[tokio::test]
async fn a_check_takes_no_number_and_stores_nothing() {
    let sap = World::start(System::SapEcc).await;
    let answer = sap.rfc("BAPI_ACC_DOCUMENT_CHECK", &posting("R1", &POSTING)).await;
    assert_eq!(
        (answer.element("OBJ_KEY").unwrap(), answer.messages()),
        ("$".to_owned(), vec!["S RW 614".to_owned()])
    );
    let posted = sap.rfc(POST_WRAPPER, &posting("R1", &POSTING)).await;
    assert_eq!(posted.element("OBJ_KEY").unwrap(), "010000000810002026");
}

#[tokio::test]
async fn refused_postings_begin_with_rw_609_and_leave_no_document() {
    let sap = World::start(System::SapEcc).await;
    let cases = [
        (Posting { credit: "-49.97", ..POSTING }, "E F5 702"),
        (Posting { customer: "999", ..POSTING }, "E F5 102"),
        (Posting { customer: "100046", ..POSTING }, "E F5 102"),
        (Posting { gl: "999999", ..POSTING }, "E F5 506"),
        (Posting { gl: "473120", ..POSTING }, "E KI 235"),
        (Posting { date: "20190630", ..POSTING }, "E F5 201"),
        (Posting { currency: "XYZ", ..POSTING }, "E S& 044"),
    ];
    for (case, message) in cases {
        let answer = sap.rfc(POST_WRAPPER, &posting("R1", &case)).await;
        assert_eq!(answer.element("OBJ_KEY").unwrap(), "$");
        assert_eq!(
            &answer.messages()[..2],
            ["E RW 609".to_owned(), message.replace('&', "&amp;")],
            "{message}"
        );
    }
    assert!(sap.ledger("accounting-document").await.is_empty());
}

#[tokio::test]
async fn tables_show_stored_amounts_and_bapis_take_natural_ones() {
    let sap = World::start(System::SapEcc).await;
    for (reference, currency, debit, credit, stored) in [
        ("R-USD", "USD", "12.34", "-12.34", "12.34"),
        ("R-JPY", "JPY", "100", "-100", "1.00"),
        ("R-KWD", "KWD", "100.000", "-100.000", "1000.00"),
    ] {
        sap.rfc(POST_WRAPPER, &posting(reference, &Posting { currency, debit, credit, ..POSTING })).await;
        let line = sap.ledger("accounting-document").await.pop().unwrap();
        assert_eq!(line["amounts"][currency], debit);
        let number = &line["number"].as_str().unwrap()[..10];
        let options = [
            format!("BUKRS = '1000' AND BELNR = '{number}'"),
            "AND GJAHR = '2026' AND SHKZG = 'S'".to_owned(),
        ];
        let found =
            sap.rfc("RFC_READ_TABLE", &read_table("BSEG", &["WRBTR"], &[&options[0], &options[1]])).await;
        assert_eq!(found.element("WA").unwrap().trim(), stored);
    }
}

#[tokio::test]
async fn a_reversed_document_names_its_reversal() {
    let sap = World::start(System::SapEcc).await;
    sap.rfc(POST_WRAPPER, &posting("R1", &POSTING)).await;
    let reversal = "<REVERSAL><OBJ_TYPE>BKPFF</OBJ_TYPE><OBJ_KEY>010000000810002026</OBJ_KEY><REASON_REV>01</REASON_REV></REVERSAL>\
                    <BUS_ACT>RFBU</BUS_ACT><RETURN/>";
    let answer = sap.rfc("Z_STRIPE_ACC_DOCUMENT_REV_POST", reversal).await;
    assert_eq!(answer.messages(), ["S RW 605"]);
    let open =
        sap.rfc("RFC_READ_TABLE", &read_table("BKPF", &["BELNR"], &["XBLNR = 'R1' AND STBLG = ''"])).await;
    assert_eq!(open.element("DATA").unwrap(), "");
    assert_eq!(sap.rfc("Z_STRIPE_ACC_DOCUMENT_REV_POST", reversal).await.messages()[0], "E RW 609");
}

#[tokio::test]
async fn read_table_has_offsets_a_delimiter_and_its_limits() {
    let sap = World::start(System::SapEcc).await;
    let fixed =
        sap.rfc("RFC_READ_TABLE", &read_table("T001", &["BUKRS", "WAERS"], &["BUKRS = '1000'"])).await;
    assert_eq!(fixed.element("WA").unwrap(), "1000USD");
    let delimited = read_table("T001", &["BUKRS", "WAERS"], &["BUKRS = '1000'"]) + "<DELIMITER>|</DELIMITER>";
    let delimited = sap.rfc("RFC_READ_TABLE", &delimited).await;
    assert_eq!(delimited.element("WA").unwrap(), "1000|USD");
    assert!(
        delimited.body.contains("<FIELDNAME>WAERS</FIELDNAME><OFFSET>000005</OFFSET><LENGTH>000005</LENGTH>")
    );
    let wide = ["SGTXT"; 11];
    for (call, exception) in [
        (read_table("NOPE", &[], &[]), "TABLE_NOT_AVAILABLE"),
        (read_table("T001", &["NOPE"], &[]), "FIELD_NOT_VALID"),
        (read_table("T001", &[], &["BUKRS = '1000' OR 1 = 1"]), "OPTION_NOT_VALID"),
        (read_table("T001", &[], &["NOPE = '1000'"]), "OPTION_NOT_VALID"),
        (read_table("BSEG", &wide, &[]), "DATA_BUFFER_EXCEEDED"),
    ] {
        let answer = sap.rfc("RFC_READ_TABLE", &call).await;
        assert_eq!((answer.status, answer.element("Name").unwrap().as_str()), (500, exception));
    }
    let long = format!("BUKRS = '1000' OR BUKRS = '{}'", "2".repeat(60));
    assert_eq!(sap.rfc("RFC_READ_TABLE", &read_table("T001", &[], &[&long])).await.status, 500);
}

#[tokio::test]
async fn order_status_and_customer_detail_are_read() {
    let sap = World::start(System::SapEcc).await;
    sap.rfc(WRAPPER, &order("ch_1", &ORDER)).await;
    let status =
        sap.rfc("BAPI_SALESORDER_GETSTATUS", "<SALESDOCUMENT>16023</SALESDOCUMENT><STATUSINFO/>").await;
    assert_eq!(
        (status.element("MATERIAL").unwrap().as_str(), status.element("TYPE").unwrap().as_str()),
        ("000000000000004711", "")
    );
    let none = sap.rfc("BAPI_SALESORDER_GETSTATUS", "<SALESDOCUMENT>1</SALESDOCUMENT><STATUSINFO/>").await;
    assert_eq!(
        (none.element("TYPE").unwrap().as_str(), none.element("STATUSINFO").unwrap().as_str()),
        ("E", "")
    );
    let detail = "<CUSTOMERNO>100042</CUSTOMERNO><PI_SALESORG>1000</PI_SALESORG><PI_DISTR_CHAN>10</PI_DISTR_CHAN><PI_DIVISION>00</PI_DIVISION>";
    let detail = sap.rfc("BAPI_CUSTOMER_GETDETAIL1", detail).await;
    assert_eq!(detail.element("LASTNAME").unwrap(), "Rosen");
}

#[tokio::test]
async fn the_door_speaks_html_and_the_functions_speak_soap() {
    let sap = World::start(System::SapEcc).await;
    let ping = envelope("RFC_PING", "");
    let soap = "/sap/bc/soap/rfc";
    let wrong = sap.call("POST", soap, &[("authorization", &basic("STRIPE_IF", "wrong"))], &ping).await;
    assert_eq!(wrong.status, 401);
    assert!(
        wrong.header("www-authenticate").unwrap().starts_with("Basic realm=\"SAP")
            && wrong.body.starts_with("<html>")
    );
    assert_eq!(sap.call("POST", "/sap/bc/soap/rfc?sap-client=200", &[], &ping).await.status, 401);
    assert_eq!(sap.call("POST", "/sap/bc/nothing", &[], &ping).await.status, 404);
    for (function, parameters, kind) in [
        ("NO_SUCH_FUNCTION", "", "FUNCTION_NOT_FOUND"),
        ("RFC_PING", "<WHAT>1</WHAT>", "RFC_INVALID_PARAMETER"),
        (POST, "<DOCUMENTHEADER><DOC_TYPE>DZ</DOC_TYPE></DOCUMENTHEADER>", "ERROR_MESSAGE_STATE"),
        (CREATE, "<SALESDOCUMENTIN>01234567890</SALESDOCUMENTIN>", "RFC_CONVERSION_FIELD"),
    ] {
        let answer = sap.rfc(function, parameters).await;
        assert_eq!((answer.status, answer.element("type").unwrap().as_str()), (500, kind));
    }
    let forbidden = sap
        .call("POST", soap, &[("authorization", &basic("READ_ONLY", "Portolan-100"))], &envelope(WRAPPER, ""))
        .await;
    assert_eq!(forbidden.element("type").unwrap(), "RFC_AUTHORIZATION_FAILURE");
    let closed = World::start_with(System::SapEcc, |s| s.sap.icf_active = false).await;
    assert_eq!(closed.rfc("RFC_PING", "").await.status, 403);
}

#[tokio::test]
async fn a_careful_wrapper_answers_the_document_that_exists() {
    let sap = World::start_with(System::SapEcc, |s| s.sap.wrapper_dedupe = true).await;
    for _ in 0..2 {
        assert_eq!(
            sap.rfc(WRAPPER, &order("ch_1", &ORDER)).await.element("SALESDOCUMENT").unwrap(),
            "0000016023"
        );
        assert_eq!(
            sap.rfc(POST_WRAPPER, &posting("R1", &POSTING)).await.element("OBJ_KEY").unwrap(),
            "010000000810002026"
        );
    }
    assert_eq!(
        (sap.ledger("sales-order").await.len(), sap.ledger("accounting-document").await.len()),
        (1, 1)
    );
}
