//! What is in the tables: customers, invoices and credit memos, receipts, journals; by number and by reference.

use std::collections::{BTreeMap, BTreeSet, HashMap};

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
    /// Customers by the ledger line that changed them last: what a scheduled comparison finds.
    changes: BTreeSet<(u64, String)>,
    /// Where a customer stands among the changes.
    changed: HashMap<String, u64>,
    /// By journal: the one that reverses it.
    reversals: HashMap<String, String>,
}

/// The resource of a ledger kind.
fn resource(kind: &str) -> Option<&'static str> {
    match kind {
        "customer" | "customer-update" | "customer-hold-update" | "customer-local-update" => Some("Customer"),
        "invoice" | "invoice-hold-update" => Some("Invoice"),
        "credit-memo" | "credit-memo-void" => Some("CreditMemo"),
        "cash-receipt" => Some("CashReceipt"),
        "gl-journal" | "gl-journal-reversal" => Some("GLJournal"),
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
                "Email": customer.email, "OwnHold": customer.on_hold, "ModifiedAtMs": 0,
            });
            documents.put("Customer", number.clone(), record, 0);
            documents.note_change(number, 0);
        }
        documents
    }

    fn note_change(&mut self, customer: &str, seq: u64) {
        if let Some(before) = self.changed.insert(customer.to_owned(), seq) {
            self.changes.remove(&(before, customer.to_owned()));
        }
        self.changes.insert((seq, customer.to_owned()));
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
        match resource {
            "CashReceipt" => self.apply_applications(&record),
            "Customer" => self.note_change(&entry.number, entry.seq),
            _ => {}
        }
        if let Some(reversed) = record.get("Reverses").and_then(Value::as_str) {
            self.reversals.insert(reversed.to_owned(), entry.number.clone());
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
        (stored.visible_at_ms <= seen_ms && !is_deleted(&stored.record)).then(|| stored.record.clone())
    }

    /// The journal that reverses another.
    pub(crate) fn reversal_of(&self, journal: &str) -> Option<&String> {
        self.reversals.get(journal)
    }

    /// Customers after a place among the changes, deleted ones too, each with its place.
    pub(crate) fn changed_after(
        &self,
        place: Option<(u64, String)>,
        seen_ms: u64,
    ) -> impl Iterator<Item = (&(u64, String), &Value)> {
        let from = place.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        self.changes.range((from, std::ops::Bound::Unbounded)).filter_map(move |place| {
            let stored = self.records.get(&("Customer", place.1.clone()))?;
            (stored.visible_at_ms <= seen_ms).then_some((place, &stored.record))
        })
    }

    /// Open invoices of a sales order, the oldest first.
    pub(crate) fn open_invoices(&self, order: &str, seen_ms: u64) -> Vec<Value> {
        let text = |record: &Value, name: &str| {
            record.get(name).and_then(Value::as_str).unwrap_or_default().trim().to_owned()
        };
        let range = self.records.iter().filter(|((resource, _), _)| *resource == "Invoice");
        let visible =
            range.filter(|(_, stored)| stored.visible_at_ms <= seen_ms).map(|(_, stored)| &stored.record);
        let open = |record: &&Value| {
            let balance = money::parse(&text(record, "Balance")).unwrap_or_default();
            text(record, "Order") == order && balance > Decimal::ZERO
        };
        let mut found: Vec<Value> = visible.filter(open).cloned().collect();
        found.sort_by_key(|record| (text(record, "InvoiceDate"), text(record, "InvNo")));
        found
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
            .filter(move |(_, stored)| stored.visible_at_ms <= seen_ms && !is_deleted(&stored.record))
            .filter_map(|(_, stored)| stored.record.as_object())
    }

    pub(crate) fn balance(&self, invoice: &str, seen_ms: u64) -> Option<Decimal> {
        let record = self.by_number("Invoice", invoice, seen_ms)?;
        money::parse(record.get("Balance")?.as_str()?)
    }
}

const STORED: &[&str] = &["CashReceipt", "CreditMemo", "Customer", "GLJournal", "Invoice"];

/// Whether FoxPro has marked the row: it is there, and no read sees it.
pub(crate) fn is_deleted(record: &Value) -> bool {
    record.get("Deleted") == Some(&Value::Bool(true))
}
