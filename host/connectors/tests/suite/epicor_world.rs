//! Epicor against its simulator: whatever breaks on the way, the simulator's ledger has each document once.

use std::sync::Arc;

use portolan_connectors::{Connection, Found};
use portolan_domain::verdict::CallFailure;
use portolan_simulators::{Running, SimulatorSettings, System, serve};
use serde_json::{Value, json};

use super::{code, connect, context, found};

const SECRETS: &[(&str, &str)] =
    &[("api_key", "epicor-key"), ("user", "portolan"), ("password", "Portolan-06")];
/// More calls than any operation makes.
const CALLS_MAX: usize = 14;

struct World {
    running: Running,
    epicor: Arc<dyn Connection>,
    desk: Arc<dyn Connection>,
}

impl World {
    async fn start(settings: Value) -> Self {
        Self::start_with(settings, SECRETS, |_| {}).await
    }

    async fn start_with(
        settings: Value,
        secrets: &[(&str, &str)],
        change: impl FnOnce(&mut SimulatorSettings),
    ) -> Self {
        let mut world = SimulatorSettings::default();
        change(&mut world);
        let running = serve(System::Epicor, world).await.unwrap();
        let mut own = json!({"base_url": format!("{}/ERP", running.base_url()), "company": "EPIC06"});
        own.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        let epicor = connect("epicor", own, secrets);
        let desk = connect("http", json!({"base_url": running.base_url()}), &[]);
        Self { running, epicor, desk }
    }

    /// What other users and the tester do.
    async fn desk(&self, path: &str, body: Value) -> Value {
        let body = json!({"path": format!("_simulator/{path}"), "body": body});
        self.desk.write("request.post", &body, &context()).await.unwrap()["body"].clone()
    }

    async fn fault(&self, operation: &str, fault: &str, skip: usize) {
        self.desk("faults", json!({"operation": operation, "fault": fault, "skip": skip})).await;
    }

    async fn write(&self, operation: &str, body: &Value) -> Result<Value, CallFailure> {
        self.epicor.write(operation, body, &context()).await
    }

    async fn read(&self, operation: &str, parameters: Value) -> Result<Found, CallFailure> {
        self.epicor.read(operation, &parameters, &context()).await
    }

    /// Writes as the host does: asks in doubt, and after a failure that may pass tries again.
    async fn deliver(&self, (operation, body): (&str, Value), (find, parameters): (&str, Value)) -> Value {
        for _ in 0..4 {
            match self.write(operation, &body).await {
                Ok(answer) => return answer,
                Err(CallFailure::Ambiguous { .. } | CallFailure::Retryable { .. }) => {}
                Err(failure) => panic!("{operation}: {failure:?}"),
            }
            if let Ok(Found::Yes(answer)) = self.read(find, parameters.clone()).await {
                return answer;
            }
        }
        panic!("{operation} never succeeds")
    }

    /// How many lines of a kind, and the sum of what they are about.
    fn ledger(&self, kind: &str) -> Vec<(String, Vec<String>)> {
        let entries = self.running.ledger().entries();
        let of_kind = entries.iter().filter(|entry| entry.kind == kind);
        of_kind.map(|e| (e.business_key.clone(), e.amounts.values().cloned().collect())).collect()
    }

    async fn order(&self, reference: &str) -> u64 {
        let body = json!({
            "CustNum": 42, "PONum": reference, "OrderDate": "2026-11-20T00:00:00", "CurrencyCode": "USD",
            "OrderDtls": [{"PartNum": "WIDGET-1", "SellingQuantity": 2, "DocUnitPrice": "24.99"}],
        });
        self.write("sales-order.create", &body).await.unwrap()["OrderNum"].as_u64().unwrap()
    }

