//! Every misfortune, and what the ledger says after it.

use portolan_simulators::System;
use serde_json::{Value, json};

use crate::harness::{Answer, World};

fn invoice(reference: &str) -> String {
    json!({
        "ExternalRef": reference, "CustNo": "ROSE01", "InvoiceDate": "2026-11-20",
        "Lines": [{"Item": "WIDGET-1", "Qty": 2, "Price": "24.99"}],
    })
    .to_string()
}

async fn attempt(sage: &World, key: &str, reference: &str) -> Option<Answer> {
    sage.try_call("POST", "/Invoice", &[("idempotency-key", key)], &invoice(reference)).await
}

#[tokio::test]
async fn faults_before_the_commit_leave_nothing() {
    let sage = World::start(System::SagePro).await;
    for (fault, status) in [
        ("refuse", None),
        ("cut-before-commit", None),
        ("error-500-before-commit", Some(500)),
        ("rate-limited", Some(429)),
        ("business-error", Some(422)),
        ("locked", Some(409)),
        ("unauthorized", Some(401)),
        ("forbidden", Some(403)),
        ("unavailable", Some(503)),
    ] {
        sage.fault(&json!({"operation": "/Invoice", "fault": fault, "retry_after": 7})).await;
        let answer = attempt(&sage, "k", "ch_1").await;
        assert_eq!(answer.as_ref().map(|answer| answer.status), status, "{fault}");
        if fault == "rate-limited" {
            assert_eq!(answer.unwrap().header("retry-after"), Some("7"));
        }
        assert!(sage.ledger("invoice").await.is_empty(), "{fault}");
    }
    assert_eq!(attempt(&sage, "k", "ch_1").await.unwrap().status, 201);
}

#[tokio::test]
async fn faults_after_the_commit_leave_one_document_and_no_truthful_answer() {
    let sage = World::start(System::SagePro).await;
    let faults = [
        ("commit-then-cut", None),
        ("error-500-after-commit", Some(500)),
        ("gateway-502-after-commit", Some(502)),
        ("garbage-after-commit", Some(201)),
    ];
    for (index, (fault, status)) in faults.into_iter().enumerate() {
        sage.fault(&json!({"operation": "POST /Invoice", "fault": fault})).await;
        let (key, reference) = (format!("k{index}"), format!("ch_{index}"));
        let answer = attempt(&sage, &key, &reference).await;
        assert_eq!(answer.as_ref().map(|answer| answer.status), status, "{fault}");
        if let Some(answer) = answer {
            assert!(serde_json::from_str::<Value>(&answer.body).is_err() || answer.status >= 500);
        }
        let line = sage.ledger("invoice").await.pop().unwrap();
        assert_eq!(
            (&line["business_key"], &line["fault"], &line["answered"]),
            (&json!(reference), &json!(fault), &json!(false))
        );
        // The same again is the way out: the gateway remembers.
        assert_eq!(attempt(&sage, &key, &reference).await.unwrap().status, 201);
        assert_eq!(sage.ledger("invoice").await.len(), index + 1);
    }
}

#[tokio::test]
async fn a_late_commit_comes_after_the_connection_is_gone() {
    let sage = World::start(System::SagePro).await;
    sage.fault(&json!({"operation": "POST /Invoice", "fault": "late-commit", "ms": 50})).await;
    assert!(attempt(&sage, "k", "ch_1").await.is_none());
    let lines = sage.ledger_of("invoice", 1).await;
    assert_eq!((&lines[0]["fault"], &lines[0]["answered"]), (&json!("late-commit"), &json!(false)));
}

#[tokio::test]
async fn a_hanging_call_is_cut_in_the_end() {
    let sage = World::start(System::SagePro).await;
    sage.fault(&json!([
        {"operation": "POST /Invoice", "fault": "hang", "ms": 30},
        {"operation": "POST /Invoice", "fault": "hang-after-commit", "ms": 30},
    ]))
    .await;
    assert!(attempt(&sage, "k", "ch_1").await.is_none());
    assert!(sage.ledger("invoice").await.is_empty());
    assert!(attempt(&sage, "k", "ch_1").await.is_none());
    assert_eq!(sage.ledger("invoice").await.len(), 1);
}

#[tokio::test]
async fn a_proxy_that_delivers_twice_makes_two_orders_where_nothing_remembers() {
    let epicor = World::start(System::Epicor).await;
    epicor.fault(&json!({"operation": "Erp.BO.SalesOrderSvc/SalesOrders", "fault": "twice"})).await;
    let order = json!({"CustNum": 42, "PONum": "ch_1", "OrderDate": "2026-11-20"});
    let path = "/ERP/api/v2/odata/EPIC06/Erp.BO.SalesOrderSvc/SalesOrders";
    assert_eq!(epicor.post(path, &order).await.json()["OrderNum"], 5401);
    let summary = epicor.get("/_simulator/ledger/summary").await.json();
    assert_eq!(
        summary["duplicates"],
        json!([{"kind": "sales-order", "business_key": "ch_1", "numbers": ["5400", "5401"]}])
    );
    let sage = World::start(System::SagePro).await;
    sage.fault(&json!({"operation": "POST /Invoice", "fault": "twice"})).await;
    assert_eq!(attempt(&sage, "k", "ch_1").await.unwrap().status, 201);
    assert_eq!(sage.ledger("invoice").await.len(), 1);
}

