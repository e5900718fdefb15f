//! The invoice in Sage Pro, with its payment: one document for both. The gateway recognises a second one by its
//! `ExternalRef`, so it is asked only when an earlier send may have been carried out (`Check::in_doubt`).

use portolan_sdk::{prelude::*, sage_pro, short};
use serde::Deserialize;

use crate::Sale;

/// Everything that the module does in Sage Pro.
pub(crate) const OPERATIONS: &[&str] = &["invoice.find", "invoice.create"];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// The item that is sold.
    item: String,
    /// Where Stripe's money is until it is paid out.
    clearing_account: String,
    /// What is earned.
    sales_account: String,
}

pub(crate) fn delivery(_: &Cx<'_>, settings: &Settings, sale: &Sale) -> Result<Delivery, Stop> {
    let reference = sage_pro::EXTERNAL_REF.required(&sale.charge).at("/data/object/id")?;
    let amount = sale.amount.decimal()?;
    let currency = sale.amount.currency.code();
    let day = sale.day.to_string();
    let clearing = sage_pro::ACCOUNT.required(&settings.clearing_account)?;
    let sales = sage_pro::ACCOUNT.required(&settings.sales_account)?;
    let invoice = json!({
        "CustNo": sage_pro::CUST_NO.required(&sale.customer)?,
        "ExternalRef": reference,
        "PONum": short::reference(&sale.charge),
        "InvoiceDate": day,
        "Currency": currency,
        "Tax": (amount - amount).to_string(),
        "Lines": [{
            "Item": sage_pro::ITEM.required(&settings.item)?,
            "Descrip": sage_pro::DESCRIP.shortened(&sale.text),
            "Qty": 1,
            "Price": amount.to_string(),
        }],
        "Payment": {"Amount": amount.to_string(), "Date": day, "Method": "STRIPE", "Reference": reference},
        "PaymentStatus": "Paid",
    });
    Ok(Delivery::new("invoice", "erp", "invoice.create", invoice)
        .once(format!("payment/{}", sale.charge))
        .unless(Check::in_doubt("invoice.find", json!({"ExternalRef": reference}), "/InvNo"))
        .capture("stripe.charge", &sale.charge, "sage-pro.invoice", "/InvNo")
        // What the document stands for; the host checks that debits are credits.
        .debit(clearing, amount, currency)
        .credit(sales, amount, currency))
}
