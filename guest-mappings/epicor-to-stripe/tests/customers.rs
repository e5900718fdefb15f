//! What becomes of Epicor's customers. The rules of the way back are tried with Sage Pro's.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test code")]

use epicor_to_stripe::EpicorToStripe;
use portolan_sdk::{prelude::*, testing::Trial};
use serde_json::Value;

fn row(changes: Value) -> Value {
    let mut row = json!({
        "Company": "EPIC06", "CustID": "S000042", "CustNum": 42, "Name": "Rosen Ltd", "Address1": "1 Main St", "Address2": "Floor 2",
        "Address3": "Door B", "City": "Springfield", "State": "IL", "Zip": "62701", "Country": "USA", "PhoneNum": "",
        "EMailAddress": "Jenny@Example.com", "CustomerType": "CUS", "CurrencyCode": "USD", "CreditHold": false, "Inactive": false,
        "ExternalCRMCustomerID": "", "SysRevID": 9_912_345, "ChangedBy_c": "mill",
    });
    for (name, value) in changes.as_object().unwrap() {
        row[name] = value.clone();
    }
    row
}

fn posted(operation: &str, row: Value) -> Value {
    json!({"eventId": "e1", "company": "EPIC06", "table": "Customer", "sysRowId": "0d1f", "sysRevId": 9_912_345,
           "operation": operation, "row": row})
}

fn settings() -> Value {
    let schema: Value = serde_json::from_str(include_str!("../settings.schema.json")).unwrap();
    schema["examples"][0].clone()
}

fn trial(operation: &str, payload: &Value) -> Trial<EpicorToStripe> {
    Trial::new("epicor", &format!("Customer.{operation}"), payload).settings(settings())
}

#[test]
fn a_new_customer_is_created_and_its_id_written_back() {
    let ended = trial("Add", &posted("Add", row(json!({})))).run();
    insta::assert_json_snapshot!(ended.json());
}

#[test]
fn an_update_finds_its_customer_whatever_the_case_of_its_address() {
    let stripe = json!({"id": "cus_1", "name": "Rosen Ltd", "email": "Jenny@Example.com", "metadata": {}});
    let found = json!({"object": "list", "data": [stripe]});
    let ended = trial("Update", &posted("Update", row(json!({}))))
        .query("stripe", "customers.by-email", json!({"email": "jenny@example.com"}), found)
        .run();
    insta::assert_json_snapshot!(ended.json());
}

#[test]
fn a_bare_row_of_a_poll_is_read_too() {
    let ended = Trial::<EpicorToStripe>::new("epicor", "customer.changed", &row(json!({})))
        .settings(settings())
        .run();
    assert_eq!(ended.body("customer")["metadata"]["erp_id"], "42");
}

#[test]
fn the_integration_users_own_changes_end_here() {
    let own = trial("Update", &posted("Update", row(json!({"ChangedBy_c": "PORTOLAN"})))).run();
    assert!(own.skipped().contains("Portolan's own user"));
    let mut payload = posted("Update", row(json!({})));
    payload["user"] = json!("portolan");
    assert!(trial("Update", &payload).run().skipped().contains("Portolan's own user"));
}

#[test]
fn a_deletion_marks_and_a_prospect_is_passed_over() {
    let stripe = json!({"id": "cus_1", "metadata": {"erp_id": "42"}});
    let ended = trial("Delete", &posted("Delete", row(json!({"ExternalCRMCustomerID": "cus_1"}))))
        .query("stripe", "customer.get", json!({"id": "cus_1"}), stripe)
        .run();
    assert_eq!(ended.body("customer"), json!({"id": "cus_1", "metadata": {"erp_state": "deleted"}}));
    let prospect = trial("Update", &posted("Update", row(json!({"CustomerType": "PRO"})))).run();
    assert!(prospect.skipped().contains("PRO"));
}

#[test]
fn another_table_company_or_operation_is_not_a_customer() {
    let mut payload = posted("Update", row(json!({})));
    payload["table"] = json!("ShipTo");
    assert!(trial("Update", &payload).run().skipped().contains("table"));
    let mut settings = settings();
    settings["companies"] = json!(["EPIC07"]);
    let other = Trial::<EpicorToStripe>::new("epicor", "Customer.Update", &posted("Update", row(json!({}))));
    assert!(other.settings(settings).run().skipped().contains("company"));
    assert_eq!(
        trial("Update", &posted("Explode", row(json!({})))).run().violation().code,
        "unknown-operation"
    );
}

#[test]
fn the_rows_own_time_counts_where_it_is_named() {
    let mut settings = settings();
    settings["changed_field"] = json!("ChangedOn_c");
    let at = |time: &str| {
        let payload = posted("Update", row(json!({"ChangedOn_c": time})));
        Trial::<EpicorToStripe>::new("epicor", "Customer.Update", &payload).settings(settings.clone()).run()
    };
    let ended = at("2026-11-20T09:30:00+00:00");
    let stamp = ended.plan().references.iter().find(|one| one.system == "epicor.changed").unwrap();
    assert_eq!(stamp.id, "1795167000");
    assert_eq!(at("yesterday").violation().code, "not-a-time");
}

#[test]
fn a_row_without_a_number_is_refused() {
    for number in [Value::Null, json!(""), json!("S42")] {
        let ended = trial("Update", &posted("Update", row(json!({"CustNum": number})))).run();
        assert_eq!(ended.violation().pointer, "/row/CustNum", "{number}");
    }
}
