//! The payment of an order that Sage Pro has already: a cash receipt on the order's open invoices, the oldest
//! first. What they do not take stays on account with the order's number on it.

use portolan_sdk::{
    Stop,
    contract::Delivery,
    flow::{Documents, Sale, fact},
    money::{Decimal, Money},
    prelude::*,
    sage_pro,
};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{CUSTOMER, ERP, RECEIPT, Settings};

/// An invoice that is not paid yet.
#[derive(Debug, Deserialize)]
struct OpenInvoice {
    #[serde(rename = "InvNo")]
    number: String,
    #[serde(rename = "CustNo")]
    customer: String,
    #[serde(rename = "Currency")]
    currency: String,
    #[serde(rename = "Balance")]
    balance: String,
}

/// The open invoices of an order.
#[derive(Debug, Default, Deserialize)]
struct OpenInvoices {
    #[serde(rename = "Invoices")]
    invoices: Vec<OpenInvoice>,
}

/// The documents of a sale whose order the metadata name.
pub(crate) fn documents(
    cx: &Cx<'_>,
    settings: &Settings,
    sale: &Sale,
    order: &str,
) -> Result<Documents, Stop> {
    let order = sage_pro::ORDER.required(order.trim()).at("/data/object/metadata")?;
    let open: OpenInvoices = cx.query(ERP, "invoices.open", json!({"Order": order}))?.unwrap_or_default();
    let open = open.invoices;
    let (customer, documents) = match open.first() {
        Some(first) => (Some(first.customer.clone()), Documents::default()),
        None => crate::customer::of_sale(cx, settings, &sale.buyer, sale.captured.currency.code())?,
    };
    let documents = doubts(documents, sale, &order, &open);
    let receipt = delivery(settings, sale, &order, customer.as_deref(), applications(sale, &open)?)?;
    Ok(documents.deliver(receipt).number("sage_pro_receipt", RECEIPT, "/ReceiptNo"))
}

/// What a person has to look at: invoices of several customers, or of another currency.
fn doubts(mut documents: Documents, sale: &Sale, order: &str, open: &[OpenInvoice]) -> Documents {
    let currency = sale.captured.currency.code();
    let others = || open.iter().filter(|invoice| invoice.currency != currency);
    if open.iter().any(|invoice| open.first().is_some_and(|first| first.customer != invoice.customer)) {
        documents.concerns.push(format!("The open invoices of order {order} belong to several customers."));
    }
    if others().next().is_some() {
        let numbers: Vec<&str> = others().map(|invoice| invoice.number.as_str()).collect();
        documents.concerns.push(format!(
            "Of order {order}, the invoices {} are not in {currency}: they are left open.",
            numbers.join(", ")
        ));
    }
    documents
}

/// The captured amount over the open invoices of its currency, in their order.
fn applications(sale: &Sale, open: &[OpenInvoice]) -> Result<Value, Stop> {
    let currency = sale.captured.currency;
    let mut left = sale.captured.minor;
    let mut applications = Vec::new();
    for invoice in open.iter().filter(|invoice| invoice.currency == currency.code()) {
        let balance = Decimal::from_str_exact(&invoice.balance).map_err(|_| {
            let text = format!("invoice {} has a balance of {:?}", invoice.number, invoice.balance);
            Stop::reject("", "unexpected-answer", text)
        })?;
        let part = Money::from_decimal(balance, currency)?.minor.min(left);
        if part > 0 {
            let amount = Money::new(part, currency).decimal()?.to_string();
            applications.push(json!({"InvNo": invoice.number, "Amount": amount}));
            left -= part;
        }
    }
    Ok(Value::Array(applications))
}

fn delivery(
    settings: &Settings,
    sale: &Sale,
    order: &str,
    customer: Option<&str>,
    applications: Value,
) -> Result<Delivery, Stop> {
    let charge = sage_pro::EXTERNAL_REF.required(&sale.charge.id).at("/data/object/id")?;
    let (amount, currency) = (sale.captured.decimal()?, sale.captured.currency.code());
    let mut body = Map::from_iter([
        ("ExternalRef".to_owned(), json!(charge)),
        ("Amount".to_owned(), json!(amount.to_string())),
        ("Currency".to_owned(), json!(currency)),
        ("DatePaid".to_owned(), json!(sale.day.to_string())),
        ("Method".to_owned(), json!(sage_pro::METHOD.required(&settings.payment_method)?)),
        ("Reference".to_owned(), json!(charge)),
        ("Order".to_owned(), json!(order)),
        ("Applications".to_owned(), applications),
    ]);
    if let Some(number) = customer {
        body.insert("CustNo".to_owned(), json!(number));
    }
    let delivery = Delivery::new(RECEIPT, ERP, "cash-receipt.create", Value::Object(body))
        .once(fact::payment(&sale.charge.id))
        .unless(Check::in_doubt("cash-receipt.find", json!({"ExternalRef": charge}), "/ReceiptNo"))
        .capture("stripe.charge", &sale.charge.id, "sage-pro.receipt", "/ReceiptNo")
        .debit(&settings.accounts.clearing, amount, currency)
        .credit(settings.receivables()?, amount, currency);
    Ok(match customer {
        Some(_) => delivery,
        None => delivery.after(CUSTOMER).bind(CUSTOMER, "/CustNo", "/CustNo"),
    })
}
