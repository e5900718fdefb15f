//! Epicor: keys and licences, OData, methods, cash receipts, errors.

use portolan_simulators::System;
use serde_json::{Value, json};

use crate::harness::{Answer, World};

const CUSTOMERS: &str = "/ERP/api/v2/odata/EPIC06/Erp.BO.CustomerSvc";
const ORDERS: &str = "/ERP/api/v2/odata/EPIC06/Erp.BO.SalesOrderSvc";
const GROUPS: &str = "/ERP/api/v2/odata/EPIC06/Erp.BO.CashGrpSvc";
const RECEIPTS: &str = "/ERP/api/v2/odata/EPIC06/Erp.BO.CashRecSvc";
const POSTING: &str = "/ERP/api/v2/odata/EPIC06/Erp.PROC.CashRecPostSvc";

/// A query with blanks and quotes as a URL has them.
fn url(base: &str, query: &str) -> String {
    format!("{base}?{}", query.replace(' ', "%20").replace('\'', "%27"))
}

fn refusal(answer: &Answer) -> (u16, String) {
    let kind = answer.json()["ErrorType"].as_str().unwrap().rsplit('.').next().unwrap().to_owned();
    assert_eq!(answer.json()["HttpStatus"], answer.status);
    (answer.status, kind)
}

fn order(reference: &str) -> Value {
    serde_json::from_str(&format!(
        r#"{{"Company":"EPIC06","OrderNum":0,"CustNum":42,"PONum":"{reference}","OrderDate":"2026-11-20T00:00:00",
            "CurrencyCode":"USD","OrderDtls":[{{"OrderLine":0,"PartNum":"WIDGET-1","SellingQuantity":2,"DocUnitPrice":24.99,
            "LockPrice":true}},{{"OrderLine":0,"PartNum":"GIZMO-3","SellingQuantity":3,"DocUnitPrice":0.10}}]}}"#
    ))
    .unwrap()
}

async fn group(epicor: &World, id: &str) -> Answer {
    epicor
        .post(
            &format!("{GROUPS}/CashGrps"),
            &json!({"GroupID": id, "TranDate": "2026-11-20", "BankAcctID": "STRIPE"}),
        )
        .await
}

fn receipt(group: &str, reference: &str, order: u64) -> Value {
    serde_json::from_str(&format!(
        r#"{{"GroupID":"{group}","CheckRef":"{reference}","TranType":"PrePay","OrderNum":{order},"CustNum":42,
            "DocTranAmt":50.28,"CurrencyCode":"USD","TranDate":"2026-11-20T00:00:00","Reference":"R1"}}"#
    ))
    .unwrap()
}

async fn post_group(epicor: &World, id: &str) -> Answer {
    let parameters = epicor.post(&format!("{POSTING}/GetNewParameters"), &json!({})).await.json();
    let mut ds = parameters["returnObj"].clone();
    ds["CashRecPostParam"][0]["GroupID"] = json!(id);
    epicor.post(&format!("{POSTING}/RunDirect"), &json!({"ds": ds})).await
}

#[tokio::test]
async fn a_login_and_a_key_are_needed_and_a_scope_is_kept() {
    let epicor = World::start(System::Epicor).await;
    let path = url(&format!("{CUSTOMERS}/Customers"), "$select=CustNum&$top=1");
    let no_key = epicor.call("GET", &path, &[("x-api-key", "")], "").await;
    assert_eq!((no_key.status, no_key.body.starts_with("<html>")), (401, true));
    assert_eq!(epicor.call("GET", &path, &[("authorization", "Bearer wrong")], "").await.status, 401);
    assert_eq!(epicor.call("GET", &path, &[("authorization", "Bearer epicor-token")], "").await.status, 200);
    let scope = ("x-api-key", "epicor-key-customers");
    assert_eq!(epicor.call("GET", &path, &[scope], "").await.status, 200);
    let outside = epicor.call("GET", &format!("{ORDERS}/SalesOrders"), &[scope], "").await;
    assert_eq!(refusal(&outside), (403, "UnauthorizedAccessException".to_owned()));
    let wrong_case = epicor.get(&format!("{CUSTOMERS}/customers")).await;
    assert_eq!(refusal(&wrong_case), (404, "ApiException".to_owned()));
    let credentials = [("authorization", ""), ("username", "portolan"), ("password", "Portolan-06")];
    let token = epicor.call("POST", "/ERP/TokenResource.svc", &credentials, "").await.json();
    let bearer = format!("Bearer {}", token["AccessToken"].as_str().unwrap());
    assert_eq!(epicor.call("GET", &path, &[("authorization", &bearer)], "").await.status, 200);
}

