//! Epicor: what other users do, BPM posts, credit memos, journals, reversals, tokens.

use hmac::{Hmac, Mac as _};
use portolan_simulators::System;
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::harness::{Answer, World};

const BASE: &str = "/ERP/api/v2/odata/EPIC06";

async fn post(epicor: &World, path: &str, body: Value) -> Answer {
    epicor.post(&format!("{BASE}/{path}"), &body).await
}

/// A receiver of BPM posts: each as headers and body.
struct Hook {
    listener: TcpListener,
}

impl Hook {
    async fn start() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    fn url(&self) -> String {
        format!("http://{}/hooks/src_1", self.listener.local_addr().unwrap())
    }

    async fn next(&self) -> (String, Value) {
        let receiving = async {
            let (mut socket, _) = self.listener.accept().await.unwrap();
            let mut text = String::new();
            let mut buffer = [0; 4096];
            loop {
                let read = socket.read(&mut buffer).await.unwrap();
                text.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
                if body.len() >= length.parse().unwrap() {
                    let (head, body) = (head.to_owned(), serde_json::from_str(body).unwrap());
                    socket.write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n").await.unwrap();
                    return (head, body);
                }
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(10), receiving).await.expect("a post in time")
    }
}

#[tokio::test]
async fn a_directive_posts_what_others_changed_signed_and_once() {
    let epicor = World::start(System::Epicor).await;
    let hook = Hook::start().await;
    let directive = json!({"url": hook.url(), "secret": "bpm-secret", "lose": 1});
    epicor.post("/_simulator/bpm", &directive).await;
    // The integration user's own change is not told, and the first of the others' is lost.
    let one = format!("{BASE}/Erp.BO.CustomerSvc/Customers('EPIC06',42)");
    epicor.call("PATCH", &one, &[], &json!({"City": "Ulm"}).to_string()).await;
    for city in ["Kiel", "Bonn"] {
        epicor.post("/_simulator/customers", &json!({"row": {"CustNum": 43, "City": city}})).await;
    }
    let created = json!({"row": {"CustID": "NEW", "Name": "New"}, "user": "SMITH"});
    epicor.post("/_simulator/customers", &created).await;
    epicor.post("/_simulator/customers", &json!({"row": {"CustID": "NEW"}, "delete": true})).await;
    // A customer with transactions stays.
    let with_invoices = json!({"row": {"CustNum": 42}, "delete": true});
    assert_eq!(epicor.post("/_simulator/customers", &with_invoices).await.status, 400);

    let (head, body) = hook.next().await;
    assert_eq!((&body["operation"], &body["row"]["City"]), (&json!("Update"), &json!("Bonn")));
    assert_eq!((&body["company"], &body["table"]), (&json!("EPIC06"), &json!("Customer")));
    assert_eq!(body["eventId"], format!("{}/{}", body["sysRowId"].as_str().unwrap(), body["sysRevId"]));
    let signature = head.lines().find_map(|line| line.strip_prefix("x-signature: ")).unwrap();
    let (time, signed) = signature.split_once(",v1=").unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(b"bpm-secret").unwrap();
    mac.update(format!("{}.{body}", time.strip_prefix("t=").unwrap()).as_bytes());
    assert_eq!(signed, hex::encode(mac.finalize().into_bytes()));
    assert_eq!(hook.next().await.1["operation"], "Add");
    assert_eq!(hook.next().await.1["operation"], "Delete");
}

#[tokio::test]
async fn a_restart_tells_no_old_news() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("epicor.jsonl");
    let hook = Hook::start().await;
    let start = || {
        World::start_with(System::Epicor, |settings| {
            settings.ledger_path = Some(path.clone());
            let options = json!({"url": hook.url(), "token": "bpm-token"});
            settings.epicor.bpm = serde_json::from_value(options).unwrap();
        })
    };
    let change = |city: &str| json!({"row": {"CustNum": 43, "City": city}});
    let epicor = start().await;
    epicor.post("/_simulator/customers", &change("Kiel")).await;
    let (head, body) = hook.next().await;
    assert_eq!(body["row"]["City"], "Kiel");
    assert!(head.contains("authorization: Bearer bpm-token"));
    epicor.running.shutdown().await;
    let epicor = start().await;
    epicor.post("/_simulator/customers", &change("Bonn")).await;
    assert_eq!(hook.next().await.1["row"]["City"], "Bonn");
}

