//! The Sage Pro simulator keeps the published contract: every call of it, every required field, every width.

use std::collections::BTreeSet;

use portolan_simulators::System;
use serde_json::{Value, json};

use crate::harness::{Answer, World};
use crate::openapi::{Contract, Operation};

/// A call of the contract against the simulator, with the contract's own example as its body.
struct Caller {
    sage: World,
    contract: Contract,
    called: BTreeSet<String>,
}

impl Caller {
    async fn start() -> Self {
        Self {
            sage: World::start(System::SagePro).await,
            contract: Contract::read(),
            called: BTreeSet::new(),
        }
    }

    /// The contract's operation and its example.
    fn example(&self, id: &str) -> (Operation<'_>, Option<Value>) {
        let operation = self.contract.operations().find(|one| one.said["operationId"] == id);
        let operation = operation.unwrap_or_else(|| panic!("the contract has no {id}"));
        (operation, operation.said.pointer("/requestBody/content/application~1json/example").cloned())
    }

    async fn send(&self, operation: Operation<'_>, number: &str, key: &str, body: Option<&Value>) -> Answer {
        let path: Vec<&str> =
            operation.path.split('/').map(|part| if part.starts_with('{') { number } else { part }).collect();
        let (path, query) = (path.join("/"), number.strip_prefix('?').map(|query| format!("?{query}")));
        let path = if query.is_some() { operation.path.to_owned() } else { path };
        let method = operation.method.to_uppercase();
        let body = body.map(Value::to_string).unwrap_or_default();
        let path = format!("{path}{}", query.unwrap_or_default());
        self.sage.call(&method, &path, &[("idempotency-key", key)], &body).await
    }

    /// Makes the call and holds its answer against the contract. `number` fills the path, or is a query.
    async fn call(&mut self, id: &str, number: &str) -> Value {
        let (operation, example) = self.example(id);
        if let Some(example) = &example {
            let schema = self.contract.request(operation.said).unwrap();
            self.contract.check(schema, example).unwrap_or_else(|what| panic!("the example of {id}{what}"));
        }
        // Every field that the contract names is known, and null is the same as absent.
        let example = example.map(|mut example| {
            let schema = self.contract.request(operation.said).unwrap();
            for name in schema["properties"].as_object().unwrap().keys() {
                example.as_object_mut().unwrap().entry(name).or_insert(Value::Null);
            }
            example
        });
        // The path that is meant is the one that the contract finds, and what is asked has a name there.
        let plain = if number.starts_with('?') { "x" } else { number };
        let path = operation.path.split('/').map(|part| if part.starts_with('{') { plain } else { part });
        let found = self.contract.operation(operation.method, &path.collect::<Vec<_>>().join("/")).unwrap();
        assert_eq!(found.said["operationId"], id);
        let named = self.contract.parameters(operation.said, "query");
        let asked = number.strip_prefix('?').into_iter().flat_map(|query| query.split('&'));
        for name in asked.filter_map(|pair| pair.split('=').next()) {
            assert!(named.iter().any(|(known, _)| *known == name), "{id} has no parameter {name}");
        }
        let answer = self.send(operation, number, id, example.as_ref()).await;
        let schema = self.contract.answer(operation.said, answer.status);
        let schema = schema.unwrap_or_else(|| panic!("{id} answered {}: {}", answer.status, answer.body));
        assert!(answer.status < 300, "{id}: {}", answer.body);
        let value = answer.json();
        self.contract.check(schema, &value).unwrap_or_else(|what| panic!("the answer to {id}{what}"));
        if id == "getCustomer" {
            assert!(answer.header("etag").is_some());
        }
        self.called.insert(id.to_owned());
        value
    }
}

