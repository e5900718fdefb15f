//! A simulator that is started again with its ledger.

use portolan_simulators::{SimulatorSettings, System, serve};
use serde_json::json;

use crate::harness::World;

#[tokio::test]
async fn a_restarted_simulator_keeps_documents_numbers_and_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sage.jsonl");
    let start = || World::start_with(System::SagePro, |settings| settings.ledger_path = Some(path.clone()));
    let body = |reference: &str| {
        json!({"ExternalRef": reference, "CustNo": "ROSE01", "InvoiceDate": "2026-11-20", "Lines": [{"Item": "WIDGET-1", "Qty": 1, "Price": "1.00"}]}).to_string()
    };
    let sage = start().await;
    let first = sage.call("POST", "/Invoice", &[("idempotency-key", "k1")], &body("ch_1")).await.json();
    sage.running.shutdown().await;
    let sage = start().await;
    assert_eq!(sage.get("/Invoice?externalRef=ch_1").await.json()["InvNo"], first["InvNo"]);
    assert_eq!(
        sage.call("POST", "/Invoice", &[("idempotency-key", "k1")], &body("ch_1")).await.json(),
        first
    );
    let second = sage.call("POST", "/Invoice", &[("idempotency-key", "k2")], &body("ch_2")).await.json();
    assert_eq!(second["InvNo"], "10235");
    let sequence: Vec<_> =
        sage.ledger("invoice").await.iter().map(|line| line["seq"].as_u64().unwrap()).collect();
    assert_eq!(sequence, [1, 2]);
}

#[tokio::test]
async fn epicor_comes_back_with_its_rows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("epicor.jsonl");
    let start = || World::start_with(System::Epicor, |settings| settings.ledger_path = Some(path.clone()));
    let orders = "/ERP/api/v2/odata/EPIC06/Erp.BO.SalesOrderSvc/SalesOrders";
    let order = json!({"CustNum": 42, "PONum": "ch_1", "OrderDate": "2026-11-20", "OrderDtls": [{"PartNum": "WIDGET-1", "SellingQuantity": 1, "DocUnitPrice": 1}]});
    let epicor = start().await;
    epicor.post(orders, &order).await;
    let before = epicor.get(&format!("{orders}('EPIC06',5400)?$expand=OrderDtls")).await.json();
    epicor.running.shutdown().await;
    let epicor = start().await;
    let after = epicor.get(&format!("{orders}('EPIC06',5400)?$expand=OrderDtls")).await.json();
    assert_eq!((&before["OrderDtls"], &before["SysRevID"]), (&after["OrderDtls"], &after["SysRevID"]));
    assert_eq!(epicor.post(orders, &order).await.json()["OrderNum"], 5401);
}

#[tokio::test]
async fn a_simulator_listens_on_loopback_only() {
    let settings = SimulatorSettings { listen: "0.0.0.0:0".parse().unwrap(), ..SimulatorSettings::default() };
    assert!(serve(System::Stripe, settings).await.is_err());
}
