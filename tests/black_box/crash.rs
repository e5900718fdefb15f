//! The crash proof's short form: some cycles at random, some points with some faults, and bugs that must be found. The
//! long form is `cargo xtask crash`; whatever fails here prints the seed that replays it.

use std::process::Command;

use portolan_tests::{components, portolan};

/// The proof with these arguments: whether it found nothing, and what it printed.
fn proof(args: &[&str]) -> (bool, String) {
    let mut proof = Command::new(env!("CARGO_BIN_EXE_crash"));
    proof.arg("--host").arg(portolan()).arg("--components").arg(components()).args(args);
    let output = proof.output().unwrap();
    let told =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), told)
}

#[test]
fn killing_host_and_systems_at_random_loses_and_doubles_nothing() {
    let (found_nothing, told) = proof(&["--cycles", "12", "--seed", "4"]);
    assert!(found_nothing, "{told}");
    assert!(told.contains("12 cycles"), "{told}");
}

#[test]
fn dying_at_a_point_with_a_fault_loses_and_doubles_nothing() {
    let (found_nothing, told) = proof(&["--exhaustive", "--every", "120"]);
    assert!(found_nothing, "{told}");
    assert!(told.contains("0 violations"), "{told}");
}

#[test]
fn what_chance_seldom_brings_about_ends_well_too() {
    let (found_nothing, told) = proof(&["--stages"]);
    assert!(found_nothing, "{told}");
}

#[test]
fn a_restore_that_asks_nobody_is_found_out() {
    let (found_nothing, told) = proof(&["--restores", "3", "--seed", "3"]);
    assert!(found_nothing, "{told}");
    let (found_nothing, told) =
        proof(&["--restores", "6", "--seed", "3", "--bug", "restore-without-reconcile"]);
    assert!(!found_nothing && told.contains("✗"), "{told}");
}

#[test]
fn a_host_that_answers_before_it_stores_or_forgets_its_keys_is_found_out() {
    for bug in ["answer-before-commit", "fresh-key-per-attempt"] {
        let (found, told) = proof(&["--planted", "--bug", bug, "--cycles", "50", "--seed", "100"]);
        assert!(found, "{told}");
    }
}
