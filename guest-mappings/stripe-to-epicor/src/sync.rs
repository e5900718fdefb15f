//! A customer as Stripe knows it now: created, changed where something differs, or left alone. (One that Stripe
//! deleted stays: an ERP needs its history.)

use portolan_sdk::{
    flow::Documents,
    prelude::*,
    stripe::{Buyer, Customer},
};

use crate::{CUSTOMER_KIND, Settings, customer};

pub(crate) fn documents(settings: &Settings, cx: &Cx<'_>, customer: &Customer) -> Result<Documents, Stop> {
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