    /// A posted prepayment of an order.
    async fn paid(&self, order: u64, reference: &str) {
        let receipt = receipt(reference, json!({"TranType": "PrePay", "OrderNum": order}));
        self.write("cash-group.ensure", &group(reference)).await.unwrap();
        self.write("cash-receipt.create", &receipt).await.unwrap();
        let body = json!({"GroupID": group_id(reference), "CheckRef": reference});
        self.write("cash-group.post", &body).await.unwrap();
    }
}

fn group_id(reference: &str) -> String {
    format!("G{reference}")
}

fn group(reference: &str) -> Value {
    json!({"GroupID": group_id(reference), "TranDate": "2026-11-20T00:00:00", "BankAcctID": "STRIPE"})
}

fn receipt(reference: &str, more: Value) -> Value {
    let mut receipt = json!({
        "GroupID": group_id(reference), "CheckRef": reference, "CustNum": 42, "DocTranAmt": "49.98",
        "CurrencyCode": "USD", "TranDate": "2026-11-20T00:00:00",
    });
    receipt.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    receipt
}

fn doors(door: &str) -> Value {
    json!({"doors": {
        "customer.create": door, "sales-order.create": door, "cash-receipt.create": door,
        "credit-memo.create": door, "gl-journal.post": door,
    }})
}

const DOORS: [&str; 2] = ["entity-set", "methods"];

#[tokio::test]
async fn money_is_applied_to_the_open_invoices_of_an_order() {
    for door in DOORS {
        let world = World::start(doors(door)).await;
        let order = world.order("ch_1").await;
        assert_eq!(
            world.read("ar-invoice.open-by-order", json!({"OrderNum": order})).await.unwrap(),
            Found::No
        );
        for amount in ["30.00", "19.98"] {
            world.desk("invoice-order", json!({"OrderNum": order, "amount": amount})).await;
        }
        let open = found(world.read("ar-invoice.open-by-order", json!({"OrderNum": order})).await);
        let balances: Vec<&Value> =
            open["Invoices"].as_array().unwrap().iter().map(|row| &row["DocInvoiceBal"]).collect();
        assert_eq!(
            balances,
            ["30.00", "19.98"].map(|text| json!(text.trim_end_matches(".00"))).iter().collect::<Vec<_>>()
        );
        let rows = json!([
            {"InvoiceNum": open["Invoices"][0]["InvoiceNum"], "DocTranAmt": "30.00"},
            {"InvoiceNum": open["Invoices"][1]["InvoiceNum"], "DocTranAmt": "19.98"},
        ]);
        world.write("cash-group.ensure", &group("R1")).await.unwrap();
        let body = receipt("R1", json!({"TranType": "PayInv", "CashDtls": rows}));
        let created = world.write("cash-receipt.create", &body).await.unwrap();
        assert_eq!(world.write("cash-receipt.create", &body).await.unwrap(), created);
        let post = json!({"GroupID": group_id("R1"), "CheckRef": "R1"});
        assert_eq!(world.write("cash-group.post", &post).await.unwrap()["Posted"], true);
        assert_eq!(
            world.read("ar-invoice.open-by-order", json!({"OrderNum": order})).await.unwrap(),
            Found::No
        );
        assert_eq!((world.ledger("cash-receipt").len(), world.ledger("cash-receipt-line").len()), (1, 2));
    }
}

#[tokio::test]
async fn a_receipt_cut_anywhere_is_one_receipt_with_its_allocation() {
    for door in DOORS {
        for skip in 0..CALLS_MAX {
            let world = World::start(doors(door)).await;
            let order = world.order("ch_1").await;
            let invoice = world.desk("invoice-order", json!({"OrderNum": order})).await["InvoiceNum"].clone();
            world.write("cash-group.ensure", &group("R1")).await.unwrap();
            let row = json!([{"InvoiceNum": invoice, "DocTranAmt": "49.98"}]);
            world.fault("*", "commit-then-cut", skip).await;
            let body = receipt("R1", json!({"TranType": "PayInv", "CashDtls": row}));
            let find = json!({"CheckRef": "R1", "Allocations": 1});
            world.deliver(("cash-receipt.create", body), ("cash-receipt.find", find)).await;
            assert_eq!(world.ledger("cash-receipt").len(), 1, "{door} {skip}");
            assert_eq!(world.ledger("cash-receipt-line").len(), 1, "{door} {skip}");
        }
    }
}