#[tokio::test]
async fn a_journal_is_posted_in_balance_in_an_open_period_and_only_then() {
    let epicor = World::start(System::Epicor).await;
    let entries = "Erp.BO.GLJournalEntrySvc";
    let group = json!({"groupID": "J1"});
    post(&epicor, "Erp.BO.GLJrnGrpSvc/GLJrnGrps", json!({"GroupID": "J1"})).await;
    let head = |date: &str| json!({"GroupID": "J1", "JEDate": date, "CurrencyCode": "USD", "CommentText": "payout/po_1/1"});
    assert_eq!(post(&epicor, &format!("{entries}/GLJournalEntries"), head("2036-01-01")).await.status, 400);
    let made = post(&epicor, &format!("{entries}/GLJournalEntries"), head("2026-11-20")).await.json();
    assert_eq!((&made["JournalNum"], &made["FiscalYear"]), (&json!(701), &json!(2026)));
    let line = |account: &str, side: &str| json!({"BookID": "MAIN", "FiscalYear": 2026, "JournalCode": "GJ", "JournalNum": 701, "GLAccount": account, side: 5});
    let lines = format!("{entries}/GLJrnDtlMnls");
    assert_eq!(post(&epicor, &lines, line("nowhere", "DebitAmount")).await.status, 400);
    assert_eq!(post(&epicor, &lines, line("1010-00", "DebitAmount")).await.status, 201);
    for method in ["CheckBeforePost", "PostGroupJournals"] {
        let answer = post(&epicor, &format!("Erp.BO.GLJrnGrpSvc/{method}"), group.clone()).await;
        assert!(answer.json()["ErrorMessage"].as_str().unwrap().contains("out of balance by 5"));
    }
    assert_eq!(post(&epicor, &lines, line("1190-00", "CreditAmount")).await.status, 201);
    assert_eq!(post(&epicor, "Erp.BO.GLJrnGrpSvc/PostGroupJournals", group).await.status, 200);
    let posted = epicor.ledger("gl-journal-posting").await;
    assert_eq!(
        (&posted[0]["business_key"], &posted[0]["amounts"]["USD"]),
        (&json!("payout/po_1/1"), &json!("5.00"))
    );
    let expected = json!({"account": "1190-00", "text": "", "debit": "0.00", "credit": "5.00"});
    assert_eq!(posted[0]["lines"][1], expected);
    assert_eq!(post(&epicor, &lines, line("1010-00", "DebitAmount")).await.status, 400);
}

#[tokio::test]
async fn a_credit_memo_refers_to_an_invoice_of_its_customer_and_needs_a_reason_of_type_a() {
    let epicor = World::start(System::Epicor).await;
    post(&epicor, "Erp.BO.InvcGrpSvc/InvcGrps", json!({"GroupID": "C1"})).await;
    let memo = |customer: u64, invoice: u64| {
        json!({"GroupID": "C1", "CreditMemo": true, "CustNum": customer, "InvoiceRef": invoice,
            "InvoiceDate": "2026-11-20", "CurrencyCode": "USD", "ExternalID": "re_1"})
    };
    let set = "Erp.BO.ARInvoiceSvc/ARInvoices";
    for (customer, invoice) in [(1, 9_001), (42, 1)] {
        assert_eq!(post(&epicor, set, memo(customer, invoice)).await.status, 400);
    }
    let made = post(&epicor, set, memo(42, 9_001)).await.json();
    assert_eq!((&made["InvoiceNum"], &made["InvoiceSuffix"]), (&json!(9_100), &json!("CM")));
    let line = |reason: &str| json!({"InvoiceNum": 9_100, "ReasonCode": reason, "SellingShipQty": 1, "DocUnitPrice": 10});
    let run = json!({"ds": {"ARInvoicePostParam": [{"GroupID": "C1"}]}});
    assert_eq!(post(&epicor, "Erp.PROC.ARInvoicePostSvc/RunDirect", run.clone()).await.status, 400);
    for (reason, status) in [("SCRAP", 400), ("NONE", 400), ("RETURN", 201)] {
        assert_eq!(
            post(&epicor, "Erp.BO.ARInvoiceSvc/InvcDtls", line(reason)).await.status,
            status,
            "{reason}"
        );
    }
    assert_eq!(post(&epicor, "Erp.PROC.ARInvoicePostSvc/RunDirect", run).await.status, 200);
    assert_eq!(post(&epicor, "Erp.BO.ARInvoiceSvc/InvcDtls", line("RETURN")).await.status, 400);
    let posted = epicor.ledger("credit-memo-posting").await;
    assert_eq!(
        (&posted[0]["business_key"], &posted[0]["amounts"]["USD"]),
        (&json!("re_1"), &json!("-10.00"))
    );
}

