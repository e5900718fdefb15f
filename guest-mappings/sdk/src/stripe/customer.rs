//! A customer, and the buyer of a charge: the customer as Stripe knows it, or the guest as entered with the payment.

use serde::Deserialize;

use super::{Address, Charge, Metadata, or_default};
use crate::short;

/// A customer. A deleted one has little more than its id.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Customer {
    /// `cus_…`
    pub id: String,
    /// Whether it was deleted since.
    #[serde(default, deserialize_with = "or_default")]
    pub deleted: bool,
    /// Person or business.
    pub name: Option<String>,
    /// E-mail address, up to 512 characters.
    pub email: Option<String>,
    /// Telephone number.
    pub phone: Option<String>,
    /// Postal address.
    pub address: Option<Address>,
    /// Texts of the tenant's own systems.
    #[serde(default, deserialize_with = "or_default")]
    pub metadata: Metadata,
}

/// Who bought: the one to find or create in the ERP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buyer {
    /// Under which kind its ids are remembered: `stripe.customer`, or `stripe.guest`.
    pub kind: &'static str,
    /// Its id of that kind: `cus_…`, or a short reference made of the guest's e-mail address (else of the
    /// charge), so that a returning guest is the same one.
    pub id: String,
    /// Name; else the e-mail address, else the id.
    pub name: String,
    /// E-mail address.
    pub email: Option<String>,
    /// Telephone number.
    pub phone: Option<String>,
    /// Postal address; empty when none is known.
    pub address: Address,
}

impl Buyer {
    /// The key under which a charge's buyer is remembered: kind and id.
    #[must_use]
    pub fn key(charge: &Charge) -> (&'static str, String) {
        match (&charge.customer, guest_email(charge)) {
            (Some(customer), _) => ("stripe.customer", customer.to_string()),
            (None, Some(email)) => ("stripe.guest", short::reference(&email)),
            (None, None) => ("stripe.guest", short::reference(&charge.id)),
        }
    }

    /// A customer who may not have bought.
    #[must_use]
    pub fn of_customer(customer: &Customer) -> Self {
        let text = |value: &Option<String>| {
            value.as_deref().map(str::trim).filter(|value| !value.is_empty()).map(str::to_owned)
        };
        let email = text(&customer.email);
        Self {
            kind: "stripe.customer",
            id: customer.id.clone(),
            name: text(&customer.name).or_else(|| email.clone()).unwrap_or_else(|| customer.id.clone()),
            email,
            phone: text(&customer.phone),
            address: customer.address.clone().unwrap_or_default(),
        }
    }

    /// The buyer of a charge. What the customer does not say, the billing details do.
    #[must_use]
    pub fn of(charge: &Charge, customer: Option<&Customer>) -> Self {
        let (kind, id) = Self::key(charge);
        let details = &charge.billing_details;
        let known = |customers: Option<&String>, entered: Option<&String>| {
            let text = |value: &&String| !value.trim().is_empty();
            customers.filter(text).or(entered.filter(text)).map(|value| value.trim().to_owned())
        };
        let email = known(customer.and_then(|customer| customer.email.as_ref()), details.email.as_ref())
            .or_else(|| guest_email(charge));
        let name = known(customer.and_then(|customer| customer.name.as_ref()), details.name.as_ref());
        let address = customer.and_then(|customer| customer.address.as_ref()).or(details.address.as_ref());
        Self {
            kind,
            name: name.or_else(|| email.clone()).unwrap_or_else(|| id.clone()),
            id,
            email,
            phone: known(customer.and_then(|customer| customer.phone.as_ref()), details.phone.as_ref()),
            address: address.cloned().unwrap_or_default(),
        }
    }
}

/// Where a guest can be reached, in lower-case: addresses differ in case without differing in whom they mean.
fn guest_email(charge: &Charge) -> Option<String> {
    let email = charge.billing_details.email.as_ref().or(charge.receipt_email.as_ref())?;
    Some(email.trim().to_lowercase()).filter(|email| !email.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn charge(customer: Option<&str>, email: Option<&str>) -> Charge {
        serde_json::from_value(json!({
            "id": "ch_1", "amount": 1, "currency": "eur", "created": 1, "customer": customer,
            "billing_details": {"name": "Jenny Rosen", "email": email},
        }))
        .unwrap()
    }

    #[test]
    fn a_returning_guest_is_the_same_buyer() {
        let one = Buyer::of(&charge(None, Some("Jenny@Example.com ")), None);
        assert_eq!(one.kind, "stripe.guest");
        assert_eq!(one.id, Buyer::of(&charge(None, Some("jenny@example.com")), None).id);
        assert_ne!(one.id, Buyer::of(&charge(None, None), None).id);
        assert_eq!(one.name, "Jenny Rosen");
    }

    #[test]
    fn the_customer_comes_before_the_billing_details() {
        let customer: Customer =
            serde_json::from_value(json!({"id": "cus_1", "name": "Rosen Ltd", "email": "", "phone": "1"}))
                .unwrap();
        let buyer = Buyer::of(&charge(Some("cus_1"), Some("jenny@example.com")), Some(&customer));
        assert_eq!(
            (buyer.kind, buyer.id.as_str(), buyer.name.as_str()),
            ("stripe.customer", "cus_1", "Rosen Ltd")
        );
        assert_eq!(buyer.email.as_deref(), Some("jenny@example.com"));
        assert_eq!(buyer.phone.as_deref(), Some("1"));
    }

    #[test]
    fn a_deleted_customer_is_known_by_its_billing_details() {
        let customer: Customer = serde_json::from_value(json!({"id": "cus_1", "deleted": true})).unwrap();
        assert!(customer.deleted);
        assert_eq!(Buyer::of(&charge(Some("cus_1"), None), Some(&customer)).name, "Jenny Rosen");
    }
}