#[tokio::test]
async fn a_customer_is_created_found_changed_and_not_created_twice() {
    let epicor = World::start(System::Epicor).await;
    let row = json!({"Company": "EPIC06", "CustID": "S000100", "CustNum": 0, "Name": "Grace", "EMailAddress": "g@example.com", "StripeID_c": "cus_1"});
    let created = epicor.post(&format!("{CUSTOMERS}/Customers"), &row).await;
    assert_eq!(
        (created.status, &created.json()["CustNum"], &created.json()["StripeID_c"]),
        (201, &json!(812), &json!("cus_1"))
    );
    let again = epicor.post(&format!("{CUSTOMERS}/Customers"), &row).await;
    assert_eq!(refusal(&again), (409, "DuplicateRecordException".to_owned()));
    let find = url(
        &format!("{CUSTOMERS}/Customers"),
        "$filter=EMailAddress eq 'g@example.com'&$select=CustNum,CustID,SysRevID",
    );
    let found = epicor.get(&find).await.json();
    assert_eq!(found["value"].as_array().unwrap().len(), 1);
    assert_eq!(found["value"][0].as_object().unwrap().len(), 3);
    let revision = found["value"][0]["SysRevID"].clone();
    let one = format!("{CUSTOMERS}/Customers('EPIC06',812)");
    let changed =
        epicor.call("PATCH", &one, &[], &json!({"City": "Bonn", "SysRevID": revision}).to_string()).await;
    assert_eq!((changed.status, changed.body.as_str()), (204, ""));
    let stale =
        epicor.call("PATCH", &one, &[], &json!({"City": "Kiel", "SysRevID": revision}).to_string()).await;
    assert_eq!(stale.status, 400);
    assert!(
        stale.json()["ErrorMessage"].as_str().unwrap().starts_with("Row has been modified by another user")
    );
    assert_eq!((epicor.ledger("customer").await.len(), epicor.ledger("customer-update").await.len()), (1, 1));
}

#[tokio::test]
async fn an_order_with_its_lines_is_one_document_with_exact_amounts() {
    let epicor = World::start(System::Epicor).await;
    let created = epicor.post(&format!("{ORDERS}/SalesOrders"), &order("ch_1")).await;
    assert_eq!((created.status, &created.json()["OrderNum"]), (201, &json!(5400)));
    let lines = epicor.ledger("sales-order").await;
    assert_eq!(
        (lines.len(), &lines[0]["business_key"], &lines[0]["amounts"]["USD"]),
        (1, &json!("ch_1"), &json!("50.28"))
    );
    let find = url(
        &format!("{ORDERS}/SalesOrders"),
        "$filter=PONum eq 'ch_1' and CustNum eq 42&$select=OrderNum&$expand=OrderDtls",
    );
    let found = epicor.get(&find).await;
    assert_eq!(found.json()["value"][0]["OrderDtls"].as_array().unwrap().len(), 2);
    assert!(found.body.contains("\"DocUnitPrice\":24.99") && found.body.contains("\"DocUnitPrice\":0.1"));
    let children = epicor.get(&format!("{ORDERS}/SalesOrders('EPIC06',5400)/OrderRels")).await.json();
    assert_eq!(children["value"][0]["OurReqQty"], json!(2));
}