fn memo(invoice: &Value) -> Value {
    json!({
        "GroupID": "CM1", "ExternalID": "re_1", "CustNum": 42, "InvoiceRef": invoice,
        "InvoiceDate": "2026-11-21T00:00:00", "CurrencyCode": "USD", "ReasonType": "A", "ReasonCode": "RETURN",
        "InvcDtls": [{"LineDesc": "Refund", "SellingShipQty": 1, "DocUnitPrice": "10.00"}],
    })
}

#[tokio::test]
async fn a_credit_memo_cut_anywhere_is_entered_and_posted_once() {
    for door in DOORS {
        for skip in 0..CALLS_MAX {
            let world = World::start(doors(door)).await;
            let order = world.order("ch_1").await;
            let invoice = world.desk("invoice-order", json!({"OrderNum": order})).await["InvoiceNum"].clone();
            world.fault("*", "commit-then-cut", skip).await;
            let find = json!({"ExternalID": "re_1", "Lines": 1});
            let entered =
                world.deliver(("credit-memo.create", memo(&invoice)), ("credit-memo.find", find)).await;
            assert_eq!(entered["InvoiceRef"], invoice);
            assert_eq!(entered["DocInvoiceAmt"], "-10");
            let find = json!({"ExternalID": "re_1", "Posted": true});
            let body = json!({"GroupID": "CM1", "ExternalID": "re_1"});
            let posted = world.deliver(("credit-memo.post", body), ("credit-memo.find", find)).await;
            assert_eq!(posted["Posted"], true);
            let expected = vec![("re_1".to_owned(), vec!["-10.00".to_owned()])];
            assert_eq!(world.ledger("credit-memo-posting"), expected, "{door} {skip}");
            assert_eq!(world.ledger("credit-memo-line").len(), 1, "{door} {skip}");
        }
    }
}

#[tokio::test]
async fn a_credit_memo_that_is_not_the_one_meant_is_for_a_person() {
    let world = World::start(json!({})).await;
    let order = world.order("ch_1").await;
    let invoice = world.desk("invoice-order", json!({"OrderNum": order})).await["InvoiceNum"].clone();
    world.write("credit-memo.create", &memo(&invoice)).await.unwrap();
    let mut other = memo(&invoice);
    other["CustNum"] = json!(43);
    assert_eq!(code(world.write("credit-memo.create", &other).await), "credit-memo-differs");
    let mut wrong = memo(&invoice);
    wrong["ExternalID"] = json!("re_2");
    wrong["ReasonCode"] = json!("SCRAP");
    assert_eq!(code(world.write("credit-memo.create", &wrong).await), "data-refused");
}

fn journal(reference: &str, accounts: [&str; 3]) -> Value {
    json!({
        "GroupID": format!("J{}", reference.len()), "Reference": reference, "JEDate": "2026-11-21T00:00:00",
        "Description": "Stripe payout", "CurrencyCode": "USD",
        "GLJrnDtlMnls": [
            {"GLAccount": accounts[0], "DebitAmount": "97.00", "Description": "po_1"},
            {"GLAccount": accounts[1], "DebitAmount": "3.00", "Description": "fees"},
            {"GLAccount": accounts[2], "CreditAmount": "100.00", "Description": "po_1"},
        ],
    })
}

const ACCOUNTS: [&str; 3] = ["1010-00", "6450-00", "1190-00"];

