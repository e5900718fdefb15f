//! Invoices of an order, as Epicor knows them: what money is applied to, and what credit memos refer to.

use portolan_sdk::{
    ask::{self, Question},
    money::{Currency, Decimal, Money},
    prelude::*,
};
use serde::Deserialize;
use serde_json::Value;

use crate::ERP;

/// Invoices of an order that are posted and open, oldest first.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct OpenInvoices {
    #[serde(rename = "Invoices")]
    invoices: Vec<OpenInvoice>,
}

#[derive(Debug, Deserialize)]
struct OpenInvoice {
    #[serde(rename = "InvoiceNum")]
    number: u64,
    /// A text: a number would be read as a binary fraction.
    #[serde(rename = "DocInvoiceBal")]
    balance: String,
    #[serde(rename = "CurrencyCode")]
    currency: Currency,
}

/// An invoice as `ar-invoice.find` answers.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct InvoiceRow {
    #[serde(rename = "InvoiceNum")]
    pub(crate) number: u64,
}

/// The question for the invoice of an order, posted, open or not.
pub(crate) fn of_order(order: u64) -> Question<InvoiceRow> {
    ask::query(ERP, "ar-invoice.find", json!({"OrderNum": order}))
}

/// The question for the open invoices of an order.
pub(crate) fn open_of(order: u64) -> Question<OpenInvoices> {
    ask::query(ERP, "ar-invoice.open-by-order", json!({"OrderNum": order}))
}

/// How an amount is applied to open invoices: rows of `CashDtls`, oldest invoice first. What is left of the amount
/// stays unapplied.
pub(crate) fn allocations(open: Option<OpenInvoices>, amount: Money) -> Result<Vec<Value>, Stop> {
    let mut left = amount.decimal()?;
    let mut rows = Vec::new();
    for invoice in open.unwrap_or_default().invoices {
        if invoice.currency != amount.currency {
            let text = format!(
                "invoice {} is in {}, the charge in {}",
                invoice.number, invoice.currency, amount.currency
            );
            return Err(Stop::reject("/data/object/currency", "another-currency", text));
        }
        let balance = Decimal::from_str_exact(&invoice.balance)
            .map_err(|error| Stop::reject("", "unexpected-answer", format!("DocInvoiceBal: {error}")))?;
        let part = balance.min(left);
        if part > Decimal::ZERO {
            rows.push(json!({"InvoiceNum": invoice.number, "DocTranAmt": part.to_string()}));
            left -= part;
        }
    }
    Ok(rows)
}