#[tokio::test]
async fn every_call_of_the_contract_is_answered_as_it_says() {
    let mut caller = Caller::start().await;
    caller.call("health", "").await;
    let customer = caller.call("createCustomer", "").await["CustNo"].as_str().unwrap().to_owned();
    caller.call("findCustomers", "?externalRef=cus_Q1").await;
    caller.call("findCustomers", "?email=GRACE%40example.com").await;
    caller.call("findCustomers", "?modifiedSince=0").await;
    caller.call("getCustomer", &customer).await;
    caller.call("changeCustomer", &customer).await;
    caller.call("holdCustomer", &customer).await;
    caller.call("changedCustomers", "?limit=3").await;
    assert_eq!(caller.call("createInvoice", "").await["ReceiptNo"], "5001");
    caller.call("findInvoices", "?externalRef=ch_1").await;
    caller.call("findInvoices", "?order=4711&open=true").await;
    caller.call("holdInvoice", "10234").await;
    assert_eq!(caller.call("getInvoice", "10234").await["Hold"], true);
    caller.call("createCreditMemo", "").await;
    caller.call("getCreditMemo", "10235").await;
    caller.call("voidCreditMemo", "10235").await;
    caller.call("findCreditMemo", "?externalRef=re_1").await;
    caller.call("createCashReceipt", "").await;
    caller.call("findCashReceipt", "?externalRef=ch_2").await;
    caller.call("getCashReceipt", "5002").await;
    caller.call("postJournal", "").await;
    caller.call("findJournal", "?externalRef=payout%2Fpo_1%2F1").await;
    caller.call("reverseJournal", "701").await;
    assert_eq!(caller.call("getJournal", "701").await["ReversedBy"], "702");
    caller.call("getItem", "WIDGET-1").await;
    let said: BTreeSet<String> = caller
        .contract
        .operations()
        .map(|operation| operation.said["operationId"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(caller.called, said, "every operation of the contract is tried");
}

/// Bodies that the contract forbids: a required field left out, an unknown one, a text too long. At any depth.
fn forbidden(contract: &Contract, schema: &Value, body: &Value, at: &str, found: &mut Vec<(String, Value)>) {
    let schema = contract.resolved(schema);
    let schema = schema.get("oneOf").map_or(schema, |choices| contract.resolved(&choices[0]));
    let Some(fields) = body.pointer(at).and_then(Value::as_object) else { return };
    let mut note = |what: String, change: &dyn Fn(&mut serde_json::Map<String, Value>)| {
        let mut changed = body.clone();
        change(changed.pointer_mut(at).unwrap().as_object_mut().unwrap());
        found.push((format!("{at}: {what}"), changed));
    };
    for name in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
        let name = name.as_str().unwrap();
        note(format!("without {name}"), &|fields| drop(fields.remove(name)));
    }
    note("with an unknown field".into(), &|fields| drop(fields.insert("Colour".into(), json!("red"))));
    for (name, property) in schema["properties"].as_object().unwrap() {
        if let Some(max) = contract.resolved(property).get("maxLength").and_then(Value::as_u64) {
            let long = "x".repeat(usize::try_from(max).unwrap() + 1);
            note(format!("{name} too long"), &|fields| drop(fields.insert(name.clone(), json!(long))));
        }
    }
    for (name, property) in schema["properties"].as_object().unwrap() {
        let property = contract.resolved(property);
        match fields.get(name) {
            Some(Value::Object(_)) => forbidden(contract, property, body, &format!("{at}/{name}"), found),
            Some(Value::Array(_)) => {
                forbidden(contract, &property["items"], body, &format!("{at}/{name}/0"), found);
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn what_the_contract_forbids_is_refused_and_nothing_is_written() {
    let mut caller = Caller::start().await;
    // What the calls on existing documents need.
    caller.call("createInvoice", "").await;
    caller.call("createCreditMemo", "").await;
    caller.call("postJournal", "").await;
    let before =
        caller.sage.get("/_simulator/ledger?after=0").await.json()["entries"].as_array().unwrap().len();
    let mut tried = 0;
    for (id, number) in [
        ("createCustomer", ""),
        ("changeCustomer", "ROSE01"),
        ("holdCustomer", "ROSE01"),
        ("createInvoice", ""),
        ("holdInvoice", "10234"),
        ("createCreditMemo", ""),
        ("voidCreditMemo", "10235"),
        ("createCashReceipt", ""),
        ("postJournal", ""),
        ("reverseJournal", "701"),
    ] {
        let (operation, example) = caller.example(id);
        let mut example = example.unwrap();
        // A reference that is new, so that no answer is one of a repeat.
        example["ExternalRef"] = json!("new_1");
        let mut bodies = Vec::new();
        forbidden(
            &caller.contract,
            caller.contract.request(operation.said).unwrap(),
            &example,
            "",
            &mut bodies,
        );
        for (index, (what, body)) in bodies.iter().enumerate() {
            let answer = caller.send(operation, number, &format!("{id}-{index}"), Some(body)).await;
            assert_eq!(answer.status, 422, "{id} {what}: {}", answer.body);
            let schema = caller.contract.answer(operation.said, 422).unwrap();
            caller
                .contract
                .check(schema, &answer.json())
                .unwrap_or_else(|wrong| panic!("{id} {what}{wrong}"));
            tried += 1;
        }
    }
    let after =
        caller.sage.get("/_simulator/ledger?after=0").await.json()["entries"].as_array().unwrap().len();
    assert_eq!(before, after);
    assert!(tried > 100, "{tried} bodies were tried");
}
