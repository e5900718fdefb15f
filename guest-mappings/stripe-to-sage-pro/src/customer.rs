//! Who buys, in Sage Pro: the number remembered, the lookup table's, the guests' from the settings, the one the
//! gateway knows under the Stripe id; else a new one, whose number the gateway gives.

use portolan_sdk::{
    ask::{self, Counterparts, Question, Row},
    money::Currency,
    prelude::*,
    sage_pro,
    stripe::Buyer,
};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{CUSTOMER, ERP, SYSTEM, Settings};

/// How a customer is looked for.
pub(crate) enum Identity {
    /// By a number that is known: remembered, or entered by a person.
    Number(String),
    /// By the reference under which the mapping creates it.
    Reference(String),
}

/// A row of `customer.find`.
#[derive(Debug, Deserialize)]
pub(crate) struct CustomerRow {
    #[serde(rename = "CustNo")]
    number: String,
}

/// The customer of a sale.
pub(crate) struct Resolved {
    /// Its number; `None` while it is to be created.
    pub(crate) number: Option<String>,
    /// The row to create, and the reference it is found by.
    create: Option<(Value, String)>,
    remember: bool,
    buyer: Buyer,
}

impl Identity {
    pub(crate) fn of(
        buyer: &Buyer,
        reference: Option<&Counterparts>,
        row: Option<&Row>,
        settings: &Settings,
    ) -> Result<Self, Stop> {
        let guest = buyer.kind == "stripe.guest";
        let guests = settings.guest_customer.clone().filter(|_| guest);
        let remembered = || reference.and_then(|reference| reference.id(SYSTEM)).map(str::to_owned);
        let number = guests.or_else(remembered).or_else(|| row.and_then(|row| row.main("customer")));
        match number {
            Some(number) => Ok(Self::Number(sage_pro::CUST_NO.required(number.trim())?)),
            None if guest => Ok(Self::Reference(format!("guest_{}", buyer.id))),
            None => Ok(Self::Reference(buyer.id.clone())),
        }
    }

    pub(crate) fn question(&self) -> Option<Question<CustomerRow>> {
        match self {
            Self::Number(_) => None,
            Self::Reference(reference) => {
                Some(ask::query(ERP, "customer.find", json!({"ExternalRef": reference})))
            }
        }
    }
}

/// The customer of a sale, from what the gateway answered.
pub(crate) fn resolve(
    identity: Identity,
    found: Option<CustomerRow>,
    buyer: Buyer,
    settings: &Settings,
    currency: Currency,
) -> Result<Resolved, Stop> {
    Ok(match (identity, found) {
        (Identity::Number(number), _) => {
            Resolved { number: Some(number), create: None, remember: false, buyer }
        }
        (Identity::Reference(_), Some(row)) => {
            Resolved { number: Some(row.number), create: None, remember: true, buyer }
        }
        (Identity::Reference(reference), None) => {
            let row = new_row(&reference, &buyer, settings, currency)?;
            Resolved { number: None, create: Some((row, reference)), remember: false, buyer }
        }
    })
}

fn new_row(reference: &str, buyer: &Buyer, settings: &Settings, currency: Currency) -> Result<Value, Stop> {
    let mut row = Map::new();
    row.insert("ExternalRef".to_owned(), json!(reference));
    // The gateway gives the number, by the rule of its site.
    row.insert("CustNo".to_owned(), Value::Null);
    row.insert("Company".to_owned(), json!(sage_pro::COMPANY.required(&buyer.name)?));
    row.insert("Currency".to_owned(), json!(currency.code()));
    let address = &buyer.address;
    for (field, value) in [
        (sage_pro::ADDRESS_1, &address.line1),
        (sage_pro::ADDRESS_2, &address.line2),
        (sage_pro::CITY, &address.city),
        (sage_pro::STATE, &address.state),
        (sage_pro::ZIP, &address.postal_code),
        (sage_pro::COUNTRY, &address.country),
        (sage_pro::PHONE, &buyer.phone),
        (sage_pro::EMAIL, &buyer.email),
        (sage_pro::TERMS, &settings.terms),
    ] {
        if let Some(value) = value {
            row.insert(field.name().to_owned(), json!(field.text(value)?));
        }
    }
    Ok(Value::Object(row))
}

/// The delivery that creates the customer, if it needs one.
pub(crate) fn delivery(customer: &Resolved) -> Option<Delivery> {
    let (row, reference) = customer.create.as_ref()?;
    let check = Check::in_doubt("customer.find", json!({"ExternalRef": reference}), "/CustNo");
    let delivery = Delivery::new(CUSTOMER, ERP, "customer.create", row.clone()).unless(check);
    Some(delivery.capture(customer.buyer.kind, &customer.buyer.id, SYSTEM, "/CustNo"))
}

/// Remembers the number of a customer that the gateway knew already.
pub(crate) fn remember(plan: Plan, customer: &Resolved) -> Plan {
    match customer.number.as_ref().filter(|_| customer.remember) {
        Some(number) => plan.remember(customer.buyer.kind, &customer.buyer.id, SYSTEM, number),
        None => plan,
    }
}
