//! Refunds and disputes: money that goes back.

use serde::Deserialize;

use super::{BalanceTransaction, Id, or_default};
use crate::money::{Currency, Money};

/// A refund.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Refund {
    /// `re_…`, or `pyr_…`
    pub id: String,
    /// How much.
    pub amount: i64,
    /// Its currency: the charge's.
    pub currency: Currency,
    /// Unix seconds.
    #[serde(default, deserialize_with = "or_default")]
    pub created: i64,
    /// What it gives back.
    pub charge: Option<Id>,
    /// `pi_…`
    pub payment_intent: Option<Id>,
    /// `duplicate`, `fraudulent`, `requested_by_customer`, `expired_uncaptured_charge`, and what Stripe may add.
    pub reason: Option<String>,
    /// `pending`, `requires_action`, `succeeded`, `failed`, `canceled`, and what Stripe may add. Old versions may
    /// leave it out: then it succeeded.
    pub status: Option<String>,
    /// Why it failed.
    pub failure_reason: Option<String>,
}

impl Refund {
    /// How much.
    #[must_use]
    pub fn total(&self) -> Money {
        Money::new(self.amount, self.currency)
    }

    /// Whether money went back.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.status.as_deref().is_none_or(|status| status == "succeeded")
    }

    /// Whether no money goes back any more.
    #[must_use]
    pub fn failed(&self) -> bool {
        matches!(self.status.as_deref(), Some("failed" | "canceled"))
    }
}

/// A dispute.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Dispute {
    /// `dp_…`, or `du_…`
    pub id: String,
    /// How much the customer disputes.
    pub amount: i64,
    /// Its currency.
    pub currency: Currency,
    /// Unix seconds.
    #[serde(default, deserialize_with = "or_default")]
    pub created: i64,
    /// What is disputed.
    pub charge: Option<Id>,
    /// `fraudulent`, `product_not_received`, … and what Stripe may add.
    pub reason: Option<String>,
    /// `needs_response`, `under_review`, `won`, `lost`, `warning_…`, and what Stripe may add.
    #[serde(default, deserialize_with = "or_default")]
    pub status: String,
    /// What it moved: none, the withdrawal, or that and the reinstatement.
    #[serde(default, deserialize_with = "or_default")]
    pub balance_transactions: Vec<Movement>,
    /// Until when to answer.
    #[serde(default, deserialize_with = "or_default")]
    pub evidence_details: EvidenceDetails,
}

/// A balance transaction, whether Stripe sent it whole or its id alone.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "MovementForm")]
pub enum Movement {
    /// The whole.
    Whole(Box<BalanceTransaction>),
    /// `txn_…`
    Named(String),
}

/// Without `untagged`, which would hide the exchange rate's digits.
#[derive(Deserialize)]
struct MovementForm(Box<serde_json::value::RawValue>);

impl From<MovementForm> for Movement {
    fn from(form: MovementForm) -> Self {
        match serde_json::from_str(form.0.get()) {
            Ok(whole) => Self::Whole(whole),
            Err(_) => {
                let id = serde_json::from_str::<Id>(form.0.get());
                Self::Named(id.map(|id| id.to_string()).unwrap_or_default())
            }
        }
    }
}

/// Until when a dispute is to be answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct EvidenceDetails {
    /// Unix seconds.
    pub due_by: Option<i64>,
}

impl Dispute {
    /// How much.
    #[must_use]
    pub fn total(&self) -> Money {
        Money::new(self.amount, self.currency)
    }
}
