//! What is in the tables: customers, invoices and credit memos, receipts, journals; by number and by reference.

use std::collections::{BTreeMap, HashMap};

use rust_decimal::Decimal;
use serde_json::{Map, Value, json};

use crate::ledger::Entry;
use crate::money;
use crate::settings::SageOptions;

/// A record and since when reads see it.
struct Stored {
    record: Value,
    visible_at_ms: u64,
}

/// Everything committed.
#[derive(Default)]
pub(crate) struct Documents {
    /// By kind and number.
    records: BTreeMap<(&'static str, String), Stored>,
    /// By kind and external reference: the number.
    references: HashMap<(&'static str, String), String>,
}

/// The resource of a ledger kind.
fn resource(kind: &str) -> Option<&'static str> {
    match kind {
        "customer" | "customer-update" => Some("Customer"),
        "invoice" => Some("Invoice"),
        "credit-memo" => Some("CreditMemo"),
        "cash-receipt" => Some("CashReceipt"),
        "gl-journal" => Some("GLJournal"),
        _ => None,
    }
}

impl Documents {
    /// The tables as they are before anything is written through the gateway.
    pub(crate) fn new(options: &SageOptions) -> Self {
        let mut documents = Self::default();
        for (number, customer) in &options.customers {
            let record = json!({
                "CustNo": number, "ExternalRef": customer.external_ref, "Company": customer.company,
                "Email": customer.email, "CreditHold": customer.on_hold, "ModifiedAtMs": 0,
            });
            documents.put("Customer", number.clone(), record, 0);
        }
        documents
    }

    fn put(&mut self, resource: &'static str, number: String, record: Value, visible_at_ms: u64) {
        if let Some(reference) = record.get("ExternalRef").and_then(Value::as_str) {
            self.references.insert((resource, reference.to_owned()), number.clone());
        }
        self.records.insert((resource, number), Stored { record, visible_at_ms });
    }

    pub(crate) fn apply(&mut self, entry: &Entry) {
        let Some(resource) = resource(&entry.kind) else { return };
        let Some(record) = entry.document.get("record").cloned() else { return };
        let visible = entry.document.get("visible_at_ms").and_then(Value::as_u64).unwrap_or(entry.at_ms);
        // An update changes a record that was visible already.
        let known = self.records.get(&(resource, entry.number.clone())).map(|stored| stored.visible_at_ms);
        if resource == "CashReceipt" {
            self.apply_applications(&record);
        }
        self.put(resource, entry.number.clone(), record, known.unwrap_or(visible));
    }

    /// A receipt lowers the balances of the invoices that it is applied to.
    fn apply_applications(&mut self, receipt: &Value) {
        for application in receipt.get("Applications").and_then(Value::as_array).into_iter().flatten() {
            let text = |value: &Value, name: &str| {
                value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
            };
            let amount = money::parse(&text(application, "Amount")).unwrap_or_default();
            if let Some(stored) = self.records.get_mut(&("Invoice", text(application, "InvNo"))) {
                let balance = money::parse(&text(&stored.record, "Balance")).unwrap_or_default() - amount;
                let currency = text(&stored.record, "Currency");
                if let Some(record) = stored.record.as_object_mut() {
                    record.insert("Balance".to_owned(), json!(money::text(balance, &currency)));
                }
            }
        }
    }

    pub(crate) fn by_number(&self, resource: &str, number: &str, seen_ms: u64) -> Option<Value> {
        let resource = STORED.iter().find(|known| **known == resource)?;
        let stored = self.records.get(&(*resource, number.to_owned()))?;
        (stored.visible_at_ms <= seen_ms).then(|| stored.record.clone())
    }

    pub(crate) fn by_reference(&self, resource: &str, reference: &str, seen_ms: u64) -> Option<Value> {
        let resource = STORED.iter().find(|known| **known == resource)?;
        let number = self.references.get(&(*resource, reference.to_owned()))?;
        self.by_number(resource, number, seen_ms)
    }

    /// Customers in the order of their numbers.
    pub(crate) fn customers(&self, seen_ms: u64) -> impl Iterator<Item = &Map<String, Value>> {
        let first = ("Customer", String::new());
        let range = self.records.range(first..).take_while(|((resource, _), _)| *resource == "Customer");
        range
            .filter(move |(_, stored)| stored.visible_at_ms <= seen_ms)
            .filter_map(|(_, stored)| stored.record.as_object())
    }

    pub(crate) fn balance(&self, invoice: &str, seen_ms: u64) -> Option<Decimal> {
        let record = self.by_number("Invoice", invoice, seen_ms)?;
        money::parse(record.get("Balance")?.as_str()?)
    }
}

const STORED: &[&str] = &["CashReceipt", "CreditMemo", "Customer", "GLJournal", "Invoice"];