#[tokio::test]
async fn nested_lines_can_be_ignored_and_are_then_added_one_by_one() {
    let epicor = World::start_with(System::Epicor, |s| s.epicor.nested_order_lines = false).await;
    epicor.post(&format!("{ORDERS}/SalesOrders"), &order("ch_1")).await;
    let lines = url(&format!("{ORDERS}/OrderDtls"), "$filter=OrderNum eq 5400&$count=true");
    assert_eq!(epicor.get(&lines).await.json()["@odata.count"], 0);
    for line in order("ch_1")["OrderDtls"].as_array().unwrap() {
        let mut line = line.clone();
        line["OrderNum"] = json!(5400);
        assert_eq!(epicor.post(&format!("{ORDERS}/OrderDtls"), &line).await.status, 201);
    }
    let found = epicor.get(&lines).await.json();
    assert_eq!((&found["@odata.count"], &found["value"][1]["OrderLine"]), (&json!(2), &json!(2)));
    let header =
        epicor.get(&url(&format!("{ORDERS}/SalesOrders('EPIC06',5400)"), "$select=DocOrderAmt")).await;
    assert!(header.body.contains("\"DocOrderAmt\":50.28"), "{}", header.body);
}

#[tokio::test]
async fn refused_orders_leave_nothing() {
    let epicor = World::start(System::Epicor).await;
    let changes: [(&str, Value, &str); 9] = [
        ("/CustNum", json!(999), "BusinessObjectException"),
        ("/CustNum", json!(90), "BusinessObjectException"),
        ("/CustNum", json!(91), "BusinessObjectException"),
        ("/OrderDate", Value::Null, "BusinessObjectException"),
        ("/CurrencyCode", json!("XYZ"), "BusinessObjectException"),
        ("/OrderDtls/0/PartNum", json!("NOPE"), "BusinessObjectException"),
        ("/OrderDtls/0/PartNum", json!("OLD-9"), "BusinessObjectException"),
        ("/OrderDtls/0/DocUnitPrice", json!("24.99"), "ODataException"),
        ("/PONum", json!("x".repeat(51)), "BusinessObjectException"),
    ];
    for (pointer, value, kind) in changes {
        let mut body = order("ch_1");
        *body.pointer_mut(pointer).unwrap() = value;
        let answer = epicor.post(&format!("{ORDERS}/SalesOrders"), &body).await;
        assert_eq!(refusal(&answer), (400, kind.to_owned()), "{pointer}");
    }
    let mut unknown = order("ch_1");
    unknown["Colour"] = json!("red");
    assert_eq!(refusal(&epicor.post(&format!("{ORDERS}/SalesOrders"), &unknown).await).1, "ODataException");
    assert!(epicor.ledger("sales-order").await.is_empty());
}

#[tokio::test]
async fn a_repeated_po_number_is_refused_where_the_customer_says_so() {
    let epicor = World::start(System::Epicor).await;
    let mut body = order("ch_1");
    body["CustNum"] = json!(92);
    assert_eq!(epicor.post(&format!("{ORDERS}/SalesOrders"), &body).await.status, 201);
    assert_eq!(epicor.post(&format!("{ORDERS}/SalesOrders"), &body).await.status, 400);
    for _ in 0..2 {
        assert_eq!(epicor.post(&format!("{ORDERS}/SalesOrders"), &order("ch_2")).await.status, 201);
    }
}

#[tokio::test]
async fn the_methods_of_a_screen_make_an_order_too() {
    let epicor = World::start(System::Epicor).await;
    let method = |name: &str, body: Value| {
        let (epicor, path) = (&epicor, format!("{ORDERS}/{name}"));
        async move { epicor.post(&path, &body).await.json()["parameters"].clone() }
    };
    let mut ds = method("GetNewOrderHed", json!({"ds": {}})).await["ds"].clone();
    ds["OrderHed"][0]["CustID"] = json!("S000042");
    ds["OrderHed"][0]["PONum"] = json!("ch_1");
    let ds = method("ChangeSoldToID", json!({"ds": ds})).await["ds"].clone();
    assert_eq!(ds["OrderHed"][0]["CustNum"], 42);
    let saved =
        method("MasterUpdate", json!({"cTableName": "OrderHed", "iCustNum": 42, "iOrderNum": 0, "ds": ds}))
            .await;
    assert_eq!((&saved["lContinue"], &saved["ds"]["OrderHed"][0]["OrderNum"]), (&json!(true), &json!(5400)));
    let ds = method("GetNewOrderDtl", json!({"ds": saved["ds"], "orderNum": 5400})).await["ds"].clone();
    let ds = method("ChangePartNumMaster", json!({"ds": ds, "partNum": "WIDGET-1"})).await["ds"].clone();
    let mut ds =
        method("ChangeSellingQtyMaster", json!({"ds": ds, "ipSellingQuantity": 2})).await["ds"].clone();
    assert_eq!(ds["OrderDtl"][0]["LineDesc"], "Widget");
    ds["OrderDtl"][0]["DocUnitPrice"] = json!(5);
    let saved = method("MasterUpdate", json!({"cTableName": "OrderDtl", "ds": ds})).await;
    assert_eq!((&saved["lContinue"], &saved["ds"]["OrderDtl"][0]["OrderLine"]), (&json!(true), &json!(1)));
    assert_eq!(epicor.ledger("sales-order-line").await[0]["amounts"]["USD"], "10.00");
}

