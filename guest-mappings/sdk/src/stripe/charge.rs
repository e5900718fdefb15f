//! A charge: what was paid, by whom, for which intent.

use serde::Deserialize;

use super::{Id, Metadata, or_default};
use crate::{
    money::{Currency, Money},
    stop::Stop,
};

/// A charge, as events carry it in any API version since 2020.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Charge {
    /// `ch_…`, or `py_…` for other payment methods than cards.
    pub id: String,
    /// What was authorized.
    pub amount: i64,
    /// What was really taken. Absent in old API versions.
    pub amount_captured: Option<i64>,
    /// Currency of both.
    pub currency: Currency,
    /// Unix seconds.
    pub created: i64,
    /// Whether money moved; a charge succeeds already when it is only authorized.
    #[serde(default, deserialize_with = "or_default")]
    pub captured: bool,
    /// `succeeded`, `pending`, `failed`, and what Stripe may add.
    #[serde(default, deserialize_with = "or_default")]
    pub status: String,
    /// `cus_…`; a guest has none.
    pub customer: Option<Id>,
    /// `pi_…`
    pub payment_intent: Option<Id>,
    /// `in_…`, in API versions before 2025-03-31.basil.
    pub invoice: Option<Id>,
    /// Who paid, as entered with the payment.
    #[serde(default, deserialize_with = "or_default")]
    pub billing_details: BillingDetails,
    /// Texts of the tenant's own systems.
    #[serde(default, deserialize_with = "or_default")]
    pub metadata: Metadata,
    /// For people.
    pub description: Option<String>,
    /// Where the receipt went.
    pub receipt_email: Option<String>,
    /// What was given back so far.
    #[serde(default, deserialize_with = "or_default")]
    pub amount_refunded: i64,
    /// `txn_…`; comes later than the charge when it is captured asynchronously.
    pub balance_transaction: Option<Id>,
    /// What Stripe thinks of it.
    #[serde(default, deserialize_with = "or_default")]
    pub outcome: Risk,
}

/// What Stripe thinks of a charge.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Risk {
    /// 0 to 100.
    pub risk_score: Option<i64>,
    /// `normal`, `elevated`, `highest`, `not_assessed`, and what Stripe may add.
    pub risk_level: Option<String>,
    /// `authorized`, `manual_review`, `issuer_declined`, `blocked`, and what Stripe may add.
    #[serde(rename = "type")]
    pub kind: Option<String>,
}

/// Who paid, as entered with the payment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct BillingDetails {
    /// Full name.
    pub name: Option<String>,
    /// E-mail address, up to 512 characters.
    pub email: Option<String>,
    /// Telephone number.
    pub phone: Option<String>,
    /// Postal address.
    pub address: Option<Address>,
}

/// A postal address.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Address {
    /// Street and number.
    pub line1: Option<String>,
    /// Second line.
    pub line2: Option<String>,
    /// City.
    pub city: Option<String>,
    /// State or region.
    pub state: Option<String>,
    /// Postal code.
    pub postal_code: Option<String>,
    /// Two letters.
    pub country: Option<String>,
}

impl Charge {
    /// What was really captured.
    ///
    /// # Errors
    /// A skip, when the charge is only authorized, or nothing of it was captured. A refusal, when the amount
    /// makes no sense.
    pub fn captured(&self) -> Result<Money, Stop> {
        if !self.captured {
            return Err(Stop::skip(format!("{} is authorized, not captured: no money has moved", self.id)));
        }
        let minor = self.amount_captured.unwrap_or(self.amount);
        if minor == 0 {
            return Err(Stop::skip(format!("nothing of {} was captured", self.id)));
        }
        if minor < 0 || minor > self.amount {
            let text = format!("captured {minor} of {} is impossible", self.amount);
            return Err(Stop::reject("/data/object/amount_captured", "impossible-amount", text));
        }
        Ok(Money::new(minor, self.currency))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn charge(captured: bool, amount: i64, amount_captured: Option<i64>) -> Charge {
        let json = serde_json::json!({
            "id": "ch_1", "amount": amount, "amount_captured": amount_captured, "currency": "eur",
            "created": 1, "captured": captured, "billing_details": null, "metadata": null,
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn what_was_captured_counts() {
        assert_eq!(charge(true, 500, Some(300)).captured().unwrap().minor, 300);
        assert_eq!(charge(true, 500, None).captured().unwrap().minor, 500);
    }

    #[test]
    fn without_money_there_is_nothing_to_do() {
        assert!(matches!(charge(false, 500, Some(0)).captured(), Err(Stop::Skip(_))));
        assert!(matches!(charge(true, 500, Some(0)).captured(), Err(Stop::Skip(_))));
        assert!(matches!(charge(true, 0, None).captured(), Err(Stop::Skip(_))));
    }

    #[test]
    fn impossible_amounts_are_refused() {
        assert!(matches!(charge(true, 500, Some(501)).captured(), Err(Stop::Reject(_))));
        assert!(matches!(charge(true, -5, None).captured(), Err(Stop::Reject(_))));
    }
}
