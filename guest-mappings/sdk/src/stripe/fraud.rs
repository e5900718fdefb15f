//! Reviews and early fraud warnings.

use serde::Deserialize;

use super::{Id, or_default};

/// An early fraud warning: the issuer believes that a charge is fraudulent.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct EarlyFraudWarning {
    /// `issfr_…`
    pub id: String,
    /// What is suspicious.
    pub charge: Option<Id>,
    /// Whether a refund now would avoid a dispute.
    #[serde(default, deserialize_with = "or_default")]
    pub actionable: bool,
    /// `made_with_stolen_card`, `misc`, … and what Stripe may add.
    pub fraud_type: Option<String>,
}

/// A review: Radar, or a person, wants a payment looked at.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Review {
    /// `prv_…`
    pub id: String,
    /// What is looked at.
    pub charge: Option<Id>,
    /// `pi_…`
    pub payment_intent: Option<Id>,
    /// Whether it still is.
    #[serde(default, deserialize_with = "or_default")]
    pub open: bool,
    /// `rule`, `manual`, `approved`, `refunded`, … as it stands now.
    pub reason: Option<String>,
    /// `rule` or `manual`.
    pub opened_reason: Option<String>,
    /// `approved`, `refunded`, `refunded_as_fraud`, `disputed`, … and what Stripe may add.
    pub closed_reason: Option<String>,
}
