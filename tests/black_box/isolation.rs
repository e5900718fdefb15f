//! The short form of `cargo xtask isolation`: every attack for a second. Judged by what the victim is served, not by when.

use std::process::Command;

#[test]
fn a_neighbour_is_served_in_full_under_every_attack() {
    let mut isolation = Command::new(env!("CARGO_BIN_EXE_isolation"));
    isolation.args(["--seconds", "1", "--rounds", "1", "--flood", "2000", "--untimed"]);
    let output = isolation.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    for attack in ["spin", "host-calls", "memory", "outputs", "uploads", "flood"] {
        assert!(said.contains(attack), "no {attack} in {said}");
    }
}
