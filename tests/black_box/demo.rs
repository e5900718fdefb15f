//! What a newcomer sees first: the demo, to its end.

use std::process::Command;

use portolan_tests::{components, portolan};
use serde_json::Value;

#[test]
fn every_charge_becomes_its_documents_once_in_all_three_systems() {
    let output = Command::new(portolan())
        .args(["demo", "--exit", "--output", "json", "--seed", "23", "--components"])
        .arg(components())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    let facts: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no JSON\n{told}"));
    assert_eq!(facts["findings"], serde_json::json!([]), "{told}");
    assert!(output.status.success(), "{told}");
    let events = facts["events"].as_array().unwrap();
    let count = |outcome: &str| events.iter().filter(|event| event["outcome"] == outcome).count();
    assert!(count("delivered") >= 30, "{} delivered", count("delivered"));
    assert!(count("repeat") >= 1 && count("refused") >= 1);
    for currency in ["USD", "EUR", "JPY", "KWD"] {
        assert!(events.iter().any(|event| event["currency"] == currency));
    }
}

#[test]
fn a_month_of_business_leaves_the_books_of_both_sides_alike() {
    let output = Command::new(portolan())
        .args(["demo", "--story", "month", "--charges", "40", "--seed", "31", "--exit", "--output", "json"])
        .arg("--components")
        .arg(components())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    let facts: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no JSON\n{told}"));
    for shop in facts["shops"].as_array().unwrap() {
        assert_eq!(shop["findings"], serde_json::json!([]), "{shop}");
        let rows = shop["rows"].as_array().unwrap();
        assert!(rows.iter().any(|row| row["what"] == "paid out to the bank"), "{shop}");
        assert_eq!(shop["held"].as_array().unwrap().len(), 1, "the manual payout: {shop}");
    }
    assert_eq!(facts["shops"].as_array().unwrap().len(), 3);
    assert!(output.status.success(), "{told}");
}