#[tokio::test]
async fn a_question_to_a_person_saves_nothing() {
    let epicor = World::start(System::Epicor).await;
    let row = json!({"CustNum": 90, "OrderDate": "2026-11-20", "PONum": "ch_1", "RowMod": "A"});
    let body = json!({"cTableName": "OrderHed", "iCustNum": 90, "iOrderNum": 0, "ds": {"OrderHed": [row]}});
    let answer = epicor.post(&format!("{ORDERS}/MasterUpdate"), &body).await.json();
    assert_eq!(answer["parameters"]["lContinue"], false);
    assert!(answer["parameters"]["cResponseMsg"].as_str().unwrap().contains("credit hold"));
    assert!(epicor.ledger("sales-order").await.is_empty());
}

#[tokio::test]
async fn an_update_sends_the_whole_row() {
    let epicor = World::start(System::Epicor).await;
    let found = epicor.post(&format!("{CUSTOMERS}/GetByID"), &json!({"custNum": 42})).await.json();
    let mut row = found["returnObj"]["Customer"][0].clone();
    row["RowMod"] = json!("U");
    row["City"] = json!("Bonn");
    let mut part = row.clone();
    part.as_object_mut().unwrap().remove("Name");
    let update = format!("{CUSTOMERS}/Update");
    let refused = epicor.post(&update, &json!({"ds": {"Customer": [part]}})).await;
    assert_eq!(refused.status, 400);
    assert_eq!(epicor.post(&update, &json!({"ds": {"Customer": [row]}})).await.status, 200);
    // The row was read before that update: its revision is stale now.
    assert_eq!(epicor.post(&update, &json!({"ds": {"Customer": [row]}})).await.status, 400);
}

#[tokio::test]
async fn a_receipt_is_made_in_a_group_posted_and_then_immutable() {
    let epicor = World::start(System::Epicor).await;
    epicor.post(&format!("{ORDERS}/SalesOrders"), &order("ch_1")).await;
    let exists =
        |id: &str| epicor.post_owned(format!("{GROUPS}/ReceiptGroupExists"), json!({"ipGroupID": id}));
    assert_eq!(exists("S1120A").await.json()["returnObj"], false);
    assert_eq!(group(&epicor, "S1120A").await.status, 201);
    assert_eq!(refusal(&group(&epicor, "S1120A").await).0, 409);
    assert_eq!(exists("S1120A").await.json()["returnObj"], true);
    let created = epicor.post(&format!("{RECEIPTS}/CashRecs"), &receipt("S1120A", "ch_1", 5400)).await;
    assert_eq!(
        (created.status, &created.json()["HeadNum"], &created.json()["Posted"]),
        (201, &json!(37), &json!(false))
    );
    let posted = post_group(&epicor, "S1120A").await;
    assert_eq!(posted.status, 200);
    let find =
        url(&format!("{RECEIPTS}/CashRecs"), "$filter=CheckRef eq 'ch_1'&$select=HeadNum,GroupID,Posted");
    assert_eq!(
        epicor.get(&find).await.json()["value"],
        json!([{"GroupID": "S1120A", "HeadNum": 37, "Posted": true}])
    );
    let one = format!("{RECEIPTS}/CashRecs('EPIC06','S1120A',37)");
    assert_eq!(epicor.call("PATCH", &one, &[], "{\"Reference\":\"x\"}").await.status, 400);
    assert_eq!(epicor.call("DELETE", &one, &[], "").await.status, 400);
    post_group(&epicor, "S1120A").await;
    let posting = epicor.ledger("cash-receipt-posting").await;
    assert_eq!(
        (posting.len(), &posting[0]["business_key"], &posting[0]["amounts"]["USD"]),
        (1, &json!("ch_1"), &json!("50.28"))
    );
}

