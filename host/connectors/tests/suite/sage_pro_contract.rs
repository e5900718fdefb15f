//! What the connector sends is what the published contract of the gateway takes: paths, methods, headers, queries,
//! fields. The contract's own examples are the bodies.

use std::collections::BTreeSet;

use portolan_connectors::{Effect, Registry};
use serde_json::{Value, json};

use super::{
    connect, context,
    openapi::Contract,
    server::{Seen, Server, json},
};

/// Every operation of the connector: the contract's operation that it is, what it is asked with (for a write, beside
/// the contract's example), and what the gateway answers.
fn calls() -> Vec<(&'static str, &'static str, Value, Value)> {
    let (customer, invoice) = (json!({"CustNo": "N1"}), json!({"InvNo": "N1"}));
    let (receipt, journal) = (json!({"ReceiptNo": "N1"}), json!({"JournalNo": "N1"}));
    let reference = || json!({"ExternalRef": "x"});
    let page = json!({"Customers": [], "Cursor": "1", "More": false});
    vec![
        ("customer.find", "findCustomers", reference(), customer.clone()),
        ("customer.get", "getCustomer", customer.clone(), customer.clone()),
        ("customers.by-email", "findCustomers", json!({"Email": "a@b.example"}), json!({"Customers": []})),
        ("customers.changed", "changedCustomers", json!({"cursor": "1", "limit": 5}), page),
        ("invoice.find", "findInvoices", reference(), invoice.clone()),
        ("invoice.find", "getInvoice", invoice.clone(), invoice.clone()),
        ("invoices.open", "findInvoices", json!({"Order": "4711"}), json!({"Invoices": []})),
        ("credit-memo.find", "findCreditMemo", reference(), invoice.clone()),
        ("credit-memo.find", "getCreditMemo", invoice.clone(), invoice.clone()),
        ("cash-receipt.find", "findCashReceipt", reference(), receipt.clone()),
        ("cash-receipt.find", "getCashReceipt", receipt.clone(), receipt.clone()),
        ("gl-journal.find", "findJournal", reference(), journal.clone()),
        ("gl-journal.find", "getJournal", journal.clone(), journal.clone()),
        ("item.get", "getItem", json!({"Item": "WIDGET-1"}), json!({"Item": "WIDGET-1"})),
        ("customer.create", "createCustomer", json!({}), customer.clone()),
        (
            "customer.update",
            "changeCustomer",
            json!({"CustNo": "N1", "IfMatch": "t", "Was": {}}),
            customer.clone(),
        ),
        ("customer.hold", "holdCustomer", customer.clone(), customer),
        ("invoice.create", "createInvoice", json!({}), invoice.clone()),
        ("invoice.hold", "holdInvoice", invoice.clone(), invoice.clone()),
        ("credit-memo.create", "createCreditMemo", json!({}), invoice.clone()),
        ("credit-memo.void", "voidCreditMemo", invoice.clone(), invoice),
        ("cash-receipt.create", "createCashReceipt", json!({}), receipt),
        ("gl-journal.post", "postJournal", json!({}), journal.clone()),
        ("gl-journal.reverse", "reverseJournal", journal.clone(), journal),
    ]
}

fn check(contract: &Contract, id: &str, seen: &Seen) {
    let line = seen.line();
    let (method, target) = line.split_once(' ').unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let operation = contract.operation(method, path).unwrap_or_else(|| panic!("the contract has no {line}"));
    assert_eq!(operation.said["operationId"], id, "{line}");
    for (name, required) in contract.parameters(operation.said, "header") {
        let sent = !seen.header(&name.to_lowercase()).is_empty();
        assert!(sent || !required, "{id} lacks {name}");
    }
    assert!(!seen.header("x-api-key").is_empty());
    let named = contract.parameters(operation.said, "query");
    let asked: BTreeSet<&str> = query.split('&').filter_map(|pair| pair.split('=').next()).collect();
    for name in asked.iter().filter(|name| !name.is_empty()) {
        assert!(named.iter().any(|(known, _)| known == name), "{id} has no parameter {name}");
    }
    for (name, _) in named.iter().filter(|(_, required)| *required) {
        assert!(asked.contains(name), "{id} lacks {name}");
    }
    if let Some(schema) = contract.request(operation.said) {
        contract.check(schema, &seen.json()).unwrap_or_else(|what| panic!("the body of {id}{what}"));
    }
}

#[tokio::test]
async fn every_request_is_one_of_the_contract() {
    let contract = Contract::read();
    let registry = Registry::standard();
    let operations = registry.get("sage-pro").unwrap().operations();
    let mut tried = BTreeSet::new();
    for (name, id, mut asked, answer) in calls() {
        let operation = operations.iter().find(|one| one.name == name).unwrap();
        let server = Server::playing(vec![json(200, &answer)]).await;
        let sage = connect("sage-pro", json!({"base_url": server.url}), &[("api_key", "key-12345")]);
        match operation.effect {
            Effect::Read => drop(sage.read(name, &asked, &context()).await.unwrap()),
            Effect::Write(_) | Effect::Setup => {
                let said = contract.operations().find(|one| one.said["operationId"] == id).unwrap().said;
                let example = said.pointer("/requestBody/content/application~1json/example").unwrap();
                for (field, value) in example.as_object().unwrap() {
                    asked[field] = value.clone();
                }
                sage.write(name, &asked, &context()).await.unwrap();
            }
        }
        check(&contract, id, &server.seen()[0]);
        tried.insert(name);
    }
    let all: BTreeSet<&str> = operations.iter().map(|operation| operation.name).collect();
    assert_eq!(tried, all, "every operation is tried");
    // And what is tried answers with what the contract promises: the number that captures read.
    for (id, number) in
        [("createInvoice", "InvNo"), ("createCashReceipt", "ReceiptNo"), ("postJournal", "JournalNo")]
    {
        let said = contract.operations().find(|one| one.said["operationId"] == id).unwrap().said;
        let required = contract.answer(said, 201).unwrap()["required"].as_array().unwrap();
        assert!(required.contains(&json!(number)), "{id}");
    }
}