#[tokio::test]
async fn a_stale_check_does_not_see_what_is_young() {
    let sage = World::start(System::SagePro).await;
    attempt(&sage, "k", "ch_1").await.unwrap();
    sage.fault(&json!({"operation": "GET /Invoice", "fault": "check-stale", "ms": 3_600_000})).await;
    assert_eq!(sage.get("/Invoice?externalRef=ch_1").await.status, 404);
    assert_eq!(sage.get("/Invoice?externalRef=ch_1").await.status, 200);
}

#[tokio::test]
async fn an_update_that_is_lost_answered_a_number_all_the_same() {
    let epicor = World::start(System::Epicor).await;
    epicor.fault(&json!({"operation": "*", "fault": "update-lost"})).await;
    let order = json!({"CustNum": 42, "PONum": "ch_1", "OrderDate": "2026-11-20"});
    let path = "/ERP/api/v2/odata/EPIC06/Erp.BO.SalesOrderSvc/SalesOrders";
    assert_eq!(epicor.post(path, &order).await.json()["OrderNum"], 5400);
    assert!(epicor.ledger("sales-order").await.is_empty());
    assert_eq!(epicor.post(path, &order).await.json()["OrderNum"], 5401);
}

#[tokio::test]
async fn locked_and_business_error_speak_each_systems_language() {
    let sap = World::start(System::SapEcc).await;
    let header = "<RETURN/>";
    for (fault, function, messages) in [
        ("locked", "Z_STRIPE_ORDER_CREATE", vec!["E V1 042", "E V4 219"]),
        ("business-error", "Z_STRIPE_ORDER_CREATE", vec!["E M3 305", "E V4 219"]),
        ("locked", "Z_STRIPE_ACC_DOCUMENT_POST", vec!["E RW 609", "E MC 601"]),
        ("business-error", "Z_STRIPE_ACC_DOCUMENT_POST", vec!["E RW 609", "E F5 201"]),
    ] {
        sap.fault(&json!({"operation": function, "fault": fault})).await;
        let answer = sap.rfc(function, header).await;
        assert_eq!(
            (answer.status, answer.messages()),
            (200, messages.into_iter().map(str::to_owned).collect())
        );
    }
    sap.fault(&json!({"operation": "RFC_PING", "fault": "error-500-before-commit"})).await;
    let fault = sap.rfc("RFC_PING", "").await;
    assert_eq!((fault.status, fault.element("type").unwrap().as_str()), (500, "SYSTEM_FAILURE"));
}

#[tokio::test]
async fn a_socket_that_refuses_comes_back() {
    let sage = World::start(System::SagePro).await;
    let address = sage.running.address();
    sage.fault(&json!({"operation": "*", "fault": "refuse", "ms": 200})).await;
    let refused = async {
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        while tokio::net::TcpStream::connect(address).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), refused)
        .await
        .expect("a socket that comes back");
    assert_eq!(sage.get("/Health").await.status, 200);
}

#[tokio::test]
async fn random_faults_strike_the_same_calls_for_the_same_seed() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let sage = World::start(System::SagePro).await;
        sage.fault(
            &json!({"random": {"seed": 3, "per_mille": 400, "faults": ["unavailable", "cut-before-commit"]}}),
        )
        .await;
        let mut statuses = Vec::new();
        for _ in 0..30 {
            let answer = sage.try_call("GET", "/Item/WIDGET-1", &[], "").await;
            statuses.push(answer.map(|answer| answer.status));
        }
        runs.push(statuses);
    }
    assert_eq!(runs[0], runs[1]);
    assert!(runs[0].contains(&None) && runs[0].contains(&Some(503)) && runs[0].contains(&Some(200)));
}

#[tokio::test]
async fn calls_are_counted_and_faults_can_be_cleared() {
    let sage = World::start(System::SagePro).await;
    sage.fault(&json!({"operation": "*", "fault": "unavailable", "times": 100})).await;
    assert_eq!(sage.get("/Item/WIDGET-1").await.status, 503);
    sage.call("DELETE", "/_simulator/faults", &[], "").await;
    assert_eq!(sage.get("/Item/WIDGET-1").await.status, 200);
    let calls = sage.get("/_simulator/calls").await.json();
    assert_eq!(calls, json!({"total": 2, "calls": {"GET /Item": 2}, "traces": []}));
    let nonsense = sage.post("/_simulator/faults", &json!({"operation": "*", "fault": "sunshine"})).await;
    assert_eq!(nonsense.status, 400);
}