#[tokio::test]
async fn refused_receipts_say_why() {
    let epicor = World::start(System::Epicor).await;
    group(&epicor, "G1").await;
    let changes: [(&str, Value); 7] = [
        ("/CheckRef", json!("  ")),
        ("/GroupID", json!("NOPE")),
        ("/TranType", json!("PAYINV")),
        ("/OrderNum", json!(1)),
        ("/DocTranAmt", json!(0)),
        ("/CurrencyCode", json!("XYZ")),
        ("/CustNum", json!(999)),
    ];
    for (pointer, value) in changes {
        let mut body = receipt("G1", "ch_1", 0);
        *body.pointer_mut(pointer).unwrap() = value;
        assert_eq!(epicor.post(&format!("{RECEIPTS}/CashRecs"), &body).await.status, 400, "{pointer}");
    }
    epicor.post("/_simulator/locks", &json!({"object": "G1", "locked": true})).await;
    let locked = epicor.post(&format!("{RECEIPTS}/CashRecs"), &receipt("G1", "ch_1", 0)).await;
    assert!(locked.json()["ErrorMessage"].as_str().unwrap().contains("in use by"));
    assert!(epicor.ledger("cash-receipt").await.is_empty());
}

#[tokio::test]
async fn the_methods_of_a_receipt_apply_it_to_an_open_invoice_only() {
    let epicor = World::start(System::Epicor).await;
    group(&epicor, "G1").await;
    let method = |name: &str, body: Value| epicor.post_owned(format!("{RECEIPTS}/{name}"), body);
    let new =
        method("GetNewCashHeadType", json!({"ds": {}, "groupID": "G1", "tranType": "PAYINV"})).await.json();
    let info =
        method("GetCustomerInfo", json!({"custID": "S000042", "ds": new["parameters"]["ds"]})).await.json();
    let mut ds = info["parameters"]["ds"].clone();
    ds["CashHead"][0]["CheckRef"] = json!("ch_1");
    ds["CashHead"][0]["DocTranAmt"] = serde_json::from_str("49.98").unwrap();
    let amount = method("GetTranAmt", json!({"baseEntered": false, "ds": ds})).await.json();
    let ready = method("PreUpdate", json!({"ds": amount["parameters"]["ds"]})).await.json();
    assert_eq!(ready["parameters"]["requiresUserInput"], false);
    let saved = method("Update", json!({"ds": ready["parameters"]["ds"]})).await.json();
    assert_eq!(saved["parameters"]["ds"]["CashHead"][0]["TranType"], "PayInv");
    for (invoice, status) in [(9999, 400), (9002, 400), (9001, 200)] {
        let allocation = json!({"ds": {}, "groupID": "G1", "headNum": 37, "invoiceNum": invoice});
        assert_eq!(method("GetNewCashDtl", allocation).await.status, status, "{invoice}");
    }
    let row = json!({"GroupID": "G1", "HeadNum": 37, "InvoiceNum": 9001, "RowMod": "A"});
    let info =
        method("GetDtlInvoiceInfo", json!({"invoiceNum": 9001, "ds": {"CashDtl": [row]}})).await.json();
    assert_eq!(method("Update", json!({"ds": info["parameters"]["ds"]})).await.status, 200);
    post_group(&epicor, "G1").await;
    let invoice = "/ERP/api/v2/odata/EPIC06/Erp.BO.ARInvoiceSvc/ARInvoices('EPIC06',9001)?$select=OpenInvoice,DocInvoiceBal";
    let invoice = epicor.get(invoice).await.json();
    assert_eq!((&invoice["OpenInvoice"], &invoice["DocInvoiceBal"]), (&json!(false), &json!(0)));
}

#[tokio::test]
async fn what_the_agent_posts_is_posted_later() {
    let epicor = World::start_with(System::Epicor, |s| s.epicor.agent_ms = 3_600_000).await;
    group(&epicor, "G1").await;
    epicor.post(&format!("{RECEIPTS}/CashRecs"), &receipt("G1", "ch_1", 0)).await;
    let submit = json!({"ds": {"CashRecPostParam": [{"GroupID": "G1"}]}, "agentID": "SystemTaskAgent", "agentSchedNum": 0});
    assert_eq!(epicor.post(&format!("{POSTING}/SubmitToAgent"), &submit).await.status, 200);
    let find = url(&format!("{RECEIPTS}/CashRecs"), "$filter=CheckRef eq 'ch_1'&$select=Posted");
    assert_eq!(epicor.get(&find).await.json()["value"], json!([{"Posted": false}]));
}

