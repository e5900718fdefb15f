//! What SAP has committed, and how it is found.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use crate::ledger::Entry;

/// The kind of a sales order's ledger line.
pub(crate) const SALES_ORDER: &str = "sales-order";
/// The kind of an accounting document's ledger line.
pub(crate) const ACCOUNTING_DOCUMENT: &str = "accounting-document";

/// The kind of a change's ledger line.
pub(crate) const SALES_ORDER_UPDATE: &str = "sales-order-update";
/// The kind of a customer's ledger line.
pub(crate) const CUSTOMER: &str = "customer";
/// The kind of a change's ledger line.
pub(crate) const CUSTOMER_UPDATE: &str = "customer-update";

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
    /// LIFSK.
    #[serde(default)]
    pub(crate) delivery_block: String,
    /// FAKSK.
    #[serde(default)]
    pub(crate) billing_block: String,
    /// AUGRU.
    #[serde(default)]
    pub(crate) reason: String,
    /// The document it refers to.
    #[serde(default)]
    pub(crate) refers_to: String,
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

/// A customer master (KNA1, KNB1, KNVV, ADR6).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Customer {
    /// Padded.
    pub(crate) number: String,
    /// ADRNR.
    pub(crate) address: String,
    pub(crate) person: bool,
    pub(crate) title: String,
    /// Of a person.
    pub(crate) first_name: String,
    /// Last name, or the company's name.
    pub(crate) name: String,
    pub(crate) street: String,
    pub(crate) house_number: String,
    pub(crate) postal_code: String,
    pub(crate) city: String,
    pub(crate) region: String,
    pub(crate) country: String,
    pub(crate) phone: String,
    pub(crate) email: String,
    pub(crate) language: String,
    pub(crate) currency: String,
    pub(crate) company_codes: Vec<String>,
    pub(crate) sales_areas: Vec<String>,
    pub(crate) visible_at_ms: u64,
}

impl Customer {
    /// NAME1: first and last name of a person, or the company's.
    pub(crate) fn name1(&self) -> String {
        let name = if self.first_name.is_empty() {
            self.name.clone()
        } else {
            format!("{} {}", self.first_name, self.name)
        };
        name.chars().take(35).collect()
    }

    /// STRAS: street and number as they are printed.
    pub(crate) fn street1(&self) -> String {
        let street = format!("{} {}", self.street, self.house_number);
        street.trim().chars().take(35).collect()
    }
}

/// Everything committed, with the indexes that reads go by.
#[derive(Default)]
pub(crate) struct Documents {
    customers: BTreeMap<String, Customer>,
    orders: BTreeMap<String, SalesOrder>,
    orders_by_reference: HashMap<String, Vec<String>>,
    accounting: BTreeMap<String, AccountingDocument>,
    accounting_by_reference: HashMap<String, Vec<String>>,
}

impl Documents {
    pub(crate) fn apply(&mut self, entry: &Entry) {
        match entry.kind.as_str() {
            CUSTOMER | CUSTOMER_UPDATE => {
                if let Ok(customer) = serde_json::from_value::<Customer>(entry.document.clone()) {
                    self.put_customer(customer);
                }
            }
            SALES_ORDER_UPDATE => {
                if let Ok(order) = serde_json::from_value::<SalesOrder>(entry.document.clone()) {
                    self.orders.insert(order.number.clone(), order);
                }
            }
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

    /// A customer of the world, or one that was committed.
    pub(crate) fn put_customer(&mut self, customer: Customer) {
        self.customers.insert(customer.number.clone(), customer);
    }

    pub(crate) fn customer(&self, number: &str) -> Option<&Customer> {
        self.customers.get(number)
    }

    pub(crate) fn customers(&self) -> impl Iterator<Item = &Customer> {
        self.customers.values()
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
