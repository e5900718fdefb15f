//! Safe views of Stripe's objects: only what mappings read, every enumeration open, both API shapes where they
//! differ, ids and expanded objects alike. What Stripe adds tomorrow is passed over.
//!
//! ```
//! use portolan_sdk::stripe::Charge;
//!
//! let charge: Charge = serde_json::from_str(r#"{
//!     "id": "ch_1", "amount": 5000, "amount_captured": 3000, "currency": "usd", "created": 1795217400,
//!     "captured": true, "status": "succeeded", "customer": {"id": "cus_1", "object": "customer"},
//!     "metadata": {"order": "17"}, "something_new": [1, 2]
//! }"#)?;
//! assert_eq!(charge.customer.as_deref(), Some("cus_1"));
//! assert_eq!(charge.captured().unwrap().minor, 3000);
//! # Ok::<(), serde_json::Error>(())
//! ```

mod balance;
mod charge;
mod checkout;
mod customer;
mod event;
mod fraud;
mod invoice;
mod lines;
pub mod metadata;
mod payment_intent;
mod payout;
mod refund;
mod subscription;

use std::{collections::BTreeMap, ops::Deref};

use serde::{Deserialize, Deserializer, de::DeserializeOwned};

pub use balance::{BalanceTransaction, FeeDetail, Rate, Source, net_by};
pub use charge::{Address, BillingDetails, Charge, Risk};
pub use checkout::{CheckoutSession, Price, SessionLine, ShippingCost};
pub use customer::{Buyer, Customer};
pub use event::Event;
pub use fraud::{EarlyFraudWarning, Review};
pub use invoice::{Invoice, InvoiceLine, Paid};
pub use lines::{Line, LineAnswers, LineQuestions, LineSource, Lines, Prices};
pub use payment_intent::PaymentIntent;
pub use payout::Payout;
pub use refund::{Dispute, EvidenceDetails, Movement, Refund};
pub use subscription::{CreditNote, CreditRefund, Subscription, SubscriptionItem};

use crate::{Cx, stop::Stop};

/// The object of a Stripe event.
///
/// # Errors
/// A refusal with code `unreadable-payload`; a thin event has no object, see [`Event::read`].
pub fn object<T: DeserializeOwned>(cx: &Cx<'_>) -> Result<T, Stop> {
    #[derive(Deserialize)]
    struct Envelope<T> {
        data: Data<T>,
    }

    #[derive(Deserialize)]
    struct Data<T> {
        object: T,
    }

    Ok(cx.payload::<Envelope<T>>()?.data.object)
}

/// Texts that the tenant's own systems put on an object.
pub type Metadata = BTreeMap<String, String>;

/// An id, whether Stripe sent it bare or with its object around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Id(String);

impl Deref for Id {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(IdVisitor)
    }
}

struct IdVisitor;

impl<'de> serde::de::Visitor<'de> for IdVisitor {
    type Value = Id;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an id, or an object with an id")
    }

    fn visit_str<E: serde::de::Error>(self, id: &str) -> Result<Id, E> {
        Ok(Id(id.to_owned()))
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Id, A::Error> {
        let mut id = None;
        while let Some(key) = map.next_key::<String>()? {
            if key == "id" {
                id = Some(map.next_value()?);
            } else {
                map.next_value::<serde::de::IgnoredAny>()?;
            }
        }
        id.map(Id).ok_or_else(|| serde::de::Error::missing_field("id"))
    }
}

/// A list of Stripe, as the connector answers it: all pages joined.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct List<T> {
    /// The objects.
    pub data: Vec<T>,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self { data: Vec::new() }
    }
}

/// A field that Stripe may leave out or send as null.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_bare_or_expanded() {
        assert_eq!(&*serde_json::from_str::<Id>(r#""cus_1""#).unwrap(), "cus_1");
        let expanded = r#"{"object": "customer", "id": "cus_1", "address": {"id": null}}"#;
        assert_eq!(&*serde_json::from_str::<Id>(expanded).unwrap(), "cus_1");
        assert!(serde_json::from_str::<Id>("{}").is_err());
        assert_eq!(serde_json::from_str::<Option<Id>>("null").unwrap(), None);
    }
}
