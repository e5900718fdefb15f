//! What an ERP's ledger says: payments and refunds by currency, and balances of accounts. Read from what the stand-in
//! committed, in its own words; the host is not asked.

use std::collections::BTreeMap;

use portolan::stage::{LedgerEntry, StandIn, System};
use rust_decimal::Decimal;
use serde_json::Value;

/// An account's role in the books.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    Bank,
    Clearing,
    Transit,
    Conversion,
    Disputes,
    Fees,
}

/// Amounts by currency.
pub(super) type Sums = BTreeMap<String, Decimal>;

/// What the ledger comes to.
#[derive(Debug, Default)]
pub(super) struct Books {
    /// What was taken from customers.
    pub(super) payments: Sums,
    /// What was given back, and stands.
    pub(super) refunds: Sums,
    /// What was credited without money.
    pub(super) credits: Sums,
    /// Balances of journals' accounts: debits less credits.
    pub(super) accounts: BTreeMap<(Role, String), Decimal>,
    /// Whether payments and refunds are on the clearing account themselves. A gateway posts them on its own.
    pub(super) clears_payments: bool,
    /// Documents by kind.
    pub(super) documents: BTreeMap<String, usize>,
    /// Documents that are there twice.
    pub(super) doubled: Vec<String>,
}

impl Books {
    pub(super) async fn of(erp: &StandIn) -> anyhow::Result<Self> {
        let entries = erp.ledger("").await?;
        let mut books = Self { clears_payments: erp.system == System::SapEcc, ..Self::default() };
        for entry in &entries {
            *books.documents.entry(entry.kind.clone()).or_default() += 1;
            match erp.system {
                System::SapEcc => books.sap(entry),
                System::Epicor => books.epicor(entry),
                System::SagePro => books.sage(entry),
                System::Stripe => {}
            }
        }
        let summary = erp.summary().await?;
        for twice in summary["duplicates"].as_array().into_iter().flatten() {
            books.doubled.push(format!("{} {} {}", twice["kind"], twice["business_key"], twice["numbers"]));
        }
        Ok(books)
    }

    fn account(&mut self, role: Option<Role>, currency: &str, debit: Decimal) {
        if let Some(role) = role {
            *self.accounts.entry((role, currency.to_owned())).or_default() += debit;
        }
    }

    /// Customer lines of payments (`DZ`) and of what is given back (`DG`, or a `DZ` the other way); everything else is
    /// a journal.
    fn sap(&mut self, entry: &LedgerEntry) {
        if entry.kind != "accounting-document" {
            return;
        }
        for line in entry.entry["lines"].as_array().into_iter().flatten() {
            let (amount, currency) = (decimal(&line["amount"]), text(&line["currency"]));
            if text(&line["customer"]).is_empty() {
                self.account(sap_role(&text(&line["account"])), &currency, amount);
            } else {
                self.customer(entry, &currency, -amount);
            }
        }
    }

    /// `received` is below zero when it was given back, or when a reversal takes something back.
    fn customer(&mut self, entry: &LedgerEntry, currency: &str, received: Decimal) {
        let header = text(&entry.entry["document"]["header_text"]).to_lowercase();
        let what = if header.contains("charge") || header.contains("payment") {
            (&mut self.payments, received)
        } else if header.contains("refund") {
            (&mut self.refunds, -received)
        } else {
            (&mut self.credits, -received)
        };
        *what.0.entry(currency.to_owned()).or_default() += what.1;
    }

    fn epicor(&mut self, entry: &LedgerEntry) {
        match entry.kind.as_str() {
            "cash-receipt-posting" | "cash-receipt-reversal" => {
                for (currency, amount) in amounts(entry) {
                    let sums = if amount.is_sign_negative() { &mut self.refunds } else { &mut self.payments };
                    *sums.entry(currency).or_default() += amount.abs();
                }
            }
            "gl-journal-posting" => {
                let currency =
                    amounts(entry).into_iter().next().map(|(currency, _)| currency).unwrap_or_default();
                for line in entry.entry["lines"].as_array().into_iter().flatten() {
                    let debit = decimal(&line["debit"]) - decimal(&line["credit"]);
                    self.account(epicor_role(&text(&line["account"])), &currency, debit);
                }
            }
            _ => {}
        }
    }

    fn sage(&mut self, entry: &LedgerEntry) {
        match entry.kind.as_str() {
            "invoice" | "cash-receipt" => add(&mut self.payments, entry, Decimal::ONE),
            "credit-memo" => {
                let refund = entry.business_key.starts_with("re_") || entry.business_key.starts_with("pyr_");
                add(if refund { &mut self.refunds } else { &mut self.credits }, entry, Decimal::ONE);
            }
            "credit-memo-void" => add(&mut self.refunds, entry, Decimal::NEGATIVE_ONE),
            "gl-journal" | "gl-journal-reversal" => {
                let currency =
                    amounts(entry).into_iter().next().map(|(currency, _)| currency).unwrap_or_default();
                for line in entry.entry["lines"].as_array().into_iter().flatten() {
                    self.account(sage_role(&text(&line["account"])), &currency, decimal(&line["amount"]));
                }
            }
            _ => {}
        }
    }
}

fn add(sums: &mut Sums, entry: &LedgerEntry, sign: Decimal) {
    for (currency, amount) in amounts(entry) {
        *sums.entry(currency).or_default() += amount.abs() * sign;
    }
}

fn amounts(entry: &LedgerEntry) -> Vec<(String, Decimal)> {
    let amounts = entry.entry["amounts"].as_object().into_iter().flatten();
    amounts.map(|(currency, amount)| (currency.clone(), decimal(amount))).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().trim().to_owned()
}

fn decimal(value: &Value) -> Decimal {
    value.as_str().and_then(|text| Decimal::from_str_exact(text).ok()).unwrap_or_default()
}

fn sap_role(account: &str) -> Option<Role> {
    match account {
        "113100" => Some(Role::Bank),
        "113150" => Some(Role::Clearing),
        "113180" => Some(Role::Transit),
        "113170" => Some(Role::Conversion),
        "113160" => Some(Role::Disputes),
        "473120" => Some(Role::Fees),
        _ => None,
    }
}

fn epicor_role(account: &str) -> Option<Role> {
    match account {
        "1010-00" => Some(Role::Bank),
        "1190-00" => Some(Role::Clearing),
        "1195-00" => Some(Role::Transit),
        "7200-00" => Some(Role::Conversion),
        "1250-00" => Some(Role::Disputes),
        "6450-00" => Some(Role::Fees),
        _ => None,
    }
}

fn sage_role(account: &str) -> Option<Role> {
    match account {
        "1010-000" => Some(Role::Bank),
        "1190-000" => Some(Role::Clearing),
        "1195-000" => Some(Role::Transit),
        "7200-000" => Some(Role::Conversion),
        "1250-000" => Some(Role::Disputes),
        "6450-000" => Some(Role::Fees),
        _ => None,
    }
}
