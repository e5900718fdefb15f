//! A captured charge of Stripe becomes one document in __ERP__: __DOCUMENT__.
//!
//! What is decided here is the same for every ERP: whether money moved, whose it is, on which day, how much. How the
//! document is written down is `document`'s to know.

mod document;

use std::collections::BTreeMap;

use portolan_sdk::{
    date,
    money::{Decimal, Money},
    prelude::*,
    stripe,
};
use serde::Deserialize;

/// The tenant's own table: Stripe's customer to the customer number in __ERP__.
const CUSTOMERS: &str = "customers";

/// What a tenant sets; `src/settings.schema.json` describes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// In which time zone a day begins.
    time_zone: String,
    /// Above which amount a person looks first, by currency.
    #[serde(default)]
    hold_above: BTreeMap<String, String>,
    /// What the document needs.
    document: document::Settings,
}

/// A sale, as the document needs to know it.
struct Sale {
    /// `ch_…`
    charge: String,
    /// The customer's number in __ERP__.
    customer: String,
    /// What was captured.
    amount: Money,
    /// The day it happened, where the tenant is.
    day: date::Date,
    /// For people.
    text: String,
}

/// The mapping.
#[derive(Debug)]
pub struct ChargeToDocument;

impl Mapping for ChargeToDocument {
    fn describe() -> Description {
        Description::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"), env!("CARGO_PKG_DESCRIPTION"))
            .serves("stripe", "charge.succeeded")
            .connection("erp", "__CONNECTOR__", document::OPERATIONS)
            .table(CUSTOMERS, "Stripe customer (cus_…) to customer number in __ERP__")
            .settings_schema(include_str!("settings.schema.json"))
    }

    fn map(cx: &Cx<'_>) -> Result<Plan, Stop> {
        let settings: Settings = cx.settings()?;
        let charge: stripe::Charge = stripe::object(cx)?;
        // A skip, when the charge is only authorized.
        let amount = charge.captured()?;
        let buyer = charge.customer.as_deref().ok_or_else(|| Stop::skip(format!("{} is a guest's", charge.id)))?;
        // A need, until the host has looked; `map` is called again then, from the beginning.
        let customer: Option<String> = cx.lookup(CUSTOMERS, buyer)?;
        let customer = customer.ok_or_else(|| {
            let text = format!("{buyer} is not in the lookup table {CUSTOMERS}");
            Stop::reject("/data/object/customer", "unknown-customer", text)
        })?;
        let sale = Sale {
            customer,
            amount,
            day: date::in_zone(charge.created, &settings.time_zone)?,
            text: charge.description.unwrap_or_else(|| charge.id.clone()),
            charge: charge.id,
        };
        let plan = Plan::new().deliver(document::delivery(cx, &settings.document, &sale)?);
        match settings.hold_above.get(sale.amount.currency.code()) {
            Some(limit) if sale.amount.decimal()? > decimal(limit)? => {
                Err(Stop::hold(format!("{} is more than {limit}", sale.amount), plan))
            }
            _ => Ok(plan),
        }
    }
}

fn decimal(text: &str) -> Result<Decimal, Stop> {
    Decimal::from_str_exact(text).map_err(|_| Stop::reject("", "settings", format!("{text:?} is no amount")))
}

portolan_sdk::mapping!(ChargeToDocument);
