//! The invoice with its payment. Prices and tax add up to what was captured; a price that does not divide by the
//! quantity makes two lines, so that nothing is left to rounding.

use portolan_sdk::{
    ask::Row,
    money::Money,
    prelude::*,
    sage_pro, short,
    stripe::{Line, Prices},
    text::Field,
};
use serde_json::{Map, Value};

use crate::{CUSTOMER, ERP, INVOICE, ITEMS, Sale};

/// The delivery that creates the invoice, after its customer.
pub(crate) fn delivery(sale: &Sale) -> Result<Delivery, Stop> {
    let charge = sage_pro::EXTERNAL_REF.required(&sale.charge.id).at("/data/object/id")?;
    let amount = sale.captured.decimal()?;
    let tax = Money::new(tax(sale), sale.captured.currency);
    let date = sale.day.to_string();
    let mut body = Map::new();
    if let Some(number) = &sale.customer.number {
        body.insert("CustNo".to_owned(), json!(number));
    }
    for (field, value) in [
        ("ExternalRef", json!(charge)),
        ("InvoiceDate", json!(date)),
        ("PONum", json!(short::reference(&charge))),
        ("Currency", json!(sale.captured.currency.code())),
        ("PaymentStatus", json!(sale.payment_status)),
        ("Lines", lines(sale)?),
        ("Tax", json!(tax.decimal()?.to_string())),
        (
            "Payment",
            json!({
                "Method": Field::new("Method", 10).required(&sale.settings.payment_method)?,
                "Amount": amount.to_string(),
                "Reference": charge,
                "Date": date,
            }),
        ),
    ] {
        body.insert(field.to_owned(), value);
    }
    let check = Check::in_doubt("invoice.find", json!({"ExternalRef": charge}), "/InvNo");
    let delivery = Delivery::new(INVOICE, ERP, "invoice.create", Value::Object(body)).unless(check).capture(
        "stripe.charge",
        &sale.charge.id,
        "sage-pro.invoice",
        "/InvNo",
    );
    let delivery = match sale.customer.number {
        Some(_) => delivery,
        None => delivery.after(CUSTOMER).bind(CUSTOMER, "/CustNo", "/CustNo"),
    };
    ledger(delivery, sale, tax)
}

/// Tax that stands beside the lines: none, where the prices have it in them.
fn tax(sale: &Sale) -> i64 {
    match sale.settings.prices {
        Prices::Net => sale.lines.iter().map(|(line, _)| line.tax.minor).sum(),
        Prices::Gross => 0,
    }
}

fn lines(sale: &Sale) -> Result<Value, Stop> {
    let mut lines = Vec::new();
    for (line, row) in &sale.lines {
        let item = sage_pro::ITEM.required(&item(sale, line, row.as_ref())?)?;
        let amount = line.amount(sale.settings.prices);
        for (pieces, price) in amount.unit_prices(line.quantity, amount.currency.decimals())? {
            lines.push(json!({
                "Item": item,
                "Descrip": sage_pro::DESCRIP.shortened(&line.description),
                "Qty": pieces,
                "Price": price.to_string(),
            }));
        }
    }
    Ok(Value::Array(lines))
}

fn item(sale: &Sale, line: &Line, row: Option<&Row>) -> Result<String, Stop> {
    let known = row.and_then(|row| row.main("item")).or_else(|| sale.settings.default_item.clone());
    known.ok_or_else(|| {
        let text = match &line.product {
            Some(product) => format!("{product} has no item: add it to the lookup table {ITEMS}"),
            None => "the charge has no products, and the settings name no default_item".to_owned(),
        };
        Stop::reject("", "unknown-product", text)
    })
}

/// What the invoice and its payment move together: the receivable is opened and closed at once.
fn ledger(delivery: Delivery, sale: &Sale, tax: Money) -> Result<Delivery, Stop> {
    let (accounts, currency) = (&sale.settings.accounts, sale.captured.currency.code());
    let sales = Money::new(sale.captured.minor - tax.minor, sale.captured.currency);
    let delivery = delivery.debit(&accounts.clearing, sale.captured.decimal()?, currency).credit(
        &accounts.sales,
        sales.decimal()?,
        currency,
    );
    let tax_account = accounts.tax.as_ref().unwrap_or(&accounts.sales);
    Ok(if tax.minor == 0 { delivery } else { delivery.credit(tax_account, tax.decimal()?, currency) })
}