#[tokio::test]
async fn a_journal_cut_anywhere_is_posted_once_and_whole() {
    for door in DOORS {
        for skip in 0..CALLS_MAX + 4 {
            let world = World::start(doors(door)).await;
            world.fault("*", "commit-then-cut", skip).await;
            let find = ("gl-journal.find", json!({"Reference": "payout/po_1/1"}));
            let answer = world.deliver(("gl-journal.post", journal("payout/po_1/1", ACCOUNTS)), find).await;
            assert_eq!((&answer["Posted"], &answer["JournalNum"]), (&json!(true), &json!(701)));
            let expected = vec![("payout/po_1/1".to_owned(), vec!["100.00".to_owned()])];
            assert_eq!(world.ledger("gl-journal-posting"), expected, "{door} {skip}");
            assert_eq!(world.ledger("gl-journal-line").len(), 3, "{door} {skip}");
        }
    }
}

#[tokio::test]
async fn a_journal_is_reversed_only_where_it_was_posted() {
    let world = World::start(json!({})).await;
    let mut reversal = journal("payout-reversal/po_1/1", ACCOUNTS);
    reversal["Reverses"] = json!("payout/po_1/1");
    assert_eq!(code(world.write("gl-journal.reverse", &reversal).await), "journal-missing");
    world.write("gl-journal.post", &journal("payout/po_1/1", ACCOUNTS)).await.unwrap();
    let answer = world.write("gl-journal.reverse", &reversal).await.unwrap();
    assert_eq!((&answer["Posted"], &answer["JournalNum"]), (&json!(true), &json!(702)));
    assert_eq!(world.write("gl-journal.reverse", &reversal).await.unwrap(), answer);
    assert_eq!(world.ledger("gl-journal-posting").len(), 2);
}

#[tokio::test]
async fn a_journal_that_cannot_be_posted_says_why_and_posts_nothing() {
    let world = World::start(json!({})).await;
    let unbalanced = {
        let mut journal = journal("a", ACCOUNTS);
        journal["GLJrnDtlMnls"][0]["DebitAmount"] = json!("97.01");
        journal
    };
    assert_eq!(code(world.write("gl-journal.post", &unbalanced).await), "invalid-parameters");
    let unknown = journal("bb", ["1010-00", "9999-99", "1190-00"]);
    assert_eq!(code(world.write("gl-journal.post", &unknown).await), "data-refused");
    let mut closed = journal("ccc", ACCOUNTS);
    closed["JEDate"] = json!("2036-01-01T00:00:00");
    assert_eq!(code(world.write("gl-journal.post", &closed).await), "data-refused");
    assert!(world.ledger("gl-journal-posting").is_empty());
}

#[tokio::test]
async fn a_reversal_cut_anywhere_takes_the_receipt_back_once() {
    // A reversal makes four calls.
    for skip in 0..4 {
        let world = World::start(json!({})).await;
        let order = world.order("ch_1").await;
        world.paid(order, "R1").await;
        world.fault("*", "commit-then-cut", skip).await;
        let body =
            json!({"CheckRef": "R1", "ReverseDate": "2026-11-21T00:00:00", "ReversedReason": "Refund re_1"});
        let find = ("cash-receipt.find", json!({"CheckRef": "R1", "Reversed": true}));
        let reversal = world.deliver(("cash-receipt.reverse", body), find).await;
        assert_eq!((&reversal["HeadNum"], &reversal["Reverses"]), (&json!(38), &json!(37)));
        let expected = vec![("R1".to_owned(), vec!["-49.98".to_owned()])];
        assert_eq!(world.ledger("cash-receipt-reversal"), expected, "{skip}");
        // The receipt itself is still found as what it is.
        let receipt = found(world.read("cash-receipt.find", json!({"CheckRef": "R1", "Posted": true})).await);
        assert_eq!(receipt["HeadNum"], 37);
    }
}

