//! Epicor: headers, OData, errors, orders that are resumed, cash.

use std::sync::Arc;

use portolan_connectors::{Connection, Found, Registry};
use portolan_domain::verdict::CallFailure;
use serde_json::{Value, json};

use super::{
    code, config, connect, context, found, loopback,
    server::{Act, Server, answer, json},
};

const SECRETS: &[(&str, &str)] =
    &[("api_key", "key-12345"), ("user", "integration"), ("password", "geheim12")];

fn epicor(server: &Server, more: Value) -> Arc<dyn Connection> {
    let mut settings = json!({"base_url": format!("{}/ERP", server.url), "company": "EPIC06"});
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    connect("epicor", settings, SECRETS)
}

fn rows(rows: &[Value]) -> Act {
    json(200, &json!({"@odata.context": "x", "value": rows}))
}

fn error(status: u16, kind: &str, text: &str) -> Act {
    let body = json!({"HttpStatus": status, "ErrorMessage": text, "ErrorType": format!("Ice.Common.{kind}"),
        "ErrorDetails": [], "CorrelationId": "6f0c1c1e"});
    json(status, &body)
}

const SET: &str = "/ERP/api/v2/odata/EPIC06";

#[tokio::test]
async fn a_customer_is_found_with_quotes_doubled_and_only_the_fields_asked_for() {
    let row = json!({"CustNum": 812, "CustID": "O'N", "Name": "Jenny", "SysRevID": 9912345, "SysRowID": "x"});
    let server = Server::playing(vec![rows(&[row])]).await;
    let settings = json!({"plant": "MfgSys", "licence": "00000003-9439-4B30-A6F4-6D2FD4B9FD0F"});
    let read = epicor(&server, settings).read("customer.find", &json!({"CustID": "O'N"}), &context()).await;
    assert_eq!(found(read), json!({"CustNum": 812, "CustID": "O'N", "Name": "Jenny", "SysRevID": 9912345}));
    let seen = &server.seen()[0];
    assert_eq!(
        seen.line(),
        format!(
            "GET {SET}/Erp.BO.CustomerSvc/Customers?$filter=CustID eq 'O''N'&$select=CustNum,CustID,Name,\
             EMailAddress,CurrencyCode,Inactive,CreditHold,SysRevID&$top=2"
        )
    );
    assert!(!seen.target.contains('+'));
    assert_eq!(seen.header("x-api-key"), "key-12345");
    assert_eq!(seen.header("authorization"), "Basic aW50ZWdyYXRpb246Z2VoZWltMTI=");
    assert_eq!(seen.header("license"), r#"{"ClaimedLicense":"00000003-9439-4B30-A6F4-6D2FD4B9FD0F"}"#);
    assert_eq!(seen.header("callsettings"), r#"{"Company":"EPIC06","Plant":"MfgSys"}"#);
}

#[tokio::test]
async fn none_is_absent_and_two_are_too_many() {
    let server =
        Server::playing(vec![rows(&[]), rows(&[json!({"CustNum": 1}), json!({"CustNum": 2})])]).await;
    let epicor = epicor(&server, json!({}));
    let ask = || async { epicor.read("customer.find", &json!({"CustNum": "812"}), &context()).await };
    assert_eq!(ask().await.unwrap(), Found::No);
    assert_eq!(code(ask().await), "several-documents");
    assert!(server.lines()[0].contains("$filter=CustNum eq 812&"));
}

#[tokio::test]
async fn a_customer_is_created_and_a_duplicate_is_the_one_that_is_there() {
    let row = json!({"CustNum": 812, "CustID": "S000042"});
    let server = Server::playing(vec![
        json(201, &row),
        error(409, "DuplicateRecordException", "Duplicate"),
        rows(std::slice::from_ref(&row)),
        error(400, "BusinessObjectException", "Customer ID S000042 already exists."),
        rows(std::slice::from_ref(&row)),
    ])
    .await;
    let epicor = epicor(&server, json!({}));
    let body = json!({"CustID": "S000042", "Name": "Jenny", "CreditLimit": "100.50"});
    for _ in 0..3 {
        assert_eq!(epicor.write("customer.create", &body, &context()).await.unwrap(), row);
    }
    assert_eq!(
        server.seen()[0].body,
        r#"{"Company":"EPIC06","CreditLimit":100.50,"CustID":"S000042","CustNum":0,"Name":"Jenny"}"#
    );
}

#[tokio::test]
async fn a_customer_is_changed_by_its_key_and_read_again() {
    let server = Server::playing(vec![
        answer(204, "text/plain", ""),
        rows(&[json!({"CustNum": 812, "Name": "Jenny"})]),
    ])
    .await;
    let body = json!({"CustNum": "812", "Name": "Jenny"});
    let answer = epicor(&server, json!({})).write("customer.update", &body, &context()).await.unwrap();
    assert_eq!(answer["Name"], "Jenny");
    assert_eq!(server.lines()[0], format!("PATCH {SET}/Erp.BO.CustomerSvc/Customers('EPIC06',812)"));
    assert_eq!(server.seen()[0].json(), json!({"Name": "Jenny"}));
}

#[tokio::test]
async fn errors_tell_what_to_do() {
    for (act, expected) in [
        (error(400, "BusinessObjectException", "A valid Customer ID is required."), "permanent data-refused"),
        (error(400, "BusinessObjectException", "Record is locked by MANAGER"), "retryable record-locked"),
        (error(400, "BusinessObjectException", "Maximum users exceeded"), "retryable licences-exhausted"),
        (error(403, "UnauthorizedAccessException", "scope"), "unauthorized forbidden"),
        (error(404, "ApiException", "Service not found"), "permanent not-found"),
        (error(410, "InvalidSessionException", "expired"), "retryable session-ended"),
        (error(503, "ConversionsPendingException", "wait"), "retryable unavailable"),
        (error(500, "Exception", "unexpected internal problem"), "ambiguous server-error"),
    ] {
        let server = Server::playing(vec![act]).await;
        let body = json!({"GroupID": "S1", "CheckRef": "ch_1", "DocTranAmt": "1.00"});
        let write = epicor(&server, json!({})).write("cash-receipt.create", &body, &context()).await;
        let failure = write.unwrap_err();
        let verdict = match &failure {
            CallFailure::Retryable { .. } => "retryable",
            CallFailure::Permanent { .. } => "permanent",
            CallFailure::Unauthorized { .. } => "unauthorized",
            CallFailure::Ambiguous { .. } => "ambiguous",
        };
        assert_eq!(format!("{verdict} {}", failure.problem().code), expected);
    }
}

fn order() -> Value {
    json!({"CustNum": "812", "PONum": "ch_1", "OrderDtls": [
        {"PartNum": "WIDGET-1", "SellingQuantity": "2", "DocUnitPrice": "24.99"},
        {"PartNum": "WIDGET-2", "SellingQuantity": "1", "DocUnitPrice": "0.10"},
    ]})
}

fn stored(parts: &[&str]) -> Value {
    let lines: Vec<_> = parts
        .iter()
        .enumerate()
        .map(|(index, part)| json!({"OrderLine": index + 1, "PartNum": part}))
        .rev()
        .collect();
    json!({"OrderNum": 5400, "CustNum": 812, "PONum": "ch_1", "OrderDtls": lines})
}

fn order_answer() -> Value {
    json!({"OrderNum": 5400, "CustNum": 812, "PONum": "ch_1"})
}

#[tokio::test]
async fn an_order_goes_with_its_lines_inside_and_is_read_back() {
    let server = Server::playing(vec![
        rows(&[]),
        json(201, &json!({"OrderNum": 5400})),
        rows(&[stored(&["WIDGET-1", "WIDGET-2"])]),
    ])
    .await;
    let answer = epicor(&server, json!({})).write("sales-order.create", &order(), &context()).await.unwrap();
    assert_eq!(answer, order_answer());
    let find = format!(
        "GET {SET}/Erp.BO.SalesOrderSvc/SalesOrders?$filter=PONum eq 'ch_1'&$select=OrderNum,CustNum,PONum&$top=2\
         &$expand=OrderDtls"
    );
    assert_eq!(server.lines(), [find.clone(), format!("POST {SET}/Erp.BO.SalesOrderSvc/SalesOrders"), find]);
    assert_eq!(
        server.seen()[1].body,
        concat!(
            r#"{"Company":"EPIC06","CustNum":812,"OrderDtls":["#,
            r#"{"Company":"EPIC06","DocUnitPrice":24.99,"OrderLine":0,"OrderNum":0,"PartNum":"WIDGET-1","SellingQuantity":2},"#,
            r#"{"Company":"EPIC06","DocUnitPrice":0.10,"OrderLine":0,"OrderNum":0,"PartNum":"WIDGET-2","SellingQuantity":1}"#,
            r#"],"OrderNum":0,"PONum":"ch_1"}"#
        )
    );
}

#[tokio::test]
async fn lines_that_the_system_ignored_are_added_one_by_one() {
    let server = Server::playing(vec![
        rows(&[]),
        json(201, &json!({"OrderNum": 5400})),
        rows(&[stored(&[])]),
        json(201, &json!({"OrderLine": 1})),
        json(201, &json!({"OrderLine": 2})),
    ])
    .await;
    let answer = epicor(&server, json!({})).write("sales-order.create", &order(), &context()).await.unwrap();
    assert_eq!(answer, order_answer());
    let seen = server.seen();
    assert_eq!(seen[3].line(), format!("POST {SET}/Erp.BO.SalesOrderSvc/OrderDtls"));
    assert_eq!((&seen[3].json()["PartNum"], &seen[3].json()["OrderNum"]), (&json!("WIDGET-1"), &json!(5400)));
    assert_eq!(seen[4].json()["PartNum"], "WIDGET-2");
}

#[tokio::test]
async fn an_order_that_was_begun_is_gone_on_with() {
    let server =
        Server::playing(vec![rows(&[stored(&["WIDGET-1"])]), json(201, &json!({"OrderLine": 2}))]).await;
    let answer = epicor(&server, json!({})).write("sales-order.create", &order(), &context()).await.unwrap();
    assert_eq!(answer, order_answer());
    assert_eq!(server.seen()[1].json()["PartNum"], "WIDGET-2");
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn a_whole_order_is_not_touched_again() {
    let server = Server::playing(vec![rows(&[stored(&["WIDGET-1", "WIDGET-2"])])]).await;
    let answer = epicor(&server, json!({})).write("sales-order.create", &order(), &context()).await.unwrap();
    assert_eq!(answer, order_answer());
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn an_order_that_is_not_the_one_meant_is_for_a_person() {
    let mut foreign = stored(&["WIDGET-1"]);
    foreign["CustNum"] = json!(1);
    for other in [foreign, stored(&["GADGET"]), stored(&["WIDGET-1", "WIDGET-2", "WIDGET-3"])] {
        let server = Server::playing(vec![rows(&[other])]).await;
        let write = epicor(&server, json!({})).write("sales-order.create", &order(), &context()).await;
        assert_eq!(code(write), "order-differs");
        assert_eq!(server.seen().len(), 1);
    }
}

#[tokio::test]
async fn an_order_with_fewer_lines_than_it_should_have_is_absent() {
    let server = Server::start(|_, _| rows(&[stored(&["WIDGET-1"])])).await;
    let epicor = epicor(&server, json!({}));
    let ask = |parameters: Value| {
        let epicor = Arc::clone(&epicor);
        async move { epicor.read("sales-order.find", &parameters, &context()).await }
    };
    assert_eq!(ask(json!({"PONum": "ch_1", "Lines": 2})).await.unwrap(), Found::No);
    assert_eq!(found(ask(json!({"PONum": "ch_1", "Lines": "1"})).await), order_answer());
    assert_eq!(found(ask(json!({"PONum": "ch_1"})).await), order_answer());
}

/// Answers of the methods: a dataset as a parameter handed back.
fn dataset(value: &Value) -> Act {
    json(200, &json!({"parameters": {"ds": value, "lContinue": true}}))
}

#[tokio::test]
async fn methods_enter_header_and_lines_as_epicors_own_client_does() {
    let head = json!({"OrderHed": [{"OrderNum": 0, "CustNum": 0, "TermsCode": "N30", "RowMod": "A"}]});
    let saved = json!({"OrderHed": [{"OrderNum": 5400, "CustNum": 812, "RowMod": ""}]});
    let line = json!({"OrderDtl": [{"OrderLine": 0, "SysRowID": "guid-1", "RowMod": "A"}]});
    let mut one = order();
    one["OrderDtls"].as_array_mut().unwrap().pop();
    let server = Server::playing(vec![
        rows(&[]),
        dataset(&head),
        dataset(&head),
        dataset(&saved),
        rows(&[stored(&[])]),
        dataset(&line),
        dataset(&line),
        dataset(&line),
        dataset(&json!({"OrderHed": [], "OrderDtl": []})),
    ])
    .await;
    let epicor = epicor(&server, json!({"doors": {"sales-order.create": "methods"}}));
    assert_eq!(epicor.write("sales-order.create", &one, &context()).await.unwrap(), order_answer());
    let seen = server.seen();
    let methods: Vec<_> =
        seen.iter().map(|seen| seen.target.rsplit('/').next().unwrap().to_owned()).collect();
    assert_eq!(methods[1..4], ["GetNewOrderHed", "ChangeCustomer", "MasterUpdate"]);
    assert_eq!(
        methods[5..],
        ["GetNewOrderDtl", "ChangePartNumMaster", "ChangeSellingQtyMaster", "MasterUpdate"]
    );
    assert_eq!(seen[3].json()["ds"]["OrderHed"][0]["PONum"], "ch_1");
    assert_eq!(seen[3].json()["ds"]["OrderHed"][0]["TermsCode"], "N30");
    assert_eq!(seen[5].json()["orderNum"], 5400);
    assert_eq!(
        (&seen[6].json()["partNum"], &seen[6].json()["SysRowID"]),
        (&json!("WIDGET-1"), &json!("guid-1"))
    );
    assert_eq!(seen[7].json()["ipSellingQuantity"], 2);
    assert!(seen[8].body.contains(r#""DocUnitPrice":24.99"#));
    assert_eq!(
        (&seen[8].json()["cTableName"], &seen[8].json()["iOrderNum"]),
        (&json!("OrderDtl"), &json!(5400))
    );
}

#[tokio::test]
async fn a_question_that_epicor_wants_answered_waits_for_a_person() {
    let head = json!({"OrderHed": [{"OrderNum": 0, "RowMod": "A"}]});
    let question =
        json!({"parameters": {"ds": head, "lContinue": false, "cResponseMsg": "Over credit limit"}});
    let server = Server::playing(vec![rows(&[]), dataset(&head), dataset(&head), json(200, &question)]).await;
    let epicor = epicor(&server, json!({"doors": {"sales-order.create": "methods"}}));
    let failure = epicor.write("sales-order.create", &order(), &context()).await.unwrap_err();
    assert!(matches!(failure, CallFailure::Permanent { .. }));
    assert_eq!(failure.problem().message, "Over credit limit");
}

#[tokio::test]
async fn a_cash_group_is_made_once() {
    let yes = json!({"returnObj": true});
    let server = Server::playing(vec![
        json(200, &json!({"returnObj": false})),
        dataset(&json!({"CashGrp": [{"GroupID": "", "FiscalYear": 2026, "RowMod": "A"}]})),
        json(200, &json!({"parameters": {}})),
        json(200, &yes),
    ])
    .await;
    let epicor = epicor(&server, json!({}));
    let body = json!({"GroupID": "ST1120A", "TranDate": "2026-11-20T00:00:00", "BankAcctID": "B1"});
    for _ in 0..2 {
        let answer = epicor.write("cash-group.ensure", &body, &context()).await.unwrap();
        assert_eq!(answer, json!({"GroupID": "ST1120A"}));
    }
    let seen = server.seen();
    assert_eq!(seen[0].line(), format!("POST {SET}/Erp.BO.CashGrpSvc/ReceiptGroupExists"));
    assert_eq!(seen[0].json(), json!({"ipGroupID": "ST1120A"}));
    let row = &seen[2].json()["ds"]["CashGrp"][0];
    assert_eq!(
        (&row["GroupID"], &row["FiscalYear"], &row["RowMod"]),
        (&json!("ST1120A"), &json!(2026), &json!("A"))
    );
    assert_eq!(seen.len(), 4);
}

#[tokio::test]
async fn a_receipt_is_created_with_its_amount_digit_for_digit() {
    let receipt = json!({"GroupID": "S1", "HeadNum": 37, "CheckRef": "ch_1", "Posted": false});
    let server = Server::playing(vec![json(201, &receipt), json(201, &json!({"HeadNum": 0}))]).await;
    let epicor = epicor(&server, json!({}));
    let body = json!({"GroupID": "S1", "CheckRef": "ch_1", "TranType": "PrePay", "OrderNum": "5400", "DocTranAmt": "49.90"});
    assert_eq!(epicor.write("cash-receipt.create", &body, &context()).await.unwrap(), receipt);
    assert!(server.seen()[0].body.contains(r#""DocTranAmt":49.90"#));
    assert!(server.seen()[0].body.contains(r#""OrderNum":5400"#));
    let failure = epicor.write("cash-receipt.create", &body, &context()).await.unwrap_err();
    assert!(matches!(failure, CallFailure::Ambiguous { .. }));
}

#[tokio::test]
async fn a_group_is_posted_and_the_receipt_tells_that_it_was() {
    let receipt = |posted| json!({"GroupID": "S1", "HeadNum": 37, "CheckRef": "ch_1", "Posted": posted});
    let server = Server::playing(vec![
        rows(&[receipt(false)]),
        json(200, &json!({"returnObj": {"CashRecPostParam": [{"GroupID": ""}]}})),
        json(200, &json!({"parameters": {}})),
        rows(&[receipt(true)]),
        rows(&[receipt(true)]),
    ])
    .await;
    let epicor = epicor(&server, json!({}));
    let body = json!({"GroupID": "S1", "CheckRef": "ch_1"});
    assert_eq!(epicor.write("cash-group.post", &body, &context()).await.unwrap(), receipt(true));
    assert_eq!(server.seen()[2].json(), json!({"ds": {"CashRecPostParam": [{"GroupID": "S1"}]}}));
    assert_eq!(server.lines()[2], format!("POST {SET}/Erp.PROC.CashRecPostSvc/RunDirect"));
    // Posted already: nothing is left to do.
    assert_eq!(epicor.write("cash-group.post", &body, &context()).await.unwrap(), receipt(true));
    assert_eq!(server.seen().len(), 5);
}

#[tokio::test]
async fn a_post_that_shows_no_effect_leaves_doubt() {
    let receipt = json!({"GroupID": "S1", "HeadNum": 37, "CheckRef": "ch_1", "Posted": false});
    let server = Server::start(move |_, seen| match seen.target.rsplit('/').next() {
        Some("GetNewParameters") => json(200, &json!({"returnObj": {"P": [{"GroupID": ""}]}})),
        Some("RunDirect") => json(200, &json!({})),
        _ => rows(std::slice::from_ref(&receipt)),
    })
    .await;
    let epicor = epicor(&server, json!({}));
    let body = json!({"GroupID": "S1", "CheckRef": "ch_1"});
    let failure = epicor.write("cash-group.post", &body, &context()).await.unwrap_err();
    assert!(matches!(failure, CallFailure::Ambiguous { .. }), "{failure:?}");
    assert_eq!(
        code(
            epicor.write("cash-group.post", &json!({"GroupID": "S2", "CheckRef": "ch_1"}), &context()).await
        ),
        "receipt-elsewhere"
    );
    let ask =
        epicor.read("cash-receipt.find", &json!({"CheckRef": "ch_1", "Posted": true}), &context()).await;
    assert_eq!(ask.unwrap(), Found::No);
}

fn modified() -> Act {
    error(400, "BusinessObjectException", "Row has been modified by another user and couldn't be updated.")
}

#[tokio::test]
async fn a_change_that_others_got_in_before_is_laid_over_the_row_as_it_is_now_once() {
    let no_content = || answer(204, "text/plain", "");
    let row = || rows(&[json!({"CustNum": 812, "SysRevID": 8})]);
    let server = Server::playing(vec![modified(), row(), no_content(), row()]).await;
    let body = json!({"CustNum": 812, "City": "Bonn", "SysRevID": 7});
    epicor(&server, json!({})).write("customer.update", &body, &context()).await.unwrap();
    let seen = server.seen();
    assert_eq!(seen[0].json(), json!({"City": "Bonn", "SysRevID": 7}));
    assert_eq!(seen[2].json(), json!({"City": "Bonn", "SysRevID": 8}));

    let order = |revision: u64, comment: &str| {
        let order = json!({"OrderNum": 5400, "CustNum": 812, "PONum": "ch_1", "OrderHeld": false,
            "OrderComment": comment, "SysRevID": revision});
        rows(&[order])
    };
    let acts = vec![
        order(1, ""),
        modified(),
        order(2, "Gift"),
        no_content(),
        order(3, ""),
        modified(),
        order(4, ""),
        modified(),
    ];
    let server = Server::playing(acts).await;
    let epicor = epicor(&server, json!({}));
    let body = json!({"OrderNum": 5400, "Hold": "prv_1", "Reason": "a review"});
    epicor.write("sales-order.hold", &body, &context()).await.unwrap();
    let expected = json!({"OrderHeld": true, "OrderComment": "Gift\n[hold prv_1] a review", "SysRevID": 2});
    assert_eq!(server.seen()[3].json(), expected);
    let failure = epicor.write("sales-order.hold", &body, &context()).await.unwrap_err();
    assert!(matches!(&failure, CallFailure::Retryable { problem, .. } if problem.code == "record-modified"));
}

#[tokio::test]
async fn receipts_with_one_reference_are_a_pair_or_for_a_person() {
    let receipt = |number: u64, amount: &str| {
        let text = format!(
            r#"{{"GroupID":"S1","HeadNum":{number},"CheckRef":"R1","Posted":true,"DocTranAmt":{amount}}}"#
        );
        serde_json::from_str::<Value>(&text).unwrap()
    };
    for (amounts, expected) in [
        (vec!["49.98", "-49.98"], None),
        (vec!["-10.00", "10.00"], None),
        (vec!["49.98", "49.98"], Some("several-documents")),
        (vec!["49.98", "-49.97"], Some("several-documents")),
        (vec!["49.98", "-49.98", "49.98"], Some("several-documents")),
    ] {
        let found: Vec<_> = (37..).zip(&amounts).map(|(number, amount)| receipt(number, amount)).collect();
        let server = Server::start(move |_, _| rows(&found)).await;
        let read = epicor(&server, json!({}))
            .read("cash-receipt.find", &json!({"CheckRef": "R1"}), &context())
            .await;
        match expected {
            None => assert_eq!(self::found(read)["HeadNum"], 37),
            Some(expected) => assert_eq!(code(read), expected),
        }
    }
}

#[test]
fn a_door_a_column_and_a_function_are_refused_by_name() {
    let registry = Registry::standard();
    for (setting, value, pointer) in [
        ("doors", json!({"part.get": "methods"}), "/settings/doors/part.get"),
        ("doors", json!({"sales-order.create": "soap"}), "/settings/doors/sales-order.create"),
        ("journal_reference_column", json!("x eq 1 or y"), "/settings/journal_reference_column"),
        ("customer_columns", json!(["a b"]), "/settings/customer_columns"),
        ("efx", json!({"Ping": "read"}), "/settings/efx/Ping"),
        ("efx", json!({"Portolan/Ping": "maybe"}), "/settings/efx/Portolan/Ping"),
        ("changed_by_column", json!("ChangedBy"), "/settings/changed_by_column"),
        ("auth", json!("token-service"), "/secrets/client_id"),
        ("sales_order_entry", json!("methods"), "/settings/sales_order_entry"),
    ] {
        let mut settings = json!({"base_url": "http://127.0.0.1:1", "company": "EPIC06"});
        settings[setting] = value;
        let error = registry.get("epicor").unwrap().connect(&config(settings, SECRETS), &loopback());
        assert_eq!(error.unwrap_err().pointer, pointer);
    }
}

#[test]
fn a_login_is_basic_or_bearer() {
    let registry = Registry::standard();
    let connect = |secrets: &[(&str, &str)], company: &str| {
        let settings = json!({"base_url": "http://127.0.0.1:1", "company": company});
        let result = registry.get("epicor").unwrap().connect(&config(settings, secrets), &loopback());
        result.map(|_| ()).map_err(|error| error.pointer)
    };
    assert_eq!(connect(&[("api_key", "k"), ("token", "t")], "EPIC06"), Ok(()));
    assert_eq!(connect(&[("api_key", "k")], "EPIC06").unwrap_err(), "/secrets/token");
    assert_eq!(connect(&[("api_key", "k"), ("user", "u")], "EPIC06").unwrap_err(), "/secrets/password");
    assert_eq!(connect(&[("api_key", "k"), ("password", "p")], "EPIC06").unwrap_err(), "/secrets/user");
    let all = [("api_key", "k"), ("user", "u"), ("password", "p"), ("token", "t")];
    assert_eq!(connect(&all, "EPIC06").unwrap_err(), "/secrets/token");
    assert_eq!(connect(&[("token", "t")], "EPIC06").unwrap_err(), "/secrets/api_key");
    assert_eq!(connect(&[("api_key", "k"), ("token", "t")], "../x").unwrap_err(), "/settings/company");
}