#[tokio::test]
async fn a_page_has_a_hundred_rows_and_the_next_is_asked_for() {
    let parts = |s: &mut portolan_simulators::SimulatorSettings| {
        for number in 0..150 {
            let part = s.epicor.parts["WIDGET-1"].clone();
            s.epicor.parts.insert(format!("P{number:03}"), part);
        }
    };
    let epicor = World::start_with(System::Epicor, parts).await;
    let set = "/ERP/api/v2/odata/EPIC06/Erp.BO.PartSvc/Parts";
    let page = |query: &'static str| {
        let (epicor, path) = (&epicor, url(set, query));
        async move { epicor.get(&path).await.json()["value"].as_array().unwrap().clone() }
    };
    let first = page("$filter=startswith(PartNum,'P')&$orderby=PartNum desc&$select=PartNum").await;
    assert_eq!((first.len(), &first[0]["PartNum"]), (100, &json!("P149")));
    let rest =
        page("$filter=startswith(PartNum,'P')&$orderby=PartNum desc&$select=PartNum&$skip=100&$top=100")
            .await;
    assert_eq!((rest.len(), &rest[49]["PartNum"]), (50, &json!("P000")));
    assert_eq!(epicor.get(&url(set, "$filter=PartNum = 'x'")).await.status, 400);
    assert_eq!(epicor.get(&url(set, "$select=Nope")).await.status, 400);
}

#[tokio::test]
async fn heavy_reads_fail_when_they_are_switched_to() {
    let epicor = World::start_with(System::Epicor, |s| s.epicor.heavy_reads_fail = true).await;
    let heavy = epicor.get(&format!("{CUSTOMERS}/Customers")).await;
    assert_eq!((heavy.status, heavy.json()["ErrorDetails"].is_null()), (500, true));
    assert_eq!(epicor.get(&url(&format!("{CUSTOMERS}/Customers"), "$select=CustNum")).await.status, 200);
}

#[tokio::test]
async fn licences_run_out_while_calls_are_under_way() {
    let epicor = World::start_with(System::Epicor, |s| s.epicor.licences = 1).await;
    let path = url(&format!("{CUSTOMERS}/Customers"), "$select=CustNum&$top=1");
    epicor.fault(&json!({"operation": "*", "fault": "hang", "ms": 60_000})).await;
    let hanging = epicor.try_call("GET", &path, &[], "");
    tokio::pin!(hanging);
    // The hanging call is counted before the other one is sent: the fault is used up.
    let counted = async {
        while epicor.get("/_simulator/faults").await.json()["waiting"] != json!([]) {}
        epicor.get(&path).await
    };
    let refused = tokio::select! {
        _ = &mut hanging => panic!("the call does not hang"),
        refused = counted => refused,
    };
    assert_eq!(refused.status, 400);
    assert!(refused.json()["ErrorMessage"].as_str().unwrap().contains("Maximum number of users"));
}

#[tokio::test]
async fn a_session_that_was_logged_out_is_gone() {
    let epicor = World::start(System::Epicor).await;
    let sessions = "/ERP/api/v2/odata/EPIC06/Ice.LIB.SessionModSvc";
    let id = epicor.post(&format!("{sessions}/Login"), &json!({})).await.json()["returnObj"].clone();
    let info = json!({"SessionID": id}).to_string();
    let path = url(&format!("{CUSTOMERS}/Customers"), "$select=CustNum&$top=1");
    assert_eq!(epicor.call("GET", &path, &[("sessioninfo", &info)], "").await.status, 200);
    epicor.call("POST", &format!("{sessions}/Logout"), &[("sessioninfo", &info)], "{}").await;
    let gone = epicor.call("GET", &path, &[("sessioninfo", &info)], "").await;
    assert_eq!(refusal(&gone), (410, "InvalidSessionException".to_owned()));
}
