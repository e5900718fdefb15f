//! A sale: customer, order, payment. An order that metadata name is found by its number and used as it is.

use portolan_sdk::{
    contract::Side,
    flow::{Documents, Sale, fact},
    prelude::*,
    sap,
};
use serde_json::Value;

use crate::{
    ERP, Settings,
    customer::{self, Payer},
    order,
    posting::Posting,
};

/// Key of the payment in the plan.
pub(crate) const PAYMENT: &str = "payment";

/// The documents of a captured charge.
pub(crate) fn documents(settings: &Settings, cx: &Cx<'_>, sale: &Sale) -> Result<Documents, Stop> {
    let (payer, mut documents, found) = match &sale.order {
        Some(number) => of_order(settings, cx, (sale, number))?,
        None => {
            let (payer, documents) = customer::payer(settings, cx, &sale.buyer)?;
            let order = order::delivery(settings, sale, &payer)?;
            (payer, documents.deliver(order), None)
        }
    };
    if found.is_none() {
        documents = documents.number("sap_ecc_order", order::ORDER, "/SALESDOCUMENT");
    }
    let payment = Posting {
        key: PAYMENT,
        fact: fact::payment(&sale.charge.id),
        object: &sale.charge.id,
        title: "Stripe charge",
        text: sap::ITEM_TEXT.text(&sale.charge.id).at("/data/object/id")?,
        document_type: &settings.document_type,
        day: sale.day,
        amount: sale.captured,
        account: &settings.clearing_account,
        customer: &payer,
        customer_side: Side::Credit,
        assignment: found.as_deref(),
    };
    let mut payment = payment.delivery(settings)?;
    if found.is_none() {
        payment = payment.after(order::ORDER).bind(
            order::ORDER,
            "/SALESDOCUMENT",
            "/ACCOUNTRECEIVABLE/0/ALLOC_NMBR",
        );
    }
    payment = payment.capture("stripe.charge", &sale.charge.id, "sap-ecc.fi", "/OBJ_KEY");
    Ok(documents.deliver(payment).number("sap_ecc_payment", PAYMENT, "/OBJ_KEY"))
}

type Found = (Payer, Documents, Option<String>);

/// The order that metadata name, and whom it was sold to.
fn of_order(settings: &Settings, cx: &Cx<'_>, (sale, number): (&Sale, &str)) -> Result<Found, Stop> {
    let number = sap::SALESDOCUMENT.alpha(number).at("/data/object/metadata")?;
    let order: Option<Value> = cx.query(ERP, "sales-order.by-number", json!({"SALESDOCUMENT": number}))?;
    let order = order.ok_or_else(|| {
        let text = format!("the order {number} that the charge's metadata name does not exist in SAP");
        Stop::reject("/data/object/metadata", "unknown-order", text)
    })?;
    let text = |name: &str| order.get(name).and_then(Value::as_str).unwrap_or_default().trim();
    let payer = Payer::known(settings, text("CUSTOMER"), &sale.buyer)?;
    let mut documents = Documents::default();
    let (currency, paid) = (text("CURRENCY"), sale.captured.currency);
    if !currency.is_empty() && currency != paid.code() {
        documents.concerns.push(format!("the order {number} is in {currency}, the charge in {paid}"));
    }
    let known = ["stripe.charge", &sale.charge.id, "sap-ecc.order", &number].map(str::to_owned);
    documents.references.push(known);
    Ok((payer, documents, Some(number)))
}
