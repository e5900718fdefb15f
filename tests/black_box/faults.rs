//! An ERP that loses answers, refuses, hangs and lies: one document all the same, or a person is asked.

use portolan::stage::System;
use portolan_tests::{World, told_of};
use serde_json::{Value, json};

/// The operation in the stand-in's words that makes the first document, and the one that makes the last.
fn writes(system: System) -> &'static [&'static str] {
    match system {
        System::SapEcc => &["Z_STRIPE_ORDER_CREATE", "Z_STRIPE_ACC_DOCUMENT_POST"],
        System::Epicor => &["POST Erp.BO.SalesOrderSvc/SalesOrders", "POST Erp.BO.CashRecSvc/CashRecs"],
        System::SagePro => &["POST /Invoice"],
        System::Stripe => unreachable!("Stripe is no ERP"),
    }
}

async fn one_document_despite(system: System, fault: &str) {
    let world = World::of(system).await;
    let told = world.story(fault).await.remove(0);
    for operation in writes(system) {
        let fault = json!({ "operation": operation, "fault": fault, "times": 1, "ms": 300 });
        world.erp.fault(&fault).await.unwrap();
    }
    let event = world.accept(&told).await;
    let story = world.end_of(&event).await;
    assert_eq!(story["standing"], "delivered", "{system:?} {fault}: {}", told_of(&story));
    world.assert_posted_once(1).await;
    let waiting = world.erp.faults().await.unwrap();
    assert_eq!(waiting["waiting"].as_array().map(Vec::len), Some(0), "every fault was met: {waiting}");
}

const ERPS: [System; 3] = [System::SapEcc, System::Epicor, System::SagePro];

#[tokio::test]
async fn an_answer_that_is_lost_after_the_commit_makes_no_second_document() {
    for system in ERPS {
        one_document_despite(system, "commit-then-cut").await;
    }
}

#[tokio::test]
async fn a_call_that_is_cut_before_the_commit_is_made_again() {
    for system in ERPS {
        one_document_despite(system, "cut-before-commit").await;
    }
}

#[tokio::test]
async fn an_error_after_the_commit_makes_no_second_document() {
    for system in ERPS {
        one_document_despite(system, "error-500-after-commit").await;
    }
}

#[tokio::test]
async fn a_gateways_502_after_the_commit_makes_no_second_document() {
    for system in ERPS {
        one_document_despite(system, "gateway-502-after-commit").await;
    }
}

#[tokio::test]
async fn garbage_after_the_commit_makes_no_second_document() {
    for system in ERPS {
        one_document_despite(system, "garbage-after-commit").await;
    }
}

#[tokio::test]
async fn a_locked_record_and_too_many_requests_are_tried_again() {
    for system in ERPS {
        one_document_despite(system, "locked").await;
        one_document_despite(system, "rate-limited").await;
    }
}

#[tokio::test]
async fn a_refused_document_is_a_dead_letter_that_can_be_redriven() {
    for system in ERPS {
        let world = World::of(system).await;
        let told = world.story("redriven").await.remove(0);
        let fault = json!({ "operation": writes(system)[0], "fault": "business-error", "times": 1 });
        world.erp.fault(&fault).await.unwrap();
        let event = world.accept(&told).await;
        let story = world.end_of(&event).await;
        assert_eq!(story["standing"], "dead", "{}", told_of(&story));
        let dead = world.tenant.get("/deliveries?state=dead").await.unwrap();
        let delivery: &Value = &dead["items"][0];
        assert!(!delivery["reason"]["message"].as_str().unwrap().is_empty());
        let path = format!("/deliveries/{}/redrive", delivery["id"].as_str().unwrap());
        world.tenant.post(&path, &json!({ "why": "the master data are mended" })).await.unwrap();
        assert_eq!(world.end_of(&event).await["standing"], "delivered");
        world.assert_posted_once(1).await;
        // A final state is final.
        let again = world.tenant.post(&path, &json!({ "why": "once more" })).await;
        assert!(again.is_err(), "a delivered delivery cannot be redriven");
    }
}

#[tokio::test]
async fn a_dead_letter_of_one_object_keeps_no_other_waiting() {
    let world = World::of(System::SagePro).await;
    let story = world.story("aside").await;
    let fault = json!({ "operation": "POST /Invoice", "fault": "business-error", "times": 1 });
    world.erp.fault(&fault).await.unwrap();
    let first = world.accept(&story[0]).await;
    assert_eq!(world.end_of(&first).await["standing"], "dead");
    for told in &story[1..4] {
        let event = world.accept(told).await;
        assert_eq!(world.end_of(&event).await["standing"], "delivered");
    }
}