#[tokio::test]
async fn what_is_not_posted_is_not_reversed_and_money_given_back_is_a_receipt() {
    let world = World::start(json!({})).await;
    let order = world.order("ch_1").await;
    let body = json!({"CheckRef": "R1", "ReverseDate": "2026-11-21T00:00:00", "ReversedReason": "x"});
    assert_eq!(code(world.write("cash-receipt.reverse", &body).await), "receipt-missing");
    world.write("cash-group.ensure", &group("R1")).await.unwrap();
    let negative = json!({"TranType": "PrePay", "OrderNum": order, "DocTranAmt": "-10.00"});
    world.write("cash-receipt.create", &receipt("R1", negative)).await.unwrap();
    assert_eq!(code(world.write("cash-receipt.reverse", &body).await), "receipt-not-posted");
    world.write("cash-group.post", &json!({"GroupID": group_id("R1"), "CheckRef": "R1"})).await.unwrap();
    assert_eq!(world.ledger("cash-receipt-posting"), [("R1".to_owned(), vec!["-10.00".to_owned()])]);
    // The failed refund's money comes back.
    assert_eq!(world.write("cash-receipt.reverse", &body).await.unwrap()["Reverses"], 37);
    assert_eq!(world.ledger("cash-receipt-reversal"), [("R1".to_owned(), vec!["10.00".to_owned()])]);
}

#[tokio::test]
async fn an_order_is_held_until_every_hold_is_lifted() {
    let world = World::start(json!({})).await;
    let order = world.order("ch_1").await;
    let hold = |name: &str| json!({"OrderNum": order, "Hold": name, "Reason": "suspect"});
    let release = |name: &str| json!({"OrderNum": order, "Hold": name});
    for name in ["prv_1", "prv_1", "issfr_1"] {
        assert_eq!(world.write("sales-order.hold", &hold(name)).await.unwrap()["OrderHeld"], true);
    }
    let invoice = json!({"path": "_simulator/invoice-order", "body": {"OrderNum": order}});
    assert_eq!(code(world.desk.write("request.post", &invoice, &context()).await), "refused");
    assert_eq!(world.write("sales-order.release", &release("prv_1")).await.unwrap()["OrderHeld"], true);
    let by_name = |name: &str| world.read("sales-order.get", json!({"OrderNum": order, "Hold": name}));
    assert_eq!(by_name("prv_1").await.unwrap(), Found::No);
    assert_eq!(found(by_name("issfr_1").await)["OrderHeld"], true);
    assert_eq!(world.write("sales-order.release", &release("issfr_1")).await.unwrap()["OrderHeld"], false);
    assert_eq!(world.ledger("sales-order-update").len(), 4);
}

#[tokio::test]
async fn tokens_are_kept_and_renewed_when_they_end() {
    let service = &[
        ("api_key", "epicor-key"),
        ("client_id", "portolan-client"),
        ("client_secret", "Portolan-secret-06"),
    ];
    for (auth, secrets) in [("token-resource", SECRETS), ("token-service", service.as_slice())] {
        let world = World::start_with(json!({"auth": auth}), secrets, |_| {}).await;
        let ask = || world.read("customer.find", json!({"CustNum": 42}));
        for _ in 0..3 {
            assert_eq!(found(ask().await)["CustID"], "S000042");
        }
        world.desk("end-sessions", json!({})).await;
        assert_eq!(found(ask().await)["CustID"], "S000042");
        let body = json!({"CustID": "NEW", "Name": "New"});
        world.desk("end-sessions", json!({})).await;
        world.write("customer.create", &body).await.unwrap();
        assert_eq!(world.ledger("customer").len(), 1);
        let calls = world.desk.read("request.get", &json!({"path": "_simulator/calls"}), &context()).await;
        let calls = found(calls)["body"]["calls"].to_string();
        assert!(calls.contains("TokenResource.svc\":3") || calls.contains("GetAccessToken\":3"), "{calls}");
    }
}

