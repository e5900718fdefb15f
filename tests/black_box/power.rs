//! The short form of `cargo xtask power`: some hundred losses of power, every single error of a short workload, and a
//! planted bug that must be found; and the order of the host's system calls. What failed is kept where its output says.

use std::process::Command;

use portolan_tests::{components, portolan};

fn power(arguments: &[&str]) {
    let folder = tempfile::tempdir().unwrap().keep();
    let mut power = Command::new(env!("CARGO_BIN_EXE_power"));
    power.args(arguments).arg("--keep").arg(&folder);
    power.arg("--host").arg(portolan()).arg("--components").arg(components());
    let output = power.output().unwrap();
    assert!(
        output.status.success(),
        "{arguments:?}\n{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn nothing_acknowledged_is_lost_with_the_power() {
    power(&["--only", "loss", "--images", "200"]);
}

#[test]
fn a_database_that_does_not_wait_for_the_disk_is_found_out() {
    power(&["--only", "loss", "--images", "40", "--bug", "no-sync"]);
}

#[test]
fn every_error_of_the_disk_is_survived() {
    power(&["--only", "errors", "--brief", "--error-steps", "4"]);
}

#[test]
fn no_event_is_acknowledged_before_its_flush() {
    power(&["--only", "order", "--events", "120"]);
}

#[test]
fn a_host_that_acknowledges_first_is_found_out() {
    if !std::path::Path::new("/usr/bin/strace").exists() {
        eprintln!("SKIPPED: the order of system calls needs strace");
        return;
    }
    power(&["--only", "order", "--events", "30", "--bug", "answer-before-commit"]);
}
