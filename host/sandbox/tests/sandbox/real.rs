//! The guests that ship with Portolan, as `cargo xtask guests` builds them: the three mappings, and the hostile ones.

use std::path::Path;

use portolan_domain::{
    contract::{Input, Outcome},
    plan::{PlanLimits, check},
};
use portolan_sandbox::{GuestFailure, RunLimits, RunReport};
use serde_json::{Value, json};

use crate::setup::{Setup, charge, failure, skipped};

fn component(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guest-mappings/target/components");
    let path = folder.join(format!("{name}.wasm"));
    std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{}: {error}. Build it: cargo xtask guests", path.display()))
}

async fn run(setup: &Setup, name: &str, settings: Value) -> RunReport {
    let module = setup.module(component(name)).await;
    let input = Input { settings, ..charge() };
    setup.sandbox.transform(&setup.tenant, &module, input, &RunLimits::default()).await
}

#[tokio::test]
async fn the_three_mappings_are_admitted_import_the_log_alone_and_decide_alike_every_time() {
    let setup = Setup::new();
    for name in ["stripe-to-sap-ecc", "stripe-to-epicor", "stripe-to-sage-pro"] {
        let admitted = setup.admit(component(name)).await;
        assert_eq!(admitted.description.name, name);
        assert!(admitted.description.serves.iter().any(|served| served.covers("stripe", "charge.succeeded")));
        assert!(
            admitted.imports.iter().all(|import| import.starts_with("portolan:mapping/")),
            "{:?}",
            admitted.imports
        );
        let (first, second) = (run(&setup, name, json!({})).await, run(&setup, name, json!({})).await);
        assert_eq!(first.verdict, second.verdict);
        assert_eq!(first.log, second.log);
        assert_eq!(first.cost.fuel, second.cost.fuel);
        assert!(first.verdict.is_ok(), "{name}: {:?}", first.verdict);
    }
}

#[tokio::test]
async fn a_looping_module_runs_out_of_fuel() {
    let setup = Setup::new();
    assert_eq!(failure(&run(&setup, "hostile-loops", json!({})).await), "out-of-fuel");
}

#[tokio::test]
async fn a_hoarding_module_gets_no_more_than_its_limit() {
    let setup = Setup::new();
    let report = run(&setup, "hostile-hoards", json!({})).await;
    assert!(report.cost.memory_bytes_max <= 64 << 20);
    match &report.verdict {
        Ok(Outcome::Skip(_)) => {
            assert!(report.cost.memory_bytes_max > 48 << 20, "it was given what it may have")
        }
        other => assert_eq!(other.as_ref().unwrap_err().code(), "out-of-memory"),
    }
}

#[tokio::test]
async fn the_last_words_of_a_panic_are_in_the_log() {
    let setup = Setup::new();
    let report = run(&setup, "hostile-traps", json!({})).await;
    assert_eq!(failure(&report), "trapped");
    let said = &report.log.last().expect("the panic hook logs").message;
    assert!(said.contains(".rs:"), "{said:?} names file and line");
}

#[tokio::test]
async fn a_flood_of_lines_is_counted_and_a_flood_of_output_refused() {
    let setup = Setup::new();
    let lines = json!({"lines": 5_000, "line_bytes": 200, "outcome_bytes": 10});
    let report = run(&setup, "hostile-floods", lines).await;
    assert_eq!(skipped(&report), "yyyyyyyyyy");
    assert_eq!(report.log.len(), 200);
    assert_eq!(report.log_dropped, 4_800);
    assert!(report.log.iter().all(|line| line.message.starts_with(r"\u{1b}[31mxxx")), "escaped");
    let output = json!({"lines": 1, "line_bytes": 1, "outcome_bytes": 33_554_432});
    assert_eq!(failure(&run(&setup, "hostile-floods", output).await), "output-too-large");
    let calls = json!({"lines": 100_000, "line_bytes": 1, "outcome_bytes": 1});
    assert_eq!(failure(&run(&setup, "hostile-floods", calls).await), "too-many-host-calls");
}

#[tokio::test]
async fn every_lie_is_found_out_here_or_by_the_plan_rules() {
    let setup = Setup::new();
    let description = setup.admit(component("hostile-lies")).await.description;
    for (lie, at) in [
        ("body-not-json", "body"),
        ("bad-amount", "amount"),
        ("empty-need", "need"),
        ("empty-reject", "reject"),
    ] {
        let report = run(&setup, "hostile-lies", json!({"lie": lie})).await;
        let Err(GuestFailure::Nonsense { at: found, .. }) = &report.verdict else {
            panic!("{lie}: {:?}", report.verdict)
        };
        assert!(found.contains(at), "{lie}: {found}");
    }
    for lie in [
        "undeclared-operation",
        "undeclared-connection",
        "unbalanced",
        "duplicate-key",
        "cycle",
        "binding-not-after",
        "unknown-predecessor",
    ] {
        let report = run(&setup, "hostile-lies", json!({"lie": lie})).await;
        let Ok(Outcome::Deliver(plan) | Outcome::Hold(portolan_domain::contract::HeldPlan { plan, .. })) =
            report.verdict
        else {
            panic!("{lie}: {:?}", report.verdict)
        };
        assert!(check(&plan, &description, &PlanLimits::default()).is_err(), "{lie}");
    }
}

#[tokio::test]
async fn a_module_that_asks_for_ever_is_an_outcome_like_any_other() {
    let setup = Setup::new();
    let report = run(&setup, "hostile-asks-forever", json!({"per_round": 3})).await;
    assert!(matches!(&report.verdict, Ok(Outcome::Need(needs)) if needs.len() == 3), "{:?}", report.verdict);
}
