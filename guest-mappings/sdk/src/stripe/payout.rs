//! A payout: what Stripe sends to the bank.

use serde::Deserialize;

use super::{Id, or_default};
use crate::money::{Currency, Money};

/// A payout.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Payout {
    /// `po_…`
    pub id: String,
    /// What arrives; below zero when Stripe debits the bank account.
    pub amount: i64,
    /// Its currency.
    pub currency: Currency,
    /// Unix seconds.
    #[serde(default, deserialize_with = "or_default")]
    pub created: i64,
    /// When it arrives, or is expected to: Unix seconds.
    pub arrival_date: Option<i64>,
    /// Whether Stripe made it by schedule: only then is there an exact list of what is in it.
    #[serde(default, deserialize_with = "or_default")]
    pub automatic: bool,
    /// `pending`, `in_transit`, `paid`, `failed`, `canceled`, and what Stripe may add.
    #[serde(default, deserialize_with = "or_default")]
    pub status: String,
    /// `not_applicable`, `in_progress`, `completed`, and what Stripe may add.
    pub reconciliation_status: Option<String>,
    /// Its own row.
    pub balance_transaction: Option<Id>,
    /// The row that brings a failed one back.
    pub failure_balance_transaction: Option<Id>,
    /// Why it failed.
    pub failure_code: Option<String>,
    /// Why it failed, for people.
    pub failure_message: Option<String>,
    /// What the bank shows.
    pub statement_descriptor: Option<String>,
}

impl Payout {
    /// What arrives.
    #[must_use]
    pub fn total(&self) -> Money {
        Money::new(self.amount, self.currency)
    }
}