#[tokio::test]
async fn a_reversal_opens_the_invoice_again_and_is_made_once() {
    let epicor = World::start(System::Epicor).await;
    let group = json!({"GroupID": "G1", "TranDate": "2026-11-20", "BankAcctID": "STRIPE"});
    post(&epicor, "Erp.BO.CashGrpSvc/CashGrps", group).await;
    let receipt: Value = serde_json::from_str(
        r#"{"GroupID":"G1","CheckRef":"R1","TranType":"PayInv","CustNum":42,"DocTranAmt":49.98,"CurrencyCode":"USD"}"#,
    )
    .unwrap();
    post(&epicor, "Erp.BO.CashRecSvc/CashRecs", receipt).await;
    let line: Value =
        serde_json::from_str(r#"{"GroupID":"G1","HeadNum":37,"InvoiceNum":9001,"DocTranAmt":49.98}"#)
            .unwrap();
    assert_eq!(post(&epicor, "Erp.BO.CashRecSvc/CashDtls", line).await.status, 201);
    let reverse =
        json!({"groupID": "G1", "headNum": 37, "reverseDate": "2026-11-21", "reversedReason": "x", "ds": {}});
    let method = "Erp.BO.ReverseCashReceiptSvc/_ReverseCashReceipt";
    assert_eq!(post(&epicor, method, reverse.clone()).await.status, 400);
    let run = json!({"ds": {"CashRecPostParam": [{"GroupID": "G1"}]}});
    post(&epicor, "Erp.PROC.CashRecPostSvc/RunDirect", run).await;
    let mut closed = reverse.clone();
    closed["reverseDate"] = json!("2036-01-01");
    let refused = post(&epicor, method, closed).await.json();
    assert!(refused["parameters"]["postErrorLog"].as_str().unwrap().contains("closed"));
    let done = post(&epicor, method, reverse.clone()).await.json();
    assert_eq!(done["parameters"], json!({"postErrorLog": "", "newHeadNum": 38}));
    assert_eq!(post(&epicor, method, reverse).await.status, 400);
    let invoice =
        format!("{BASE}/Erp.BO.ARInvoiceSvc/ARInvoices('EPIC06',9001)?$select=OpenInvoice,DocInvoiceBal");
    let invoice = epicor.get(&invoice).await;
    assert!(invoice.body.contains(r#""DocInvoiceBal":49.98,"OpenInvoice":true"#), "{}", invoice.body);
    assert_eq!(epicor.ledger("cash-receipt-reversal").await[0]["amounts"]["USD"], "-49.98");
}

#[tokio::test]
async fn version_one_wants_the_company_and_no_key() {
    let epicor = World::start(System::Epicor).await;
    let path = "/ERP/api/v1/Erp.BO.CustomerSvc/Customers?$select=CustNum&$top=1";
    let without = epicor.call("GET", path, &[("x-api-key", "")], "").await;
    assert_eq!(without.status, 400);
    let settings = ("callsettings", r#"{"Company":"EPIC06"}"#);
    assert_eq!(epicor.call("GET", path, &[("x-api-key", ""), settings], "").await.status, 200);
}

#[tokio::test]
async fn a_client_gets_a_token_for_its_secret_and_tokens_end() {
    let epicor = World::start(System::Epicor).await;
    let ask = |secret: &str| {
        let body = json!({"clientId": "portolan-client", "clientSecret": secret, "scope": ""}).to_string();
        let epicor = &epicor;
        async move {
            let path = format!("{BASE}/Ice.LIB.TokenServiceSvc/GetAccessToken");
            epicor.call("POST", &path, &[("authorization", "")], &body).await
        }
    };
    assert_eq!(ask("wrong").await.status, 401);
    let token = ask("Portolan-secret-06").await.json()["returnObj"]["Token"][0]["AccessToken"].clone();
    let bearer = format!("Bearer {}", token.as_str().unwrap());
    let path = format!("{BASE}/Erp.BO.CustomerSvc/Customers?$select=CustNum&$top=1");
    assert_eq!(epicor.call("GET", &path, &[("authorization", &bearer)], "").await.status, 200);
    epicor.post("/_simulator/end-sessions", &json!({})).await;
    assert_eq!(epicor.call("GET", &path, &[("authorization", &bearer)], "").await.status, 401);
}
