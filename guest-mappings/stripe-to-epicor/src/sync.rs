//! A customer as Stripe knows it now: created, changed where something differs, or left alone.

use portolan_sdk::{
    flow::Documents,
    prelude::*,
    stripe::{Buyer, Customer},
};

use crate::{
    CUSTOMER, CUSTOMER_KIND, ERP, SYSTEM, Settings,
    customer::{self, CustomerRow},
    settings::DeletedCustomers,
};

pub(crate) fn documents(settings: &Settings, cx: &Cx<'_>, customer: &Customer) -> Result<Documents, Stop> {
    if customer.deleted {
        return deleted(settings, cx, customer);
    }
    Ok(customer::of_buyer(cx, settings, &buyer(customer), None)?.documents())
}

fn buyer(customer: &Customer) -> Buyer {
    let known =
        |value: &Option<String>| value.as_deref().map(str::trim).filter(|v| !v.is_empty()).map(str::to_owned);
    let email = known(&customer.email);
    Buyer {
        kind: CUSTOMER_KIND,
        id: customer.id.clone(),
        name: known(&customer.name).or_else(|| email.clone()).unwrap_or_else(|| customer.id.clone()),
        email,
        phone: known(&customer.phone),
        address: customer.address.clone().unwrap_or_default(),
    }
}

/// Only a customer that is remembered: what Stripe deleted says nothing that another could be found by.
fn deleted(settings: &Settings, cx: &Cx<'_>, customer: &Customer) -> Result<Documents, Stop> {
    if settings.deleted_customers == DeletedCustomers::Keep {
        return Ok(Documents::default());
    }
    let known = cx.reference(CUSTOMER_KIND, &customer.id)?;
    let number = known.id(SYSTEM).and_then(|number| number.parse::<u64>().ok());
    let row: Option<CustomerRow> = cx.all(number.map(customer::by_number))?.flatten();
    Ok(match row.filter(|row| row.inactive != Some(true)) {
        Some(row) => {
            let body = json!({"CustNum": row.number, "Inactive": true});
            Documents::default().deliver(Delivery::new(CUSTOMER, ERP, "customer.update", body))
        }
        None => Documents::default(),
    })
}
