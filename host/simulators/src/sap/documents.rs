//! What SAP has committed, and how it is found.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use crate::ledger::Entry;

/// The kind of a sales order's ledger line.
pub(crate) const SALES_ORDER: &str = "sales-order";
/// The kind of an accounting document's ledger line.
pub(crate) const ACCOUNTING_DOCUMENT: &str = "accounting-document";

/// A sales order (VBAK, VBKD, VBAP).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SalesOrder {
    pub(crate) number: String,
    pub(crate) doc_type: String,
    pub(crate) sales_org: String,
    pub(crate) channel: String,
    pub(crate) division: String,
    pub(crate) company: String,
    pub(crate) customer: String,
    pub(crate) reference: String,
    pub(crate) currency: String,
    pub(crate) date: String,
    pub(crate) user: String,
    /// Natural amount.
    pub(crate) net: String,
    pub(crate) items: Vec<OrderItem>,
    pub(crate) visible_at_ms: u64,
}

/// An item of a sales order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct OrderItem {
    pub(crate) number: String,
    pub(crate) material: String,
    pub(crate) text: String,
    pub(crate) quantity: String,
    pub(crate) price: String,
    pub(crate) net: String,
}

/// An accounting document (BKPF, BSEG).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct AccountingDocument {
    pub(crate) number: String,
    pub(crate) company: String,
    pub(crate) year: String,
    pub(crate) period: String,
    pub(crate) doc_type: String,
    pub(crate) doc_date: String,
    pub(crate) posting_date: String,
    pub(crate) reference: String,
    pub(crate) header_text: String,
    pub(crate) user: String,
    pub(crate) currency: String,
    pub(crate) lines: Vec<AccountingLine>,
    /// Key of the document that this one reverses.
    pub(crate) reverses: String,
    /// Number of the document that reverses this one.
    pub(crate) reversed_by: String,
    pub(crate) visible_at_ms: u64,
}

impl AccountingDocument {
    /// BELNR + BUKRS + GJAHR: the object key of BKPFF.
    pub(crate) fn key(&self) -> String {
        format!("{}{}{}", self.number, self.company, self.year)
    }
}

/// A line of an accounting document. The amount is natural; debit is positive.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct AccountingLine {
    pub(crate) account: String,
    pub(crate) customer: String,
    pub(crate) amount: String,
    pub(crate) currency: String,
    pub(crate) text: String,
    pub(crate) assignment: String,
    pub(crate) cost_centre: String,
    pub(crate) special: String,
}

/// Everything committed, with the indexes that reads go by.
#[derive(Default)]
pub(crate) struct Documents {
    orders: BTreeMap<String, SalesOrder>,
    orders_by_reference: HashMap<String, Vec<String>>,
    accounting: BTreeMap<String, AccountingDocument>,
    accounting_by_reference: HashMap<String, Vec<String>>,
}

impl Documents {
    pub(crate) fn apply(&mut self, entry: &Entry) {
        match entry.kind.as_str() {
            SALES_ORDER => {
                if let Ok(order) = serde_json::from_value::<SalesOrder>(entry.document.clone()) {
                    self.orders_by_reference
                        .entry(order.reference.clone())
                        .or_default()
                        .push(order.number.clone());
                    self.orders.insert(order.number.clone(), order);
                }
            }
            ACCOUNTING_DOCUMENT => {
                if let Ok(document) = serde_json::from_value::<AccountingDocument>(entry.document.clone()) {
                    if let Some(reversed) = self.accounting.get_mut(&document.reverses) {
                        reversed.reversed_by.clone_from(&document.number);
                    }
                    let key = document.key();
                    self.accounting_by_reference
                        .entry(document.reference.clone())
                        .or_default()
                        .push(key.clone());
                    self.accounting.insert(key, document);
                }
            }
            _ => {}
        }
    }

    pub(crate) fn order(&self, number: &str, seen_ms: u64) -> Option<&SalesOrder> {
        self.orders.get(number).filter(|order| order.visible_at_ms <= seen_ms)
    }

    /// Visible orders; by reference where it is known, so that a read does not go through all of them.
    pub(crate) fn orders(&self, reference: Option<&str>, seen_ms: u64) -> Vec<&SalesOrder> {
        let all: Box<dyn Iterator<Item = &SalesOrder>> = match reference {
            None => Box::new(self.orders.values()),
            Some(reference) => {
                let numbers = self.orders_by_reference.get(reference).map_or(&[][..], Vec::as_slice);
                Box::new(numbers.iter().filter_map(|number| self.orders.get(number)))
            }
        };
        all.filter(|order| order.visible_at_ms <= seen_ms).collect()
    }

    pub(crate) fn document(&self, key: &str, seen_ms: u64) -> Option<&AccountingDocument> {
        self.accounting.get(key).filter(|document| document.visible_at_ms <= seen_ms)
    }

    /// Visible accounting documents; by reference where it is known.
    pub(crate) fn documents(&self, reference: Option<&str>, seen_ms: u64) -> Vec<&AccountingDocument> {
        let all: Box<dyn Iterator<Item = &AccountingDocument>> = match reference {
            None => Box::new(self.accounting.values()),
            Some(reference) => {
                let keys = self.accounting_by_reference.get(reference).map_or(&[][..], Vec::as_slice);
                Box::new(keys.iter().filter_map(|key| self.accounting.get(key)))
            }
        };
        all.filter(|document| document.visible_at_ms <= seen_ms).collect()
    }
}