#[tokio::test]
async fn wrong_credentials_for_a_token_alert() {
    let secrets = &[("api_key", "epicor-key"), ("user", "portolan"), ("password", "wrong-password")];
    let world = World::start_with(json!({"auth": "token-resource"}), secrets, |_| {}).await;
    let failure = world.read("customer.find", json!({"CustNum": 42})).await.unwrap_err();
    assert!(matches!(failure, CallFailure::Unauthorized { .. }), "{failure:?}");
    let failure = world.write("customer.create", &json!({"CustID": "A", "Name": "A"})).await.unwrap_err();
    assert!(matches!(failure, CallFailure::Unauthorized { .. }), "{failure:?}");
}

#[tokio::test]
async fn one_session_serves_all_calls_and_is_opened_again_when_it_ends() {
    let world = World::start_with(json!({"session": "shared"}), SECRETS, |_| {}).await;
    let ask = || world.read("customer.find", json!({"CustNum": 42}));
    for _ in 0..3 {
        found(ask().await);
    }
    world.desk("end-sessions", json!({})).await;
    found(ask().await);
    let calls = async || {
        let calls = world.desk.read("request.get", &json!({"path": "_simulator/calls"}), &context()).await;
        found(calls)["body"]["calls"].clone()
    };
    assert_eq!(calls().await["POST Ice.LIB.SessionModSvc/Login"], 2);
    let World { epicor, desk, running } = world;
    drop(epicor);
    // The session is logged out behind our back.
    let logged_out = async {
        loop {
            let calls = desk.read("request.get", &json!({"path": "_simulator/calls"}), &context()).await;
            if found(calls)["body"]["calls"]["POST Ice.LIB.SessionModSvc/Logout"] == 1 {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), logged_out).await.unwrap();
    drop(running);
}

#[tokio::test]
async fn version_one_does_the_same() {
    let mut settings = doors("methods");
    settings["api"] = json!("v1");
    let world = World::start_with(settings, &SECRETS[1..], |_| {}).await;
    let order = world.order("ch_1").await;
    world.paid(order, "R1").await;
    world.write("gl-journal.post", &journal("fee/txn_1", ACCOUNTS)).await.unwrap();
    assert_eq!(world.ledger("cash-receipt-posting").len(), 1);
    let answer = found(
        world.read("baq.read", json!({"id": "PortolanCustomers", "select": ["Customer_CustID"]})).await,
    );
    assert_eq!(answer["rows"].as_array().unwrap().len(), 8);
}

#[tokio::test]
async fn customers_that_changed_are_told_once_in_order() {
    let settings = json!({"changed_by_column": "ChangedBy", "integration_user": "portolan"});
    let world = World::start(settings).await;
    let changed = |cursor: Value, limit: u64| {
        world.read("customers.changed", json!({"cursor": cursor, "limit": limit}))
    };
    let first = found(changed(Value::Null, 5).await);
    assert_eq!((first["items"].as_array().unwrap().len(), &first["more"]), (5, &json!(true)));
    let rest = found(changed(first["cursor"].clone(), 5).await);
    assert_eq!((rest["items"].as_array().unwrap().len(), &rest["more"]), (3, &json!(false)));
    assert_eq!(found(changed(rest["cursor"].clone(), 5).await)["items"], json!([]));
    // Our own change is passed over, a person's is not.
    world.write("customer.update", &json!({"CustNum": 42, "City": "Bonn"})).await.unwrap();
    world.desk("customers", json!({"row": {"CustNum": 43, "City": "Kiel"}})).await;
    let news = found(changed(rest["cursor"].clone(), 5).await);
    let items = news["items"].as_array().unwrap();
    assert_eq!(items.len(), 1);
    assert_eq!((&items[0]["id"], &items[0]["kind"]), (&json!("43"), &json!("Customer.Update")));
    assert_eq!(items[0]["payload"]["row"]["City"], "Kiel");
    assert_eq!(items[0]["version"], items[0]["payload"]["sysRevId"].to_string());
}

#[tokio::test]
async fn a_poll_may_begin_with_what_changes_from_now_on() {
    let world = World::start(json!({"poll_from": "now"})).await;
    let changed = |cursor: Value| world.read("customers.changed", json!({"cursor": cursor, "limit": 5}));
    let first = found(changed(Value::Null).await);
    assert_eq!(first["items"], json!([]));
    world.desk("customers", json!({"row": {"CustID": "NEW", "Name": "New"}})).await;
    assert_eq!(found(changed(first["cursor"].clone()).await)["items"][0]["payload"]["row"]["CustID"], "NEW");
}

#[tokio::test]
async fn queries_and_functions_are_read_page_by_page_and_by_permission() {
    let settings = json!({"efx": {"Portolan/Ping": "read"}});
    let world = World::start_with(settings, SECRETS, |settings| {
        let part = settings.epicor.parts["WIDGET-1"].clone();
        settings.epicor.parts.extend((0..250).map(|number| (format!("P{number:03}"), part.clone())));
    })
    .await;
    let parts = |top: u64| {
        let parameters = json!({
            "service": "Erp.BO.PartSvc", "set": "Parts", "select": ["PartNum"], "orderby": "PartNum",
            "filter": "startswith(PartNum,'P')", "top": top,
        });
        world.read("odata.get", parameters)
    };
    let all = found(parts(1_000).await);
    assert_eq!((all["rows"].as_array().unwrap().len(), &all["more"]), (250, &json!(false)));
    let some = found(parts(200).await);
    assert_eq!((some["rows"].as_array().unwrap().len(), &some["more"]), (200, &json!(true)));
    let orders = json!({"id": "PortolanOrders", "select": ["OrderHed_PONum"], "parameters": {"CustNum": 42}});
    world.order("ch_1").await;
    let rows = found(world.read("baq.read", orders).await)["rows"].clone();
    assert_eq!(rows, json!([{"OrderHed_PONum": "ch_1"}]));
    let call = json!({"library": "Portolan", "function": "Ping", "input": {"a": 1}});
    assert_eq!(
        found(world.read("efx.query", call.clone()).await),
        json!({"answered": true, "input": {"a": 1}})
    );
    assert_eq!(code(world.write("efx.call", &call).await), "not-allowed");
    assert_eq!(
        found(world.read("reason.get", json!({"ReasonCode": "RETURN"})).await)["Description"],
        "Returned"
    );
    assert_eq!(world.read("reason.get", json!({"ReasonCode": "SCRAP"})).await.unwrap(), Found::No);
    assert_eq!(found(world.read("part.get", json!({"PartNum": "OLD-9"})).await)["Inactive"], true);
}

#[tokio::test]
async fn a_customer_is_entered_by_methods_too() {
    let world = World::start(doors("methods")).await;
    let body = json!({"CustID": "NEW", "Name": "New", "EMailAddress": "new@example.com"});
    let created = world.write("customer.create", &body).await.unwrap();
    assert_eq!(world.write("customer.create", &body).await.unwrap()["CustNum"], created["CustNum"]);
    let read = found(world.read("customer.get", json!({"EMailAddress": "new@example.com"})).await);
    assert_eq!((&read["CustNum"], &read["TerritoryID"]), (&created["CustNum"], &json!("CENTRAL")));
    assert_eq!(world.ledger("customer").len(), 1);
}

#[tokio::test]
async fn a_locked_group_and_missing_licences_are_worth_repeating() {
    let world = World::start(json!({})).await;
    let order = world.order("ch_1").await;
    world.write("cash-group.ensure", &group("R1")).await.unwrap();
    world.desk("locks", json!({"object": group_id("R1"), "locked": true})).await;
    let body = receipt("R1", json!({"TranType": "PrePay", "OrderNum": order}));
    let failure = world.write("cash-receipt.create", &body).await.unwrap_err();
    assert!(matches!(&failure, CallFailure::Retryable { problem, .. } if problem.code == "record-locked"));
    world.desk("locks", json!({"object": group_id("R1"), "locked": false})).await;
    world.write("cash-receipt.create", &body).await.unwrap();
}
